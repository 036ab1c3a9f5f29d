//! torchvision's `GaussianBlur`.

use super::{Transform, acts_on_images};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Blurs an image with a Gaussian kernel of random width (`torchvision.transforms.v2.GaussianBlur`); see
/// [`Image::gaussian_blur`]. Sigma is 0.1 to 2 pixels by default, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub struct GaussianBlur {
    kernel_size: [usize; 2],
    sigma: (f64, f64),
}

impl GaussianBlur {
    /// With a kernel of `kernel_size` rows and columns.
    ///
    /// # Panics
    ///
    /// If it is even.
    pub fn new(kernel_size: usize) -> Self {
        Self::rectangular([kernel_size, kernel_size])
    }

    /// With a kernel of `[x, y]` pixels: width before height, as in torchvision.
    ///
    /// # Panics
    ///
    /// If one of them is even.
    pub fn rectangular(kernel_size: [usize; 2]) -> Self {
        assert!(kernel_size.iter().all(|size| size % 2 == 1), "GaussianBlur: {kernel_size:?} are not odd numbers");
        GaussianBlur { kernel_size, sigma: (0.1, 2.0) }
    }

    /// The least and the greatest sigma.
    ///
    /// # Panics
    ///
    /// Unless `0 < least <= greatest`.
    pub fn sigma(mut self, least: f64, greatest: f64) -> Self {
        assert!(0.0 < least && least <= greatest, "sigma: 0 < {least} <= {greatest} does not hold");
        self.sigma = (least, greatest);
        self
    }

    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        let sigma = rng.uniform_range(self.sigma.0, self.sigma.1);
        image.gaussian_blur(self.kernel_size, Some([sigma, sigma]))?;
        Ok(image)
    }
}

acts_on_images!(GaussianBlur);

#[cfg(test)]
mod tests {
    use super::*;

    fn blurred(blur: GaussianBlur, index: usize) -> Result<Image> {
        let mut pixels = vec![0; 15 * 15];
        pixels[7 * 15 + 7] = 255;
        let image = Image::new(15, 1, pixels).unwrap();
        blur.apply(image, &mut SampleRng::new(0, 0, index))
    }

    #[test]
    fn one_sigma_is_drawn_for_both_directions() {
        let image = blurred(GaussianBlur::new(5).sigma(0.4, 3.0), 3).unwrap();
        let sigma = SampleRng::new(0, 0, 3).uniform_range(0.4, 3.0);
        let mut expected = blurred(GaussianBlur::new(1), 0).unwrap();
        expected.gaussian_blur([5, 5], Some([sigma, sigma])).unwrap();
        assert_eq!(image, expected);
        assert_ne!(image, blurred(GaussianBlur::new(5).sigma(0.4, 3.0), 4).unwrap());
    }

    #[test]
    fn a_kernel_has_columns_first() {
        let image = blurred(GaussianBlur::rectangular([5, 1]).sigma(9.0, 9.0), 0).unwrap();
        let lit = (0..225).filter(|&i| image.pixels()[i] > 0).map(|i| (i / 15, i % 15));
        assert_eq!(lit.collect::<Vec<_>>(), [(7, 5), (7, 6), (7, 7), (7, 8), (7, 9)]);
    }

    #[test]
    fn a_kernel_that_reaches_over_the_whole_image_is_an_error() {
        assert!(blurred(GaussianBlur::new(29), 0).is_ok());
        assert!(blurred(GaussianBlur::new(31), 0).is_err());
    }

    #[test]
    #[should_panic(expected = "[3, 4] are not odd")]
    fn an_even_kernel_is_refused() {
        GaussianBlur::rectangular([3, 4]);
    }
}
