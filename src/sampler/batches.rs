//! `Batches`: where an order is cut into batches, and whose they are.

use std::fmt;
use std::sync::Arc;

use super::order::SideBySide;
use super::share::Share;
use super::{Distributed, Order};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::probes;

/// The batches of one epoch: an order, cut at equal lengths or anywhere.
///
/// Made of an [`Order`] by [`every`](Batches::every), or of lists of indices:
///
/// ```
/// use sutler::Batches;
///
/// let batches: Batches = [vec![4, 1], vec![0], vec![2, 3, 5]].into_iter().collect();
/// assert_eq!(batches.len(), 3);
/// assert_eq!(batches.get(2).collect::<Vec<_>>(), [2, 3, 5]);
/// ```
#[derive(Clone, Debug)]
pub struct Batches {
    order: Order,
    cuts: Cuts,
    /// How many batches there are.
    len: usize,
    /// Batches, by their number among ours, that have been had already and are left out. Few.
    had: Vec<usize>,
}

#[derive(Clone, Debug)]
enum Cuts {
    /// Batches of equal size: what ranks share are samples.
    Every { batch_size: usize, drop_last: bool },
    /// A batch ends at each of these places of the order: what ranks share are whole batches.
    At { ends: Arc<[usize]>, share: Share },
}

/// What a whole epoch is counted in, and dealt out to ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Samples,
    Batches,
    /// Of an iterable dataset, whose length is not known.
    Records,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Samples => "samples",
            Unit::Batches => "batches",
            Unit::Records => "records",
        })
    }
}

/// How batches are made of the units of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dealing {
    /// 0 for those of a batch sampler.
    pub(crate) batch_size: usize,
    pub(crate) rank: usize,
    pub(crate) world_size: usize,
    /// Whether something is left out at the end.
    pub(crate) drops: bool,
}

/// The samples of one batch: places `first`, `first + step`, … of the whole order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    first: usize,
    step: usize,
    /// How many samples it has.
    pub(crate) len: usize,
    /// How many of them, from the front, are not padding.
    pub(crate) valid: usize,
}

/// The indices of the samples of a run.
pub(crate) struct RunIndices<'a> {
    in_a_row: Option<SideBySide<'a>>,
    order: &'a Order,
    run: Run,
}

impl RunIndices<'_> {
    #[inline(always)]
    pub(crate) fn get(&self, slot: usize) -> usize {
        match &self.in_a_row {
            Some(indices) => indices.get(slot),
            None => self.order.index_at(self.run.place(slot)),
        }
    }
}

impl Run {
    /// The place of a sample of the batch in the order of the epoch, the same for any number of ranks.
    #[inline]
    pub(crate) fn place(&self, slot: usize) -> usize {
        self.first + slot * self.step
    }

    /// How many samples at its end are padding.
    pub(crate) fn padding(&self) -> usize {
        self.len - self.valid
    }
}

impl Batches {
    /// Cuts `order` into batches of `batch_size` samples. The last one may be smaller; `drop_last` leaves that one out.
    ///
    /// # Errors
    ///
    /// If `batch_size` is 0.
    pub fn every(batch_size: usize, order: Order, drop_last: bool) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::new(ErrorKind::Config, "batch_size must be at least 1"));
        }
        Ok(Self::new(order, Cuts::Every { batch_size, drop_last }, Vec::new()))
    }

    fn new(order: Order, cuts: Cuts, had: Vec<usize>) -> Self {
        let all = match &cuts {
            Cuts::Every { batch_size, drop_last: true } => order.len() / batch_size,
            Cuts::Every { batch_size, drop_last: false } => order.len().div_ceil(*batch_size),
            Cuts::At { share, .. } => share.len(),
        };
        Batches { order, cuts, len: all.saturating_sub(had.len()), had }
    }

    /// How many batches there are, for this rank.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The indices of the samples of a batch.
    ///
    /// # Panics
    ///
    /// If `batch` is not below [`len`](Batches::len).
    pub fn get(&self, batch: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        assert!(batch < self.len(), "batch {batch} of {}", self.len());
        let run = self.run(batch);
        (0..run.len).map(move |slot| self.index_at(run.place(slot)))
    }

    /// All batches, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Vec<usize>> + '_ {
        (0..self.len()).map(|batch| self.get(batch).collect())
    }

    /// One rank's share: of the samples, where the batches are of equal size (as torch's `DistributedSampler`), else of
    /// the batches.
    ///
    /// # Errors
    ///
    /// If they are shared out already.
    pub fn shard(self, distributed: &Distributed) -> Result<Self> {
        let (order, cuts) = match self.cuts {
            Cuts::Every { .. } => (self.order.shard(distributed)?, self.cuts),
            Cuts::At { ends, share } => (self.order, Cuts::At { ends, share: share.among(distributed)? }),
        };
        Ok(Self::new(order, cuts, self.had))
    }

    /// What is left when the whole stands at `cursor` (samples or batches, see [`reached`](Batches::reached)) and,
    /// counted from there, the batches `had` are had as well.
    pub(crate) fn starting_at(&self, cursor: usize, had: Vec<usize>) -> Self {
        let (order, cuts) = match &self.cuts {
            Cuts::Every { .. } => (self.order.starting_at(cursor), self.cuts.clone()),
            Cuts::At { ends, share } => {
                (self.order.clone(), Cuts::At { ends: Arc::clone(ends), share: share.starting_at(cursor) })
            }
        };
        Self::new(order, cuts, had)
    }

    /// Where the whole stands when every rank has had its first `batches` batches.
    pub(crate) fn reached(&self, batches: usize) -> usize {
        match &self.cuts {
            Cuts::Every { .. } if batches >= self.len + self.had.len() => self.order.share().units(),
            Cuts::Every { batch_size, .. } => self.order.share().reached(batches * batch_size),
            Cuts::At { share, .. } => share.reached(batches),
        }
    }

    /// How many units (samples or batches) the whole has.
    pub(crate) fn units(&self) -> usize {
        self.share().units()
    }

    /// How many places the whole order has, those of all ranks.
    pub(crate) fn places(&self) -> usize {
        match &self.cuts {
            Cuts::Every { .. } => self.units(),
            Cuts::At { ends, .. } => ends.last().copied().unwrap_or(0),
        }
    }

    /// What ranks share.
    pub(crate) fn unit(&self) -> Unit {
        match self.cuts {
            Cuts::Every { .. } => Unit::Samples,
            Cuts::At { .. } => Unit::Batches,
        }
    }

    /// The batches that were had already and have a number above `number`.
    pub(crate) fn had_beyond(&self, number: usize) -> impl Iterator<Item = usize> + '_ {
        self.had.iter().copied().filter(move |&had| had > number)
    }

    /// What makes a batch of the whole's units: two loaders where this is the same give a number to the same batch.
    pub(crate) fn dealing(&self) -> Dealing {
        let (batch_size, drops_short) = match &self.cuts {
            Cuts::Every { batch_size, drop_last } => (*batch_size, *drop_last),
            Cuts::At { .. } => (0, false),
        };
        let share = self.share();
        Dealing { batch_size, rank: share.rank(), world_size: share.world(), drops: drops_short || share.drops_last() }
    }

    fn share(&self) -> &Share {
        match &self.cuts {
            Cuts::Every { .. } => self.order.share(),
            Cuts::At { share, .. } => share,
        }
    }

    /// The number that a batch has among all of ours, those that were had included.
    pub(crate) fn number(&self, batch: usize) -> usize {
        self.had.iter().fold(batch, |number, &had| number + usize::from(had <= number))
    }

    /// The samples of a batch.
    #[inline]
    pub(crate) fn run(&self, batch: usize) -> Run {
        let batch = if self.had.is_empty() { batch } else { self.number(batch) };
        match &self.cuts {
            Cuts::Every { batch_size, .. } => {
                let share = self.order.share();
                let (first, step) = (share.place(batch * batch_size), share.world());
                let len = (*batch_size).min(share.len() - batch * batch_size);
                // Only the last batch has padding: the division is for that one.
                let valid = match share.place(batch * batch_size + len - 1) < share.units() {
                    true => len,
                    false => share.units().saturating_sub(first).div_ceil(step),
                };
                Run { first, step, len, valid }
            }
            Cuts::At { ends, share } => {
                let place = share.place(batch);
                let number = share.unit(place);
                let first = if number == 0 { 0 } else { ends[number - 1] };
                let len = ends[number] - first;
                Run { first, step: 1, len, valid: if place < share.units() { len } else { 0 } }
            }
        }
    }

    /// The index at a place of the order.
    #[inline]
    pub(crate) fn index_at(&self, place: usize) -> usize {
        self.order.index_at(place)
    }

    /// The indices of the samples of a run: as [`index_at`](Batches::index_at), for a loop that cannot afford to look up each
    /// time where they are.
    pub(crate) fn indices_of(&self, run: Run) -> RunIndices<'_> {
        let in_a_row = (run.step == 1).then(|| self.order.side_by_side(run.first, run.len)).flatten();
        RunIndices { in_a_row, order: &self.order, run }
    }

    /// How many samples the largest batch has.
    pub(crate) fn capacity(&self) -> usize {
        match &self.cuts {
            // A batch size beyond the data asks for all in one batch.
            Cuts::Every { batch_size, .. } => (*batch_size).min(self.order.len()).max(1),
            Cuts::At { ends, .. } => {
                let starts = std::iter::once(0).chain(ends.iter().copied());
                starts.zip(ends.iter()).map(|(start, end)| end - start).max().unwrap_or(1)
            }
        }
    }

    /// # Errors
    ///
    /// If there is a batch without samples.
    pub(crate) fn check(self) -> Result<Self> {
        if let Cuts::At { ends, .. } = &self.cuts {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            if let Some(empty) = starts.zip(ends.iter()).position(|(start, end)| start == *end) {
                return Err(Error::new(
                    ErrorKind::Sampler,
                    format!("batch {empty} of the batch sampler has no samples: leave it out"),
                ));
            }
        }
        Ok(self)
    }

    /// Tells these batches from others of another order, however they are shared out. Batches of equal size are told
    /// apart by their samples alone, since another size may go on with them.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut print = self.order.fingerprint();
        if let Cuts::At { ends, .. } = &self.cuts {
            print.add(ends.len() as u64);
            probes(ends.len()).for_each(|batch| print.add(ends[batch] as u64));
        }
        print.value()
    }
}

impl<B: IntoIterator<Item = usize>> FromIterator<B> for Batches {
    fn from_iter<I: IntoIterator<Item = B>>(batches: I) -> Self {
        let (mut indices, mut ends) = (Vec::new(), Vec::new());
        for batch in batches {
            indices.extend(batch);
            ends.push(indices.len());
        }
        let share = Share::whole(ends.len());
        Self::new(indices.into(), Cuts::At { ends: ends.into(), share }, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(batches: &Batches) -> Vec<Vec<usize>> {
        batches.iter().collect()
    }

    #[test]
    fn equal_batches_share_samples_and_others_share_whole_batches() {
        let second = Distributed::new(1, 2).unwrap();
        let every = Batches::every(2, Order::sequential(9), false).unwrap().shard(&second).unwrap();
        assert_eq!(listed(&every), [vec![1, 3], vec![5, 7], vec![0]]);
        assert_eq!((0..3).map(|batch| every.run(batch).valid).collect::<Vec<_>>(), [2, 2, 0]);
        let at: Batches = [vec![4, 1], vec![0], vec![2, 3, 5]].into_iter().collect();
        let at = at.shard(&second).unwrap();
        assert_eq!(listed(&at), [vec![0], vec![4, 1]]);
        assert_eq!((0..2).map(|batch| at.run(batch).valid).collect::<Vec<_>>(), [1, 0]);
        assert_eq!([every, at].map(|shared| shared.shard(&second).unwrap_err().kind()), [ErrorKind::Config; 2]);
    }

    #[test]
    fn what_was_had_out_of_order_is_left_out_and_the_rest_keeps_its_numbers() {
        let batches = Batches::every(2, Order::sequential(13), false).unwrap().starting_at(2, vec![1, 2, 4]);
        assert_eq!(listed(&batches), [vec![2, 3], vec![8, 9], vec![12]]);
        assert_eq!((0..3).map(|batch| batches.number(batch)).collect::<Vec<_>>(), [0, 3, 5]);
    }

    #[test]
    fn a_batch_without_samples_is_refused() {
        let batches: Batches = [vec![1], vec![], vec![2]].into_iter().collect();
        let error = batches.check().unwrap_err();
        assert_eq!(error.to_string(), "batch 1 of the batch sampler has no samples: leave it out");
    }
}
