//! Images in memory: decoding, cropping, resampling, and the last step, into the batch.

mod edit;
mod file;
mod geometry;
mod scratch;
mod source;
mod tensor;

pub use edit::{Fill, Interpolation, Padding, PaddingMode, Resampling, Warp};
pub use file::{ColorMode, DecodeOptions, JpegDecoder, LazyImage, Limits};
pub use geometry::{Rect, Size};
pub use source::ImageSource;
pub(crate) use tensor::UNIT;
pub use tensor::{ImageTensor, Layout, Normalize};

use crate::error::{Error, ErrorKind, Result};
use scratch::Scratch;

/// An 8-bit image in memory: rows from the top, pixels from the left, channels interleaved (`[H, W, C]`).
///
/// Its memory is recycled by the thread that drops it, so that a worker decodes picture after picture without asking
/// the system for memory.
pub struct Image {
    size: Size,
    channels: usize,
    /// At least `size.height * size.width * channels` bytes.
    data: Scratch,
}

impl Image {
    /// An image of the given pixels, `height * width * channels` bytes in `[H, W, C]` order.
    ///
    /// # Errors
    ///
    /// If the length does not fit, or there are not 1, 3 or 4 channels.
    pub fn new(size: impl Into<Size>, channels: usize, pixels: Vec<u8>) -> Result<Self> {
        let size = size.into();
        let expected = byte_count(size, channels)?;
        if pixels.len() != expected {
            return Err(Error::new(
                ErrorKind::Decode,
                format!("an image of {size} and {channels} channels has {expected} bytes, not {}", pixels.len()),
            ));
        }
        Ok(Image { size, channels, data: Scratch::from(pixels) })
    }

    /// An image whose pixels are yet to be written.
    fn unwritten(size: Size, channels: usize) -> Result<Self> {
        let bytes = byte_count(size, channels)?;
        match Scratch::take(bytes) {
            Some(data) => Ok(Image { size, channels, data }),
            None => Err(Error::no_memory(format!("no memory for an image of {size}"))),
        }
    }

    /// An image of the same size, made of this one pixel by pixel.
    fn recolored<const A: usize, const B: usize>(&self, to: impl Fn(&[u8; A]) -> [u8; B]) -> Result<Image> {
        let mut recolored = Image::unwritten(self.size, B)?;
        let pixels = self.pixels().as_chunks::<A>().0;
        for (out, pixel) in recolored.pixels_mut().as_chunks_mut::<B>().0.iter_mut().zip(pixels) {
            *out = to(pixel);
        }
        Ok(recolored)
    }

    /// As `unwritten`, for what a transform makes of an image: a file of a few bytes can be a strip that a resize would
    /// blow up beyond all memory.
    fn transformed(size: Size, channels: usize) -> Result<Self> {
        Limits::default().check(size)?;
        Self::unwritten(size, channels)
    }

    /// As [`new`](Image::new), of a copy of `pixels`.
    pub(crate) fn copied(size: impl Into<Size>, channels: usize, pixels: &[u8]) -> Result<Self> {
        let mut image = Image::unwritten(size.into(), channels)?;
        image.pixels_mut().copy_from_slice(pixels);
        Ok(image)
    }

    /// Height and width in pixels.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.size.height
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.size.width
    }

    /// How many channels a pixel has: 1 (grey), 3 (RGB) or 4 (RGBA).
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The pixels, `[H, W, C]`.
    pub fn pixels(&self) -> &[u8] {
        &self.data[..self.size.height * self.size.width * self.channels]
    }

    /// The pixels, to be changed in place.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.data[..self.size.height * self.size.width * self.channels]
    }

    /// As [`crop`](Image::crop), without a copy where that is all of the image.
    fn cropped(self, rect: Rect) -> Result<Image> {
        if rect == Rect::all(self.size()) { Ok(self) } else { self.crop(rect) }
    }
}

fn byte_count(size: Size, channels: usize) -> Result<usize> {
    if ![1, 3, 4].contains(&channels) {
        return Err(Error::new(ErrorKind::Decode, format!("an image has 1, 3 or 4 channels, not {channels}")));
    }
    size.height
        .checked_mul(size.width)
        .and_then(|pixels| pixels.checked_mul(channels))
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(|| Error::new(ErrorKind::Limit, format!("an image of {size} does not fit in memory")))
}

impl Clone for Image {
    /// The pixels, and not the whole block of memory that they are in.
    fn clone(&self) -> Self {
        Image { size: self.size, channels: self.channels, data: Scratch::from(self.pixels().to_vec()) }
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Image) -> bool {
        self.size == other.size && self.channels == other.channels && self.pixels() == other.pixels()
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}, {} channels)", self.size, self.channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pixel says where it was: `[row, column, channel]` packed.
    pub(super) fn numbered(height: usize, width: usize, channels: usize) -> Image {
        let pixel = |y: usize, x: usize, c: usize| (y * 50 + x * 5 + c) as u8;
        let pixels = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| (0..channels).map(move |c| pixel(y, x, c))))
            .collect();
        Image::new((height, width), channels, pixels).unwrap()
    }

    pub(super) fn at(image: &Image, y: isize, x: isize, c: usize) -> u8 {
        let inside = y >= 0 && x >= 0 && (y as usize) < image.height() && (x as usize) < image.width();
        if inside { image.pixels()[(y as usize * image.width() + x as usize) * image.channels() + c] } else { 0 }
    }

    #[test]
    fn an_image_that_cannot_be_is_refused() {
        assert_eq!(Image::new((2, 2), 3, vec![0; 11]).unwrap_err().kind(), ErrorKind::Decode);
        assert_eq!(Image::new((2, 2), 2, vec![0; 8]).unwrap_err().kind(), ErrorKind::Decode);
        assert_eq!(Image::new((usize::MAX, 2), 3, vec![]).unwrap_err().kind(), ErrorKind::Limit);
        let strip = Image::new((1, 65_500), 3, vec![0; 3 * 65_500]).unwrap();
        for interpolation in [Interpolation::Nearest, Interpolation::Box, Interpolation::Bilinear] {
            for size in [(256, 16_768_000), (usize::MAX, 1), (1, usize::MAX)] {
                assert_eq!(strip.resize(size, interpolation).unwrap_err().kind(), ErrorKind::Limit);
            }
        }
        assert_eq!(strip.crop(Rect { top: 0, left: 0, height: 0, width: 3 }).unwrap_err().kind(), ErrorKind::Decode);
    }
}
