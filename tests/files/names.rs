//! Names that are no text, and paths that are too long.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sutler::image::{DecodeOptions, LazyImage};
use sutler::{Dataset, ErrorKind, Idx, ImageFolder};

use crate::folder::{Folder, epoch, error_of, loader};

fn name(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[test]
fn classes_and_files_whose_names_are_not_utf_8_are_loaded_and_named_in_errors() {
    let folder = Folder::new();
    // In the order of their bytes; in Latin-1, "é" and "è" come before "ÿ".
    let files =
        [&b"caf\xe8/1.ppm"[..], b"caf\xe9/\x80\xff.ppm", b"caf\xe9/\xf0.PPM", b"\xe9t\xe9/\xff/\xfe.ppm"].map(name);
    files.iter().enumerate().for_each(|(number, file)| folder.picture(file, number));
    folder.write(name(b"caf\xe9/no-image.pp\xff"), b"");
    folder.write(name(b".hidden-\xff/1.ppm"), b"");
    assert_eq!(folder.listed(), files);

    let images = folder.open().unwrap();
    assert_eq!(images.classes(), ["caf\u{fffd}", "caf\u{fffd}", "\u{fffd}t\u{fffd}"]);
    assert_eq!((0..4).map(|index| images.label(index)).collect::<Vec<_>>(), [0, 1, 1, 2]);
    let loader = loader(images, 2);
    assert_eq!(epoch(&loader).into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3]);

    std::fs::remove_file(folder.path(&files[2])).unwrap();
    let text = error_of(&epoch(&loader)[2], 2, &folder.path(&files[2]));
    assert!(text.contains("caf\u{fffd}/\u{fffd}.PPM): cannot read the file: No such file"), "{text}");
}

/// A folder with one picture whose path has `length` bytes, which cannot be said to the system if it is too long.
fn folder_with_a_path_of(length: usize) -> (Folder, PathBuf) {
    let folder = Folder::new();
    let class = "c".repeat(200);
    // Short at first: a long name is then given to the class, which all paths below it get longer by.
    let missing = length - folder.path(format!("{class}/0.ppm")).as_os_str().len();
    let (whole, rest) = (missing / 201 - 1, missing % 201 + 201);
    let mut below: Vec<String> = vec!["d".repeat(200); whole];
    below.extend([rest / 2, rest - rest / 2].map(|length| "e".repeat(length - 1)));
    let picture = Path::new(&below.join("/")).join("0.ppm");
    folder.picture(Path::new("c").join(&picture), 5);
    std::fs::rename(folder.path("c"), folder.path(&class)).unwrap();
    let path = folder.path(class).join(picture);
    assert_eq!(path.as_os_str().len(), length);
    (folder, path)
}

#[test]
fn a_path_may_be_as_long_as_the_system_allows_and_a_longer_one_is_an_error_that_names_it() {
    const ADVICE: &str = "File name too long (os error 36): move it to where its path is shorter";
    // PATH_MAX is 4096, of which the last byte ends the text.
    for length in [700, 1000, 4095] {
        let (folder, path) = folder_with_a_path_of(length);
        let results = epoch(&loader(folder.open().unwrap(), 1));
        assert_eq!(*results[0].as_ref().unwrap(), 5);
        assert_eq!(folder.open().unwrap().path(0), Some(path));
    }
    // Its directory can be listed, but the file cannot be opened.
    for length in [4096, 4097, 4101] {
        let (folder, path) = folder_with_a_path_of(length);
        let results = epoch(&loader(folder.open().unwrap(), 1));
        let text = error_of(&results[0], 0, &path);
        assert!(text.ends_with(ADVICE), "{text}");
    }
    // Nor can its directory be listed.
    for length in [4102, 4200] {
        let (folder, path) = folder_with_a_path_of(length);
        let error = folder.open().unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Io, path.parent()), "{error}");
        assert!(
            error.to_string().contains("cannot list the directory: ") && error.to_string().ends_with(ADVICE),
            "{error}"
        );
    }
}

#[test]
fn a_name_that_no_file_can_have_is_an_error_that_names_it() {
    let folder = Folder::new();
    for (name, reason) in [
        ("x".repeat(256), "File name too long"),
        ("x/".repeat(5000), "File name too long"),
        ("a\0b".to_string(), "unexpected NUL byte"),
        ("a/\0".repeat(300), "unexpected NUL byte"),
    ] {
        let path = folder.path(name);
        for error in [
            ImageFolder::open(&path).unwrap_err(),
            LazyImage::open(&path, &DecodeOptions::default()).unwrap_err(),
            Idx::open(&path, &path).unwrap_err(),
            Idx::read(&path, &path).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(&*path)), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}

#[test]
fn an_image_that_is_named_by_a_relative_path_is_named_by_its_absolute_one_in_errors() {
    let here = std::env::current_dir().unwrap();
    for (name, kind) in [("no/such.jpg", ErrorKind::Io), ("fixtures/bad/text.jpg", ErrorKind::Decode)] {
        let error = LazyImage::open(name, &DecodeOptions::default()).unwrap_err();
        assert_eq!((error.kind(), error.path()), (kind, Some(&*here.join(name))), "{error}");
    }
}
