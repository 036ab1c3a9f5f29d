//! Bad samples: what a batch says of those it went on without, and the count that is kept of them.
//!
//! Workers meet bad samples in any order, and ahead of time. So they are only noted with their batch, and enter the
//! quarantine when the batch is delivered: what it holds, and when it is full, depends on the data alone.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::OnError;
use super::guard::{discard, guarded};
use crate::error::{Error, Result};
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
    /// What is in it, by shard and index.
    known: HashSet<(Option<usize>, usize)>,
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

    /// Takes over what an earlier run has met.
    pub(super) fn restore(&self, quarantine: &Quarantine) {
        let mut met = self.met();
        for sample in quarantine {
            met.add(|| sample.clone(), sample.shard, sample.index);
        }
    }

    /// Enters a sample that does not return.
    pub(super) fn add_stuck(&self, sample: Quarantined) {
        let (shard, index) = (sample.shard, sample.index);
        self.met().add(|| sample, shard, index);
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
        let mut met = self.met();
        let mut beyond = None;
        let is_lost = matches!(result, Some(Err(_)));
        for Bad { errors, substitute, .. } in bad {
            let counter = if substitute.is_some() { &counters.substituted } else { &counters.skipped };
            counter.fetch_add(u64::from(!is_lost), Relaxed);
            for error in errors {
                let is_new = met.add(|| quarantined(&error), error.shard(), error.index().unwrap_or_default());
                match is_new && met.quarantine.len() > self.limit && beyond.is_none() {
                    true => beyond = Some(error),
                    false => discard(error),
                }
            }
        }
        let Some(error) = beyond else { return result };
        discard(result);
        let (count, allowed, setting) = (met.quarantine.len(), self.limit, self.limited_by);
        let reason =
            format!("{count} samples could not be loaded, and {setting} allows {allowed}; this is one of them");
        Some(Err(error.over_budget(&reason)))
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its text may be written by the user's code.
fn quarantined(error: &Error) -> Quarantined {
    let written = guarded("writing the error's text", || Ok(Quarantined::of(error)));
    written.unwrap_or_else(|panic| Quarantined {
        index: error.index().unwrap_or_default(),
        shard: error.shard(),
        path: error.path().map(PathBuf::from),
        cause: panic.cause().to_string(),
    })
}

impl Met {
    /// Adds a sample, unless it is there; says whether it was new.
    fn add(&mut self, sample: impl FnOnce() -> Quarantined, shard: Option<usize>, index: usize) -> bool {
        let is_new = self.known.insert((shard, index));
        if is_new {
            self.quarantine.add(sample());
        }
        is_new
    }
}
