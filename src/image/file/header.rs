//! What an image file says of itself, before a pixel is decoded.

use image::{ImageDecoder, ImageFormat};

use super::decode::{METADATA, decoder, without_panic};
use super::jpeg;
use super::orientation::Orientation;
use super::webp;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{DecodeOptions, Size};

/// The format by the first bytes; size and orientation by the header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) format: ImageFormat,
    /// As is stored.
    pub(super) size: Size,
    /// Upright where the options say that it is not to be honoured.
    pub(super) orientation: Orientation,
}

impl Header {
    pub(super) fn read(bytes: &[u8], options: &DecodeOptions) -> Result<Self> {
        let format = format_of(bytes)?;
        let (size, orientation) = match format {
            ImageFormat::Jpeg => jpeg::header(bytes).ok_or_else(|| headless("JPEG"))?,
            ImageFormat::Png => of_png(bytes).ok_or_else(|| headless("PNG"))?,
            format => without_panic(|| of_other(bytes, format))?,
        };
        options.limits.check(size)?;
        let orientation = if options.exif_orientation { orientation } else { Orientation::default() };
        Ok(Header { format, size, orientation })
    }
}

fn headless(format: &str) -> Error {
    Error::new(ErrorKind::Decode, format!("cannot decode the {format}: it has no header with its dimensions"))
}

/// The format of a file, going by its first bytes.
fn format_of(bytes: &[u8]) -> Result<ImageFormat> {
    if bytes.is_empty() {
        return Err(Error::new(ErrorKind::Decode, "the file is empty"));
    }
    image::guess_format(bytes).map_err(|_| {
        Error::new(
            ErrorKind::Decode,
            "not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM), going by its first bytes",
        )
    })
}

/// A PNG says its size right behind its signature, and what it has beside pixels may be anything, unpacked.
fn of_png(bytes: &[u8]) -> Option<(Size, Orientation)> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let (mut at, mut size, mut orientation) = (8, None, Orientation::default());
    while let Some(length) = number(at) {
        let data = bytes.get(at + 8..)?;
        let data = &data[..length.min(data.len())];
        match &bytes[at + 4..at + 8] {
            b"IHDR" => size = Some(Size { width: number(at + 8)?, height: number(at + 12)? }),
            b"eXIf" => orientation = Orientation::from_exif(data),
            // EXIF data behind the pixels is as good; but few files have it there, and all have pixels.
            b"IDAT" => break,
            _ => {}
        }
        at = at.checked_add(length)?.checked_add(12)?;
    }
    Some((size?, orientation))
}

fn of_other(bytes: &[u8], format: ImageFormat) -> Result<(Size, Orientation)> {
    let mut decoder = decoder(bytes, format, METADATA)?;
    let (width, height) = decoder.dimensions();
    let orientation = match format {
        ImageFormat::WebP => webp::exif(bytes).map_or_else(Orientation::default, Orientation::from_exif),
        // One that cannot be read is none: the pixels may be fine, and if not, they say so.
        _ => decoder.orientation().map_or_else(|_| Orientation::default(), Orientation::from),
    };
    Ok((Size { height: height as usize, width: width as usize }, orientation))
}
