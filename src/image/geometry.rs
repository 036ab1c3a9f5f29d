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

    /// Whether every pixel lies inside an image of this size.
    pub fn is_inside(&self, size: Size) -> bool {
        let fits = |start: isize, len: usize, limit: usize| {
            usize::try_from(start).is_ok_and(|start| start.checked_add(len).is_some_and(|end| end <= limit))
        };
        fits(self.top, self.height, size.height) && fits(self.left, self.width, size.width)
    }
}
