//! zune-jpeg: pure Rust, the whole image.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::super::decode::in_mode;
use super::{refused, rgb_of_inks};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ColorMode, DecodeOptions, Image, Size};

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Image> {
    // Where a marker comes amid the rows, the decoder may take that for the end of the file and leave the rest as it was:
    // pixels of an image before. It writes from the top, so the last row tells. If that is what it was filled with, then
    // either by chance or not at all: another filling decides.
    let mut image = decode_over(0x5a, bytes, options)?;
    if last_row(&mut image).iter().all(|&value| value == 0x5a) {
        image = decode_over(0xa5, bytes, options)?;
        if last_row(&mut image).iter().all(|&value| value == 0xa5) {
            return Err(refused("its data end before the last row"));
        }
    }
    if image.channels() == 4 {
        image = image.recolored(rgb_of_inks)?;
    }
    in_mode(image, options.color_mode)
}

fn last_row(image: &mut Image) -> &mut [u8] {
    let row = image.width() * image.channels();
    let pixels = image.pixels_mut();
    let start = pixels.len() - row;
    &mut pixels[start..]
}

/// Grey, RGB, or four inks, over memory whose last row is `filling`.
fn decode_over(filling: u8, bytes: &[u8], options: &DecodeOptions) -> Result<Image> {
    let failed = |source| Error::new(ErrorKind::Decode, "cannot decode the JPEG").with_source(source);
    let settings = DecoderOptions::default()
        // Damaged data is an error, and not a picture whose lower half is grey.
        .set_strict_mode(true)
        // The limit is on pixels, below; a side may have all that the format allows.
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(options.limits.max_scans)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), settings);
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| refused("its header has no dimensions"))?;
    let size = Size { height, width };
    options.limits.check(size)?;
    // What needs no conversion afterwards. Four inks are converted here, where it is known how PIL does it.
    let (colors, channels) = match (decoder.input_colorspace(), options.color_mode) {
        (Some(ColorSpace::CMYK), _) => (ColorSpace::CMYK, 4),
        (Some(ColorSpace::Luma), ColorMode::Gray) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    decoder.set_options(settings.jpeg_set_out_colorspace(colors));
    let mut image = Image::unwritten(size, channels)?;
    if decoder.output_buffer_size() != Some(image.pixels().len()) {
        return Err(refused("its colours cannot be converted to RGB"));
    }
    last_row(&mut image).fill(filling);
    decoder.decode_into(image.pixels_mut()).map_err(failed)?;
    Ok(image)
}
