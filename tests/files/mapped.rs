//! What happens to IDX files while they are mapped, and after they have been read.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use sutler::{Dataset, Idx, SampleRng};

use crate::alone::{again, alone, said};
use crate::folder::Folder;

/// A picture is as large as the largest of pages.
const SIDE: usize = 256;
const PICTURE: usize = SIDE * SIDE;
const COUNT: usize = 3;
const HEADER: usize = 16;

/// An IDX pair of pictures 1, 2 and 3, all of whose pixels say so.
fn pair() -> Folder {
    let folder = Folder::new();
    let sizes = [COUNT, SIDE, SIDE].map(|size| (size as u32).to_be_bytes());
    let pixels: Vec<u8> = (0..COUNT * PICTURE).map(|at| 1 + (at / PICTURE) as u8).collect();
    folder.write("images", &[&[0, 0, 8, 3][..], &sizes.concat(), &pixels].concat());
    folder.write("labels", &[0, 0, 8, 1, 0, 0, 0, COUNT as u8, 1, 2, 3]);
    folder
}

fn pixels(idx: &Idx, index: usize) -> Vec<u8> {
    let (image, label) = idx.get(index, &mut SampleRng::new(0, 0, index)).unwrap();
    assert_eq!(label, index as i64 + 1);
    image.pixels().to_vec()
}

fn is_as_it_was(idx: &Idx) -> bool {
    (0..COUNT).all(|index| pixels(idx, index) == vec![index as u8 + 1; PICTURE])
}

fn writable(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

#[test]
fn what_was_read_stays_whatever_happens_to_the_files() {
    let folder = pair();
    let idx = Idx::read(folder.path("images"), folder.path("labels")).unwrap();
    for name in ["images", "labels"] {
        let file = writable(&folder.path(name));
        file.write_all_at(&[99; 10], 8).unwrap();
        assert!(is_as_it_was(&idx));
        file.set_len(0).unwrap();
        assert!(is_as_it_was(&idx));
        fs::remove_file(folder.path(name)).unwrap();
        assert!(is_as_it_was(&idx));
    }
}

#[test]
fn what_is_mapped_stays_when_its_files_are_replaced_by_renaming_or_deleted() {
    let folder = pair();
    let idx = Idx::open(folder.path("images"), folder.path("labels")).unwrap();
    folder.write("new", b"text");
    fs::rename(folder.path("new"), folder.path("images")).unwrap();
    fs::remove_file(folder.path("labels")).unwrap();
    assert!(is_as_it_was(&idx));
}

#[test]
fn what_is_mapped_changes_with_its_file() {
    let folder = pair();
    let idx = Idx::open(folder.path("images"), folder.path("labels")).unwrap();
    let file = writable(&folder.path("images"));
    file.write_all_at(&[99; 3], (HEADER + PICTURE) as u64).unwrap();
    assert_eq!(pixels(&idx, 1), [&[99; 3][..], &[2; PICTURE - 3]].concat());

    // The last picture ends in a page of which the header has pushed its last sixteen pixels; half of them are cut off.
    file.set_len((HEADER + COUNT * PICTURE - 8) as u64).unwrap();
    assert_eq!(pixels(&idx, 2), [&[3; PICTURE - 8][..], &[0; 8]].concat());
    assert_eq!(pixels(&idx, 0), [1; PICTURE]);
}

#[test]
fn beyond_the_page_that_a_mapped_file_now_ends_in_is_sigbus() {
    const OPENED: &str = "a truncated file was mapped";
    if let Some(root) = alone() {
        let images = Path::new(&root).join("images");
        let idx = Idx::open(&images, Path::new(&root).join("labels")).unwrap();
        writable(&images).set_len((HEADER + PICTURE) as u64).unwrap();
        // What is still there is as it was.
        assert_eq!(pixels(&idx, 0), [1; PICTURE]);
        println!("{OPENED}");
        pixels(&idx, 2);
        return;
    }
    let folder = pair();
    let name = "mapped::beyond_the_page_that_a_mapped_file_now_ends_in_is_sigbus";
    let output = again(name, folder.root().to_str().unwrap()).output().unwrap();
    assert!(said(&output).contains(OPENED), "{}", said(&output));
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{}", said(&output));
}
