//! Files of every format decode to the pixels that Pillow decodes them to: `fixtures/formats`, made by the script there.
#![cfg(feature = "vision")]

use std::fs;
use std::path::{Path, PathBuf};

use allocation_counter::measure;
use serde::Deserialize;
use sutler::ErrorKind;
use sutler::image::{ColorMode, DecodeOptions, Image, JpegDecoder, LazyImage, Limits, Rect, Size};

/// A line of `manifest.jsonl`.
#[derive(Deserialize)]
struct Row {
    file: String,
    height: usize,
    width: usize,
    #[serde(rename = "L")]
    gray: usize,
    #[serde(rename = "RGB")]
    rgb: usize,
    #[serde(rename = "RGBA")]
    rgb_alpha: usize,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/formats")
}

fn rows() -> Vec<Row> {
    let manifest = fs::read_to_string(folder().join("manifest.jsonl")).unwrap();
    manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// By how many levels a file's pixels may be off. zune-jpeg's inverse transform and chroma interpolation round differently from
/// libjpeg-turbo's, which is also Pillow's.
fn tolerance(file: &str) -> u8 {
    match file.ends_with(".jpg") && !cfg!(feature = "turbojpeg") {
        true => 2,
        false => 0,
    }
}

#[test]
fn every_format_decodes_to_pillows_pixels_in_every_mode() {
    let expected = fs::read(folder().join("expected.bin")).unwrap();
    let rows = rows();
    let mut problems = Vec::new();
    for row in &rows {
        let bytes = fs::read(folder().join(&row.file)).unwrap();
        for (mode, start) in
            [(ColorMode::Gray, row.gray), (ColorMode::Rgb, row.rgb), (ColorMode::RgbAlpha, row.rgb_alpha)]
        {
            let image = match Image::decode(&bytes, &DecodeOptions::default().color_mode(mode)) {
                Ok(image) => image,
                Err(error) => {
                    problems.push(format!("{} {mode:?}: {error}", row.file));
                    continue;
                }
            };
            let expected = &expected[start..][..row.height * row.width * mode.channels()];
            if (image.size(), image.channels()) != (Size::from((row.height, row.width)), mode.channels()) {
                problems.push(format!("{} {mode:?}: {image:?}", row.file));
                continue;
            }
            let off: Vec<u8> = image.pixels().iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).collect();
            let (most, count) = (off.iter().max().unwrap(), off.iter().filter(|&&off| off > 0).count());
            if *most > tolerance(&row.file) {
                problems.push(format!("{} {mode:?}: {count} of {} off by up to {most}", row.file, off.len()));
            }
        }
    }
    assert!(rows.len() >= 40 && problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_lazy_image_of_any_format_gives_the_same_pixels_and_knows_its_size() {
    for row in rows() {
        let path = folder().join(&row.file);
        let whole = Image::decode(&fs::read(&path).unwrap(), &DecodeOptions::default()).unwrap();
        let lazy = LazyImage::open(&path, &DecodeOptions::default()).unwrap();
        assert_eq!(lazy.size(), whole.size(), "{}", row.file);
        assert!(lazy.decode().unwrap() == whole, "{}", row.file);
        let rect = Rect { top: 3, left: 4, height: 11, width: 9 };
        assert!(lazy.decode_region(rect).unwrap() == whole.crop(rect).unwrap(), "{}", row.file);
    }
}

#[test]
fn an_orientation_is_honoured_unless_it_is_not_wanted() {
    let decoded = |number: usize, honoured| {
        let bytes = fs::read(folder().join(format!("oriented-{number}.jpg"))).unwrap();
        Image::decode(&bytes, &DecodeOptions::default().exif_orientation(honoured)).unwrap()
    };
    let stored = decoded(1, true);
    assert_eq!(stored.size(), Size::from((17, 29)));
    for number in 1..=8 {
        assert!(decoded(number, false) == stored, "{number}");
        assert_eq!(decoded(number, true) == stored, number == 1, "{number}");
        let turned = decoded(number, true).size() == Size::from((29, 17));
        assert_eq!(turned, number >= 5, "{number}");
    }
}

/// A header is a few bytes, and may claim anything.
#[test]
fn absurd_sizes_are_refused_before_anything_is_allocated() {
    let patched = |name: &str, at: usize, bytes: &[u8]| {
        let mut file = fs::read(folder().join(name)).unwrap();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        (name.to_string(), file)
    };
    let (tiff_name, mut tiff) = patched("raw.tiff", 0, b"II");
    // Width and height are the first entries of the directory: the value is at byte 8 of each twelve.
    let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize + 2;
    for entry in [directory, directory + 12] {
        assert!([0x100, 0x101].contains(&u16::from_le_bytes(tiff[entry..entry + 2].try_into().unwrap())));
        tiff[entry + 2..entry + 4].copy_from_slice(&4_u16.to_le_bytes()); // a long
        tiff[entry + 8..entry + 12].copy_from_slice(&900_000_u32.to_le_bytes());
    }
    let (png_name, mut png) = patched("rgb.png", 16, &[0, 0xf0, 0, 0, 0, 0xf0, 0, 0]);
    let checksum = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&checksum);
    for (name, file) in [
        patched("palette.gif", 6, &[0xff; 4]),
        patched("rgb.bmp", 18, &[0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0]),
        (tiff_name, tiff),
        (png_name, png),
        ("rgb.ppm".into(), b"P6 999999 999999 255\n".to_vec()),
        patched("grey.jpg", frame_header(&fs::read(folder().join("grey.jpg")).unwrap()) + 5, &[0xff; 4]),
    ] {
        let mut error = None;
        let asked = measure(|| error = Image::decode(&file, &DecodeOptions::default()).err()).bytes_max;
        let error = error.expect(&name);
        assert!(asked < 1 << 20, "{name}: {asked} bytes");
        // In a TIFF, the number of its strips contradicts the size, which its decoder notices first.
        let kind = if name == "raw.tiff" { ErrorKind::Decode } else { ErrorKind::Limit };
        assert_eq!(error.kind(), kind, "{name}: {error}");
        let lazy = LazyImage::new(file, &DecodeOptions::default()).expect_err(&name);
        assert_eq!(lazy.kind(), kind, "{name}: {lazy}");
    }
}

/// What is beside the pixels may claim to be anything as well, and be packed tightly.
#[test]
fn what_a_file_has_beside_its_pixels_is_bounded() {
    let bomb = fs::read(folder().join("profile-bomb.png")).unwrap();
    let mut webp = fs::read(folder().join("oriented.webp")).unwrap();
    let exif = (0..webp.len()).find(|&at| webp[at..].starts_with(b"EXIF")).unwrap();
    webp[exif + 4..exif + 8].copy_from_slice(&0xfff0_0000_u32.to_le_bytes());
    webp[4..8].copy_from_slice(&0xffff_fffe_u32.to_le_bytes());
    for (name, file) in [("PNG", bomb), ("WebP", webp)] {
        // Decoded or refused: either is an answer.
        let asked = measure(|| drop(Image::decode(&file, &DecodeOptions::default()))).bytes_max;
        assert!(asked < 10 << 20, "{name}: {asked} bytes");
        let asked = measure(|| drop(LazyImage::new(file.clone(), &DecodeOptions::default()))).bytes_max;
        assert!(asked < 1 << 20, "the header of the {name}: {asked} bytes");
    }
}

/// The EXIF data are behind the pixels of a WebP, which are all there.
#[test]
fn a_webp_that_has_lost_its_end_is_refused_and_not_shown_another_way_up() {
    for name in ["oriented.webp", "lossy.webp", "lossless.webp", "alpha.webp"] {
        let file = fs::read(folder().join(name)).unwrap();
        Image::decode(&file, &DecodeOptions::default()).unwrap();
        for end in 0..file.len() {
            let error = Image::decode(&file[..end], &DecodeOptions::default()).expect_err(&format!("{name} to {end}"));
            assert_eq!(error.kind(), ErrorKind::Decode);
        }
    }
}

/// A decoder may quote the line that it does not understand, and the line may be all of the file.
#[test]
fn what_an_error_quotes_of_a_file_is_cut_off() {
    let file = [b"P7\n".to_vec(), vec![b'x'; 1 << 20], b"\n".to_vec()].concat();
    let mut error = None;
    let asked = measure(|| error = Image::decode(&file, &DecodeOptions::default()).err()).bytes_max;
    let text = error.unwrap().to_string();
    assert!(text.starts_with("cannot decode the PBM: ") && text.ends_with("xxx…") && text.len() < 600, "{text}");
    assert!(asked < 4 << 20, "{asked} bytes");
}

/// A picture may look like the memory that was to show whether it was written.
#[test]
fn a_jpeg_of_a_single_grey_is_decoded_whichever_it_is() {
    for grey in 0..=255 {
        let mut file = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut file, 100);
        encoder.encode(&[grey; 17 * 5], 17, 5, jpeg_encoder::ColorType::Luma).unwrap();
        let options = DecodeOptions::default().color_mode(ColorMode::Gray).jpeg_decoder(JpegDecoder::ZuneJpeg);
        let image = Image::decode(&file, &options).unwrap();
        assert!(image.pixels().iter().all(|value| value.abs_diff(grey) <= 1), "{grey}: {:?}", &image.pixels()[..17]);
    }
}

/// Where a JPEG's frame header begins.
fn frame_header(file: &[u8]) -> usize {
    (0..).find(|&at| file[at] == 0xff && matches!(file[at + 1], 0xc0 | 0xc2)).unwrap()
}

/// The checksum of a PNG chunk (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn a_file_of_endless_scans_is_refused() {
    let file = fs::read(folder().join("progressive.jpg")).unwrap();
    // The last scan again and again: each is valid, and costs a pass over the image.
    let last = (0..file.len() - 1).rfind(|&at| file[at..at + 2] == [0xff, 0xda]).unwrap();
    let scan = &file[last..file.len() - 2];
    let bomb = [&file[..file.len() - 2], &scan.repeat(1000), &[0xff, 0xd9]].concat();
    assert!(Image::decode(&file, &DecodeOptions::default()).is_ok());
    assert_eq!(Image::decode(&bomb, &DecodeOptions::default()).unwrap_err().kind(), ErrorKind::Limit);
    // The limit is the user's, to the scan.
    let scans = file.windows(2).filter(|pair| *pair == [0xff, 0xda]).count();
    let within = |scans| Image::decode(&file, &DecodeOptions::default().limits(Limits::default().max_scans(scans)));
    assert!(scans > 3 && within(scans).is_ok());
    assert_eq!(within(scans - 1).unwrap_err().kind(), ErrorKind::Limit);
}

/// The tables of a JPEG (quantisation or Huffman): where their segments are.
fn tables(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut tables, mut at) = (Vec::new(), 2);
    while file[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        if matches!(file[at + 1], 0xdb | 0xc4) {
            tables.push(at..end);
        }
        at = end;
    }
    tables
}

#[test]
fn a_jpeg_without_tables_of_its_own_is_the_same_whatever_was_decoded_before() {
    let files: Vec<Vec<u8>> = ["grey.jpg", "cmyk.jpg", "progressive.jpg", "restarts.jpg", "adobe-rgb.jpg"]
        .iter()
        .map(|name| fs::read(folder().join(name)).unwrap())
        .collect();
    let decode = |file: &[u8]| Image::decode(file, &DecodeOptions::default()).map_err(|error| error.to_string());
    let mut missing = 0;
    for file in &files {
        for table in tables(file) {
            let lacking = [&file[..table.start], &file[table.end..]].concat();
            let alone = std::thread::scope(|scope| scope.spawn(|| decode(&lacking)).join().unwrap());
            for before in &files {
                decode(before).unwrap();
                assert!(decode(&lacking) == alone, "{alone:?}");
            }
            missing += 1;
        }
    }
    assert!(missing > 10);
}

#[cfg(feature = "turbojpeg")]
#[test]
fn a_jpeg_without_huffman_tables_has_the_standard_ones_as_in_pillow() {
    let file = fs::read(folder().join("restarts.jpg")).unwrap();
    let mut lacking = file.clone();
    tables(&file).into_iter().rev().filter(|table| file[table.start + 1] == 0xc4).for_each(|table| {
        lacking.drain(table);
    });
    assert!(lacking.len() < file.len() - 400);
    let decode = |file: &[u8]| Image::decode(file, &DecodeOptions::default()).unwrap();
    assert_eq!(decode(&lacking), decode(&file));
}
