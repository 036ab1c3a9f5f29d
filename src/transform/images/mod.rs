//! Transforms of images, one a file, with the names and the results of `torchvision.transforms.v2`.

mod aug_mix;
mod augment_op;
mod augmentation_space;
mod auto_augment;
mod center_crop;
mod color_jitter;
mod degrees;
mod five_crop;
mod gaussian_blur;
mod grayscale;
mod pad;
mod rand_augment;
mod random_adjust_sharpness;
mod random_affine;
mod random_autocontrast;
mod random_crop;
mod random_equalize;
mod random_erasing;
mod random_grayscale;
mod random_horizontal_flip;
mod random_invert;
mod random_perspective;
mod random_posterize;
mod random_resized_crop;
mod random_rotation;
mod random_solarize;
mod random_vertical_flip;
mod resize;
mod ten_crop;
mod to_tensor;
mod trivial_augment_wide;

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

use super::{Transform, probability};

/// Lets a transform, which has a method `of` for any [`ImageSource`](crate::image::ImageSource) `I`, act on images and on
/// the image of an `(image, label)` sample. What `of` returns is an `Image`, or what the arrow points at.
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
use acts_on_images;

/// The settings of a transform that has a field `warp`: how pixels of a sheared, turned or moved image are made of others.
macro_rules! warp_settings {
    ($default:ident) => {
        #[doc = concat!(
                                    "How pixels are made of those around their source; [`", stringify!($default),
                                    "`](crate::image::Interpolation::", stringify!($default), ") by default."
                                )]
        ///
        /// # Panics
        ///
        /// If it is not nearest, bilinear or bicubic.
        pub fn interpolation(mut self, interpolation: crate::image::Interpolation) -> Self {
            crate::image::Warp::check_interpolation(interpolation);
            self.warp.interpolation = interpolation;
            self
        }

        /// The colour of what has no source; black by default.
        pub fn fill(mut self, fill: impl Into<crate::image::Fill>) -> Self {
            self.warp.fill = fill.into();
            self
        }
    };
}
use warp_settings;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;
    use crate::rng::SampleRng;

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
