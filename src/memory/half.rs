//! `F16` and `Bf16`: numbers of sixteen bits, to store and to convert; arithmetic is for `f32`.

use std::cmp::Ordering;
use std::fmt;

/// A half-precision number, IEEE 754 binary16 (`torch.float16`): 11 significant bits, up to 65,504.
///
/// ```
/// use sutler::F16;
///
/// assert_eq!(F16::from_f32(0.1).to_f32(), 0.099975586);
/// assert_eq!(F16::from_f32(65_520.0).to_f32(), f32::INFINITY); // as far from the largest as the next would be
/// ```
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct F16(u16);

/// A number with the exponent of an `f32` and 8 significant bits (`torch.bfloat16`).
///
/// ```
/// use sutler::Bf16;
///
/// assert_eq!(Bf16::from_f32(0.1).to_f32(), 0.100097656);
/// ```
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct Bf16(u16);

const SIGN: u32 = 0x8000_0000;
const INFINITY: u32 = 0x7f80_0000;
const SIGNIFICAND: u32 = 0x007f_ffff;

impl F16 {
    /// The nearest; of two that are equally near, the one whose last bit is 0. NaN stays NaN.
    pub const fn from_f32(value: f32) -> Self {
        /// 2^-14, the smallest number with all 11 significant bits.
        const NORMAL: u32 = 0x3880_0000;
        /// 2^16, the first power of two that is none of ours.
        const BEYOND: u32 = 0x4780_0000;
        let sign = ((value.to_bits() & SIGN) >> 16) as u16;
        let bits = value.to_bits() & !SIGN;
        let magnitude = match bits {
            // The last bit of a number near 0.5 counts 2^-24, and so does the last bit of ours below 2^-14: adding rounds.
            ..NORMAL => (f32::from_bits(bits) + 0.5).to_bits() - 0.5_f32.to_bits(),
            // A carry goes on into the exponent, and from the largest number to infinity.
            NORMAL..BEYOND => nearest::<13>(bits - (112 << 23)),
            BEYOND..=INFINITY => 0x7c00,
            // Quiet, with what fits of the payload.
            _ => 0x7e00 | (bits & SIGNIFICAND) >> 13,
        };
        F16(sign | magnitude as u16)
    }

    /// The same number.
    pub const fn to_f32(self) -> f32 {
        let sign = ((self.0 & 0x8000) as u32) << 16;
        let shifted = ((self.0 & 0x7fff) as u32) << 13;
        let bits = match shifted >> 23 {
            0x1f => INFINITY | shifted & SIGNIFICAND,
            // Exponents differ by 112. As a product this is right also for numbers that have fewer significant bits.
            _ => (f32::from_bits(shifted) * f32::from_bits((127 + 112) << 23)).to_bits(),
        };
        f32::from_bits(sign | bits)
    }
}

impl Bf16 {
    /// The nearest; of two that are equally near, the one whose last bit is 0. NaN stays NaN.
    pub const fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        Bf16(match bits & !SIGN > INFINITY {
            // Quiet, with what fits of the payload: rounding it might make an infinity of it.
            true => (bits >> 16) as u16 | 0x40,
            false => nearest::<16>(bits) as u16,
        })
    }

    /// The same number.
    pub const fn to_f32(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }
}

/// `bits` without the last `N`: the nearest, and of two the even one.
const fn nearest<const N: u32>(bits: u32) -> u32 {
    let is_odd = bits >> N & 1;
    (bits + (1 << (N - 1)) - 1 + is_odd) >> N
}

macro_rules! numbers {
    ($($half:ident)*) => {$(
        impl $half {
            /// The number that has these bits.
            pub const fn from_bits(bits: u16) -> Self {
                $half(bits)
            }

            /// The bits of the number.
            pub const fn to_bits(self) -> u16 {
                self.0
            }
        }

        /// As numbers: zeros of both signs are equal, and NaN is not equal to itself.
        impl PartialEq for $half {
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        /// As numbers: NaN has no place among them.
        impl PartialOrd for $half {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                self.to_f32().partial_cmp(&other.to_f32())
            }
        }

        impl fmt::Debug for $half {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.to_f32(), f)
            }
        }

        impl fmt::Display for $half {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.to_f32(), f)
            }
        }
    )*};
}

numbers! { F16 Bf16 }

#[cfg(test)]
mod tests {
    use super::*;

    /// What a format's bits mean, by its definition: (-1)^s * 2^e * m, in double precision, which holds it exactly.
    fn value(bits: u16, significand_bits: u32) -> f64 {
        let exponent_bits = 15 - significand_bits;
        let bias = (1 << (exponent_bits - 1)) - 1;
        let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
        let exponent = i32::from(bits >> significand_bits & ((1 << exponent_bits) - 1));
        let fraction = f64::from(bits & ((1 << significand_bits) - 1)) / f64::from(1 << significand_bits);
        sign * match exponent {
            0 => fraction * 2_f64.powi(1 - bias),
            _ if exponent == (1 << exponent_bits) - 1 => match fraction {
                0.0 => f64::INFINITY,
                _ => f64::NAN,
            },
            _ => (1.0 + fraction) * 2_f64.powi(exponent - bias),
        }
    }

    fn check(significand_bits: u32, to_f32: fn(u16) -> f32, from_f32: fn(f32) -> u16) {
        // Each means what it should, and comes back from f32 with its bits.
        for bits in 0..=u16::MAX {
            let (value, wide) = (value(bits, significand_bits), to_f32(bits));
            if value.is_nan() {
                assert!(wide.is_nan() && to_f32(from_f32(wide)).is_nan(), "{bits:#06x}");
                assert_eq!(wide.is_sign_negative(), from_f32(wide) >> 15 == 1, "{bits:#06x}");
            } else {
                assert_eq!((f64::from(wide), wide.is_sign_negative()), (value, bits >> 15 == 1), "{bits:#06x}");
                assert_eq!(from_f32(wide), bits, "{bits:#06x}");
            }
        }
        // Between any two neighbours, the middle goes to the even one, and what is beside it to the nearer one.
        let infinity = (0x7fff >> significand_bits) << significand_bits;
        for (sign, low) in [0, 0x8000].into_iter().flat_map(|sign| (0..infinity).map(move |low| (sign, low))) {
            let high = low + 1;
            // Beyond the largest number is the one that would come next.
            let next = match high == infinity {
                true => 2.0 * value(low, significand_bits) - value(low - 1, significand_bits),
                false => value(high, significand_bits),
            };
            let exact = (value(low, significand_bits) + next) / 2.0;
            let middle = exact as f32;
            assert_eq!(f64::from(middle), exact);
            let signed = |magnitude: f32| if sign == 0 { magnitude } else { -magnitude };
            let even = if low % 2 == 0 { low } else { high };
            for (from, to) in [(middle.next_down(), low), (middle, even), (middle.next_up(), high)] {
                assert_eq!(from_f32(signed(from)), sign | to, "{from:e} between {low:#06x} and {high:#06x}");
            }
        }
        for (extreme, bits) in [(f32::MAX, infinity), (f32::INFINITY, infinity), (f32::from_bits(1), 0)] {
            assert_eq!((from_f32(extreme), from_f32(-extreme)), (bits, 0x8000 | bits), "{extreme:e}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "arithmetic: slow there, and powi is not exact")]
    fn every_f16_is_its_number_and_all_others_round_to_the_nearest() {
        check(10, |bits| F16::from_bits(bits).to_f32(), |value| F16::from_f32(value).to_bits());
    }

    #[test]
    #[cfg_attr(miri, ignore = "arithmetic: slow there, and powi is not exact")]
    fn every_bf16_is_its_number_and_all_others_round_to_the_nearest() {
        check(7, |bits| Bf16::from_bits(bits).to_f32(), |value| Bf16::from_f32(value).to_bits());
    }

    #[test]
    fn nan_stays_nan_whatever_its_bits() {
        for payload in [1, 0x1000, 0x2000, 0xffff, 0x40_0000, SIGNIFICAND] {
            for sign in [0, SIGN] {
                let nan = f32::from_bits(sign | INFINITY | payload);
                for halved in [F16::from_f32(nan).to_f32(), Bf16::from_f32(nan).to_f32()] {
                    assert!(halved.is_nan() && halved.is_sign_negative() == nan.is_sign_negative(), "{payload:#x}");
                }
            }
        }
    }

    #[test]
    fn they_compare_and_print_as_numbers() {
        let half = F16::from_f32;
        assert!(half(-1.0) < half(0.5) && half(0.0) == half(-0.0) && half(f32::NAN) != half(f32::NAN));
        assert_eq!(half(1.0).partial_cmp(&half(f32::NAN)), None);
        assert_eq!(format!("{} {:?} {:.1}", half(0.5), half(2.0), Bf16::from_f32(1.0)), "0.5 2.0 1.0");
        assert_eq!((F16::default(), Bf16::default()), (F16::from_bits(0), Bf16::from_bits(0)));
    }
}
