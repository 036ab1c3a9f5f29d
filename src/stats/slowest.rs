//! `Slowest`: the samples that took longest.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many are kept.
const KEPT: usize = 8;

/// The samples that took longest, each once.
#[derive(Debug, Default)]
pub(crate) struct Slowest {
    /// What a sample must exceed to be among them, in nanoseconds: nearly all are through with one look at this.
    floor_ns: AtomicU64,
    samples: Mutex<Vec<Slow>>,
}

/// A sample by shard and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) shard: Option<usize>,
    pub(crate) index: usize,
    pub(crate) time: Duration,
}

impl Slowest {
    /// Takes note of how long a sample took, which `name` tells.
    pub(crate) fn note(&self, time: Duration, name: impl FnOnce() -> (Option<usize>, usize)) {
        if time.as_nanos() as u64 > self.floor_ns.load(Relaxed) {
            let (shard, index) = name();
            self.enter(Slow { shard, index, time });
        }
    }

    #[cold]
    fn enter(&self, sample: Slow) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let known = samples.iter_mut().find(|known| (known.shard, known.index) == (sample.shard, sample.index));
        match known {
            Some(known) => known.time = known.time.max(sample.time),
            None => samples.push(sample),
        }
        samples.sort_by_key(|sample| std::cmp::Reverse(sample.time));
        samples.truncate(KEPT);
        if let [.., last] = &samples[..]
            && samples.len() == KEPT
        {
            self.floor_ns.store(last.time.as_nanos() as u64, Relaxed);
        }
    }

    /// The slowest first.
    pub(crate) fn samples(&self) -> Vec<Slow> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_are_kept_each_once_at_its_slowest() {
        let slowest = Slowest::default();
        for round in 0..3 {
            for index in 0..100 {
                let time = Duration::from_micros((index * 37 % 100) as u64 + 10 * round);
                slowest.note(time, || (None, index));
            }
        }
        let expected: Vec<(usize, u64)> = (0..8)
            .map(|rank| {
                let time = 99 - rank;
                ((0..100).find(|index| index * 37 % 100 == time).unwrap(), time as u64 + 20)
            })
            .collect();
        let kept: Vec<(usize, u64)> =
            slowest.samples().iter().map(|slow| (slow.index, slow.time.as_micros() as u64)).collect();
        assert_eq!(kept, expected);
    }
}
