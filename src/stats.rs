//! What a loader counts, and the report made of it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::memory::BufferPool;

/// The counters that workers and consumer write. Each is a sum of its own, so relaxed order is enough.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) samples: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) substituted: AtomicU64,
    pub(crate) worker_busy_ns: AtomicU64,
    stages_ns: [AtomicU64; STAGES],
    pub(crate) consumer_wait_ns: AtomicU64,
    pub(crate) epoch_ns: AtomicU64,
}

/// What a worker does with an image, step by step.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "vision"), allow(dead_code, reason = "only images have stages"))]
pub(crate) enum Stage {
    Read,
    Header,
    Decode,
    Resample,
    Write,
}

const STAGES: usize = Stage::Write as usize + 1;

thread_local! {
    /// What this thread has spent in each stage, in nanoseconds, and nobody has counted yet.
    static SPENT: [Cell<u64>; STAGES] = const { [const { Cell::new(0) }; STAGES] };
}

/// Does a stage's work, and notes the time that it took. Two readings of the clock, so not for a pixel or a number.
#[cfg_attr(not(feature = "vision"), allow(dead_code, reason = "only images have stages"))]
pub(crate) fn timed<T>(stage: Stage, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    SPENT.with(|spent| {
        let cell = &spent[stage as usize];
        cell.set(cell.get() + started.elapsed().as_nanos() as u64);
    });
    done
}

/// Since when a worker has been at it, and what its thread had done before, for somebody else: a sample may itself load
/// from another loader, or wait for rayon, which uses the time for another job.
pub(crate) struct Shift {
    started: Instant,
    before: [u64; STAGES],
}

impl Shift {
    pub(crate) fn start() -> Self {
        let before = SPENT.with(|spent| std::array::from_fn(|stage| spent[stage].take()));
        Shift { started: Instant::now(), before }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Counters {
    /// Takes note of what this thread did in its shift.
    pub(crate) fn worked(&self, samples: usize, elapsed: Duration, shift: Shift) {
        self.samples.fetch_add(samples as u64, Relaxed);
        self.worker_busy_ns.fetch_add(elapsed.as_nanos() as u64, Relaxed);
        SPENT.with(|spent| {
            for ((total, spent), before) in self.stages_ns.iter().zip(spent).zip(shift.before) {
                match spent.replace(before) {
                    0 => {}
                    spent => drop(total.fetch_add(spent, Relaxed)),
                }
            }
        });
    }

    pub(crate) fn report(&self, buffers: &BufferPool, bad_samples: u64) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let pool = buffers.counts();
        Stats {
            batches: count(&self.batches),
            samples: count(&self.samples),
            errors: count(&self.errors),
            bad_samples,
            skipped: count(&self.skipped),
            substituted: count(&self.substituted),
            worker_busy: Duration::from_nanos(count(&self.worker_busy_ns)),
            stages: StageTimes::of(|stage| Duration::from_nanos(count(&self.stages_ns[stage as usize]))),
            consumer_wait: Duration::from_nanos(count(&self.consumer_wait_ns)),
            epoch_time: Duration::from_nanos(count(&self.epoch_ns)),
            buffers_allocated: pool.allocated,
            buffers_leased: pool.leased,
            buffers_live: pool.leased.saturating_sub(pool.returned),
            buffer_bytes: pool.held_bytes,
            buffer_bytes_live: pool.live_bytes,
            buffer_bytes_peak: pool.peak_bytes,
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
    /// Different samples that could not be loaded, and are in the [`Quarantine`](crate::Quarantine).
    pub bad_samples: u64,
    /// How often a bad sample was left out of a batch ([`OnError::Skip`](crate::OnError::Skip)).
    pub skipped: u64,
    /// How often another sample was put in the place of a bad one ([`OnError::Substitute`](crate::OnError::Substitute)).
    pub substituted: u64,
    /// Time that workers spent in datasets, transforms and collates, all workers together.
    pub worker_busy: Duration,
    /// How much of [`worker_busy`](Stats::worker_busy) went into each stage of an image.
    pub stages: StageTimes,
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
    /// Bytes of all batch buffers there are, in use or held ready; see [`BufferPool`].
    pub buffer_bytes: u64,
    /// Bytes of the batch buffers in use now.
    pub buffer_bytes_live: u64,
    /// The most bytes of batch buffers that were ever in use.
    pub buffer_bytes_peak: u64,
}

/// The time that workers spent in the stages of an image, all workers together. What else they did, other transforms above
/// all, is the rest of [`Stats::worker_busy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageTimes {
    /// Opening and reading files.
    pub read: Duration,
    /// Size and orientation, from the header.
    pub header: Duration,
    /// From a file's bytes to pixels.
    pub decode: Duration,
    /// Resizing.
    pub resample: Duration,
    /// Into the batch: conversion, normalisation.
    pub write: Duration,
}

impl StageTimes {
    fn of(time: impl Fn(Stage) -> Duration) -> Self {
        StageTimes {
            read: time(Stage::Read),
            header: time(Stage::Header),
            decode: time(Stage::Decode),
            resample: time(Stage::Resample),
            write: time(Stage::Write),
        }
    }

    /// All stages together.
    pub fn total(&self) -> Duration {
        self.read + self.header + self.decode + self.resample + self.write
    }

    fn since(&self, earlier: &StageTimes) -> StageTimes {
        StageTimes {
            read: self.read.saturating_sub(earlier.read),
            header: self.header.saturating_sub(earlier.header),
            decode: self.decode.saturating_sub(earlier.decode),
            resample: self.resample.saturating_sub(earlier.resample),
            write: self.write.saturating_sub(earlier.write),
        }
    }
}

impl Stats {
    /// The share of its time that the consumer spent waiting for data, from 0 to 1; 0 before the first epoch.
    pub fn consumer_wait_share(&self) -> f64 {
        match self.epoch_time.as_secs_f64() {
            0.0 => 0.0,
            total => self.consumer_wait.as_secs_f64() / total,
        }
    }

    /// What came since an `earlier` report of the same loader. The bad samples, the buffers in use and the bytes are a state,
    /// and stay as they are now.
    pub fn since(&self, earlier: &Stats) -> Stats {
        Stats {
            batches: self.batches - earlier.batches,
            samples: self.samples - earlier.samples,
            errors: self.errors - earlier.errors,
            skipped: self.skipped - earlier.skipped,
            substituted: self.substituted - earlier.substituted,
            worker_busy: self.worker_busy.saturating_sub(earlier.worker_busy),
            stages: self.stages.since(&earlier.stages),
            consumer_wait: self.consumer_wait.saturating_sub(earlier.consumer_wait),
            epoch_time: self.epoch_time.saturating_sub(earlier.epoch_time),
            buffers_allocated: self.buffers_allocated - earlier.buffers_allocated,
            buffers_leased: self.buffers_leased - earlier.buffers_leased,
            ..*self
        }
    }
}
