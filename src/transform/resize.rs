//! torchvision's `Resize`.

use super::{Transform, acts_on_images};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ImageSource, Resampling, Size};
use crate::rng::SampleRng;

/// Resizes an image (`torchvision.transforms.v2.Resize`): bilinear, with antialiasing.
#[derive(Clone, Copy, Debug)]
pub struct Resize(Target);

#[derive(Clone, Copy, Debug)]
enum Target {
    Shorter(usize),
    Exact(Size),
}

impl Resize {
    /// Makes the shorter side `size` pixels long and keeps the aspect ratio, as torchvision does for an `int`.
    pub fn new(size: usize) -> Self {
        Resize(Target::Shorter(size))
    }

    /// Makes the image exactly this size, as torchvision does for a pair `(height, width)`.
    pub fn exact(size: impl Into<Size>) -> Self {
        Resize(Target::Exact(size.into()))
    }

    /// The size that an image of size `from` is given.
    fn target(&self, from: Size) -> Size {
        match self.0 {
            Target::Exact(size) => size,
            // `_compute_resized_output_size` in functional/_geometry.py: int(size * long / short).
            Target::Shorter(size) => {
                let long = |long: usize, short: usize| (size as f64 * long as f64 / short as f64) as usize;
                match from.height <= from.width {
                    true => Size { height: size, width: long(from.width, from.height.max(1)) },
                    false => Size { height: long(from.height, from.width.max(1)), width: size },
                }
            }
        }
    }
}

impl Resize {
    fn of<I: ImageSource>(&self, image: I, _rng: &mut SampleRng) -> Result<I::Resized> {
        let target = self.target(image.size());
        image.into_resized(target, Resampling::default()).map_err(|error| match error.kind() {
            ErrorKind::Limit => error,
            _ => Error::new(ErrorKind::Decode, "cannot resize the image").with_source(error),
        })
    }
}

acts_on_images!(Resize => I::Resized);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_side_gets_the_size_and_the_longer_one_is_cut_to_a_whole_number() {
        let target = |size, height, width| {
            let Size { height, width } = Resize::new(size).target(Size { height, width });
            (height, width)
        };
        // From torchvision.transforms.v2.functional.resize.
        assert_eq!(target(256, 375, 500), (256, 341));
        assert_eq!(target(256, 500, 375), (341, 256));
        assert_eq!(target(224, 224, 224), (224, 224));
        assert_eq!(target(100, 3, 7), (100, 233));
        assert_eq!(Resize::exact((3, 5)).target(Size::from(9)), Size { height: 3, width: 5 });
    }
}
