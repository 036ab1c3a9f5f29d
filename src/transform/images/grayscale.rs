//! torchvision's `Grayscale`.

use super::{Transform, acts_on_images};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Makes an image grey (`torchvision.transforms.v2.Grayscale`); see [`Image::to_grayscale`].
#[derive(Clone, Copy, Debug)]
pub struct Grayscale {
    num_output_channels: usize,
}

impl Grayscale {
    /// Of 1 channel, or of 3 equal ones.
    ///
    /// # Panics
    ///
    /// Unless `num_output_channels` is 1 or 3.
    pub fn new(num_output_channels: usize) -> Self {
        assert!(
            matches!(num_output_channels, 1 | 3),
            "Grayscale: a grey image has 1 or 3 channels, not {num_output_channels}"
        );
        Grayscale { num_output_channels }
    }
}

/// Of 1 channel, as in torchvision.
impl Default for Grayscale {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Grayscale {
    fn of(&self, image: impl ImageSource, _rng: &mut SampleRng) -> Result<Image> {
        image.into_image()?.to_grayscale(self.num_output_channels)
    }
}

acts_on_images!(Grayscale);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_is_what_the_eye_weighs() {
        let image = Image::new((1, 4), 3, vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]).unwrap();
        let grey = |grayscale: Grayscale| grayscale.apply(image.clone(), &mut SampleRng::new(0, 0, 0)).unwrap();
        assert_eq!(grey(Grayscale::default()).pixels(), [76, 150, 29, 9]);
        assert_eq!(grey(Grayscale::new(3)).pixels(), [76, 76, 76, 150, 150, 150, 29, 29, 29, 9, 9, 9]);
    }

    #[test]
    #[should_panic(expected = "1 or 3 channels, not 2")]
    fn two_channels_are_refused() {
        Grayscale::new(2);
    }
}
