//! What a batch tensor can hold.

use super::half::{Bf16, F16};

/// A type that a batch tensor can hold: the number types and `bool`. Sealed.
///
/// Sealed because the memory code relies on it: any bytes that were once zeroed and then only written as `Self` are
/// valid as `Self`, there is no padding, and nothing to drop.
pub trait Element: Copy + Send + Sync + 'static + sealed::Sealed {
    /// The dtype, as torch calls it.
    const DTYPE: DType;
}

/// The element types, with torch's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // each is its name
pub enum DType {
    Bool,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Uint32,
    Int32,
    Uint64,
    Int64,
    Float16,
    BFloat16,
    Float32,
    Float64,
}

mod sealed {
    pub trait Sealed {
        /// Whether every bit pattern is a value. Where not, a recycled buffer is zeroed before it is used again.
        const ANY_BITS: bool;

        /// The number nearest to `value` by this type's own rule: what torch makes of a float that it writes into a tensor.
        fn from_f32(value: f32) -> Self;

        /// The values as bytes, where that is what they are.
        fn as_bytes(values: &mut [Self]) -> Option<&mut [u8]>
        where
            Self: Sized,
        {
            let _ = values;
            None
        }
    }
}

pub(super) const fn any_bits<T: Element>() -> bool {
    T::ANY_BITS
}

/// `value` as torch writes it into a tensor of `T`: cut off for integers, rounded for small floats.
#[cfg(feature = "vision")]
pub(crate) fn from_f32<T: Element>(value: f32) -> T {
    T::from_f32(value)
}

/// The values as bytes, if `T` is `u8`.
#[cfg(feature = "vision")]
pub(crate) fn as_bytes<T: Element>(values: &mut [T]) -> Option<&mut [u8]> {
    T::as_bytes(values)
}

macro_rules! elements {
    ($($type:ty => $dtype:ident, $any_bits:literal, $from_f32:expr $(, $as_bytes:expr)?;)*) => {$(
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
        }
        impl sealed::Sealed for $type {
            const ANY_BITS: bool = $any_bits;

            fn from_f32(value: f32) -> Self {
                let from_f32: fn(f32) -> Self = $from_f32;
                from_f32(value)
            }

            $(fn as_bytes(values: &mut [Self]) -> Option<&mut [u8]> {
                let as_bytes: fn(&mut [Self]) -> Option<&mut [u8]> = $as_bytes;
                as_bytes(values)
            })?
        }
    )*};
}

elements! {
    bool => Bool, false, |value| value != 0.0;
    u8 => Uint8, true, |value| value as u8, |values| Some(values);
    i8 => Int8, true, |value| value as i8;
    u16 => Uint16, true, |value| value as u16;
    i16 => Int16, true, |value| value as i16;
    u32 => Uint32, true, |value| value as u32;
    i32 => Int32, true, |value| value as i32;
    u64 => Uint64, true, |value| value as u64;
    i64 => Int64, true, |value| value as i64;
    F16 => Float16, true, F16::from_f32;
    Bf16 => BFloat16, true, Bf16::from_f32;
    f32 => Float32, true, |value| value;
    f64 => Float64, true, f64::from;
}
