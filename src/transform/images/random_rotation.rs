//! torchvision's `RandomRotation`.

use super::{Degrees, Transform, acts_on_images, warp_settings};
use crate::error::Result;
use crate::image::{Image, ImageSource, Warp};
use crate::rng::SampleRng;

/// Rotates an image by a random angle (`torchvision.transforms.v2.RandomRotation`).
#[derive(Clone, Copy, Debug)]
pub struct RandomRotation {
    degrees: Degrees,
    warp: Warp,
}

impl RandomRotation {
    /// By up to that many degrees in either direction, or `(least, greatest)`, counter-clockwise.
    pub fn new(degrees: impl Into<Degrees>) -> Self {
        RandomRotation { degrees: degrees.into(), warp: Warp::default() }
    }

    warp_settings!(Nearest);

    /// Whether the result is as large as all of the rotated image needs, instead of as large as the image (the default).
    pub fn expand(mut self, expand: bool) -> Self {
        self.warp.expand = expand;
        self
    }

    /// What stays in place, in pixels from the top left corner; the middle by default.
    pub fn center(mut self, x: f64, y: f64) -> Self {
        self.warp.center = Some((x, y));
        self
    }
}

impl RandomRotation {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let angle = self.degrees.draw(rng);
        image.into_image()?.rotate(angle, &self.warp)
    }
}

acts_on_images!(RandomRotation);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Interpolation, Size};

    #[test]
    fn the_angle_is_one_of_the_range() {
        let image = Image::new((2, 2), 1, vec![1, 2, 3, 4]).unwrap();
        let rng = &mut SampleRng::new(0, 0, 0);
        let quarter = RandomRotation::new((90.0, 90.0));
        assert_eq!(quarter.apply(image.clone(), rng).unwrap().pixels(), [2, 4, 1, 3]);
        let mut seen = [false; 2];
        for _ in 0..100 {
            let rotated = RandomRotation::new(20.0).fill(9).apply(image.clone(), rng).unwrap();
            assert_eq!(rotated.size(), image.size());
            seen[usize::from(rotated == image)] = true;
        }
        // Little turns leave the nearest pixels where they are.
        assert_eq!(seen, [false, true]);
        let expanded = RandomRotation::new((45.0, 45.0)).expand(true).apply(image, rng).unwrap();
        assert_eq!(expanded.size(), Size { height: 4, width: 4 });
    }

    #[test]
    #[should_panic(expected = "Box")]
    fn an_interpolation_that_pillow_has_no_warp_for_is_refused() {
        let _ = RandomRotation::new(10.0).interpolation(Interpolation::Box);
    }
}
