//! Rotations, affine and perspective maps: `Warp`, and the matrices, as torchvision and Pillow compute them.

use super::sample::{affine, perspective};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Fill, Image, Interpolation, Size};

/// How [`Image::rotate`], [`Image::affine`] and [`Image::perspective`] read the image: what stands for
/// `interpolation`, `center`, `expand` and `fill` in torchvision.
///
/// ```
/// use sutler::image::{Image, Interpolation, Warp};
///
/// let image = Image::new((2, 2), 1, vec![1, 2, 3, 4])?;
/// let warp = Warp { interpolation: Interpolation::Bilinear, ..Warp::default() };
/// assert_eq!(image.rotate(90.0, &warp)?.pixels(), [2, 4, 1, 3]);
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warp {
    /// [`Nearest`](Interpolation::Nearest) (the default), [`Bilinear`](Interpolation::Bilinear) or
    /// [`Bicubic`](Interpolation::Bicubic). Values between levels are cut off and not rounded, as in Pillow.
    pub interpolation: Interpolation,
    /// What a rotation, a scale and a shear leave in place, as (x, y) in pixels from the top left corner; the middle of
    /// the image by default. Has no meaning for a perspective.
    pub center: Option<(f64, f64)>,
    /// Whether the result is as large as all of the rotated image needs, instead of as large as the image. For
    /// [`rotate`](Image::rotate) only.
    pub expand: bool,
    /// What is put where the image has no pixels.
    pub fill: Fill,
}

impl Default for Warp {
    fn default() -> Self {
        Warp { interpolation: Interpolation::Nearest, center: None, expand: false, fill: Fill::default() }
    }
}

impl Warp {
    /// # Panics
    ///
    /// If Pillow has no such warp.
    pub(crate) fn check_interpolation(interpolation: Interpolation) {
        let known = matches!(interpolation, Interpolation::Nearest | Interpolation::Bilinear | Interpolation::Bicubic);
        assert!(known, "a warp reads the nearest pixel, bilinear or bicubic, and not {interpolation:?}");
    }
}

/// Where a pixel of the result comes from: x is `m[0] * x + m[1] * y + m[2]`, y is `m[3] * x + m[4] * y + m[5]`.
type Matrix = [f64; 6];

impl Image {
    /// The image rotated by `angle` degrees, counter-clockwise (`torchvision.transforms.v2.functional.rotate`).
    ///
    /// # Errors
    ///
    /// If the fill is for another number of channels, or the expanded image has more pixels than
    /// [`Limits`](crate::image::Limits) allow by default.
    ///
    /// # Panics
    ///
    /// If `angle` or the centre is not finite, or the interpolation is none that [`Warp`] names.
    pub fn rotate(&self, angle: f64, warp: &Warp) -> Result<Image> {
        assert!(angle.is_finite(), "rotate: an angle of {angle} degrees");
        check_center(warp);
        let angle = angle.rem_euclid(360.0);
        // Turns that move whole pixels to whole pixels.
        match angle {
            _ if warp.center.is_some() => {}
            0.0 => return Ok(self.clone()),
            180.0 => return Ok(self.half_turned()),
            90.0 | 270.0 if warp.expand || self.height() == self.width() => return self.quarter_turned(angle == 90.0),
            _ => {}
        }
        let (size, matrix) = rotation(self.size(), angle, warp);
        self.warped(size, warp, |source, target, fill| affine(source, target, &matrix, warp.interpolation, fill))
    }

    /// The image rotated by `angle` degrees clockwise, sheared by `shear` degrees along x and y, and scaled, about a
    /// centre, then moved by `translate` pixels along x and y (`torchvision.transforms.v2.functional.affine`). Its size
    /// stays.
    ///
    /// # Errors
    ///
    /// If the fill is for another number of channels.
    ///
    /// # Panics
    ///
    /// If `scale` is not positive, a number is not finite, or the interpolation is none that [`Warp`] names.
    pub fn affine(
        &self,
        angle: f64,
        translate: (f64, f64),
        scale: f64,
        shear: (f64, f64),
        warp: &Warp,
    ) -> Result<Image> {
        let finite = [angle, translate.0, translate.1, scale, shear.0, shear.1].iter().all(|number| number.is_finite());
        assert!(
            finite && scale > 0.0,
            "affine: angle {angle}, translate {translate:?}, shear {shear:?} must be finite, scale {scale} positive too"
        );
        check_center(warp);
        let center = warp.center.unwrap_or((self.width() as f64 * 0.5, self.height() as f64 * 0.5));
        let matrix = inverse_affine(center, angle, translate, scale, shear);
        self.warped(self.size(), warp, |source, target, fill| affine(source, target, &matrix, warp.interpolation, fill))
    }

    /// The image in a perspective that brings each of four points, `startpoints`, to where `endpoints` says
    /// (`torchvision.transforms.v2.functional.perspective`). Points are (x, y) in pixels from the top left corner.
    ///
    /// # Errors
    ///
    /// If no perspective does, because three of the points lie on a line; if the fill is for another number of channels.
    ///
    /// # Panics
    ///
    /// If the interpolation is none that [`Warp`] names.
    pub fn perspective(&self, startpoints: [(f64, f64); 4], endpoints: [(f64, f64); 4], warp: &Warp) -> Result<Image> {
        match perspective_coefficients(startpoints, endpoints) {
            Some(coefficients) => self.perspective_by(coefficients, warp),
            None => Err(Error::new(
                ErrorKind::Decode,
                format!("no perspective brings {startpoints:?} to {endpoints:?}: three points lie on a line"),
            )),
        }
    }

    /// As [`perspective`](Image::perspective), by the coefficients of the map, which torchvision takes as well: the pixel
    /// at (x, y) of the result is that at (ax + by + c) / (gx + hy + 1), (dx + ey + f) / (gx + hy + 1) of the image.
    ///
    /// # Errors
    ///
    /// If the fill is for another number of channels.
    ///
    /// # Panics
    ///
    /// If the interpolation is none that [`Warp`] names.
    pub fn perspective_by(&self, coefficients: [f64; 8], warp: &Warp) -> Result<Image> {
        self.warped(self.size(), warp, |source, target, fill| {
            perspective(source, target, &coefficients, warp.interpolation, fill);
        })
    }

    fn warped(&self, size: Size, warp: &Warp, write: impl FnOnce(&Image, &mut Image, [u8; 4])) -> Result<Image> {
        Warp::check_interpolation(warp.interpolation);
        let fill = warp.fill.pixel(self.channels)?;
        let mut warped = Image::transformed(size, self.channels)?;
        if self.channels == 4 && warp.interpolation != Interpolation::Nearest {
            let mut weighted = self.clone();
            weighted.premultiply();
            write(&weighted, &mut warped, fill);
            // The fill as well, which is no premultiplied colour: PIL does so.
            warped.unpremultiply();
        } else {
            write(self, &mut warped, fill);
        }
        Ok(warped)
    }
}

fn check_center(warp: &Warp) {
    let finite = warp.center.is_none_or(|(x, y)| x.is_finite() && y.is_finite());
    assert!(finite, "a warp about {:?}", warp.center);
}

/// The size of the rotated image, and where its pixels come from: `Image.rotate` of Pillow.
fn rotation(size: Size, angle: f64, warp: &Warp) -> (Size, Matrix) {
    let (width, height) = (size.width as f64, size.height as f64);
    let (x, y) = warp.center.unwrap_or((width / 2.0, height / 2.0));
    let angle = -angle.to_radians();
    let (cos, sin) = (round_15(angle.cos()), round_15(angle.sin()));
    let mut m = [cos, sin, 0.0, round_15(-angle.sin()), cos, 0.0];
    let at = |m: &Matrix, x: f64, y: f64| (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]);
    (m[2], m[5]) = at(&m, -x, -y);
    (m[2], m[5]) = (m[2] + x, m[5] + y);
    if !warp.expand {
        return (size, m);
    }
    let corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)].map(|(x, y)| at(&m, x, y));
    let extent = |of: fn((f64, f64)) -> f64| {
        let most = corners.iter().map(|&corner| of(corner)).fold(f64::MIN, f64::max);
        let least = corners.iter().map(|&corner| of(corner)).fold(f64::MAX, f64::min);
        most.ceil() - least.floor()
    };
    let (new_width, new_height) = (extent(|(x, _)| x), extent(|(_, y)| y));
    (m[2], m[5]) = at(&m, -(new_width - width) / 2.0, -(new_height - height) / 2.0);
    (Size { height: new_height as usize, width: new_width as usize }, m)
}

/// Python's `round(value, 15)`, which rounds the decimal digits of the exact value, as formatting does.
fn round_15(value: f64) -> f64 {
    format!("{value:.15}").parse().expect("digits that were just written")
}

/// `_get_inverse_affine_matrix` of torchvision (functional/_geometry.py), in its order.
fn inverse_affine(
    (x, y): (f64, f64),
    angle: f64,
    (dx, dy): (f64, f64),
    scale: f64,
    (shear_x, shear_y): (f64, f64),
) -> Matrix {
    let (angle, shear_x, shear_y) = (angle.to_radians(), shear_x.to_radians(), shear_y.to_radians());
    let a = (angle - shear_y).cos() / shear_y.cos();
    let b = -(a * shear_x.tan() + angle.sin());
    let c = (angle - shear_y).sin() / shear_y.cos();
    let d = angle.cos() - c * shear_x.tan();
    let mut m = [d / scale, -b / scale, 0.0, -c / scale, a / scale, 0.0];
    m[2] += x - m[0] * (x + dx) - m[1] * (y + dy);
    m[5] += y - m[3] * (x + dx) - m[4] * (y + dy);
    m
}

/// The coefficients of [`Image::perspective_by`], rounded to single precision, as torchvision returns them
/// (`_get_perspective_coeffs`); `None` where there are none.
///
/// torchvision finds them by least squares. Eight equations for eight numbers are solved here, by elimination. What
/// differs after rounding are coefficients that should be zero, and are some 1e-16 by the error of either; that is seen
/// only where a whole row or column of places then falls on the border between two pixels.
fn perspective_coefficients(startpoints: [(f64, f64); 4], endpoints: [(f64, f64); 4]) -> Option<[f64; 8]> {
    if has_three_on_a_line(startpoints) || has_three_on_a_line(endpoints) {
        return None;
    }
    let mut rows = [[0.0; 9]; 8];
    for (i, ((to_x, to_y), (x, y))) in startpoints.into_iter().zip(endpoints).enumerate() {
        rows[2 * i] = [x, y, 1.0, 0.0, 0.0, 0.0, -to_x * x, -to_x * y, to_x];
        rows[2 * i + 1] = [0.0, 0.0, 0.0, x, y, 1.0, -to_y * x, -to_y * y, to_y];
    }
    for column in 0..8 {
        let pivot = (column..8).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, pivot);
        let (upper, lower) = rows.split_at_mut(column + 1);
        let pivot = &mut upper[column];
        if pivot[column] == 0.0 {
            // The horizon goes through the corner of the image, and the 1 below the fraction should be a 0: the other
            // coefficients, which only matter in relation to it, become so large that it is.
            pivot[column] = f64::EPSILON;
        }
        for row in lower {
            let factor = row[column] / pivot[column];
            for (value, above) in row.iter_mut().zip(&*pivot).skip(column) {
                *value -= factor * above;
            }
        }
    }
    let mut solution = [0.0; 8];
    for i in (0..8).rev() {
        let known: f64 = (i + 1..8).map(|j| rows[i][j] * solution[j]).sum();
        solution[i] = (rows[i][8] - known) / rows[i][i];
    }
    let rounded = solution.map(|value| f64::from(value as f32));
    rounded.iter().all(|value| value.is_finite()).then_some(rounded)
}

/// Whether three of the points lie on a line, but for rounding.
fn has_three_on_a_line(points: [(f64, f64); 4]) -> bool {
    (0..4).any(|left_out| {
        let [a, b, c] = [1, 2, 3].map(|i| points[(left_out + i) % 4]);
        let ((x1, y1), (x2, y2)) = ((b.0 - a.0, b.1 - a.1), (c.0 - a.0, c.1 - a.1));
        let (one, other) = (x1 * y2, x2 * y1);
        let area = (one - other).abs(); // twice that of the triangle
        area.is_nan() || area <= 1e-12 * one.abs().max(other.abs())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::numbered;

    #[test]
    fn a_map_that_moves_nothing_gives_the_image() {
        for channels in [1, 3, 4] {
            let image = match channels {
                4 => Image::new((2, 2), 4, vec![255; 16]).unwrap(),
                _ => numbered(5, 7, channels),
            };
            let (right, bottom) = (image.width() as f64 - 1.0, image.height() as f64 - 1.0);
            let corners = [(0.0, 0.0), (right, 0.0), (right, bottom), (0.0, bottom)];
            for interpolation in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Bicubic] {
                let warp = Warp { interpolation, ..Warp::default() };
                assert_eq!(image.affine(0.0, (0.0, 0.0), 1.0, (0.0, 0.0), &warp).unwrap(), image);
                assert_eq!(image.perspective(corners, corners, &warp).unwrap(), image);
                assert_eq!(image.rotate(-720.0, &warp).unwrap(), image);
                assert_eq!(image.rotate(0.0, &Warp { center: Some((1.0, 1.0)), ..warp }).unwrap(), image);
            }
        }
    }

    #[test]
    fn quarter_turns_expand() {
        let image = numbered(3, 5, 3);
        let expand = Warp { expand: true, ..Warp::default() };
        assert_eq!(image.rotate(90.0, &expand).unwrap(), image.quarter_turned(true).unwrap());
        assert_eq!(image.rotate(-90.0, &expand).unwrap(), image.quarter_turned(false).unwrap());
        assert_eq!(image.rotate(180.0, &Warp::default()).unwrap(), image.half_turned());
        // By the matrix, about the middle given as a centre.
        let about = Warp { center: Some((2.5, 1.5)), ..expand };
        assert_eq!(image.rotate(90.0, &about).unwrap(), image.quarter_turned(true).unwrap());
        assert_eq!(image.rotate(45.0, &expand).unwrap().size(), Size { height: 7, width: 7 });
    }

    #[test]
    fn a_translation_moves_right_and_down() {
        let image = Image::new((2, 2), 1, vec![1, 2, 3, 4]).unwrap();
        let warp = Warp { fill: 9.into(), ..Warp::default() };
        assert_eq!(image.affine(0.0, (1.0, 0.0), 1.0, (0.0, 0.0), &warp).unwrap().pixels(), [9, 1, 9, 3]);
        assert_eq!(image.affine(0.0, (0.0, 1.0), 1.0, (0.0, 0.0), &warp).unwrap().pixels(), [9, 9, 1, 2]);
    }

    #[test]
    fn a_perspective_of_points_on_a_line_is_an_error() {
        let image = numbered(4, 4, 1);
        let corners = [(0.0, 0.0), (3.0, 0.0), (3.0, 3.0), (0.0, 3.0)];
        for flat in [[(0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (0.0, 3.0)], [(1.0, 1.0); 4]] {
            let error = image.perspective(corners, flat, &Warp::default()).unwrap_err();
            assert!(error.to_string().contains("three points lie on a line"), "{error}");
        }
        assert!(image.perspective(corners, [(f64::NAN, 0.0); 4], &Warp::default()).is_err());
    }

    #[test]
    fn a_horizon_through_the_corner_is_no_error() {
        // The lines through opposite sides of the endpoints meet at (-4, 6) and (4, -6): the horizon goes through (0, 0),
        // which no coefficients can say exactly.
        let start = [(0.0, 0.0), (7.0, 0.0), (7.0, 7.0), (0.0, 7.0)];
        let end = [(2.0, 2.0), (5.0, 0.0), (6.0, 6.0), (1.0, 6.0)];
        let coefficients = perspective_coefficients(start, end).unwrap();
        let depth = |(x, y): (f64, f64)| coefficients[6] * x + coefficients[7] * y + 1.0;
        for ((x, y), to) in end.into_iter().zip(start) {
            let [a, b, c, d, e, f, ..] = coefficients;
            let (at_x, at_y) = ((a * x + b * y + c) / depth((x, y)), (d * x + e * y + f) / depth((x, y)));
            assert!((at_x - to.0).abs() < 1e-5 && (at_y - to.1).abs() < 1e-5, "({at_x}, {at_y}) for {to:?}");
        }
    }

    #[test]
    fn a_fill_for_other_channels_is_an_error() {
        let warp = Warp { fill: [1, 2, 3].into(), ..Warp::default() };
        assert_eq!(numbered(4, 4, 1).rotate(10.0, &warp).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    #[should_panic(expected = "Lanczos")]
    fn an_interpolation_that_pillow_has_no_warp_for_is_refused() {
        let warp = Warp { interpolation: Interpolation::Lanczos, ..Warp::default() };
        let _ = numbered(4, 4, 1).rotate(10.0, &warp);
    }

    #[test]
    fn absurd_numbers_give_the_fill() {
        let image = numbered(4, 4, 1);
        for interpolation in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Bicubic] {
            let warp = Warp { interpolation, fill: 9.into(), ..Warp::default() };
            for translate in [(1e300, 0.0), (-1e9, 1e9)] {
                assert_eq!(image.affine(30.0, translate, 1e-3, (0.0, 0.0), &warp).unwrap().pixels(), [9; 16]);
            }
            for coefficients in [[f64::NAN; 8], [0.0, 0.0, f64::INFINITY, 0.0, 0.0, 0.0, 0.0, 0.0]] {
                assert_eq!(image.perspective_by(coefficients, &warp).unwrap().pixels(), [9; 16]);
            }
        }
    }
}
