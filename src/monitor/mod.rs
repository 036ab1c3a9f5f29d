//! What is read beside a training loop: GPUs, the machine, a disk, a loader, the output of a command, anything.
//!
//! A [`Monitor`] runs a [`Task`] every so often on a thread of its own. The training loop looks at the
//! [latest](Monitor::latest) reading whenever it likes, for the price of a lock that nobody holds for long:
//!
//! ```
//! use std::time::Duration;
//!
//! use sutler::monitor::{Gpu, Host, Monitor};
//! use sutler::{InMemory, Loader};
//!
//! # fn main() -> sutler::Result<()> {
//! let second = Duration::from_secs(1);
//! let host = Monitor::every(second, Host::new()).name("host").start()?;
//! // A machine without a GPU trains as well.
//! let gpu = match Gpu::open() {
//!     Ok(gpu) => Some(Monitor::every(second, gpu).name("gpu").history(600).start()?),
//!     Err(error) => {
//!         eprintln!("{error}");
//!         None
//!     }
//! };
//!
//! let loader = Loader::builder((0..1000).collect::<InMemory<i64>>()).batch_size(100).build()?;
//! for (step, batch) in (&loader).into_iter().enumerate() {
//!     let batch = batch?;
//!     // … a training step …
//! #   drop(batch);
//!     if step % 5 == 0 {
//!         if let Some(reading) = host.latest() {
//!             println!("step {step}: {} MiB of memory are left", reading.value.memory_available >> 20);
//!         }
//!         // Every reading since it was last asked for.
//!         for reading in gpu.iter().flat_map(Monitor::history) {
//!             println!("tick {}: {:?}", reading.tick, reading.value);
//!         }
//!         if let Some(failure) = gpu.as_ref().and_then(Monitor::failure) {
//!             println!("tick {} failed: {}", failure.tick, failure.error);
//!         }
//!     }
//! }
//! // Dropped, a monitor stops; nobody waits for a task that is in the middle of something.
//! # Ok(())
//! # }
//! ```
//!
//! # What can be read
//!
//! * [`Gpu`]: memory, utilisation and temperature of NVIDIA's GPUs.
//! * [`Host`]: memory and processor time, of the machine and of this process.
//! * [`Disk`]: what is free where a path lies, and what this process reads and writes.
//! * [`Throughput`]: batches, samples and bytes a second of a loader.
//! * `Command` (on unix): what a program writes.
//! * Any `FnMut() -> Result<T>`, and what else is a [`Task`].
//!
//! The readings of these are [`Metrics`](crate::telemetry::Metrics): `telemetry.log(step, &reading.value)`.
//!
//! # What it promises
//!
//! * Ticks are at the start and whole intervals after it. They do not drift. A tick that passes while the task is
//!   still at the one before is left out and [counted](Monitor::missed); a task never runs twice at once.
//! * The training loop does not notice a task that is slow, fails, panics or hangs, except by readings that do not
//!   come. It waits for none, also where it stops the monitor.
//! * After [`Monitor::stop`], or the drop of the monitor, no further reading appears.
//! * Of the history, as much is kept as was [asked for](MonitorBuilder::history).

#[cfg(unix)]
mod child;
#[cfg(unix)]
mod command;
mod disk;
mod gpu;
mod host;
mod metrics;
mod own;
mod reading;
mod stop;
mod task;
mod throughput;
mod ticks;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_queue::ArrayQueue;

#[cfg(unix)]
pub use command::{Command, Output};
pub use disk::{Disk, DiskReading};
pub use gpu::{Gpu, GpuReading, GpuSource};
pub use host::{Host, HostReading};
pub use reading::{Failure, Reading};
pub use stop::Stop;
pub use task::Task;
pub use throughput::{Throughput, ThroughputReading};

use crate::error::{Error, ErrorKind, Result};
use crate::guard::{discard, guarded};
use ticks::Ticks;

/// Runs a [`Task`] every so often, on a thread of its own; see [the module](self).
///
/// Dropped, it [stops](Monitor::stop).
pub struct Monitor<T> {
    shared: Arc<Shared<T>>,
    stop: Stop,
}

/// The settings of a [`Monitor`] that is yet to be started.
#[must_use = "a monitor does nothing until it is started"]
pub struct MonitorBuilder<K> {
    interval: Duration,
    task: K,
    name: String,
    history: usize,
}

/// Room for all of it is made at the start.
const MOST_HISTORY: usize = 1 << 24;

/// What the thread leaves for others to see.
struct Shared<T> {
    latest: Mutex<Latest<T>>,
    /// `None` if nobody asked for one.
    history: Option<ArrayQueue<Arc<Reading<T>>>>,
}

struct Latest<T> {
    reading: Option<Arc<Reading<T>>>,
    failure: Option<Arc<Failure>>,
    /// Ticks that were left out,
    missed: u64,
    /// and readings that had to leave the history for later ones.
    dropped: u64,
}

impl<T> Monitor<T> {
    /// A monitor that is to run a task at once, and then every `interval`. Nothing happens until
    /// [`start`](MonitorBuilder::start).
    ///
    /// To ask a GPU or the system more often than once a second tells little more, and what asks them may hold up
    /// others for a moment, in the driver or in the kernel.
    pub fn every<K: Task<Value = T>>(interval: Duration, task: K) -> MonitorBuilder<K> {
        MonitorBuilder { interval, task, name: "monitor".into(), history: 0 }
    }

    /// The latest reading; `None` until the first. It stays when later runs [fail](Monitor::failure).
    pub fn latest(&self) -> Option<Arc<Reading<T>>> {
        self.shared.latest().reading.clone()
    }

    /// The latest error, if ever there was one. It stays when later runs succeed: if its [tick](Failure::tick) is
    /// greater than that of the [latest](Monitor::latest) reading, the task fails now.
    pub fn failure(&self) -> Option<Arc<Failure>> {
        self.shared.latest().failure.clone()
    }

    /// Takes the readings that came since this was last called, the oldest first; those that had to leave for later
    /// ones are [counted](Monitor::dropped). Empty unless a [history](MonitorBuilder::history) was asked for.
    pub fn history(&self) -> Vec<Arc<Reading<T>>> {
        let Some(queue) = &self.shared.history else { return Vec::new() };
        // No more than are there now, or a quick task could keep this up.
        (0..queue.len()).map_while(|_| queue.pop()).collect()
    }

    /// How many ticks were left out, because the task was still at an earlier one; counted when that ends.
    pub fn missed(&self) -> u64 {
        self.shared.latest().missed
    }

    /// How many readings left the history for later ones before anybody took them.
    pub fn dropped(&self) -> u64 {
        self.shared.latest().dropped
    }

    /// Ends it at once: from here on no further reading appears, and no further run begins. What was read can still be
    /// had.
    ///
    /// It does not wait for a run that is in the middle of something. A program that a [task](Task) of this module has
    /// started is killed here and now (for one that is just being started it waits, half a second at the most); what
    /// else a run does, it may go on with until it is done, unseen.
    pub fn stop(&self) {
        self.stop.stop();
    }
}

impl<T> Drop for Monitor<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<K: Task> MonitorBuilder<K> {
    /// What the thread is called, behind `sutler-`. Linux shows the first 15 bytes in all. `monitor` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many readings to keep until [`Monitor::history`] takes them; of more, the oldest go. None by default.
    pub fn history(mut self, readings: usize) -> Self {
        self.history = readings;
        self
    }

    /// Starts the thread. The first run begins at once.
    ///
    /// # Errors
    ///
    /// If the interval is zero, the history beyond 2^24, the name holds a zero byte, or the system refuses to start a
    /// thread.
    pub fn start(self) -> Result<Monitor<K::Value>> {
        let MonitorBuilder { interval, mut task, name, history } = self;
        if interval.is_zero() {
            return Err(Error::new(ErrorKind::Config, "the interval of a monitor is zero: give it some time"));
        }
        if history > MOST_HISTORY {
            return Err(Error::new(ErrorKind::Config, format!("the history of a monitor is at most {MOST_HISTORY}")));
        }
        if name.contains('\0') {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{name:?} cannot name a thread: leave out the zero byte"),
            ));
        }
        let shared = Arc::new(Shared::new(history));
        let stop = Stop::default();
        let monitor = Monitor { shared: Arc::clone(&shared), stop: stop.clone() };
        let doing = format!("the task of monitor {name:?}");
        let run = move || {
            run(&doing, &mut task, Ticks::new(Instant::now(), interval), &shared, &stop);
            // A task that does not go is not to keep what was read.
            drop(shared);
            discard(task);
        };
        match thread::Builder::new().name(format!("sutler-{name}")).spawn(run) {
            Ok(_) => Ok(monitor),
            Err(source) => {
                Err(Error::new(ErrorKind::Config, "cannot start the thread of a monitor").with_source(source))
            }
        }
    }
}

/// What the thread does, until it is stopped.
fn run<K: Task>(doing: &str, task: &mut K, mut ticks: Ticks, shared: &Shared<K::Value>, stop: &Stop) {
    while !stop.wait_until(ticks.due()) {
        let (began, at) = (Instant::now(), SystemTime::now());
        let tick = ticks.begin(began);
        let result = guarded(doing, || task.run(stop));
        let ended = Instant::now();
        let missed = ticks.end(ended);
        let outcome = Outcome::of(tick, at, ended - began, result);
        let replaced = stop.unless_stopped(|| shared.publish(&outcome, missed));
        // What is the user's may take its time to go, or panic. So it goes here, under no lock.
        discard(outcome);
        if let Some((latest, oldest)) = replaced {
            discard(latest);
            discard(oldest);
        }
    }
}

/// What a run came to.
enum Outcome<T> {
    Reading(Arc<Reading<T>>),
    Failure(Arc<Failure>),
}

impl<T> Outcome<T> {
    fn of(tick: u64, at: SystemTime, took: Duration, result: Result<T>) -> Self {
        match result {
            Ok(value) => Outcome::Reading(Arc::new(Reading { tick, at, took, value })),
            Err(error) => Outcome::Failure(Arc::new(Failure { tick, at, took, error })),
        }
    }
}

impl<T> Shared<T> {
    fn new(history: usize) -> Self {
        Shared {
            latest: Mutex::new(Latest { reading: None, failure: None, missed: 0, dropped: 0 }),
            history: (history > 0).then(|| ArrayQueue::new(history)),
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest<T>> {
        // Nothing of the user's runs under it.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the outcome of a run; what had to make room for it is the caller's to drop.
    fn publish(&self, outcome: &Outcome<T>, missed: u64) -> (Option<Outcome<T>>, Option<Arc<Reading<T>>>) {
        let mut latest = self.latest();
        latest.missed = missed;
        match outcome {
            Outcome::Reading(reading) => {
                let dropped = self.history.as_ref().and_then(|queue| queue.force_push(Arc::clone(reading)));
                latest.dropped += u64::from(dropped.is_some());
                (latest.reading.replace(Arc::clone(reading)).map(Outcome::Reading), dropped)
            }
            Outcome::Failure(failure) => (latest.failure.replace(Arc::clone(failure)).map(Outcome::Failure), None),
        }
    }
}

impl<T> Drop for Shared<T> {
    /// Values of the user's whose drop panics are not to take the training loop with them.
    fn drop(&mut self) {
        let latest = self.latest.get_mut().unwrap_or_else(PoisonError::into_inner);
        discard(latest.reading.take());
        discard(latest.failure.take());
        while let Some(reading) = self.history.as_ref().and_then(ArrayQueue::pop) {
            discard(reading);
        }
    }
}

impl<T> fmt::Debug for Monitor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latest { reading, failure, missed, .. } = &*self.shared.latest();
        let tick = reading.as_ref().map(|reading| reading.tick);
        let failed = failure.as_ref().map(|failure| failure.tick);
        f.debug_struct("Monitor")
            .field("tick", &tick)
            .field("failed", &failed)
            .field("missed", missed)
            .finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for MonitorBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorBuilder")
            .field("interval", &self.interval)
            .field("name", &self.name)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}
