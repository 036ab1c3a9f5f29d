//! Whatever the bytes are, a parser refuses them or gives what they say: `fuzz/targets` says what that means.
//!
//! `make fuzz` looks for bytes of which that is not true. Here every target is given the fixtures, what was once found, and
//! all of these with damage that is the same each time.
#![cfg(feature = "vision")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use allocation_counter::measure;
use sutler::image::{ColorMode, DecodeOptions, Image};
use sutler::{ErrorKind, Ledger, LoaderState, SampleRng};

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use targets::TARGETS;

/// What to begin with; larger files take too long.
const MOST: usize = 4096;

fn within(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn files(folder: impl AsRef<Path>) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = within(folder).into_iter().filter(|path| path.is_file());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// What all targets begin with: most of it is nothing to most of them.
fn seeds() -> Vec<(PathBuf, Vec<u8>)> {
    let mut folders = within("fuzz/regressions");
    folders.extend(["fixtures/formats", "fixtures/bad", "fixtures/idx", "fuzz/seeds"].map(PathBuf::from));
    folders.iter().flat_map(files).filter(|(_, bytes)| bytes.len() <= MOST).collect()
}

/// Calls every target with `bytes`; says which of them panicked, and keeps what it was.
fn check(name: &dyn Fn() -> String, bytes: &[u8]) {
    for (target, run) in TARGETS {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(bytes))) {
            let path = std::env::temp_dir().join(format!("sutler-hostile-{target}"));
            fs::write(&path, bytes).unwrap();
            eprintln!("{target}, {}: the bytes are in {}", name(), path.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn what_is_whole_and_what_was_once_found_keeps_every_promise() {
    for (path, bytes) in seeds() {
        check(&|| path.display().to_string(), &bytes);
    }
}

#[test]
fn what_the_fuzzer_begins_with_is_what_it_is_called() {
    let seeds = files("fuzz/seeds");
    for (path, bytes) in &seeds {
        match path.extension().unwrap().to_str().unwrap() {
            "txt" => {
                let text = std::str::from_utf8(bytes).unwrap();
                assert!(text.parse::<LoaderState>().is_ok() || text.parse::<Ledger>().is_ok(), "{}", path.display());
            }
            "exif" => assert!(bytes.starts_with(b"II") || bytes.starts_with(b"MM"), "{}", path.display()),
            _ => {
                let image = Image::decode(bytes, &DecodeOptions::default());
                assert!(image.is_ok(), "{}: {image:?}", path.display());
            }
        }
    }
    assert!(seeds.len() > 20);
}

/// The TIFF decoder makes room for a tag's values, and the WebP decoder for a frame, before it finds that the file contradicts
/// itself.
#[test]
fn what_a_file_says_of_its_parts_is_not_believed() {
    for file in [
        "tiff/tag-of-six-million-values.tiff",
        "webp/frame-larger-than-the-picture.webp",
        "webp/animated-frame-larger-than-the-picture.webp",
        "webp/large-frame-by-another-name.webp",
    ] {
        let bytes = regression(file);
        let mut error = None;
        let asked = measure(|| error = Image::decode(&bytes, &DecodeOptions::default()).err()).bytes_max;
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Decode), "{file}");
        assert!(asked < 1 << 20, "{file}: {asked} bytes");
    }
}

/// zune-jpeg takes some files for whole whose data end early, and leaves the rest of the memory as it was.
#[test]
fn a_jpeg_whose_data_end_amid_its_rows_shows_nothing_of_the_image_before() {
    let bytes = regression("jpeg/tables-amid-the-rows.jpg");
    for mode in [ColorMode::Gray, ColorMode::Rgb, ColorMode::RgbAlpha] {
        let error = Image::decode(&bytes, &DecodeOptions::default().color_mode(mode)).unwrap_err();
        assert_eq!(error.to_string(), "cannot decode the JPEG: its data end before the last row");
    }
}

#[test]
fn what_is_cut_off_anywhere_keeps_every_promise() {
    for (path, bytes) in seeds().iter().filter(|(_, bytes)| bytes.len() <= 700) {
        // Every place in a short file.
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 350) {
            check(&|| format!("{} up to {end}", path.display()), &bytes[..end]);
        }
    }
}

#[test]
fn what_is_damaged_at_random_keeps_every_promise() {
    let seeds = seeds();
    for round in 0..4000 {
        let mut rng = SampleRng::new(1, 0, round);
        let (path, bytes) = &seeds[round % seeds.len()];
        let mut bytes = bytes.clone();
        damage(&mut bytes, &mut rng);
        check(&|| format!("{}, round {round}", path.display()), &bytes);
    }
}

/// A few bytes changed, most of them near the front, where headers are; sometimes a stretch doubled or left out.
fn damage(bytes: &mut Vec<u8>, rng: &mut SampleRng) {
    let len = bytes.len() as u32;
    if len < 2 {
        return;
    }
    for _ in 0..1 + rng.below(4) {
        let within = if rng.bernoulli(0.5) { len.min(64) } else { len };
        let at = rng.below(within) as usize;
        bytes[at] = match rng.below(4) {
            0 => 0,
            1 => 0xff,
            2 => bytes[at] ^ 1 << rng.below(8),
            _ => rng.next_u32() as u8,
        };
    }
    if rng.bernoulli(0.2) {
        let (a, b) = (rng.below(len) as usize, rng.below(len) as usize);
        let stretch = bytes[a.min(b)..a.max(b)].to_vec();
        match rng.bernoulli(0.5) {
            true => drop(bytes.splice(a..a, stretch)),
            false => drop(bytes.drain(a.min(b)..a.max(b))),
        }
    }
}

/// What the fuzzer found.
fn regression(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions").join(file)).unwrap()
}
