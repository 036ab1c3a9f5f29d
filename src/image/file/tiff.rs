//! TIFF: what its first directory claims, checked before the decoder believes it.

use crate::error::{Error, ErrorKind, Result};

/// The tiff crate makes a list of 32 bytes a value for a tag, of up to 256 MiB, before it reads the values. Those are in the
/// file, so there cannot be more of them than it has bytes.
///
/// # Errors
///
/// If a tag claims otherwise.
pub(super) fn check_tags(bytes: &[u8]) -> Result<()> {
    match (Tiff { bytes, is_big_endian: bytes.starts_with(b"MM") }).oversized_tag() {
        None => Ok(()),
        Some((tag, count)) => Err(Error::new(
            ErrorKind::Decode,
            format!("cannot decode the TIFF: its tag {tag} claims {count} values, and the file is shorter than that"),
        )),
    }
}

/// A file (TIFF 6.0, section 2). BigTIFF is no format that is known here.
struct Tiff<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

impl Tiff<'_> {
    fn number<const LEN: usize>(&self, at: usize) -> Option<usize> {
        let mut digits: [u8; LEN] = self.bytes.get(at..)?.get(..LEN)?.try_into().ok()?;
        if !self.is_big_endian {
            digits.reverse();
        }
        Some(digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit)))
    }

    /// A tag of the first directory that has more values than can be in the file, and how many. Where the directory itself
    /// goes beyond the end is for the decoder to notice.
    fn oversized_tag(&self) -> Option<(usize, usize)> {
        let directory = self.number::<4>(4)?;
        for entry in 0..self.number::<2>(directory)? {
            let at = directory + 2 + 12 * entry;
            let (tag, kind, count) = (self.number::<2>(at)?, self.number::<2>(at + 2)?, self.number::<4>(at + 4)?);
            let value_size = match kind {
                3 | 8 => 2,           // SHORT, SSHORT
                4 | 9 | 11 | 13 => 4, // LONG, SLONG, FLOAT, IFD
                5 | 10 | 12 => 8,     // RATIONAL, SRATIONAL, DOUBLE
                _ => 1,
            };
            if count > self.bytes.len() / value_size {
                return Some((tag, count));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with one tag, 0x0111, behind the header.
    fn file(is_big_endian: bool, kind: u16, count: u32) -> Vec<u8> {
        let (kind, count) = match is_big_endian {
            true => (kind.to_be_bytes(), count.to_be_bytes()),
            false => (kind.to_le_bytes(), count.to_le_bytes()),
        };
        let (header, tag) = match is_big_endian {
            true => (b"MM\0\x2a\0\0\0\x08\0\x01", b"\x01\x11"),
            false => (b"II\x2a\0\x08\0\0\0\x01\0", b"\x11\x01"),
        };
        [&header[..], tag, &kind, &count, &[0; 8]].concat()
    }

    #[test]
    fn a_tag_with_more_values_than_the_file_has_bytes_is_refused() {
        for is_big_endian in [false, true] {
            let len = file(is_big_endian, 1, 0).len() as u32;
            for (kind, size) in [(1, 1), (2, 1), (3, 2), (4, 4), (5, 8), (12, 8)] {
                let fits = len / size;
                check_tags(&file(is_big_endian, kind, fits)).unwrap();
                let error = check_tags(&file(is_big_endian, kind, fits + 1)).unwrap_err();
                assert!(error.to_string().contains(&format!("tag 273 claims {} values", fits + 1)), "{error}");
            }
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_left_to_the_decoder() {
        let whole = file(false, 4, 1);
        (0..whole.len()).for_each(|end| check_tags(&whole[..end]).unwrap());
        let mut far = whole;
        far[4..8].fill(0xff);
        check_tags(&far).unwrap();
    }
}
