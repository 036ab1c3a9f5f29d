//! `PadMask`: padded sequences, with a mask that tells values from padding.

use super::pad::pad_part;
use super::{Collate, Pad, PadPart, Stackable};
use crate::error::Result;
use crate::memory::{BatchPlan, Element, HostTensor, Shape};

/// Pads as [`Pad`] does; the batch is `(values, mask)`. Made by [`Pad::with_mask`].
///
/// Of a batch of N samples, the longest of length M, the values are a [`HostTensor`] of `T` and shape `[N, M, …]`, and
/// the mask is one of `bool` and shape `[N, M]`: true where there is a value, false where there is padding. Several
/// libraries call this the attention mask. The `key_padding_mask` of `torch.nn.MultiheadAttention` and
/// `src_key_padding_mask` of the transformer layers are its negation: true where there is padding.
///
/// ```
/// use sutler::{InMemory, Loader, Pad};
///
/// let samples = InMemory::new(vec![vec![1.0_f32, 2.0], vec![3.0]]);
/// let loader = Loader::builder(samples).batch_size(2).collate(Pad::new(0.0).left().with_mask()).build()?;
/// let (values, mask) = loader.epoch().next().unwrap()?;
/// assert_eq!((values.shape(), &*values), (&[2, 2][..], &[1.0, 2.0, 0.0, 3.0][..]));
/// assert_eq!((mask.shape(), &*mask), (&[2, 2][..], &[true, true, false, true][..]));
/// # Ok::<(), sutler::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`Pad`].
#[derive(Clone, Copy, Debug)]
pub struct PadMask<T>(Pad<T>);

impl<T> PadMask<T> {
    pub(super) fn new(pad: Pad<T>) -> Self {
        PadMask(pad)
    }
}

impl<T: Element, S: Stackable<Element = T>> Collate<S> for PadMask<T> {
    /// Values `[N, M, …]` and mask `[N, M]`.
    type Batch = (HostTensor<T>, HostTensor<bool>);
    pad_part! { S, bool }

    fn finish(&self, part: Self::Part) -> Result<Self::Batch> {
        self.0.pad(part, |mask, len, padded| {
            let row = mask.push(&Shape::from([padded]))?;
            row.fill(false);
            row[self.0.place(len, padded)].fill(true);
            Ok(())
        })
    }
}
