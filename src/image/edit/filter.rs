//! What depends on a pixel's neighbours: sharpness and blur.

use std::cell::RefCell;

use super::blend::{blend, checked, truncate};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Image;

thread_local! {
    /// The rows that a filter is in the middle of, kept between pictures.
    static ROWS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `len` values, whatever they are.
fn with_rows<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    ROWS.with_borrow_mut(|rows| {
        if rows.len() < len {
            rows.resize(len, 0.0);
        }
        f(&mut rows[..len])
    })
}

impl Image {
    /// Moves the image away from a smoothed one: 0 is that one, 1 the image as it is, 2 sharper
    /// (`torchvision.transforms.v2.functional.adjust_sharpness`). The outermost pixels stay, and alpha does.
    ///
    /// # Panics
    ///
    /// If the factor is negative.
    pub fn adjust_sharpness(&mut self, factor: f64) {
        let factor = checked("adjust_sharpness", factor);
        if self.height() < 3 || self.width() < 3 {
            return;
        }
        let row_bytes = self.width() * self.channels;
        match self.channels {
            1 => sharpen::<1>(self.pixels_mut(), row_bytes, factor),
            3 => sharpen::<3>(self.pixels_mut(), row_bytes, factor),
            _ => sharpen::<4>(self.pixels_mut(), row_bytes, factor),
        }
    }

    /// Blurs with a Gaussian kernel of `[x, y]` pixels, the image mirrored at its edges
    /// (`torchvision.transforms.v2.functional.gaussian_blur`). `sigma` is `[x, y]` as well; `None` is
    /// `0.15 * kernel_size + 0.35`.
    ///
    /// One value in some ten thousand is off by one level: torch's sums are of single precision, and in an order of its own.
    ///
    /// # Errors
    ///
    /// If half a kernel reaches over a whole side of the image.
    ///
    /// # Panics
    ///
    /// If a side of the kernel is even, or a sigma not above 0.
    pub fn gaussian_blur(&mut self, kernel_size: [usize; 2], sigma: Option<[f64; 2]>) -> Result<()> {
        let sigma = sigma.unwrap_or(kernel_size.map(|size| size as f64 * 0.15 + 0.35));
        let (kx, ky) = (kernel(kernel_size[0], sigma[0]), kernel(kernel_size[1], sigma[1]));
        if kx.len() / 2 >= self.width() || ky.len() / 2 >= self.height() {
            return Err(Error::new(
                ErrorKind::Decode,
                format!(
                    "cannot blur an image of {} with a kernel of {} rows and {} columns",
                    self.size,
                    ky.len(),
                    kx.len()
                ),
            ));
        }
        convolve(self, &kx, &ky);
        Ok(())
    }
}

/// `ImageFilter.SMOOTH` (`ImagingFilter3x3` in PIL's `src/libImaging/Filter.c`), blended with the image: 5/13 of a pixel
/// and 1/13 of each neighbour, in single precision, the row below first.
fn sharpen<const C: usize>(pixels: &mut [u8], row_bytes: usize, factor: f32) {
    let inside = row_bytes - 2 * C;
    with_rows(5 * inside, |rows| {
        let mut parts = rows.chunks_exact_mut(inside);
        let mut next = || parts.next().expect("five rows");
        let [mut above, mut here, mut below] = [next(), next(), next()];
        let [mut middle, mut middle_below] = [next(), next()];
        smooth_row::<C>(&pixels[..row_bytes], above, middle);
        smooth_row::<C>(&pixels[row_bytes..2 * row_bytes], here, middle);
        for y in 1..pixels.len() / row_bytes - 1 {
            let (done, rest) = pixels.split_at_mut((y + 1) * row_bytes);
            smooth_row::<C>(&rest[..row_bytes], below, middle_below);
            let row = &mut done[y * row_bytes + C..][..inside];
            for i in 0..inside {
                let smooth = truncate(0.5 + below[i] + middle[i] + above[i]);
                let value = blend(smooth, row[i], factor);
                row[i] = if C == 4 && i % 4 == 3 { row[i] } else { value };
            }
            std::mem::swap(&mut middle, &mut middle_below);
            (above, here, below) = (here, below, above);
        }
    });
}

/// A row's share in the row above or below it, and in its own.
fn smooth_row<const C: usize>(row: &[u8], side: &mut [f32], middle: &mut [f32]) {
    const EDGE: f32 = 1.0 / 13.0;
    const MIDDLE: f32 = 5.0 / 13.0;
    let inside = row.len() - 2 * C;
    let (left, center, right) = (&row[..inside], &row[C..][..inside], &row[2 * C..]);
    let (side, middle) = (&mut side[..inside], &mut middle[..inside]);
    for i in 0..inside {
        let [left, center, right] = [left[i], center[i], right[i]].map(f32::from);
        side[i] = left * EDGE + center * EDGE + right * EDGE;
        middle[i] = left * EDGE + center * MIDDLE + right * EDGE;
    }
}

/// `_get_gaussian_kernel1d` in torchvision's `transforms/v2/functional/_misc.py`.
///
/// # Panics
///
/// If the size is even, or sigma not above 0.
fn kernel(size: usize, sigma: f64) -> Vec<f32> {
    assert!(size % 2 == 1, "gaussian_blur: a kernel has an odd number of rows and columns, not {size}");
    assert!(sigma > 0.0, "gaussian_blur: a sigma is above 0, and {sigma} is not");
    let half = size as f64 / 2.0 - 0.5;
    let weight = |i: usize| {
        let x = ((i as f64 - half) / std::f64::consts::SQRT_2) as f32 / sigma as f32;
        f64::from(-(x * x)).exp() as f32
    };
    let weights: Vec<f32> = (0..size).map(weight).collect();
    let sum = weights.iter().map(|&weight| f64::from(weight)).sum::<f64>() as f32;
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// First along the rows, then along the columns, which is the product of the two kernels.
fn convolve(image: &mut Image, kx: &[f32], ky: &[f32]) {
    const WHOLE: f32 = (1_u32 << 23) as f32;
    let (height, channels, row_bytes) = (image.height(), image.channels, image.width() * image.channels);
    let (margin, reach) = (kx.len() / 2 * channels, ky.len() / 2);
    // Where in the ring the rows are that a row is the sum of.
    let mut starts = vec![0; ky.len()];
    with_rows(row_bytes + 2 * margin + (1 + ky.len()) * row_bytes, |rows| {
        let (padded, rows) = rows.split_at_mut(row_bytes + 2 * margin);
        let (sum, ring) = rows.split_at_mut(row_bytes);
        let place = |row: usize| row % ky.len() * row_bytes;
        let mut next = 0; // the row that the ring gets next
        for y in 0..height {
            // No row above the next one is needed as it was before: those that are mirrored are still in the ring.
            while next < (y + reach + 1).min(height) {
                pad(&image.pixels()[next * row_bytes..][..row_bytes], padded, margin, channels);
                weighted_sum(&mut ring[place(next)..][..row_bytes], kx, padded, |tap| tap * channels);
                next += 1;
            }
            for (tap, start) in starts.iter_mut().enumerate() {
                let row = (y + tap).abs_diff(reach);
                *start = place(if row < height { row } else { 2 * (height - 1) - row });
            }
            weighted_sum(sum, ky, ring, |tap| starts[tap]);
            let row = &mut image.pixels_mut()[y * row_bytes..][..row_bytes];
            for (value, &sum) in row.iter_mut().zip(&*sum) {
                // To the nearest, halves to even: from 2^23 on, single precision has whole numbers only.
                *value = (sum + WHOLE).to_bits() as u8;
            }
        }
    });
}

/// The row, with the pixels next to its ends mirrored beyond them.
fn pad(row: &[u8], padded: &mut [f32], margin: usize, channels: usize) {
    for (padded, &value) in padded[margin..].iter_mut().zip(row) {
        *padded = f32::from(value);
    }
    let end = margin + row.len();
    for out in (channels..=margin).step_by(channels) {
        for channel in 0..channels {
            padded[margin - out + channel] = padded[margin + out + channel];
            padded[end + out - channels + channel] = padded[end - out - channels + channel];
        }
    }
}

/// Rows of `values`, which begin where `start` says, added up with weights.
fn weighted_sum(sum: &mut [f32], weights: &[f32], values: &[f32], start: impl Fn(usize) -> usize) {
    // As many as fit into registers while all rows are added.
    const BLOCK: usize = 32;
    let (blocks, rest) = sum.as_chunks_mut::<BLOCK>();
    let rest_begins = blocks.len() * BLOCK;
    for (i, block) in blocks.iter_mut().enumerate() {
        *block = weighted_block(weights, values, |tap| start(tap) + i * BLOCK);
    }
    for (i, value) in rest.iter_mut().enumerate() {
        [*value] = weighted_block(weights, values, |tap| start(tap) + rest_begins + i);
    }
}

fn weighted_block<const N: usize>(weights: &[f32], values: &[f32], start: impl Fn(usize) -> usize) -> [f32; N] {
    let mut sum = [0.0; N];
    for (tap, &weight) in weights.iter().enumerate() {
        for (sum, &value) in sum.iter_mut().zip(&values[start(tap)..][..N]) {
            *sum += weight * value;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::color::tests::noise;
    use super::*;

    /// The sum over the whole kernel at once, in double precision.
    fn blurred_at(image: &Image, [kx, ky]: [usize; 2], sigma: [f64; 2], y: usize, x: usize, channel: usize) -> f64 {
        let gauss = |i: usize, size: usize, sigma: f64| (-((i as f64 - (size / 2) as f64) / sigma).powi(2) / 2.0).exp();
        let mirrored = |at: isize, len: usize| {
            let at = at.unsigned_abs();
            if at < len { at } else { 2 * (len - 1) - at }
        };
        let (mut sum, mut weights) = (0.0, 0.0);
        for (i, j) in (0..ky).flat_map(|i| (0..kx).map(move |j| (i, j))) {
            let row = mirrored((y + i) as isize - (ky / 2) as isize, image.height());
            let column = mirrored((x + j) as isize - (kx / 2) as isize, image.width());
            let weight = gauss(i, ky, sigma[1]) * gauss(j, kx, sigma[0]);
            let value = image.pixels()[(row * image.width() + column) * image.channels() + channel];
            (sum, weights) = (sum + weight * f64::from(value), weights + weight);
        }
        sum / weights
    }

    #[test]
    fn blur_is_the_sum_over_the_kernel_and_mirrors_at_the_edges() {
        for (size, channels, kernel_size) in [
            ((9, 14), 3, [5, 3]),
            ((12, 7), 1, [13, 1]),
            ((12, 12), 4, [1, 23]),
            ((2, 20), 3, [9, 3]),
            ((30, 40), 3, [7, 7]),
        ] {
            let (image, sigma) = (noise(size, channels), [1.3, 2.1]);
            let mut blurred = image.clone();
            blurred.gaussian_blur(kernel_size, Some(sigma)).unwrap();
            for (i, &value) in blurred.pixels().iter().enumerate() {
                let (pixel, channel) = (i / channels, i % channels);
                let (y, x) = (pixel / image.width(), pixel % image.width());
                let expected = blurred_at(&image, kernel_size, sigma, y, x, channel);
                assert!((f64::from(value) - expected).abs() < 0.5001, "{value} for {expected} at {y}, {x}, {channel}");
            }
        }
    }

    #[test]
    fn a_kernel_that_reaches_over_the_whole_image_is_an_error() {
        let mut image = noise((4, 9), 3);
        assert_eq!(image.gaussian_blur([3, 9], None).unwrap_err().kind(), ErrorKind::Decode);
        assert!(image.gaussian_blur([19, 3], None).is_err());
        assert_eq!(image, noise((4, 9), 3));
        assert!(image.gaussian_blur([17, 7], None).is_ok());
        assert!(Image::new((0, 0), 3, Vec::new()).unwrap().gaussian_blur([1, 1], None).is_err());
    }

    #[test]
    fn the_edges_are_not_sharpened() {
        let (image, mut sharp) = (noise((6, 7), 3), noise((6, 7), 3));
        sharp.adjust_sharpness(5.0);
        for (i, (before, after)) in image.pixels().iter().zip(sharp.pixels()).enumerate() {
            let (y, x) = (i / 3 / 7, i / 3 % 7);
            if y == 0 || x == 0 || y == 5 || x == 6 {
                assert_eq!(before, after);
            }
        }
        assert_ne!(image, sharp);
        for size in [(2, 7), (7, 2), (1, 1)] {
            let mut image = noise(size, 3);
            image.adjust_sharpness(5.0);
            assert_eq!(image, noise(size, 3));
        }
    }

    #[test]
    #[should_panic(expected = "a kernel has an odd number")]
    fn an_even_kernel_is_refused() {
        let _ = noise(9, 3).gaussian_blur([4, 3], None);
    }
}
