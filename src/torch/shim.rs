//! The functions of `shim.cpp`: each gives null, or why it failed.

use std::ffi::{CStr, c_char, c_void};

use tch::Device;
use torch_sys::C_tensor;

use super::first_line;
use crate::error::{Error, ErrorKind, Result};

/// A stream, as c10 packs it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RawStream {
    pub(super) id: i64,
    pub(super) device_type: i32,
    pub(super) device_index: i32,
}

unsafe extern "C" {
    fn sutler_text_delete(text: *mut c_char);

    /// How many devices the accelerator has that libtorch was built for; 0 without one.
    pub(super) fn sutler_accelerator_count(count: &mut i64) -> *mut c_char;

    /// A page-locked block of at least `bytes` bytes, and where its memory begins.
    pub(super) fn sutler_pinned_new(bytes: u64, block: &mut *mut c_void, data: &mut *mut c_void) -> *mut c_char;
    /// `block` is of `sutler_pinned_new`, deleted once, and its memory is not used any more.
    pub(super) fn sutler_pinned_delete(block: *mut c_void) -> *mut c_char;

    /// The stream on which this thread works on a device.
    pub(super) fn sutler_stream_current(device_type: i32, index: i32, stream: &mut RawStream) -> *mut c_char;
    /// Another stream of the device, of the few that torch keeps for this.
    pub(super) fn sutler_stream_of_pool(device_type: i32, index: i32, stream: &mut RawStream) -> *mut c_char;
    /// This thread works on `stream` from now on, and worked on `previous`.
    pub(super) fn sutler_stream_exchange(stream: &RawStream, previous: &mut RawStream) -> *mut c_char;

    /// The event is over when all that was given to the stream so far is. `event` is null or an event of this stream's
    /// device, and afterwards the latter.
    pub(super) fn sutler_event_record(event: &mut *mut c_void, stream: &RawStream) -> *mut c_char;
    /// `event` was recorded on `stream`.
    pub(super) fn sutler_event_query(event: *mut c_void, stream: &RawStream, is_over: &mut bool) -> *mut c_char;
    /// `event` was recorded on `stream`, and is deleted once.
    pub(super) fn sutler_event_delete(event: *mut c_void, stream: &RawStream) -> *mut c_char;

    /// Torch does not give the memory of a tensor to anybody else before what was given to the stream so far, when the
    /// tensor is dropped, is over. `tensor` is one of tch's.
    pub(super) fn sutler_record_stream(tensor: *const C_tensor, stream: &RawStream) -> *mut c_char;
}

/// What a function returned.
pub(super) fn check(doing: &str, failure: *mut c_char) -> Result<()> {
    if failure.is_null() {
        return Ok(());
    }
    // SAFETY: not null, so a C string of malloc's that is ours; it is copied, and freed once.
    let text = unsafe {
        let text = CStr::from_ptr(failure).to_string_lossy().into_owned();
        sutler_text_delete(failure);
        text
    };
    Err(Error::new(ErrorKind::Torch, format!("{doing}: {}", first_line(&text))))
}

/// `c10::DeviceType` and the index of a device. Part of torch's file formats, so the numbers do not change.
pub(super) fn device_parts(device: Device) -> (i32, i32) {
    match device {
        Device::Cpu => (0, -1),
        Device::Cuda(index) => (1, index.try_into().unwrap_or(i32::MAX)),
        Device::Vulkan => (10, 0),
        Device::Mps => (13, 0),
    }
}

/// How many devices there are besides the CPU.
pub(super) fn accelerator_count() -> Result<i64> {
    let mut count = 0;
    // SAFETY: writes a number.
    check("cannot count the devices", unsafe { sutler_accelerator_count(&mut count) })?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;
    use crate::torch::cuda_if_available;

    /// A machine with a GPU: what is tested there is elsewhere.
    fn has_gpu() -> bool {
        cuda_if_available() != Device::Cpu
    }

    /// The text of a failure; each is one line that says what was done, and what torch says to it.
    fn failure(doing: &str, returned: *mut c_char) -> String {
        let error = check(doing, returned).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Torch);
        let text = error.to_string();
        assert!(text.starts_with(&format!("{doing}: ")) && text.len() > doing.len() + 5, "{text}");
        assert!(!text.contains('\n') && !text.contains("Exception raised from"), "{text}");
        text
    }

    #[test]
    fn without_an_accelerator_every_function_fails_with_torchs_first_line() {
        if has_gpu() {
            return;
        }
        assert_eq!(accelerator_count().unwrap(), 0);
        let cuda = RawStream { id: 0, device_type: 1, device_index: 0 };
        let cpu = RawStream { id: 0, device_type: 0, device_index: 0 };
        let (mut stream, mut block, mut data) = (RawStream::default(), ptr::null_mut(), ptr::null_mut());
        let (mut event, mut is_over) = (ptr::null_mut(), false);
        let tensor = tch::Tensor::zeros([2], (tch::Kind::Float, Device::Cpu));
        // SAFETY: the arguments are what the functions ask for, except for a device that is not there, and events that do
        // not exist, at which no function looks before it has found the device.
        unsafe {
            failure("pinned", sutler_pinned_new(64, &mut block, &mut data));
            assert!(block.is_null() && data.is_null());
            for stream_of in [sutler_stream_current, sutler_stream_of_pool] {
                failure("stream", stream_of(1, 0, &mut stream));
            }
            failure("stream", sutler_stream_of_pool(0, -1, &mut stream)); // the CPU has no others
            assert!(failure("stream", sutler_stream_current(1, 256, &mut stream)).contains("256"));
            failure("exchange", sutler_stream_exchange(&cuda, &mut stream));
            for on in [&cuda, &cpu] {
                failure("record", sutler_event_record(&mut event, on));
                failure("query", sutler_event_query(event, on, &mut is_over));
            }
            failure("delete", sutler_event_delete(event, &cuda));
            failure("record_stream", sutler_record_stream(tensor.as_ptr(), &cuda));
            assert_eq!((stream, event, is_over), (RawStream::default(), ptr::null_mut(), false));
        }
    }

    #[test]
    fn where_the_cpu_can_do_it_functions_succeed() {
        let mut stream = RawStream { id: 7, device_type: 7, device_index: 7 };
        let tensor = tch::Tensor::zeros([2], (tch::Kind::Float, Device::Cpu));
        // SAFETY: the arguments are what the functions ask for; there is no event to delete, and deleting no block is
        // deleting nothing.
        unsafe {
            let (device_type, index) = device_parts(Device::Cpu);
            check("", sutler_stream_current(device_type, index, &mut stream)).unwrap();
            assert_eq!((stream.id, stream.device_type), (0, 0));
            let mut previous = RawStream { id: 7, device_type: 7, device_index: 7 };
            check("", sutler_stream_exchange(&stream, &mut previous)).unwrap();
            assert_eq!((previous.id, previous.device_type), (0, 0));
            check("", sutler_event_delete(ptr::null_mut(), &stream)).unwrap();
            check("", sutler_record_stream(tensor.as_ptr(), &stream)).unwrap();
            check("", sutler_pinned_delete(ptr::null_mut())).unwrap();
        }
    }

    #[test]
    fn our_numbers_of_devices_are_torchs() {
        unsafe extern "C" {
            fn aoti_torch_device_type_cpu() -> i32;
            fn aoti_torch_device_type_cuda() -> i32;
            fn aoti_torch_device_type_mps() -> i32;
        }
        // SAFETY: these functions return constants.
        let theirs =
            unsafe { [aoti_torch_device_type_cpu(), aoti_torch_device_type_cuda(), aoti_torch_device_type_mps()] };
        assert_eq!([Device::Cpu, Device::Cuda(3), Device::Mps].map(|device| device_parts(device).0), theirs);
        assert_eq!(device_parts(Device::Cuda(3)).1, 3);
    }
}
