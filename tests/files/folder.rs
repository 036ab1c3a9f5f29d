//! A folder of numbered pictures, and what a loader makes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sutler::image::{Image, LazyImage};
use sutler::{Dataset, Error, HostTensor, ImageFolder, Loader, Result, SampleRng};
use tempfile::TempDir;

/// How long a test waits for what must happen at once, before it says that it did not.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Gone when dropped.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    /// `len` pictures, the first of them number 0, in the class "a".
    pub fn of(len: usize) -> Self {
        let folder = Folder::new();
        (0..len).for_each(|number| folder.picture(format!("a/{number:04}.ppm"), number));
        folder
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn picture(&self, name: impl AsRef<Path>, number: usize) {
        self.write(name, &picture(number));
    }

    pub fn link(&self, name: impl AsRef<Path>, target: impl AsRef<Path>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    pub fn open(&self) -> Result<ImageFolder> {
        ImageFolder::open(self.root())
    }

    pub fn listed(&self) -> Vec<PathBuf> {
        let folder = self.open().unwrap();
        let below = |index| folder.path(index).unwrap().strip_prefix(self.root()).unwrap().to_path_buf();
        (0..folder.len()).map(below).collect()
    }

    /// What is wrong with the directory or link `name`.
    pub fn refused_for(&self, name: impl AsRef<Path>) -> String {
        let error = self.open().unwrap_err();
        assert_eq!(error.path(), Some(&*self.path(name)), "{error}");
        error.to_string()
    }
}

/// The file of a picture of two pixels that says its number.
pub fn picture(number: usize) -> Vec<u8> {
    let [low, high, ..] = number.to_le_bytes();
    [b"P6 2 1 255\n", &[low, high, 0xa5, !low, !high, 0x5a][..]].concat()
}

/// The number that a picture says.
pub fn number(image: &Image) -> i64 {
    let &[low, high, 0xa5, not_low, not_high, 0x5a] = image.pixels() else {
        panic!("not a picture of ours: {image:?}")
    };
    assert_eq!((!low, !high), (not_low, not_high));
    i64::from(u16::from_le_bytes([low, high]))
}

/// Samples are the numbers of the pictures.
pub fn numbers(folder: ImageFolder) -> impl Dataset<Sample = i64> {
    folder.map(|(image, _): (LazyImage, i64), _: &mut SampleRng| Ok(number(&image.decode()?)))
}

pub fn loader(folder: ImageFolder, workers: usize) -> Loader<impl Dataset<Sample = i64>> {
    Loader::builder(numbers(folder)).batch_size(1).num_workers(workers).build().unwrap()
}

/// The numbers of an epoch's pictures, in order.
pub fn epoch<D: Dataset<Sample = i64> + 'static>(loader: &Loader<D>) -> Vec<Result<i64>> {
    loader.epoch().map(|batch: Result<HostTensor<i64>>| Ok(batch?[0])).collect()
}

/// The error of sample `index`, which says that its file is `path`.
pub fn error_of(result: &Result<i64>, index: usize, path: &Path) -> String {
    let Err(error) = result else { panic!("{} was loaded", path.display()) };
    assert_eq!((error.index(), error.path()), (Some(index), Some(path)), "{error}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("sample {index} ({}): ", path.display())), "{text}");
    text
}

/// The number that the system gave the error.
pub fn system_code(error: &Error) -> Option<i32> {
    std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?.raw_os_error()
}

/// What `work` gives, unless it waits for something that never comes.
pub fn at_once<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(work()));
    receive.recv_timeout(PATIENCE).expect("an answer, and at once")
}
