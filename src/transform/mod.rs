//! What happens to a sample between its dataset and its batch.

mod compose;
#[cfg(feature = "vision")]
mod images;
mod pass_through;
mod random_apply;
mod random_choice;
mod random_order;

#[cfg(feature = "vision")]
pub use images::{
    AugMix, AugmentOp, AugmentationSpace, AutoAugment, AutoAugmentPolicy, CenterCrop, ColorJitter, Degrees,
    ErasingValue, FiveCrop, GaussianBlur, Grayscale, Jitter, Pad, RandAugment, RandomAdjustSharpness, RandomAffine,
    RandomAutocontrast, RandomCrop, RandomEqualize, RandomErasing, RandomGrayscale, RandomHorizontalFlip, RandomInvert,
    RandomPerspective, RandomPosterize, RandomResizedCrop, RandomRotation, RandomSolarize, RandomVerticalFlip, Resize,
    TenCrop, ToTensor, TrivialAugmentWide,
};
pub use pass_through::PassThrough;
pub use random_apply::RandomApply;
pub use random_choice::RandomChoice;
pub use random_order::RandomOrder;

use crate::error::Result;
use crate::rng::SampleRng;

/// Turns one sample into another: an augmentation, a conversion, a tokeniser.
///
/// Chained onto a dataset with [`Dataset::map`](crate::Dataset::map); runs on the worker that loads the sample.
/// Closures are transforms too; their argument types must be written out:
///
/// ```
/// use sutler::{Dataset, InMemory, SampleRng};
///
/// let noisy = InMemory::new(vec![1.0, 2.0]).map(|x: f64, rng: &mut SampleRng| Ok(x + rng.uniform()));
/// assert_eq!(noisy.len(), 2);
/// ```
///
/// A tuple of up to eight transforms is one as well: one after another, as `torchvision.transforms.v2.Compose`.
///
/// ```
/// # #[cfg(feature = "vision")]
/// # fn main() -> sutler::Result<()> {
/// use sutler::transform::{CenterCrop, Resize, ToTensor};
/// use sutler::{Dataset, ImageFolder};
///
/// let eval = (Resize::new(72), CenterCrop::new(64), ToTensor::u8()); // as good as three calls of map
/// let val = ImageFolder::open("fixtures/shapes/val")?.map(eval);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "vision"))]
/// # fn main() {}
/// ```
///
/// The transforms of images act on an `Image` or a `LazyImage`, and on the image of an `(image, label)` sample, whose label
/// passes through, as in `torchvision.transforms.v2`.
pub trait Transform<S>: Send + Sync {
    /// What the sample becomes.
    type Output: Send;

    /// Transforms one sample. Whatever is random comes from `rng`, the sample's own generator, so that the result
    /// depends on seed, epoch and place alone.
    ///
    /// # Errors
    ///
    /// If the sample cannot be transformed. The loader adds its index and path.
    fn apply(&self, sample: S, rng: &mut SampleRng) -> Result<Self::Output>;
}

impl<S, O: Send, F: Fn(S, &mut SampleRng) -> Result<O> + Send + Sync> Transform<S> for F {
    type Output = O;

    fn apply(&self, sample: S, rng: &mut SampleRng) -> Result<O> {
        self(sample, rng)
    }
}

/// Calls a macro with all tuples of transforms that there are, as `length: (type place, …);`.
macro_rules! for_tuples {
    ($implement:ident) => {
        $implement! {
            1: (A 0);
            2: (A 0, B 1);
            3: (A 0, B 1, C 2);
            4: (A 0, B 1, C 2, D 3);
            5: (A 0, B 1, C 2, D 3, E 4);
            6: (A 0, B 1, C 2, D 3, E 4, F 5);
            7: (A 0, B 1, C 2, D 3, E 4, F 5, G 6);
            8: (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
        }
    };
}
use for_tuples;

/// # Panics
///
/// Unless `p` is in `[0, 1]`.
fn probability(p: f64) -> f64 {
    assert!((0.0..=1.0).contains(&p), "a probability is in [0, 1], and {p} is not");
    p
}
