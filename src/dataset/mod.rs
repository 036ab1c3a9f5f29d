//! Where samples come from: the trait, and what can be done with any dataset. One file a format.

mod concat;
mod concat_dataset;
#[cfg(feature = "vision")]
mod idx;
#[cfg(feature = "vision")]
mod image_folder;
mod in_memory;
mod iterable;
mod map;
mod split;
mod subset;

use std::path::PathBuf;
use std::sync::Arc;

pub use concat::Concat;
pub use concat_dataset::ConcatDataset;
#[cfg(feature = "vision")]
pub use idx::Idx;
#[cfg(feature = "vision")]
pub use image_folder::ImageFolder;
pub use in_memory::InMemory;
pub use iterable::IterableDataset;
pub use map::Map;
pub use split::SplitLengths;
pub use subset::Subset;

use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::rng::{Generator, SampleRng};
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
    /// `rng` is this sample's own generator, keyed by seed, epoch, and the sample's place in the epoch's order. Draw
    /// everything random from it, and the sample is the same on any number of workers or ranks and after any resume. One
    /// that a sampler draws twice in an epoch is augmented in two ways.
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

    /// What tells this data from other data of the same length. A saved [`LoaderState`](crate::LoaderState) is refused by
    /// a loader of a dataset with another fingerprint.
    ///
    /// By default it is made of the length and of the names of up to 64 files ([`path`](Dataset::path), its last two
    /// parts, so that data may be moved). Override it where samples have no files: with a version, say, or a checksum.
    fn fingerprint(&self) -> u64 {
        let mut print = Fingerprint::new();
        print.add(self.len() as u64);
        print.add_paths(self.len(), |index| self.path(index));
        print.value()
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

    /// Cuts the dataset at random into parts that do not overlap (`torch.utils.data.random_split`), in the order in which
    /// torch draws them.
    ///
    /// `lengths` has the number of samples of each part, or as `f64` its fraction of the whole; an array gives an array.
    /// Fractions are rounded down, and what is left over goes to the first parts, one sample each.
    ///
    /// ```
    /// use sutler::{Dataset, Generator, InMemory};
    ///
    /// let all: InMemory<i64> = (0..10).collect();
    /// let [train, val] = all.random_split([0.8, 0.2], &mut Generator::manual_seed(42))?;
    /// assert_eq!((train.len(), val.len()), (8, 2));
    /// # Ok::<(), sutler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If lengths do not add up to the length of the dataset, or fractions to 1.
    fn random_split<L: SplitLengths>(self, lengths: L, generator: &mut Generator) -> Result<L::Parts<Subset<Arc<Self>>>>
    where
        Self: Sized,
    {
        let whole = Arc::new(self);
        let lengths = lengths.lengths(whole.len())?;
        let parts = split::random_split(whole.len(), &lengths, generator).into_iter();
        Ok(L::parts(parts.map(|indices| Subset::new(Arc::clone(&whole), indices)).collect::<Result<_>>()?))
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

            fn fingerprint(&self) -> u64 {
                (**self).fingerprint()
            }
        }
    )*};
}

datasets_behind_pointers!(&D, Box<D>, Arc<D>);
