//! What an image file says of itself, before a pixel is decoded.

use std::io::Cursor;

use image::{ImageDecoder, ImageFormat, ImageReader};

use super::decode::{failed, without_panic};
use super::orientation::Orientation;
use super::{DecodeOptions, Size};
use crate::error::{Error, ErrorKind, Result};

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
            ImageFormat::Jpeg => of_jpeg(bytes).ok_or_else(|| {
                Error::new(ErrorKind::Decode, "cannot decode the JPEG: it has no header with its dimensions")
            })?,
            format => without_panic(|| of_other(bytes, format))?,
        };
        options.limits.check(size)?;
        let orientation = if options.exif_orientation { orientation } else { Orientation::default() };
        Ok(Header { format, size, orientation })
    }
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

/// The size of a JPEG's frame header (ITU-T T.81, annex B.2.2), and the orientation in its EXIF segment.
fn of_jpeg(bytes: &[u8]) -> Option<(Size, Orientation)> {
    let mut at = 2; // behind the start marker
    let (mut size, mut orientation) = (None, None);
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        match *bytes.get(at + 1)? {
            0xff => at += 1, // fill
            // No segment follows: a stray stuffed byte, TEM, a restart or start marker.
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            // The first scan, or the end.
            0xd9 | 0xda => return Some((size?, orientation.unwrap_or_default())),
            marker => {
                let segment = bytes.get(at + 2..)?;
                let number = |offset: usize| {
                    Some(usize::from(u16::from_be_bytes([*segment.get(offset)?, *segment.get(offset + 1)?])))
                };
                let length = number(0)?;
                match marker {
                    // DHT, JPG and DAC lie between the frame headers, SOF0 to SOF15.
                    0xc4 | 0xc8 | 0xcc => {}
                    0xc0..=0xcf if size.is_none() => size = Some(Size { height: number(3)?, width: number(5)? }),
                    0xe1 if orientation.is_none() => {
                        let exif = segment.get(2..length).and_then(|data| data.strip_prefix(b"Exif\0\0"));
                        orientation = exif.map(Orientation::from_exif);
                    }
                    _ => {}
                }
                at += 2 + length;
            }
        }
    }
}

fn of_other(bytes: &[u8], format: ImageFormat) -> Result<(Size, Orientation)> {
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.set_format(format);
    let mut decoder = reader.into_decoder().map_err(failed(format))?;
    let (width, height) = decoder.dimensions();
    // An orientation that cannot be read is none: the pixels may be fine, and if not, they say so.
    let orientation = decoder.orientation().map_or_else(|_| Orientation::default(), Orientation::from);
    Ok((Size { height: height as usize, width: width as usize }, orientation))
}
