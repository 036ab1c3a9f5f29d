//! The committed fixtures are what their generator makes.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fixtures/generate.rs"]
mod generate;

fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => found.push((path.strip_prefix(root).unwrap().to_path_buf(), fs::read(&path).unwrap())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn fixtures_are_reproducible_byte_for_byte() {
    let fresh = tempfile::tempdir().unwrap();
    generate::generate(fresh.path()).unwrap();
    for folder in ["shapes", "idx", "bad"] {
        let committed = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder));
        let made = files(&fresh.path().join(folder));
        let names = |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        assert_eq!(names(&committed), names(&made), "files in {folder}");
        for ((path, committed), (_, made)) in committed.iter().zip(&made) {
            assert!(committed == made, "{folder}/{} differs from what the generator makes", path.display());
        }
    }
}
