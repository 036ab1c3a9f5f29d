//! Files of every format: header and pixels.

use sutler::ErrorKind;
use sutler::image::{Image, LazyImage, Limits, Rect, Size};

use super::{OF_A_FILE, PIXELS, dice, measured, options, refused, text};

/// What is allowed beside pixels: 4 MiB for what a file says of itself (`METADATA` in `image/file/decode.rs`), and tables.
const BESIDE: usize = 6 << 20;

pub fn bmp(bytes: &[u8]) {
    image(bytes, &[b"BM"]);
}

pub fn gif(bytes: &[u8]) {
    image(bytes, &[b"GIF8"]);
}

pub fn jpeg(bytes: &[u8]) {
    image(bytes, &[b"\xff\xd8"]);
}

pub fn png(bytes: &[u8]) {
    image(bytes, &[b"\x89PNG"]);
}

pub fn pnm(bytes: &[u8]) {
    image(bytes, &[b"P"]);
}

pub fn tiff(bytes: &[u8]) {
    image(bytes, &[b"II", b"MM"]);
}

pub fn webp(bytes: &[u8]) {
    image(bytes, &[b"RIFF"]);
}

/// A file is refused for a reason, or decodes to what its header tells, within the limits, and to the same each time.
fn image(bytes: &[u8], begins: &[&[u8]]) {
    if !begins.iter().any(|begin| bytes.starts_with(begin)) {
        return;
    }
    let mut dice = dice(bytes);
    let options = options(&mut dice);
    let (lazy, asked) = measured(|| LazyImage::new(bytes.to_vec(), &options));
    assert!(asked <= bytes.len() + BESIDE, "{asked} bytes for a header");
    let lazy = match lazy {
        Ok(lazy) => lazy,
        Err(error) => {
            refused(&error, &OF_A_FILE);
            assert_eq!(text(&Image::decode(bytes, &options)), text::<Image>(&Err(error)));
            return;
        }
    };
    let size = lazy.size();
    let pixels = size.height * size.width;
    assert!((1..=PIXELS).contains(&pixels), "{size} is within the limits");
    let within = |pixels| LazyImage::new(bytes.to_vec(), &options.limits(Limits::default().max_pixels(pixels)));
    assert_eq!(within(pixels).map(|lazy| lazy.size()).ok(), Some(size));
    assert_eq!(within(pixels - 1).map(|lazy| lazy.size()).unwrap_err().kind(), ErrorKind::Limit);

    let (first, asked) = measured(|| lazy.decode());
    assert!(asked <= allowed(size, bytes), "{asked} bytes for {size}");
    if let Ok(image) = &first {
        assert_eq!((image.size(), image.channels()), (size, lazy.channels()));
        scribble(image, dice.next_u32() as u8);
    }
    match (&first, &Image::decode(bytes, &options)) {
        (Ok(first), Ok(second)) => assert!(first == second, "pixels that change from one decode to the next"),
        (Err(first), second) => {
            refused(first, &OF_A_FILE);
            assert_eq!(text(second), format!("{first:?}"));
        }
        (Ok(_), Err(error)) => panic!("decoded once, and then: {error:?}"),
    }
}

/// How many bytes decoding may have at a time: a decoder works on whole blocks of up to 32 pixels, makes up to sixteen bytes a
/// pixel, and again as many meanwhile. The one of WebP reserves what a partition of a lossy frame is said to have, up to 16 MiB,
/// before it finds that the file is shorter.
fn allowed(size: Size, bytes: &[u8]) -> usize {
    let whole = |side: usize| side.next_multiple_of(32);
    let partition = if bytes.starts_with(b"RIFF") { 16 << 20 } else { 0 };
    BESIDE + partition + bytes.len() + 32 * whole(size.height) * whole(size.width) + 8 * size.height * size.width
}

/// Fills the memory that this thread keeps for images, so that a pixel which a decoder leaves out is seen.
fn scribble(like: &Image, value: u8) {
    let mut kept: Vec<Image> = (0..4).map(|_| like.crop(Rect::all(like.size())).expect("a copy")).collect();
    kept.iter_mut().for_each(|image| image.pixels_mut().fill(value));
}
