//! WebP: the chunks of its container.

use super::decode::contradiction;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Size;

/// The EXIF data: a chunk behind the pixels.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    let data = chunks(bytes.get(12..)?).find(|chunk| chunk.name == b"EXIF")?.whole()?;
    Some(data.strip_prefix(b"Exif\0\0").unwrap_or(data))
}

/// The image-webp crate does not mind if what comes behind the pixels is cut off, and the EXIF data are there: without
/// them, the picture would be another way up.
///
/// # Errors
///
/// If the file is shorter than its header says.
pub(super) fn check_length(bytes: &[u8]) -> Result<()> {
    let Some(&[a, b, c, d]) = bytes.get(4..8) else { return Ok(()) };
    let (length, there) = (8 + u64::from(u32::from_le_bytes([a, b, c, d])), bytes.len());
    if length > there as u64 {
        let problem = format!("cannot decode the WebP: it is truncated (it has {there} bytes of {length})");
        return Err(Error::new(ErrorKind::Decode, problem));
    }
    Ok(())
}

/// The image-webp crate decodes a lossy frame at the size that is in there, and then compares it with the picture's.
///
/// # Errors
///
/// If a frame is larger than the picture.
pub(super) fn check_frames(bytes: &[u8]) -> Result<()> {
    // Without this chunk, the frame is all that tells a size.
    let (Some(picture), Some(content)) = (picture(bytes), bytes.get(12..)) else { return Ok(()) };
    for chunk in chunks(content) {
        // A frame of an animation has chunks of its own, behind 16 bytes; what comes after its alpha is decoded as a lossy
        // frame whatever its name is.
        let (itself, within) = match chunk.name {
            b"ANMF" => (None, chunk.data.get(16..).unwrap_or_default()),
            b"VP8 " => (Some(chunk), &[][..]),
            _ => continue,
        };
        for frame in chunks(within).chain(itself).filter_map(|chunk| chunk.lossy_frame()) {
            if frame.height > picture.height || frame.width > picture.width {
                return Err(contradiction(picture, frame));
            }
        }
    }
    Ok(())
}

/// The size of the picture, where the first chunk tells it: 24 bits for each side, less one. Where they are does not depend on
/// the length of the chunk.
fn picture(bytes: &[u8]) -> Option<Size> {
    let side = |at: usize| match bytes.get(at..at + 3) {
        Some(&[a, b, c]) => Some(1 + u32::from_le_bytes([a, b, c, 0]) as usize),
        _ => None,
    };
    if bytes.get(12..16)? == b"VP8X" { Some(Size { width: side(24)?, height: side(27)? }) } else { None }
}

#[derive(Clone, Copy)]
struct Chunk<'a> {
    name: &'a [u8],
    /// Cut off where the file is.
    data: &'a [u8],
    length: usize,
}

/// The chunks of RIFF: a name, a length, and as many bytes, made even.
fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (name, rest) = bytes.split_at_checked(4)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let data = &rest[..length.min(rest.len())];
        bytes = &rest[length.saturating_add(length % 2).min(rest.len())..];
        Some(Chunk { name, data, length })
    })
}

impl<'a> Chunk<'a> {
    fn whole(self) -> Option<&'a [u8]> {
        (self.data.len() == self.length).then_some(self.data)
    }

    /// The size of the frame, if this is a lossy one (RFC 6386, 9.1): 14 bits for each side, behind a tag and a start code.
    fn lossy_frame(self) -> Option<Size> {
        match self.data {
            [_, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..] => {
                let side = |low: u8, high: u8| usize::from(u16::from_le_bytes([low, high]) & 0x3fff);
                Some(Size { width: side(*a, *b), height: side(*c, *d) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut bytes = [&name[..], &(data.len() as u32).to_le_bytes(), data].concat();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    }

    /// 17 pixels high, 29 wide.
    fn file(rest: &[Vec<u8>]) -> Vec<u8> {
        [b"RIFF\0\0\0\0WEBP".to_vec(), chunk(b"VP8X", &[0, 0, 0, 0, 28, 0, 0, 16, 0, 0]), rest.concat()].concat()
    }

    fn frame(height: u8, width: u8) -> Vec<u8> {
        chunk(b"VP8 ", &[0, 0, 0, 0x9d, 1, 0x2a, width, 0x40, height, 0x80])
    }

    #[test]
    fn a_lossy_frame_that_is_larger_than_the_picture_is_refused_wherever_it_is() {
        let still = |frame: Vec<u8>| file(&[chunk(b"ALPH", &[1, 2, 3]), frame]);
        let animated = |frame: Vec<u8>| still(chunk(b"ANMF", &[vec![0; 16], chunk(b"ALPH", &[1]), frame].concat()));
        let nameless = |frame: Vec<u8>| animated([b"ABCD", &frame[4..]].concat());
        for of in [&still as &dyn Fn(Vec<u8>) -> Vec<u8>, &animated, &nameless] {
            check_frames(&of(frame(17, 29))).unwrap();
            for (height, width) in [(18, 29), (17, 30)] {
                let error = check_frames(&of(frame(height, width))).unwrap_err();
                assert!(error.to_string().contains("contradicts itself: 17x29"), "{error}");
            }
        }
        // The chunk with the size says that it is eight bytes long, and those behind are a chunk's name, as it happens.
        let lie =
            [&b"RIFF\0\0\0\0WEBPVP8X\x08\0\0\0\0\0\0\0\x1c\0\0\x10\0\0zz\x06\0\0\0zzzzzz"[..], &frame(18, 29)].concat();
        assert!(check_frames(&lie).is_err());
        // Alone, a frame is the picture.
        check_frames(&[b"RIFF\0\0\0\0WEBP".to_vec(), frame(200, 200)].concat()).unwrap();
    }

    #[test]
    fn exif_data_are_found_behind_chunks_of_odd_length_and_only_whole() {
        let bytes = file(&[chunk(b"ALPH", &[1, 2, 3]), chunk(b"EXIF", b"Exif\0\0data!")]);
        assert_eq!(exif(&bytes), Some(&b"data!"[..]));
        assert_eq!(exif(&bytes[..bytes.len() - 2]), None);
        (0..bytes.len() - 1).for_each(|end| assert_eq!(exif(&bytes[..end]), None));
    }

    #[test]
    fn a_file_that_is_shorter_than_it_says_is_truncated() {
        let mut bytes = file(&[chunk(b"EXIF", b"Exif\0\0data!")]);
        let length = bytes.len() as u32 - 8;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        check_length(&bytes).unwrap();
        check_length(&[&bytes[..], b"and more"].concat()).unwrap();
        let error = check_length(&bytes[..bytes.len() - 1]).unwrap_err();
        assert_eq!(error.to_string(), "cannot decode the WebP: it is truncated (it has 49 bytes of 50)");
    }
}
