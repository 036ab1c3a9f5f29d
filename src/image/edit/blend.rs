//! PIL's blend (`src/libImaging/Blend.c`), of which brightness, contrast, saturation and sharpness are made.

/// `factor` of the way from `from` to `to`, and beyond it above 1: cut to a whole number, not rounded to the nearest.
///
/// In single precision and in this order, as PIL does it: with a fused multiply-add some values would be off by one.
pub(super) fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    truncate(from + factor * (to - from))
}

/// `value as u8`: towards zero, and the nearest byte for what is none.
///
/// Without its own instruction for saturation, x86-64 takes three times as long for `as`. This makes a whole number of
/// the mantissa: from 2^22 on, single precision has steps of a half, and a tie goes to the even one. So of
/// `value + 2^22 - 1/4`, all that lies between two whole numbers ends at the lower one or at the half behind it, and
/// the mantissa's last bit is that half.
pub(super) fn truncate(value: f32) -> u8 {
    const OFFSET: f32 = (1_u32 << 22) as f32 - 0.25;
    // Comparisons and not `max` and `min`, whose care for NaN costs as much again; a NaN becomes 255 here.
    let value = if value < 255.5 { value } else { 255.5 };
    // At least a quarter, or the sum would be below 2^22. Zero is where it ends up all the same.
    let value = if value > 0.25 { value } else { 0.25 };
    ((value + OFFSET).to_bits() >> 1) as u8
}

/// The factor as PIL takes it.
///
/// # Panics
///
/// If it is negative or NaN.
pub(super) fn checked(name: &str, factor: f64) -> f32 {
    assert!(factor >= 0.0, "{name}: a factor is not negative, and {factor} is");
    factor as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_is_that_of_as() {
        let around = |value: f32| [value.next_down(), value, value.next_up()];
        let values = (-3..=260).flat_map(|n| [0.0, 0.25, 0.5, 0.75].map(|part| n as f32 + part));
        for value in values.flat_map(around).chain([f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, -0.0]) {
            assert_eq!(truncate(value), value as u8, "{value:?}");
        }
        // Every 1009th of the values from 0 to 256.
        for bits in (0..256_f32.to_bits()).step_by(1009) {
            assert_eq!(truncate(f32::from_bits(bits)), f32::from_bits(bits) as u8);
        }
    }
}
