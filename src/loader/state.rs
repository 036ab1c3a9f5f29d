//! `LoaderState`: how far a run has come, as small plain data.

use std::fmt;

use super::indexed::Data;
use super::intake::Progress;
use super::orders::Orders;
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::quarantine::Quarantine;
pub(super) use crate::sampler::Unit;
use crate::sampler::{Batches, Dealing};

/// How far a run has come: enough to go on from there in another process, and on another number of ranks.
///
/// Taken by [`Epoch::state`](crate::Epoch::state) between two batches, or by [`Loader::state`](crate::Loader::state) between two
/// epochs; [`Loader::resume`](crate::Loader::resume) goes on. It counts what the consumer got, not what was loaded ahead.
///
/// The position is that of all ranks together, which take the same number of batches: the state of any of them serves
/// all, and also another number of them or another batch size. (Of an [`IterableLoader`](crate::IterableLoader) each rank has
/// its own, and there must be as many again.) Written as text it is a line that starts with its
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
    /// The samples that the run went on without.
    pub(super) quarantine: Quarantine,
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
    pub(super) dealing: Dealing,
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
            quarantine: Quarantine::default(),
            samples: data.len,
            dataset: data.fingerprint(),
            order: batches.fingerprint(),
            // Text is a line, and the name is the user's.
            sampler: orders.name().replace(char::is_control, " "),
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

    /// The samples that this rank could not load so far, where [`on_error`](crate::LoaderBuilder::on_error) told to go on without.
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// Whether a run with this data and seed can go on from here.
    ///
    /// # Errors
    ///
    /// The first difference, named.
    pub(super) fn check_data(&self, samples: usize, dataset: u64, seed: u64) -> Result<()> {
        if self.samples != samples {
            return refuse(format!("it is of a dataset of {} samples, and this one has {samples}", self.samples));
        }
        if self.dataset != dataset {
            let as_many = match self.unit {
                Unit::Records => String::new(),
                _ => format!(", also of {samples} samples"),
            };
            return refuse(format!(
                "it is of another dataset{as_many} (fingerprint {:016x}, here {dataset:016x})",
                self.dataset
            ));
        }
        if self.seed != seed {
            return refuse(format!("its seed is {}, the loader's {seed}: build it with that seed", self.seed));
        }
        Ok(())
    }

    /// Whether a run with the order of `loader` can go on from here.
    ///
    /// # Errors
    ///
    /// The first difference, named.
    pub(super) fn check_order(&self, loader: &LoaderState) -> Result<()> {
        let state = self;
        if state.unit != loader.unit {
            return refuse(format!("it counts {}, the loader counts {}", state.unit, loader.unit));
        }
        if state.order == loader.order && state.units == loader.units {
            return Ok(());
        }
        if state.unit == Unit::Records {
            return refuse(
                "its shards are dealt out in another way: the number of shards, interleave, the rank, or the number of \
                 ranks differ"
                    .into(),
            );
        }
        if state.sampler != loader.sampler {
            return refuse(format!("its order is of a {}, the loader's of a {}", state.sampler, loader.sampler));
        }
        if state.units != loader.units {
            return refuse(format!(
                "its epoch has {} {}, the loader's epoch {} has {}",
                state.units, state.unit, state.epoch, loader.units
            ));
        }
        refuse(format!(
            "the {} gives another order for epoch {}: its own settings or its generator differ",
            state.sampler, state.epoch
        ))
    }

    /// What is left of `batches`, an epoch's.
    ///
    /// # Errors
    ///
    /// If the state lists batches by number, and they are dealt out in another way or are not there.
    pub(super) fn rest_of(&self, batches: &Batches) -> Result<Batches> {
        let rest = batches.starting_at(self.position, Vec::new());
        let Some(OutOfOrder { batches: had, dealing }) = &self.out_of_order else { return Ok(rest) };
        let here = batches.dealing();
        if *dealing != here {
            return refuse(format!(
                "it was taken with in_order(false), where it counts the batches of one rank: of {dealing}; here they are of \
                 {here}. Take it with in_order(true), or at the end of an epoch"
            ));
        }
        match had.iter().find(|&&batch| batch >= rest.len()) {
            Some(batch) => refuse(format!("it has batch {batch} of the {} that are left", rest.len())),
            None => Ok(batches.starting_at(self.position, had.clone())),
        }
    }

    /// Where an iterable dataset goes on, of which a rank has `shards`.
    ///
    /// # Errors
    ///
    /// If it has opened others.
    pub(super) fn progress_over(&self, shards: &[usize]) -> Result<Progress> {
        let progress = self.progress.clone().unwrap_or_default();
        let opened = shards.get(..progress.opened).unwrap_or_default();
        let mut open: Vec<usize> = progress.open.iter().map(|(shard, _)| *shard).collect();
        open.sort_unstable();
        let sound = open.is_sorted_by(|a, b| a < b) && open.iter().all(|shard| opened.contains(shard));
        if !sound || opened.len() != progress.opened {
            return refuse("it has other shards open than this rank has".into());
        }
        Ok(progress)
    }
}

fn refuse<T>(difference: String) -> Result<T> {
    Err(Error::new(ErrorKind::State, format!("the state does not fit this loader: {difference}")))
}

/// As a message says it: `4 samples on rank 0 of 1`.
impl fmt::Display for Dealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dealing { batch_size, rank, world_size, drops } = self;
        match batch_size {
            0 => f.write_str("a batch sampler")?,
            batch_size => write!(f, "{batch_size} samples")?,
        }
        write!(f, " on rank {rank} of {world_size}")?;
        f.write_str(if *drops { ", the rest dropped" } else { "" })
    }
}
