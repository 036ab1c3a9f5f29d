//! What a loader counts, the report made of it, and what that says about the run.

mod counters;
mod cpu;
mod diagnosis;
mod slowest;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use counters::{Counters, Shift, Stage};
#[cfg(feature = "vision")]
pub(crate) use counters::{has_read, timed};
pub(crate) use cpu::CpuTimes;
pub use diagnosis::{Diagnosis, Limit};
pub(crate) use slowest::Slow;

/// What a loader has done since it was built; see [`Loader::stats`](crate::Loader::stats).
///
/// To see one epoch, take the report before and after it and use [`since`](Stats::since).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many workers load samples now; 0 is the caller's own thread.
    pub num_workers: usize,
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
    /// How often another sample was put in the place of a bad one
    /// ([`OnError::Substitute`](crate::OnError::Substitute)).
    pub substituted: u64,
    /// Time that workers spent in datasets, transforms and collates, all workers together.
    pub worker_busy: Duration,
    /// How much of [`worker_busy`](Stats::worker_busy) went into each stage of an image.
    pub stages: StageTimes,
    /// Time that the consumer spent waiting inside `next()`.
    pub consumer_wait: Duration,
    /// Time from the start of each epoch to its end, or to its last `next()` so far: what
    /// [`consumer_wait`](Stats::consumer_wait) is a share of.
    pub epoch_time: Duration,
    /// The same for each worker that there was at the time: what [`worker_busy`](Stats::worker_busy) is a share of.
    pub(crate) worker_time: Duration,
    /// How many workers there may be, where [`NumWorkers::Auto`](crate::NumWorkers::Auto) says how many there are.
    pub(crate) most_workers: Option<usize>,
    /// Bytes of files that workers have read, by the datasets of this crate. Memory-mapped data is not counted.
    pub bytes_read: u64,
    /// How many batches were ready when `next()` was called, added up over all calls,
    pub queue_ready: u64,
    /// and how many were ready or in the making.
    pub queue_ahead: u64,
    /// The samples that took longest to load, the slowest first: up to eight different ones, since the loader was
    /// built; also such as failed, and such as took the place of a bad one. Samples are timed where they take at least
    /// 5 us on average; others cost no more than looking at the clock.
    pub slowest: Vec<SlowSample>,
    pub(crate) cpu: CpuTimes,
    /// Batch buffers allocated. Constant once the loader is warm; it grows when batches are kept.
    pub buffers_allocated: u64,
    /// Batch buffers handed out.
    pub buffers_leased: u64,
    /// Batch buffers handed out that were used before.
    pub buffers_recycled: u64,
    /// Batch buffers in use now, in the loader or with the consumer.
    pub buffers_live: u64,
    /// Bytes of all batch buffers there are, in use or held ready; see [`BufferPool`](crate::BufferPool).
    pub buffer_bytes: u64,
    /// Bytes of the batch buffers in use now.
    pub buffer_bytes_live: u64,
    /// The most bytes of batch buffers that were ever in use.
    pub buffer_bytes_peak: u64,
}

/// The time that workers spent in the stages of an image, all workers together. What else they did, other transforms
/// above all, is the rest of [`Stats::worker_busy`].
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
    pub(crate) fn of(time: impl Fn(Stage) -> Duration) -> Self {
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

/// A sample that took long to load.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowSample {
    /// Its index in the dataset.
    pub index: usize,
    /// The shard that the index counts in, of an [`IterableDataset`](crate::IterableDataset).
    pub shard: Option<usize>,
    /// The absolute path of its file, if it has one.
    pub path: Option<PathBuf>,
    /// How long it took, at its slowest.
    pub time: Duration,
}

impl fmt::Display for SlowSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sample {}", self.index)?;
        if let Some(shard) = self.shard {
            write!(f, " of shard {shard}")?;
        }
        if let Some(path) = &self.path {
            write!(f, " ({})", path.display())?;
        }
        write!(f, ", {:.1?}", self.time)
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

    /// How full the queue was when `next()` was called: the share of the batches ahead that were ready, from 0 (every
    /// batch is waited for) to 1 (the workers wait for the consumer).
    pub fn queue_occupancy(&self) -> f64 {
        match self.queue_ahead {
            0 => 0.0,
            ahead => self.queue_ready as f64 / ahead as f64,
        }
    }

    /// How busy the workers were, from 0 to 1, however many they were at the time; 0 without any.
    ///
    /// This is about work for this loader: on a [`WorkerPool`](crate::WorkerPool) that others share, a worker that is
    /// busy for another one looks idle, and the [`diagnosis`](Stats::diagnosis) takes it for that.
    pub fn worker_utilization(&self) -> f64 {
        match self.worker_time.as_secs_f64() {
            0.0 => 0.0,
            most => self.worker_busy.as_secs_f64() / most,
        }
    }

    /// How much of the workers' busy time a core was at work for them, from 0 to 1; the rest they waited, for a file or
    /// for a core. Measured on Linux, every tenth of a second of work; `None` where it is not known.
    pub fn worker_cpu_share(&self) -> Option<f64> {
        self.cpu.share(self.cpu.on_core)
    }

    /// What limits this run, and what to change: one sentence, printed.
    ///
    /// It is about the time that this report covers: for what limits it now, take the difference of two
    /// ([`since`](Stats::since)). And it is about this loader alone: what workers do for others that share its pool, it
    /// does not see, so that a pool which others keep busy passes for one with too little to do.
    ///
    /// ```
    /// # use sutler::{InMemory, Loader};
    /// # let loader = Loader::builder((0..1000).collect::<InMemory<i64>>()).batch_size(4).build()?;
    /// for batch in &loader {
    ///     batch?;
    /// }
    /// println!("{}", loader.stats().diagnosis()); // The training loop loads its own samples, …
    /// # Ok::<(), sutler::Error>(())
    /// ```
    pub fn diagnosis(&self) -> Diagnosis {
        Diagnosis::of(self)
    }

    /// What came since an `earlier` report of the same loader. The number of workers, the bad and the slowest samples,
    /// the buffers in use and their bytes are a state, and stay as they are now. Nothing came since a later report.
    pub fn since(&self, earlier: &Stats) -> Stats {
        Stats {
            batches: self.batches.saturating_sub(earlier.batches),
            samples: self.samples.saturating_sub(earlier.samples),
            errors: self.errors.saturating_sub(earlier.errors),
            skipped: self.skipped.saturating_sub(earlier.skipped),
            substituted: self.substituted.saturating_sub(earlier.substituted),
            worker_busy: self.worker_busy.saturating_sub(earlier.worker_busy),
            stages: self.stages.since(&earlier.stages),
            consumer_wait: self.consumer_wait.saturating_sub(earlier.consumer_wait),
            epoch_time: self.epoch_time.saturating_sub(earlier.epoch_time),
            worker_time: self.worker_time.saturating_sub(earlier.worker_time),
            buffers_allocated: self.buffers_allocated.saturating_sub(earlier.buffers_allocated),
            buffers_leased: self.buffers_leased.saturating_sub(earlier.buffers_leased),
            buffers_recycled: self.buffers_recycled.saturating_sub(earlier.buffers_recycled),
            bytes_read: self.bytes_read.saturating_sub(earlier.bytes_read),
            queue_ready: self.queue_ready.saturating_sub(earlier.queue_ready),
            queue_ahead: self.queue_ahead.saturating_sub(earlier.queue_ahead),
            cpu: self.cpu.since(&earlier.cpu),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_came_since_a_later_report() {
        let counted = |count: u64| Stats {
            batches: count,
            samples: count,
            errors: count,
            skipped: count,
            substituted: count,
            worker_busy: count as u32 * SECOND,
            consumer_wait: count as u32 * SECOND,
            epoch_time: count as u32 * SECOND,
            worker_time: count as u32 * SECOND,
            bytes_read: count,
            queue_ready: count,
            queue_ahead: count,
            buffers_allocated: count,
            buffers_leased: count,
            buffers_recycled: count,
            ..Stats::default()
        };
        assert_eq!(counted(3).since(&counted(5)), Stats::default());
        assert_eq!(counted(5).since(&counted(3)), counted(2));
    }

    #[test]
    fn workers_are_as_busy_as_those_were_that_there_were_at_the_time() {
        // One for ten seconds, busy half of the time, then sixteen for ten more, busy all of it.
        let one = Stats {
            num_workers: 1,
            worker_busy: 5 * SECOND,
            worker_time: 10 * SECOND,
            epoch_time: 10 * SECOND,
            ..Stats::default()
        };
        let sixteen = Stats {
            num_workers: 16,
            worker_busy: 165 * SECOND,
            worker_time: 170 * SECOND,
            epoch_time: 20 * SECOND,
            ..Stats::default()
        };
        assert_eq!((one.worker_utilization(), sixteen.worker_utilization()), (0.5, 165.0 / 170.0));
        assert_eq!((sixteen.since(&one).worker_utilization(), Stats::default().worker_utilization()), (1.0, 0.0));
    }
}
