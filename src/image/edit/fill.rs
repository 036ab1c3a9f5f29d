//! `Fill`: what is put where a transform has no pixels, and `erase`, which puts it where there are some.

use super::{by_channels, channels};
use crate::error::{Error, ErrorKind, Result};
use crate::image::geometry::inside;
use crate::image::{Image, Rect};

/// The value of pixels that a transform has no source for: one number for all channels, or one a channel. Black by
/// default.
///
/// ```
/// use sutler::image::{Image, Padding, PaddingMode};
///
/// let image = Image::new((1, 1), 3, vec![1, 2, 3])?;
/// let padding = Padding { right: 1, ..Padding::default() };
/// assert_eq!(image.pad(padding, PaddingMode::Constant(9.into()))?.pixels(), [1, 2, 3, 9, 9, 9]);
/// assert_eq!(image.pad(padding, PaddingMode::Constant([7, 8, 9].into()))?.pixels(), [1, 2, 3, 7, 8, 9]);
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fill {
    values: [u8; 4],
    /// How many of `values` there are; one is for all channels.
    len: u8,
}

impl Fill {
    /// The values of a pixel of that many channels, the rest of the array being unused.
    ///
    /// # Errors
    ///
    /// If they are for another number of channels.
    pub(super) fn pixel(&self, channels: usize) -> Result<[u8; 4]> {
        match usize::from(self.len) {
            1 => Ok([self.values[0]; 4]),
            len if len == channels => Ok(self.values),
            len => Err(Error::new(
                ErrorKind::Config,
                format!("cannot fill an image of {channels} channels with {len} values: give one, or one a channel"),
            )),
        }
    }
}

impl Default for Fill {
    fn default() -> Self {
        Fill::from(0)
    }
}

/// For all channels, alpha included.
impl From<u8> for Fill {
    fn from(value: u8) -> Self {
        Fill { values: [value; 4], len: 1 }
    }
}

/// For RGB.
impl From<[u8; 3]> for Fill {
    fn from([r, g, b]: [u8; 3]) -> Self {
        Fill { values: [r, g, b, 0], len: 3 }
    }
}

/// For RGBA.
impl From<[u8; 4]> for Fill {
    fn from(values: [u8; 4]) -> Self {
        Fill { values, len: 4 }
    }
}

impl Image {
    /// Overwrites the pixels inside `rect`, as far as it lies inside the image
    /// (`torchvision.transforms.v2.functional.erase`).
    ///
    /// # Errors
    ///
    /// If `fill` is for another number of channels.
    pub fn erase(&mut self, rect: Rect, fill: impl Into<Fill>) -> Result<()> {
        let fill = fill.into().pixel(self.channels)?;
        by_channels!(self.channels, fill_rect(self, rect, fill));
        Ok(())
    }

    /// As [`erase`](Image::erase), with the bytes that `next` gives one after the other.
    pub(crate) fn erase_with(&mut self, rect: Rect, mut next: impl FnMut() -> u8) {
        self.rows_inside(rect).for_each(|row| row.fill_with(&mut next));
    }

    /// The bytes of each row of the part of `rect` that lies in the image.
    fn rows_inside(&mut self, rect: Rect) -> impl Iterator<Item = &mut [u8]> {
        let (width, channels) = (self.width(), self.channels);
        let rows = inside(rect.top, rect.height, self.height());
        let columns = inside(rect.left, rect.width, width);
        let bytes = columns.start * channels..columns.end * channels;
        let all = self.pixels_mut().chunks_exact_mut((width * channels).max(1));
        all.skip(rows.start).take(rows.len()).map(move |row| &mut row[bytes.clone()])
    }
}

fn fill_rect<const C: usize>(image: &mut Image, rect: Rect, fill: [u8; 4]) {
    let fill: [u8; C] = channels(fill);
    image.rows_inside(rect).for_each(|row| row.as_chunks_mut::<C>().0.fill(fill));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_inside_is_erased() {
        let erased = |top, left, height, width| {
            let mut image = Image::new((3, 3), 1, (1..=9).collect()).unwrap();
            image.erase(Rect { top, left, height, width }, 0).unwrap();
            image.pixels().to_vec()
        };
        assert_eq!(erased(0, 1, 2, 1), [1, 0, 3, 4, 0, 6, 7, 8, 9]);
        assert_eq!(erased(-1, -1, 2, 3), [0, 0, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(erased(2, 1, usize::MAX, usize::MAX), [1, 2, 3, 4, 5, 6, 7, 0, 0]);
        assert_eq!(erased(isize::MIN, 0, 1, 1), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(erased(0, 3, 3, 3), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_fill_for_other_channels_is_an_error() {
        let mut grey = Image::new((1, 1), 1, vec![7]).unwrap();
        let error = grey.erase(Rect::all(grey.size()), [1, 2, 3]).unwrap_err();
        assert_eq!((error.kind(), grey.pixels()), (ErrorKind::Config, &[7][..]));
    }
}
