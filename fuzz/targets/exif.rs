//! EXIF data: which way up.

use sutler::image::{ColorMode, DecodeOptions, Image};

/// The same EXIF data turn a JPEG, a PNG and a WebP the same way, and only ever one of eight.
pub fn exif(data: &[u8]) {
    /// What a JPEG segment has room for.
    const MOST: usize = u16::MAX as usize - 8;
    if data.len() > MOST || !data.starts_with(b"II") && !data.starts_with(b"MM") {
        return;
    }
    let jpeg = include_bytes!("../../fixtures/formats/grey.jpg");
    let png = include_bytes!("../../fixtures/formats/grey.png");
    let webp = include_bytes!("../../fixtures/formats/lossless.webp");

    let mut segment = b"\xff\xe1".to_vec();
    segment.extend(((data.len() + 8) as u16).to_be_bytes());
    segment.extend(b"Exif\0\0");
    segment.extend(data);
    let jpeg = [&jpeg[..2], &segment, &jpeg[2..]].concat();

    let mut chunk = (data.len() as u32).to_be_bytes().to_vec();
    chunk.extend(b"eXIf");
    chunk.extend(data);
    chunk.extend(crc32(&chunk[4..]).to_be_bytes());
    let png = [&png[..33], &chunk, &png[33..]].concat(); // behind IHDR

    let mut webp = webp.to_vec();
    webp.extend(b"EXIF");
    webp.extend((data.len() as u32).to_le_bytes());
    webp.extend(data);
    webp.resize(webp.len().next_multiple_of(2), 0);
    let riff = (webp.len() - 8) as u32;
    webp[4..8].copy_from_slice(&riff.to_le_bytes());

    let turned = [jpeg, png, webp].map(|file| turned(&file));
    assert!(turned[0] == turned[1] && turned[1] == turned[2], "JPEG, PNG and WebP are turned by {turned:?}");
}

/// By which of the eight orientations a file is turned.
fn turned(file: &[u8]) -> u8 {
    let decoded = |honoured| {
        let options = DecodeOptions::default().color_mode(ColorMode::Gray).exif_orientation(honoured);
        Image::decode(file, &options).expect("EXIF data are no reason to refuse a picture")
    };
    let (stored, picture) = (decoded(false), decoded(true));
    let (height, width) = (stored.height(), stored.width());
    let shown = |orientation: u8| {
        let (rows, columns) = if orientation > 4 { (width, height) } else { (height, width) };
        let mut pixels = Vec::with_capacity(rows * columns);
        for y in 0..rows {
            for x in 0..columns {
                // EXIF 2.32, Orientation: where this pixel of the picture is stored.
                let (row, column) = match orientation {
                    1 => (y, x),
                    2 => (y, width - 1 - x),
                    3 => (height - 1 - y, width - 1 - x),
                    4 => (height - 1 - y, x),
                    5 => (x, y),
                    6 => (height - 1 - x, y),
                    7 => (height - 1 - x, width - 1 - y),
                    _ => (x, width - 1 - y),
                };
                pixels.push(stored.pixels()[row * width + column]);
            }
        }
        Image::new((rows, columns), 1, pixels).expect("as many pixels")
    };
    (1..=8).find(|&orientation| shown(orientation) == picture).expect("turned by one of eight")
}

/// The checksum of a PNG chunk (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
