//! Faults on purpose: how does a training loop bear bad data?
//!
//! Some file of a large data set is broken, some read fails, something panics over a picture that nobody thought of:
//! in the third night of a run. [`Chaos`] has it happen in a test. It wraps a dataset, and has samples fail, panic,
//! come late or come cut short. By rate:
//!
//! ```
//! use std::time::Duration;
//!
//! use sutler::chaos::Chaos;
//! use sutler::{Dataset, InMemory, Loader};
//!
//! let numbers: InMemory<i64> = (0..5_000).collect();
//! let dataset = Chaos::new(numbers, 7) // its own seed
//!     .errors(0.01)
//!     .panics(0.001)
//!     .delays(0.002, Duration::from_millis(1));
//! let bad: Vec<usize> = (0..dataset.len()).filter(|&index| dataset.fate(index).is_bad()).collect();
//! assert!(!bad.is_empty());
//!
//! // A loop that leaves out what is bad.
//! let loader = Loader::builder(dataset).batch_size(10).num_workers(2).build()?;
//! let (mut trained, mut failed) = (0, Vec::new());
//! for batch in &loader {
//!     match batch {
//!         Ok(numbers) => trained += numbers.len(),
//!         Err(error) => failed.push(error.index().expect("an injected fault has an index")),
//!     }
//! }
//!
//! // What fails is known beforehand: the batches that have a bad sample, each named by its first.
//! let mut expected = bad;
//! expected.dedup_by_key(|index| *index / 10);
//! assert_eq!(failed, expected);
//! assert_eq!(trained, 5_000 - 10 * failed.len());
//! # Ok::<(), sutler::Error>(())
//! ```
//!
//! Or where it is wanted, such as a sample that does not come until the test lets it:
//!
//! ```
//! use std::time::Duration;
//!
//! use sutler::chaos::{Chaos, Fault, Gate};
//! use sutler::{ErrorKind, InMemory, Loader};
//!
//! let gate = Gate::new();
//! let numbers: InMemory<i64> = (0..6).collect();
//! let dataset = Chaos::new(numbers, 7).hang_at(1, &gate).at(4, Fault::Panic);
//! let loader = Loader::builder(dataset).batch_size(3).num_workers(1).timeout(Duration::from_secs(2)).build()?;
//! let mut epoch = loader.epoch();
//! assert_eq!(epoch.next().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
//! gate.open();
//! assert_eq!(*epoch.next().unwrap()?, [0, 1, 2]);
//! let error = epoch.next().unwrap().unwrap_err();
//! assert_eq!((error.kind(), error.index()), (ErrorKind::Panic, Some(4)));
//! # Ok::<(), sutler::Error>(())
//! ```
//!
//! # What befalls a sample
//!
//! * It depends on the seed of the chaos, the rates, and the sample's index: not on workers, order, epoch or time.
//!   What a [transient](Fault::Transient) fault does depends besides on how often the sample was asked for.
//! * [`fate`](Chaos::fate) tells it beforehand.
//! * At most one [`Fault`] befalls it. Whether it comes late is drawn apart.
//! * A sample that nothing befalls is what it is without chaos, and draws the same random numbers.
//! * Texts say `injected by chaos`, except those of a decoder that meets a sample which was cut short.
//!
//! What has an index is the wrapped dataset: put the chaos around the source, before `map`, and the transforms meet
//! what is cut short; put it around all of it to have it strike behind them.

mod fate;
mod gate;
mod iterable;
mod plan;
mod truncate;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use fate::{Fate, Fault, Target};
pub use gate::Gate;
pub use truncate::{Cut, Truncate, Truncating, Whole};

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::rng::SampleRng;
use plan::Plan;

/// A dataset with faults in it; see the [module](self).
///
/// Around a [`Dataset`] it is a dataset, around an [`IterableDataset`](crate::IterableDataset) an iterable one, whose
/// faults befall records when they are decoded, or [when they are read](Chaos::while_reading). The `path` and the
/// `fingerprint` are those of the dataset inside. `C` says whether samples can be cut short; leave it out.
#[derive(Debug)]
pub struct Chaos<D, C = Whole> {
    dataset: D,
    /// Shared with readers of shards, which outlive a borrow.
    plan: Arc<Plan>,
    cut: C,
}

impl<D> Chaos<D> {
    /// A dataset that nothing befalls yet. `seed` decides which samples the rates hit; it need not differ from the
    /// loader's.
    pub fn new(dataset: D, seed: u64) -> Self {
        Chaos { dataset, plan: Arc::new(Plan::new(seed)), cut: Whole }
    }
}

/// # Rates
///
/// A rate is the chance of each sample, in `[0, 1]`. Those of errors, panics, truncations and transient faults add up
/// to 1 at most, since one sample suffers one of them; a method panics if they do not. Set again, a rate replaces the
/// former one.
impl<D, C> Chaos<D, C> {
    /// Samples that fail with an error of kind [`Io`](crate::ErrorKind::Io), each time.
    ///
    /// # Panics
    ///
    /// If the rate is not in `[0, 1]`, or the rates of all faults add up to more than 1.
    pub fn errors(self, rate: f64) -> Self {
        self.planned(|plan| plan.share(Fault::Error, rate))
    }

    /// Samples that panic, each time.
    ///
    /// # Panics
    ///
    /// As [`errors`](Chaos::errors).
    pub fn panics(self, rate: f64) -> Self {
        self.planned(|plan| plan.share(Fault::Panic, rate))
    }

    /// Samples that fail the first `failures` times that they are asked for, and are good from then on: a network file
    /// system. The error is of kind [`Io`](crate::ErrorKind::Io).
    ///
    /// # Panics
    ///
    /// As [`errors`](Chaos::errors).
    pub fn transients(self, rate: f64, failures: u32) -> Self {
        self.planned(|plan| plan.share(Fault::Transient { failures }, rate))
    }

    /// Samples whose bytes are cut short, each at a place drawn for it; of an iterable dataset the records, before
    /// they are decoded.
    ///
    /// That by itself is no error. What reads the bytes must find out, as with a file that was not written to its
    /// end: a cut [`LazyImage`](crate::image::LazyImage) fails when it is decoded, or at once if not even its header
    /// is left. (Formats that have something dispensable at their end, such as the further frames of a GIF, may come
    /// through.)
    ///
    /// The result is a dataset if its samples (its records, if it is iterable) are [`Truncate`]. Numbers are not:
    ///
    /// ```compile_fail,E0277
    /// let numbers: sutler::InMemory<i64> = (0..10).collect();
    /// sutler::Loader::builder(sutler::chaos::Chaos::new(numbers, 7).truncations(0.1));
    /// ```
    ///
    /// # Panics
    ///
    /// As [`errors`](Chaos::errors).
    pub fn truncations(self, rate: f64) -> Chaos<D, Truncating> {
        let Chaos { dataset, plan, .. } = self.planned(|plan| plan.truncate(rate));
        Chaos { dataset, plan, cut: Truncating }
    }

    /// Samples that come after `delay`, whatever befalls them besides.
    ///
    /// # Panics
    ///
    /// If the rate is not in `[0, 1]`.
    pub fn delays(self, rate: f64, delay: Duration) -> Self {
        self.planned(|plan| plan.delay(rate, delay))
    }

    /// Has `fault` befall one sample, whatever was drawn for it: `at(17, Fault::Panic)`. A record is named by its shard
    /// and number: `at((2, 17), Fault::Panic)`.
    ///
    /// # Panics
    ///
    /// For [`Fault::Truncation`], if [`truncations`](Chaos::truncations) was not called before: it is what knows how
    /// samples are cut. A rate of 0 will do.
    pub fn at(self, target: impl Into<Target>, fault: Fault) -> Self {
        self.planned(|plan| plan.place(target.into(), fault))
    }

    /// Has one sample come after `delay`, whatever was drawn for it.
    pub fn delay_at(self, target: impl Into<Target>, delay: Duration) -> Self {
        self.planned(|plan| plan.delay_at(target.into(), delay))
    }

    /// Has one sample not come until `gate` is opened. Whoever asks for it waits: without workers, that is the caller
    /// of `next`.
    pub fn hang_at(self, target: impl Into<Target>, gate: &Gate) -> Self {
        self.planned(|plan| plan.hang_at(target.into(), gate))
    }

    /// Has what befalls the records of an [`IterableDataset`](crate::IterableDataset) do so when they are read, and
    /// not when they are decoded. An error or a panic then ends the shard, where it would have cost one batch; a
    /// truncation cuts the record, as before. For a [`Dataset`] there is no difference.
    pub fn while_reading(self) -> Self {
        self.planned(|plan| plan.reading = true)
    }

    /// What befalls the sample with that index, or the record `(shard, index)`.
    pub fn fate(&self, target: impl Into<Target>) -> Fate {
        self.plan.fate(target.into())
    }

    fn planned(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(Arc::make_mut(&mut self.plan));
        self
    }
}

impl<D: Dataset, C: Cut<D::Sample>> Chaos<D, C> {
    /// Adds which sample it was, for those who ask without a loader.
    #[cold]
    fn named(&self, error: Error, index: usize) -> Error {
        let error = error.with_index(index);
        match self.dataset.path(index) {
            Some(path) => error.with_path(path),
            None => error,
        }
    }
}

impl<D: Dataset, C: Cut<D::Sample>> Dataset for Chaos<D, C> {
    type Sample = D::Sample;

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<D::Sample> {
        let target = index.into();
        self.plan.strike(target).map_err(|error| self.named(error, index))?;
        let sample = self.dataset.get(index, rng)?;
        match self.plan.keep(target) {
            Some(keep) => self.cut.cut(sample, keep).map_err(|error| self.named(error, index)),
            None => Ok(sample),
        }
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        self.dataset.path(index)
    }

    fn fingerprint(&self) -> u64 {
        self.dataset.fingerprint()
    }
}
