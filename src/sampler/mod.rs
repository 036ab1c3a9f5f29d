//! In which order the samples of an epoch come, and in which batches. A sampler sees lengths, never a dataset.

mod batches;
mod bucket;
mod distributed;
mod keyed;
mod order;
mod random;
mod replay;
mod sequential;
mod share;
mod subset_random;
mod weighted_random;

pub use batches::Batches;
pub(crate) use batches::{Dealing, Run, RunIndices, Unit};
pub use bucket::BucketBatchSampler;
pub use distributed::{Distributed, DistributedSampler};
pub use keyed::KeyedSampler;
pub use order::Order;
pub use random::RandomSampler;
pub use sequential::SequentialSampler;
pub use subset_random::SubsetRandomSampler;
pub use weighted_random::WeightedRandomSampler;

use crate::error::{Error, ErrorKind, Result};

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

    /// What the sampler is called in the error where a saved state does not fit (default: the name of its type).
    fn name(&self) -> String {
        type_name::<Self>()
    }

    /// Batches of this sampler's order (`torch.utils.data.BatchSampler`).
    ///
    /// A loader's `batch_size` does the same; this is for batch samplers that are made of others.
    ///
    /// If `batch_size` is 0, each epoch is an error.
    fn batched(self, batch_size: usize, drop_last: bool) -> Batched<Self>
    where
        Self: Sized,
    {
        Batched { sampler: self, batch_size, drop_last }
    }
}

/// Gives each epoch its batches, where they are not simply pieces of equal size (torch's `batch_sampler`).
///
/// Pure in its arguments, as a [`Sampler`] is.
///
/// ```
/// use sutler::{BatchSampler, Batches, InMemory, Loader, Result};
///
/// /// Batches of 1, 2, 3, … samples.
/// struct Growing;
///
/// impl BatchSampler for Growing {
///     fn batches(&self, _epoch: u64, len: usize) -> Result<Batches> {
///         let (mut start, mut size) = (0, 0);
///         Ok(std::iter::from_fn(|| {
///             start += size;
///             size += 1;
///             (start < len).then(|| start..len.min(start + size))
///         })
///         .collect())
///     }
/// }
///
/// let loader = Loader::builder((0..5).collect::<InMemory<i64>>()).batch_sampler(Growing).build()?;
/// let batches: Vec<Vec<i64>> = loader.epoch().map(|batch| Ok(batch?.to_vec())).collect::<Result<_>>()?;
/// assert_eq!(batches, [vec![0], vec![1, 2], vec![3, 4]]);
/// # Ok::<(), sutler::Error>(())
/// ```
pub trait BatchSampler: Send + Sync {
    /// The batches of epoch `epoch` over a dataset of `len` samples: each index below `len`, no batch empty.
    ///
    /// # Errors
    ///
    /// Where no batches can be given. The epoch then does not start.
    fn batches(&self, epoch: u64, len: usize) -> Result<Batches>;

    /// What it is called in the error where a saved state does not fit (default: the name of its type).
    fn name(&self) -> String {
        type_name::<Self>()
    }
}

/// Cuts a sampler's order into batches of equal size; made by [`Sampler::batched`].
#[derive(Clone, Debug)]
pub struct Batched<S> {
    sampler: S,
    batch_size: usize,
    drop_last: bool,
}

impl<S: Sampler> BatchSampler for Batched<S> {
    fn batches(&self, epoch: u64, len: usize) -> Result<Batches> {
        Batches::every(self.batch_size, self.sampler.order(epoch, len)?, self.drop_last)
    }

    fn name(&self) -> String {
        self.sampler.name()
    }
}

macro_rules! samplers_behind_pointers {
    ($($pointer:ty),*) => {$(
        impl<S: Sampler + ?Sized> Sampler for $pointer {
            fn order(&self, epoch: u64, len: usize) -> Result<Order> {
                (**self).order(epoch, len)
            }

            fn name(&self) -> String {
                (**self).name()
            }
        }

        impl<S: BatchSampler + ?Sized> BatchSampler for $pointer {
            fn batches(&self, epoch: u64, len: usize) -> Result<Batches> {
                (**self).batches(epoch, len)
            }

            fn name(&self) -> String {
                (**self).name()
            }
        }
    )*};
}

samplers_behind_pointers!(Box<S>, std::sync::Arc<S>);

/// An empty list with room for `len`.
///
/// # Errors
///
/// If there is no memory for it.
fn with_room<T>(len: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    match list.try_reserve_exact(len) {
        Ok(()) => Ok(list),
        Err(source) => {
            Err(Error::new(ErrorKind::Limit, format!("no memory for an order of {len} samples")).with_source(source))
        }
    }
}

/// The name of a type, without the modules it is in.
fn type_name<T: ?Sized>() -> String {
    let full = std::any::type_name::<T>();
    let (path, generics) = full.split_at(full.find('<').unwrap_or(full.len()));
    let name = path.rsplit("::").next().unwrap_or(path);
    format!("{name}{generics}")
}
