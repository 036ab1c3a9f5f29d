//! `Feed`: an epoch, to whoever takes its batches in the consumer's place.

use std::sync::Arc;

use super::mark::{Mark, StreamMark};
use super::patience::Patience;
use super::watch::timed_out;
use super::{Epoch, IterableEpoch, Masked, WorkerPool};
use crate::collate::Collate;
use crate::dataset::{Dataset, IterableDataset};
use crate::error::Result;
use crate::memory::HostTensor;

/// An epoch whose batches a [`DevicePrefetcher`](crate::DevicePrefetcher) can take: an [`Epoch`], a [`Masked`] one, or an
/// [`IterableEpoch`]. Sealed.
pub trait Feed: Iterator<Item = Result<Self::Batch>> + Send + sealed::Sealed + 'static {
    /// A batch on the host.
    type Batch: Send + 'static;
}

pub(crate) mod sealed {
    use super::{Patience, Stop, WorkerPool};

    pub trait Sealed {
        /// Where the epoch stands after a batch.
        type Mark: Send + 'static;

        fn mark(&self) -> Self::Mark;

        /// From now on the epoch itself waits for as long as it takes, and does not count it.
        fn take_patience(&mut self) -> Patience;

        /// Ends the epoch while another thread has it.
        fn stop(&self) -> Stop;

        fn workers(&self) -> Option<WorkerPool>;
    }
}

/// Ends an epoch, wherever it is.
pub(crate) type Stop = Box<dyn Fn() + Send + Sync>;

impl<D, C> sealed::Sealed for Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    type Mark = Mark<D, C>;

    fn mark(&self) -> Mark<D, C> {
        Epoch::mark(self)
    }

    fn take_patience(&mut self) -> Patience {
        let (line, timeout) = (Arc::clone(&self.line), self.timeout.take());
        Patience::new(self.clock.take(), timeout, move || {
            timed_out(timeout, &line.shared.watch, |name| line.path(name), "")
        })
    }

    fn stop(&self) -> Stop {
        let line = Arc::clone(&self.line);
        Box::new(move || line.stop())
    }

    fn workers(&self) -> Option<WorkerPool> {
        self.line.workers.clone()
    }
}

impl<D, C> Feed for Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
    C::Batch: 'static,
{
    type Batch = C::Batch;
}

impl<D, C> sealed::Sealed for Masked<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    type Mark = Mark<D, C>;

    fn mark(&self) -> Mark<D, C> {
        self.0.mark()
    }

    fn take_patience(&mut self) -> Patience {
        self.0.take_patience()
    }

    fn stop(&self) -> Stop {
        self.0.stop()
    }

    fn workers(&self) -> Option<WorkerPool> {
        self.0.workers()
    }
}

impl<D, C> Feed for Masked<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
    C::Batch: 'static,
{
    type Batch = (C::Batch, HostTensor<bool>);
}

impl<I, C> sealed::Sealed for IterableEpoch<I, C>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
{
    type Mark = StreamMark<I, C>;

    fn mark(&self) -> StreamMark<I, C> {
        IterableEpoch::mark(self)
    }

    fn take_patience(&mut self) -> Patience {
        let (line, timeout) = (Arc::clone(&self.intake.line), self.timeout.take());
        Patience::new(self.clock.take(), timeout, move || {
            timed_out(timeout, &line.shared.watch, |name| line.path(name), "")
        })
    }

    fn stop(&self) -> Stop {
        let line = Arc::clone(&self.intake.line);
        Box::new(move || line.stop())
    }

    fn workers(&self) -> Option<WorkerPool> {
        self.intake.line.workers.clone()
    }
}

impl<I, C> Feed for IterableEpoch<I, C>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
    C::Batch: 'static,
{
    type Batch = C::Batch;
}
