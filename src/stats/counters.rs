//! The counters that workers and consumer write, and the stages of an image by thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::cpu;
use super::slowest::Slowest;
use super::{StageTimes, Stats};
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
    /// The same for each worker that there was.
    pub(crate) worker_ns: AtomicU64,
    bytes_read: AtomicU64,
    /// At each call of `next()`: how many batches were ready, and how many were ahead, ready or not.
    ready: AtomicU64,
    ahead: AtomicU64,
    /// The same at the last call.
    ahead_now: AtomicUsize,
    pub(crate) cpu: cpu::Shares,
    pub(crate) slowest: Slowest,
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
    /// The bytes it has read that nobody has counted yet.
    static READ: Cell<u64> = const { Cell::new(0) };
}

/// Takes note that this thread has read so much of a file.
#[cfg_attr(not(feature = "vision"), allow(dead_code, reason = "the formats read files"))]
pub(crate) fn has_read(bytes: usize) {
    READ.set(READ.get() + bytes as u64);
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
    read_before: u64,
}

impl Shift {
    pub(crate) fn start() -> Self {
        let before = SPENT.with(|spent| std::array::from_fn(|stage| spent[stage].take()));
        Shift { started: Instant::now(), before, read_before: READ.take() }
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
        self.cpu.worked(elapsed);
        match READ.replace(shift.read_before) {
            0 => {}
            bytes => drop(self.bytes_read.fetch_add(bytes, Relaxed)),
        }
        SPENT.with(|spent| {
            for ((total, spent), before) in self.stages_ns.iter().zip(spent).zip(shift.before) {
                match spent.replace(before) {
                    0 => {}
                    spent => drop(total.fetch_add(spent, Relaxed)),
                }
            }
        });
    }

    /// The consumer asks for a batch when so many are ready, of so many ahead.
    pub(crate) fn asked(&self, ready: usize, ahead: usize) {
        self.ready.fetch_add(ready as u64, Relaxed);
        self.ahead.fetch_add(ahead as u64, Relaxed);
        self.ahead_now.store(ahead, Relaxed);
    }

    /// How many batches were ahead when the consumer last asked for one.
    pub(crate) fn ahead_now(&self) -> usize {
        self.ahead_now.load(Relaxed)
    }

    /// What the counters and the pool know.
    pub(crate) fn report(&self, buffers: &BufferPool) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let pool = buffers.counts();
        Stats {
            batches: count(&self.batches),
            samples: count(&self.samples),
            errors: count(&self.errors),
            skipped: count(&self.skipped),
            substituted: count(&self.substituted),
            worker_busy: Duration::from_nanos(count(&self.worker_busy_ns)),
            stages: StageTimes::of(|stage| Duration::from_nanos(count(&self.stages_ns[stage as usize]))),
            consumer_wait: Duration::from_nanos(count(&self.consumer_wait_ns)),
            epoch_time: Duration::from_nanos(count(&self.epoch_ns)),
            worker_time: Duration::from_nanos(count(&self.worker_ns)),
            bytes_read: count(&self.bytes_read),
            queue_ready: count(&self.ready),
            queue_ahead: count(&self.ahead),
            cpu: self.cpu.times(),
            buffers_allocated: pool.allocated,
            buffers_leased: pool.leased,
            buffers_recycled: pool.recycled,
            buffers_live: pool.leased.saturating_sub(pool.returned),
            buffer_bytes: pool.held_bytes,
            buffer_bytes_live: pool.live_bytes,
            buffer_bytes_peak: pool.peak_bytes,
            ..Stats::default()
        }
    }
}
