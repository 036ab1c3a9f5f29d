//! The markers of a JPEG file, one after another (ITU-T T.81, annex B).

use crate::image::Size;

/// SOS: a scan begins.
pub(super) const SCAN: u8 = 0xda;
/// EOI: the image is over.
pub(super) const END: u8 = 0xd9;
/// APP1, which has EXIF data among others.
const APPLICATION_1: u8 = 0xe1;

/// A marker, and the segment that belongs to it.
pub(super) struct Marker<'a> {
    pub(super) code: u8,
    /// Without its length; empty where there is none. Cut off where the file is.
    data: &'a [u8],
}

/// All markers up to the end of the image, or of the file. Left out are those within the data of a scan and those that say
/// nothing: restarts, fill, the start.
pub(super) fn markers(bytes: &[u8]) -> impl Iterator<Item = Marker<'_>> {
    let mut at = 2; // behind the start marker
    let mut is_over = false;
    std::iter::from_fn(move || {
        while !is_over {
            at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
            match *bytes.get(at + 1)? {
                0xff => at += 1, // fill
                // No segment follows: a stuffed byte of a scan, TEM, a restart or start marker.
                0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
                END => {
                    is_over = true;
                    return Some(Marker { code: END, data: &[] });
                }
                code => {
                    let length = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
                    let data = &bytes[at + 4..];
                    at += 2 + length;
                    return Some(Marker { code, data: &data[..length.saturating_sub(2).min(data.len())] });
                }
            }
        }
        None
    })
}

impl<'a> Marker<'a> {
    /// Whether a frame begins, whose scans each tell a part of every pixel.
    pub(super) fn is_progressive(&self) -> bool {
        self.is_frame() && self.code & 3 == 2
    }

    /// The size of the image, if this is the header of a frame.
    pub(super) fn size(&self) -> Option<Size> {
        let number = |at: usize| Some(usize::from(u16::from_be_bytes([*self.data.get(at)?, *self.data.get(at + 1)?])));
        if self.is_frame() { Some(Size { height: number(1)?, width: number(3)? }) } else { None }
    }

    /// EXIF data, if this has some.
    pub(super) fn exif(&self) -> Option<&'a [u8]> {
        if self.code == APPLICATION_1 { self.data.strip_prefix(b"Exif\0\0") } else { None }
    }

    fn is_frame(&self) -> bool {
        // SOF0 to SOF15, less DHT, JPG and DAC, which lie between.
        matches!(self.code, 0xc0..=0xcf) && !matches!(self.code, 0xc4 | 0xc8 | 0xcc)
    }
}
