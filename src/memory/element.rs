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
    }
}

pub(super) const fn any_bits<T: Element>() -> bool {
    T::ANY_BITS
}

macro_rules! elements {
    ($($type:ty => $dtype:ident, $any_bits:literal;)*) => {$(
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
        }
        impl sealed::Sealed for $type {
            const ANY_BITS: bool = $any_bits;
        }
    )*};
}

elements! {
    bool => Bool, false;
    u8 => Uint8, true;
    i8 => Int8, true;
    u16 => Uint16, true;
    i16 => Int16, true;
    u32 => Uint32, true;
    i32 => Int32, true;
    u64 => Uint64, true;
    i64 => Int64, true;
    F16 => Float16, true;
    Bf16 => BFloat16, true;
    f32 => Float32, true;
    f64 => Float64, true;
}
