//! What a loader counts, and the report made of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::memory::BufferPool;

/// The counters that workers and consumer write. Each is a sum of its own, so relaxed order is enough.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) samples: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) worker_busy_ns: AtomicU64,
    pub(crate) consumer_wait_ns: AtomicU64,
    pub(crate) epoch_ns: AtomicU64,
}

impl Counters {
    pub(crate) fn report(&self, buffers: &BufferPool) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let pool = buffers.counts();
        Stats {
            batches: count(&self.batches),
            samples: count(&self.samples),
            errors: count(&self.errors),
            worker_busy: Duration::from_nanos(count(&self.worker_busy_ns)),
            consumer_wait: Duration::from_nanos(count(&self.consumer_wait_ns)),
            epoch_time: Duration::from_nanos(count(&self.epoch_ns)),
            buffers_allocated: pool.allocated,
            buffers_leased: pool.leased,
            buffers_live: pool.leased.saturating_sub(pool.returned),
        }
    }
}

/// What a loader has done since it was built; see [`Loader::stats`](crate::Loader::stats).
///
/// To see one epoch, take the report before and after it and use [`since`](Stats::since).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Batches delivered to the consumer, failed ones not counted.
    pub batches: u64,
    /// Samples loaded by workers; more than were delivered while some are ahead or were cancelled.
    pub samples: u64,
    /// What was delivered as an `Err`.
    pub errors: u64,
    /// Time that workers spent in datasets, transforms and collates, all workers together.
    pub worker_busy: Duration,
    /// Time that the consumer spent waiting inside `next()`.
    pub consumer_wait: Duration,
    /// Time from the start of each epoch to its end, or to its last `next()` so far: what [`consumer_wait`](Stats::consumer_wait) is
    /// a share of.
    pub epoch_time: Duration,
    /// Batch buffers allocated. Constant once the loader is warm; it grows when batches are kept.
    pub buffers_allocated: u64,
    /// Batch buffers handed out.
    pub buffers_leased: u64,
    /// Batch buffers in use now, in the loader or with the consumer.
    pub buffers_live: u64,
}

impl Stats {
    /// The share of its time that the consumer spent waiting for data, from 0 to 1; 0 before the first epoch.
    pub fn consumer_wait_share(&self) -> f64 {
        match self.epoch_time.as_secs_f64() {
            0.0 => 0.0,
            total => self.consumer_wait.as_secs_f64() / total,
        }
    }

    /// What came since an `earlier` report of the same loader. `buffers_live` is a state and stays as it is now.
    pub fn since(&self, earlier: &Stats) -> Stats {
        Stats {
            batches: self.batches - earlier.batches,
            samples: self.samples - earlier.samples,
            errors: self.errors - earlier.errors,
            worker_busy: self.worker_busy.saturating_sub(earlier.worker_busy),
            consumer_wait: self.consumer_wait.saturating_sub(earlier.consumer_wait),
            epoch_time: self.epoch_time.saturating_sub(earlier.epoch_time),
            buffers_allocated: self.buffers_allocated - earlier.buffers_allocated,
            buffers_leased: self.buffers_leased - earlier.buffers_leased,
            buffers_live: self.buffers_live,
        }
    }
}
