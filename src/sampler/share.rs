//! `Share`: which units of a whole are one rank's, and from where on.

use super::Distributed;
use crate::error::{Error, ErrorKind, Result};

/// One rank's share of `units` units (samples, or batches), dealt out in turn from `start` on.
///
/// The k-th unit of rank r is unit `start + r + k * world` of the whole. Beyond the end it goes on at the front, as
/// torch's `DistributedSampler` pads: every rank then has as many units as every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    units: usize,
    start: usize,
    rank: usize,
    world: usize,
    drop_last: bool,
    /// How many units are ours.
    count: usize,
}

impl Share {
    /// All of it.
    pub(super) fn whole(units: usize) -> Self {
        Share { units, start: 0, rank: 0, world: 1, drop_last: false, count: units }
    }

    /// The same units, dealt out to the ranks of `distributed`.
    ///
    /// # Errors
    ///
    /// If they are dealt out already, or there are so many of both that their places cannot be counted.
    pub(super) fn among(self, distributed: &Distributed) -> Result<Self> {
        let (rank, world, drop_last) = (distributed.rank(), distributed.world_size(), distributed.drops_last());
        if self.world > 1 {
            return Err(Error::new(
                ErrorKind::Config,
                "the order is already shared out among ranks: use either a DistributedSampler or distributed(…)",
            ));
        }
        // The last place is padding, less than one round behind the end.
        if self.units.checked_add(world).is_none() {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("{} samples are too many to deal out to {world} ranks", self.units),
            ));
        }
        Ok(Share { rank, world, drop_last, ..self }.counted())
    }

    /// The same ranks, dealt what is left from unit `start` of the whole on.
    pub(super) fn starting_at(self, start: usize) -> Self {
        Share { start: start.min(self.units), ..self }.counted()
    }

    fn counted(self) -> Self {
        let left = self.units - self.start;
        let count = if self.drop_last { left / self.world } else { left.div_ceil(self.world) };
        Share { count, ..self }
    }

    /// How many units are ours.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// How many units there are in all.
    pub(super) fn units(&self) -> usize {
        self.units
    }

    pub(super) fn rank(&self) -> usize {
        self.rank
    }

    pub(super) fn world(&self) -> usize {
        self.world
    }

    /// The place of our k-th unit: in the whole, if it is below [`units`](Share::units); padding, if not.
    #[inline]
    pub(super) fn place(&self, k: usize) -> usize {
        self.start + self.rank + k * self.world
    }

    /// The unit at a place: padding starts again at the front.
    #[inline]
    pub(super) fn unit(&self, place: usize) -> usize {
        if place < self.units { place } else { place % self.units }
    }

    /// Where the whole stands when each rank is through with its first `k` units.
    pub(super) fn reached(&self, k: usize) -> usize {
        if k >= self.count { self.units } else { self.start + k * self.world }
    }

    /// Whether what does not go round is left out.
    pub(super) fn drops_last(&self) -> bool {
        self.drop_last
    }
}
