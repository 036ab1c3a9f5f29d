//! torchvision's `RandomPerspective`.

use super::{Transform, acts_on_images, probability, warp_settings};
use crate::error::Result;
use crate::image::{Image, ImageSource, Interpolation, Size, Warp};
use crate::rng::SampleRng;

/// Shows an image in a random perspective with probability `p` (`torchvision.transforms.v2.RandomPerspective`). Its size
/// stays.
///
/// An error where three of the corners come to lie on a line. That takes a distortion above 0.5, or a side of one pixel.
#[derive(Clone, Copy, Debug)]
pub struct RandomPerspective {
    distortion_scale: f64,
    p: f64,
    warp: Warp,
}

/// The corners of an image, as (x, y): top left, top right, bottom right, bottom left.
type Corners = [(f64, f64); 4];

impl RandomPerspective {
    /// Each corner moves inwards by up to this share of half of the image; with a probability of 1/2.
    ///
    /// # Panics
    ///
    /// Unless `distortion_scale` is in `[0, 1]`.
    pub fn new(distortion_scale: f64) -> Self {
        let share = (0.0..=1.0).contains(&distortion_scale);
        assert!(share, "a distortion scale is in [0, 1], and {distortion_scale} is not");
        let warp = Warp { interpolation: Interpolation::Bilinear, ..Warp::default() };
        RandomPerspective { distortion_scale, p: 0.5, warp }
    }

    /// The share of the images that is changed.
    ///
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn p(mut self, p: f64) -> Self {
        self.p = probability(p);
        self
    }

    warp_settings!(Bilinear);

    /// Where the corners go; in the order of torchvision's `RandomPerspective.make_params`.
    fn draw(&self, Size { height, width }: Size, rng: &mut SampleRng) -> Corners {
        let reach = |side: usize| (self.distortion_scale * (side / 2) as f64) as u32 + 1;
        let mut near = |side: usize| f64::from(rng.below(reach(side)));
        let top_left = (near(width), near(height));
        // Of the other end: from side - reach on, to side - 1.
        let far = |side: usize| side as f64 - f64::from(reach(side));
        let top_right = (far(width) + near(width), near(height));
        let bottom_right = (far(width) + near(width), far(height) + near(height));
        let bottom_left = (near(width), far(height) + near(height));
        [top_left, top_right, bottom_right, bottom_left]
    }
}

impl RandomPerspective {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        if !rng.bernoulli(self.p) {
            return image.into_image();
        }
        let size = image.size();
        let endpoints = self.draw(size, rng);
        let (right, bottom) = (size.width as f64 - 1.0, size.height as f64 - 1.0);
        let startpoints = [(0.0, 0.0), (right, 0.0), (right, bottom), (0.0, bottom)];
        image.into_image()?.perspective(startpoints, endpoints, &self.warp)
    }
}

acts_on_images!(RandomPerspective);

/// A distortion of 0.5, as in torchvision.
impl Default for RandomPerspective {
    fn default() -> Self {
        Self::new(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_move_inwards_by_up_to_a_share_of_half_of_the_image() {
        let from = Size { height: 21, width: 40 };
        let draws: Vec<Corners> =
            (0..2000).map(|index| RandomPerspective::default().draw(from, &mut SampleRng::new(0, 0, index))).collect();
        let range = |of: &dyn Fn(&Corners) -> f64| {
            let values = || draws.iter().map(of);
            (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max))
        };
        // Half of 20 is 10, and of 10 is 5: both ends are drawn, from 11 and 6 numbers.
        for corner in 0..4 {
            let x = if corner == 1 || corner == 2 { (29.0, 39.0) } else { (0.0, 10.0) };
            let y = if corner >= 2 { (15.0, 20.0) } else { (0.0, 5.0) };
            assert_eq!(range(&|corners| corners[corner].0), x, "x of corner {corner}");
            assert_eq!(range(&|corners| corners[corner].1), y, "y of corner {corner}");
        }
    }

    #[test]
    fn p_is_the_share_of_images_that_change() {
        let image = Image::new((8, 8), 1, (1..=64).collect()).unwrap();
        let changed = |perspective: RandomPerspective| {
            let changes = (0..2000)
                .filter(|&index| perspective.apply(image.clone(), &mut SampleRng::new(0, 0, index)).unwrap() != image);
            changes.count()
        };
        assert_eq!(changed(RandomPerspective::default().p(0.0)), 0);
        // A distortion of 0.5 moves each of eight numbers by 0, 1 or 2 pixels: once in 3^8 times none moves.
        assert!(changed(RandomPerspective::default().p(1.0)) > 1980);
        // Five standard deviations of a binomial(2000, 0.5) are 112; and up to 20 as above.
        assert!(changed(RandomPerspective::default()).abs_diff(1000) < 132);
    }

    #[test]
    fn no_distortion_changes_nothing() {
        let image = Image::new((8, 8), 1, (1..=64).collect()).unwrap();
        let still = RandomPerspective::new(0.0).p(1.0).interpolation(Interpolation::Nearest);
        assert_eq!(still.apply(image.clone(), &mut SampleRng::new(0, 0, 0)).unwrap(), image);
    }

    #[test]
    fn an_image_of_one_column_has_no_perspective() {
        let image = Image::new((8, 1), 1, vec![0; 8]).unwrap();
        assert!(RandomPerspective::default().p(1.0).apply(image, &mut SampleRng::new(0, 0, 0)).is_err());
    }
}
