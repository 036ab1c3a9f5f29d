//! From the bytes of a file to pixels. Nothing in the file is believed before it is checked.

use std::fmt::{self, Write};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::header::Header;
use super::{jpeg, tiff, webp};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ColorMode, DecodeOptions, Image, Size};
use crate::stats::{Stage, timed};

impl Image {
    /// Decodes a file.
    ///
    /// The format is recognised by its first bytes, not by a name: JPEG (also with four inks), PNG, WebP, GIF (the
    /// first frame), BMP, TIFF and PNM are known. Samples of 16 bits keep their high byte, as PIL does with colours.
    /// (Grey ones PIL clips at 255, so that all but the darkest is white; not so here.)
    ///
    /// # Errors
    ///
    /// If the bytes are not a whole image of a known format, or it exceeds the [`Limits`](crate::image::Limits).
    pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Image> {
        let header = Header::read(bytes, options)?;
        header.orientation.upright(decode(bytes, &header, options)?)
    }
}

/// All of a file, as is stored.
pub(super) fn decode(bytes: &[u8], header: &Header, options: &DecodeOptions) -> Result<Image> {
    let image = match header.format {
        ImageFormat::Jpeg => jpeg::decode(bytes, header.size, options),
        format => timed(Stage::Decode, || without_panic(|| decode_other(bytes, format, header.size, options))),
    }?;
    match image.size() == header.size {
        true => Ok(image),
        // Transforms have been planned by the size.
        false => Err(contradiction(header.size, image.size())),
    }
}

/// Decodes by code that is not above panicking over a file that it does not understand.
pub(super) fn without_panic<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    // What it was writing to is dropped with it.
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        let problem = "cannot decode the image: the decoder panicked, as its message on stderr says";
        Err(Error::new(ErrorKind::Decode, problem))
    })
}

/// The error of a file whose headers tell different sizes.
pub(super) fn contradiction(first: Size, then: Size) -> Error {
    let problem = format!("the image contradicts itself: {first} by its first header, {then} decoded");
    Error::new(ErrorKind::Decode, problem)
}

/// What a file may have beside its pixels: a colour profile, say.
pub(super) const METADATA: u64 = 4 << 20;

/// A decoder that allocates no more than so many bytes, as far as it knows.
pub(super) fn decoder(bytes: &[u8], format: ImageFormat, allowed: u64) -> Result<impl ImageDecoder> {
    match format {
        ImageFormat::Tiff => tiff::check_tags(bytes)?,
        ImageFormat::WebP => webp::check_frames(bytes).and_then(|()| webp::check_length(bytes))?,
        _ => {}
    }
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.set_format(format);
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(allowed);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(failed(format))?;
    decoder.set_limits(limits).map_err(failed(format))?;
    Ok(decoder)
}

fn decode_other(bytes: &[u8], format: ImageFormat, size: Size, options: &DecodeOptions) -> Result<Image> {
    // Sixteen bytes a pixel is the widest that a decoder makes; the second half is for what it needs meanwhile.
    let allowed = (size.height * size.width) as u64 * 32 + METADATA;
    let decoded = decoder(bytes, format, allowed)?;
    let (width, height) = decoded.dimensions();
    options.limits.check(Size { height: height as usize, width: width as usize })?;
    // Samples of 16 bits by their high byte, as PIL reads them.
    let high_bytes = |samples: Vec<u16>| samples.into_iter().map(|sample| (sample >> 8) as u8).collect();
    let (channels, pixels): (usize, Vec<u8>) = match DynamicImage::from_decoder(decoded).map_err(failed(format))? {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => (2, image.into_raw()),
        DynamicImage::ImageRgba8(image) => (4, image.into_raw()),
        DynamicImage::ImageLuma16(image) => (1, high_bytes(image.into_raw())),
        DynamicImage::ImageLumaA16(image) => (2, high_bytes(image.into_raw())),
        DynamicImage::ImageRgb16(image) => (3, high_bytes(image.into_raw())),
        DynamicImage::ImageRgba16(image) => (4, high_bytes(image.into_raw())),
        other => (3, other.into_rgb8().into_raw()),
    };
    let pairs = || pixels.as_chunks::<2>().0.iter();
    let image = match (channels, options.color_mode) {
        // Grey with alpha is no kind of image here: it gets colours, or loses its alpha.
        (2, ColorMode::RgbAlpha) => Image::new(size, 4, pairs().flat_map(|&[grey, a]| [grey, grey, grey, a]).collect()),
        (2, _) => Image::new(size, 1, pairs().map(|&[grey, _]| grey).collect()),
        _ => Image::new(size, channels, pixels),
    };
    in_mode(image?, options.color_mode)
}

/// The image with the channels that are wanted.
pub(super) fn in_mode(image: Image, mode: ColorMode) -> Result<Image> {
    match (image.channels(), mode) {
        (channels, mode) if channels == mode.channels() => Ok(image),
        (_, ColorMode::Gray) => image.to_grayscale(1),
        (1, ColorMode::Rgb) => image.to_grayscale(3),
        (_, ColorMode::Rgb) => image.recolored(|&[r, g, b, _]| [r, g, b]),
        (1, ColorMode::RgbAlpha) => image.recolored(|&[grey]| [grey, grey, grey, 255]),
        (_, ColorMode::RgbAlpha) => image.recolored(|&[r, g, b]| [r, g, b, 255]),
    }
}

/// What makes an error of the decoder's.
fn failed(format: ImageFormat) -> impl Fn(ImageError) -> Error {
    let name = format.extensions_str().first().copied().unwrap_or("file").to_uppercase();
    move |source| {
        let kind = if matches!(source, ImageError::Limits(_)) { ErrorKind::Limit } else { ErrorKind::Decode };
        let problem = format!("cannot decode the {name}");
        match Excerpt::of(&source) {
            None => Error::new(kind, problem).with_source(source),
            // It quotes the file, of which this may be all.
            Some(text) => Error::new(kind, format!("{problem}: {text}…")),
        }
    }
}

/// The beginning of a text that may be of any length.
struct Excerpt(String);

impl Excerpt {
    const MOST: usize = 500;

    /// `None` if the text is not longer than an excerpt.
    fn of(text: &impl fmt::Display) -> Option<String> {
        let mut excerpt = Excerpt(String::new());
        write!(excerpt, "{text}").is_err().then_some(excerpt.0)
    }
}

impl fmt::Write for Excerpt {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.len() + character.len_utf8() > Self::MOST {
                return Err(fmt::Error);
            }
            self.0.push(character);
        }
        Ok(())
    }
}
