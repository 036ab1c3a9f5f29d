//! A folder of pictures of which some are damaged: exact counts.

use std::fs;
use std::path::{Path, PathBuf};

use sutler::transform::{CenterCrop, ToTensor};
use sutler::{Dataset, ErrorKind, ImageFolder, Loader, OnError};

use super::{SETTINGS, quarantined, with};

/// A thousand pictures, of which 1 % are cut short, 1 % empty and 1 % text; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("sutler-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let whole = fs::read(pictures()[0].clone()).unwrap();
        for index in 0..1000 {
            let directory = root.join(["even", "odd"][index / 500]);
            fs::create_dir_all(&directory).unwrap();
            let content = match index % 100 {
                17 => &whole[..whole.len() * (index / 100 + 2) / 12],
                53 => b"",
                54 => b"this is not a picture, whatever its name says\n",
                _ => &whole[..],
            };
            fs::write(directory.join(format!("{index:04}.jpg")), content).unwrap();
        }
        Folder(root)
    }

    /// The indices of those that are damaged.
    fn bad() -> Vec<usize> {
        (0..1000).filter(|index| matches!(index % 100, 17 | 53 | 54)).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pictures() -> Vec<PathBuf> {
    let folder = ImageFolder::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/shapes/val")).unwrap();
    (0..folder.len()).filter_map(|index| folder.path(index)).collect()
}

#[test]
fn of_a_folder_with_three_percent_of_damaged_files_every_other_one_comes_exactly_once() {
    let folder = Folder::new("three-percent");
    for setting in SETTINGS {
        let data = || {
            let images = ImageFolder::open(&folder.0).unwrap();
            let labels: Vec<i64> = (0..1000).collect();
            // The label is the index, to tell the images apart.
            let numbered = images.map(|(image, _), _: &mut _| Ok(image));
            (numbered, labels)
        };
        let (images, labels) = data();
        let dataset = Numbered(images.map((CenterCrop::new(16), ToTensor::u8())), labels);
        let builder = Loader::builder(dataset).batch_size(32).shuffle(true).seed(1).on_error(OnError::Skip);
        let loader = with(builder.max_bad_share(0.03), setting).build().unwrap();
        for _ in 0..2 {
            let mut seen: Vec<i64> = vec![];
            for batch in &loader {
                let (images, labels) = batch.unwrap();
                assert_eq!(images.shape(), [labels.len(), 3, 16, 16]);
                seen.extend(&labels[..]);
            }
            seen.sort();
            let good: Vec<i64> = (0..1000).filter(|index| !Folder::bad().contains(&(*index as usize))).collect();
            assert_eq!(seen, good, "{setting:?}");
        }
        assert_eq!(quarantined(&loader), Folder::bad());
        for sample in &loader.quarantine() {
            let path = sample.path.as_ref().unwrap();
            assert!(path.is_absolute() && path.ends_with(format!("{:04}.jpg", sample.index)), "{sample}");
            let cause = match sample.index % 100 {
                17 => "it is truncated (it has no end marker)",
                53 => "empty",
                54 => "not an image",
                other => panic!("a picture that ends in {other} is whole: {sample}"),
            };
            assert!(sample.cause.contains(cause), "{sample}");
        }
    }
}

#[test]
fn by_default_each_damaged_file_is_an_error_of_its_batch_and_the_others_come() {
    let folder = Folder::new("by-default");
    let dataset = ImageFolder::open(&folder.0).unwrap().map((CenterCrop::new(16), ToTensor::u8()));
    let loader = Loader::builder(dataset).batch_size(10).num_workers(2).build().unwrap();
    let (made, failed): (Vec<_>, Vec<_>) = loader.epoch().partition(Result::is_ok);
    // Two of the three are in one batch.
    assert_eq!((made.len(), failed.len()), (80, 20));
    for error in failed.into_iter().filter_map(Result::err) {
        assert!(matches!(error.kind(), ErrorKind::Decode | ErrorKind::Io), "{error:?}");
        assert!(Folder::bad().contains(&error.index().unwrap()) && error.path().is_some());
    }
}

struct Numbered<D>(D, Vec<i64>);

impl<S: Send, D: Dataset<Sample = S>> Dataset for Numbered<D> {
    type Sample = (S, i64);

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize, rng: &mut sutler::SampleRng) -> sutler::Result<(S, i64)> {
        Ok((self.0.get(index, rng)?, self.1[index]))
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        self.0.path(index)
    }
}
