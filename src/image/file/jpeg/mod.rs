//! JPEG: which decoder, and how much of an image.

mod markers;
#[cfg(feature = "turbojpeg")]
mod turbo;
mod zune;

use markers::{END, SCAN, markers};

use super::decode::{contradiction, without_panic};
use super::orientation::Orientation;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "turbojpeg")]
use crate::image::JpegDecoder;
use crate::image::{DecodeOptions, Image, Rect, Size};
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

/// The size that the first frame's header tells, and which way up the EXIF data says it is.
pub(super) fn header(bytes: &[u8]) -> Option<(Size, Orientation)> {
    let (mut size, mut orientation) = (None, None);
    for marker in markers(bytes).take_while(|marker| ![SCAN, END].contains(&marker.code)) {
        size = size.or_else(|| marker.size());
        orientation = orientation.or_else(|| marker.exif().map(Orientation::from_exif));
    }
    Some((size?, orientation.unwrap_or_default()))
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
        check_scans(bytes, options)?;
        #[cfg(feature = "turbojpeg")]
        if options.jpeg_decoder == JpegDecoder::TurboJpeg
            && let Some(region) = turbo::decode(bytes, size, rect, denominator, false, options)?
        {
            return Ok(region);
        }
        let _ = (rect, denominator);
        Ok(Region { image: whole(bytes, size, options)?, top: 0, left: 0, denominator: 1 })
    })
}

/// An image of the full size in which at least `rect` is decoded; what the rest is, is unspecified.
pub(super) fn decode_in_place(bytes: &[u8], size: Size, rect: Rect, options: &DecodeOptions) -> Result<Image> {
    timed(Stage::Decode, || {
        check_scans(bytes, options)?;
        #[cfg(feature = "turbojpeg")]
        if options.jpeg_decoder == JpegDecoder::TurboJpeg
            && let Some(region) = turbo::decode(bytes, size, rect, 1, true, options)?
        {
            return Ok(region.image);
        }
        let _ = rect;
        whole(bytes, size, options)
    })
}

/// By the decoder that knows only the whole.
fn whole(bytes: &[u8], size: Size, options: &DecodeOptions) -> Result<Image> {
    let image = without_panic(|| zune::decode(bytes, options))?;
    if image.size() == size { Ok(image) } else { Err(contradiction(size, image.size())) }
}

/// That the file has its end, and no more scans than are allowed.
///
/// A region ends before the file does, and a decoder has the last few bytes in its bit buffer before it needs them: so the
/// end of the file is looked for, as PIL does. And each scan of a progressive file costs a pass over the image, whose
/// coefficients are all kept: so they are counted before.
fn check_scans(bytes: &[u8], options: &DecodeOptions) -> Result<()> {
    // Nearly always the end marker is the last two bytes. But a camera may have put anything behind it, and then only a
    // walk through all segments and scans can tell.
    let ends = bytes.ends_with(&[0xff, END]);
    let (mut scans, mut is_progressive) = (0, false);
    for marker in markers(bytes) {
        is_progressive |= marker.is_progressive();
        match marker.code {
            END => return Ok(()),
            // What follows is all of the image, or at most a scan for each component.
            SCAN if ends && !is_progressive => return Ok(()),
            SCAN => scans += 1,
            _ => {}
        }
        if scans > options.limits.max_scans {
            let problem = format!("the JPEG has more than {} scans (Limits::max_scans)", options.limits.max_scans);
            return Err(Error::new(ErrorKind::Limit, problem));
        }
    }
    if ends { Ok(()) } else { Err(refused("it is truncated (it has no end marker)")) }
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
