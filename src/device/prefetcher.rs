//! `DevicePrefetcher`: an epoch whose batches are on a device when they are asked for.

use std::fmt;
use std::iter::FusedIterator;

use super::Transfer;
use super::background::Background;
use super::transfer::carry;
use crate::collate::Collate;
use crate::dataset::{Dataset, IterableDataset};
use crate::error::Result;
use crate::loader::{Epoch, Feed, IterableEpoch, LoaderState, Masked};
use crate::memory::HostTensor;

/// An epoch whose batches are on a device when they are asked for; made by [`Epoch::prefetch_to`], and for libtorch by
/// `Epoch::to_device` (feature `tch`).
///
/// A thread takes batches from the epoch and copies them, one after another, while the consumer uses the one before. A batch
/// is handed out when its copy is over, and its host memory has gone back to the loader by then. Where there is nothing to
/// copy (a device that is the host), there is no thread, and this is the epoch itself.
///
/// An `Err` is one batch that could not be made or copied; the iteration goes on behind it. Dropping it waits for the copy
/// that is under way, which takes milliseconds, and for nothing else.
pub struct DevicePrefetcher<E: Feed, T: Transfer<E::Batch>> {
    stage: Stage<E, T>,
    depth: usize,
    /// Where the epoch stands, as the consumer sees it.
    mark: E::Mark,
}

enum Stage<E: Feed, T: Transfer<E::Batch>> {
    /// In the consumer's thread: where nothing is copied, and before the first batch.
    Here {
        epoch: E,
        transfer: T,
    },
    Background {
        thread: Background<E::Mark, T::Landed>,
        rest: (usize, Option<usize>),
    },
    /// The thread could not be started.
    Failed,
}

impl<E: Feed, T: Transfer<E::Batch>> DevicePrefetcher<E, T> {
    pub(crate) fn new(epoch: E, transfer: T) -> Self {
        DevicePrefetcher { mark: epoch.mark(), stage: Stage::Here { epoch, transfer }, depth: 1 }
    }

    /// How many batches may be on the device ahead of the one that is being used (default: 1, which is enough unless the time
    /// of a batch varies much; at least 1). They take memory there. To be set before the first batch.
    #[must_use]
    pub fn depth(self, depth: usize) -> Self {
        DevicePrefetcher { depth: depth.max(1), ..self }
    }

    /// Starts the thread, if there is to be one.
    fn start(&mut self) -> Result<()> {
        if !matches!(&self.stage, Stage::Here { transfer, .. } if !transfer.is_immediate()) {
            return Ok(());
        }
        if let Stage::Here { epoch, transfer } = std::mem::replace(&mut self.stage, Stage::Failed) {
            let rest = epoch.size_hint();
            self.stage = Stage::Background { thread: Background::start(epoch, transfer, self.depth)?, rest };
        }
        Ok(())
    }
}

impl<E: Feed, T: Transfer<E::Batch>> Iterator for DevicePrefetcher<E, T> {
    type Item = Result<T::Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = self.start() {
            return Some(Err(error));
        }
        match &mut self.stage {
            Stage::Here { epoch, transfer } => {
                let batch = epoch.next();
                self.mark = epoch.mark();
                Some(batch?.and_then(|batch| carry(transfer, batch)).and_then(T::receive))
            }
            Stage::Background { thread, rest } => {
                let arrival = thread.next();
                let result = arrival.map(|arrival| {
                    if let Some(place) = arrival.place {
                        (self.mark, *rest) = place;
                    }
                    arrival.result.and_then(T::receive)
                });
                thread.returned(&result);
                result
            }
            Stage::Failed => None,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.stage {
            Stage::Here { epoch, .. } => epoch.size_hint(),
            Stage::Background { rest, .. } => *rest,
            Stage::Failed => (0, Some(0)),
        }
    }
}

impl<E: Feed + ExactSizeIterator, T: Transfer<E::Batch>> ExactSizeIterator for DevicePrefetcher<E, T> {}

impl<E: Feed + FusedIterator, T: Transfer<E::Batch>> FusedIterator for DevicePrefetcher<E, T> {}

impl<E: Feed, T: Transfer<E::Batch>> fmt::Debug for DevicePrefetcher<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevicePrefetcher")
            .field("depth", &self.depth)
            .field("rest", &self.size_hint())
            .finish_non_exhaustive()
    }
}

macro_rules! epochs {
    ($($epoch:ident of $data:ident, $batch:ty;)*) => {$(
        impl<D, C> $epoch<D, C>
        where
            D: $data + 'static,
            C: Collate<D::Sample> + 'static,
            C::Batch: 'static,
        {
            /// The batches of this epoch on the device that `transfer` brings them to, each copied while the one before is
            /// being used.
            pub fn prefetch_to<T: Transfer<$batch>>(self, transfer: T) -> DevicePrefetcher<Self, T> {
                DevicePrefetcher::new(self, transfer)
            }
        }
    )*};
}

epochs! {
    Epoch of Dataset, C::Batch;
    Masked of Dataset, (C::Batch, HostTensor<bool>);
    IterableEpoch of IterableDataset, C::Batch;
}

macro_rules! marks {
    ($($epoch:ident)*) => {$(
        impl<D, C, T> DevicePrefetcher<$epoch<D, C>, T>
        where
            D: Dataset + 'static,
            C: Collate<D::Sample> + 'static,
            $epoch<D, C>: Feed<Mark = crate::loader::Mark<D, C>>,
            T: Transfer<<$epoch<D, C> as Feed>::Batch>,
        {
            /// The state between the batch that `next()` gave last and the next one: what was only copied ahead does not
            /// count. See [`Epoch::state`].
            pub fn state(&self) -> LoaderState {
                self.mark.state()
            }

            /// The indices of the samples of the batch that `next()` gave last; see [`Epoch::indices`].
            pub fn indices(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
                self.mark.indices()
            }

            /// How many samples at the end of the batch that `next()` gave last are padding; see [`Epoch::padding`].
            pub fn padding(&self) -> usize {
                self.mark.padding()
            }
        }
    )*};
}

marks! { Epoch Masked }

impl<I, C, T> DevicePrefetcher<IterableEpoch<I, C>, T>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
    C::Batch: 'static,
    T: Transfer<C::Batch>,
{
    /// The state between the batch that `next()` gave last and the next one: what was only copied ahead does not count. See
    /// [`IterableEpoch::state`].
    pub fn state(&self) -> LoaderState {
        self.mark.state()
    }
}
