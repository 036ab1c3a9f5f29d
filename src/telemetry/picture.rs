//! `Picture`: pixels to be shown.

use crate::error::{Error, ErrorKind, Result};

/// Pixels to be shown: 8 bits a channel, `[H, W, C]`. It is encoded on the sink's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    height: u32,
    width: u32,
    channels: u32,
    pixels: Vec<u8>,
}

impl Picture {
    /// Of `height * width * channels` bytes, with 1 (grey), 3 (RGB) or 4 (RGBA) channels.
    ///
    /// # Errors
    ///
    /// If the number of channels or of bytes is another, or there is no pixel.
    pub fn new(height: u32, width: u32, channels: u32, pixels: Vec<u8>) -> Result<Self> {
        let refused = |problem| Err(Error::new(ErrorKind::Config, format!("a picture {problem}")));
        if ![1, 3, 4].contains(&channels) {
            return refused(format!("has 1, 3 or 4 channels, not {channels}"));
        }
        let bytes = u64::from(height).checked_mul(u64::from(width)).and_then(|size| size.checked_mul(channels.into()));
        if bytes != Some(pixels.len() as u64) || pixels.is_empty() {
            let size = format!("{height}x{width} and {channels} channels");
            return refused(format!("of {size} is not made of {} bytes", pixels.len()));
        }
        Ok(Picture { height, width, channels, pixels })
    }

    /// In pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// In pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// 1, 3 or 4.
    pub fn channels(&self) -> u32 {
        self.channels
    }

    /// `[H, W, C]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    pub(super) fn png(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(match self.channels {
            1 => png::ColorType::Grayscale,
            3 => png::ColorType::Rgb,
            _ => png::ColorType::Rgba,
        });
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().expect("a Vec takes everything");
        writer.write_image_data(&self.pixels).expect("the bytes were counted");
        writer.finish().expect("a Vec takes everything");
        file
    }
}

#[cfg(feature = "vision")]
impl TryFrom<&crate::image::Image> for Picture {
    type Error = Error;

    /// A copy of the image. An error if it has no pixel.
    fn try_from(image: &crate::image::Image) -> Result<Self> {
        let side = |length| u32::try_from(length).unwrap_or(u32::MAX);
        let [height, width, channels] = [image.height(), image.width(), image.channels()].map(side);
        Picture::new(height, width, channels, image.pixels().to_vec())
    }
}
