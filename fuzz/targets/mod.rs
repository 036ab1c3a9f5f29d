//! What holds for any bytes whatever: a function for each parser, which panics where it does not.
//!
//! The fuzz targets call these with what libFuzzer comes up with, and `tests/hostile.rs` with files, damaged files, and what
//! was once found.

mod exif;
mod idx;
mod images;
mod regions;
mod resume;
mod texts;

use allocation_counter::measure;
use sutler::image::{ColorMode, DecodeOptions, JpegDecoder, Limits};
use sutler::{Error, ErrorKind, Result, SampleRng};

pub use exif::exif;
pub use idx::idx;
pub use images::{bmp, gif, jpeg, png, pnm, tiff, webp};
pub use regions::regions;
pub use resume::resume;
pub use texts::{ledger, state};

/// Panics over a promise that is broken.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 13] = [
    ("bmp", bmp),
    ("exif", exif),
    ("gif", gif),
    ("idx", idx),
    ("jpeg", jpeg),
    ("ledger", ledger),
    ("png", png),
    ("pnm", pnm),
    ("regions", regions),
    ("resume", resume),
    ("state", state),
    ("tiff", tiff),
    ("webp", webp),
];

/// The largest image that is decoded. What a file may ask for follows from it.
const PIXELS: usize = 1 << 16;

/// Random numbers that depend on the input alone, so that an input is the same case each time.
fn dice(bytes: &[u8]) -> SampleRng {
    let seed = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
    });
    SampleRng::new(seed, 0, 0)
}

fn pick<T: Copy>(items: &[T], dice: &mut SampleRng) -> T {
    items[dice.below(items.len() as u32) as usize]
}

/// What `run` gives, and how many bytes it had at a time.
fn measured<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let mut result = None;
    let asked = measure(|| result = Some(run())).bytes_max;
    (result.expect("it ran"), asked as usize)
}

#[track_caller]
fn of_kind(error: &Error, kinds: &[ErrorKind]) {
    assert!(kinds.contains(&error.kind()), "{error:?}");
}

/// An error is of one of these kinds, and its text fits on a screen whatever the input is.
#[track_caller]
fn refused(error: &Error, kinds: &[ErrorKind]) {
    of_kind(error, kinds);
    let text = error.to_string();
    assert!(text.len() < 1000, "{} bytes of text: {text}", text.len());
}

const OF_A_FILE: [ErrorKind; 2] = [ErrorKind::Decode, ErrorKind::Limit];

fn options(dice: &mut SampleRng) -> DecodeOptions {
    let options = DecodeOptions::default()
        .limits(Limits::default().max_pixels(PIXELS))
        .color_mode(pick(&[ColorMode::Gray, ColorMode::Rgb, ColorMode::RgbAlpha], dice))
        .exif_orientation(dice.bernoulli(0.8));
    // Of two decoders each has its share.
    if dice.bernoulli(0.5) { options.jpeg_decoder(JpegDecoder::ZuneJpeg) } else { options }
}

fn text<T>(result: &Result<T>) -> String {
    result.as_ref().map_or_else(|error| format!("{error:?}"), |_| "fine".into())
}
