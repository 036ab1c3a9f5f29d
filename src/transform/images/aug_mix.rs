//! torchvision's `AugMix`.

use super::augmentation_space::with_sign;
use super::{AugmentationSpace, Transform, acts_on_images, warp_settings};
use crate::error::Result;
use crate::image::{Image, ImageSource, Interpolation, Warp};
use crate::rng::SampleRng;

/// Mixes an image with several that chains of random operations make of it (`torchvision.transforms.v2.AugMix`;
/// Hendrycks and others, "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty", 2020).
///
/// torchvision's works on tensors, whose operations round in other ways than PIL's. Here the operations are PIL's, as
/// everywhere else; how the results are mixed is torchvision's rule to the bit. Unlike its other policies, this one is
/// bilinear by default.
#[derive(Clone, Copy, Debug)]
pub struct AugMix {
    severity: usize,
    mixture_width: usize,
    /// None draws it.
    chain_depth: Option<usize>,
    alpha: f64,
    all_ops: bool,
    warp: Warp,
}

/// How many steps there are from the weakest to the strongest magnitude: what severity counts in.
const BINS: usize = 10;

impl Default for AugMix {
    fn default() -> Self {
        Self::new()
    }
}

impl AugMix {
    /// Three chains of one to three operations of the weakest three magnitudes of ten, as in torchvision.
    pub fn new() -> Self {
        let warp = Warp { interpolation: Interpolation::Bilinear, ..Warp::default() };
        AugMix { severity: 3, mixture_width: 3, chain_depth: None, alpha: 1.0, all_ops: true, warp }
    }

    /// How many of ten magnitudes, from the weakest, are drawn from.
    ///
    /// # Panics
    ///
    /// Unless it is in `1..=10`.
    pub fn severity(self, severity: usize) -> Self {
        assert!((1..=BINS).contains(&severity), "severity: 1 to {BINS}, not {severity}");
        AugMix { severity, ..self }
    }

    /// How many chains are mixed.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn mixture_width(self, width: usize) -> Self {
        assert!(width > 0, "mixture_width: at least one chain is mixed");
        AugMix { mixture_width: width, ..self }
    }

    /// How many operations a chain has; by default it is drawn from one to three.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn chain_depth(self, depth: usize) -> Self {
        assert!(depth > 0, "chain_depth: at least one operation");
        AugMix { chain_depth: Some(depth), ..self }
    }

    /// The parameter of the distributions that the weights of the mixture come from: the smaller, the more one of them
    /// has all the weight.
    ///
    /// # Panics
    ///
    /// Unless it is finite and above 0.
    pub fn alpha(self, alpha: f64) -> Self {
        assert!(alpha > 0.0 && alpha.is_finite(), "alpha is above 0, and {alpha} is not");
        AugMix { alpha, ..self }
    }

    /// Whether brightness, colour, contrast and sharpness are among the operations. They are by default, though not in the
    /// paper, because benchmarks of robustness test for them.
    pub fn all_ops(self, all_ops: bool) -> Self {
        AugMix { all_ops, ..self }
    }

    warp_settings!(Bilinear);

    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        // A Beta distribution is a Dirichlet distribution of two.
        let mut shares = [0.0; 2];
        rng.dirichlet(self.alpha, &mut shares);
        let [own, others] = shares.map(|share| share as f32);
        let mut weights = vec![0.0; self.mixture_width];
        rng.dirichlet(self.alpha, &mut weights);
        let weights = weights.into_iter().map(|weight| weight as f32 * others);
        let chains = weights.map(|weight| Ok((weight, self.chain(&image, rng)?))).collect::<Result<Vec<_>>>()?;
        mix(&mut image, own, &chains);
        Ok(image)
    }

    /// What one chain of operations makes of the image.
    fn chain(&self, image: &Image, rng: &mut SampleRng) -> Result<Image> {
        let space = if self.all_ops { AugmentationSpace::AUG_MIX } else { AugmentationSpace::AUG_MIX_PARTIAL };
        let depth = self.chain_depth.unwrap_or_else(|| 1 + rng.below(3) as usize);
        let mut changed = Image::copied(image.size(), image.channels(), image.pixels())?;
        for _ in 0..depth {
            let op = space.draw(rng);
            let bin = op.has_magnitude().then(|| rng.below(self.severity as u32) as usize);
            let magnitude = bin.and_then(|bin| space.magnitude(op, bin, BINS, image.size()));
            let magnitude = with_sign(op, magnitude, rng);
            changed = op.apply(changed, magnitude, &self.warp)?;
        }
        Ok(changed)
    }
}

acts_on_images!(AugMix);

/// The sum of the image by its weight and the chains' by theirs, in single precision and in this order, cut to bytes.
fn mix(image: &mut Image, own: f32, chains: &[(f32, Image)]) {
    const BLOCK: usize = 1024;
    let mut sums = [0.0; BLOCK];
    for (number, block) in image.pixels_mut().chunks_mut(BLOCK).enumerate() {
        let sums = &mut sums[..block.len()];
        for (sum, &byte) in sums.iter_mut().zip(&*block) {
            *sum = own * f32::from(byte);
        }
        for (weight, chain) in chains {
            for (sum, &byte) in sums.iter_mut().zip(&chain.pixels()[number * BLOCK..]) {
                *sum += weight * f32::from(byte);
            }
        }
        for (byte, sum) in block.iter_mut().zip(sums) {
            *byte = *sum as u8;
        }
    }
}
