//! `Shared`: what all epochs of a loader share.

use std::path::PathBuf;
use std::sync::Arc;

use super::bad::BadSamples;
use super::pace::Pace;
use super::tuner::Tuning;
use super::watch::{SampleName, Watch};
use crate::guard::guarded;
use crate::memory::BufferPool;
use crate::stats::{Counters, Slow, SlowSample, Stats};

/// What all epochs of a loader share, wherever samples come from.
pub(super) struct Shared<C> {
    pub(super) collate: C,
    pub(super) pace: Pace,
    pub(super) buffers: BufferPool,
    /// Shared with whoever counts in the consumer's place.
    pub(super) counters: Arc<Counters>,
    /// Who finds out how many workers there should be, where nobody has said.
    pub(super) tuning: Option<Arc<Tuning>>,
    pub(super) bad_samples: BadSamples,
    /// Who is loading what, where somebody may ask for it.
    pub(super) watch: Option<Watch>,
}

impl<C> Shared<C> {
    /// What the loader has done; `path` tells where a sample comes from.
    pub(super) fn stats(&self, num_workers: usize, path: impl Fn(SampleName) -> Option<PathBuf>) -> Stats {
        let named = |Slow { shard, index, time }| {
            let path = guarded("the path", || Ok(path(SampleName { shard, index }))).ok().flatten();
            SlowSample { index, shard, path, time }
        };
        Stats {
            num_workers,
            most_workers: self.tuning.as_ref().map(|tuning| tuning.most_workers()),
            bad_samples: self.bad_samples.count() as u64,
            slowest: self.counters.slowest.samples().into_iter().map(named).collect(),
            ..self.counters.report(&self.buffers)
        }
    }
}
