//! Few files may be open, or none.

use std::fs::File;
use std::path::Path;

use sutler::{Dataset, ErrorKind, Idx, ImageFolder, Ledger, Loader};

use crate::alone::{again_within, alone, passed};
use crate::folder::{Folder, epoch, error_of, loader, numbers, system_code};

const MOST: usize = 64;
const WORKERS: usize = 16;

/// All the files that this process may still open.
fn hoard() -> Vec<File> {
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(MOST + 1).collect();
    assert!((WORKERS..MOST).contains(&hoard.len()), "{} files could be opened", hoard.len());
    hoard
}

#[test]
fn sixteen_workers_load_every_sample_of_every_epoch_with_64_files_or_with_one_each() {
    let Some(root) = alone() else {
        let folder = Folder::new();
        for number in 0..300 {
            folder.picture(format!("{}/{number}.ppm", ["a", "b", "c"][number % 3]), number);
        }
        let name = "limits::sixteen_workers_load_every_sample_of_every_epoch_with_64_files_or_with_one_each";
        return passed(&again_within(&format!("-n {MOST}"), name, folder.root().to_str().unwrap()).output().unwrap());
    };
    let dataset = numbers(ImageFolder::open(root).unwrap());
    let builder = Loader::builder(dataset).batch_size(7).shuffle(true).seed(3).num_workers(WORKERS);
    let loader = builder.build().unwrap();
    let every_sample_of_an_epoch = || {
        let mut ledger = Ledger::default();
        for batch in &loader {
            batch.unwrap().iter().for_each(|&number| ledger.record(number as usize));
        }
        ledger.verify(300).unwrap();
    };
    (0..4).for_each(|_| every_sample_of_an_epoch());

    let mut hoard = hoard();
    hoard.truncate(hoard.len() - WORKERS);
    (0..4).for_each(|_| every_sample_of_an_epoch());
}

#[test]
fn without_a_file_to_spare_each_sample_says_what_to_do_and_with_files_all_arrive() {
    let Some(root) = alone() else {
        let folder = Folder::of(40);
        let name = "limits::without_a_file_to_spare_each_sample_says_what_to_do_and_with_files_all_arrive";
        return passed(&again_within(&format!("-n {MOST}"), name, folder.root().to_str().unwrap()).output().unwrap());
    };
    let folder = || ImageFolder::open(&root);
    let files = folder().unwrap();
    let paths: Vec<_> = (0..40).map(|index| files.path(index).unwrap()).collect();
    let loader = loader(files, 4);
    for _ in 0..2 {
        let hoard = hoard();
        let results = epoch(&loader);
        assert_eq!(results.len(), 40);
        for (index, (result, path)) in results.iter().zip(&paths).enumerate() {
            let text = error_of(result, index, path);
            let expected =
                "cannot read the file: Too many open files (os error 24): raise `ulimit -n`, or use fewer workers";
            assert!(text.ends_with(expected), "{text}");
            let error = result.as_ref().unwrap_err();
            assert_eq!((error.kind(), system_code(error)), (ErrorKind::Io, Some(libc::EMFILE)));
        }
        let file = &paths[0];
        for (error, path) in [
            (folder().unwrap_err(), Path::new(&root)),
            (Idx::open(file, file).unwrap_err(), file),
            (Idx::read(file, file).unwrap_err(), file),
        ] {
            assert_eq!(error.path(), Some(path), "{error}");
            assert!(error.to_string().ends_with("use fewer workers"), "{error}");
        }
        drop(hoard);
        let numbers: Vec<i64> = epoch(&loader).into_iter().map(Result::unwrap).collect();
        assert_eq!(numbers, (0..40).collect::<Vec<i64>>());
    }
}
