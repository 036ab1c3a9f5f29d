//! Resampling by the mean of boxes, in Pillow's own arithmetic (`Resample.c`).
//!
//! Whether a pixel whose middle lies on the border of two boxes belongs to the one or the other is decided by the rounding
//! of double precision, and seen by any number of levels. So the operations are Pillow's, in its order.

use super::by_channels;
use super::resample::vertical_first;
use crate::error::Result;
use crate::image::geometry::Part;
use crate::image::{Image, Rect, Size};

/// Of a weight, behind the point.
const PRECISION: u32 = 32 - 8 - 2;

/// What a pixel of the result is made of: the first pixel, and the weights of those from there.
struct Weights {
    first: usize,
    weights: Vec<i32>,
}

impl Image {
    /// The part `part` of the part `view`, resampled to `size`.
    pub(super) fn boxed(&self, view: Rect, part: Part, size: Size) -> Result<Image> {
        let columns = weights(view.width, part.left, part.width, size.width);
        let rows = weights(view.height, part.top, part.height, size.height);
        let view = self.crop(view)?;
        match vertical_first(view.size(), size) {
            true => across(&down(&view, &rows)?, &columns),
            false => down(&across(&view, &columns)?, &rows),
        }
    }
}

/// Those of `to` boxes that share `len` of `from` pixels between them, from `start` on.
fn weights(from: usize, start: f64, len: f64, to: usize) -> Vec<Weights> {
    let scale = len / to as f64;
    let filter_scale = scale.max(1.0);
    let (support, inverse) = (0.5 * filter_scale, 1.0 / filter_scale);
    let of = |at: usize| {
        let center = start + (at as f64 + 0.5) * scale;
        // `as` cuts off and stops at zero.
        let first = (center - support + 0.5) as usize;
        let last = ((center + support + 0.5) as usize).min(from);
        let inside = |x: usize| {
            let place = (x as f64 + first as f64 - center + 0.5) * inverse;
            -0.5 < place && place <= 0.5
        };
        let weights: Vec<f64> = (0..last - first).map(|x| f64::from(u8::from(inside(x)))).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: f64| (0.5 + weight / sum * f64::from(1_u32 << PRECISION)) as i32;
        Weights { first, weights: weights.into_iter().map(fixed).collect() }
    };
    (0..to).map(of).collect()
}

/// To another width.
fn across(image: &Image, columns: &[Weights]) -> Result<Image> {
    fn pass<const C: usize>(image: &Image, out: &mut Image, columns: &[Weights]) {
        let (from, to) = (image.width(), columns.len());
        let rows = image.pixels().as_chunks::<C>().0.chunks_exact(from);
        for (row, out) in rows.zip(out.pixels_mut().as_chunks_mut::<C>().0.chunks_exact_mut(to)) {
            for (out, Weights { first, weights }) in out.iter_mut().zip(columns) {
                *out = std::array::from_fn(|c| sum(row[*first..].iter().map(|pixel| pixel[c]), weights));
            }
        }
    }
    if columns.len() == image.width() {
        return Ok(image.clone());
    }
    let mut out = Image::transformed(Size { height: image.height(), width: columns.len() }, image.channels())?;
    by_channels!(image.channels(), pass(image, &mut out, columns));
    Ok(out)
}

/// To another height.
fn down(image: &Image, rows: &[Weights]) -> Result<Image> {
    if rows.len() == image.height() {
        return Ok(image.clone());
    }
    let mut out = Image::transformed(Size { height: rows.len(), width: image.width() }, image.channels())?;
    let row_bytes = image.width() * image.channels();
    for (out, Weights { first, weights }) in out.pixels_mut().chunks_exact_mut(row_bytes).zip(rows) {
        for (at, out) in out.iter_mut().enumerate() {
            *out = sum(image.pixels()[first * row_bytes + at..].iter().step_by(row_bytes).copied(), weights);
        }
    }
    Ok(out)
}

fn sum(values: impl Iterator<Item = u8>, weights: &[i32]) -> u8 {
    let half = 1 << (PRECISION - 1);
    let sum = values.zip(weights).fold(half, |sum, (value, weight)| sum + i32::from(value) * weight);
    (sum >> PRECISION).clamp(0, 255) as u8
}
