//! What is logged beside a training loop: nothing of it holds the loop up, nothing is lost in silence.
#![cfg(feature = "telemetry")]

mod csv;
mod progress;
mod tensorboard;
#[cfg(feature = "webhook")]
mod webhook;

use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sutler::telemetry::{Overflow, Record, Shutdown, Sink, SinkReport, Telemetry, TelemetryBuilder};
use sutler::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(30);

/// The steps that a sink was given.
type Seen = Arc<Mutex<Vec<u64>>>;

/// Keeps the steps that it is given.
#[derive(Default)]
struct Steps {
    seen: Seen,
    /// Its first write says that it has begun, and waits.
    gate: Option<(Sender<()>, Receiver<()>)>,
}

/// What holds a sink up in its first write.
struct Held {
    entered: Receiver<()>,
    open: Sender<()>,
}

impl Steps {
    fn new() -> (Self, Seen) {
        let steps = Steps::default();
        let seen = Arc::clone(&steps.seen);
        (steps, seen)
    }

    fn held() -> (Self, Seen, Held) {
        let (sink, seen) = Steps::new();
        let (enter, entered) = mpsc::channel();
        let (open, opened) = mpsc::channel();
        (Steps { gate: Some((enter, opened)), ..sink }, seen, Held { entered, open })
    }
}

impl Held {
    fn wait(&self) {
        self.entered.recv_timeout(PATIENCE).unwrap();
    }

    fn release(self) {
        drop(self.open);
    }
}

impl Sink for Steps {
    fn name(&self) -> &str {
        "steps"
    }

    fn write(&mut self, records: &[Record]) -> Result<()> {
        if let Some((enter, opened)) = self.gate.take() {
            let _ = enter.send(());
            let _ = opened.recv();
        }
        self.seen.lock().unwrap().extend(records.iter().map(Record::step));
        Ok(())
    }
}

type Fail = fn() -> Result<()>;

/// Fails in the way it is told to, as often as it is told to; then it is like the other.
struct Failing {
    fail: Fail,
    times: u32,
    then: Steps,
}

impl Failing {
    fn new(fail: Fail, times: u32) -> (Self, Seen) {
        let (then, seen) = Steps::new();
        (Failing { fail, times, then }, seen)
    }
}

impl Sink for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    fn write(&mut self, records: &[Record]) -> Result<()> {
        if self.times == 0 {
            return self.then.write(records);
        }
        self.times -= 1;
        (self.fail)()
    }
}

/// Sinks are given at once what is logged.
fn prompt() -> TelemetryBuilder {
    Telemetry::builder().flush_interval(Duration::from_millis(1))
}

fn log(telemetry: &Telemetry, steps: std::ops::Range<u64>) {
    steps.for_each(|step| telemetry.log(step, [("loss", 0.5)]));
}

fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

fn steps(seen: &Seen) -> Vec<u64> {
    seen.lock().unwrap().clone()
}

/// The only sink's written, dropped and waiting records.
fn counts(sink: &SinkReport) -> [u64; 3] {
    assert_eq!(sink.logged, sink.written + sink.dropped + sink.waiting);
    [sink.written, sink.dropped, sink.waiting]
}

/// Fills a queue of four with ten records while its sink is busy with another.
fn overfill(overflow: Overflow) -> (Vec<u64>, [u64; 3]) {
    let (sink, seen, held) = Steps::held();
    let telemetry = prompt().sink(sink).capacity(4).overflow(overflow).start().unwrap();
    log(&telemetry, 0..1);
    held.wait();
    log(&telemetry, 1..11);
    held.release();
    let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
    (steps(&seen), counts(&report.sinks[0]))
}

#[test]
fn what_has_no_room_is_dropped_and_counted_the_oldest_or_the_newest() {
    assert_eq!(overfill(Overflow::DropOldest), (vec![0, 7, 8, 9, 10], [5, 6, 0]));
    assert_eq!(overfill(Overflow::DropNewest), (vec![0, 1, 2, 3, 4], [5, 6, 0]));
}

#[test]
fn who_wants_to_lose_nothing_waits_for_room() {
    let (sink, seen, held) = Steps::held();
    let telemetry = Telemetry::builder().sink(sink).capacity(2).overflow(Overflow::Block).start().unwrap();
    let logged = Arc::new(Mutex::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for step in 0..1000 {
                telemetry.log(step, [("loss", 0.5)]);
                *logged.lock().unwrap() += 1;
            }
        });
        held.wait();
        thread::sleep(Duration::from_millis(50));
        assert!(*logged.lock().unwrap() <= 2 + 2, "two in hand, and two in the queue");
        held.release();
    });
    let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
    assert_eq!(steps(&seen), (0..1000).collect::<Vec<_>>());
    assert!(report.is_complete(), "{report}");
}

#[test]
fn a_loop_that_waits_for_room_waits_no_longer_once_the_sink_is_disabled() {
    let (failing, _) = Failing::new(|| Err(Error::msg("no")), u32::MAX);
    let telemetry = prompt().sink(failing).capacity(2).overflow(Overflow::Block).max_failures(3).start().unwrap();
    log(&telemetry, 0..100);
    let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
    assert_eq!(counts(&report.sinks[0]), [0, 100, 0]);
}

#[test]
fn a_queue_that_fills_up_is_emptied_before_the_interval_is_over() {
    let (sink, seen) = Steps::new();
    let telemetry = Telemetry::builder().sink(sink).capacity(8).flush_interval(Duration::MAX).start().unwrap();
    log(&telemetry, 0..4);
    assert!(eventually(|| steps(&seen) == [0, 1, 2, 3]));
    log(&telemetry, 4..7);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(steps(&seen).len(), 4);
    assert_eq!(counts(&telemetry.report().sinks[0]), [4, 0, 3]);
    drop(telemetry);
    assert_eq!(steps(&seen).len(), 7);
}

#[test]
fn a_sink_that_is_stuck_holds_up_neither_the_loop_nor_the_others_nor_the_end() {
    let (stuck, _, held) = Steps::held();
    let (other, seen) = Steps::new();
    let telemetry = prompt().sink(stuck).sink(other).capacity(8).start().unwrap();
    let started = Instant::now();
    for step in 0..1000 {
        log(&telemetry, step..step + 1);
        if step == 0 {
            held.wait(); // has the first record in hand
        }
        if step % 4 == 3 {
            assert!(eventually(|| steps(&seen).last() == Some(&step)));
        }
    }
    let report = telemetry.shutdown(Shutdown::Drain(Duration::from_millis(50)));
    assert!(started.elapsed() < PATIENCE);
    assert_eq!(steps(&seen), (0..1000).collect::<Vec<_>>());
    let [stuck, other] = &report.sinks[..] else { panic!("{report}") };
    assert_eq!((counts(other), counts(stuck)), ([1000, 0, 0], [0, 1000, 0]));
    held.release();
}

#[test]
fn a_sink_that_fails_or_panics_is_disabled_after_as_many_times_as_it_may_and_the_others_go_on() {
    /// Cannot even be told.
    #[derive(Debug)]
    struct Mute;
    impl std::error::Error for Mute {}
    impl std::fmt::Display for Mute {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no words")
        }
    }
    let fails: [(Fail, &str); 3] = [
        (|| Err(Error::msg("the disk is full")), "the disk is full"),
        (|| panic!("oh"), "the sink panicked: oh"),
        (|| Err(Error::other(Mute)), "the sink's error panicked: no words"),
    ];
    for (fail, reason) in fails {
        let (failing, never) = Failing::new(fail, u32::MAX);
        let (other, seen) = Steps::new();
        let telemetry = prompt().sink(failing).sink(other).max_failures(3).start().unwrap();
        log(&telemetry, 0..10);
        assert!(eventually(|| telemetry.report().sinks[0].is_disabled));
        log(&telemetry, 10..20);
        let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
        assert_eq!(counts(&report.sinks[0]), [0, 20, 0], "{report}");
        assert_eq!(report.sinks[0].last_error.as_deref(), Some(reason));
        assert!(
            report
                .to_string()
                .starts_with(&format!("failing: 0 of 20 records written, 20 dropped, disabled: {reason}\n"))
        );
        assert_eq!((steps(&seen).len(), steps(&never)), (20, vec![]));
    }
}

#[test]
fn what_could_not_be_written_is_written_once_it_can() {
    let (failing, seen) = Failing::new(|| Err(Error::msg("not now")), 4);
    let telemetry = prompt().sink(failing).max_failures(5).start().unwrap();
    log(&telemetry, 0..10);
    // Also when it ends meanwhile.
    let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
    assert_eq!(steps(&seen), (0..10).collect::<Vec<_>>());
    assert!(report.is_complete() && !report.sinks[0].is_disabled, "{report}");
    assert_eq!(report.sinks[0].last_error.as_deref(), Some("not now"));
}

#[test]
fn a_flush_waits_until_what_was_logged_is_written_and_no_longer_than_it_is_told() {
    let (sink, seen) = Steps::new();
    let telemetry = Telemetry::builder().sink(sink).flush_interval(Duration::MAX).start().unwrap();
    for round in 1..=100 {
        log(&telemetry, 0..3);
        let report = telemetry.flush(PATIENCE);
        assert_eq!((counts(&report.sinks[0]), steps(&seen).len() as u64), ([3 * round, 0, 0], 3 * round));
    }
    let (stuck, _, held) = Steps::held();
    let telemetry = Telemetry::builder().sink(stuck).flush_interval(Duration::MAX).start().unwrap();
    log(&telemetry, 0..1);
    assert_eq!(counts(&telemetry.flush(Duration::from_millis(20)).sinks[0]), [0, 0, 1]);
    held.release();
    assert_eq!(counts(&telemetry.flush(PATIENCE).sinks[0]), [1, 0, 0]);
}

#[test]
fn what_waits_for_another_attempt_does_not_wait_at_a_flush_or_at_the_end() {
    // Each failure would put the next attempt off by an hour or more.
    let hour = Duration::from_secs(3600);
    let (failing, seen) = Failing::new(|| Err(Error::msg("not now")), 2);
    let telemetry = Telemetry::builder().sink(failing).flush_interval(hour).max_failures(3).start().unwrap();
    log(&telemetry, 0..3);
    assert_eq!(counts(&telemetry.flush(Duration::from_millis(50)).sinks[0]), [0, 0, 3]);
    log(&telemetry, 3..5);
    assert_eq!(counts(&telemetry.flush(Duration::from_millis(50)).sinks[0]), [0, 0, 5]);
    // What is in hand, and what came behind it.
    assert!(telemetry.flush(PATIENCE).is_complete());
    assert_eq!(steps(&seen), [0, 1, 2, 3, 4]);

    // At the end it is tried as long as there is time, however often it fails.
    let (failing, seen) = Failing::new(|| Err(Error::msg("not now")), 6);
    let telemetry = Telemetry::builder().sink(failing).flush_interval(hour).max_failures(2).start().unwrap();
    log(&telemetry, 0..3);
    assert!(telemetry.shutdown(Shutdown::Drain(PATIENCE)).is_complete());
    assert_eq!(steps(&seen), [0, 1, 2]);
}

#[test]
fn what_was_accepted_is_written_when_it_is_dropped_and_not_when_it_is_abandoned() {
    let (sink, seen) = Steps::new();
    let telemetry = Telemetry::builder().sink(sink).start().unwrap();
    log(&telemetry, 0..100);
    drop(telemetry);
    assert_eq!(steps(&seen).len(), 100);

    let (sink, seen, held) = Steps::held();
    let telemetry = prompt().sink(sink).start().unwrap();
    log(&telemetry, 0..1);
    held.wait();
    log(&telemetry, 1..100);
    let report = telemetry.shutdown(Shutdown::Abandon);
    assert_eq!(counts(&report.sinks[0]), [0, 100, 0]);
    held.release();
    // What it had in hand it may finish.
    assert!(eventually(|| steps(&seen) == [0]));
}

/// A test of this file, to be run in a process of its own.
fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name]);
    command
}

/// Runs it; it is to end by itself, and to have run.
fn ends_well(command: &mut Command) {
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let ended = eventually(|| process.try_wait().unwrap().is_some());
    process.kill().unwrap();
    assert!(ended && process.wait().unwrap().success());
    let said = std::io::read_to_string(process.stdout.unwrap()).unwrap();
    assert!(said.contains("1 passed"), "{said}");
}

/// The test below, in a process of its own.
const FORGETS: &str = "SUTLER_TELEMETRY_FORGETS";

#[test]
fn a_process_that_forgets_to_end_its_telemetry_ends_and_loses_nothing_that_could_be_written() {
    if let Some(path) = std::env::var_os(FORGETS) {
        let (stuck, _, held) = Steps::held();
        let csv = sutler::telemetry::Csv::open(path).unwrap();
        let builder = Telemetry::builder().sink(stuck).sink(csv).flush_interval(Duration::from_secs(3600));
        let telemetry = builder.drain_on_drop(Duration::from_millis(300)).start().unwrap();
        log(&telemetry, 0..1000);
        std::mem::forget(held);
        return; // a main that ends, with a sink that hangs
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let name = "a_process_that_forgets_to_end_its_telemetry_ends_and_loses_nothing_that_could_be_written";
    ends_well(this_test(name).env(FORGETS, &path));
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1 + 1000);
}

/// The test below, in a process of its own whose stderr nobody reads.
const UNREAD: &str = "SUTLER_TELEMETRY_UNREAD";

#[test]
#[cfg(unix)]
fn a_terminal_that_has_stopped_holds_nobody_up() {
    if std::env::var_os(UNREAD).is_some() {
        let progress = sutler::telemetry::Progress::stderr().every(Duration::ZERO);
        let telemetry = prompt().sink(progress).drain_on_drop(Duration::from_millis(100)).start().unwrap();
        // More than there is room for in a pipe.
        for step in 0..100 {
            telemetry.log(step, [("n".repeat(10_000), 0.5)]);
            thread::sleep(Duration::from_millis(2));
        }
        return; // which has something to say as well
    }
    ends_well(this_test("a_terminal_that_has_stopped_holds_nobody_up").env(UNREAD, "").stderr(Stdio::piped()));
}

#[test]
fn a_telemetry_that_ends_on_the_thread_of_its_sink_does_not_wait_for_itself() {
    /// Has the last hand on its own telemetry.
    struct Own(mpsc::Receiver<Telemetry>, Sender<Duration>);
    impl Sink for Own {
        fn name(&self) -> &str {
            "own"
        }
        fn write(&mut self, _: &[Record]) -> Result<()> {
            let (telemetry, begun) = (self.0.recv().unwrap(), Instant::now());
            drop(telemetry);
            self.1.send(begun.elapsed()).unwrap();
            Ok(())
        }
    }
    let (give, given) = mpsc::channel();
    let (took, time) = mpsc::channel();
    let telemetry = prompt().sink(Own(given, took)).drain_on_drop(PATIENCE * 2).start().unwrap();
    log(&telemetry, 0..1);
    give.send(telemetry).unwrap();
    assert!(time.recv_timeout(PATIENCE).unwrap() < PATIENCE);
}

/// The test below, in a process of its own whose stderr has no room.
const UNHEARD: &str = "SUTLER_TELEMETRY_UNHEARD";

#[test]
#[cfg(target_os = "linux")]
fn a_warning_that_nobody_can_be_given_holds_nobody_up() {
    if std::env::var_os(UNHEARD).is_some() {
        let (failing, _) = Failing::new(|| Err(Error::msg("no")), u32::MAX);
        let builder = prompt().sink(failing).max_failures(1).capacity(4).overflow(Overflow::Block);
        let telemetry = builder.start().unwrap();
        log(&telemetry, 0..100);
        assert!(telemetry.report().sinks[0].is_disabled);
        let (stuck, ..) = Steps::held();
        let telemetry = prompt().sink(stuck).drain_on_drop(Duration::ZERO).start().unwrap();
        log(&telemetry, 0..1);
        return; // which warns as well
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    ends_well(this_test("a_warning_that_nobody_can_be_given_holds_nobody_up").env(UNHEARD, "").stderr(full));
}

/// Takes alerts alone.
struct Alerts(Seen);

impl Sink for Alerts {
    fn name(&self) -> &str {
        "alerts"
    }

    fn write(&mut self, records: &[Record]) -> Result<()> {
        assert!(records.iter().all(|record| record.alert().is_some() && record.metrics().iter().next().is_none()));
        self.0.lock().unwrap().extend(records.iter().map(Record::step));
        Ok(())
    }

    fn alerts_only(&self) -> bool {
        true
    }
}

#[test]
fn alerts_are_not_pushed_out_by_what_their_sink_does_not_take() {
    let seen = Seen::default();
    let interval = Duration::MAX;
    let telemetry =
        Telemetry::builder().sink(Alerts(Arc::clone(&seen))).capacity(4).flush_interval(interval).start().unwrap();
    telemetry.alert(0, "the loss is NaN");
    log(&telemetry, 1..100);
    let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
    assert_eq!((steps(&seen), counts(&report.sinks[0])), (vec![0], [1, 0, 0]));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let error = Telemetry::builder().capacity(0).start().unwrap_err();
    assert_eq!(error.to_string(), "capacity must be at least 1");
    let error = Telemetry::builder().max_failures(0).start().unwrap_err();
    assert_eq!(error.to_string(), "max_failures must be at least 1");
    let error = Telemetry::builder().capacity(usize::MAX).start().unwrap_err();
    assert_eq!(error.to_string(), "capacity must be at most 16777216");
    /// Has no name.
    struct Nameless;
    impl Sink for Nameless {
        fn name(&self) -> &str {
            panic!("no name")
        }
        fn write(&mut self, _: &[Record]) -> Result<()> {
            Ok(())
        }
    }
    let error = Telemetry::builder().sink(Nameless).start().unwrap_err();
    assert_eq!(error.to_string(), "a sink's name panicked: no name");
    // Without a sink nothing is wrong, and nothing is done.
    log(&Telemetry::builder().start().unwrap(), 0..1);
}

#[test]
fn a_thread_is_named_after_its_sink_and_ends_with_the_telemetry() {
    let (sink, _, held) = Steps::held();
    let telemetry = prompt().sink(sink).start().unwrap();
    log(&telemetry, 0..1);
    held.wait();
    let names = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.filter(|name| name.trim_end() == "sutler-steps").count()
    };
    if cfg!(target_os = "linux") {
        assert!(names() >= 1);
    }
    held.release();
    assert!(telemetry.shutdown(Shutdown::Drain(PATIENCE)).is_complete());
}
