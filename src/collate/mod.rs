//! How the samples of a batch become one batch: a write into place, not a pass over a finished list.

#[cfg(feature = "vision")]
mod cutmix;
mod function;
mod gathered;
#[cfg(feature = "vision")]
mod image;
mod list;
mod map;
mod mapping;
mod mixing;
mod mixup;
mod pad;
mod pad_mask;
mod random_choice;
mod stack;
mod tuple;
mod unbatched;

#[cfg(feature = "vision")]
pub use cutmix::{CutMix, CutMixPart};
pub use function::CollateFn;
pub use gathered::Gathered;
pub use map::MapPart;
pub use mixing::MixPart;
pub use mixup::MixUp;
pub use pad::{Pad, PadPart};
pub use pad_mask::PadMask;
pub use stack::{Stack, Stackable};
pub use unbatched::Unbatched;

use crate::error::{Error, ErrorKind, Result};
use crate::memory::BatchPlan;

/// Makes batches of samples of type `S`.
///
/// A batch is started once, may be split into parts that several workers fill at the same time, and is finished once
/// its parts are full and united again. A [`Part`](Collate::Part) is the exclusive right to a run of samples, so an
/// implementation needs no locks.
///
/// Use [`Stack`] (the default), [`Pad`] for sequences of different lengths, [`MixUp`], a tuple of collates for a tuple
/// of samples, or a plain function through [`collate_fn`](crate::LoaderBuilder::collate_fn); implement this to write
/// samples into their place in some other layout.
pub trait Collate<S>: Send + Sync {
    /// What the training loop gets.
    type Batch: Send;
    /// A run of consecutive samples of a batch in the making.
    type Part: Send;

    /// Starts a batch: the part that covers all of it.
    fn start(&self, plan: BatchPlan<'_>) -> Self::Part;

    /// Splits a part that has no samples yet: it keeps the first `at`, the rest is returned.
    fn split_off(&self, part: &mut Self::Part, at: usize) -> Self::Part;

    /// Adds the next sample of the part.
    ///
    /// # Errors
    ///
    /// If the sample does not fit the others. The batch is then given up, and the error is its result.
    fn push(&self, part: &mut Self::Part, sample: S) -> Result<()>;

    /// Takes back a sample that turned out to be bad, where the loader is told to go on without it or with another one
    /// ([`on_error`](crate::LoaderBuilder::on_error)): the part has its first `len` samples again.
    ///
    /// That sample was not pushed, or its push has failed or panicked and may have left something behind. From then on
    /// the part may have fewer samples than it was started for, even none, when it is united and finished.
    ///
    /// By default this is refused, and the batch fails as a whole.
    ///
    /// # Errors
    ///
    /// If the part cannot go on; the error is the batch's result.
    fn rewind(&self, part: &mut Self::Part, len: usize) -> Result<()> {
        let _ = (part, len);
        Err(Error::new(
            ErrorKind::Collate,
            "this collate cannot leave out or replace a sample: implement Collate::rewind, or use OnError::Fail",
        ))
    }

    /// Appends `next`, the part that follows; both are full, unless they were [rewound](Collate::rewind).
    fn unite(&self, part: &mut Self::Part, next: Self::Part);

    /// Turns the full part that covers the whole batch into the batch. It has at least one sample.
    ///
    /// # Errors
    ///
    /// If the samples do not make a batch; the error is the batch's result.
    fn finish(&self, part: Self::Part) -> Result<Self::Batch>;
}
