//! When a task runs, and what is seen of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sutler::monitor::{Monitor, Stop, Task};
use sutler::{Error, ErrorKind, Result};

use crate::{MS, SOON, until};

const HOUR: Duration = Duration::from_secs(3600);

/// Numbers from 0 on.
fn counter() -> impl Task<Value = u64> {
    let mut next = 0;
    move || {
        next += 1;
        Ok(next - 1)
    }
}

/// A task that hangs in each run but the first, until it is let go; and how many runs hang.
fn hanging() -> (impl Task<Value = u64>, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let ((go, gate), hung) = (mpsc::channel(), Arc::new(AtomicUsize::new(0)));
    let (mut count, hangs) = (counter(), Arc::clone(&hung));
    let task = move || {
        let value = count.run(&Stop::default())?;
        if value > 0 {
            hangs.fetch_add(1, SeqCst);
            let _ = gate.recv();
            hangs.fetch_sub(1, SeqCst);
        }
        Ok(value)
    };
    (task, go, hung)
}

#[test]
fn readings_come_at_their_ticks_and_do_not_drift() {
    // What each run takes would add up to a second.
    let (interval, runs, takes, late) = (10 * MS, 200, 5 * MS, 500 * MS);
    let task = move || {
        let now = (Instant::now(), SystemTime::now());
        thread::sleep(takes);
        Ok(now)
    };
    let before = Instant::now();
    let monitor = Monitor::every(interval, task).history(10_000).start().unwrap();
    let after = Instant::now();
    until("200 ticks", || monitor.latest().filter(|reading| reading.tick >= runs));
    monitor.stop();
    let readings = monitor.history();

    let ticks: Vec<u64> = readings.iter().map(|reading| reading.tick).collect();
    assert!(ticks.is_sorted_by(|a, b| a < b) && ticks[0] == 0, "{ticks:?}");
    let all = ticks.last().unwrap() + 1;
    assert!(monitor.missed() >= all - ticks.len() as u64, "what is not there was counted");
    let mut were_late = 0;
    for reading in &readings {
        let ((at, clock), due) = (reading.value, reading.tick as u32 * interval);
        assert!(at >= before + due, "tick {} before its time", reading.tick);
        were_late += usize::from(at > after + due + late);
        assert!(reading.took >= takes && reading.at <= clock);
    }
    assert!(were_late < readings.len() / 10, "{were_late} of {} were late", readings.len());
}

#[test]
fn a_task_that_takes_longer_than_the_interval_leaves_ticks_out_and_never_runs_twice_at_once() {
    let (interval, running, most) = (20 * MS, AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let task = move || {
        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
        thread::sleep(interval * 5 / 2);
        running.fetch_sub(1, SeqCst);
        Ok(())
    };
    let monitor = Monitor::every(interval, task).history(100).start().unwrap();
    until("six readings", || monitor.latest().filter(|reading| reading.tick >= 15));
    monitor.stop();
    let ticks: Vec<u64> = monitor.history().iter().map(|reading| reading.tick).collect();
    // One that begins at tick 0 ends after 2.5, so that the next is the third.
    assert!(ticks.windows(2).all(|pair| pair[1] >= pair[0] + 3), "{ticks:?}");
    let between: u64 = ticks.windows(2).map(|pair| pair[1] - pair[0] - 1).sum();
    // Those during the last run were counted with its reading.
    assert!(monitor.missed() >= between + 2, "{} {ticks:?}", monitor.missed());
    assert_eq!(seen.load(SeqCst), 1);
}

#[test]
fn the_latest_reading_is_there_while_the_task_hangs() {
    let (task, go, hung) = hanging();
    let monitor = Monitor::every(MS, task).start().unwrap();
    until("a run that hangs", || (hung.load(SeqCst) == 1).then_some(()));
    let reading = monitor.latest().unwrap();
    assert_eq!((reading.tick, reading.value, monitor.failure().is_none()), (0, 0, true));
    go.send(()).unwrap();
    let later = until("the next reading", || monitor.latest().filter(|reading| reading.value == 1));
    assert!(later.tick > 0 && later.at >= reading.at);
    // It does not change under whoever has it.
    assert_eq!(reading.value, 0);
}

#[test]
fn nobody_waits_for_a_task_that_hangs_and_nothing_appears_after_the_stop() {
    let (task, go, hung) = hanging();
    let monitor = Monitor::every(MS, task).history(10).start().unwrap();
    until("a run that hangs", || (hung.load(SeqCst) == 1).then_some(()));
    monitor.stop();
    monitor.stop();
    assert_eq!(hung.load(SeqCst), 1, "it hangs still");
    drop(go); // lets it go on
    until("its end", || (hung.load(SeqCst) == 0).then_some(()));
    thread::sleep(50 * MS);
    assert_eq!(monitor.latest().map(|reading| reading.value), Some(0));
    assert_eq!(monitor.history().len(), 1);

    let (task, go, hung) = hanging();
    let monitor = Monitor::every(MS, task).start().unwrap();
    until("a run that hangs", || (hung.load(SeqCst) == 1).then_some(()));
    drop(monitor);
    assert_eq!(hung.load(SeqCst), 1);
    drop(go);
}

#[test]
fn a_task_that_looks_learns_of_the_stop() {
    struct Patient(Arc<AtomicBool>);
    impl Task for Patient {
        type Value = ();
        fn run(&mut self, stop: &Stop) -> Result<()> {
            assert!(!stop.wait(MS) && !stop.is_stopped());
            self.0.store(true, SeqCst);
            assert!(stop.wait(HOUR) && stop.is_stopped());
            self.0.store(false, SeqCst);
            Ok(())
        }
    }
    let waits = Arc::new(AtomicBool::new(false));
    let monitor = Monitor::every(HOUR, Patient(Arc::clone(&waits))).start().unwrap();
    until("its wait", || waits.load(SeqCst).then_some(()));
    monitor.stop();
    until("its end", || (!waits.load(SeqCst)).then_some(()));
    assert!(monitor.latest().is_none());
}

#[test]
fn the_history_keeps_the_newest_and_counts_the_others() {
    let monitor = Monitor::every(MS, counter()).history(3).start().unwrap();
    until("ten readings", || monitor.latest().filter(|reading| reading.value >= 10));
    monitor.stop();
    let last = monitor.latest().unwrap().value;
    let values: Vec<u64> = monitor.history().iter().map(|reading| reading.value).collect();
    assert_eq!((values, monitor.dropped()), (vec![last - 2, last - 1, last], last - 2));
    assert_eq!(monitor.history().len(), 0, "they were taken");
}

#[test]
fn a_history_that_is_taken_in_time_has_every_reading_once_and_none_is_kept_unasked() {
    let monitor = Monitor::every(MS, counter()).history(10_000).start().unwrap();
    let mut values = Vec::new();
    until("fifty readings", || {
        values.extend(monitor.history().iter().map(|reading| reading.value));
        (values.len() >= 50).then_some(())
    });
    assert_eq!((values.iter().copied().eq(0..values.len() as u64), monitor.dropped()), (true, 0));

    let without = Monitor::every(MS, counter()).start().unwrap();
    until("ten readings", || without.latest().filter(|reading| reading.value >= 10));
    assert_eq!((without.history().len(), without.dropped()), (0, 0));
}

#[test]
fn errors_and_panics_are_seen_beside_the_last_value_and_do_not_end_it() {
    let (step, told) = mpsc::channel();
    let task = move || match told.recv().unwrap() {
        "fail" => Err(Error::new(ErrorKind::Io, "unplugged")),
        "panic" => panic!("on fire"),
        value => Ok(value),
    };
    let monitor = Monitor::every(MS, task).name("sensor").history(10).start().unwrap();
    step.send("one").unwrap();
    let one = until("one", || monitor.latest());
    assert!(monitor.failure().is_none());

    step.send("fail").unwrap();
    let failure = until("a failure", || monitor.failure());
    assert_eq!((failure.error.kind(), failure.error.to_string()), (ErrorKind::Io, "unplugged".into()));
    assert!(failure.tick > one.tick && failure.at >= one.at);
    assert!(Arc::ptr_eq(&monitor.latest().unwrap(), &one), "the value is still there");

    step.send("panic").unwrap();
    let panic = until("a panic", || monitor.failure().filter(|panic| panic.tick > failure.tick));
    assert_eq!(panic.error.kind(), ErrorKind::Panic);
    assert_eq!(panic.error.to_string(), r#"the task of monitor "sensor" panicked: on fire"#);

    step.send("two").unwrap();
    let two = until("two", || monitor.latest().filter(|reading| reading.value == "two"));
    assert!(two.tick > panic.tick && Arc::ptr_eq(&monitor.failure().unwrap(), &panic));
    let values: Vec<&str> = monitor.history().iter().map(|reading| reading.value).collect();
    assert_eq!(values, ["one", "two"]);
}

/// Panics when it is dropped.
#[derive(Debug)]
struct Spiteful(Arc<AtomicUsize>);

impl Drop for Spiteful {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        panic!("dropped");
    }
}

#[test]
fn values_and_tasks_that_panic_when_dropped_reach_nobody() {
    let (dropped, made) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (of_task, of_values, counts) = (Spiteful(Arc::clone(&dropped)), Arc::clone(&dropped), Arc::clone(&made));
    let task = move || {
        let _ = &of_task;
        counts.fetch_add(1, SeqCst);
        Ok(Spiteful(Arc::clone(&of_values)))
    };
    let monitor = Monitor::every(MS, task).history(2).start().unwrap();
    until("ten values", || (made.load(SeqCst) >= 10).then_some(()));
    drop(monitor);
    until("all to be dropped, and the task", || (dropped.load(SeqCst) == made.load(SeqCst) + 1).then_some(()));

    // Where the thread has ended, those that are left are dropped here.
    let (of_task, of_values, made) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let (spite, values, counts) = (Spiteful(Arc::clone(&of_task)), Arc::clone(&of_values), Arc::clone(&made));
    let task = move || {
        let _ = &spite;
        counts.fetch_add(1, SeqCst);
        Ok(Spiteful(Arc::clone(&values)))
    };
    let monitor = Monitor::every(MS, task).history(2).start().unwrap();
    until("ten values", || (made.load(SeqCst) >= 10).then_some(()));
    monitor.stop();
    until("the end of its task", || (of_task.load(SeqCst) == 1).then_some(()));
    assert_eq!(of_values.load(SeqCst), made.load(SeqCst) - 2);
    drop(monitor);
    assert_eq!(of_values.load(SeqCst), made.load(SeqCst));
}

#[test]
fn what_cannot_be_is_refused_before_anything_runs() {
    let ran = Arc::new(AtomicBool::new(false));
    let runs = Arc::clone(&ran);
    let task = move || {
        runs.store(true, SeqCst);
        Ok(())
    };
    let error = Monitor::every(Duration::ZERO, task.clone()).start().unwrap_err();
    assert_eq!(error.to_string(), "the interval of a monitor is zero: give it some time");
    assert_eq!(error.kind(), ErrorKind::Config);
    let error = Monitor::every(MS, task.clone()).history(usize::MAX).start().unwrap_err();
    assert_eq!(error.to_string(), "the history of a monitor is at most 16777216");
    let error = Monitor::every(MS, task).name("a\0b").start().unwrap_err();
    assert_eq!(error.to_string(), r#""a\0b" cannot name a thread: leave out the zero byte"#);
    thread::sleep(20 * MS);
    assert!(!ran.load(SeqCst));
}

#[test]
fn an_interval_that_never_ends_runs_once_and_can_be_stopped() {
    let monitor = Monitor::every(Duration::MAX, counter()).start().unwrap();
    until("the first reading", || monitor.latest());
    thread::sleep(20 * MS);
    assert_eq!((monitor.latest().unwrap().value, monitor.missed()), (0, 0));
}

#[test]
fn any_thread_may_look() {
    fn shared<T: Send + Sync>(value: T) -> T {
        value
    }
    let monitor = shared(Monitor::every(MS, counter()).history(100_000).start().unwrap());
    let seen: Vec<u64> = thread::scope(|scope| {
        let look = || {
            let (mut seen, deadline) = (Vec::new(), Instant::now() + 200 * MS);
            while Instant::now() < deadline {
                seen.extend(monitor.history().iter().map(|reading| reading.value));
            }
            seen
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(look)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    monitor.stop();
    let mut all: Vec<u64> = seen.into_iter().chain(monitor.history().iter().map(|reading| reading.value)).collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..all.len() as u64), "each once: {all:?}");
}

#[cfg(target_os = "linux")]
mod in_a_process_of_its_own {
    use super::*;
    use crate::{alone, threads};

    #[test]
    fn a_thread_bears_the_name_of_its_monitor_and_is_gone_after_the_stop() {
        alone(
            "periodic::in_a_process_of_its_own::a_thread_bears_the_name_of_its_monitor_and_is_gone_after_the_stop",
            |_| {},
            || {
                let before = threads();
                let name = || Ok(std::fs::read_to_string("/proc/thread-self/comm")?);
                let monitors: Vec<_> =
                    (0..20).map(|k| Monitor::every(HOUR, name).name(format!("m{k}")).start().unwrap()).collect();
                for (k, monitor) in monitors.iter().enumerate() {
                    assert_eq!(until("a name", || monitor.latest()).value, format!("sutler-m{k}\n"));
                }
                assert_eq!(threads(), before + 20);
                // Half of them are told, the others are dropped, all in the middle of an hour.
                monitors.iter().take(10).for_each(Monitor::stop);
                until("ten ends", || (threads() == before + 10).then_some(()));
                drop(monitors);
                until("all ends", || (threads() == before).then_some(()));
            },
        );
    }

    #[test]
    fn a_process_ends_though_a_task_hangs() {
        let began = Instant::now();
        alone(
            "periodic::in_a_process_of_its_own::a_process_ends_though_a_task_hangs",
            |_| {},
            || {
                let (task, go, hung) = hanging();
                let monitor = Monitor::every(MS, task).start().unwrap();
                until("a run that hangs", || (hung.load(SeqCst) == 1).then_some(()));
                // One is dropped, and one is not even told.
                let (task, gate, hung) = hanging();
                let other = Monitor::every(MS, task).start().unwrap();
                until("a run that hangs", || (hung.load(SeqCst) == 1).then_some(()));
                drop(monitor);
                std::mem::forget((other, go, gate));
            },
        );
        assert!(began.elapsed() < SOON);
    }
}
