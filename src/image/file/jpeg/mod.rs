//! JPEG: which decoder, and how much of an image.

mod markers;
#[cfg(feature = "turbojpeg")]
mod turbo;
mod zune;

use markers::{END, SCAN, markers};

use super::decode::{contradiction, without_panic};
use super::orientation::Orientation;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{DecodeOptions, Image, JpegDecoder, Rect, Size};
use crate::stats::{Stage, timed};

/// What is wanted of an image.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "turbojpeg"), expect(dead_code, reason = "zune-jpeg decodes the whole, whatever is wanted"))]
pub(super) struct Wanted {
    /// At least this part of what is stored, and inside of it.
    pub(super) rect: Rect,
    /// At 1/`denominator` of the size, or larger.
    pub(super) denominator: usize,
    /// Whether the part is to be at its place in an image of the full size; what the rest is, is unspecified.
    pub(super) in_place: bool,
}

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
    let wanted = Wanted { rect: Rect::all(size), denominator: 1, in_place: false };
    Ok(decode_part(bytes, size, wanted, options)?.image)
}

/// What is wanted of an image of the given size.
#[cfg_attr(not(feature = "turbojpeg"), expect(unused_variables, reason = "as above"))]
pub(super) fn decode_part(bytes: &[u8], size: Size, wanted: Wanted, options: &DecodeOptions) -> Result<Region> {
    timed(Stage::Decode, || {
        check_scans(bytes, options)?;
        match options.jpeg_decoder {
            #[cfg(feature = "turbojpeg")]
            JpegDecoder::TurboJpeg => match turbo::decode(bytes, size, wanted, options)? {
                Some(region) => Ok(region),
                None => whole(bytes, size, options),
            },
            // Knows only the whole, which is all that can be wanted.
            JpegDecoder::ZuneJpeg => whole(bytes, size, options),
        }
    })
}

fn whole(bytes: &[u8], size: Size, options: &DecodeOptions) -> Result<Region> {
    let image = without_panic(|| zune::decode(bytes, options))?;
    match image.size() == size {
        true => Ok(Region { image, top: 0, left: 0, denominator: 1 }),
        false => Err(contradiction(size, image.size())),
    }
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
fn rgb_of_inks(&[c, m, y, k]: &[u8; 4]) -> [u8; 3] {
    let white = i32::from(k);
    [c, m, y].map(|ink| {
        let product = (255 - i32::from(ink)) * white + 128;
        (white - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
    })
}
