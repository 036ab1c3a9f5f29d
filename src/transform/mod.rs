//! What happens to a sample between its dataset and its batch.

#[cfg(feature = "vision")]
mod center_crop;
#[cfg(feature = "vision")]
mod degrees;
#[cfg(feature = "vision")]
mod five_crop;
#[cfg(feature = "vision")]
mod pad;
#[cfg(feature = "vision")]
mod random_affine;
#[cfg(feature = "vision")]
mod random_crop;
#[cfg(feature = "vision")]
mod random_erasing;
#[cfg(feature = "vision")]
mod random_horizontal_flip;
#[cfg(feature = "vision")]
mod random_perspective;
#[cfg(feature = "vision")]
mod random_resized_crop;
#[cfg(feature = "vision")]
mod random_rotation;
#[cfg(feature = "vision")]
mod random_vertical_flip;
#[cfg(feature = "vision")]
mod resize;
#[cfg(feature = "vision")]
mod ten_crop;
#[cfg(feature = "vision")]
mod to_tensor;

#[cfg(feature = "vision")]
pub use self::{
    center_crop::CenterCrop, degrees::Degrees, five_crop::FiveCrop, pad::Pad, random_affine::RandomAffine,
    random_crop::RandomCrop, random_erasing::RandomErasing, random_horizontal_flip::RandomHorizontalFlip,
    random_perspective::RandomPerspective, random_resized_crop::RandomResizedCrop, random_rotation::RandomRotation,
    random_vertical_flip::RandomVerticalFlip, resize::Resize, ten_crop::TenCrop, to_tensor::ToTensor,
};

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

/// Lets a transform, which has a method `of` for any [`ImageSource`](crate::image::ImageSource) `I`, act on images and on
/// the image of an `(image, label)` sample. What `of` returns is an `Image`, or what the arrow points at.
#[cfg(feature = "vision")]
macro_rules! acts_on_images {
    ($transform:ty) => {
        acts_on_images!($transform => crate::image::Image);
    };
    ($transform:ty => $output:ty) => {
        impl<I: ImageSource> Transform<I> for $transform {
            type Output = $output;

            fn apply(&self, image: I, rng: &mut SampleRng) -> Result<Self::Output> {
                self.of(image, rng)
            }
        }

        impl<I: ImageSource, L: Send> Transform<(I, L)> for $transform {
            type Output = ($output, L);

            fn apply(&self, (image, label): (I, L), rng: &mut SampleRng) -> Result<Self::Output> {
                Ok((self.of(image, rng)?, label))
            }
        }
    };
}
#[cfg(feature = "vision")]
use acts_on_images;
