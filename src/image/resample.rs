//! Resampling, as PIL does it.

use std::cell::RefCell;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use super::geometry::Part;
use super::{Image, Rect, Size};
use crate::error::{Error, ErrorKind, Result};
use crate::stats::{Stage, timed};

/// How the value between pixels is found (`torchvision.transforms.InterpolationMode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// The mean of the pixels around.
    Box,
    /// Linear in both directions.
    #[default]
    Bilinear,
    /// A Hamming window, sharper than [`Bilinear`](Interpolation::Bilinear).
    Hamming,
    /// Cubic in both directions.
    Bicubic,
    /// Lanczos with three lobes.
    Lanczos,
}

/// How an image is resampled: bilinear with antialiasing by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resampling {
    /// Between which pixels, and how.
    pub interpolation: Interpolation,
    /// Whether a smaller image averages over all pixels that fall together in one. PIL always does.
    pub antialias: bool,
}

impl Default for Resampling {
    fn default() -> Self {
        Interpolation::default().into()
    }
}

/// With antialiasing.
impl From<Interpolation> for Resampling {
    fn from(interpolation: Interpolation) -> Self {
        Resampling { interpolation, antialias: true }
    }
}

impl Resampling {
    /// Which pixels of an image of size `from` those inside `rect` are made of, once it is resampled to size `to`.
    pub(super) fn sources(self, rect: Rect, to: Size, from: Size) -> Rect {
        // How far each filter reaches, in pixels of the smaller of the two images.
        let reach = match self.interpolation {
            Interpolation::Nearest | Interpolation::Box => 0.5,
            Interpolation::Bilinear | Interpolation::Hamming => 1.0,
            Interpolation::Bicubic => 2.0,
            Interpolation::Lanczos => 3.0,
        };
        let span = |start: isize, len: usize, to: usize, from: usize| {
            let scale = from as f64 / to as f64;
            let reach = reach * if self.antialias { scale.max(1.0) } else { 1.0 };
            // One more on either side, so that rounding is no question.
            let first = ((start as f64 + 0.5) * scale - reach).floor() as isize - 1;
            let last = ((start as f64 + len as f64 - 0.5) * scale + reach).ceil() as isize + 1;
            (first, (last - first) as usize)
        };
        let (top, height) = span(rect.top, rect.height, to.height, from.height);
        let (left, width) = span(rect.left, rect.width, to.width, from.width);
        Rect { top, left, height, width }.within(from)
    }
}

thread_local! {
    /// Keeps its coefficient and row buffers between pictures.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

impl Image {
    /// The image resampled to `size`; see [`resized_crop`](Image::resized_crop).
    ///
    /// # Errors
    ///
    /// If the image or `size` is empty, or `size` has more pixels than [`Limits`](super::Limits) allow by default.
    pub fn resize(&self, size: impl Into<Size>, resampling: impl Into<Resampling>) -> Result<Image> {
        self.resized_crop(Rect::all(self.size()), size, resampling)
    }

    /// The part inside `rect`, resampled to `size`: bilinear with antialiasing, within one level of what PIL and
    /// torchvision (`functional.resized_crop`) make of the same pixels.
    ///
    /// Pixels outside of `rect` have no influence: it is cropped first, as in torchvision.
    ///
    /// # Errors
    ///
    /// If `rect` is not inside the image, `rect` or `size` is empty, or `size` has more pixels than
    /// [`Limits`](super::Limits) allow by default.
    pub fn resized_crop(&self, rect: Rect, size: impl Into<Size>, resampling: impl Into<Resampling>) -> Result<Image> {
        let (size, resampling) = (size.into(), resampling.into());
        let refuse = |problem: String| Err(Error::new(ErrorKind::Decode, problem));
        if !rect.is_inside(self.size()) {
            return refuse(format!("{rect:?} is not inside an image of {}", self.size()));
        }
        if rect.height == 0 || rect.width == 0 || size.height == 0 || size.width == 0 {
            return refuse(format!("cannot resample {} to {size}: neither may be empty", rect.size()));
        }
        self.resized_part(Part::scaled(rect, 1, 0, 0), size, resampling)
    }

    /// As [`resized_crop`](Image::resized_crop), of a part whose borders may lie between pixels. Pixels that it does not
    /// touch have no influence.
    pub(super) fn resized_part(&self, part: Part, size: Size, resampling: Resampling) -> Result<Image> {
        if part.outer().size() == size && part == Part::scaled(part.outer(), 1, 0, 0) {
            return self.crop(part.outer());
        }
        let mut resized = Image::transformed(size, self.channels())?;
        let outcome = timed(Stage::Resample, || match self.channels() {
            1 => resample::<U8>(self, part, &mut resized, resampling),
            3 => resample::<U8x3>(self, part, &mut resized, resampling),
            _ => resample::<U8x4>(self, part, &mut resized, resampling),
        });
        match outcome {
            Ok(()) => Ok(resized),
            Err(source) => Err(Error::new(ErrorKind::Decode, "cannot resample the image").with_source(source)),
        }
    }
}

/// Generic over the pixel and not over a view of any kind of pixel: each kind is a resampler more to compile.
fn resample<P: PixelTrait>(
    source: &Image,
    part: Part,
    target: &mut Image,
    Resampling { interpolation, antialias }: Resampling,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (height, width) = (u32::try_from(target.height())?, u32::try_from(target.width())?);
    let rect = part.outer();
    let (top, left) = (u32::try_from(rect.top)?, u32::try_from(rect.left)?);
    let all = TypedImageRef::<P>::from_buffer(
        u32::try_from(source.width())?,
        u32::try_from(source.height())?,
        source.pixels(),
    )?;
    let view = TypedCroppedImage::from_ref(&all, left, top, u32::try_from(rect.width)?, u32::try_from(rect.height)?)?;
    let mut out = TypedImage::<P>::from_buffer(width, height, target.pixels_mut())?;
    let filter = match interpolation {
        Interpolation::Nearest | Interpolation::Box => FilterType::Box,
        Interpolation::Bilinear => FilterType::Bilinear,
        Interpolation::Hamming => FilterType::Hamming,
        Interpolation::Bicubic => FilterType::CatmullRom,
        Interpolation::Lanczos => FilterType::Lanczos3,
    };
    let algorithm = match (interpolation, antialias) {
        (Interpolation::Nearest, _) => ResizeAlg::Nearest,
        (_, true) => ResizeAlg::Convolution(filter),
        (_, false) => ResizeAlg::Interpolation(filter),
    };
    let inner = (part.left.fract(), part.top.fract(), part.width, part.height);
    let options = ResizeOptions::new().resize_alg(algorithm).use_alpha(false).crop(inner.0, inner.1, inner.2, inner.3);
    RESIZER.with_borrow_mut(|resizer| resizer.resize_typed(&view, &mut out, &options))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(height: usize, width: usize, channels: usize) -> Image {
        let mut rng = crate::rng::SampleRng::new(1, 2, 3);
        let pixels = (0..height * width * channels).map(|_| rng.next_u32() as u8).collect();
        Image::new((height, width), channels, pixels).unwrap()
    }

    #[test]
    fn a_crop_of_the_same_size_is_copied() {
        let image = noise(9, 7, 3);
        let rect = Rect { top: 2, left: 1, height: 5, width: 4 };
        assert_eq!(image.resized_crop(rect, (5, 4), Interpolation::Bilinear).unwrap(), image.crop(rect).unwrap());
    }

    #[test]
    fn pixels_outside_the_rectangle_have_no_influence() {
        let rect = Rect { top: 10, left: 20, height: 30, width: 25 };
        for channels in [1, 3, 4] {
            let image = noise(60, 70, channels);
            let mut other = noise(60, 70, channels);
            other.pixels_mut().iter_mut().for_each(|value| *value = !*value);
            for y in 10..40 {
                let row = (y * 70 + 20) * channels..(y * 70 + 45) * channels;
                other.pixels_mut()[row.clone()].copy_from_slice(&image.pixels()[row]);
            }
            for size in [(10, 10), (64, 48)] {
                let expected = image.crop(rect).unwrap().resize(size, Interpolation::Bilinear).unwrap();
                assert_eq!(image.resized_crop(rect, size, Interpolation::Bilinear).unwrap(), expected);
                assert_eq!(other.resized_crop(rect, size, Interpolation::Bilinear).unwrap(), expected);
            }
        }
    }

    #[test]
    fn halving_averages() {
        // A triangle filter of a 2:1 downscale weighs 1/8, 3/8, 3/8, 1/8: constant pairs in the middle stay.
        let image = Image::new((1, 8), 1, vec![10, 10, 10, 10, 90, 90, 90, 90]).unwrap();
        assert_eq!(image.resize((1, 4), Interpolation::Bilinear).unwrap().pixels(), [10, 20, 80, 90]);
    }

    #[test]
    fn nothing_cannot_be_resampled() {
        let image = noise(4, 4, 3);
        assert!(image.resize((0, 3), Interpolation::Bilinear).is_err());
        assert!(image.resized_crop(Rect { top: 0, left: 0, height: 0, width: 1 }, 3, Interpolation::Bilinear).is_err());
        assert!(image.resized_crop(Rect { top: 3, left: 0, height: 2, width: 1 }, 3, Interpolation::Bilinear).is_err());
        assert!(
            image.resized_crop(Rect { top: -1, left: 0, height: 2, width: 1 }, 3, Interpolation::Bilinear).is_err()
        );
    }
}
