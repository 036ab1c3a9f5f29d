//! torchvision's `RandomAffine`.

use super::{Degrees, Transform, acts_on_images, warp_settings};
use crate::error::Result;
use crate::image::{Image, ImageSource, Size, Warp};
use crate::rng::SampleRng;

/// Rotates, moves, scales and shears an image at random (`torchvision.transforms.v2.RandomAffine`). Its size stays.
#[derive(Clone, Copy, Debug)]
pub struct RandomAffine {
    degrees: Degrees,
    translate: Option<(f64, f64)>,
    scale: Option<(f64, f64)>,
    shear: Option<Degrees>,
    shear_y: Option<Degrees>,
    warp: Warp,
}

/// What [`Image::affine`] takes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Drawn {
    angle: f64,
    translate: (f64, f64),
    scale: f64,
    shear: (f64, f64),
}

impl RandomAffine {
    /// Rotates by up to that many degrees in either direction, or `(least, greatest)`, clockwise. The rest is off unless
    /// it is set.
    pub fn new(degrees: impl Into<Degrees>) -> Self {
        RandomAffine {
            degrees: degrees.into(),
            translate: None,
            scale: None,
            shear: None,
            shear_y: None,
            warp: Warp::default(),
        }
    }

    /// Moves by up to these shares of width and height, in either direction.
    ///
    /// # Panics
    ///
    /// Unless both are in `[0, 1]`.
    pub fn translate(mut self, width: f64, height: f64) -> Self {
        let shares = (0.0..=1.0).contains(&width) && (0.0..=1.0).contains(&height);
        assert!(shares, "translate: shares are in [0, 1], and ({width}, {height}) are not");
        self.translate = Some((width, height));
        self
    }

    /// The least and the greatest scale.
    ///
    /// # Panics
    ///
    /// Unless `0 < least <= greatest`, and both are finite.
    pub fn scale(mut self, least: f64, greatest: f64) -> Self {
        let ordered = 0.0 < least && least <= greatest && greatest.is_finite();
        assert!(ordered, "scale: 0 < {least} <= {greatest} does not hold");
        self.scale = Some((least, greatest));
        self
    }

    /// Shears along x by up to that many degrees in either direction, or `(least, greatest)`.
    pub fn shear(mut self, degrees: impl Into<Degrees>) -> Self {
        self.shear = Some(degrees.into());
        self
    }

    /// Shears along y by up to that many degrees in either direction, or `(least, greatest)`: the third and fourth of
    /// torchvision's four numbers.
    pub fn shear_y(mut self, degrees: impl Into<Degrees>) -> Self {
        self.shear_y = Some(degrees.into());
        self
    }

    warp_settings!(Nearest);

    /// What stays in place but for the translation, in pixels from the top left corner; the middle by default.
    pub fn center(mut self, x: f64, y: f64) -> Self {
        self.warp.center = Some((x, y));
        self
    }

    /// In the order of torchvision's `RandomAffine.make_params`: what is off draws nothing.
    fn draw(&self, from: Size, rng: &mut SampleRng) -> Drawn {
        let angle = self.degrees.draw(rng);
        let mut shift = |share: f64, side: usize| {
            let most = share * side as f64;
            rng.uniform_range(-most, most).round_ties_even()
        };
        let translate = match self.translate {
            Some((width, height)) => (shift(width, from.width), shift(height, from.height)),
            None => (0.0, 0.0),
        };
        let scale = self.scale.map_or(1.0, |(least, greatest)| rng.uniform_range(least, greatest));
        let mut shear = |degrees: Option<Degrees>| degrees.map_or(0.0, |degrees| degrees.draw(rng));
        Drawn { angle, translate, scale, shear: (shear(self.shear), shear(self.shear_y)) }
    }
}

impl RandomAffine {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let Drawn { angle, translate, scale, shear } = self.draw(image.size(), rng);
        image.into_image()?.affine(angle, translate, scale, shear, &self.warp)
    }
}

acts_on_images!(RandomAffine);

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Size = Size { height: 50, width: 100 };

    #[test]
    fn what_is_not_set_is_off_and_draws_nothing() {
        let (mut rng, mut other) = (SampleRng::new(0, 0, 0), SampleRng::new(0, 0, 0));
        let Drawn { angle, translate, scale, shear } = RandomAffine::new(30.0).draw(FROM, &mut rng);
        assert!(angle != 0.0 && (-30.0..30.0).contains(&angle));
        assert_eq!((translate, scale, shear), ((0.0, 0.0), 1.0, (0.0, 0.0)));
        let _ = other.uniform();
        assert_eq!(rng.next_u64(), other.next_u64());
    }

    #[test]
    fn each_is_drawn_from_its_range() {
        let affine = RandomAffine::new((0.0, 10.0)).translate(0.1, 0.5).scale(0.5, 2.0).shear(20.0).shear_y((1.0, 3.0));
        let draws: Vec<_> = (0..2000).map(|index| affine.draw(FROM, &mut SampleRng::new(1, 0, index))).collect();
        let check = |of: fn(&Drawn) -> f64, least: f64, greatest: f64| {
            let values = || draws.iter().map(of);
            let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
            // Of 2,000 draws, one is within a hundredth of either end but for one time in 10^8.
            let near = (greatest - least) / 100.0;
            assert!(least <= low && low < least + near && greatest - near < high && high <= greatest, "{low} {high}");
        };
        check(|drawn| drawn.angle, 0.0, 10.0);
        check(|drawn| drawn.translate.0, -10.0, 10.0);
        check(|drawn| drawn.translate.1, -25.0, 25.0);
        check(|drawn| drawn.scale, 0.5, 2.0);
        check(|drawn| drawn.shear.0, -20.0, 20.0);
        check(|drawn| drawn.shear.1, 1.0, 3.0);
        assert!(draws.iter().all(|drawn| drawn.translate.0.fract() == 0.0 && drawn.translate.1.fract() == 0.0));
    }

    #[test]
    #[should_panic(expected = "translate")]
    fn a_share_above_one_is_refused() {
        let _ = RandomAffine::new(0.0).translate(0.1, 1.1);
    }
}
