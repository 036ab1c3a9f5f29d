//! `Order`: the indices of one epoch, with random access.

use std::fmt;
use std::sync::Arc;

use super::Distributed;
use super::share::Share;
use crate::error::Result;
use crate::fingerprint::{Fingerprint, probes};

/// The order of one epoch: which sample stands at which position.
///
/// Random access is what a resume (start at a position) and a rank (every n-th position) need. Made by
/// [`sequential`](Order::sequential), from any list or iterator of indices, or by a function of the position.
#[derive(Clone, Debug)]
pub struct Order {
    indices: Indices,
    share: Share,
}

#[derive(Clone)]
enum Indices {
    Sequential(usize),
    // Four bytes an index do for all but the largest sets, and halve what a shuffled epoch holds in memory. Not `Arc<[_]>`,
    // which would have to be copied into.
    Narrow(Arc<Vec<u32>>),
    Wide(Arc<Vec<usize>>),
    Computed(usize, Arc<dyn Fn(usize) -> usize + Send + Sync>),
}

impl Order {
    /// `0, 1, … len - 1`, in no memory.
    pub fn sequential(len: usize) -> Self {
        Order::new(Indices::Sequential(len))
    }

    /// The index at each position below `len` by a function of the position: an order that takes no memory, whatever
    /// its length. The function must be pure.
    ///
    /// ```
    /// use sutler::Order;
    ///
    /// let backwards = Order::from_fn(1_000_000_000_000, |position| 999_999_999_999 - position);
    /// assert_eq!(backwards.get(1), 999_999_999_998);
    /// ```
    pub fn from_fn(len: usize, index: impl Fn(usize) -> usize + Send + Sync + 'static) -> Self {
        Order::new(Indices::Computed(len, Arc::new(index)))
    }

    pub(crate) fn narrow(indices: Vec<u32>) -> Self {
        Order::new(Indices::Narrow(Arc::new(indices)))
    }

    fn new(indices: Indices) -> Self {
        let share = Share::whole(indices.len());
        Order { indices, share }
    }

    /// How many samples the epoch has, for this rank.
    pub fn len(&self) -> usize {
        self.share.len()
    }

    /// Whether the epoch has no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index of the sample at `position`.
    ///
    /// # Panics
    ///
    /// If `position` is not below [`len`](Order::len).
    #[inline]
    pub fn get(&self, position: usize) -> usize {
        assert!(position < self.len(), "position {position} of an order of {}", self.len());
        self.index_at(self.share.place(position))
    }

    /// All indices, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        (0..self.len()).map(|position| self.get(position))
    }

    /// One rank's share of this order, as torch's `DistributedSampler` deals it out: positions `rank`,
    /// `rank + world_size`, and so on. Where the ranks do not come out even, the order is padded from its front, or
    /// with [`Distributed::drop_last`] cut short.
    ///
    /// # Errors
    ///
    /// If it is shared out already, or longer than can be dealt out to so many.
    pub fn shard(self, distributed: &Distributed) -> Result<Self> {
        Ok(Order { share: self.share.among(distributed)?, ..self })
    }

    /// The index at a place of the whole order.
    #[inline]
    pub(super) fn index_at(&self, place: usize) -> usize {
        let place = self.share.unit(place);
        match &self.indices {
            Indices::Sequential(_) => place,
            Indices::Narrow(indices) => indices[place] as usize,
            Indices::Wide(indices) => indices[place],
            Indices::Computed(_, index) => index(place),
        }
    }

    /// The indices at `len` places from `first` on, if they lie side by side.
    pub(super) fn side_by_side(&self, first: usize, len: usize) -> Option<SideBySide<'_>> {
        let end = first.checked_add(len)?;
        match &self.indices {
            Indices::Sequential(all) if end <= *all => Some(SideBySide::Counted(first)),
            Indices::Narrow(indices) => indices.get(first..end).map(SideBySide::Narrow),
            Indices::Wide(indices) => indices.get(first..end).map(SideBySide::Wide),
            Indices::Sequential(_) | Indices::Computed(..) => None,
        }
    }

    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    /// What is left of the order from `place` of the whole on.
    pub(super) fn starting_at(&self, place: usize) -> Self {
        Order { indices: self.indices.clone(), share: self.share.starting_at(place) }
    }

    /// Tells this order from others, by its length and some of its indices; however it is shared out.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let len = self.indices.len();
        let mut print = Fingerprint::new();
        print.add(len as u64);
        probes(len).for_each(|place| print.add(self.index_at(place) as u64));
        print
    }
}

/// Some indices of an order in a row.
#[derive(Clone, Copy)]
pub(super) enum SideBySide<'a> {
    /// From this one on.
    Counted(usize),
    Narrow(&'a [u32]),
    Wide(&'a [usize]),
}

impl SideBySide<'_> {
    #[inline(always)]
    pub(super) fn get(&self, slot: usize) -> usize {
        match self {
            SideBySide::Counted(first) => first + slot,
            SideBySide::Narrow(indices) => indices[slot] as usize,
            SideBySide::Wide(indices) => indices[slot],
        }
    }
}

impl Indices {
    fn len(&self) -> usize {
        match self {
            Indices::Sequential(len) | Indices::Computed(len, _) => *len,
            Indices::Narrow(indices) => indices.len(),
            Indices::Wide(indices) => indices.len(),
        }
    }
}

impl fmt::Debug for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Indices::Sequential(_) => "sequential",
            Indices::Narrow(_) | Indices::Wide(_) => "listed",
            Indices::Computed(..) => "computed",
        };
        write!(f, "{} {kind}", self.len())
    }
}

impl From<Vec<usize>> for Order {
    fn from(indices: Vec<usize>) -> Self {
        Order::new(Indices::Wide(Arc::new(indices)))
    }
}

impl FromIterator<usize> for Order {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        Order::from(indices.into_iter().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_kind_gives_the_indices_it_was_made_of() {
        for (order, expected) in [
            (Order::sequential(3), vec![0, 1, 2]),
            (Order::narrow(vec![2, 0, 2]), vec![2, 0, 2]),
            (Order::from(vec![7, 9]), vec![7, 9]),
            (Order::from_fn(3, |position| 10 - position), vec![10, 9, 8]),
            (Order::sequential(0), vec![]),
        ] {
            assert_eq!(order.iter().collect::<Vec<_>>(), expected);
            assert_eq!((order.len(), order.is_empty()), (expected.len(), expected.is_empty()));
        }
    }

    #[test]
    #[should_panic(expected = "position 3 of an order of 3")]
    fn a_position_past_the_end_panics() {
        Order::sequential(3).get(3);
    }

    #[test]
    fn an_order_is_shared_out_once() {
        let two = Distributed::new(0, 2).unwrap();
        let error = Order::sequential(9).shard(&two).unwrap().shard(&two).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
