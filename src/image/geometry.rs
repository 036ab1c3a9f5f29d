//! Sizes and rectangles, in torchvision's order: height before width, top before left.

use std::fmt;
use std::ops::Range;

/// Height and width in pixels. A number stands for a square, a pair for (height, width), as in torchvision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
}

impl From<usize> for Size {
    fn from(side: usize) -> Self {
        Size { height: side, width: side }
    }
}

impl From<(usize, usize)> for Size {
    fn from((height, width): (usize, usize)) -> Self {
        Size { height, width }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} pixels (height x width)", self.height, self.width)
    }
}

/// A rectangle of pixels. It may lie partly outside of an image: a crop is black there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rect {
    /// The first row.
    pub top: isize,
    /// The first column.
    pub left: isize,
    /// How many rows.
    pub height: usize,
    /// How many columns.
    pub width: usize,
}

impl Rect {
    /// All of an image of this size.
    pub fn all(size: Size) -> Self {
        Rect { top: 0, left: 0, height: size.height, width: size.width }
    }

    /// The middle of an image of size `from`, as torchvision's `center_crop` finds it.
    ///
    /// As in functional/_geometry.py: a smaller image is padded first, by (want - have) // 2 in front; then the crop
    /// starts at int(round((have - want) / 2)), where Python rounds halves to the even side.
    pub(crate) fn centered(from: Size, size: Size) -> Self {
        let start = |have: usize, want: usize| match have < want {
            true => -(((want - have) / 2) as isize),
            false => ((have - want) as f64 / 2.0).round_ties_even() as isize,
        };
        let Size { height, width } = size;
        Rect { top: start(from.height, height), left: start(from.width, width), height, width }
    }

    /// Height and width.
    pub fn size(&self) -> Size {
        Size { height: self.height, width: self.width }
    }

    /// The part of it that lies inside an image of this size; empty where none does.
    pub(super) fn within(&self, size: Size) -> Self {
        let rows = inside(self.top, self.height, size.height);
        let columns = inside(self.left, self.width, size.width);
        Rect { top: rows.start as isize, left: columns.start as isize, height: rows.len(), width: columns.len() }
    }

    /// Whether it has no pixels.
    pub(super) fn is_empty(&self) -> bool {
        self.height == 0 || self.width == 0
    }

    /// The same pixels, counted from elsewhere.
    pub(super) fn shifted(&self, down: isize, right: isize) -> Self {
        Rect { top: self.top.saturating_add(down), left: self.left.saturating_add(right), ..*self }
    }

    /// Whether every pixel lies inside an image of this size.
    pub fn is_inside(&self, size: Size) -> bool {
        let fits = |start: isize, len: usize, limit: usize| {
            usize::try_from(start).is_ok_and(|start| start.checked_add(len).is_some_and(|end| end <= limit))
        };
        fits(self.top, self.height, size.height) && fits(self.left, self.width, size.width)
    }
}

/// A rectangle whose borders may lie between pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) top: f64,
    pub(super) left: f64,
    pub(super) height: f64,
    pub(super) width: f64,
}

impl From<Rect> for Part {
    fn from(rect: Rect) -> Self {
        Part::scaled(rect, 1, 0, 0)
    }
}

impl Part {
    /// Where `rect` is in an image that is smaller by a factor, whose first row and column are at (`top`, `left`).
    pub(super) fn scaled(rect: Rect, factor: usize, top: usize, left: usize) -> Self {
        let factor = factor as f64;
        Part {
            top: rect.top as f64 / factor - top as f64,
            left: rect.left as f64 / factor - left as f64,
            height: rect.height as f64 / factor,
            width: rect.width as f64 / factor,
        }
    }

    /// Whether no border lies between pixels.
    pub(super) fn is_of_whole_pixels(&self) -> bool {
        *self == Part::from(self.outer())
    }

    /// The same, counted from the first of the pixels that it touches.
    pub(super) fn within_outer(&self) -> Self {
        Part { top: self.top.fract(), left: self.left.fract(), ..*self }
    }

    /// The pixels that it touches.
    pub(super) fn outer(&self) -> Rect {
        let (top, left) = (self.top.floor(), self.left.floor());
        let height = (self.top + self.height).ceil() - top;
        let width = (self.left + self.width).ceil() - left;
        Rect { top: top as isize, left: left as isize, height: height as usize, width: width as usize }
    }
}

/// The part of `start..start + len` that lies in `0..limit`.
pub(super) fn inside(start: isize, len: usize, limit: usize) -> Range<usize> {
    let clamp = |at: isize| usize::try_from(at).unwrap_or(0).min(limit);
    clamp(start)..clamp(start.saturating_add_unsigned(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_where_torchvision_has_it() {
        let start = |have: usize, want: usize| Rect::centered(have.into(), want.into()).top;
        assert_eq!(start(10, 4), 3);
        assert_eq!(start(11, 4), 4); // 3.5 rounds to 4
        assert_eq!(start(9, 4), 2); // 2.5 rounds to 2
        assert_eq!(start(4, 4), 0);
        assert_eq!(start(4, 10), -3);
        assert_eq!(start(4, 9), -2);
    }
}
