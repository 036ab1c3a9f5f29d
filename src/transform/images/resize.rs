//! torchvision's `Resize`.

use super::{Transform, acts_on_images};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ImageSource, Interpolation, Resampling, Size};
use crate::rng::SampleRng;

/// Resizes an image (`torchvision.transforms.v2.Resize`): bilinear, with antialiasing, unless it is told otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    target: Target,
    resampling: Resampling,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Shorter { size: usize, most: usize },
    Longer(usize),
    Exact(Size),
}

impl Resize {
    /// Makes the shorter side `size` pixels long and keeps the aspect ratio, as torchvision does for an `int`.
    pub fn new(size: usize) -> Self {
        Self::to(Target::Shorter { size, most: usize::MAX })
    }

    /// Makes the image exactly this size, as torchvision does for a pair `(height, width)`.
    pub fn exact(size: impl Into<Size>) -> Self {
        Self::to(Target::Exact(size.into()))
    }

    /// Makes the longer side `max_size` pixels long and keeps the aspect ratio, as torchvision does for `size=None`.
    pub fn longest(max_size: usize) -> Self {
        Self::to(Target::Longer(max_size))
    }

    fn to(target: Target) -> Self {
        Resize { target, resampling: Resampling::default() }
    }

    /// Where the longer side would exceed `max_size`, that is what it gets, and the shorter one is less than its size.
    ///
    /// # Panics
    ///
    /// Unless the size is that of the shorter side, and less than `max_size`.
    pub fn max_size(mut self, max_size: usize) -> Self {
        match &mut self.target {
            Target::Shorter { size, most } if *size < max_size => *most = max_size,
            target => panic!("max_size is for a size of the shorter side that is less than {max_size}, not {target:?}"),
        }
        self
    }

    /// How pixels are made of others; [`Bilinear`](Interpolation::Bilinear) by default.
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.resampling.interpolation = interpolation;
        self
    }

    /// Whether a smaller image averages over all pixels that fall together (the default), or reads those around each
    /// place only; see [`Resampling`].
    pub fn antialias(mut self, antialias: bool) -> Self {
        self.resampling.antialias = antialias;
        self
    }

    /// The size that an image of size `from` is given.
    ///
    /// `_compute_resized_output_size` in functional/_geometry.py: int(size * long / short), and so on.
    fn target(&self, from: Size) -> Size {
        let (short, long) = (from.height.min(from.width), from.height.max(from.width));
        let share = |whole: usize, of: usize, by: usize| (whole as f64 * of as f64 / by.max(1) as f64) as usize;
        let (short, long) = match self.target {
            Target::Exact(size) => return size,
            Target::Longer(most) => (share(most, short, long), most),
            Target::Shorter { size, most } => match share(size, long, short) {
                long if long > most => (share(most, size, long), most),
                long => (size, long),
            },
        };
        match from.height <= from.width {
            true => Size { height: short, width: long },
            false => Size { height: long, width: short },
        }
    }
}

impl Resize {
    fn of<I: ImageSource>(&self, image: I, _rng: &mut SampleRng) -> Result<I::Resized> {
        let target = self.target(image.size());
        image.into_resized(target, self.resampling).map_err(|error| match error.kind() {
            ErrorKind::Limit => error,
            _ => Error::new(ErrorKind::Decode, "cannot resize the image").with_source(error),
        })
    }
}

acts_on_images!(Resize => I::Resized);

#[cfg(test)]
mod tests {
    use super::*;

    fn target(resize: Resize, height: usize, width: usize) -> (usize, usize) {
        let Size { height, width } = resize.target(Size { height, width });
        (height, width)
    }

    #[test]
    fn the_shorter_side_gets_the_size_and_the_longer_one_is_cut_to_a_whole_number() {
        // From torchvision.transforms.v2.functional.resize.
        assert_eq!(target(Resize::new(256), 375, 500), (256, 341));
        assert_eq!(target(Resize::new(256), 500, 375), (341, 256));
        assert_eq!(target(Resize::new(224), 224, 224), (224, 224));
        assert_eq!(target(Resize::new(100), 3, 7), (100, 233));
        assert_eq!(target(Resize::exact((3, 5)), 9, 9), (3, 5));
    }

    #[test]
    fn a_longer_side_beyond_max_size_gets_that() {
        // From torchvision.transforms.v2.functional.resize.
        assert_eq!(target(Resize::new(18).max_size(23), 29, 37), (18, 22));
        assert_eq!(target(Resize::new(18).max_size(23), 48, 64), (17, 23));
        assert_eq!(target(Resize::new(18).max_size(23), 64, 48), (23, 17));
        assert_eq!(target(Resize::longest(30), 29, 37), (23, 30));
        assert_eq!(target(Resize::longest(30), 41, 33), (30, 24));
    }

    #[test]
    #[should_panic(expected = "max_size")]
    fn a_max_size_that_is_no_more_than_the_size_is_refused() {
        let _ = Resize::new(20).max_size(20);
    }

    #[test]
    #[should_panic(expected = "max_size")]
    fn a_max_size_beside_an_exact_size_is_refused() {
        let _ = Resize::exact(20).max_size(30);
    }
}
