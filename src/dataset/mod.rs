//! Where samples come from: the trait, and what can be done with any dataset. One file a format.

mod concat;
#[cfg(feature = "vision")]
mod idx;
#[cfg(feature = "vision")]
mod image_folder;
mod in_memory;
mod map;
mod subset;

use std::path::PathBuf;
use std::sync::Arc;

pub use concat::Concat;
#[cfg(feature = "vision")]
pub use idx::Idx;
#[cfg(feature = "vision")]
pub use image_folder::ImageFolder;
pub use in_memory::InMemory;
pub use map::Map;
pub use subset::Subset;

use crate::error::Result;
use crate::rng::SampleRng;
use crate::transform::Transform;

/// A collection of samples with random access (`torch.utils.data.Dataset`, map-style).
///
/// `get` is called from several worker threads at once, so a dataset is shared and not copied: what it holds (paths,
/// a memory map, an index) exists once, whatever the number of workers. It opens files in `get`, not before.
///
/// ```
/// use sutler::{Dataset, Result, SampleRng};
///
/// struct Squares(usize);
///
/// impl Dataset for Squares {
///     type Sample = (u64, bool);
///
///     fn len(&self) -> usize {
///         self.0
///     }
///
///     fn get(&self, index: usize, rng: &mut SampleRng) -> Result<(u64, bool)> {
///         Ok((index as u64 * index as u64, rng.bernoulli(0.5)))
///     }
/// }
/// ```
///
/// `&D`, `Box<D>` and `Arc<D>` are datasets as well; so is `Box<dyn Dataset<Sample = S>>`.
pub trait Dataset: Send + Sync {
    /// One sample. A tuple of several fields becomes a tuple of tensors.
    type Sample: Send;

    /// How many samples there are.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Loads sample `index`, which is below [`len`](Dataset::len).
    ///
    /// `rng` is the sample's own generator, keyed by (seed, epoch, index). Draw everything random from it, and the
    /// sample is the same on any number of workers and after any resume.
    ///
    /// # Errors
    ///
    /// If the sample cannot be loaded. The loader adds the index and the path, and goes on with the next batch.
    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<Self::Sample>;

    /// The absolute path of the file that sample `index` comes from, for error messages; `None` where there is none.
    fn path(&self, index: usize) -> Option<PathBuf> {
        let _ = index;
        None
    }

    /// This dataset with `transform` applied to each sample.
    fn map<T: Transform<Self::Sample>>(self, transform: T) -> Map<Self, T>
    where
        Self: Sized,
    {
        Map::new(self, transform)
    }

    /// The samples at the given indices, in that order (`torch.utils.data.Subset`).
    ///
    /// # Errors
    ///
    /// If an index is not below [`len`](Dataset::len).
    fn subset(self, indices: impl Into<Vec<usize>>) -> Result<Subset<Self>>
    where
        Self: Sized,
    {
        Subset::new(self, indices.into())
    }

    /// This dataset's samples, then `next`'s (`torch.utils.data.ConcatDataset`).
    fn concat<D: Dataset<Sample = Self::Sample>>(self, next: D) -> Concat<Self, D>
    where
        Self: Sized,
    {
        Concat::new(self, next)
    }
}

macro_rules! datasets_behind_pointers {
    ($($pointer:ty),*) => {$(
        impl<D: Dataset + ?Sized> Dataset for $pointer {
            type Sample = D::Sample;

            fn len(&self) -> usize {
                (**self).len()
            }

            fn get(&self, index: usize, rng: &mut SampleRng) -> Result<D::Sample> {
                (**self).get(index, rng)
            }

            fn path(&self, index: usize) -> Option<PathBuf> {
                (**self).path(index)
            }
        }
    )*};
}

datasets_behind_pointers!(&D, Box<D>, Arc<D>);
