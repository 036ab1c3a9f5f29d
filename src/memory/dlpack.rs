//! DLPack export (feature `dlpack`): a batch becomes another framework's tensor without a copy.
//!
//! [`HostTensor::into_dlpack`] makes a [`DlPack`] of a tensor, and that gives away one of the two structs that
//! [DLPack](https://dmlc.github.io/dlpack/latest/) has for lending an array: [`DLManagedTensorVersioned`], or the older
//! [`DLManagedTensor`] for those who know no other (JAX 0.10 does not). Whoever gets it calls its deleter once, on any
//! thread, when the last view of the memory is gone; then the buffer returns to the loader's pool.
//!
//! ```
//! use sutler::{InMemory, Loader};
//!
//! let samples: InMemory<[f32; 3]> = (0..8).map(|i| [i as f32; 3]).collect();
//! let loader = Loader::builder(samples).batch_size(8).build()?;
//! let batch = loader.epoch().next().unwrap()?;
//!
//! let managed = batch.into_dlpack()?.into_raw();
//! // What the other framework does. SAFETY: `managed` is live until its deleter is called, which is done once.
//! unsafe {
//!     let tensor = &managed.as_ref().dl_tensor;
//!     assert_eq!(std::slice::from_raw_parts(tensor.shape, tensor.ndim as usize), [8, 3]);
//!     assert_eq!(loader.stats().buffers_live, 1);
//!     (managed.as_ref().deleter.unwrap())(managed.as_ptr());
//! }
//! assert_eq!(loader.stats().buffers_live, 0);
//! # Ok::<(), sutler::Error>(())
//! ```
//!
//! If the batch is page-locked and a consumer copies from it without blocking, it has to keep it until that copy is over: once
//! the deleter has run, the next batch is written there.
//!
//! To Python it goes in a `PyCapsule`, made by the `__dlpack__` of an object that owns the [`DlPack`]: one named
//! `dltensor_versioned` if its argument `max_version` is there and has a major version of at least 1, else one named
//! `dltensor`. A consumer renames the capsule that it takes; the destructor of one that still has its first name calls
//! the deleter. `examples/dlpack` does all of it.

use std::ffi::c_void;
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use super::element::Element;
use super::slots::BatchMemory;
use super::{DType, HostTensor, Shape};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;

/// A tensor that is ready to be lent to another framework, once.
///
/// Dropped without being given away, it returns the buffer like any batch. It has no type parameter, so that a class of
/// another language can hold the field of any batch.
pub struct DlPack {
    memory: Arc<BatchMemory>,
    device: DLDevice,
    dtype: DType,
    ndim: usize,
    /// The first `ndim` count, here and in `strides`.
    shape: [i64; Shape::MAX_DIMS],
    strides: [i64; Shape::MAX_DIMS],
}

impl<T: Element> HostTensor<T> {
    /// This tensor for another framework, by [DLPack](crate::dlpack): its own memory, and writable.
    ///
    /// # Errors
    ///
    /// If the shape does not fit 64-bit integers, which takes an empty tensor: `[2, 0, usize::MAX]`.
    pub fn into_dlpack(self) -> Result<DlPack> {
        let shape = Shape::new(self.shape());
        let (shape, strides) = shape
            .with_strides()
            .ok_or_else(|| Error::new(ErrorKind::Limit, format!("the shape {shape:?} does not fit 64-bit integers")))?;
        let (device, ndim) = (device_of(&self), self.shape().len());
        Ok(DlPack { memory: self.memory, device, dtype: T::DTYPE, ndim, shape, strides })
    }
}

/// Where the memory is, for DLPack. Page-locked memory has a device of its own there (3), which torch 2.11 and JAX 0.10
/// refuse; and all of it is host memory.
fn device_of<T: Element>(_: &HostTensor<T>) -> DLDevice {
    DLDevice::CPU
}

impl DlPack {
    /// Where the memory is: what Python's `__dlpack_device__` returns.
    pub fn device(&self) -> DLDevice {
        self.device
    }

    /// Gives the tensor away, as DLPack 1 has it. The deleter is never null, and is to be called exactly once, on
    /// whatever thread; until then the buffer is not in its pool.
    #[must_use = "the buffer is lost unless somebody calls the deleter"]
    pub fn into_raw(self) -> NonNull<DLManagedTensorVersioned> {
        Lent::lend(self, |dl_tensor, manager_ctx| DLManagedTensorVersioned {
            version: DLPackVersion { major: 1, minor: 3 }, // that of the header which these structs follow
            manager_ctx,
            deleter: Some(delete_versioned),
            flags: 0,
            dl_tensor,
        })
    }

    /// Like [`into_raw`](DlPack::into_raw), as DLPack had it before version 1.
    ///
    /// It has no place to say that the memory may be written, and numpy makes a read-only array of it.
    #[must_use = "the buffer is lost unless somebody calls the deleter"]
    pub fn into_raw_unversioned(self) -> NonNull<DLManagedTensor> {
        Lent::lend(self, |dl_tensor, manager_ctx| DLManagedTensor {
            dl_tensor,
            manager_ctx,
            deleter: Some(delete_unversioned),
        })
    }
}

impl fmt::Debug for DlPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DlPack")
            .field("shape", &&self.shape[..self.ndim])
            .field("dtype", &self.dtype)
            .field("device", &self.device)
            .finish()
    }
}

/// What a consumer has: the struct that it sees, and behind it all that the struct points to.
struct Lent<M> {
    managed: MaybeUninit<M>,
    pack: DlPack,
}

impl<M> Lent<M> {
    /// The struct that `managed` makes of a tensor and of the context that [`take_back`](Lent::take_back) wants.
    fn lend(pack: DlPack, managed: impl FnOnce(DLTensor, *mut c_void) -> M) -> NonNull<M> {
        let data = match pack.shape[..pack.ndim].contains(&0) {
            true => ptr::null_mut(), // the header asks for it
            false => pack.memory.buffer().start().as_ptr().cast(),
        };
        let (device, ndim, dtype) = (pack.device, pack.ndim as i32, DLDataType::of(pack.dtype));
        let lent = Box::into_raw(Box::new(Self { managed: MaybeUninit::uninit(), pack }));
        // SAFETY: `lent` is live, nobody else knows it yet, and `managed` has room for an `M`. These are pointers into
        // it and no references, so they stay good until the box is freed.
        unsafe {
            let shape = (&raw mut (*lent).pack.shape).cast();
            let strides = (&raw mut (*lent).pack.strides).cast();
            let tensor = DLTensor { data, device, ndim, dtype, shape, strides, byte_offset: 0 };
            let place = (&raw mut (*lent).managed).cast::<M>();
            place.write(managed(tensor, lent.cast()));
            NonNull::new_unchecked(place)
        }
    }

    /// # Safety
    ///
    /// `context` is what `lend` of the same type gave, and this is called once for it, when nobody uses the memory.
    unsafe fn take_back(context: *mut c_void) {
        // SAFETY: `lend` made it with `Box::into_raw`, and the caller promises that nothing else frees it.
        drop(unsafe { Box::from_raw(context.cast::<Self>()) });
    }
}

// Returning a buffer to its pool does not panic. If it did, `extern "C"` would end the process, not unwind into C.

/// # Safety
///
/// `managed` came from [`DlPack::into_raw`], and this is called once for it, when nobody uses the memory.
unsafe extern "C" fn delete_versioned(managed: *mut DLManagedTensorVersioned) {
    // SAFETY: the caller promises that it is live and unchanged, so its context is that of `lend`.
    unsafe { Lent::<DLManagedTensorVersioned>::take_back((*managed).manager_ctx) }
}

/// # Safety
///
/// `managed` came from [`DlPack::into_raw_unversioned`], and this is called once for it, when nobody uses the memory.
unsafe extern "C" fn delete_unversioned(managed: *mut DLManagedTensor) {
    // SAFETY: the caller promises that it is live and unchanged, so its context is that of `lend`.
    unsafe { Lent::<DLManagedTensor>::take_back((*managed).manager_ctx) }
}

/// A version of DLPack.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DLPackVersion {
    /// Changes with the layout: of another one than 1, only the deleter may be used.
    pub major: u32,
    /// Changes with what numbers mean.
    pub minor: u32,
}

/// Where memory is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DLDevice {
    /// A `DLDeviceType`: 1 is the CPU.
    pub device_type: i32,
    /// Which of several; 0 for host memory.
    pub device_id: i32,
}

impl DLDevice {
    /// Host memory.
    pub const CPU: DLDevice = DLDevice { device_type: 1, device_id: 0 };
}

/// A type of elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DLDataType {
    /// A `DLDataTypeCode`: 0 for signed integers, 1 for unsigned ones, 2 for IEEE floats, 4 for bfloat16, 6 for `bool`.
    pub code: u8,
    /// Bits of a number.
    pub bits: u8,
    /// Numbers in an element: 1 but for vector types.
    pub lanes: u16,
}

impl DLDataType {
    fn of(dtype: DType) -> Self {
        const INT: u8 = 0;
        const UINT: u8 = 1;
        const FLOAT: u8 = 2;
        const BFLOAT: u8 = 4;
        const BOOL: u8 = 6;
        let (code, bits) = match dtype {
            DType::Bool => (BOOL, 8),
            DType::Uint8 => (UINT, 8),
            DType::Int8 => (INT, 8),
            DType::Uint16 => (UINT, 16),
            DType::Int16 => (INT, 16),
            DType::Uint32 => (UINT, 32),
            DType::Int32 => (INT, 32),
            DType::Uint64 => (UINT, 64),
            DType::Int64 => (INT, 64),
            DType::Float16 => (FLOAT, 16),
            DType::BFloat16 => (BFLOAT, 16),
            DType::Float32 => (FLOAT, 32),
            DType::Float64 => (FLOAT, 64),
        };
        DLDataType { code, bits, lanes: 1 }
    }
}

/// An array, without a word on who owns it.
#[repr(C)]
#[derive(Debug)]
pub struct DLTensor {
    /// The memory, here aligned to 64 bytes; null if there are no elements.
    pub data: *mut c_void,
    /// Where the memory is.
    pub device: DLDevice,
    /// The number of dimensions.
    pub ndim: i32,
    /// The type of the elements.
    pub dtype: DLDataType,
    /// `ndim` dimensions, here `[N, …]`.
    pub shape: *mut i64,
    /// For each dimension, how many elements it is to the next; here always there, and those of C order.
    pub strides: *mut i64,
    /// From `data` to the first element, in bytes; here 0.
    pub byte_offset: u64,
}

/// An array on loan, as it was before DLPack 1: what a Python capsule named `dltensor` holds.
#[repr(C)]
#[derive(Debug)]
pub struct DLManagedTensor {
    /// The array.
    pub dl_tensor: DLTensor,
    /// The lender's business.
    pub manager_ctx: *mut c_void,
    /// Ends the loan, and the struct with it.
    pub deleter: Option<unsafe extern "C" fn(managed: *mut DLManagedTensor)>,
}

/// An array on loan: what a Python capsule named `dltensor_versioned` holds.
#[repr(C)]
#[derive(Debug)]
pub struct DLManagedTensorVersioned {
    /// The version of this struct.
    pub version: DLPackVersion,
    /// The lender's business.
    pub manager_ctx: *mut c_void,
    /// Ends the loan, and the struct with it.
    pub deleter: Option<unsafe extern "C" fn(managed: *mut DLManagedTensorVersioned)>,
    /// Bit 0: it must not be written. Bit 1: it is a copy, made for this loan. Here none.
    pub flags: u64,
    /// The array.
    pub dl_tensor: DLTensor,
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// Sizes and offsets as a C compiler has them of the header, where pointers have 64 bits.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_structs_have_the_headers_layout() {
        let offsets = [
            offset_of!(DLTensor, data),
            offset_of!(DLTensor, device),
            offset_of!(DLTensor, ndim),
            offset_of!(DLTensor, dtype),
            offset_of!(DLTensor, shape),
            offset_of!(DLTensor, strides),
            offset_of!(DLTensor, byte_offset),
        ];
        assert_eq!((offsets, size_of::<DLTensor>()), ([0, 8, 16, 20, 24, 32, 40], 48));
        let offsets = [
            offset_of!(DLManagedTensor, dl_tensor),
            offset_of!(DLManagedTensor, manager_ctx),
            offset_of!(DLManagedTensor, deleter),
        ];
        assert_eq!((offsets, size_of::<DLManagedTensor>()), ([0, 48, 56], 64));
        let offsets = [
            offset_of!(DLManagedTensorVersioned, version),
            offset_of!(DLManagedTensorVersioned, manager_ctx),
            offset_of!(DLManagedTensorVersioned, deleter),
            offset_of!(DLManagedTensorVersioned, flags),
            offset_of!(DLManagedTensorVersioned, dl_tensor),
        ];
        assert_eq!((offsets, size_of::<DLManagedTensorVersioned>()), ([0, 8, 16, 24, 32], 80));
        assert_eq!((size_of::<DLPackVersion>(), size_of::<DLDevice>(), size_of::<DLDataType>()), (8, 8, 4));
    }
}
