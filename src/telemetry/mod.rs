//! What a training loop says of itself: to files, pages and people, without waiting for any of them.
//!
//! [`Telemetry::log`] puts a step's metrics into a bounded queue and returns; each [`Sink`] has a queue and a thread of
//! its own, so one that is slow, fails or panics is noticed by nobody else.
//!
//! ```
//! use std::time::Duration;
//! use sutler::telemetry::{Csv, Shutdown, Telemetry};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("metrics.csv");
//! let telemetry = Telemetry::builder().sink(Csv::open(&path)?).start()?;
//! for step in 0..100 {
//!     let loss = 1.0 / (1.0 + step as f64);
//!     telemetry.log(step, [("train/loss", loss), ("train/lr", 1e-3)]);
//! }
//! let report = telemetry.shutdown(Shutdown::Drain(Duration::from_secs(5)));
//! assert_eq!(report.sinks[0].written, 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod append;
mod csv;
mod histogram;
mod lane;
mod metrics;
mod picture;
mod progress;
mod record;
mod report;
mod sink;
mod tensorboard;
#[cfg(feature = "webhook")]
mod webhook;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

pub use csv::Csv;
pub use histogram::Histogram;
pub use lane::Overflow;
pub use metrics::{Metrics, Value};
pub use picture::Picture;
pub use progress::Progress;
pub use record::Record;
pub use report::{Report, SinkReport};
pub use sink::Sink;
pub use tensorboard::TensorBoard;
#[cfg(feature = "webhook")]
pub use webhook::Webhook;

use crate::error::{Error, ErrorKind, Result};
use lane::Lane;

/// Takes what a training loop logs to its sinks, each on a thread beside it. Threads share it by reference or in an
/// `Arc`.
///
/// Dropped, it drains for as long as [`drain_on_drop`](TelemetryBuilder::drain_on_drop) says (five seconds), and says
/// on stderr what was not written. A process that ends without that loses what was not written yet, a
/// [`flush_interval`](TelemetryBuilder::flush_interval) or so: by a signal, by `std::process::exit`, or with a
/// `Telemetry` in a `static`, which nobody drops.
#[derive(Debug)]
pub struct Telemetry {
    lanes: Vec<Lane>,
    drain_on_drop: Duration,
}

/// How to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Write what was logged, for as long as this at the most. A sink that is not through by then is left to itself.
    Drain(Duration),
    /// At once: what is not written is counted as dropped. A sink may still write what it has in hand.
    Abandon,
}

impl Telemetry {
    /// Sets the sinks, and what happens when they fall behind.
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder {
            sinks: Vec::new(),
            settings: lane::Settings {
                capacity: 4096,
                overflow: Overflow::DropOldest,
                flush_interval: Duration::from_secs(1),
                max_failures: 5,
            },
            drain_on_drop: Duration::from_secs(5),
        }
    }

    /// Logs a step's metrics: `[("loss", loss)]`, a `Vec` of such pairs, or a loader's [`Stats`](crate::Stats).
    ///
    /// Takes well below a microsecond, and never waits, unless the queues are told to ([`Overflow::Block`]).
    pub fn log(&self, step: u64, metrics: impl Into<Metrics>) {
        self.push(Record::new(step, metrics.into(), None));
    }

    /// Logs something that a person should hear of. A `Webhook` (feature `webhook`) posts it, at once; other sinks note
    /// it when they next write.
    pub fn alert(&self, step: u64, text: impl Into<Cow<'static, str>>) {
        self.push(Record::new(step, Metrics::default(), Some(text.into())));
        self.lanes.iter().filter(|lane| lane.is_for_alerts_only()).for_each(Lane::flush);
    }

    fn push(&self, record: Record) {
        for lane in self.lanes.iter().filter(|lane| lane.takes(&record)) {
            lane.push(record.clone());
        }
    }

    /// Has what this thread has logged written at once, and waits for it, as long as this at the most: before a
    /// checkpoint, say, so that the log is not behind it.
    pub fn flush(&self, timeout: Duration) -> Report {
        let logged: Vec<u64> = self.lanes.iter().map(|lane| lane.report().logged).collect();
        self.lanes.iter().for_each(Lane::flush);
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let report = self.report();
            let is_through =
                report.sinks.iter().zip(&logged).all(|(sink, logged)| sink.written + sink.dropped >= *logged);
            if is_through || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return report;
            }
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// What has become so far of what was logged.
    pub fn report(&self) -> Report {
        Report { sinks: self.lanes.iter().map(Lane::report).collect() }
    }

    /// Ends the threads, and says what has become of what was logged.
    pub fn shutdown(mut self, how: Shutdown) -> Report {
        self.end(how)
    }

    fn end(&mut self, how: Shutdown) -> Report {
        self.lanes.iter().for_each(|lane| lane.end(how));
        if let Shutdown::Drain(timeout) = how {
            let deadline = Instant::now().checked_add(timeout);
            self.lanes.iter().for_each(|lane| lane.wait(deadline));
        }
        Report { sinks: self.lanes.drain(..).map(|lane| lane.report()).collect() }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let report = self.end(Shutdown::Drain(self.drain_on_drop));
        // Of those that are disabled it was said already.
        let is_short = |sink: &SinkReport| sink.written < sink.logged && !sink.is_disabled;
        let lines: Vec<String> = report.sinks.iter().filter(|sink| is_short(sink)).map(SinkReport::to_string).collect();
        if !lines.is_empty() {
            warn_soon(lines.join("; "));
        }
    }
}

impl fmt::Debug for TelemetryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sinks: Vec<_> = self.sinks.iter().map(|sink| sink.name()).collect();
        f.debug_struct("TelemetryBuilder").field("sinks", &sinks).finish_non_exhaustive()
    }
}

/// Settings of a [`Telemetry`]; made by [`Telemetry::builder`].
pub struct TelemetryBuilder {
    sinks: Vec<Box<dyn Sink>>,
    settings: lane::Settings,
    drain_on_drop: Duration,
}

impl TelemetryBuilder {
    /// Adds a sink.
    pub fn sink(mut self, sink: impl Sink + 'static) -> Self {
        self.sinks.push(Box::new(sink));
        self
    }

    /// How many records may wait for each sink, however large they are (default: 4096).
    pub fn capacity(mut self, records: usize) -> Self {
        self.settings.capacity = records;
        self
    }

    /// What happens when more come (default: the oldest is dropped).
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.settings.overflow = overflow;
        self
    }

    /// How often sinks write out what they hold (default: every second). It is what a `kill -9` can cost.
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.settings.flush_interval = interval;
        self
    }

    /// After how many failures in a row a sink is disabled (default: 5). Until then what it could not write is tried
    /// again, a flush interval later, then two, then four. At the end there is no such limit but the time to drain.
    pub fn max_failures(mut self, failures: u32) -> Self {
        self.settings.max_failures = failures;
        self
    }

    /// How long dropping the [`Telemetry`] may take to write what is left (default: five seconds).
    pub fn drain_on_drop(mut self, timeout: Duration) -> Self {
        self.drain_on_drop = timeout;
        self
    }

    /// Starts a thread for each sink.
    ///
    /// # Errors
    ///
    /// If `capacity` or `max_failures` is 0, `capacity` is beyond 2^24, or the system refuses to start a thread.
    pub fn start(self) -> Result<Telemetry> {
        let TelemetryBuilder { sinks, settings, drain_on_drop } = self;
        for (name, value) in [("capacity", settings.capacity), ("max_failures", settings.max_failures as usize)] {
            if value == 0 {
                return Err(Error::new(ErrorKind::Config, format!("{name} must be at least 1")));
            }
        }
        if settings.capacity > 1 << 24 {
            return Err(Error::new(ErrorKind::Config, "capacity must be at most 16777216"));
        }
        // Those that were started before one that cannot be end when this is dropped.
        let mut telemetry = Telemetry { lanes: Vec::new(), drain_on_drop };
        for sink in sinks {
            telemetry.lanes.push(Lane::start(sink, settings)?);
        }
        Ok(telemetry)
    }
}

/// So that a line stays one, of a file or on a terminal.
fn on_one_line(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) { text.replace(char::is_control, " ").into() } else { text.into() }
}

/// Says something on stderr. That nobody may be there to hear it is no reason to panic.
fn warn(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "sutler: {text}");
}

/// As [`warn`], and waits for it no longer than a moment: nobody may be reading.
fn warn_soon(text: String) {
    let (says, said) = crossbeam_channel::bounded::<()>(0);
    let say = move || {
        warn(format_args!("telemetry ends: {text}"));
        drop(says);
    };
    if thread::Builder::new().spawn(say).is_ok() {
        let _ = said.recv_timeout(Duration::from_millis(100));
    }
}
