//! `AugmentationSpace`: which operations a policy draws from, and how strong they may be.

use super::AugmentOp::{self, *};
use crate::image::Size;
use crate::rng::SampleRng;

/// The operations of a policy and their magnitudes: `_AUGMENTATION_SPACE` in torchvision's
/// `transforms/v2/_auto_augment.py`.
#[derive(Clone, Copy, Debug)]
pub struct AugmentationSpace {
    /// In the order in which torchvision numbers them.
    ops: &'static [AugmentOp],
    /// The strongest of a kind; the weakest is 0.
    shear: f64,
    /// Of a side's length.
    translate: fn(f64) -> f64,
    rotate: f64,
    /// For brightness, colour, contrast and sharpness.
    color: f64,
    /// How many bits the weakest leaves, and how many fewer the strongest.
    posterize: (f32, f64),
}

const WITH_IDENTITY: &[AugmentOp] = &[
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
];

const COLORS_LAST: &[AugmentOp] = &[
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
    Brightness,
    Color,
    Contrast,
    Sharpness,
];

impl AugmentationSpace {
    /// That of [`RandAugment`](super::RandAugment) and, except that its policies name the operations,
    /// [`AutoAugment`](super::AutoAugment).
    pub const RAND_AUGMENT: Self = AugmentationSpace {
        ops: WITH_IDENTITY,
        shear: 0.3,
        translate: |side| 150.0 / 331.0 * side,
        rotate: 30.0,
        color: 0.9,
        posterize: (8.0, 4.0),
    };

    /// That of [`TrivialAugmentWide`](super::TrivialAugmentWide).
    pub const TRIVIAL_AUGMENT_WIDE: Self = AugmentationSpace {
        ops: WITH_IDENTITY,
        shear: 0.99,
        translate: |_| 32.0,
        rotate: 135.0,
        color: 0.99,
        posterize: (8.0, 6.0),
    };

    /// That of [`AugMix`](super::AugMix).
    pub const AUG_MIX: Self = AugmentationSpace {
        ops: COLORS_LAST,
        shear: 0.3,
        translate: |side| side / 3.0,
        rotate: 30.0,
        color: 0.9,
        posterize: (4.0, 4.0),
    };

    /// That of [`AugMix`](super::AugMix) without [`all_ops`](super::AugMix::all_ops).
    pub const AUG_MIX_PARTIAL: Self = AugmentationSpace { ops: COLORS_LAST.split_at(9).0, ..Self::AUG_MIX };

    /// What is drawn from.
    pub fn ops(&self) -> &'static [AugmentOp] {
        self.ops
    }

    /// The magnitude of an operation in the `bin`-th of `bins` steps from the weakest, for an image of a size; `None` if it
    /// has none.
    ///
    /// # Panics
    ///
    /// If there are fewer than two bins, or not that one.
    pub fn magnitude(&self, op: AugmentOp, bin: usize, bins: usize, size: Size) -> Option<f64> {
        assert!(bins >= 2 && bin < bins, "bin {bin} of {bins}");
        let to = |strongest: f64| linspace(0.0, strongest as f32, bin, bins);
        let magnitude = match op {
            Identity | AutoContrast | Equalize | Invert => return None,
            ShearX | ShearY => to(self.shear),
            TranslateX => to((self.translate)(size.width as f64)),
            TranslateY => to((self.translate)(size.height as f64)),
            Rotate => to(self.rotate),
            Brightness | Color | Contrast | Sharpness => to(self.color),
            Solarize => linspace(1.0, 0.0, bin, bins),
            Posterize => {
                let (most, fewer) = self.posterize;
                (most - bin as f32 / ((bins - 1) as f64 / fewer) as f32).round_ties_even()
            }
        };
        Some(f64::from(magnitude))
    }

    pub(super) fn draw(&self, rng: &mut SampleRng) -> AugmentOp {
        self.ops[rng.below(self.ops.len() as u32) as usize]
    }
}

/// A magnitude with its sign, which is drawn if there are two directions; 0 if there is no magnitude.
pub(super) fn with_sign(op: AugmentOp, magnitude: Option<f64>, rng: &mut SampleRng) -> f64 {
    match magnitude {
        Some(magnitude) if op.is_signed() && rng.bernoulli(0.5) => -magnitude,
        Some(magnitude) => magnitude,
        None => 0.0,
    }
}

/// `torch.linspace(start, end, bins)[bin]`: from the nearer end, with one rounding for product and sum. Two roundings
/// would make 16 of the 15.999999 that a translation by 15 pixels comes from.
fn linspace(start: f32, end: f32, bin: usize, bins: usize) -> f32 {
    let step = (end - start) / (bins - 1) as f32;
    match bin < bins / 2 {
        true => step.mul_add(bin as f32, start),
        false => (-step).mul_add((bins - 1 - bin) as f32, end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_translation_by_half_of_32_pixels_is_one_by_15() {
        let space = AugmentationSpace::TRIVIAL_AUGMENT_WIDE;
        let pixels = |bin| space.magnitude(TranslateX, bin, 31, Size::from(1)).unwrap() as usize;
        assert_eq!([0, 14, 15, 16, 30].map(pixels), [0, 14, 15, 17, 32]);
    }

    #[test]
    fn spaces_have_torchvisions_operations() {
        assert_eq!(AugmentationSpace::RAND_AUGMENT.ops().len(), 14);
        assert_eq!(AugmentationSpace::AUG_MIX.ops().len(), 13);
        let partial = AugmentationSpace::AUG_MIX_PARTIAL.ops();
        assert_eq!((partial.len(), partial[8]), (9, Equalize));
    }
}
