//! `AugmentOp`: the operations that augmentation policies are made of.

use crate::error::Result;
use crate::image::{Image, Warp};

/// An operation of [`RandAugment`](super::RandAugment), [`TrivialAugmentWide`](super::TrivialAugmentWide),
/// [`AutoAugment`](super::AutoAugment) and [`AugMix`](super::AugMix), with torchvision's names. How strong it is says a
/// magnitude, in a unit of its own; an [`AugmentationSpace`](super::AugmentationSpace) has those of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AugmentOp {
    /// Nothing.
    Identity,
    /// Moves each row to the left by the magnitude times its distance from the top.
    ShearX,
    /// Moves each column up by the magnitude times its distance from the left.
    ShearY,
    /// Moves the image to the right by so many pixels, less their fraction.
    TranslateX,
    /// Moves the image down by so many pixels, less their fraction.
    TranslateY,
    /// Turns the image about its middle by so many degrees, counter-clockwise.
    Rotate,
    /// Changes the brightness by the factor 1 + magnitude, as the next three change what they are called for.
    Brightness,
    /// The saturation.
    Color,
    /// The contrast.
    Contrast,
    /// The sharpness.
    Sharpness,
    /// Keeps so many bits of each value. None is black.
    Posterize,
    /// Inverts values from 255 times the magnitude on.
    Solarize,
    /// Stretches each channel to the whole range.
    AutoContrast,
    /// Makes all values about equally frequent.
    Equalize,
    /// Makes a negative.
    Invert,
}

impl AugmentOp {
    /// Whether it goes in two directions, so that a policy draws the sign of the magnitude.
    pub fn is_signed(self) -> bool {
        use AugmentOp::*;
        matches!(self, ShearX | ShearY | TranslateX | TranslateY | Rotate | Brightness | Color | Contrast | Sharpness)
    }

    /// Whether it can be weaker or stronger.
    pub fn has_magnitude(self) -> bool {
        use AugmentOp::*;
        !matches!(self, Identity | AutoContrast | Equalize | Invert)
    }

    /// Applies it, as `_apply_image_or_video_transform` in torchvision's `transforms/v2/_auto_augment.py` does to PIL
    /// images. Of `warp`, the interpolation and the fill count.
    ///
    /// # Errors
    ///
    /// If the fill is for another number of channels.
    pub fn apply(self, mut image: Image, magnitude: f64, warp: &Warp) -> Result<Image> {
        let about_the_corner = &Warp { center: Some((0.0, 0.0)), expand: false, ..*warp };
        let about_the_middle = &Warp { center: None, expand: false, ..*warp };
        // The shear that moves a pixel by the magnitude, and not by its tangent.
        let shear = || magnitude.atan().to_degrees();
        match self {
            AugmentOp::Identity => {}
            AugmentOp::ShearX => return image.affine(0.0, (0.0, 0.0), 1.0, (shear(), 0.0), about_the_corner),
            AugmentOp::ShearY => return image.affine(0.0, (0.0, 0.0), 1.0, (0.0, shear()), about_the_corner),
            AugmentOp::TranslateX => {
                return image.affine(0.0, (magnitude.trunc(), 0.0), 1.0, (0.0, 0.0), about_the_middle);
            }
            AugmentOp::TranslateY => {
                return image.affine(0.0, (0.0, magnitude.trunc()), 1.0, (0.0, 0.0), about_the_middle);
            }
            AugmentOp::Rotate => return image.rotate(magnitude, about_the_middle),
            AugmentOp::Brightness => image.adjust_brightness(1.0 + magnitude),
            AugmentOp::Color => image.adjust_saturation(1.0 + magnitude),
            AugmentOp::Contrast => image.adjust_contrast(1.0 + magnitude),
            AugmentOp::Sharpness => image.adjust_sharpness(1.0 + magnitude),
            // AugMix goes as far as no bits at all, which its tensors allow, if not PIL.
            AugmentOp::Posterize if magnitude < 1.0 => image.adjust_brightness(0.0),
            AugmentOp::Posterize => image.posterize(magnitude as u8),
            AugmentOp::Solarize => image.solarize(255.0 * magnitude),
            AugmentOp::AutoContrast => image.autocontrast(),
            AugmentOp::Equalize => image.equalize(),
            AugmentOp::Invert => image.invert(),
        }
        Ok(image)
    }
}
