//! `LoaderState`: how far a run has come, as small plain data.

use super::indexed::Data;
use super::intake::Progress;
use super::orders::Orders;
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::sampler::Batches;
pub(super) use crate::sampler::Unit;

/// How far a run has come: enough to go on from there, in another process, on other hardware, on another number of ranks.
///
/// Taken by [`Epoch::state`](crate::Epoch::state) between two batches, or by [`Loader::state`](crate::Loader::state) between two
/// epochs; [`Loader::resume`](crate::Loader::resume) goes on. It counts what the consumer got, not what was loaded ahead.
///
/// The position is that of all ranks together, which take the same number of batches: the state of any of them serves
/// all, and also another number of them or another batch size. Written as text it is a line that starts with its
/// version; with feature `serde` it is that text as well.
///
/// ```
/// use sutler::{InMemory, Loader, LoaderState};
///
/// let loader = || {
///     let samples: InMemory<i64> = (0..10).collect();
///     Loader::builder(samples).batch_size(3).shuffle(true).seed(7).build()
/// };
/// let whole: Vec<Vec<i64>> = loader()?.epoch().map(|batch| Ok(batch?.to_vec())).collect::<sutler::Result<_>>()?;
///
/// let before = loader()?;
/// let mut epoch = before.epoch();
/// epoch.next();
/// epoch.next();
/// let saved: String = epoch.state().to_string();
///
/// let after = loader()?;
/// let rest: Vec<Vec<i64>> =
///     after.resume(&saved.parse::<LoaderState>()?)?.map(|batch| Ok(batch?.to_vec())).collect::<sutler::Result<_>>()?;
/// assert_eq!(rest, whole[2..]);
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderState {
    pub(super) seed: u64,
    pub(super) epoch: u64,
    /// How many units of the whole order all ranks together have had,
    pub(super) position: usize,
    /// of how many,
    pub(super) units: usize,
    /// and what they are: samples, or batches of a batch sampler.
    pub(super) unit: Unit,
    pub(super) out_of_order: Option<OutOfOrder>,
    /// Where an iterable dataset stands.
    pub(super) progress: Option<Progress>,
    /// How many samples the dataset has, and its fingerprint.
    pub(super) samples: usize,
    pub(super) dataset: u64,
    pub(super) order: u64,
    pub(super) sampler: String,
}

/// Batches beyond the position that were had before others, without `in_order`. They are numbered from the position on,
/// which means something only where batches are dealt out in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutOfOrder {
    pub(super) batches: Vec<usize>,
    /// Batch size (0 for a batch sampler's), rank, world size.
    pub(super) dealt: (usize, usize, usize),
}

impl LoaderState {
    /// The beginning of epoch `epoch` of a loader.
    pub(super) fn new<D: Dataset>(data: &Data<D>, orders: &Orders, epoch: u64, batches: &Batches) -> Self {
        LoaderState {
            seed: data.seed,
            epoch,
            position: 0,
            units: batches.units(),
            unit: batches.unit(),
            out_of_order: None,
            progress: None,
            samples: data.len,
            dataset: *data.fingerprint.get_or_init(|| data.dataset.fingerprint()),
            order: batches.fingerprint(),
            sampler: orders.name(),
        }
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The epoch that goes on.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How far the epoch has come, all ranks together: in samples, or in batches if a batch sampler makes them. Of an
    /// iterable dataset, how many records this rank has had.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Whether `other` can go on from here: the same data, seed and order.
    ///
    /// # Errors
    ///
    /// The first difference, named.
    pub(super) fn check(&self, other: &LoaderState, dealt: (usize, usize, usize)) -> Result<()> {
        let refuse = |difference: String| {
            Err(Error::new(ErrorKind::State, format!("the state does not fit this loader: {difference}")))
        };
        let (state, loader) = (self, other);
        if state.samples != loader.samples {
            return refuse(format!(
                "it is of a dataset of {} samples, and this one has {}",
                state.samples, loader.samples
            ));
        }
        if state.dataset != loader.dataset {
            return refuse(format!(
                "it is of another dataset, also of {} samples (fingerprint {:016x}, here {:016x})",
                state.samples, state.dataset, loader.dataset
            ));
        }
        if state.seed != loader.seed {
            return refuse(format!(
                "its seed is {}, the loader's {}: build it with that seed",
                state.seed, loader.seed
            ));
        }
        if state.sampler != loader.sampler {
            return refuse(format!("its order is of a {}, the loader's of a {}", state.sampler, loader.sampler));
        }
        if state.unit != loader.unit {
            return refuse(format!("it counts {}, the loader counts {}", state.unit, loader.unit));
        }
        if state.units != loader.units {
            return refuse(format!(
                "its epoch has {} {}, the loader's epoch {} has {}",
                state.units, state.unit, state.epoch, loader.units
            ));
        }
        if state.order != loader.order && state.unit == Unit::Records {
            return refuse(
                "its shards are dealt out in another way: the number of shards, interleave, the rank, or the number of \
                 ranks differ"
                    .into(),
            );
        }
        if state.order != loader.order {
            return refuse(format!(
                "the {} gives another order for epoch {}: its own settings or its generator differ",
                state.sampler, state.epoch
            ));
        }
        match &state.out_of_order {
            Some(out) if out.dealt != dealt => {
                let ((batch_size, rank, world), (batch_size_here, rank_here, world_here)) = (out.dealt, dealt);
                refuse(format!(
                    "it was taken with in_order(false) while later batches had come before earlier ones, which counts \
                     batches of {batch_size} samples on rank {rank} of {world}, and here they have {batch_size_here} on \
                     rank {rank_here} of {world_here}. Take it with in_order(true), or at the end of an epoch"
                ))
            }
            _ => Ok(()),
        }
    }

    /// As [`check`](LoaderState::check), for an iterable dataset; gives the place where it goes on.
    pub(super) fn check_stream(&self, other: &LoaderState) -> Result<Progress> {
        self.check(other, (0, 0, 0))?;
        Ok(self.progress.clone().unwrap_or_default())
    }
}
