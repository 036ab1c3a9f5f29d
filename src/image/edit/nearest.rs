//! Nearest-neighbour scaling: rows and columns are picked, each axis by itself.

use std::ops::Range;

use super::{by_channels, channels};
use crate::image::{Image, Rect};

/// Which rows or columns of the source those of the result are.
pub(super) struct Axis {
    /// The part of the result that has a source.
    span: Range<usize>,
    /// The source of each in `span`.
    sources: Vec<usize>,
}

impl Axis {
    /// `count` of them, out of `limit`: the first from `start + step / 2`, and so on by `step`.
    ///
    /// The position is accumulated, as in Pillow's `ImagingScaleAffine` (Geometry.c), and not multiplied: at the borders
    /// between pixels, rounding decides.
    pub(super) fn new(start: f64, step: f64, count: usize, limit: usize) -> Self {
        let (mut at, mut first, mut sources) = (start + step * 0.5, None, Vec::with_capacity(count));
        for place in 0..count {
            if at >= 0.0 && at < limit as f64 {
                first.get_or_insert(place);
                sources.push(at as usize);
            }
            at += step;
        }
        // Positions only rise, or only fall: there are no gaps.
        let first = first.unwrap_or(0);
        Axis { span: first..first + sources.len(), sources }
    }
}

/// Picks pixels of the part of `source` inside `rect`; where an axis has none, the result is `fill`.
pub(super) fn pick(source: &Image, rect: Rect, target: &mut Image, rows: &Axis, columns: &Axis, fill: [u8; 4]) {
    by_channels!(source.channels(), pick_pixels(source, rect, target, rows, columns, fill));
}

fn pick_pixels<const C: usize>(
    source: &Image,
    rect: Rect,
    target: &mut Image,
    rows: &Axis,
    columns: &Axis,
    fill: [u8; 4],
) {
    let fill: [u8; C] = channels(fill);
    let (width, out_width) = (source.width(), target.width());
    let (top, left) = (rect.top as usize, rect.left as usize);
    let source = source.pixels().as_chunks::<C>().0;
    let out = target.pixels_mut().as_chunks_mut::<C>().0;
    out[..rows.span.start * out_width].fill(fill);
    out[rows.span.end * out_width..].fill(fill);
    for (&y, out) in rows.sources.iter().zip(out[rows.span.start * out_width..].chunks_exact_mut(out_width)) {
        let row = &source[(top + y) * width + left..][..rect.width];
        out[..columns.span.start].fill(fill);
        out[columns.span.end..].fill(fill);
        for (out, &x) in out[columns.span.clone()].iter_mut().zip(&columns.sources) {
            *out = row[x];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_accumulated() {
        // The fourth lies at 1, and 3.5 * (2 / 7) is 1; the sum of rounded steps is a little less.
        let axis = Axis::new(0.0, 2.0 / 7.0, 7, 2);
        assert_eq!((axis.span, axis.sources), (0..7, vec![0, 0, 0, 0, 1, 1, 1]));
        let axis = Axis::new(0.0, 7.0 / 5.0, 5, 7);
        assert_eq!(axis.sources, [0, 2, 3, 4, 6]);
    }

    #[test]
    fn what_has_no_source_is_outside_the_span() {
        let axis = Axis::new(-2.0, 1.0, 6, 3);
        assert_eq!((axis.span, axis.sources), (2..5, vec![0, 1, 2]));
        let axis = Axis::new(3.0, -1.0, 5, 3);
        assert_eq!((axis.span, axis.sources), (0..3, vec![2, 1, 0]));
        let axis = Axis::new(f64::NAN, 1.0, 4, 3);
        assert_eq!((axis.span, axis.sources), (0..0, vec![]));
    }
}
