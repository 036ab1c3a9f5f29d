//! torchvision's `RandomGrayscale`.

use super::{Transform, acts_on_images, probability};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Makes an image grey with probability `p` and keeps its number of channels
/// (`torchvision.transforms.v2.RandomGrayscale`). Alpha, with which torchvision refuses an image, stays.
#[derive(Clone, Copy, Debug)]
pub struct RandomGrayscale {
    p: f64,
}

impl RandomGrayscale {
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn new(p: f64) -> Self {
        RandomGrayscale { p: probability(p) }
    }
}

/// `p = 0.1`, as in torchvision.
impl Default for RandomGrayscale {
    fn default() -> Self {
        Self::new(0.1)
    }
}

impl RandomGrayscale {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        if rng.bernoulli(self.p) {
            // Grey in as many channels as before is what has no saturation.
            image.adjust_saturation(0.0);
        }
        Ok(image)
    }
}

acts_on_images!(RandomGrayscale);

#[cfg(test)]
mod tests {
    use super::super::tests::{always, p_is_the_share_that_changes};
    use super::*;

    #[test]
    fn p_is_the_share_of_images_that_change() {
        p_is_the_share_that_changes(RandomGrayscale::new);
        assert_eq!(RandomGrayscale::default().p, 0.1);
    }

    #[test]
    fn the_channels_become_equal_and_stay_as_many() {
        assert_eq!(always(RandomGrayscale::new(1.0), &[3, 9]), [3, 9]);
        for (pixel, grey) in [(vec![0, 255, 0], vec![150; 3]), (vec![0, 255, 0, 7], vec![150, 150, 150, 7])] {
            let image = Image::new((1, 1), pixel.len(), pixel).unwrap();
            let changed = RandomGrayscale::new(1.0).apply((image, "label"), &mut SampleRng::new(0, 0, 0)).unwrap();
            assert_eq!((changed.0.pixels(), changed.1), (&grey[..], "label"));
        }
    }
}
