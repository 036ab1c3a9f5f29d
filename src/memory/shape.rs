//! `Shape`: the dimensions of a tensor, held in place.

use std::fmt;
use std::ops::Deref;

/// The dimensions of an array, at most [`Shape::MAX_DIMS`] of them; dereferences to `[usize]`.
///
/// Held in place, because every batch has one and a heap block each would cost more than a small batch.
#[derive(Clone, Copy, Eq)]
pub struct Shape {
    dims: [usize; Shape::MAX_DIMS],
    len: u8,
}

impl Shape {
    /// The most dimensions a shape can have.
    pub const MAX_DIMS: usize = 8;

    /// The shape of a scalar: no dimensions.
    pub const SCALAR: Shape = Shape { dims: [0; Self::MAX_DIMS], len: 0 };

    /// # Panics
    ///
    /// If there are more than [`MAX_DIMS`](Self::MAX_DIMS) dimensions.
    #[inline]
    pub fn new(dims: &[usize]) -> Self {
        assert!(dims.len() <= Self::MAX_DIMS, "a shape has at most {} dimensions, not {}", Self::MAX_DIMS, dims.len());
        let mut shape = Self::SCALAR;
        shape.dims[..dims.len()].copy_from_slice(dims);
        shape.len = dims.len() as u8;
        shape
    }

    /// This shape with one more dimension in front: `[N]` and `[C, H, W]` give `[N, C, H, W]`.
    ///
    /// # Panics
    ///
    /// If the shape is full.
    pub fn with_front(&self, dim: usize) -> Self {
        assert!(self.len() < Self::MAX_DIMS, "a sample has at most {} dimensions", Self::MAX_DIMS - 1);
        let mut shape = Self::SCALAR;
        shape.dims[0] = dim;
        shape.dims[1..=self.len()].copy_from_slice(self);
        shape.len = self.len + 1;
        shape
    }

    /// Sizes and strides in elements, in C order, as C and C++ libraries want them; `None` where they do not fit.
    ///
    /// As numpy and torch do: an empty dimension counts as 1 in the strides of the others. Of a tensor that is not empty
    /// none of this overflows, since it is in memory.
    #[cfg(any(feature = "dlpack", feature = "tch"))]
    pub(crate) fn with_strides(&self) -> Option<([i64; Self::MAX_DIMS], [i64; Self::MAX_DIMS])> {
        let (mut sizes, mut strides) = ([0; Self::MAX_DIMS], [0; Self::MAX_DIMS]);
        let mut stride = 1_i64;
        for (place, &size) in self.iter().enumerate().rev() {
            (sizes[place], strides[place]) = (size.try_into().ok()?, stride);
            stride = stride.checked_mul(sizes[place].max(1))?;
        }
        Some((sizes, strides))
    }

    /// The number of elements: 1 for a scalar; `None` where it does not fit `usize`.
    pub fn elements(&self) -> Option<usize> {
        self.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim))
    }
}

impl Deref for Shape {
    type Target = [usize];

    #[inline]
    fn deref(&self) -> &[usize] {
        &self.dims[..usize::from(self.len)]
    }
}

impl PartialEq for Shape {
    // Every sample is compared with its batch. The loop is inlined; comparing slices is a call to memcmp, which takes
    // longer than storing a scalar.
    #[inline]
    fn eq(&self, other: &Shape) -> bool {
        self.len == other.len && self.iter().zip(&**other).all(|(a, b)| a == b)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<const D: usize> From<[usize; D]> for Shape {
    #[inline]
    fn from(dims: [usize; D]) -> Self {
        Shape::new(&dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_its_dimensions() {
        let sample = Shape::from([3, 2, 5]);
        assert_eq!(sample.elements(), Some(30));
        assert_eq!(*sample.with_front(4), [4, 3, 2, 5]);
        assert_eq!(Shape::SCALAR.elements(), Some(1));
        assert_eq!(*Shape::SCALAR.with_front(7), [7]);
        assert_eq!(Shape::from([usize::MAX, 2]).elements(), None);
        assert_eq!(format!("{sample:?}"), "[3, 2, 5]");
    }
}
