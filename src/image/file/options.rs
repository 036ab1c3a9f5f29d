//! `DecodeOptions`: what is wanted of a file, and what it may ask for.

use crate::error::{Error, ErrorKind, Result};
use crate::image::Size;

/// How image files are decoded: to RGB, the right way up, exactly, within the default [`Limits`].
///
/// ```
/// use sutler::ImageFolder;
/// use sutler::image::{ColorMode, DecodeOptions};
///
/// let options = DecodeOptions::default().color_mode(ColorMode::Gray).scaled_decode(true);
/// let folder = ImageFolder::open("fixtures/shapes/val")?.decode_options(options);
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    pub(super) limits: Limits,
    pub(super) color_mode: ColorMode,
    pub(super) exif_orientation: bool,
    pub(super) scaled_decode: bool,
    pub(super) jpeg_decoder: JpegDecoder,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        DecodeOptions {
            limits: Limits::default(),
            color_mode: ColorMode::Rgb,
            exif_orientation: true,
            scaled_decode: false,
            jpeg_decoder: JpegDecoder::default(),
        }
    }
}

impl DecodeOptions {
    /// What a file may ask for before it is refused.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Which channels are wanted, whatever the file has (default: [`ColorMode::Rgb`]).
    pub fn color_mode(mut self, mode: ColorMode) -> Self {
        self.color_mode = mode;
        self
    }

    /// Whether an image is turned and mirrored as its EXIF orientation says (default: `true`).
    ///
    /// A camera that was held upright stores its picture lying on its side, with a note; every viewer honours the note.
    /// `torchvision.datasets.ImageFolder` does not, so with `false` the pixels are those that a model was trained on
    /// there. (`torchvision.io.decode_image` has `apply_exif_orientation=False`, `PIL.ImageOps.exif_transpose` is what
    /// `true` does.)
    pub fn exif_orientation(mut self, honoured: bool) -> Self {
        self.exif_orientation = honoured;
        self
    }

    /// Whether a JPEG that is to be made much smaller may be decoded at 1/2, 1/4 or 1/8 of its size (default: `false`).
    ///
    /// The decoder then averages blocks of pixels for a fraction of the work, before the resize does the rest. It does so
    /// when both sides are at least that many times the target's. The pixels are not those of a full decode; by how much,
    /// docs/PARITY.md says. It needs feature `turbojpeg`, and is without effect otherwise.
    pub fn scaled_decode(mut self, allowed: bool) -> Self {
        self.scaled_decode = allowed;
        self
    }

    /// What decodes JPEG files.
    pub fn jpeg_decoder(mut self, decoder: JpegDecoder) -> Self {
        self.jpeg_decoder = decoder;
        self
    }
}

/// Which channels an image has (`torchvision.io.ImageReadMode`, `PIL.Image.convert`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ColorMode {
    /// One channel: PIL's `L`. Colours are weighed as there, 0.299 R + 0.587 G + 0.114 B.
    Gray,
    /// Three channels: PIL's `RGB`. Grey becomes three equal channels, alpha is dropped.
    #[default]
    Rgb,
    /// Four channels: PIL's `RGBA`. What has no alpha is opaque, 255.
    RgbAlpha,
}

impl ColorMode {
    /// How many channels a pixel has.
    pub fn channels(self) -> usize {
        match self {
            ColorMode::Gray => 1,
            ColorMode::Rgb => 3,
            ColorMode::RgbAlpha => 4,
        }
    }
}

/// What decodes JPEG files. The default is the fastest there is in the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JpegDecoder {
    /// libjpeg-turbo 3: PIL's pixels; decodes only the region that a crop needs. Where it refuses a file, zune-jpeg has a
    /// try.
    #[cfg(feature = "turbojpeg")]
    TurboJpeg,
    /// zune-jpeg: pure Rust; decodes all of an image.
    ZuneJpeg,
}

/// `TurboJpeg` with feature `turbojpeg`, else `ZuneJpeg`.
#[allow(clippy::derivable_impls, reason = "which variant it is depends on a feature")]
impl Default for JpegDecoder {
    fn default() -> Self {
        #[cfg(feature = "turbojpeg")]
        return JpegDecoder::TurboJpeg;
        #[cfg(not(feature = "turbojpeg"))]
        return JpegDecoder::ZuneJpeg;
    }
}

/// What a file may ask for before it is refused, whatever it claims to hold. Nothing is allocated before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most pixels an image may have (default: 178,956,970, from where on PIL speaks of a decompression bomb).
    pub max_pixels: usize,
    /// The most scans a progressive JPEG may have (default: 64): each costs a pass over the whole image.
    pub max_scans: usize,
    /// The most bytes a file may have to be read (default: 1 GiB, six bytes for each of the default's pixels).
    pub max_file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_pixels: 178_956_970, max_scans: 64, max_file_bytes: 1 << 30 }
    }
}

impl Limits {
    /// The most pixels an image may have.
    pub fn max_pixels(mut self, pixels: usize) -> Self {
        self.max_pixels = pixels;
        self
    }

    /// The most scans a progressive JPEG may have.
    pub fn max_scans(mut self, scans: usize) -> Self {
        self.max_scans = scans;
        self
    }

    /// The most bytes a file may have to be read.
    pub fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    pub(in crate::image) fn check(&self, size: Size) -> Result<()> {
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
