//! What happens to a sample between its dataset and its batch.

#[cfg(feature = "vision")]
mod aug_mix;
#[cfg(feature = "vision")]
mod augment_op;
#[cfg(feature = "vision")]
mod augmentation_space;
#[cfg(feature = "vision")]
mod auto_augment;
#[cfg(feature = "vision")]
mod center_crop;
#[cfg(feature = "vision")]
mod color_jitter;
mod compose;
#[cfg(feature = "vision")]
mod degrees;
#[cfg(feature = "vision")]
mod five_crop;
#[cfg(feature = "vision")]
mod gaussian_blur;
#[cfg(feature = "vision")]
mod grayscale;
#[cfg(feature = "vision")]
mod pad;
mod pass_through;
#[cfg(feature = "vision")]
mod rand_augment;
#[cfg(feature = "vision")]
mod random_adjust_sharpness;
#[cfg(feature = "vision")]
mod random_affine;
mod random_apply;
#[cfg(feature = "vision")]
mod random_autocontrast;
mod random_choice;
#[cfg(feature = "vision")]
mod random_crop;
#[cfg(feature = "vision")]
mod random_equalize;
#[cfg(feature = "vision")]
mod random_erasing;
#[cfg(feature = "vision")]
mod random_grayscale;
#[cfg(feature = "vision")]
mod random_horizontal_flip;
#[cfg(feature = "vision")]
mod random_invert;
mod random_order;
#[cfg(feature = "vision")]
mod random_perspective;
#[cfg(feature = "vision")]
mod random_posterize;
#[cfg(feature = "vision")]
mod random_resized_crop;
#[cfg(feature = "vision")]
mod random_rotation;
#[cfg(feature = "vision")]
mod random_solarize;
#[cfg(feature = "vision")]
mod random_vertical_flip;
#[cfg(feature = "vision")]
mod resize;
#[cfg(feature = "vision")]
mod ten_crop;
#[cfg(feature = "vision")]
mod to_tensor;
#[cfg(feature = "vision")]
mod trivial_augment_wide;

#[cfg(feature = "vision")]
pub use self::{
    aug_mix::AugMix,
    augment_op::AugmentOp,
    augmentation_space::AugmentationSpace,
    auto_augment::{AutoAugment, AutoAugmentPolicy},
    center_crop::CenterCrop,
    color_jitter::{ColorJitter, Jitter},
    degrees::Degrees,
    five_crop::FiveCrop,
    gaussian_blur::GaussianBlur,
    grayscale::Grayscale,
    pad::Pad,
    rand_augment::RandAugment,
    random_adjust_sharpness::RandomAdjustSharpness,
    random_affine::RandomAffine,
    random_autocontrast::RandomAutocontrast,
    random_crop::RandomCrop,
    random_equalize::RandomEqualize,
    random_erasing::{ErasingValue, RandomErasing},
    random_grayscale::RandomGrayscale,
    random_horizontal_flip::RandomHorizontalFlip,
    random_invert::RandomInvert,
    random_perspective::RandomPerspective,
    random_posterize::RandomPosterize,
    random_resized_crop::RandomResizedCrop,
    random_rotation::RandomRotation,
    random_solarize::RandomSolarize,
    random_vertical_flip::RandomVerticalFlip,
    resize::Resize,
    ten_crop::TenCrop,
    to_tensor::ToTensor,
    trivial_augment_wide::TrivialAugmentWide,
};
pub use self::{
    pass_through::PassThrough, random_apply::RandomApply, random_choice::RandomChoice, random_order::RandomOrder,
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

/// # Panics
///
/// Unless `p` is in `[0, 1]`.
fn probability(p: f64) -> f64 {
    assert!((0.0..=1.0).contains(&p), "a probability is in [0, 1], and {p} is not");
    p
}

#[cfg(all(test, feature = "vision"))]
mod tests {
    use super::*;
    use crate::image::Image;

    /// What becomes of values in a row of grey.
    pub(super) fn always(transform: impl Transform<Image, Output = Image>, values: &[u8]) -> Vec<u8> {
        let image = Image::new((1, values.len()), 1, values.to_vec()).unwrap();
        transform.apply(image, &mut SampleRng::new(0, 0, 0)).unwrap().pixels().to_vec()
    }

    pub(super) fn p_is_the_share_that_changes<T: Transform<Image, Output = Image>>(with: impl Fn(f64) -> T) {
        // Enough of them for a histogram, and none black or white.
        let pixels = (0..17 * 17 * 3_u32).map(|i| (60 + i * i % 101) as u8).collect();
        let image = Image::new(17, 3, pixels).unwrap();
        let share = |p: f64| {
            let transform = with(p);
            let changed =
                |&index: &usize| transform.apply(image.clone(), &mut SampleRng::new(0, 0, index)).unwrap() != image;
            (0..2000).filter(changed).count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 2000));
        // Five standard deviations of a binomial(2000, 0.3) are 102.
        assert!(share(0.3).abs_diff(600) < 102);
    }
}
