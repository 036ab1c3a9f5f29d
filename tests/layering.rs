//! `src` keeps to the arrows that `docs/ARCHITECTURE.md` draws, and the drawing has none that the code does not use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The lines `name -> a, b, c` of the architecture page.
fn drawn() -> Arrows {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let arrows = page.lines().filter_map(|line| line.split_once(" -> "));
    let targets = |list: &str| list.split(", ").map(|name| name.trim().to_string()).collect();
    arrows.map(|(name, list)| (name.trim().to_string(), targets(list))).collect()
}

/// What each module of `src` names as `crate::module`, in code and not in comments or tests.
fn used() -> Arrows {
    let mut arrows = Arrows::new();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        if name == "lib" {
            continue;
        }
        let targets = arrows.entry(name.clone()).or_default();
        for file in rust_files(&path) {
            let text = fs::read_to_string(file).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for rest in line.split("crate::").skip(1) {
                    let target: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    // `crate::Result` and the like are the front page's names, for what lies in `error`.
                    if target.starts_with(char::is_lowercase) && target != name {
                        targets.insert(target);
                    }
                }
            }
        }
    }
    arrows.retain(|_, targets| !targets.is_empty());
    arrows
}

fn rust_files(path: &Path) -> Vec<std::path::PathBuf> {
    match path.is_dir() {
        false => vec![path.to_path_buf()],
        true => fs::read_dir(path).unwrap().flat_map(|entry| rust_files(&entry.unwrap().path())).collect(),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn modules_use_each_other_as_the_architecture_page_draws_it() {
    assert_eq!(used(), drawn(), "left: what src uses; right: what docs/ARCHITECTURE.md draws");
}

#[test]
fn the_drawing_has_no_circles() {
    let mut arrows = drawn();
    // Takes away what depends on nothing that is left, until nothing is left.
    while !arrows.is_empty() {
        let names: BTreeSet<String> = arrows.keys().cloned().collect();
        let before = arrows.len();
        arrows.retain(|_, targets| targets.iter().any(|target| names.contains(target)));
        assert!(arrows.len() < before, "a circle among {names:?}");
    }
}

#[test]
fn unsafe_code_is_where_the_architecture_page_says() {
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let relative = file.strip_prefix(root().join("src")).unwrap();
        let allowed = ["memory", "torch", "image/file/jpeg/turbo.rs"].iter().any(|place| relative.starts_with(place));
        let found = text.lines().find(|line| {
            let code = line.split("//").next().unwrap();
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|word| code.contains(word))
        });
        assert!(allowed || found.is_none(), "{}: {}", relative.display(), found.unwrap_or_default());
    }
}
