//! From the bytes of a file to pixels. Nothing in the file is believed before it is checked.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::lazy::format_of;
use super::{Image, Size};
use crate::error::{Error, ErrorKind, Result};

/// What a file may ask for before it is refused, whatever it claims to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most pixels an image may have (default: 178,956,970, from where on PIL speaks of a decompression bomb).
    pub max_pixels: usize,
    /// The most scans a progressive JPEG may have (default: 64): each costs a pass over the whole image.
    pub max_scans: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_pixels: 178_956_970, max_scans: 64 }
    }
}

impl Limits {
    pub(super) fn check(&self, size: Size) -> Result<()> {
        match size.height.checked_mul(size.width) {
            Some(0) => Err(Error::new(ErrorKind::Decode, format!("an image of {size} has no pixels"))),
            Some(pixels) if pixels <= self.max_pixels => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Limit,
                format!("an image of {size} exceeds the limit of {} pixels (Limits::max_pixels)", self.max_pixels),
            )),
        }
    }
}

impl Image {
    /// Decodes a file to RGB, as PIL's `convert("RGB")` does: grey becomes three equal channels, alpha is dropped.
    ///
    /// The format is recognised by its first bytes, not by a name. JPEG, PNG, WebP, BMP, TIFF and PNM are known.
    ///
    /// # Errors
    ///
    /// If the bytes are not a whole image of a known format, or it exceeds the [`Limits`].
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Image> {
        match format_of(bytes)? {
            ImageFormat::Jpeg => decode_jpeg(bytes, limits),
            format => decode_other(bytes, format, limits),
        }
    }
}

pub(super) fn decode_jpeg(bytes: &[u8], limits: &Limits) -> Result<Image> {
    let refused = |problem: &str| Error::new(ErrorKind::Decode, format!("cannot decode the JPEG: {problem}"));
    let failed = |source| Error::new(ErrorKind::Decode, "cannot decode the JPEG").with_source(source);
    if !has_end_marker(bytes) {
        return Err(refused("it is truncated (it has no end marker)"));
    }
    let options = DecoderOptions::default()
        // Damaged data is an error, and not a picture whose lower half is grey.
        .set_strict_mode(true)
        // The limit is on pixels, below; a side may have all that the format allows.
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(limits.max_scans)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| refused("its header has no dimensions"))?;
    limits.check(Size { height, width })?;
    let mut image = Image::unwritten(Size { height, width }, 3)?;
    if decoder.output_buffer_size() != Some(image.pixels().len()) {
        return Err(refused("its colours cannot be converted to RGB"));
    }
    decoder.decode_into(image.pixels_mut()).map_err(failed)?;
    Ok(image)
}

/// Whether the image has an end marker. The decoder notices if the data ends early, but not within the last few bytes,
/// which it has in its bit buffer by then; PIL refuses such a file as well.
fn has_end_marker(bytes: &[u8]) -> bool {
    // Nearly always it is the last two bytes. But a camera may have put anything behind it, and then only a walk
    // through all segments and scans can tell.
    bytes.ends_with(&[0xff, 0xd9]) || end_of_image(bytes).is_some()
}

/// Where the end marker is (ITU-T T.81, annex B).
fn end_of_image(bytes: &[u8]) -> Option<usize> {
    let mut at = 2; // behind the start marker
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        match *bytes.get(at + 1)? {
            0xd9 => return Some(at),
            0xff => at += 1, // fill
            // No segment follows: a stuffed byte of a scan, a restart marker, a start marker, or TEM.
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            _ => {
                let length = u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]);
                at += 2 + usize::from(length);
            }
        }
    }
}

pub(super) fn decode_other(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<Image> {
    let failed = failed(format);
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.set_format(format);
    let mut decoder = reader.into_decoder().map_err(&failed)?;
    let (width, height) = decoder.dimensions();
    let size = Size { height: height as usize, width: width as usize };
    limits.check(size)?;
    // Sixteen bytes a pixel is the widest that a decoder makes; the second half is for what it needs meanwhile.
    let mut allowed = image::Limits::default();
    allowed.max_alloc = Some((size.height * size.width) as u64 * 32 + (1 << 20));
    decoder.set_limits(allowed).map_err(&failed)?;
    let pixels = DynamicImage::from_decoder(decoder).map_err(&failed)?.into_rgb8();
    Image::new(size, 3, pixels.into_raw())
}

/// What makes an error of the decoder's.
pub(super) fn failed(format: ImageFormat) -> impl Fn(ImageError) -> Error {
    let name = format.extensions_str().first().copied().unwrap_or("file").to_uppercase();
    move |source| Error::new(ErrorKind::Decode, format!("cannot decode the {name}")).with_source(source)
}
