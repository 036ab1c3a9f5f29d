//! Bad samples: what a batch says of those it went on without, and the count that is kept of them.
//!
//! Workers meet bad samples in any order, and ahead of time. So they are only noted with their batch, and enter the
//! quarantine when the batch is delivered: what it holds, and when it is full, depends on the data alone.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::OnError;
use crate::error::{Error, Result};
use crate::guard::discard;
use crate::quarantine::{Quarantine, Quarantined};
use crate::stats::Counters;

/// A batch, as the workers made it.
pub(super) struct Made<B> {
    /// `None` if all its samples are bad and left out.
    pub(super) result: Option<Result<B>>,
    /// In the order of their slots.
    pub(super) bad: Vec<Bad>,
}

/// A slot of a batch whose sample could not be loaded.
pub(super) struct Bad {
    pub(super) slot: usize,
    /// Why not, and why others could not that were tried in its place.
    pub(super) errors: Vec<Error>,
    /// The index of the sample that has its place; `None` if it was left out.
    pub(super) substitute: Option<usize>,
}

impl Bad {
    pub(super) fn is_left_out(&self) -> bool {
        self.substitute.is_none()
    }
}

impl<B> From<Result<B>> for Made<B> {
    fn from(result: Result<B>) -> Self {
        Made { result: Some(result), bad: Vec::new() }
    }
}

/// What a loader does about bad samples, and which it has met.
#[derive(Debug)]
pub(super) struct BadSamples {
    pub(super) on_error: OnError,
    /// How many there may be,
    limit: usize,
    /// and which setting says so.
    limited_by: &'static str,
    met: Mutex<Met>,
}

#[derive(Debug, Default)]
struct Met {
    quarantine: Quarantine,
    /// The place in it of each sample, by shard and index.
    places: HashMap<(Option<usize>, usize), usize>,
}

impl BadSamples {
    /// Allows `count` bad samples, or `share` of `len`, whichever is less.
    pub(super) fn new(on_error: OnError, count: Option<usize>, share: Option<f64>, len: Option<usize>) -> Self {
        let count = count.map(|count| (count, "max_bad_samples"));
        // A hundredth of a hundred is one, though the product in binary may be a little less.
        let share = share.zip(len).map(|(share, len)| ((share * len as f64 + 1e-6) as usize, "max_bad_share"));
        let (limit, limited_by) = count.into_iter().chain(share).min().unwrap_or((usize::MAX, ""));
        BadSamples { on_error, limit, limited_by, met: Mutex::default() }
    }

    pub(super) fn quarantine(&self) -> Quarantine {
        self.met().quarantine.clone()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.met().quarantine.len()
    }

    /// The first `count`: what the quarantine was when there were no more. So whoever wants to know that later holds on to a
    /// number, and not to a list that would then have to be copied for each that is added.
    pub(super) fn first(&self, count: usize) -> Quarantine {
        let all = self.quarantine();
        if count == all.len() { all } else { all.iter().take(count).cloned().collect() }
    }

    /// Takes over what an earlier run has met.
    pub(super) fn restore(&self, quarantine: &Quarantine) {
        let mut met = self.met();
        for sample in quarantine {
            met.place(sample.clone());
        }
    }

    /// Enters a sample that does not return.
    pub(super) fn add_stuck(&self, sample: Quarantined) {
        self.met().place(sample);
    }

    /// What the consumer gets of a batch (see [`Made`]), now that it is delivered; nothing, if there is nothing left of it.
    pub(super) fn settle<B>(&self, result: Option<Result<B>>, bad: Vec<Bad>, counters: &Counters) -> Option<Result<B>> {
        match bad.is_empty() {
            true => result,
            false => self.settle_bad(result, bad, counters),
        }
    }

    #[cold]
    fn settle_bad<B>(&self, result: Option<Result<B>>, bad: Vec<Bad>, counters: &Counters) -> Option<Result<B>> {
        let left_out = bad.iter().filter(|bad| bad.is_left_out()).count();
        let replaced = bad.len() - left_out;
        let mut beyond = None;
        for error in bad.into_iter().flat_map(|bad| bad.errors) {
            // What a cause says, and what its drop does, is the user's: neither happens under the lock.
            let sample = Quarantined::of(&error);
            let place = self.met().place(sample);
            match beyond {
                None if place >= self.limit => beyond = Some(error),
                _ => discard(error),
            }
        }
        let Some(error) = beyond else {
            if !matches!(result, Some(Err(_))) {
                counters.skipped.fetch_add(left_out as u64, Relaxed);
                counters.substituted.fetch_add(replaced as u64, Relaxed);
            }
            return result;
        };
        discard(result);
        let (count, allowed, setting) = (self.count(), self.limit, self.limited_by);
        let reason =
            format!("{count} samples could not be loaded, and {setting} allows {allowed}; this is one of them");
        Some(Err(error.over_budget(&reason)))
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Met {
    /// The place of a sample, which is added unless it is there.
    fn place(&mut self, sample: Quarantined) -> usize {
        *self.places.entry((sample.shard, sample.index)).or_insert_with(|| {
            self.quarantine.add(sample);
            self.quarantine.len() - 1
        })
    }
}
