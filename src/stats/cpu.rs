//! Whether a busy worker is at work on a core, or waits for a file or for a core.
//!
//! Linux tells a thread how long it has run, and how long it was ready to run and had to wait, in a file that costs a
//! few microseconds to read. So that is done every tenth of a second that a worker was busy.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How much work is looked at together.
const SPAN: Duration = Duration::from_millis(100);

/// Of some of the workers' time: how much there was, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    pub(super) busy: Duration,
    /// A core was at work,
    pub(super) on_core: Duration,
    /// or none was free.
    pub(super) queued: Duration,
}

impl CpuTimes {
    /// A part of the time; `None` if nothing is known.
    pub(crate) fn share(&self, part: Duration) -> Option<f64> {
        (!self.busy.is_zero()).then(|| part.as_secs_f64() / self.busy.as_secs_f64())
    }

    pub(super) fn since(&self, earlier: &CpuTimes) -> CpuTimes {
        CpuTimes {
            busy: self.busy.saturating_sub(earlier.busy),
            on_core: self.on_core.saturating_sub(earlier.on_core),
            queued: self.queued.saturating_sub(earlier.queued),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Shares {
    busy_ns: AtomicU64,
    on_core_ns: AtomicU64,
    queued_ns: AtomicU64,
}

/// A thread's work since it was last looked at.
#[derive(Clone, Copy)]
struct Work {
    busy: Duration,
    looked_at: LookedAt,
}

/// What was seen when a thread was last looked at.
#[derive(Clone, Copy)]
enum LookedAt {
    Never,
    /// There was nothing to see, and is no sooner looked again: no job should pay for a file that cannot be opened.
    InVain,
    At(Times),
}

/// What the system knows of a thread, since it began.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    on_core_ns: u64,
    queued_ns: u64,
}

thread_local! {
    static WORK: Cell<Work> = const { Cell::new(Work { busy: Duration::ZERO, looked_at: LookedAt::Never }) };
}

impl Shares {
    /// Takes note that this thread was busy.
    pub(super) fn worked(&self, elapsed: Duration) {
        self.worked_as(elapsed, Times::of_this_thread);
    }

    /// The same, where `look` tells the thread's times.
    fn worked_as(&self, elapsed: Duration, look: impl FnOnce() -> Option<Times>) {
        let Work { busy, looked_at } = WORK.get();
        let busy = busy + elapsed;
        if busy < SPAN && !matches!(looked_at, LookedAt::Never) {
            WORK.set(Work { busy, looked_at });
            return;
        }
        let now = look().map_or(LookedAt::InVain, LookedAt::At);
        WORK.set(Work { busy: Duration::ZERO, looked_at: now });
        let (LookedAt::At(before), LookedAt::At(now)) = (looked_at, now) else { return };
        let busy_ns = busy.as_nanos() as u64;
        // Beside its work, a thread looks for some.
        let on_core_ns = (now.on_core_ns - before.on_core_ns).min(busy_ns);
        let queued_ns = (now.queued_ns - before.queued_ns).min(busy_ns - on_core_ns);
        self.busy_ns.fetch_add(busy_ns, Relaxed);
        self.on_core_ns.fetch_add(on_core_ns, Relaxed);
        self.queued_ns.fetch_add(queued_ns, Relaxed);
    }

    pub(super) fn times(&self) -> CpuTimes {
        let time = |ns: &AtomicU64| Duration::from_nanos(ns.load(Relaxed));
        CpuTimes { busy: time(&self.busy_ns), on_core: time(&self.on_core_ns), queued: time(&self.queued_ns) }
    }
}

impl Times {
    #[cfg(target_os = "linux")]
    fn of_this_thread() -> Option<Times> {
        use std::io::Read;
        let mut text = [0; 128];
        let len = std::fs::File::open("/proc/thread-self/schedstat").ok()?.read(&mut text).ok()?;
        Self::parse(std::str::from_utf8(&text[..len]).ok()?)
    }

    #[cfg(not(target_os = "linux"))]
    fn of_this_thread() -> Option<Times> {
        None
    }

    /// Nanoseconds on a core, nanoseconds ready and waiting, and how often (Documentation/scheduler/sched-stats.rst).
    #[cfg(target_os = "linux")]
    fn parse(text: &str) -> Option<Times> {
        let mut numbers = text.split_ascii_whitespace();
        let (on_core_ns, queued_ns) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        Some(Times { on_core_ns, queued_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_whose_times_are_not_known_is_asked_for_them_once_in_a_tenth_of_a_second_of_work() {
        let (shares, asked) = (Shares::default(), Cell::new(0));
        let work = |jobs: u32, times: Option<Times>| {
            asked.set(0);
            for _ in 0..jobs {
                shares.worked_as(SPAN / 1000, || {
                    asked.set(asked.get() + 1);
                    times
                });
            }
            asked.get()
        };
        WORK.set(Work { busy: Duration::ZERO, looked_at: LookedAt::Never });
        assert_eq!((work(1000, None), work(1000, None), work(2000, None)), (1, 1, 2));
        // It may be known later.
        let times = Some(Times { on_core_ns: 7, queued_ns: 0 });
        assert_eq!((work(1000, times), shares.times()), (1, CpuTimes::default()));
        assert_eq!((work(1000, times), shares.times().busy), (1, SPAN));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod on_linux {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_the_system_writes_is_read() {
        assert_eq!(Times::parse("97455 2409658 2\n"), Some(Times { on_core_ns: 97455, queued_ns: 2409658 }));
        assert_eq!((Times::parse(""), Times::parse("12 x 3")), (None, None));
    }

    #[cfg(not(miri))]
    #[test]
    fn work_is_told_from_sleep() {
        if Times::of_this_thread().is_none() {
            return; // a kernel without these times
        }
        let (working, sleeping) = (Shares::default(), Shares::default());
        let work = |shares: &Shares, wait: fn()| {
            shares.worked(SPAN); // whatever the thread did before
            let started = Instant::now();
            wait();
            shares.worked(started.elapsed().max(SPAN));
        };
        let before = working.times();
        work(&working, || {
            let until = Instant::now() + 3 * SPAN;
            while Instant::now() < until {}
        });
        let times = working.times().since(&before);
        let not_waiting = times.share(times.on_core + times.queued).unwrap();
        let before = sleeping.times();
        work(&sleeping, || std::thread::sleep(3 * SPAN));
        let times = sleeping.times().since(&before);
        let asleep = times.share(times.on_core).unwrap();
        assert!(asleep + 0.3 < not_waiting, "{asleep} {not_waiting}");
    }
}
