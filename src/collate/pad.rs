//! `Pad`: sequences of different lengths in one tensor.

use std::fmt::{self, Debug};
use std::ops::Range;

use super::{Collate, Gathered, PadMask, Stackable};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{BatchPlan, Element, HostTensor, Shape, Slots};

/// Pads sequences to the longest of their batch; the batch is `(values, lengths)`.
///
/// Samples are anything [`Stackable`] of shape `[L, …]`: a `Vec<T>`, or a type of your own. L may differ within a
/// batch and may be 0; the other dimensions may not. Of a batch of N samples, the longest of length M,
///
/// * the values are a [`HostTensor`] of `T` and shape `[N, M, …]`: each sample, then the padding value,
/// * the lengths are a [`HostTensor`] of `i64` and shape `[N]`: the L of each sample.
///
/// This is `torch.nn.utils.rnn.pad_sequence` with `batch_first=True`. For a mask instead of the lengths, see
/// [`with_mask`](Pad::with_mask). A sample of several fields takes a tuple of collates:
///
/// ```
/// use sutler::{InMemory, Loader, Pad, Stack};
///
/// let samples = InMemory::new(vec![(vec![5_i64, 6, 7], 0_i64), (vec![8], 1), (vec![], 2)]);
/// let loader = Loader::builder(samples).batch_size(3).collate((Pad::new(-1), Stack)).build()?;
/// let ((tokens, lengths), labels) = loader.epoch().next().unwrap()?;
/// assert_eq!(tokens.shape(), [3, 3]);
/// assert_eq!(*tokens, [5, 6, 7, 8, -1, -1, -1, -1, -1]);
/// assert_eq!(*lengths, [3, 1, 0]);
/// assert_eq!(*labels, [0, 1, 2]);
/// # Ok::<(), sutler::Error>(())
/// ```
///
/// How long the longest is shows only when all are there. Until then samples are kept as they are; each is then written
/// once, by the worker that completes the batch.
///
/// # Errors
///
/// A sample without dimensions, and one whose dimensions behind the first differ from those of the first sample of its
/// batch, fail the batch. The latter error names both samples and both shapes.
#[derive(Clone, Copy, Debug)]
pub struct Pad<T> {
    value: T,
    left: bool,
    multiple: usize,
}

/// A run of samples to be padded, `L` being the element type of what comes beside the values.
pub struct PadPart<S: Stackable, L: Element> {
    samples: Gathered<S>,
    /// Where the batch goes, in the run that begins it.
    out: Option<(Slots<S::Element>, Slots<L>)>,
}

impl<T: Element> Pad<T> {
    /// Pads with `value`, behind each sample.
    pub fn new(value: T) -> Self {
        Pad { value, left: false, multiple: 1 }
    }

    /// Pads before each sample instead (`padding_side="left"`), so that all end together: what generating text wants.
    pub fn left(mut self) -> Self {
        self.left = true;
        self
    }

    /// Pads on, to the next multiple of `n`: what tensor cores like (8, or 64), and what keeps the number of different
    /// shapes small.
    ///
    /// # Panics
    ///
    /// If `n` is 0.
    pub fn to_multiple_of(mut self, n: usize) -> Self {
        assert!(n > 0, "a length cannot be a multiple of 0");
        self.multiple = n;
        self
    }

    /// A mask instead of the lengths: the batch is `(values, mask)`. The last call: set the rest before.
    pub fn with_mask(self) -> PadMask<T> {
        PadMask::new(self)
    }

    /// Where a sample of length `len` lies in a row of length `padded`.
    pub(super) fn place(&self, len: usize, padded: usize) -> Range<usize> {
        match self.left {
            true => padded - len..padded,
            false => 0..len,
        }
    }

    /// The padded values, and what `note` makes of each sample's length and that of its row.
    pub(super) fn pad<S, L>(
        &self,
        part: PadPart<S, L>,
        mut note: impl FnMut(&mut Slots<L>, usize, usize) -> Result<()>,
    ) -> Result<(HostTensor<T>, HostTensor<L>)>
    where
        S: Stackable<Element = T>,
        L: Element,
    {
        let (mut values, mut notes) = part.out.expect("the run that begins a batch is the one that is finished");
        let samples = part.samples.into_samples();
        // Some of them may have been left out.
        values.rewind(0);
        notes.rewind(0);
        let (inner, longest) = common(&samples)?;
        // A length that no `usize` holds is one that no memory holds, as `Slots` will say.
        let padded = longest.checked_next_multiple_of(self.multiple).unwrap_or(usize::MAX);
        for (slot, sample) in samples.into_iter().enumerate() {
            let len = sample.shape()[0];
            let place = self.place(len, padded);
            let row = values.push(&inner.with_front(padded))?;
            let step = row.len().checked_div(padded).unwrap_or(0);
            let (before, rest) = row.split_at_mut(place.start * step);
            let (own, after) = rest.split_at_mut(len * step);
            before.fill(self.value);
            sample.write(own).map_err(|error| error.with_slot(slot))?;
            after.fill(self.value);
            note(&mut notes, len, padded)?;
        }
        Ok((values.finish(), notes.finish()))
    }
}

/// The shape that all samples have behind their first dimension, and the largest first dimension.
fn common<S: Stackable>(samples: &[S]) -> Result<(Shape, usize)> {
    let first = samples[0].shape();
    let mut longest = 0;
    for (slot, sample) in samples.iter().enumerate() {
        let shape = sample.shape();
        if shape[1..] != first[1..] {
            let before = format!("its shape is {shape:?}, but that of ");
            let after = format!(
                " is {first:?}: only the first dimension is padded, the others must be the same (crop or resize them)"
            );
            return Err(Error::clash(before, 0, samples.len(), after).with_slot(slot));
        }
        longest = longest.max(shape[0]);
    }
    Ok((Shape::new(&first[1..]), longest))
}

impl<S: Stackable, L: Element> PadPart<S, L> {
    pub(super) fn new(plan: BatchPlan<'_>) -> Self {
        let out = (Slots::new(plan.field(0)), Slots::new(plan.field(1)));
        PadPart { samples: Gathered::new(plan.len), out: Some(out) }
    }

    pub(super) fn split_off(&mut self, at: usize) -> Self {
        PadPart { samples: self.samples.split_off(at), out: None }
    }

    pub(super) fn push(&mut self, sample: S) -> Result<()> {
        if sample.shape().is_empty() {
            let text =
                "its shape is [], without a dimension that could be padded: Pad is for sequences (Stack for numbers)";
            return Err(Error::new(ErrorKind::Collate, text));
        }
        self.samples.push(sample);
        Ok(())
    }

    pub(super) fn rewind(&mut self, len: usize) {
        self.samples.rewind(len);
    }

    pub(super) fn unite(&mut self, next: Self) {
        self.samples.unite(next.samples);
    }
}

impl<S: Stackable, L: Element> Debug for PadPart<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PadPart").field("out", &self.out).finish_non_exhaustive()
    }
}

/// What `Collate` asks for beside `finish`: the same for lengths and for a mask.
macro_rules! pad_part {
    ($sample:ty, $beside:ty) => {
        type Part = PadPart<$sample, $beside>;

        fn start(&self, plan: BatchPlan<'_>) -> Self::Part {
            PadPart::new(plan)
        }

        fn split_off(&self, part: &mut Self::Part, at: usize) -> Self::Part {
            part.split_off(at)
        }

        fn push(&self, part: &mut Self::Part, sample: $sample) -> Result<()> {
            part.push(sample)
        }

        fn rewind(&self, part: &mut Self::Part, len: usize) -> Result<()> {
            part.rewind(len);
            Ok(())
        }

        fn unite(&self, part: &mut Self::Part, next: Self::Part) {
            part.unite(next);
        }
    };
}
pub(super) use pad_part;

impl<T: Element, S: Stackable<Element = T>> Collate<S> for Pad<T> {
    /// Values `[N, M, …]` and lengths `[N]`.
    type Batch = (HostTensor<T>, HostTensor<i64>);
    pad_part! { S, i64 }

    fn finish(&self, part: Self::Part) -> Result<Self::Batch> {
        self.pad(part, |lengths, len, _| {
            lengths.push(&Shape::SCALAR)?[0] = len as i64;
            Ok(())
        })
    }
}
