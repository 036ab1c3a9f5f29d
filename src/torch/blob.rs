//! Host memory of ours as a `tch::Tensor`, without a copy.

use std::ffi::c_void;
use std::ptr;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::error::{Error, ErrorKind, Result};
use crate::memory::{Bf16, Element, F16, HostTensor, Shape};

unsafe extern "C" {
    /// Part of libtorch's stable C interface since 2.11 (`torch/csrc/stable/c/shim.h`). Returns 0 on success; on
    /// failure it logs to stderr and leaves `ret` alone.
    ///
    /// Where `data` is null it allocates memory of its own and forgets the deleter. Where it fails, the deleter may or
    /// may not have been called. Sizes that overflow, or are negative, end the process.
    fn torch_from_blob(
        data: *mut c_void,
        ndim: i64,
        sizes: *const i64,
        strides: *const i64,
        storage_offset: i64,
        dtype: i32,
        device_type: i32,
        device_index: i32,
        ret: *mut *mut C_tensor,
        layout: i32,
        opaque_metadata: *const u8,
        opaque_metadata_size: i64,
        deleter: Option<unsafe extern "C" fn(data: *mut c_void, context: *mut c_void)>,
        deleter_context: *mut c_void,
    ) -> i32;
}

/// Where `dladdr` can find the library that this bridge is linked to.
#[cfg(target_os = "linux")]
pub(super) fn address_in_libtorch() -> *const c_void {
    torch_from_blob as *const c_void
}

/// `c10::DeviceType::CPU`.
const CPU: i32 = 0;
/// "No index": the CPU has none, and 0 is refused.
const NO_INDEX: i32 = -1;
/// `c10::Layout::Strided`.
const STRIDED: i32 = 0;

/// An element type that Rust and torch share; tch has no kind for the unsigned integers above `u8`.
pub trait TorchElement: Element {
    /// What tch calls it.
    const KIND: Kind;
    /// `c10::ScalarType`: part of torch's file formats, so it does not change.
    #[doc(hidden)]
    const SCALAR_TYPE: i32;
}

macro_rules! torch_elements {
    ($($type:ty => $kind:ident = $code:literal;)*) => {$(
        impl TorchElement for $type {
            const KIND: Kind = Kind::$kind;
            const SCALAR_TYPE: i32 = $code;
        }
    )*};
}

torch_elements! {
    u8 => Uint8 = 0;
    i8 => Int8 = 1;
    i16 => Int16 = 2;
    i32 => Int = 3;
    i64 => Int64 = 4;
    F16 => Half = 5;
    f32 => Float = 6;
    f64 => Double = 7;
    bool => Bool = 11;
    Bf16 => BFloat16 = 15;
}

/// A host tensor on loan to torch.
struct Loan<T: Element> {
    tensor: HostTensor<T>,
    /// Whether torch has it. Until then a call of the deleter is torch cleaning up after an error, and the loan is
    /// still ours.
    taken: bool,
}

/// Called by libtorch when the last view of the memory is gone, on whatever thread that is.
///
/// # Safety
///
/// `context` is a live `Loan<T>` made by `Box::into_raw`, and once it is taken this is called at most once.
unsafe extern "C" fn give_back<T: Element>(_data: *mut c_void, context: *mut c_void) {
    let loan = context.cast::<Loan<T>>();
    // SAFETY: the caller promises a live loan, to which nobody has a reference. Returning a buffer to its pool does
    // not panic, so nothing unwinds into C++.
    unsafe {
        if (*loan).taken {
            drop(Box::from_raw(loan));
        }
    }
}

/// The tensor that uses `tensor`'s memory. The memory returns to its pool when the last view of it is dropped.
///
/// # Errors
///
/// If the shape does not fit torch's 64-bit sizes, or torch refuses.
pub(super) fn into_tch<T: TorchElement>(tensor: HostTensor<T>) -> Result<Tensor> {
    let shape = Shape::new(tensor.shape());
    let (sizes, strides) =
        shape.with_strides().ok_or_else(|| Error::new(ErrorKind::Torch, format!("torch has no shape {shape:?}")))?;

    let loan = Box::into_raw(Box::new(Loan { tensor, taken: false }));
    // SAFETY: `loan` is live, and nobody else knows it yet.
    let data = unsafe { (*loan).tensor.as_mut_ptr() };
    let mut made = ptr::null_mut();
    // SAFETY: `sizes` and `strides` have `ndim` entries and more, which torch copies. `data` is not null; it is aligned and
    // initialised for a contiguous tensor of that shape, and stays in place until the loan is dropped. From here on only
    // torch uses it. `give_back::<T>` fits the context.
    let code = unsafe {
        torch_from_blob(
            data.cast(),
            shape.len() as i64,
            sizes.as_ptr(),
            strides.as_ptr(),
            0,
            T::SCALAR_TYPE,
            CPU,
            NO_INDEX,
            &mut made,
            STRIDED,
            ptr::null(),
            0,
            Some(give_back::<T>),
            loan.cast(),
        )
    };
    // SAFETY: as long as it is not taken, the loan is live and ours, whether torch called `give_back` or not. Taking
    // it is one plain write, before any other thread can see the tensor. A handle of the C interface is a pointer to
    // a new `at::Tensor` on the heap, and so is tch's, which takes it over.
    unsafe {
        if code == 0 {
            (*loan).taken = true;
            Ok(Tensor::from_ptr(made))
        } else {
            drop(Box::from_raw(loan));
            Err(Error::new(ErrorKind::Torch, "libtorch refused the buffer of a batch; it says why on stderr"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn aoti_torch_dtype_uint8() -> i32;
        fn aoti_torch_dtype_int8() -> i32;
        fn aoti_torch_dtype_int16() -> i32;
        fn aoti_torch_dtype_int32() -> i32;
        fn aoti_torch_dtype_int64() -> i32;
        fn aoti_torch_dtype_float16() -> i32;
        fn aoti_torch_dtype_bfloat16() -> i32;
        fn aoti_torch_dtype_float32() -> i32;
        fn aoti_torch_dtype_float64() -> i32;
        fn aoti_torch_dtype_bool() -> i32;
        fn aoti_torch_device_type_cpu() -> i32;
        fn aoti_torch_layout_strided() -> i32;
    }

    #[test]
    fn our_numbers_for_types_devices_and_layouts_are_libtorchs() {
        // SAFETY: these functions return constants.
        let theirs = unsafe {
            [
                aoti_torch_dtype_uint8(),
                aoti_torch_dtype_int8(),
                aoti_torch_dtype_int16(),
                aoti_torch_dtype_int32(),
                aoti_torch_dtype_int64(),
                aoti_torch_dtype_float16(),
                aoti_torch_dtype_bfloat16(),
                aoti_torch_dtype_float32(),
                aoti_torch_dtype_float64(),
                aoti_torch_dtype_bool(),
                aoti_torch_device_type_cpu(),
                aoti_torch_layout_strided(),
            ]
        };
        let ours = [
            u8::SCALAR_TYPE,
            i8::SCALAR_TYPE,
            i16::SCALAR_TYPE,
            i32::SCALAR_TYPE,
            i64::SCALAR_TYPE,
            F16::SCALAR_TYPE,
            Bf16::SCALAR_TYPE,
            f32::SCALAR_TYPE,
            f64::SCALAR_TYPE,
            bool::SCALAR_TYPE,
            CPU,
            STRIDED,
        ];
        assert_eq!(ours, theirs);
    }
}
