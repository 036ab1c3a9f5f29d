//! In which order the samples of an epoch come. A sampler sees a length, never a dataset.

mod order;
mod random;
mod sequential;

pub use order::Order;
pub use random::RandomSampler;
pub use sequential::SequentialSampler;

use crate::error::Result;

/// Gives each epoch its order.
///
/// `order` is pure in its arguments: the same epoch and length give the same order, whenever and however often it
/// is asked. That is what makes a run reproducible and an epoch resumable, so a sampler that draws random numbers
/// derives them from `epoch` instead of carrying state from call to call.
///
/// ```
/// use sutler::{Order, Result, Sampler};
///
/// struct Backwards;
///
/// impl Sampler for Backwards {
///     fn order(&self, _epoch: u64, len: usize) -> Result<Order> {
///         Ok((0..len).rev().collect())
///     }
/// }
/// assert_eq!(Backwards.order(0, 3)?.iter().collect::<Vec<_>>(), [2, 1, 0]);
/// # Ok::<(), sutler::Error>(())
/// ```
pub trait Sampler: Send + Sync {
    /// The order of epoch `epoch` over a dataset of `len` samples: each entry below `len`.
    ///
    /// An order may be shorter than the dataset, longer, or repeat samples; the loader serves what it says.
    ///
    /// # Errors
    ///
    /// Where no order can be given, say for a length that the sampler was not made for. The epoch then does not
    /// start.
    fn order(&self, epoch: u64, len: usize) -> Result<Order>;
}

impl<S: Sampler + ?Sized> Sampler for Box<S> {
    fn order(&self, epoch: u64, len: usize) -> Result<Order> {
        (**self).order(epoch, len)
    }
}

impl<S: Sampler + ?Sized> Sampler for std::sync::Arc<S> {
    fn order(&self, epoch: u64, len: usize) -> Result<Order> {
        (**self).order(epoch, len)
    }
}
