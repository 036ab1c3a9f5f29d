//! Hue: to HSV and back as PIL does it (`src/libImaging/Convert.c`), bit for bit.
//!
//! In blocks, and in steps of one kind each: what takes pixels apart and looks things up goes pixel by pixel, and the
//! arithmetic between in vectors. No step branches on colours, which have no pattern that a processor could guess. That
//! is four times as fast as pixel after pixel.

use crate::image::Image;

impl Image {
    /// Turns the hues by `factor` of a full turn (`torchvision.transforms.v2.functional.adjust_hue`). An image of one
    /// channel stays as it is; alpha becomes opaque, as in torchvision.
    ///
    /// Hue and saturation are bytes on the way: a factor of 0 changes some values by a few levels.
    ///
    /// # Panics
    ///
    /// Unless the factor is in `[-0.5, 0.5]`.
    pub fn adjust_hue(&mut self, factor: f64) {
        assert!((-0.5..=0.5).contains(&factor), "adjust_hue: a factor is in [-0.5, 0.5], and {factor} is not");
        let shift = (factor * 255.0) as i32 as u8; // towards zero, then modulo 256
        match self.channels {
            1 => {}
            3 => turn::<3>(self.pixels_mut(), shift),
            _ => turn::<4>(self.pixels_mut(), shift),
        }
        self.make_opaque();
    }
}

/// How many pixels are under way at a time.
const BLOCK: usize = 128;

/// Hue, saturation and value. Each is computed for all of a block, whether there are as many pixels or not.
struct Hsv {
    h: [u8; BLOCK],
    s: [u8; BLOCK],
    v: [u8; BLOCK],
}

fn turn<const C: usize>(pixels: &mut [u8], shift: u8) {
    let mut hsv = Hsv { h: [0; BLOCK], s: [0; BLOCK], v: [0; BLOCK] };
    for block in pixels.chunks_mut(BLOCK * C) {
        let pixels = block.as_chunks_mut::<C>().0;
        to_hsv(pixels, &mut hsv);
        hsv.h.iter_mut().for_each(|h| *h = h.wrapping_add(shift));
        to_rgb(&hsv, pixels);
    }
}

/// `rgb2hsv_row`, with its mix of single and double precision.
fn to_hsv<const C: usize>(pixels: &[[u8; C]], Hsv { h, s, v }: &mut Hsv) {
    // The hue is this many sixths of a turn, plus and minus two fractions of the spread.
    let mut start = [0.0_f32; BLOCK];
    let (mut plus, mut minus, mut spread) = ([0_u8; BLOCK], [0_u8; BLOCK], [0_u8; BLOCK]);
    for (i, &pixel) in pixels.iter().enumerate() {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]];
        let (most, least) = (r.max(g).max(b), r.min(g).min(b));
        // Which channel is the greatest, the first of equals.
        let not_red = r != most;
        let channel = usize::from(not_red) + usize::from(not_red & (g != most));
        let packed = u32::from_le_bytes([r, g, b, 0]);
        start[i] = [0.0, 2.0, 4.0][channel];
        plus[i] = most - (packed >> [16, 0, 8][channel]) as u8;
        minus[i] = most - (packed >> [8, 16, 0][channel]) as u8;
        (spread[i], v[i]) = (most - least, most);
    }
    for i in 0..BLOCK {
        let spread = f32::from(spread[i]);
        let (plus, minus) = (f32::from(plus[i]) / spread, f32::from(minus[i]) / spread);
        let sixths = (f64::from(start[i]) + f64::from(plus) - f64::from(minus)) as f32;
        let turns = f64::from(sixths) / 6.0 + 1.0;
        let turns = if turns >= 1.0 { turns - 1.0 } else { turns } as f32;
        // Of grey both are 0 / 0, and NaN becomes 0, which is what PIL says of grey.
        h[i] = floor(f64::from(turns) * 255.0);
        s[i] = floor(f64::from(spread / f32::from(v[i])) * 255.0);
    }
}

/// `hsv2rgb_row`.
fn to_rgb<const C: usize>(Hsv { h, s, v }: &Hsv, pixels: &mut [[u8; C]]) {
    let (mut f, mut saturation) = ([0.0; BLOCK], [0.0; BLOCK]);
    for i in 0..BLOCK {
        (f[i], saturation[i]) = (HUES[usize::from(h[i])].f, SATURATIONS[usize::from(s[i])]);
    }
    let (mut p, mut q, mut t) = ([0; BLOCK], [0; BLOCK], [0; BLOCK]);
    for i in 0..BLOCK {
        let (f, s, v) = (f[i], saturation[i], f64::from(v[i]));
        p[i] = round(v * (1.0 - f64::from(s)));
        q[i] = round(v * (1.0 - f64::from(s * f)));
        t[i] = round(v * (1.0 - f64::from(s) * (1.0 - f64::from(f))));
    }
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let packed = u32::from_le_bytes([v[i], t[i], p[i], q[i]]);
        let shifts = HUES[usize::from(h[i])].shifts;
        for channel in 0..3 {
            pixel[channel] = (packed >> shifts[channel]) as u8;
        }
    }
}

/// What a byte of hue stands for.
#[derive(Clone, Copy)]
struct Hue {
    /// How far into its sixth of the circle.
    f: f32,
    /// Where red, green and blue are among the bytes v, t, p, q: in bits.
    shifts: [u8; 3],
}

static HUES: [Hue; 256] = {
    const SECTORS: [[u8; 3]; 6] = [[0, 8, 16], [24, 0, 16], [16, 0, 8], [16, 24, 0], [8, 16, 0], [0, 16, 24]];
    let mut hues = [Hue { f: 0.0, shifts: [0; 3] }; 256];
    let mut h = 0;
    while h < 256 {
        let sixths = h as f64 * 6.0 / 255.0;
        let sector = sixths as usize;
        hues[h] = Hue { f: (sixths - sector as f64) as f32, shifts: SECTORS[sector % 6] };
        h += 1;
    }
    hues
};

static SATURATIONS: [f32; 256] = {
    let mut saturations = [0.0; 256];
    let mut s = 0;
    while s < 256 {
        saturations[s] = (s as f64 / 255.0) as f32;
        s += 1;
    }
    saturations
};

/// `value as u8` of at most 255; see [`truncate`](super::blend::truncate), of which this is the double.
fn floor(value: f64) -> u8 {
    const OFFSET: f64 = (1_u64 << 51) as f64 - 0.25;
    // NaN is not above a quarter.
    let value = if value > 0.25 { value } else { 0.25 };
    ((value + OFFSET).to_bits() >> 1) as u8
}

/// To the nearest, halves up.
fn round(value: f64) -> u8 {
    floor(value + 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_a_turn_brings_red_to_green_and_blue() {
        let turned = |factor: f64| {
            let mut image = Image::new((1, 3), 3, vec![200, 0, 0, 90, 90, 90, 0, 0, 0]).unwrap();
            image.adjust_hue(factor);
            image.pixels().to_vec()
        };
        assert_eq!(turned(1.0 / 3.0), [0, 200, 0, 90, 90, 90, 0, 0, 0]);
        // Hues go round at 256, where a full turn is 255: past the start they are one too far.
        assert_eq!(turned(-1.0 / 3.0), [5, 0, 200, 90, 90, 90, 0, 0, 0]);
    }

    #[test]
    fn blocks_do_not_mix_pixels() {
        let pixels: Vec<u8> = (0..3 * 300_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut image = Image::new((1, 300), 3, pixels.clone()).unwrap();
        image.adjust_hue(0.3);
        for (before, after) in pixels.chunks_exact(3).zip(image.pixels().chunks_exact(3)) {
            let mut one = Image::new(1, 3, before.to_vec()).unwrap();
            one.adjust_hue(0.3);
            assert_eq!(one.pixels(), after);
        }
    }

    #[test]
    #[should_panic(expected = "adjust_hue: a factor is in [-0.5, 0.5]")]
    fn more_than_half_a_turn_is_refused() {
        Image::new(1, 3, vec![0; 3]).unwrap().adjust_hue(0.6);
    }
}
