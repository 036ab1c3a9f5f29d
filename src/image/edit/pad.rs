//! Padding and cropping: windows onto an image that goes on beyond its edges.

use super::{by_channels, channels};
use crate::error::Result;
use crate::image::geometry::inside;
use crate::image::{Fill, Image, Rect, Size};

/// How many pixels a margin has on each side. A number stands for all four sides, a pair for (left and right, top and
/// bottom), four for (left, top, right, bottom), as in torchvision. What is negative cuts off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// In pixels.
    pub left: isize,
    /// In pixels.
    pub top: isize,
    /// In pixels.
    pub right: isize,
    /// In pixels.
    pub bottom: isize,
}

impl From<usize> for Padding {
    fn from(all: usize) -> Self {
        Padding::from((all, all))
    }
}

impl From<(usize, usize)> for Padding {
    fn from((sides, ends): (usize, usize)) -> Self {
        Padding::from((sides, ends, sides, ends))
    }
}

impl From<(usize, usize, usize, usize)> for Padding {
    fn from((left, top, right, bottom): (usize, usize, usize, usize)) -> Self {
        // More than that is refused as too large, as so much would be.
        let pixels = |count: usize| isize::try_from(count).unwrap_or(isize::MAX);
        Padding { left: pixels(left), top: pixels(top), right: pixels(right), bottom: pixels(bottom) }
    }
}

impl Padding {
    fn each(self, change: impl Fn(isize) -> isize) -> Self {
        let Padding { left, top, right, bottom } = self;
        Padding { left: change(left), top: change(top), right: change(right), bottom: change(bottom) }
    }

    fn cuts(self) -> bool {
        self.left < 0 || self.top < 0 || self.right < 0 || self.bottom < 0
    }

    /// The window that has this margin around an image of `size`.
    pub(crate) fn around(self, size: Size) -> Rect {
        let padded = |before: isize, len: usize, after: isize| {
            before.saturating_add_unsigned(len).saturating_add(after).max(0) as usize
        };
        Rect {
            top: self.top.saturating_neg(),
            left: self.left.saturating_neg(),
            height: padded(self.top, size.height, self.bottom),
            width: padded(self.left, size.width, self.right),
        }
    }
}

/// What a margin consists of (`padding_mode` of torchvision).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaddingMode {
    /// One colour; black by default.
    Constant(Fill),
    /// The outermost pixels, repeated: `aaa|abcd|ddd`.
    Edge,
    /// The image mirrored at its outermost pixels: `dcb|abcd|cba`.
    Reflect,
    /// The image mirrored at its edges: `cba|abcd|dcb`.
    Symmetric,
}

impl Default for PaddingMode {
    fn default() -> Self {
        PaddingMode::Constant(Fill::default())
    }
}

impl PaddingMode {
    /// Which pixel of a row or column of `len` stands at `at`, which may be outside; `None` for the fill.
    ///
    /// The mirrored modes go on for ever, as `numpy.pad` does, which torchvision uses for PIL images.
    fn source(self, at: isize, len: usize) -> Option<usize> {
        let last = len.checked_sub(1)?;
        if let Some(inside) = usize::try_from(at).ok().filter(|&at| at < len) {
            return Some(inside);
        }
        let fold = |period: usize| at.rem_euclid(period as isize) as usize;
        match self {
            PaddingMode::Constant(_) => None,
            PaddingMode::Edge => Some(if at < 0 { 0 } else { last }),
            PaddingMode::Reflect if last == 0 => Some(0),
            PaddingMode::Reflect => Some(fold(2 * last)).map(|at| if at > last { 2 * last - at } else { at }),
            PaddingMode::Symmetric => Some(fold(2 * len)).map(|at| if at > last { 2 * len - 1 - at } else { at }),
        }
    }
}

impl Image {
    /// The part of the image inside `rect`; what lies outside of the image is black, as with
    /// `torchvision.transforms.v2.functional.crop`.
    ///
    /// # Errors
    ///
    /// If the rectangle is empty, or has more pixels than [`Limits`](crate::image::Limits) allow by default.
    pub fn crop(&self, rect: Rect) -> Result<Image> {
        self.window(rect, PaddingMode::default())
    }

    /// The image with a margin around it (`torchvision.transforms.v2.functional.pad`).
    ///
    /// # Errors
    ///
    /// If nothing is left, or the result has more pixels than [`Limits`](crate::image::Limits) allow by default, or a constant
    /// is for another number of channels.
    pub fn pad(&self, padding: impl Into<Padding>, mode: PaddingMode) -> Result<Image> {
        let padding = padding.into();
        match mode {
            // What is cut off has no part in what is repeated.
            PaddingMode::Edge | PaddingMode::Reflect | PaddingMode::Symmetric if padding.cuts() => {
                let kept = self.crop(padding.each(|side| side.min(0)).around(self.size()))?;
                kept.window(padding.each(|side| side.max(0)).around(kept.size()), mode)
            }
            _ => self.window(padding.around(self.size()), mode),
        }
    }

    /// The part inside `rect` of the image as `mode` continues it beyond its edges.
    pub(crate) fn window(&self, rect: Rect, mode: PaddingMode) -> Result<Image> {
        let fill = match mode {
            PaddingMode::Constant(fill) => fill.pixel(self.channels)?,
            _ => [0; 4],
        };
        let mut window = Image::transformed(rect.size(), self.channels)?;
        by_channels!(self.channels, fill_window(self, &mut window, rect, mode, fill));
        Ok(window)
    }
}

fn fill_window<const C: usize>(image: &Image, window: &mut Image, rect: Rect, mode: PaddingMode, fill: [u8; 4]) {
    let fill: [u8; C] = channels(fill);
    let (width, source) = (image.width(), image.pixels().as_chunks::<C>().0);
    // The columns of the window that lie in the image, and where in the image they begin.
    let inner = inside(rect.left.saturating_neg(), width, rect.width);
    let from = usize::try_from(rect.left).unwrap_or(0);
    let outer: Vec<(usize, Option<usize>)> = (0..inner.start)
        .chain(inner.end..rect.width)
        .map(|x| (x, mode.source(rect.left.saturating_add_unsigned(x), width)))
        .collect();
    for (y, out) in window.pixels_mut().as_chunks_mut::<C>().0.chunks_exact_mut(rect.width).enumerate() {
        let Some(y) = mode.source(rect.top.saturating_add_unsigned(y), image.height()) else {
            out.fill(fill);
            continue;
        };
        let row = &source[y * width..][..width];
        out[inner.clone()].copy_from_slice(&row[from.min(width)..][..inner.len()]);
        for &(x, source) in &outer {
            out[x] = source.map_or(fill, |source| row[source]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::image::tests::{at, numbered};

    fn row(padding: Padding, mode: PaddingMode) -> Vec<u8> {
        Image::new((1, 4), 1, vec![1, 2, 3, 4]).unwrap().pad(padding, mode).unwrap().pixels().to_vec()
    }

    #[test]
    fn each_mode_continues_the_image_its_own_way() {
        let padding = Padding { left: 3, right: 5, ..Padding::default() };
        assert_eq!(row(padding, PaddingMode::Constant(9.into())), [9, 9, 9, 1, 2, 3, 4, 9, 9, 9, 9, 9]);
        assert_eq!(row(padding, PaddingMode::Edge), [1, 1, 1, 1, 2, 3, 4, 4, 4, 4, 4, 4]);
        assert_eq!(row(padding, PaddingMode::Reflect), [4, 3, 2, 1, 2, 3, 4, 3, 2, 1, 2, 3]);
        assert_eq!(row(padding, PaddingMode::Symmetric), [3, 2, 1, 1, 2, 3, 4, 4, 3, 2, 1, 1]);
        // A single row can only be repeated.
        let taller = Padding { top: 2, left: -3, ..Padding::default() };
        assert_eq!(row(taller, PaddingMode::Reflect), [4, 4, 4]);
    }

    #[test]
    fn what_is_cut_off_has_no_part_in_what_is_repeated() {
        let padding = Padding { left: -1, right: 2, ..Padding::default() };
        assert_eq!(row(padding, PaddingMode::Constant(9.into())), [2, 3, 4, 9, 9]);
        assert_eq!(row(padding, PaddingMode::Edge), [2, 3, 4, 4, 4]);
        assert_eq!(row(Padding { right: 4, ..padding }, PaddingMode::Reflect), [2, 3, 4, 3, 2, 3, 4]);
        let nothing = Padding { left: -3, right: -1, ..Padding::default() };
        let image = numbered(2, 4, 3);
        for mode in [PaddingMode::default(), PaddingMode::Edge] {
            assert_eq!(image.pad(nothing, mode).unwrap_err().kind(), ErrorKind::Decode);
            assert_eq!(image.pad(usize::MAX, mode).unwrap_err().kind(), ErrorKind::Limit);
        }
    }

    #[test]
    fn paddings_are_written_as_in_torchvision() {
        assert_eq!(Padding::from(3), Padding { left: 3, top: 3, right: 3, bottom: 3 });
        assert_eq!(Padding::from((1, 2)), Padding { left: 1, top: 2, right: 1, bottom: 2 });
        assert_eq!(Padding::from((1, 2, 3, 4)), Padding { left: 1, top: 2, right: 3, bottom: 4 });
    }

    #[test]
    fn a_crop_is_what_lies_inside_and_black_outside() {
        for channels in [1, 3, 4] {
            let image = numbered(4, 6, channels);
            for (top, left, height, width) in
                [(0, 0, 4, 6), (1, 2, 2, 3), (-1, -2, 4, 6), (2, 4, 5, 5), (-9, 0, 2, 2), (0, 30, 2, 2), (0, -30, 2, 2)]
            {
                let cropped = image.crop(Rect { top, left, height, width }).unwrap();
                assert_eq!(cropped.size(), Size { height, width });
                for y in 0..height as isize {
                    for x in 0..width as isize {
                        for c in 0..channels {
                            assert_eq!(at(&cropped, y, x, c), at(&image, y + top, x + left, c));
                        }
                    }
                }
            }
        }
        let far = Rect { top: isize::MAX, left: isize::MIN, height: 2, width: 2 };
        assert_eq!(numbered(3, 3, 3).crop(far).unwrap().pixels(), [0; 12]);
    }
}
