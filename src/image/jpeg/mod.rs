//! JPEG: which decoder, and how much of an image.

#[cfg(feature = "turbojpeg")]
mod turbo;
mod zune;

use super::decode::without_panic;
use super::{DecodeOptions, Image, Rect, Size};
use crate::error::{Error, ErrorKind, Result};
use crate::stats::{Stage, timed};

/// A part of an image, decoded: perhaps more than was asked for, perhaps smaller than it is stored.
pub(super) struct Region {
    pub(super) image: Image,
    /// Where in the (scaled) whole the first row and column of `image` are.
    pub(super) top: usize,
    pub(super) left: usize,
    /// The whole is 1/`denominator` of what is stored.
    pub(super) denominator: usize,
}

/// All of the image.
pub(super) fn decode(bytes: &[u8], size: Size, options: &DecodeOptions) -> Result<Image> {
    // Without a scale there is one answer.
    Ok(decode_region(bytes, size, Rect::all(size), 1, options)?.image)
}

/// At least what lies in `rect` (of what is stored, and inside of it), at 1/`denominator` or larger.
pub(super) fn decode_region(
    bytes: &[u8],
    size: Size,
    rect: Rect,
    denominator: usize,
    options: &DecodeOptions,
) -> Result<Region> {
    timed(Stage::Decode, || {
        check_end_marker(bytes)?;
        #[cfg(feature = "turbojpeg")]
        if options.jpeg_decoder == super::JpegDecoder::TurboJpeg
            && let Some(region) = turbo::decode(bytes, size, rect, denominator, false, options)?
        {
            return Ok(region);
        }
        let _ = (size, rect, denominator);
        Ok(Region { image: whole(bytes, options)?, top: 0, left: 0, denominator: 1 })
    })
}

/// An image of the full size in which at least `rect` is decoded; what the rest is, is unspecified.
pub(super) fn decode_in_place(bytes: &[u8], size: Size, rect: Rect, options: &DecodeOptions) -> Result<Image> {
    timed(Stage::Decode, || {
        check_end_marker(bytes)?;
        #[cfg(feature = "turbojpeg")]
        if options.jpeg_decoder == super::JpegDecoder::TurboJpeg
            && let Some(region) = turbo::decode(bytes, size, rect, 1, true, options)?
        {
            return Ok(region.image);
        }
        let _ = (size, rect);
        whole(bytes, options)
    })
}

/// By the decoder that knows only the whole.
fn whole(bytes: &[u8], options: &DecodeOptions) -> Result<Image> {
    without_panic(|| zune::decode(bytes, options))
}

/// A region ends before the file does, and a decoder has the last few bytes in its bit buffer before it needs them: so the
/// end of the file is looked for, as PIL does.
fn check_end_marker(bytes: &[u8]) -> Result<()> {
    // Nearly always it is the last two bytes. But a camera may have put anything behind it, and then only a walk
    // through all segments and scans can tell.
    match bytes.ends_with(&[0xff, 0xd9]) || end_of_image(bytes).is_some() {
        true => Ok(()),
        false => Err(refused("it is truncated (it has no end marker)")),
    }
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

fn refused(problem: &str) -> Error {
    Error::new(ErrorKind::Decode, format!("cannot decode the JPEG: {problem}"))
}

/// RGB of four inks as they are stored, where 255 is no ink (Adobe's way, which PIL takes all files to be in): its
/// `cmyk2rgb`.
fn rgb_of_inks([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let white = i32::from(k);
    [c, m, y].map(|ink| {
        let product = (255 - i32::from(ink)) * white + 128;
        (white - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
    })
}
