//! `LazyImage`: an image file that is read and not yet decoded.

use std::io::Cursor;
use std::path::Path;

use image::{ImageDecoder, ImageFormat, ImageReader};

use super::decode::{decode_jpeg, decode_other, failed};
use super::scratch::{Scratch, read_file};
use super::{Image, Limits, Rect, Size};
use crate::error::{Error, ErrorKind, Result};

/// An image file that is read and not yet decoded: its bytes, and the size that its header tells.
///
/// This is what [`ImageFolder`](crate::ImageFolder) gives. Transforms take it as they take an [`Image`]; one that crops first
/// says so before anything is decoded. In a closure of your own, [`decode`](LazyImage::decode) it:
///
/// ```
/// use sutler::image::LazyImage;
/// use sutler::{Dataset, ImageFolder, SampleRng};
///
/// let brightness = ImageFolder::open("fixtures/shapes/val")?.map(|(image, label): (LazyImage, i64), _: &mut SampleRng| {
///     let image = image.decode()?;
///     let sum: u64 = image.pixels().iter().map(|&value| u64::from(value)).sum();
///     Ok((sum as f32 / image.pixels().len() as f32, label))
/// });
/// assert!(brightness.get(0, &mut SampleRng::new(0, 0, 0))?.0 > 0.0);
/// # Ok::<(), sutler::Error>(())
/// ```
pub struct LazyImage {
    bytes: Scratch,
    format: ImageFormat,
    size: Size,
    limits: Limits,
}

impl LazyImage {
    /// Reads a file and its header.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not an image within the [`Limits`].
    pub fn open(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        let read = || {
            let bytes = read_file(path)
                .map_err(|source| Error::new(ErrorKind::Io, "cannot read the file").with_source(source))?;
            Self::of(bytes, limits)
        };
        read().map_err(|error| error.with_path(path))
    }

    /// Reads the header of a file's bytes.
    ///
    /// # Errors
    ///
    /// If they are not an image of a known format within the [`Limits`].
    pub fn new(bytes: Vec<u8>, limits: &Limits) -> Result<Self> {
        Self::of(Scratch::from(bytes), limits)
    }

    fn of(bytes: Scratch, limits: &Limits) -> Result<Self> {
        let format = format_of(&bytes)?;
        let size = match format {
            ImageFormat::Jpeg => jpeg_size(&bytes).ok_or_else(|| {
                Error::new(ErrorKind::Decode, "cannot decode the JPEG: it has no header with its dimensions")
            })?,
            format => other_size(&bytes, format)?,
        };
        limits.check(size)?;
        Ok(LazyImage { bytes, format, size, limits: *limits })
    }

    /// Height and width in pixels.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Decodes all of it, as [`Image::decode`] does.
    ///
    /// # Errors
    ///
    /// If the file is damaged.
    pub fn decode(&self) -> Result<Image> {
        let image = match self.format {
            ImageFormat::Jpeg => decode_jpeg(&self.bytes, &self.limits),
            format => decode_other(&self.bytes, format, &self.limits),
        }?;
        match image.size() == self.size {
            true => Ok(image),
            // Transforms have been planned by the size.
            false => Err(Error::new(
                ErrorKind::Decode,
                format!("the image contradicts itself: {} by its first header, {} decoded", self.size, image.size()),
            )),
        }
    }

    /// The part inside `rect`: the same pixels as [`decode`](LazyImage::decode) and [`Image::crop`] give.
    ///
    /// # Errors
    ///
    /// If the file is damaged, the rectangle is empty, or has more pixels than [`Limits`] allow by default.
    pub fn decode_region(&self, rect: Rect) -> Result<Image> {
        self.decode()?.crop(rect)
    }
}

/// The format of a file, going by its first bytes.
pub(super) fn format_of(bytes: &[u8]) -> Result<ImageFormat> {
    if bytes.is_empty() {
        return Err(Error::new(ErrorKind::Decode, "the file is empty"));
    }
    image::guess_format(bytes).map_err(|_| {
        Error::new(
            ErrorKind::Decode,
            "not an image of a known format (JPEG, PNG, WebP, BMP, TIFF, PNM), going by its first bytes",
        )
    })
}

/// The size that a JPEG's frame header tells (ITU-T T.81, annex B.2.2).
fn jpeg_size(bytes: &[u8]) -> Option<Size> {
    let mut at = 2; // behind the start marker
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        match *bytes.get(at + 1)? {
            0xff => at += 1, // fill
            // No segment follows: a stray stuffed byte, TEM, a restart or start marker.
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            // The end, or a scan without a frame before it.
            0xd9 | 0xda => return None,
            marker => {
                let segment = bytes.get(at + 2..)?;
                // SOF0 to SOF15, less DHT, JPG and DAC, which lie between.
                if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                    let number = |offset: usize| {
                        Some(usize::from(u16::from_be_bytes([*segment.get(offset)?, *segment.get(offset + 1)?])))
                    };
                    return Some(Size { height: number(3)?, width: number(5)? });
                }
                at += 2 + usize::from(u16::from_be_bytes([*segment.first()?, *segment.get(1)?]));
            }
        }
    }
}

fn other_size(bytes: &[u8], format: ImageFormat) -> Result<Size> {
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.set_format(format);
    let (width, height) = reader.into_decoder().map_err(failed(format))?.dimensions();
    Ok(Size { height: height as usize, width: width as usize })
}

impl std::fmt::Debug for LazyImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LazyImage({}, {} bytes of {:?})", self.size, self.bytes.len(), self.format)
    }
}
