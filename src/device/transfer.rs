//! `Transfer`: what a prefetcher has to know of a device.

use std::mem;

use crate::error::Result;
use crate::guard::guarded;

/// A way for batches to a device. [`DevicePrefetcher`](crate::DevicePrefetcher) calls it, on a thread of its own:
/// [`start`](Transfer::start), [`finish`](Transfer::finish), and the batch's host memory goes back to the loader; then, on the
/// consumer's thread, [`receive`](Transfer::receive). At the end of the epoch it is dropped on its own thread, which may be
/// after the prefetcher was.
///
/// Feature `tch` has one for libtorch; implement it for a framework of yours.
///
/// ```
/// use sutler::{HostTensor, InMemory, Loader, Result, Transfer};
///
/// /// A device whose memory is a `Vec`.
/// struct ToVec;
///
/// impl Transfer<HostTensor<i64>> for ToVec {
///     type Landed = Vec<i64>;
///     type Batch = Vec<i64>;
///     type Host = Vec<HostTensor<i64>>;
///
///     fn start(&mut self, batch: HostTensor<i64>, host: &mut Self::Host) -> Result<Vec<i64>> {
///         let copy = batch.to_vec(); // a device would only have begun to read, so
///         host.push(batch); // it keeps the memory, until `finish`
///         Ok(copy)
///     }
///
///     fn finish(&mut self) -> Result<()> {
///         Ok(()) // a device would wait here
///     }
///
///     fn receive(landed: Vec<i64>) -> Result<Vec<i64>> {
///         Ok(landed)
///     }
/// }
///
/// let loader = Loader::builder((0..5).collect::<InMemory<i64>>()).batch_size(2).num_workers(1).build()?;
/// let batches: Vec<_> = loader.epoch().prefetch_to(ToVec).collect::<Result<_>>()?;
/// assert_eq!(batches, [vec![0, 1], vec![2, 3], vec![4]]);
/// # Ok::<(), sutler::Error>(())
/// ```
pub trait Transfer<B>: Send + 'static {
    /// A batch whose copy is over, on its way to the consumer's thread.
    type Landed: Send + 'static;
    /// What the consumer gets.
    type Batch;
    /// The host memory that is being read. It is dropped after [`finish`](Transfer::finish) and never before; and not at all if
    /// that fails, since nobody knows then whether the device is still reading.
    type Host: Default + Send + 'static;

    /// Begins to copy `batch`. Whatever of it the device may still read when this returns is in `host`: it has to be put
    /// there before the device begins, so that it also stays if this fails half-way, or panics.
    ///
    /// # Errors
    ///
    /// If the batch cannot be copied. It is lost; the next one comes.
    fn start(&mut self, batch: B, host: &mut Self::Host) -> Result<Self::Landed>;

    /// Waits until nothing that was started reads host memory any more. Called after each `start`, whatever came of it.
    ///
    /// # Errors
    ///
    /// If that cannot be known.
    fn finish(&mut self) -> Result<()>;

    /// Called in the consumer's thread, right before it gets the batch: to tell a device on which stream it will be used,
    /// say.
    ///
    /// # Errors
    ///
    /// If the batch cannot be used there.
    fn receive(landed: Self::Landed) -> Result<Self::Batch>;

    /// Whether `start` is all there is to do, and takes no time: no thread is started then.
    fn is_immediate(&self) -> bool {
        false
    }
}

/// Brings a batch to the device, and waits until its host memory is free. This is the one place that decides how long that
/// memory is kept.
pub(super) fn carry<B, T: Transfer<B>>(transfer: &mut T, batch: B) -> Result<T::Landed> {
    let mut host = guarded("copying the batch", || Ok(T::Host::default()))?;
    let started = guarded("copying the batch", || transfer.start(batch, &mut host));
    // Also after an error: the first of several fields may be on its way.
    let finished = guarded("copying the batch", || transfer.finish());
    match finished {
        Ok(()) => guarded("dropping the batch", || {
            drop(host);
            started
        }),
        Err(error) => {
            // The device may be reading there, for all we know: that memory must not be used again by anybody.
            mem::forget(host);
            guarded("dropping the batch", || started.map(drop)).and(Err(error))
        }
    }
}
