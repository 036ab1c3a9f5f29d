//! `Watch`: which sample each thread is loading, and since when.

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};

/// The samples that are being loaded, by worker. Kept only for loaders with a timeout: looking at the clock costs as much
/// as a cheap sample.
pub(super) struct Watch {
    workers: Vec<Mutex<Loading>>,
}

/// While it lives, its thread is loading a sample.
pub(super) struct Watched<'a> {
    mine: Option<&'a Mutex<Loading>>,
    /// What the thread was loading before: a sample may wait for others, which its thread then loads.
    before: Loading,
}

/// What a worker loads, for which batch, and since when.
type Loading = Option<(SampleName, Option<BatchId>, Instant)>;

/// A batch among all those of a loader: its epoch, and the place of its first sample.
pub(super) type BatchId = (u64, usize);

/// What a sample is called in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SampleName {
    /// The shard that it is in, for datasets that have some.
    pub(super) shard: Option<usize>,
    pub(super) index: usize,
}

impl SampleName {
    pub(super) fn parts(&self) -> (Option<usize>, usize) {
        (self.shard, self.index)
    }
}

impl fmt::Display for SampleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shard {
            Some(shard) => write!(f, "sample {} of shard {shard}", self.index),
            None => write!(f, "sample {}", self.index),
        }
    }
}

impl Watch {
    pub(super) fn new(num_workers: usize) -> Self {
        Watch { workers: (0..num_workers).map(|_| Mutex::new(None)).collect() }
    }

    /// Takes note that the current thread loads a sample from now on, and for which batch, if that is known.
    pub(super) fn begin(&self, name: SampleName, batch: impl Into<Option<BatchId>>) -> Watched<'_> {
        let mine = rayon::current_thread_index().and_then(|worker| self.workers.get(worker));
        let now = Some((name, batch.into(), Instant::now()));
        let before =
            mine.and_then(|mine| std::mem::replace(&mut *mine.lock().unwrap_or_else(PoisonError::into_inner), now));
        Watched { mine, before }
    }

    /// What is being loaded for a batch, and for how long.
    pub(super) fn loading_for(&self, batch: BatchId) -> impl Iterator<Item = (SampleName, Duration)> + '_ {
        let of_batch = self.by_worker().filter(move |(_, (_, of, _))| *of == Some(batch));
        of_batch.map(|(_, (name, _, since))| (name, since.elapsed()))
    }

    fn by_worker(&self) -> impl Iterator<Item = (usize, (SampleName, Option<BatchId>, Instant))> + '_ {
        let loading = |worker: &Mutex<Loading>| *worker.lock().unwrap_or_else(PoisonError::into_inner);
        self.workers.iter().map(loading).enumerate().filter_map(|(worker, loading)| Some((worker, loading?)))
    }

    /// A sentence about what is being loaded: `sample 7 (/data/x.jpg) for 31.2s on worker 0`.
    pub(super) fn report(&self, path: impl Fn(SampleName) -> Option<PathBuf>) -> String {
        let mut report = String::new();
        for (worker, (name, _, since)) in self.by_worker() {
            let path = path(name).map(|path| format!(" ({})", path.display())).unwrap_or_default();
            let separator = if report.is_empty() { "" } else { ", " };
            let elapsed = since.elapsed();
            // Writing to a string does not fail.
            let _ = write!(report, "{separator}{name}{path} for {elapsed:.1?} on worker {worker}");
        }
        report
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if let Some(mine) = self.mine {
            *mine.lock().unwrap_or_else(PoisonError::into_inner) = self.before;
        }
    }
}

/// The error of a batch that did not come in time; `besides` is what else can be done about it.
#[cold]
pub(super) fn timed_out(
    timeout: Option<Duration>,
    watch: &Option<Watch>,
    path: impl Fn(SampleName) -> Option<PathBuf>,
    besides: &str,
) -> Error {
    let running = watch.as_ref().map(|watch| watch.report(path)).filter(|report| !report.is_empty());
    let running = running.unwrap_or_else(|| {
        "nothing, so the batch is being collated, or the workers are busy with other loaders".into()
    });
    let timeout = timeout.unwrap_or_default();
    Error::new(
        ErrorKind::Timeout,
        format!(
            "no batch within {timeout:.1?}. Being loaded: {running}. The next call waits for the batch again, a larger \
             timeout gives it more time{besides}"
        ),
    )
}
