//! Resampling, as PIL does it.

use std::cell::RefCell;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3, U8x4};
use fast_image_resize::{Filter, FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use super::nearest::{Axis, pick};
use crate::error::{Error, ErrorKind, Result};
use crate::image::geometry::Part;
use crate::image::{Image, Limits, PaddingMode, Rect, Size};
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
    /// How the value between pixels is found.
    pub interpolation: Interpolation,
    /// Whether a pixel of a smaller image averages over all pixels that fall together in it. Without, bilinear and
    /// bicubic read the 4 or 16 pixels around each place only, as torchvision does for tensors with `antialias=False`;
    /// the others are not concerned.
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
    /// Whether a pixel of a smaller image is made of all pixels that fall together in it.
    pub(in crate::image) fn averages(self) -> bool {
        match self.interpolation {
            Interpolation::Nearest => false,
            Interpolation::Bilinear | Interpolation::Bicubic => self.antialias,
            Interpolation::Box | Interpolation::Hamming | Interpolation::Lanczos => true,
        }
    }

    /// Which pixels of an image of size `from` those inside `rect` are made of, once it is resampled to size `to`.
    pub(in crate::image) fn sources(self, rect: Rect, to: Size, from: Size) -> Rect {
        // How far each filter reaches, in pixels of the smaller of the two images.
        let reach = match self.interpolation {
            Interpolation::Nearest | Interpolation::Box => 0.5,
            Interpolation::Bilinear | Interpolation::Hamming => 1.0,
            Interpolation::Bicubic => 2.0,
            Interpolation::Lanczos => 3.0,
        };
        let span = |start: isize, len: usize, to: usize, from: usize| {
            let scale = from as f64 / to as f64;
            let reach = reach * if self.averages() { scale.max(1.0) } else { 1.0 };
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
    /// If the image or `size` is empty, or `size` has more pixels than [`Limits`] allow by default.
    pub fn resize(&self, size: impl Into<Size>, resampling: impl Into<Resampling>) -> Result<Image> {
        self.resized_crop(Rect::all(self.size()), size, resampling)
    }

    /// The part inside `rect`, resampled to `size`: what PIL and torchvision (`functional.resized_crop`) make of the same
    /// pixels, but for one level here and there.
    ///
    /// Pixels outside of `rect` have no influence, and what of it lies outside of the image is black: it is cropped first, as
    /// in torchvision. Four channels are RGB and
    /// alpha, and colours are weighted by their alpha, as PIL does with antialiasing.
    ///
    /// # Errors
    ///
    /// If `rect` or `size` is empty, or has more pixels than [`Limits`] allow by default.
    pub fn resized_crop(&self, rect: Rect, size: impl Into<Size>, resampling: impl Into<Resampling>) -> Result<Image> {
        let (size, resampling) = (size.into(), resampling.into());
        if rect.is_empty() || Rect::all(size).is_empty() {
            let problem = format!("cannot resample {} to {size}: neither may be empty", rect.size());
            return Err(Error::new(ErrorKind::Decode, problem));
        }
        // Before there are tables for each row and column.
        Limits::default().check(size)?;
        if rect.size() == size {
            return self.crop(rect);
        }
        if !rect.is_inside(self.size()) {
            return self.crop(rect)?.resize(size, resampling);
        }
        timed(Stage::Resample, || match resampling.interpolation {
            Interpolation::Nearest => self.picked(rect, size),
            _ => self.filtered(rect.into(), size, resampling),
        })
    }

    /// As [`resized_crop`](Image::resized_crop), of a part inside the image whose borders may lie between pixels. With
    /// antialiasing, and not the nearest pixels. Pixels that it does not touch have no influence.
    pub(in crate::image) fn resized_part(&self, part: Part, size: Size, resampling: Resampling) -> Result<Image> {
        match part.is_of_whole_pixels() {
            true => self.resized_crop(part.outer(), size, resampling),
            false => timed(Stage::Resample, || self.filtered(part, size, resampling)),
        }
    }

    fn picked(&self, rect: Rect, size: Size) -> Result<Image> {
        let mut resized = Image::transformed(size, self.channels)?;
        let axis = |from: usize, to: usize| Axis::new(0.0, from as f64 / to as f64, to, from);
        let (rows, columns) = (axis(rect.height, size.height), axis(rect.width, size.width));
        pick(self, rect, &mut resized, &rows, &columns, [0; 4]);
        Ok(resized)
    }

    fn filtered(&self, part: Part, size: Size, resampling: Resampling) -> Result<Image> {
        let (outer, inner) = (part.outer(), part.within_outer());
        if self.channels == 4 && resampling.antialias {
            let mut image = self.crop(outer)?;
            image.premultiply();
            let mut resized = image.filtered_view(Rect::all(image.size()), inner, size, resampling)?;
            resized.unpremultiply();
            return Ok(resized);
        }
        self.filtered_view(outer, inner, size, resampling)
    }

    /// The part `part` of the part `view`.
    fn filtered_view(&self, view: Rect, part: Part, size: Size, resampling: Resampling) -> Result<Image> {
        let Resampling { interpolation, antialias } = resampling;
        let filter = match interpolation {
            Interpolation::Nearest | Interpolation::Box => return self.boxed(view, part, size),
            Interpolation::Bilinear => FilterType::Bilinear,
            Interpolation::Hamming => FilterType::Hamming,
            Interpolation::Bicubic => FilterType::CatmullRom,
            Interpolation::Lanczos => FilterType::Lanczos3,
        };
        match (interpolation, antialias) {
            (Interpolation::Bilinear, false) => self.convolved(view, part, size, ResizeAlg::Interpolation(filter)),
            (Interpolation::Bicubic, false) => self.bicubic_of_torch(view, size),
            (Interpolation::Bicubic | Interpolation::Lanczos, true) if !vertical_first(view.size(), size) => {
                // These overshoot, and what does is cut off between the passes: the order of them is seen. Where the
                // others differ by their order it is by one level, so they take the one that is faster.
                let algorithm = ResizeAlg::Convolution(filter);
                let across = Size { height: view.height, width: size.width };
                let rows = Part { top: 0.0, height: view.height as f64, ..part };
                let across = self.convolved(view, rows, across, algorithm)?;
                let columns = Part { left: 0.0, width: size.width as f64, ..part };
                across.convolved(Rect::all(across.size()), columns, size, algorithm)
            }
            _ => self.convolved(view, part, size, ResizeAlg::Convolution(filter)),
        }
    }

    /// torch's bicubic interpolation without antialiasing: it has a steeper kernel than PIL, and repeats the outermost
    /// pixels beyond the edge (aten/src/ATen/native/cpu/UpSampleKernel.cpp).
    fn bicubic_of_torch(&self, rect: Rect, size: Size) -> Result<Image> {
        const REACH: usize = 2;
        let kernel = Filter::new("bicubic", steep_cubic, REACH as f64).expect("2 is a positive support");
        let algorithm = ResizeAlg::Interpolation(FilterType::Custom(kernel));
        let padded = self.crop(rect)?.pad(REACH, PaddingMode::Edge)?;
        let middle = Rect { top: 0, left: REACH as isize, height: padded.height(), width: rect.width };
        let across = Size { height: padded.height(), width: size.width };
        let across = padded.convolved(Rect::all(padded.size()), middle.into(), across, algorithm)?;
        let middle = Rect { top: REACH as isize, left: 0, height: rect.height, width: size.width };
        across.convolved(Rect::all(across.size()), middle.into(), size, algorithm)
    }

    /// The part `part` of the part `view`, resampled to `size`, vertically first. The rest of `view` is what surrounds
    /// `part`; nothing else is read.
    fn convolved(&self, view: Rect, part: Part, size: Size, algorithm: ResizeAlg) -> Result<Image> {
        let mut out = Image::transformed(size, self.channels)?;
        let Part { top, left, height, width } = part;
        let options = ResizeOptions::new().resize_alg(algorithm).use_alpha(false).crop(left, top, width, height);
        let outcome = match self.channels {
            1 => convolve::<U8>(self, view, &mut out, &options),
            3 => convolve::<U8x3>(self, view, &mut out, &options),
            _ => convolve::<U8x4>(self, view, &mut out, &options),
        };
        match outcome {
            Ok(()) => Ok(out),
            Err(source) => Err(Error::new(ErrorKind::Decode, "cannot resample the image").with_source(source)),
        }
    }
}

/// Whether Pillow resamples the columns before the rows. Up to version 12 it never does; since 13.0 it does where the
/// height shrinks by more than twice what the width does (python-pillow/Pillow#9549).
pub(super) fn vertical_first(from: Size, to: Size) -> bool {
    let shrinks = |from: usize, to: usize| from as i128 - to as i128;
    to.height < from.height && shrinks(from.height, to.height) > 2 * shrinks(from.width, to.width)
}

/// The cubic convolution kernel with a = -0.75 (PIL's has -0.5).
fn steep_cubic(x: f64) -> f64 {
    const A: f64 = -0.75;
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => ((x - 5.0) * x + 8.0) * x * A - 4.0 * A,
        _ => 0.0,
    }
}

/// Generic over the pixel and not over a view of any kind of pixel: each kind is a resampler more to compile.
fn convolve<P: PixelTrait>(
    source: &Image,
    view: Rect,
    target: &mut Image,
    options: &ResizeOptions,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (height, width) = (u32::try_from(target.height())?, u32::try_from(target.width())?);
    let (top, left) = (u32::try_from(view.top)?, u32::try_from(view.left)?);
    let all = TypedImageRef::<P>::from_buffer(
        u32::try_from(source.width())?,
        u32::try_from(source.height())?,
        source.pixels(),
    )?;
    let view = TypedCroppedImage::from_ref(&all, left, top, u32::try_from(view.width)?, u32::try_from(view.height)?)?;
    let mut out = TypedImage::<P>::from_buffer(width, height, target.pixels_mut())?;
    RESIZER.with_borrow_mut(|resizer| resizer.resize_typed(&view, &mut out, options))?;
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
    fn columns_come_first_where_the_height_shrinks_by_much_more() {
        let first = |from: (usize, usize), to: (usize, usize)| vertical_first(from.into(), to.into());
        assert!(!first((100, 100), (50, 50)));
        assert!(!first((100, 100), (50, 75))); // twice as much is not more
        assert!(first((100, 100), (49, 75)));
        assert!(first((100, 100), (99, 200)));
        assert!(!first((100, 100), (100, 200)));
    }

    #[test]
    fn without_antialiasing_a_smaller_image_skips_pixels() {
        let image = Image::new((1, 8), 1, vec![0, 0, 0, 255, 255, 0, 0, 0]).unwrap();
        let resize = |size: (usize, usize), interpolation| {
            image.resize(size, Resampling { interpolation, antialias: false }).unwrap().pixels().to_vec()
        };
        // From torchvision.transforms.v2.functional.resize of a tensor.
        assert_eq!(resize((1, 2), Interpolation::Bilinear), [0, 0]);
        assert_eq!(resize((1, 4), Interpolation::Bicubic), [0, 128, 128, 0]);
        // The others always average.
        assert_eq!(resize((1, 2), Interpolation::Box), [64, 64]);
    }

    #[test]
    fn colours_that_are_not_seen_do_not_bleed() {
        // Red beside a green that is fully transparent.
        let image = Image::new((1, 2), 4, vec![255, 0, 0, 255, 0, 255, 0, 0]).unwrap();
        for interpolation in [Interpolation::Box, Interpolation::Bilinear, Interpolation::Bicubic] {
            let pixel = image.resize((1, 1), interpolation).unwrap();
            assert_eq!(pixel.pixels()[..2], [255, 0], "{interpolation:?}: {:?}", pixel.pixels());
        }
        assert_eq!(image.resize((1, 1), Interpolation::Nearest).unwrap().pixels(), [0, 255, 0, 0]);
    }

    #[test]
    fn nothing_cannot_be_resampled() {
        let image = noise(4, 4, 3);
        assert!(image.resize((0, 3), Interpolation::Bilinear).is_err());
        assert!(image.resized_crop(Rect { top: 0, left: 0, height: 0, width: 1 }, 3, Interpolation::Bilinear).is_err());
    }

    #[test]
    fn what_lies_outside_is_black_before_it_is_resampled() {
        let image = noise(4, 4, 3);
        for top in [-1, 3, 9] {
            let rect = Rect { top, left: 0, height: 2, width: 1 };
            let expected = image.crop(rect).unwrap().resize(3, Interpolation::Bilinear).unwrap();
            assert_eq!(image.resized_crop(rect, 3, Interpolation::Bilinear).unwrap(), expected);
        }
    }
}
