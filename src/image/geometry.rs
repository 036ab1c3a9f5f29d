//! Sizes and rectangles, in torchvision's order: height before width, top before left.

use std::fmt;

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

    /// Height and width.
    pub fn size(&self) -> Size {
        Size { height: self.height, width: self.width }
    }

    /// The part of it that lies inside an image of this size; empty where none does.
    pub(super) fn within(&self, size: Size) -> Self {
        let span = |start: isize, len: usize, limit: usize| {
            let from = start.clamp(0, limit as isize);
            let to = start.saturating_add_unsigned(len).clamp(from, limit as isize);
            (from, (to - from) as usize)
        };
        let (top, height) = span(self.top, self.height, size.height);
        let (left, width) = span(self.left, self.width, size.width);
        Rect { top, left, height, width }
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

    /// The pixels that it touches.
    pub(super) fn outer(&self) -> Rect {
        let (top, left) = (self.top.floor(), self.left.floor());
        let height = (self.top + self.height).ceil() - top;
        let width = (self.left + self.width).ceil() - left;
        Rect { top: top as isize, left: left as isize, height: height as usize, width: width as usize }
    }
}
