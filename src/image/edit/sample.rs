//! The pixels of a warp: where each comes from, and how it is read there. Pillow's Geometry.c, to the bit.
//!
//! A pixel is read at its middle, so that of column x lies at x + 1/2. Three ways lead there in Pillow: affine maps that
//! read the nearest pixel step through the image in fixed point, or pick rows and columns where they do not turn it; all
//! else is computed in double precision for each pixel by itself.

use std::ops::{Add, Neg, Range, Sub};

use super::nearest::{Axis, pick};
use super::{by_channels, channels};
use crate::image::{Image, Interpolation, Rect};

/// An image as the pixels it has.
#[derive(Clone, Copy)]
struct View<'a, const C: usize> {
    pixels: &'a [[u8; C]],
    width: usize,
    height: usize,
}

impl<'a, const C: usize> View<'a, C> {
    fn new(image: &'a Image) -> Self {
        View { pixels: image.pixels().as_chunks::<C>().0, width: image.width(), height: image.height() }
    }

    /// Whether the place is inside. What is not a number is not.
    fn holds(&self, x: f64, y: f64) -> bool {
        x >= 0.0 && x < self.width as f64 && y >= 0.0 && y < self.height as f64
    }

    /// The `N * N` pixels whose first is at (x, y), if all of them are inside.
    fn inner<const N: usize>(&self, x: isize, y: isize) -> Option<[&'a [[u8; C]; N]; N]> {
        let fits = |at: isize, len: usize| at >= 0 && at + N as isize <= len as isize;
        (fits(x, self.width) && fits(y, self.height)).then(|| {
            let first = y as usize * self.width + x as usize;
            std::array::from_fn(|row| {
                self.pixels[first + row * self.width..].first_chunk().expect("the square is inside")
            })
        })
    }

    /// The `N * N` pixels whose first is at (x, y); the outermost are repeated beyond the edge.
    #[cold]
    fn square<const N: usize>(&self, x: isize, y: isize) -> [[[u8; C]; N]; N] {
        let clamp = |at: isize, len: usize| at.clamp(0, len as isize - 1) as usize;
        std::array::from_fn(|row| {
            let row = clamp(y + row as isize, self.height) * self.width;
            std::array::from_fn(|column| self.pixels[row + clamp(x + column as isize, self.width)])
        })
    }
}

/// Where the pixels of the result come from.
trait Map {
    /// For the row at `y` of the result: what gives, for an x, the place to read.
    fn row(&self, y: f64) -> impl Fn(f64) -> (f64, f64);
}

/// The terms are in Pillow's order: sums in floating point depend on it.
struct Affine([f64; 6]);

impl Map for Affine {
    fn row(&self, y: f64) -> impl Fn(f64) -> (f64, f64) {
        let Affine(m) = *self;
        let (x_of_row, y_of_row) = (m[1] * y, m[4] * y);
        move |x| (m[0] * x + x_of_row + m[2], m[3] * x + y_of_row + m[5])
    }
}

struct Perspective([f64; 8]);

impl Map for Perspective {
    fn row(&self, y: f64) -> impl Fn(f64) -> (f64, f64) {
        let Perspective(k) = *self;
        let (x_of_row, y_of_row, depth_of_row) = (k[1] * y, k[4] * y, k[7] * y);
        move |x| {
            let depth = k[6] * x + depth_of_row + 1.0;
            ((k[0] * x + x_of_row + k[2]) / depth, (k[3] * x + y_of_row + k[5]) / depth)
        }
    }
}

/// Writes `target` as the affine map `m` of `source`, and `fill` where it leads outside.
pub(super) fn affine(source: &Image, target: &mut Image, m: &[f64; 6], interpolation: Interpolation, fill: [u8; 4]) {
    if interpolation != Interpolation::Nearest {
        return by_channels!(source.channels(), read_each(source, target, &Affine(*m), interpolation, fill));
    }
    if m[1] == 0.0 && m[3] == 0.0 {
        let rows = Axis::new(m[5], m[4], target.height(), source.height());
        let columns = Axis::new(m[2], m[0], target.width(), source.width());
        return pick(source, Rect::all(source.size()), target, &rows, &columns, fill);
    }
    // Whether all places fit a number with 16 bits on either side of the point.
    let (width, height) = (target.width() as f64, target.height() as f64);
    let fits = [(0.0, 0.0), (width, height), (0.0, height), (width, 0.0)]
        .into_iter()
        .all(|(x, y)| (x * m[0] + y * m[1] + m[2]).abs() < 32768.0 && (x * m[3] + y * m[4] + m[5]).abs() < 32768.0);
    match fits {
        true => by_channels!(source.channels(), step_in_fixed_point(source, target, m, fill)),
        false => by_channels!(source.channels(), step_in_floating_point(source, target, m, fill)),
    }
}

/// Writes `target` as the perspective `k` of `source`, and `fill` where it leads outside.
pub(super) fn perspective(
    source: &Image,
    target: &mut Image,
    k: &[f64; 8],
    interpolation: Interpolation,
    fill: [u8; 4],
) {
    by_channels!(source.channels(), read_each(source, target, &Perspective(*k), interpolation, fill));
}

/// `ImagingGenericTransform`.
#[expect(clippy::redundant_closure, reason = "a closure is inlined into the loop; a function is called for each pixel")]
fn read_each<const C: usize>(
    source: &Image,
    target: &mut Image,
    map: &impl Map,
    interpolation: Interpolation,
    fill: [u8; 4],
) {
    match interpolation {
        Interpolation::Nearest => read_each_by(source, target, map, |view, x, y| nearest::<C>(view, x, y), fill),
        Interpolation::Bicubic => read_each_by(source, target, map, |view, x, y| bicubic::<C>(view, x, y), fill),
        _ => read_each_by(source, target, map, |view, x, y| bilinear::<C>(view, x, y), fill),
    }
}

fn read_each_by<const C: usize>(
    source: &Image,
    target: &mut Image,
    map: &impl Map,
    read: impl Fn(View<'_, C>, f64, f64) -> [u8; C],
    fill: [u8; 4],
) {
    let fill: [u8; C] = channels(fill);
    let (view, width) = (View::<C>::new(source), target.width());
    for (y, row) in target.pixels_mut().as_chunks_mut::<C>().0.chunks_exact_mut(width).enumerate() {
        let place = map.row(y as f64 + 0.5);
        for (x, out) in row.iter_mut().enumerate() {
            let (x, y) = place(x as f64 + 0.5);
            *out = if view.holds(x, y) { read(view, x, y) } else { fill };
        }
    }
}

fn nearest<const C: usize>(view: View<'_, C>, x: f64, y: f64) -> [u8; C] {
    view.pixels[y as usize * view.width + x as usize]
}

/// The last pixel whose middle is not beyond a place, and how far beyond it the place is: -1 before the first middle.
fn split(place: f64) -> (isize, f64) {
    let place = place - 0.5;
    // The place is inside of the image, so not below -1/2; and a cast cuts off, which rounds down what is positive.
    match place < 0.0 {
        true => (-1, place + 1.0),
        false => (place as u32 as isize, place - f64::from(place as u32)),
    }
}

#[inline(always)] // for the same reason
fn bilinear<const C: usize>(view: View<'_, C>, x: f64, y: f64) -> [u8; C] {
    let ((x, right), (y, down)) = (split(x), split(y));
    match view.inner(x, y) {
        Some(square) => bilinear_of(square, right, down),
        None => bilinear_of(view.square(x, y).each_ref(), right, down),
    }
}

#[inline(always)]
fn bilinear_of<const C: usize>([above, below]: [&[[u8; C]; 2]; 2], right: f64, down: f64) -> [u8; C] {
    // The difference of bytes is exact, and cheaper as a whole number.
    let across = |a: u8, b: u8| f64::from(a) + f64::from(i32::from(b) - i32::from(a)) * right;
    std::array::from_fn(|c| {
        let (above, below) = (across(above[0][c], above[1][c]), across(below[0][c], below[1][c]));
        (above + (below - above) * down) as u8
    })
}

fn bicubic<const C: usize>(view: View<'_, C>, x: f64, y: f64) -> [u8; C] {
    let ((x, right), (y, down)) = (split(x), split(y));
    match view.inner(x - 1, y - 1) {
        Some(square) => bicubic_of(square, right, down),
        None => bicubic_of(view.square(x - 1, y - 1).each_ref(), right, down),
    }
}

fn bicubic_of<const C: usize>(rows: [&[[u8; C]; 4]; 4], right: f64, down: f64) -> [u8; C] {
    // As above: what becomes of bytes is exact until it is multiplied by a fraction.
    let lines = rows.map(|row| -> [f64; C] {
        std::array::from_fn(|c| cubic_at(cubic_through(row.map(|pixel| i32::from(pixel[c]))).map(f64::from), right))
    });
    // The cast cuts off what is beyond 0 and 255.
    std::array::from_fn(|c| cubic_at(cubic_through(lines.map(|line| line[c])), down) as u8)
}

/// The coefficients of a cubic through the two values in the middle, from the constant one to that of the cube.
fn cubic_through<T>([a, b, c, d]: [T; 4]) -> [T; 4]
where
    T: Copy + Neg<Output = T> + Add<Output = T> + Sub<Output = T>,
{
    let twice = a - b + (a - b);
    [b, -a + c, twice + c - d, -a + b - c + d]
}

fn cubic_at([constant, linear, square, cube]: [f64; 4], at: f64) -> f64 {
    constant + at * (linear + at * (square + at * cube))
}

/// `affine_fixed`: numbers with 16 bits after the point.
fn step_in_fixed_point<const C: usize>(source: &Image, target: &mut Image, m: &[f64; 6], fill: [u8; 4]) {
    let fill: [u8; C] = channels(fill);
    let (view, width) = (View::<C>::new(source), target.width());
    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    let (x_right, x_down, y_right, y_down) = (fixed(m[0]), fixed(m[1]), fixed(m[3]), fixed(m[4]));
    let mut x_start = fixed(m[2] + m[0] * 0.5 + m[1] * 0.5);
    let mut y_start = fixed(m[5] + m[3] * 0.5 + m[4] * 0.5);
    for row in target.pixels_mut().as_chunks_mut::<C>().0.chunks_exact_mut(width) {
        let by_x = steps_inside(x_start, x_right, view.width, width);
        let by_y = steps_inside(y_start, y_right, view.height, width);
        let (first, end) = (by_x.start.max(by_y.start), by_x.end.min(by_y.end));
        let (first, end) = if first < end { (first, end) } else { (0, 0) };
        row[..first].fill(fill);
        row[end..].fill(fill);
        let (mut x, mut y) = (x_start + x_right * first as i64, y_start + y_right * first as i64);
        for out in &mut row[first..end] {
            *out = view.pixels[(y >> 16) as usize * view.width + (x >> 16) as usize];
            x += x_right;
            y += y_right;
        }
        x_start += x_down;
        y_start += y_down;
    }
}

/// Which of `count` steps from `start` on lie in `0..limit`, of numbers with 16 bits after the point.
fn steps_inside(start: i64, step: i64, limit: usize, count: usize) -> Range<usize> {
    let last = ((limit as i64) << 16) - 1;
    let (low, high) = match step {
        0 if (0..=last).contains(&start) => return 0..count,
        0 => return 0..0,
        // The least i for which start + i * step >= 0, and the least for which it is > last.
        1.. => (-start.div_euclid(step), (last - start).div_euclid(step) + 1),
        // As above, mirrored.
        _ => (-(last - start).div_euclid(-step), start.div_euclid(-step) + 1),
    };
    let clamp = |place: i64| place.clamp(0, count as i64) as usize;
    clamp(low)..clamp(high)
}

/// What `ImagingTransformAffine` does where numbers are too large for fixed point.
fn step_in_floating_point<const C: usize>(source: &Image, target: &mut Image, m: &[f64; 6], fill: [u8; 4]) {
    let fill: [u8; C] = channels(fill);
    let (view, width) = (View::<C>::new(source), target.width());
    let (mut x_start, mut y_start) = (m[2] + m[1] * 0.5 + m[0] * 0.5, m[5] + m[4] * 0.5 + m[3] * 0.5);
    for row in target.pixels_mut().as_chunks_mut::<C>().0.chunks_exact_mut(width) {
        let (mut x, mut y) = (x_start, y_start);
        for out in row {
            *out = if view.holds(x, y) { nearest(view, x, y) } else { fill };
            x += m[0];
            y += m[3];
        }
        x_start += m[1];
        y_start += m[4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_inside_are_those_that_one_by_one_are() {
        let one = 1_i64 << 16;
        for start in [-3 * one, -one - 1, -one, -1, 0, 1, one, 5 * one - 1, 5 * one, 9 * one] {
            for step in [-2 * one, -one, -one / 3, -1, 0, 1, one / 3, one, 2 * one + 1] {
                let inside = steps_inside(start, step, 5, 12);
                let expected = (0..12).filter(|&i| (0..5 * one).contains(&(start + i * step)));
                assert_eq!(
                    inside.map(|i| i as i64).collect::<Vec<_>>(),
                    expected.collect::<Vec<_>>(),
                    "{start} {step}"
                );
            }
        }
    }

    #[test]
    fn a_cubic_passes_through_its_values() {
        let values = cubic_through([3.0, 5.0, 11.0, 2.0]);
        assert_eq!((cubic_at(values, 0.0), cubic_at(values, 1.0)), (5.0, 11.0));
        assert_eq!(cubic_at(cubic_through([7.0; 4]), 0.3), 7.0);
    }
}
