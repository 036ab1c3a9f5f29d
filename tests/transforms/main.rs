//! Every transform against torchvision 0.26 on PIL images: `fixtures/golden/transforms`, made by the script beside it.
//!
//! `GOLDEN_TRANSFORMS=DIR cargo test --test transforms` checks a folder of golden arrays of your own, which
//! `make golden-transforms IMAGES=DIR` makes of any pictures.
#![cfg(feature = "vision")]

mod color;
mod geometry;
mod policies;
mod tensors;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use sutler::Error;
use sutler::image::Image;

/// A line of `manifest.jsonl`.
#[derive(Deserialize)]
struct Row {
    image: String,
    transform: String,
    parameters: Value,
    /// What torchvision said; then there is no array.
    error: Option<String>,
    #[serde(default)]
    dtype: String,
    #[serde(default)]
    shape: Vec<usize>,
    #[serde(default)]
    file: String,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    length: usize,
}

/// What a transform made, in the order of the golden array's layout.
enum Output {
    Bytes(Vec<usize>, Vec<u8>),
    Floats(Vec<usize>, Vec<f32>),
}

impl From<Image> for Output {
    fn from(image: Image) -> Self {
        Output::Bytes(vec![image.height(), image.width(), image.channels()], image.pixels().to_vec())
    }
}

/// How far from torchvision a transform may be.
#[derive(Clone, Copy)]
struct Tolerance {
    /// Of any value, in levels.
    most: f64,
    /// The share of the values that may differ at all.
    share: f64,
    /// The share of those that may differ by more than one level.
    above_one: f64,
}

const EXACT: Tolerance = Tolerance { most: 0.0, share: 0.0, above_one: 0.0 };

/// A transform's name in the manifest, what applies it to an image, and how near the result must be.
type Check = (&'static str, fn(&Image, &Value) -> sutler::Result<Output>, Tolerance);

fn checks() -> impl Iterator<Item = &'static Check> {
    color::CHECKS.iter().chain(geometry::CHECKS).chain(policies::CHECKS).chain(tensors::CHECKS)
}

fn folder() -> PathBuf {
    match std::env::var_os("GOLDEN_TRANSFORMS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden/transforms"),
    }
}

/// What became of the rows of one transform.
#[derive(Default)]
struct Outcome {
    rows: usize,
    values: usize,
    different: usize,
    above_one: usize,
    most: f64,
    problems: Vec<String>,
}

#[test]
fn every_transform_is_torchvisions() {
    let folder = folder();
    let manifest = folder.join("manifest.jsonl");
    let manifest = fs::read_to_string(&manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    // A file has all arrays of an image, and its rows come together.
    let (mut file, mut sources) = ((String::new(), Vec::new()), HashMap::<String, Image>::new());
    let mut outcomes = BTreeMap::<String, Outcome>::new();
    for line in manifest.lines() {
        let row: Row = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let bytes: &[u8] = match row.error {
            Some(_) => &[],
            None => {
                if file.0 != row.file {
                    file = (row.file.clone(), fs::read(folder.join(&row.file)).expect("an array's file"));
                }
                &file.1[row.offset..row.offset + row.length]
            }
        };
        if row.transform == "input" {
            let image = Image::new((row.shape[0], row.shape[1]), row.shape[2], bytes.to_vec()).unwrap();
            sources.insert(row.image, image);
            continue;
        }
        let outcome = outcomes.entry(row.transform.clone()).or_default();
        let Some((_, apply, tolerance)) = checks().find(|(name, ..)| *name == row.transform) else { continue };
        outcome.rows += 1;
        let problem = |what: &str| format!("{} of {} {}: {what}", row.transform, row.image, row.parameters);
        // Parameters that are a mistake of the program's are an exception there and a panic here.
        let applied = catch_unwind(|| apply(&sources[&row.image], &row.parameters));
        match (applied.unwrap_or_else(|_| Err(Error::msg("it panics"))), &row.error) {
            (Ok(output), None) => match differences(&output, &row, bytes, tolerance) {
                Some(differences) => {
                    outcome.values += differences.len();
                    let above = |limit: f64| differences.iter().filter(|difference| **difference > limit).count();
                    outcome.different += above(0.0);
                    outcome.above_one += above(1.0);
                    outcome.most = differences.iter().copied().fold(outcome.most, f64::max);
                }
                None => outcome.problems.push(problem("another shape or type")),
            },
            (Err(_), Some(_)) => {}
            (Ok(_), Some(error)) => outcome.problems.push(problem(&format!("torchvision refuses it ({error})"))),
            (Err(error), None) => outcome.problems.push(problem(&error.to_string())),
        }
    }
    println!("{:<28} {:>6} {:>10} {:>10} {:>8}", "transform", "rows", "values", "different", "most");
    let mut problems = Vec::new();
    for (name, outcome) in outcomes {
        let Outcome { rows, values, different, above_one, most, .. } = outcome;
        println!("{name:<28} {rows:>6} {values:>10} {different:>10} {most:>8}");
        problems.extend(outcome.problems);
        match checks().find(|(checked, ..)| *checked == name) {
            None => problems.push(format!("{name}: nothing checks it")),
            Some((.., tolerance)) => {
                let allowed = |share: f64| (values as f64 * share).floor() as usize;
                if most > tolerance.most
                    || different > allowed(tolerance.share)
                    || above_one > allowed(tolerance.above_one)
                {
                    problems.push(format!(
                        "{name}: {different} of {values} values differ, {above_one} by more than one, the worst by {most}"
                    ));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// By how much each value is off; `None` where shape or type are others.
///
/// Where values may be off at all, a colour counts as far as its alpha lets it be seen. Alpha is divided out at the end:
/// one level before that is any number of levels of a colour that is hardly there.
fn differences(output: &Output, row: &Row, bytes: &[u8], tolerance: &Tolerance) -> Option<Vec<f64>> {
    match output {
        Output::Bytes(shape, values) if tolerance.most > 0.0 && *shape == row.shape && shape.ends_with(&[4]) => {
            let seen = |pixel: &[u8; 4]| pixel.map(|value| f64::from(value) * f64::from(pixel[3]) / 255.0);
            let pixels = values.as_chunks::<4>().0.iter().zip(bytes.as_chunks::<4>().0);
            let pixels = pixels.flat_map(|(a, b)| {
                (0..4).map(move |c| match c {
                    3 => f64::from(a[c].abs_diff(b[c])),
                    // The division cuts off less than a level.
                    _ => (seen(a)[c] - seen(b)[c]).abs().floor(),
                })
            });
            Some(pixels.collect())
        }
        Output::Bytes(shape, values) if row.dtype == "u8" && *shape == row.shape => {
            Some(values.iter().zip(bytes).map(|(a, b)| f64::from(a.abs_diff(*b))).collect())
        }
        Output::Floats(shape, values) if row.dtype == "f32" && *shape == row.shape => {
            let golden = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            // NaN is as far off as can be.
            let off = |(a, b): (&f32, f32)| match f64::from((a - b).abs()) {
                off if off.is_nan() => f64::INFINITY,
                off => off,
            };
            Some(values.iter().zip(golden).map(off).collect())
        }
        _ => None,
    }
}
