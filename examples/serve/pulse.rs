//! `Pulse`: how long anything held up a thread of the runtime's. While it does, no other request gets on there.

use std::fs::File;
use std::io::{Read, Seek};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Of all that was polled. Each number is a sum or a maximum: the order of events does not matter to it.
#[derive(Default)]
pub struct Pulse {
    polls: AtomicU64,
    /// By the clock on the wall, also where the system had other threads run meanwhile.
    wall: Longest,
    /// Without the time for which the thread was ready to go on and had no core: what the poll itself took, whether it
    /// worked or waited.
    held: Longest,
    /// What the thread had of a core: without the time for which it waited for anything.
    cpu: Longest,
}

#[derive(Default)]
struct Longest {
    nanoseconds: AtomicU64,
    /// How many took a millisecond or more.
    over: AtomicU64,
}

impl Longest {
    fn add(&self, time: Duration) {
        self.nanoseconds.fetch_max(time.as_nanos() as u64, Relaxed);
        self.over.fetch_add(u64::from(time >= Duration::from_millis(1)), Relaxed);
    }

    fn get(&self) -> (Duration, u64) {
        (Duration::from_nanos(self.nanoseconds.load(Relaxed)), self.over.load(Relaxed))
    }
}

impl Pulse {
    pub fn polls(&self) -> u64 {
        self.polls.load(Relaxed)
    }

    /// The longest poll, and how many took a millisecond or more.
    pub fn wall(&self) -> (Duration, u64) {
        self.wall.get()
    }

    /// As [`wall`](Pulse::wall), without the time for which the thread had no core.
    pub fn held(&self) -> (Duration, u64) {
        self.held.get()
    }

    /// As [`wall`](Pulse::wall), of the time for which the thread had a core.
    pub fn cpu(&self) -> (Duration, u64) {
        self.cpu.get()
    }
}

/// Times each poll of a future, if there is a pulse.
pub fn timed<F: Future>(pulse: Option<Arc<Pulse>>, future: F) -> Timed<F> {
    Timed { future: Box::pin(future), pulse }
}

pub struct Timed<F> {
    future: Pin<Box<F>>,
    pulse: Option<Arc<Pulse>>,
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(pulse) = self.pulse.clone() else { return self.future.as_mut().poll(context) };
        let before = Scheduled::now();
        let result = self.future.as_mut().poll(context);
        let wall = before.at.elapsed();
        let after = Scheduled::now();
        pulse.polls.fetch_add(1, Relaxed);
        pulse.wall.add(wall);
        pulse.held.add((after.at - before.at).saturating_sub(after.ready.saturating_sub(before.ready)));
        pulse.cpu.add(after.running.saturating_sub(before.running));
        result
    }
}

/// What the system has counted of this thread so far; on Linux alone.
struct Scheduled {
    at: Instant,
    /// For how long it had a core,
    running: Duration,
    /// and for how long it was ready to run and had none.
    ready: Duration,
}

impl Scheduled {
    fn now() -> Self {
        // Where others had the core in between, nobody knows whether that is counted.
        let is_sure = |now: &Self| now.at.elapsed() < Duration::from_micros(50);
        (0..10).map(|_| Self::count()).find(is_sure).unwrap_or_else(Self::count)
    }

    fn count() -> Self {
        Scheduled { at: Instant::now(), running: running(), ready: ready().unwrap_or_default() }
    }
}

#[cfg(target_os = "linux")]
fn running() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(target_os = "linux"))]
fn running() -> Duration {
    Duration::ZERO
}

/// The second number of a file, in nanoseconds.
fn ready() -> Option<Duration> {
    thread_local! {
        static FILE: Option<File> = File::open("/proc/thread-self/schedstat").ok();
    }
    let read = |mut file: &File| {
        let mut text = [0; 64];
        file.rewind().ok()?;
        let length = file.read(&mut text).ok()?;
        let number = std::str::from_utf8(&text[..length]).ok()?.split(' ').nth(1)?;
        Some(Duration::from_nanos(number.parse().ok()?))
    };
    FILE.try_with(|file| file.as_ref().and_then(read)).ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_holds_its_thread_up_is_seen() {
        let pulse = Arc::new(Pulse::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(timed(Some(Arc::clone(&pulse)), async {}));
        assert_eq!(pulse.polls(), 1);
        let slow = async { std::thread::sleep(Duration::from_millis(20)) };
        runtime.block_on(timed(Some(Arc::clone(&pulse)), slow));
        for (longest, over) in [pulse.wall(), pulse.held()] {
            assert!(longest >= Duration::from_millis(20) && over >= 1, "{longest:?}");
        }
    }
}
