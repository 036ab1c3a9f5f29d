//! The public API, as `docs/public-api.txt` lists it, is of this crate's own types and of those of std.
//! (`make public-api CHECK=1` sees to it that the page lists what there is.)

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What else a signature may begin a path with.
const OF_RUST: [&str; 3] = ["alloc", "core", "std"];
const PRIMITIVE: [&str; 17] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16", "u32", "u64", "u128",
    "usize",
];

/// What is listed only if the page was made with the feature.
const ONLY_WITH: [(&str, &str); 9] = [
    ("dlpack", "pub mod sutler::dlpack"),
    ("monitor", "pub mod sutler::monitor"),
    ("serde", "impl serde_core::ser::Serialize for sutler::LoaderState"),
    ("telemetry", "pub mod sutler::telemetry"),
    ("tch", "pub mod sutler::torch"),
    ("turbojpeg", "pub sutler::image::JpegDecoder::TurboJpeg"),
    ("vision", "pub mod sutler::image"),
    ("webhook", "pub struct sutler::telemetry::Webhook"),
    ("default", "pub mod sutler"),
];

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The names of crates in a line: what stands in front of a `::`, and behind none.
fn crates(line: &str) -> impl Iterator<Item = &str> {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let paths = line.split(move |c| !in_path(c)).filter_map(|path| path.split_once("::"));
    paths.map(|(root, _)| root).filter(|root| {
        root.starts_with(char::is_lowercase)
            && *root != "sutler"
            && !OF_RUST.contains(root)
            && !PRIMITIVE.contains(root)
    })
}

/// Whether what follows belongs to this line: an `impl`, a type, a trait, a module.
fn is_head(line: &str) -> bool {
    line.starts_with("impl")
        || line
            .split(' ')
            .take_while(|word| !word.contains("::"))
            .any(|word| ["struct", "enum", "union", "trait", "mod"].contains(&word))
}

/// Whether a line of what `head` begins may name the crate.
fn is_agreed(name: &str, line: &str, head: &str) -> bool {
    match name {
        "tch" => line.contains("sutler::torch::") || head.contains("sutler::torch::"),
        "serde_core" => {
            head.contains(" serde_core::ser::Serialize for ") || head.contains(" serde_core::de::Deserialize<")
        }
        _ => false,
    }
}

#[test]
fn no_dependency_is_named_in_the_public_api_but_tch_for_torch_and_serde_where_it_is_implemented() {
    let page = read("docs/public-api.txt");
    let mut named = BTreeSet::new();
    let mut head = "";
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        if is_head(line) {
            head = line;
        }
        // What is taken from another crate as it is; what is this crate's own is listed where it is exported.
        assert!(!line.starts_with("pub use "), "{line}");
        for name in crates(line) {
            assert!(is_agreed(name, line, head), "{name} in\n{line}\nof\n{head}");
            named.insert(name);
        }
    }
    assert_eq!(named, BTreeSet::from(["serde_core", "tch"]), "what is agreed on is there");
}

#[test]
fn the_page_lists_what_every_feature_adds() {
    let manifest = read("Cargo.toml");
    let table = manifest.split("\n[features]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let mut features: BTreeSet<&str> = table.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    assert!(features.remove("serve"), "which is an example's alone");
    assert_eq!(features, ONLY_WITH.iter().map(|&(feature, _)| feature).collect());

    let page = read("docs/public-api.txt");
    for (feature, listed) in ONLY_WITH {
        assert!(page.lines().any(|line| line == listed), "{feature}: {listed}");
    }
}
