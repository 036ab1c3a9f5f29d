//! `Stack`: samples of one shape, one above the other (torch's `default_collate`).

use super::Collate;
use crate::error::Result;
use crate::memory::{BatchPlan, Bf16, Element, F16, HostTensor, Shape, Slots};

/// Stacks samples of one shape into a tensor with a new first dimension, as torch's `default_collate` does.
///
/// | sample | batch |
/// |---|---|
/// | a number or `bool` | [`HostTensor`] of shape `[N]` |
/// | `[T; K]`, and arrays of arrays | `[N, K]`, `[N, K, L]` |
/// | `Vec<T>`, all of one length | `[N, L]` |
/// | `Image`, `LazyImage` | `[N, H, W, C]` of `u8` |
/// | `ImageTensor<T>`, what `ToTensor` makes | `[N, C, H, W]` or `[N, H, W, C]` of `T` |
/// | `[Image; K]`, `[ImageTensor<T>; K]` | `[N, K, H, W, C]`, `[N, K, C, H, W]` |
/// | `(A, B)` up to eight fields | a tuple of their batches |
/// | `String`, `&'static str`, `Arc<str>`, `PathBuf`, `()` | a `Vec` of them, left as they are |
/// | `Vec<String>` and the like, all of one length L | L `Vec`s of N strings: transposed |
/// | `BTreeMap<K, V>`, `HashMap<K, V>`, all with the same keys | a map of the keys to the batches of their values |
///
/// The rules are those of `torch/utils/data/_utils/collate.py`, with these differences. Number types are kept (there, a
/// Python float becomes a `float64`). A `Vec` of numbers is one tensor `[N, L]` instead of L tensors `[N]`; so is a
/// `Vec<u8>`, which is not torch's `bytes`. A map with a key that the others of the batch lack is an error, where torch
/// drops the key if the first sample of the batch lacks it.
///
/// ```
/// use sutler::{InMemory, Loader};
///
/// let samples = InMemory::new(vec![(3_i64, "a cat"), (5, "a dog"), (8, "an owl")]);
/// let loader = Loader::builder(samples).batch_size(2).build()?;
/// let (labels, captions) = loader.epoch().next().unwrap()?;
/// assert_eq!((&*labels, captions), (&[3, 5][..], vec!["a cat", "a dog"]));
/// # Ok::<(), sutler::Error>(())
/// ```
///
/// Maps hold values of one type (a tuple, say, or another map); for fields of several types, use a tuple.
///
/// ```
/// use std::collections::BTreeMap;
/// use sutler::{InMemory, Loader};
///
/// let samples: InMemory<_> = (0..4).map(|i| BTreeMap::from([("input", [i, i + 1]), ("target", [i; 2])])).collect();
/// let loader = Loader::builder(samples).batch_size(2).build()?;
/// let batch = loader.epoch().next().unwrap()?;
/// assert_eq!(batch["input"].shape(), [2, 2]);
/// assert_eq!(*batch["input"], [0, 1, 1, 2]);
/// assert_eq!(*batch["target"], [0, 0, 1, 1]);
/// # Ok::<(), sutler::Error>(())
/// ```
///
/// For a type of your own, implement [`Stackable`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Stack;

/// A sample that can write itself into its slot of a batch.
///
/// ```
/// use sutler::{Result, Shape, Stackable};
///
/// /// A mono audio clip, stored as the file has it.
/// struct Clip(Vec<i16>);
///
/// impl Stackable for Clip {
///     type Element = f32;
///
///     fn shape(&self) -> Shape {
///         [self.0.len()].into()
///     }
///
///     fn write(&self, slot: &mut [f32]) -> Result<()> {
///         for (out, sample) in slot.iter_mut().zip(&self.0) {
///             *out = f32::from(*sample) / 32768.0; // the conversion is the write: no second pass
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Stackable: Send {
    /// The element type of the batch.
    type Element: Element;

    /// The shape of this sample, without the batch dimension.
    fn shape(&self) -> Shape;

    /// Writes the sample into its slot: [`shape`](Stackable::shape)`().elements()` values in C order, whatever they
    /// were before.
    ///
    /// # Errors
    ///
    /// If the sample cannot be written after all; the batch is then given up.
    fn write(&self, slot: &mut [Self::Element]) -> Result<()>;
}

impl<S: Stackable> Collate<S> for Stack {
    type Batch = HostTensor<S::Element>;
    type Part = Slots<S::Element>;

    fn start(&self, plan: BatchPlan<'_>) -> Self::Part {
        Slots::new(plan)
    }

    fn split_off(&self, part: &mut Self::Part, at: usize) -> Self::Part {
        part.split_off(at)
    }

    #[inline(always)] // a large sample is moved by copying it: keep the moves where the optimiser sees them
    fn push(&self, part: &mut Self::Part, sample: S) -> Result<()> {
        let slot = part.push(&sample.shape())?;
        sample.write(slot)
    }

    fn rewind(&self, part: &mut Self::Part, len: usize) -> Result<()> {
        part.rewind(len);
        Ok(())
    }

    fn unite(&self, part: &mut Self::Part, next: Self::Part) {
        part.unite(next);
    }

    fn finish(&self, part: Self::Part) -> Result<Self::Batch> {
        Ok(part.finish())
    }
}

macro_rules! stackable_scalars {
    ($($scalar:ty)*) => {$(
        impl Stackable for $scalar {
            type Element = $scalar;

            #[inline]
            fn shape(&self) -> Shape {
                Shape::SCALAR
            }

            #[inline]
            fn write(&self, slot: &mut [$scalar]) -> Result<()> {
                slot[0] = *self;
                Ok(())
            }
        }
    )*};
}

stackable_scalars! { bool u8 i8 u16 i16 u32 i32 u64 i64 F16 Bf16 f32 f64 }

macro_rules! stackable_arrays {
    ($([$($dim:ident)*] $array:ty, $flat:expr;)*) => {$(
        impl<T: Element, $(const $dim: usize),*> Stackable for $array {
            type Element = T;

            #[inline]
            fn shape(&self) -> Shape {
                Shape::from([$($dim),*])
            }

            #[inline]
            fn write(&self, slot: &mut [T]) -> Result<()> {
                let flat: fn(&Self) -> &[T] = $flat;
                slot.copy_from_slice(flat(self));
                Ok(())
            }
        }
    )*};
}

stackable_arrays! {
    [K] [T; K], |array| array;
    [K L] [[T; L]; K], |array| array.as_flattened();
    [K L M] [[[T; M]; L]; K], |array| array.as_flattened().as_flattened();
}

impl<T: Element> Stackable for Vec<T> {
    type Element = T;

    fn shape(&self) -> Shape {
        [self.len()].into()
    }

    fn write(&self, slot: &mut [T]) -> Result<()> {
        slot.copy_from_slice(self);
        Ok(())
    }
}
