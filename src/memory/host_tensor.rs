//! `HostTensor`: a finished batch field in host memory.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use super::element::Element;
use super::slots::BatchMemory;
use super::{DType, Shape};
use crate::sync::Arc;

/// A dense tensor of `T` in host memory, in C order; the first dimension counts the samples of the batch.
///
/// It owns its memory: dropping it returns the buffer to the loader's pool, and until then nobody writes there,
/// however long it is kept and whatever the loader does meanwhile. Dereferences to `[T]`.
pub struct HostTensor<T: Element> {
    /// Nobody else reads or writes there; at most an empty `Slots` keeps it alive as well.
    pub(super) memory: Arc<BatchMemory>,
    shape: Shape,
    dtype: PhantomData<T>,
}

impl<T: Element> HostTensor<T> {
    /// `memory` holds `shape` values of `T`, all written, and no `Slots` that could write there is left.
    pub(super) fn new(memory: Arc<BatchMemory>, shape: Shape) -> Self {
        HostTensor { memory, shape, dtype: PhantomData }
    }

    /// The dimensions, `[N, …]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        T::DTYPE
    }

    /// Whether it is in page-locked memory, from which a device copies at full speed.
    pub fn is_pinned(&self) -> bool {
        self.memory.is_pinned()
    }

    /// The samples of the batch, one slice each, in order. A tensor whose samples have no elements gives none.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &[T]> {
        self.chunks_exact((self.len() / self.shape[0]).max(1))
    }

    fn elements(&self) -> usize {
        self.shape.elements().expect("a tensor that exists fits in memory")
    }
}

impl<T: Element> Deref for HostTensor<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let buffer = self.memory.buffer();
        buffer.access.read_all();
        // SAFETY: the buffer is aligned and long enough for `shape` values, all of them written as `T` by the
        // `Slots` that became this tensor; no `Slots` that could write there is left (at most an empty
        // one), so nobody writes while we read.
        unsafe { std::slice::from_raw_parts(buffer.start().cast().as_ptr(), self.elements()) }
    }
}

impl<T: Element> DerefMut for HostTensor<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let buffer = self.memory.buffer();
        buffer.access.write_all();
        // SAFETY: as above, and this value is the only one that reaches the memory, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(buffer.start().cast().as_ptr(), self.elements()) }
    }
}

impl<T: Element + fmt::Debug> fmt::Debug for HostTensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self[..self.len().min(8)];
        f.debug_struct("HostTensor")
            .field("shape", &self.shape)
            .field("dtype", &T::DTYPE)
            .field("values", &shown)
            .finish()
    }
}
