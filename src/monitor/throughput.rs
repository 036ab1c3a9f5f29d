//! `Throughput`: what a loader delivers.

use std::fmt;
use std::time::Instant;

use super::own::rate;
use super::{Stop, Task};
use crate::error::Result;
use crate::stats::Stats;

/// A [`Task`](super::Task) that reads what a loader has done since the last reading.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use sutler::monitor::{Monitor, Throughput};
/// use sutler::{InMemory, Loader};
///
/// let loader = Loader::builder((0..1000).collect::<InMemory<i64>>()).batch_size(10).build()?;
/// let loader = Arc::new(loader);
/// let shared = Arc::clone(&loader);
/// let throughput = Throughput::of(move || shared.stats());
/// let monitor = Monitor::every(Duration::from_secs(1), throughput).name("loader").start()?;
/// for batch in loader.epoch() {
///     batch?;
/// }
/// # Ok::<(), sutler::Error>(())
/// ```
pub struct Throughput<F> {
    stats: F,
    before: Option<(Instant, Stats)>,
}

/// What a loader has done since the last reading. All `None` in the first.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ThroughputReading {
    /// Batches a second that the training loop had.
    pub batches_per_second: Option<f64>,
    /// Samples a second that workers loaded.
    pub samples_per_second: Option<f64>,
    /// Bytes of files a second that workers read; see [`Stats::bytes_read`].
    pub bytes_per_second: Option<f64>,
    /// The share of its time that the training loop waited for data, from 0 to 1; see [`Stats::consumer_wait_share`].
    pub consumer_wait_share: Option<f64>,
    /// How busy the workers were, from 0 to 1; see [`Stats::worker_utilization`].
    pub worker_utilization: Option<f64>,
    /// How full the queue was, from 0 to 1; see [`Stats::queue_occupancy`].
    pub queue_occupancy: Option<f64>,
}

impl<F: FnMut() -> Stats> Throughput<F> {
    /// Of whatever gives [`Stats`].
    pub fn of(stats: F) -> Self {
        Throughput { stats, before: None }
    }
}

impl<F: FnMut() -> Stats + Send + 'static> Task for Throughput<F> {
    type Value = ThroughputReading;

    fn run(&mut self, _: &Stop) -> Result<ThroughputReading> {
        let (stats, now) = ((self.stats)(), Instant::now());
        let reading = self.before.as_ref().map_or_else(ThroughputReading::default, |(at, before)| {
            let done = stats.since(before);
            let per_second = |count| rate(Some(0), Some(count), now - *at);
            ThroughputReading {
                batches_per_second: per_second(done.batches),
                samples_per_second: per_second(done.samples),
                bytes_per_second: per_second(done.bytes_read),
                consumer_wait_share: Some(done.consumer_wait_share()),
                worker_utilization: Some(done.worker_utilization()),
                queue_occupancy: Some(done.queue_occupancy()),
            }
        });
        self.before = Some((now, stats));
        Ok(reading)
    }
}

impl<F> fmt::Debug for Throughput<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throughput").finish_non_exhaustive()
    }
}
