//! A region of a JPEG is the same part of the whole, bit for bit, whatever the file is like.
//!
//! With feature `turbojpeg` only the region is decoded; without it, all of it: the promise is the same.
#![cfg(feature = "vision")]

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;
use sutler::SampleRng;
use sutler::image::{ColorMode, DecodeOptions, Image, ImageSource, Interpolation, LazyImage, Rect, Resampling, Size};
use sutler::transform::{CenterCrop, Resize, Transform};

/// A JPEG file in the making.
#[derive(Clone, Debug)]
struct Picture {
    height: usize,
    width: usize,
    kind: ColorType,
    sampling: SamplingFactor,
    progressive: bool,
    /// In blocks; 0 is never.
    restart: u16,
    quality: u8,
    /// How much noise there is on a gradient.
    noise: usize,
    /// The EXIF tag; 0 is none.
    orientation: u8,
    seed: usize,
}

impl Picture {
    fn file(&self) -> Vec<u8> {
        let channels = match self.kind {
            ColorType::Luma => 1,
            ColorType::Cmyk | ColorType::CmykAsYcck => 4,
            _ => 3,
        };
        let mut rng = SampleRng::new(self.seed as u64, 0, 0);
        let mut pixels = Vec::with_capacity(self.height * self.width * channels);
        for y in 0..self.height {
            for x in 0..self.width {
                for channel in 0..channels {
                    let noise = rng.next_u32() as usize % (self.noise + 1);
                    pixels.push((y * (channel + 1) + x * (5 - channel) + noise) as u8);
                }
            }
        }
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, self.quality);
        encoder.set_sampling_factor(self.sampling);
        encoder.set_progressive(self.progressive);
        encoder.set_restart_interval(self.restart);
        if self.orientation > 0 {
            encoder.add_app_segment(1, exif(self.orientation)).unwrap();
        }
        encoder.encode(&pixels, self.width as u16, self.height as u16, self.kind).unwrap();
        file
    }
}

/// A TIFF header, and a directory with one entry: tag 0x0112, a short, one of them.
fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    exif
}

const SAMPLINGS: [SamplingFactor; 8] = [
    SamplingFactor::R_4_4_4,
    SamplingFactor::R_4_2_2,
    SamplingFactor::R_4_2_0,
    SamplingFactor::R_4_4_0,
    SamplingFactor::R_4_1_1,
    SamplingFactor::R_4_4_1,
    SamplingFactor::R_4_1_0,
    SamplingFactor::R_4_2_1,
];

fn pictures() -> impl Strategy<Value = Picture> {
    let kinds = prop_oneof![
        6 => Just(ColorType::Rgb), 1 => Just(ColorType::Luma), 1 => Just(ColorType::Cmyk), 1 => Just(ColorType::CmykAsYcck)
    ];
    let size = (1..=150_usize, 1..=150_usize);
    let restart = prop_oneof![Just(0), Just(1), Just(3), Just(7)];
    (size, kinds, 0..SAMPLINGS.len(), any::<bool>(), restart, 20..=100_u8, 0..=255_usize, 0..=8_u8, any::<usize>())
        .prop_map(|((height, width), kind, sampling, progressive, restart, quality, noise, orientation, seed)| {
            Picture {
                height,
                width,
                kind,
                // Inks at different resolutions are nothing that any program writes, and zune-jpeg has no answer to it.
                sampling: SAMPLINGS[if kind == ColorType::Cmyk { 0 } else { sampling }],
                progressive,
                restart,
                quality,
                noise,
                orientation,
                seed,
            }
        })
}

/// Rectangles at every edge and anywhere, as shares of the image in thousandths.
fn rects() -> impl Strategy<Value = Vec<[usize; 4]>> {
    let share = || prop_oneof![2 => 0..=1000_usize, 1 => Just(0), 1 => Just(1000)];
    prop::collection::vec([share(), share(), share(), share()], 12)
}

fn rect([top, left, bottom, right]: [usize; 4], size: Size) -> Rect {
    let span = |a: usize, b: usize, len: usize| {
        let (from, to) = (a.min(b) * (len - 1) / 1000, a.max(b) * len / 1000);
        (from as isize, to.saturating_sub(from).max(1))
    };
    let ((top, height), (left, width)) = (span(top, bottom, size.height), span(left, right, size.width));
    Rect { top, left, height, width }
}

fn lazy(file: &[u8], options: &DecodeOptions) -> LazyImage {
    LazyImage::new(file.to_vec(), options).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(feature = "turbojpeg") { 96 } else { 24 }))]

    #[test]
    fn a_region_is_a_crop_of_the_whole(picture in pictures(), rects in rects(), mode in 0..3_usize) {
        let mode = [ColorMode::Rgb, ColorMode::Gray, ColorMode::RgbAlpha][mode];
        let options = DecodeOptions::default().color_mode(mode);
        let file = lazy(&picture.file(), &options);
        let whole = file.decode().unwrap();
        prop_assert_eq!((whole.size(), whole.channels()), (file.size(), mode.channels()));
        for shares in rects {
            let rect = rect(shares, file.size());
            prop_assert!(file.decode_region(rect).unwrap() == whole.crop(rect).unwrap(), "{:?}", rect);
            let outside = Rect { top: rect.top - 9, left: rect.left - 3, height: rect.height + 20, width: rect.width + 5 };
            prop_assert!(file.decode_region(outside).unwrap() == whole.crop(outside).unwrap(), "{:?}", outside);
            for size in [Size::from(16), Size::from((150, 7))] {
                let resized = file.decode_resized_crop(rect, size, Interpolation::Bilinear).unwrap();
                let expected = whole.resized_crop(rect, size, Interpolation::Bilinear).unwrap();
                prop_assert!(resized == expected, "{:?} to {}", rect, size);
            }
        }
    }

    #[test]
    fn a_crop_of_a_lazy_resize_is_a_crop_of_the_resized_whole(
        picture in pictures(), size in 4..90_usize, shares in rects(), how in 0..12_usize, mode in 0..3_usize,
    ) {
        use Interpolation::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
        let interpolation = [Nearest, Box, Bilinear, Hamming, Bicubic, Lanczos][how / 2];
        let resampling = Resampling { interpolation, antialias: how % 2 == 0 };
        let mode = [ColorMode::Rgb, ColorMode::Gray, ColorMode::RgbAlpha][mode];
        let options = DecodeOptions::default().color_mode(mode);
        let (file, size) = (picture.file(), Size::from((size, size + 3)));
        let whole = Image::decode(&file, &options).unwrap();
        let expected = whole.resize(size, resampling).unwrap();
        for shares in &shares {
            let rect = rect(*shares, size);
            // What a worker decoded before is not to be seen.
            let white = vec![255; whole.pixels().len()];
            drop(Image::new(whole.size(), whole.channels(), white).unwrap());
            let resized = lazy(&file, &options).into_resized(size, resampling).unwrap();
            prop_assert!(resized.into_crop(rect).unwrap() == expected.crop(rect).unwrap(), "{:?} {:?}", resampling, rect);
        }
    }

    #[test]
    fn resize_and_center_crop_of_a_lazy_image_are_those_of_the_decoded_one(picture in pictures(), size in 4..90_usize) {
        let file = picture.file();
        let (transform, rng) = ((Resize::new(size), CenterCrop::new(size - 2)), &mut SampleRng::new(0, 0, 0));
        let of_lazy = transform.apply(lazy(&file, &DecodeOptions::default()), rng);
        let of_image = transform.apply(Image::decode(&file, &DecodeOptions::default()).unwrap(), rng);
        prop_assert_eq!(of_lazy.as_ref().ok(), of_image.as_ref().ok());
    }
}

#[test]
fn every_region_of_small_images_is_a_crop_of_the_whole() {
    for (kind, sampling) in
        SAMPLINGS.map(|sampling| (ColorType::Rgb, sampling)).into_iter().chain([(ColorType::Luma, SAMPLINGS[0])])
    {
        for (height, width) in [(1, 1), (2, 3), (18, 5), (9, 34)] {
            for progressive in [false, true] {
                let picture = Picture {
                    height,
                    width,
                    kind,
                    sampling,
                    progressive,
                    restart: 0,
                    quality: 90,
                    noise: 255,
                    orientation: 0,
                    seed: 3,
                };
                let file = lazy(&picture.file(), &DecodeOptions::default());
                let whole = file.decode().unwrap();
                for top in 0..height {
                    for left in 0..width {
                        for rows in [1, height - top] {
                            for columns in 1..=width - left {
                                let rect =
                                    Rect { top: top as isize, left: left as isize, height: rows, width: columns };
                                assert!(
                                    file.decode_region(rect).unwrap() == whole.crop(rect).unwrap(),
                                    "{picture:?} {rect:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A progressive file may end after any scan. libjpeg then smooths over the blocks around, whatever the region.
#[test]
fn a_region_of_a_file_with_few_scans_is_a_crop_of_the_whole() {
    for sampling in SAMPLINGS {
        let picture = Picture {
            height: 77,
            width: 121,
            kind: ColorType::Rgb,
            sampling,
            progressive: true,
            restart: 0,
            quality: 85,
            noise: 40,
            orientation: 0,
            seed: 9,
        };
        let full = picture.file();
        let scans: Vec<usize> = (0..full.len() - 1).filter(|&at| full[at..at + 2] == [0xff, 0xda]).collect();
        for &end in &scans[1..scans.len().min(5)] {
            let file = [&full[..end], &[0xff, 0xd9]].concat();
            let file = lazy(&file, &DecodeOptions::default());
            let whole = match file.decode() {
                Ok(whole) => whole,
                // zune-jpeg may want all scans.
                Err(_) if !cfg!(feature = "turbojpeg") => continue,
                Err(error) => panic!("{error}"),
            };
            for top in (0..77).step_by(19) {
                for left in 0..121 {
                    let rect =
                        Rect { top, left, height: (77 - top as usize).min(20), width: (121 - left as usize).min(15) };
                    assert!(
                        file.decode_region(rect).unwrap() == whole.crop(rect).unwrap(),
                        "{sampling:?} {end} {rect:?}"
                    );
                }
            }
        }
    }
}

#[cfg(feature = "turbojpeg")]
mod turbojpeg {
    use super::*;
    use sutler::image::JpegDecoder;

    fn photo(progressive: bool) -> Picture {
        Picture {
            height: 240,
            width: 320,
            kind: ColorType::Rgb,
            sampling: SamplingFactor::R_4_2_0,
            progressive,
            restart: 0,
            quality: 90,
            noise: 60,
            orientation: 0,
            seed: 1,
        }
    }

    /// Which shows that no more than the region is decoded, and what that means.
    #[test]
    fn damage_below_a_region_is_not_seen_and_damage_above_is() {
        let mut file = photo(false).file();
        let len = file.len();
        file[len * 3 / 4..len * 3 / 4 + 40].fill(0xff);
        let lazy = lazy(&file, &DecodeOptions::default());
        assert!(lazy.decode().is_err());
        let band = |top| lazy.decode_region(Rect { top, left: 0, height: 16, width: 320 });
        let whole = super::lazy(&photo(false).file(), &DecodeOptions::default()).decode().unwrap();
        assert!(band(16).unwrap() == whole.crop(Rect { top: 16, left: 0, height: 16, width: 320 }).unwrap());
        assert!(band(224).is_err());
    }

    #[test]
    fn the_decoder_is_the_users_choice() {
        let file = photo(false).file();
        let decoded = |decoder| Image::decode(&file, &DecodeOptions::default().jpeg_decoder(decoder)).unwrap();
        let (turbo, zune) = (decoded(JpegDecoder::TurboJpeg), decoded(JpegDecoder::ZuneJpeg));
        assert!(turbo == Image::decode(&file, &DecodeOptions::default()).unwrap());
        let off = turbo.pixels().iter().zip(zune.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!((1..60).contains(&off), "{off}");
    }

    /// A picture that is hardly more than its corners: what is off by part of a pixel is off by as much of a level.
    fn slope(orientation: u8) -> Vec<u8> {
        let (height, width) = (1200, 1601);
        let pixels: Vec<u8> =
            (0..height * width).flat_map(|at| [at % width / 8, at / width / 8, 128].map(|v| v as u8)).collect();
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, 100);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        if orientation > 0 {
            encoder.add_app_segment(1, exif(orientation)).unwrap();
        }
        encoder.encode(&pixels, width as u16, height as u16, ColorType::Rgb).unwrap();
        file
    }

    #[test]
    fn a_scaled_decode_is_the_exact_one_but_for_rounding_and_only_where_it_is_smaller() {
        for orientation in [0, 3, 6] {
            let file = slope(orientation);
            let scaled = lazy(&file, &DecodeOptions::default().scaled_decode(true));
            let exact = lazy(&file, &DecodeOptions::default());
            let mut identical = Vec::new();
            for (shift, (height, width)) in
                [(1000, 900), (700, 610), (448, 449), (447, 800), (224, 224), (223, 300)].into_iter().enumerate()
            {
                // On and off the grid of the scaled pixels.
                let rect = Rect { top: 77 + shift as isize, left: 96 + shift as isize, height, width };
                let of = |image: &LazyImage| image.decode_resized_crop(rect, 224, Interpolation::Bilinear).unwrap();
                let (scaled, exact) = (of(&scaled), of(&exact));
                let off = scaled.pixels().iter().zip(exact.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                // A shift of half a scaled pixel at 1/4 would be 2 source pixels, a quarter of a level: it is the mean
                // that tells, over all values.
                let sum = |image: &Image| image.pixels().iter().map(|&value| f64::from(value)).sum::<f64>();
                let mean = (sum(&scaled) - sum(&exact)) / exact.pixels().len() as f64;
                assert!(off <= 2 && mean.abs() < 0.06, "{off} {mean} of {rect:?}");
                identical.push(scaled == exact);
            }
            assert_eq!(identical, [false, false, false, true, true, true]);
            let absurd = scaled.decode_resized_crop(Rect::all(exact.size()), (usize::MAX, 4), Interpolation::Bilinear);
            assert!(absurd.is_err());
        }
    }

    /// What one file leaves in the decoder is nothing to the next.
    #[test]
    fn a_good_file_is_the_same_after_any_bad_one() {
        let good = Picture { height: 64, width: 64, ..photo(false) }.file();
        let other = Picture { height: 32, width: 48, ..photo(false) }.file();
        let decode = |file: &[u8]| Image::decode(file, &DecodeOptions::default()).map(|image| image.pixels().to_vec());
        let expected = [decode(&good).unwrap(), decode(&other).unwrap()];
        let behind_start = |segment: &[u8]| [&good[..2], segment, &good[2..]].concat();
        let table = good.windows(2).position(|pair| pair == [0xff, 0xc4]).unwrap();
        let frame = good.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        let mut huffman = good.clone();
        huffman[table + 4] = 0xff;
        let mut version = good.clone();
        version[11] = 9;
        let no_scan = [&good[..frame + 19], &[0xff, 0xd9]].concat();
        let bad = [
            behind_start(&[0xff, 0x02, 0, 4, 1, 1]),
            behind_start(&[1, 2, 3]),
            huffman,
            version,
            no_scan,
            good[..good.len() / 2].to_vec(),
            [&good[..good.len() / 2], &[0xff, 0xd9]].concat(),
            [&good[..good.len() - 2], &[1, 2, 3, 0xff, 0xd9]].concat(),
        ];
        for (number, bad) in bad.iter().enumerate() {
            let _ = decode(bad);
            assert!(decode(&good).unwrap() == expected[0], "after file {number}");
            let _ = decode(bad);
            assert!(decode(&other).unwrap() == expected[1], "after file {number}");
        }
    }
}

/// Cameras and programs leave bytes there; PIL shows such files, and they are not damaged.
#[test]
fn stray_bytes_before_the_end_change_nothing() {
    let picture = Picture {
        height: 60,
        width: 90,
        kind: ColorType::Rgb,
        sampling: SamplingFactor::R_4_2_0,
        progressive: false,
        restart: 0,
        quality: 90,
        noise: 60,
        orientation: 0,
        seed: 1,
    };
    let file = picture.file();
    let stray = [&file[..file.len() - 2], &[1, 2, 3, 4, 0xff, 0xd9]].concat();
    let (whole, stray) = (lazy(&file, &DecodeOptions::default()), lazy(&stray, &DecodeOptions::default()));
    assert!(stray.decode().unwrap() == whole.decode().unwrap());
    for top in [0, 30, 50] {
        let rect = Rect { top, left: 11, height: 10, width: 40 };
        assert!(stray.decode_region(rect).unwrap() == whole.decode_region(rect).unwrap(), "{top}");
    }
}

#[test]
fn a_file_that_contradicts_itself_is_refused_in_part_as_in_whole() {
    let file = Picture {
        height: 64,
        width: 64,
        kind: ColorType::Rgb,
        sampling: SamplingFactor::R_4_4_4,
        progressive: false,
        restart: 0,
        quality: 90,
        noise: 60,
        orientation: 0,
        seed: 1,
    }
    .file();
    // A frame header of another size before the real one, of a kind that no decoder knows.
    let frame = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let mut other = file[frame..frame + 19].to_vec();
    other[1] = 0xc5;
    other[5..9].copy_from_slice(&[0, 128, 0, 128]);
    let lazy = lazy(&[&file[..frame], &other, &file[frame..]].concat(), &DecodeOptions::default());
    assert_eq!(lazy.size(), Size::from(128));
    assert!(lazy.decode().is_err());
    assert!(lazy.decode_region(Rect { top: 30, left: 30, height: 60, width: 60 }).is_err());
}
