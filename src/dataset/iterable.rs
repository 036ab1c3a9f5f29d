//! `IterableDataset`: data that can only be read one record after another.

use std::path::PathBuf;
use std::sync::Arc;

use super::Map;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::rng::SampleRng;
use crate::transform::Transform;

/// Data that is read one record after another, in shards (`torch.utils.data.IterableDataset`): files of lines, archives,
/// tables of a database.
///
/// A shard is what one thread reads at a time. The [`IterableLoader`](crate::IterableLoader) deals the shards out over ranks
/// and threads, so that none is read twice and `get_worker_info` has no counterpart; with a single shard, reading is one
/// thread's work and [`decode`](IterableDataset::decode) still everybody's.
///
/// ```
/// use std::fs::File;
/// use std::io::{BufRead, BufReader};
/// use std::iter::Skip;
/// use std::path::PathBuf;
///
/// use sutler::{Error, IterableDataset, IterableLoader, Result, SampleRng};
///
/// /// Files with a number on each line.
/// struct Numbers(Vec<PathBuf>);
///
/// impl IterableDataset for Numbers {
///     type Record = String;
///     type Records = Box<dyn Iterator<Item = Result<String>> + Send>;
///     type Sample = f64;
///
///     fn num_shards(&self) -> usize {
///         self.0.len()
///     }
///
///     fn records(&self, shard: usize, _epoch: u64, skip: usize) -> Result<Self::Records> {
///         let lines = BufReader::new(File::open(&self.0[shard])?).lines();
///         Ok(Box::new(lines.skip(skip).map(|line| Ok(line?))))
///     }
///
///     fn decode(&self, line: String, _rng: &mut SampleRng) -> Result<f64> {
///         line.trim().parse().map_err(Error::other)
///     }
///
///     fn path(&self, shard: usize) -> Option<PathBuf> {
///         Some(self.0[shard].clone())
///     }
/// }
///
/// # let folder = tempfile::tempdir()?;
/// # let files: Vec<_> = ["1\n2\n3\n", "10\n20\n"].iter().enumerate().map(|(i, text)| {
/// #     let path = folder.path().join(i.to_string());
/// #     std::fs::write(&path, text).map(|()| path)
/// # }).collect::<Result<_, _>>()?;
/// let loader = IterableLoader::builder(Numbers(files)).batch_size(3).num_workers(2).build()?;
/// let batches: Vec<Vec<f64>> = loader.epoch().map(|batch| Ok(batch?.to_vec())).collect::<Result<_>>()?;
/// assert_eq!(batches, [vec![1.0, 10.0, 2.0], vec![20.0, 3.0]]); // a record of each shard in turn
/// # Ok::<(), sutler::Error>(())
/// ```
#[allow(clippy::len_without_is_empty, reason = "what has an unknown length is not known to be empty either")]
pub trait IterableDataset: Send + Sync {
    /// What is read: cheap to make, since a shard's records are read by one thread at a time.
    type Record: Send + 'static;
    /// The reader of a shard. An `Err` ends it: what cannot be read cannot be read past.
    type Records: Iterator<Item = Result<Self::Record>> + Send + 'static;
    /// What a record becomes.
    type Sample: Send;

    /// How many shards there are.
    fn num_shards(&self) -> usize;

    /// Starts to read a shard behind its first `skip` records; more than 0 only after a resume. The same epoch and shard
    /// give the same records.
    ///
    /// # Errors
    ///
    /// If the shard cannot be opened.
    fn records(&self, shard: usize, epoch: u64, skip: usize) -> Result<Self::Records>;

    /// Makes a sample of a record, on any thread. `rng` is keyed by seed, epoch, shard, and the record's number in it.
    ///
    /// # Errors
    ///
    /// If the record is bad. That costs its batch, and the iteration goes on.
    fn decode(&self, record: Self::Record, rng: &mut SampleRng) -> Result<Self::Sample>;

    /// How many samples all shards have together, if that is known.
    fn len(&self) -> Option<usize> {
        None
    }

    /// The absolute path of a shard's file, for error messages; `None` where there is none.
    fn path(&self, shard: usize) -> Option<PathBuf> {
        let _ = shard;
        None
    }

    /// What tells this data from other data; see [`Dataset::fingerprint`](crate::Dataset::fingerprint). By default made of the
    /// number of shards, the length, and the names of the files.
    fn fingerprint(&self) -> u64 {
        let mut print = Fingerprint::new();
        print.add(self.num_shards() as u64);
        print.add(self.len().map_or(u64::MAX, |len| len as u64));
        print.add_paths(self.num_shards(), |shard| self.path(shard));
        print.value()
    }

    /// This dataset with `transform` applied to each sample.
    fn map<T: Transform<Self::Sample>>(self, transform: T) -> Map<Self, T>
    where
        Self: Sized,
    {
        Map::new(self, transform)
    }
}

impl<D: IterableDataset, T: Transform<D::Sample>> IterableDataset for Map<D, T> {
    type Record = D::Record;
    type Records = D::Records;
    type Sample = T::Output;

    fn num_shards(&self) -> usize {
        self.dataset.num_shards()
    }

    fn records(&self, shard: usize, epoch: u64, skip: usize) -> Result<D::Records> {
        self.dataset.records(shard, epoch, skip)
    }

    fn decode(&self, record: D::Record, rng: &mut SampleRng) -> Result<T::Output> {
        self.transform.apply(self.dataset.decode(record, rng)?, rng)
    }

    fn len(&self) -> Option<usize> {
        self.dataset.len()
    }

    fn path(&self, shard: usize) -> Option<PathBuf> {
        self.dataset.path(shard)
    }

    fn fingerprint(&self) -> u64 {
        self.dataset.fingerprint()
    }
}

macro_rules! iterable_behind_pointers {
    ($($pointer:ty),*) => {$(
        impl<D: IterableDataset + ?Sized> IterableDataset for $pointer {
            type Record = D::Record;
            type Records = D::Records;
            type Sample = D::Sample;

            fn num_shards(&self) -> usize {
                (**self).num_shards()
            }

            fn records(&self, shard: usize, epoch: u64, skip: usize) -> Result<D::Records> {
                (**self).records(shard, epoch, skip)
            }

            fn decode(&self, record: D::Record, rng: &mut SampleRng) -> Result<D::Sample> {
                (**self).decode(record, rng)
            }

            fn len(&self) -> Option<usize> {
                (**self).len()
            }

            fn path(&self, shard: usize) -> Option<PathBuf> {
                (**self).path(shard)
            }

            fn fingerprint(&self) -> u64 {
                (**self).fingerprint()
            }
        }
    )*};
}

iterable_behind_pointers!(Box<D>, Arc<D>);
