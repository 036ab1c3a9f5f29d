//! `ImageFolder`: a directory for each class.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use super::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{DecodeOptions, LazyImage};
use crate::rng::SampleRng;

/// torchvision's `IMG_EXTENSIONS`, compared without regard to case.
const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"];

/// Images in a directory tree with one directory for each class (`torchvision.datasets.ImageFolder`):
///
/// ```text
/// root/cat/0001.jpg
/// root/cat/more/0002.png
/// root/dog/0001.jpg
/// ```
///
/// A sample is `(LazyImage, i64)`: the image, decoded by the first transform, or when it is written into its batch;
/// and the number of its class. Classes are numbered in the order of their names; within a class, images come in the
/// order of their paths. Symbolic links are followed. Hidden files and directories (`.name`) are left out.
///
/// Opening lists the names and opens no image; each is opened by its absolute path when its sample is loaded.
#[derive(Debug)]
pub struct ImageFolder {
    root: PathBuf,
    /// What the system calls the directories of the classes: paths are made of these.
    directories: Vec<OsString>,
    /// What people call them.
    classes: Vec<String>,
    files: Vec<Entry>,
    options: DecodeOptions,
}

/// An image file. There may be ten million of them, so only what differs is stored.
#[derive(Debug)]
struct Entry {
    class: u32,
    /// Relative to the directory of the class.
    path: Box<OsStr>,
}

thread_local! {
    /// The path of the file that this thread opens: the memory of the last one.
    static PATH: RefCell<PathBuf> = RefCell::new(PathBuf::new());
}

impl ImageFolder {
    /// Lists the images below `root`.
    ///
    /// # Errors
    ///
    /// If a directory cannot be read, `root` has no directories, or one of them has no images (as in torchvision). If a
    /// link leads back to a directory that it is in, or leads nowhere: it may have led to a directory of images. (In a
    /// class, one that leads nowhere and is called an image is an error of its sample, as is whatever else cannot be
    /// read.)
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_valid(root, has_image_extension)
    }

    /// Lists the files below `root` that `is_valid_file` takes, instead of those with the extension of an image
    /// (`is_valid_file` of torchvision's `ImageFolder`).
    ///
    /// GIF files, for example, can be decoded but are not among the extensions that torchvision looks for:
    ///
    /// ```no_run
    /// use sutler::ImageFolder;
    ///
    /// let folder = ImageFolder::open_valid("data", |path| path.extension().is_some_and(|extension| extension == "gif"))?;
    /// # Ok::<(), sutler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](ImageFolder::open).
    pub fn open_valid(root: impl AsRef<Path>, is_valid_file: impl Fn(&Path) -> bool) -> Result<Self> {
        let root = std::path::absolute(root.as_ref()).map_err(|error| Error::from(error).with_path(root.as_ref()))?;
        let directories = class_directories(&root)?;
        if directories.is_empty() {
            let problem = "no class directories here: images are expected as ROOT/CLASS/IMAGE.jpg";
            return Err(Error::new(ErrorKind::Io, problem).with_path(root));
        }
        let classes: Vec<String> = directories.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let mut files = Vec::new();
        let mut empty = Vec::new();
        for (class, directory) in directories.iter().enumerate() {
            let images = images_below(&root.join(directory), &is_valid_file)?;
            if images.is_empty() {
                empty.push(classes[class].as_str());
            }
            files.extend(images.into_iter().map(|path| Entry { class: class as u32, path }));
        }
        if !empty.is_empty() {
            let problem = format!(
                "no images for the classes {}: remove these directories, or put images there (with one of the \
                 extensions {}, unless you said otherwise)",
                empty.join(", "),
                EXTENSIONS.join(", ")
            );
            return Err(Error::new(ErrorKind::Io, problem).with_path(root));
        }
        Ok(ImageFolder { root, directories, classes, files, options: DecodeOptions::default() })
    }

    /// How the images are decoded.
    pub fn decode_options(mut self, options: DecodeOptions) -> Self {
        self.options = options;
        self
    }

    /// The names of the classes; a label is a position in this list.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The label of sample `index`, without opening it.
    ///
    /// # Panics
    ///
    /// If `index` is not below `len`.
    pub fn label(&self, index: usize) -> i64 {
        i64::from(self.files[index].class)
    }
}

impl Dataset for ImageFolder {
    type Sample = (LazyImage, i64);

    fn len(&self) -> usize {
        self.files.len()
    }

    fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<(LazyImage, i64)> {
        let image = PATH.with_borrow_mut(|path| {
            self.write_path(index, path);
            LazyImage::open(path, &self.options)
        });
        Ok((image?, self.label(index)))
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        Some(self.absolute(index))
    }
}

impl ImageFolder {
    fn absolute(&self, index: usize) -> PathBuf {
        let mut path = PathBuf::new();
        self.write_path(index, &mut path);
        path
    }

    fn write_path(&self, index: usize, path: &mut PathBuf) {
        let Entry { class, path: within } = &self.files[index];
        path.clear();
        path.push(&self.root);
        path.push(&self.directories[*class as usize]);
        path.push(&**within);
    }
}

/// The directories right below `root`, by name.
fn class_directories(root: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in visible_entries(root)? {
        let entry = entry?;
        // A link to nothing may have been a class: without it, those behind it would change their numbers.
        if is_directory(&entry)? {
            names.push(entry.file_name());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The images in a directory and those below it, relative to it, in torchvision's order: by the text of their
/// directory's path, then by their name.
fn images_below(top: &Path, is_valid_file: &dyn Fn(&Path) -> bool) -> Result<Vec<Box<OsStr>>> {
    let mut pending = vec![top.to_path_buf()];
    let mut directories = Vec::new();
    while let Some(directory) = pending.pop() {
        let mut images = Vec::new();
        for entry in visible_entries(&directory)? {
            let entry = entry?;
            let path = entry.path();
            match is_directory(&entry) {
                Ok(true) => {
                    if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                        refuse_loop(&path, top)?;
                    }
                    pending.push(path);
                }
                // A link to nothing that is called an image cannot be read, which is for its sample to report.
                _ if is_valid_file(&path) => images.push(entry.file_name()),
                Ok(false) => {}
                Err(error) => return Err(error),
            }
        }
        images.sort_unstable();
        directories.push((directory, images));
    }
    directories.sort_unstable_by(|(a, _), (b, _)| a.as_os_str().cmp(b.as_os_str()));
    let mut relative = Vec::with_capacity(directories.iter().map(|(_, images)| images.len()).sum());
    for (directory, images) in directories {
        let below = directory.strip_prefix(top).unwrap_or(&directory);
        relative.extend(images.into_iter().map(|name| below.join(name).into_os_string().into_boxed_os_str()));
    }
    Ok(relative)
}

/// What a directory holds, but for hidden files and directories.
fn visible_entries(directory: &Path) -> Result<impl Iterator<Item = Result<DirEntry>>> {
    let failed =
        move |source| Error::new(ErrorKind::Io, "cannot list the directory").with_source(source).with_path(directory);
    let entries = fs::read_dir(directory).map_err(failed)?;
    let is_visible = |entry: &Result<DirEntry>| entry.as_ref().map_or(true, |entry| !is_hidden(&entry.file_name()));
    Ok(entries.map(move |entry| entry.map_err(failed)).filter(is_visible))
}

/// Whether it is one, or a link to one. Only a link costs a question to the system.
fn is_directory(entry: &DirEntry) -> Result<bool> {
    let unknown = |source| {
        let problem = "cannot tell whether this is a directory: was it removed meanwhile?";
        Error::new(ErrorKind::Io, problem).with_source(source).with_path(entry.path())
    };
    let kind = entry.file_type().map_err(unknown)?;
    if !kind.is_symlink() {
        return Ok(kind.is_dir());
    }
    let link = entry.path();
    fs::metadata(&link).map(|target| target.is_dir()).map_err(|source| unfollowed(&link, source))
}

/// An error if a link below `top` leads back to a directory that it is in: there would be no end to it.
fn refuse_loop(link: &Path, top: &Path) -> Result<()> {
    match led_back_to(link, top) {
        Ok(None) => Ok(()),
        Ok(Some(above)) => {
            let problem = format!("a loop of links, remove it: this one leads back to {}", above.display());
            Err(Error::new(ErrorKind::Io, problem).with_path(link))
        }
        Err(error) => Err(unfollowed(link, error)),
    }
}

fn led_back_to<'a>(link: &'a Path, top: &Path) -> io::Result<Option<&'a Path>> {
    let target = fs::canonicalize(link)?;
    for above in link.ancestors().skip(1).take_while(|above| above.starts_with(top)) {
        if fs::canonicalize(above)? == target {
            return Ok(Some(above));
        }
    }
    Ok(None)
}

fn unfollowed(link: &Path, source: io::Error) -> Error {
    Error::new(ErrorKind::Io, "cannot follow this link, repair or remove it").with_source(source).with_path(link)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn has_image_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory tree of empty files; removed when dropped.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[&str]) -> Self {
            let root = std::env::temp_dir().join(format!("sutler-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root).unwrap();
            for file in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            Tree(root)
        }

        fn listed(&self) -> Vec<String> {
            let folder = ImageFolder::open(&self.0).unwrap();
            let below = |index| folder.path(index).unwrap().strip_prefix(&self.0).unwrap().to_str().unwrap().to_owned();
            (0..folder.len()).map(below).collect()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn which_files_are_images_is_the_users_choice() {
        let tree = Tree::new("valid", &["a/1.gif", "a/2.jpg", "a/.3.gif", "b/4.GIF", "b/5.gif"]);
        let folder = ImageFolder::open_valid(&tree.0, |path| path.extension() == Some("gif".as_ref())).unwrap();
        let names: Vec<_> =
            (0..folder.len()).map(|i| folder.path(i).unwrap().file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["1.gif", "5.gif"]);
    }

    #[test]
    fn classes_and_images_come_in_torchvisions_order() {
        let tree = Tree::new(
            "order",
            &["b/2.jpg", "b/10.jpg", "b/x/1.jpg", "b/x-y/1.jpg", "b/x/z/0.png", "B/1.JPEG", "a/1.webp", "notes.txt"],
        );
        // sorted(os.walk(…)) compares directories as text: "b/x" < "b/x-y" < "b/x/z", because '-' comes before '/'.
        assert_eq!(
            tree.listed(),
            ["B/1.JPEG", "a/1.webp", "b/10.jpg", "b/2.jpg", "b/x/1.jpg", "b/x-y/1.jpg", "b/x/z/0.png"]
        );
        let folder = ImageFolder::open(&tree.0).unwrap();
        assert_eq!(folder.classes(), ["B", "a", "b"]);
        assert_eq!((0..folder.len()).map(|index| folder.label(index)).collect::<Vec<_>>(), [0, 1, 2, 2, 2, 2, 2]);
        assert!(folder.path(0).unwrap().is_absolute());
    }

    #[test]
    fn hidden_and_foreign_files_are_left_out() {
        let tree =
            Tree::new("hidden", &["a/1.jpg", "a/.2.jpg", "a/._1.jpg", "a/.cache/3.jpg", "a/readme.txt", ".git/1.jpg"]);
        assert_eq!(tree.listed(), ["a/1.jpg"]);
    }

    #[test]
    fn an_empty_class_is_an_error_that_names_it() {
        let tree = Tree::new("empty", &["a/1.jpg", "b/notes.txt", "c/.hidden.jpg"]);
        let error = ImageFolder::open(&tree.0).unwrap_err().to_string();
        assert!(error.contains("classes b, c") && error.contains(tree.0.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_root_without_classes_or_without_anything_is_an_error_that_names_it() {
        let tree = Tree::new("flat", &["1.jpg"]);
        assert!(ImageFolder::open(&tree.0).unwrap_err().to_string().contains("ROOT/CLASS/IMAGE"));
        let missing = tree.0.join("missing");
        let error = ImageFolder::open(&missing).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(missing.as_path())));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_loops_reported() {
        use std::os::unix::fs::symlink;
        let elsewhere = Tree::new("elsewhere", &["1.jpg"]);
        let tree = Tree::new("links", &["a/0.jpg"]);
        symlink(&elsewhere.0, tree.0.join("b")).unwrap();
        symlink(elsewhere.0.join("1.jpg"), tree.0.join("a/1.jpg")).unwrap();
        symlink("/nowhere/at/all.jpg", tree.0.join("a/2.jpg")).unwrap();
        assert_eq!(tree.listed(), ["a/0.jpg", "a/1.jpg", "a/2.jpg", "b/1.jpg"]);

        let folder = ImageFolder::open(&tree.0).unwrap();
        let error = folder.get(2, &mut SampleRng::new(0, 0, 2)).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(tree.0.join("a/2.jpg").as_path())));

        symlink(&tree.0, tree.0.join("a/loop")).unwrap();
        let error = ImageFolder::open(&tree.0).unwrap_err();
        assert!(error.to_string().contains("loop"), "{error}");
    }
}
