//! IDX, the format of MNIST and its relatives.
//!
//! A big-endian header (two zero bytes, the element type, the number of dimensions, then each dimension as a u32) and
//! the elements in C order: <http://yann.lecun.com/exdb/mnist/>.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Image;
use crate::memory::FileBytes;
use crate::rng::SampleRng;

/// Images and labels from a pair of IDX files (`torchvision.datasets.MNIST` and the like).
///
/// A sample is `(Image, i64)`: one grey channel, and the label.
#[derive(Debug)]
pub struct Idx {
    images: IdxFile,
    labels: IdxFile,
}

#[derive(Debug)]
struct IdxFile {
    path: PathBuf,
    bytes: FileBytes,
    dims: Vec<usize>,
    /// Where the elements are.
    data: Range<usize>,
}

impl Idx {
    /// Maps the two files into memory: nothing is copied, and only what is used is read.
    ///
    /// What is mapped is the file itself. If somebody writes into it, samples change. If somebody truncates it, the
    /// last page that is left reads as zeros behind the new end, and a sample beyond that page is no error: it ends the
    /// process with SIGBUS. Where that may happen, use [`read`](Idx::read). A file that is deleted, or replaced by
    /// renaming another, stays what it was for those who have it mapped.
    ///
    /// # Errors
    ///
    /// If a file cannot be mapped, is no regular file, is not an IDX file of unsigned bytes, is not as long as its
    /// header says, or the two do not have the same number of items.
    pub fn open(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Self> {
        Self::with(images.as_ref(), labels.as_ref(), FileBytes::map)
    }

    /// As [`open`](Idx::open), but reads the files into memory: what happens to them afterwards does not matter.
    ///
    /// # Errors
    ///
    /// As for [`open`](Idx::open).
    pub fn read(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Self> {
        Self::with(images.as_ref(), labels.as_ref(), FileBytes::read)
    }

    fn with(images: &Path, labels: &Path, load: fn(&Path) -> std::io::Result<FileBytes>) -> Result<Self> {
        let (images, labels) = (IdxFile::load(images, 3, load)?, IdxFile::load(labels, 1, load)?);
        if images.dims[0] != labels.dims[0] {
            let problem =
                format!("{} labels for the {} images of {}", labels.dims[0], images.dims[0], images.path.display());
            return Err(Error::new(ErrorKind::Decode, problem).with_path(labels.path));
        }
        Ok(Idx { images, labels })
    }
}

impl Dataset for Idx {
    type Sample = (Image, i64);

    fn len(&self) -> usize {
        self.labels.dims[0]
    }

    fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<(Image, i64)> {
        let [_, height, width] = self.images.dims[..] else { unreachable!("checked when opened") };
        let pixels = self.images.item(index);
        Ok((Image::copied((height, width), 1, pixels)?, i64::from(self.labels.item(index)[0])))
    }

    fn path(&self, _index: usize) -> Option<PathBuf> {
        Some(self.images.path.clone())
    }
}

impl IdxFile {
    fn load(path: &Path, dimensions: usize, load: fn(&Path) -> std::io::Result<FileBytes>) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|error| Error::from(error).with_path(path))?;
        let bytes = load(&path).map_err(|error| {
            Error::new(ErrorKind::Io, "cannot open the IDX file").with_source(error).with_path(&path)
        })?;
        match parse(&bytes, dimensions) {
            Ok((dims, data)) => Ok(IdxFile { path, bytes, dims, data }),
            Err(problem) => Err(Error::new(ErrorKind::Decode, problem).with_path(path)),
        }
    }

    /// The elements of one item.
    fn item(&self, index: usize) -> &[u8] {
        let each = self.data.len() / self.dims[0];
        &self.bytes[self.data.clone()][index * each..][..each]
    }
}

/// The dimensions, and where the elements are.
fn parse(bytes: &[u8], dimensions: usize) -> Result<(Vec<usize>, Range<usize>), String> {
    const UNSIGNED_BYTE: u8 = 0x08;
    let (kind, count) = match bytes {
        [0, 0, kind, count, ..] => (*kind, usize::from(*count)),
        [0x1f, 0x8b, ..] => return Err("the file is compressed: unpack it with gunzip first".into()),
        _ => return Err("not an IDX file: it does not begin with two zero bytes".into()),
    };
    if kind != UNSIGNED_BYTE {
        return Err(format!("elements of type 0x{kind:02x}, but only unsigned bytes (0x08) are known"));
    }
    if count != dimensions {
        return Err(format!("{count} dimensions where {dimensions} are expected (are images and labels swapped?)"));
    }
    let start = 4 + 4 * count;
    let header = bytes.get(4..start).ok_or("the file ends within its header")?;
    let dims: Vec<usize> = header.as_chunks().0.iter().map(|dim| u32::from_be_bytes(*dim) as usize).collect();
    let elements = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
    match elements {
        Some(elements) if bytes.len() - start == elements => Ok((dims, start..bytes.len())),
        _ => Err(format!("the header says {dims:?} bytes, but {} follow", bytes.len() - start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: u8, dims: &[u32], data: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, dims.len() as u8];
        dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
        bytes.extend((0..data).map(|i| i as u8));
        bytes
    }

    #[test]
    fn a_header_gives_dimensions_and_where_the_elements_are() {
        assert_eq!(parse(&file(8, &[2, 3, 4], 24), 3), Ok((vec![2, 3, 4], 16..40)));
        assert_eq!(parse(&file(8, &[5], 5), 1), Ok((vec![5], 8..13)));
        assert_eq!(parse(&file(8, &[0], 0), 1), Ok((vec![0], 8..8)));
    }

    #[test]
    fn what_is_not_as_its_header_says_is_refused() {
        for (bytes, problem) in [
            (vec![], "two zero bytes"),
            (b"text, not numbers".to_vec(), "two zero bytes"),
            (vec![0x1f, 0x8b, 8, 0, 0], "gunzip"),
            (file(0x0d, &[1], 4), "0x0d"),
            (file(8, &[1, 1], 1), "2 dimensions where 1"),
            (file(8, &[3], 0)[..6].to_vec(), "within its header"),
            (file(8, &[3], 2), "[3] bytes, but 2 follow"),
            (file(8, &[3], 4), "[3] bytes, but 4 follow"),
        ] {
            let error = parse(&bytes, 1).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        // Dimensions whose product overflows.
        assert!(parse(&file(8, &[u32::MAX, u32::MAX, u32::MAX], 9), 3).unwrap_err().contains("9 follow"));
    }
}
