//! A fake of NVIDIA's `libnvidia-ml.so.1`, as far as it is asked here. `FAKE_GPUS` says what it shows: a number of
//! GPUs, of which the second is lost and the third tells nothing; `no driver`; or GPUs and `hanging`, which read well
//! once.

use std::ffi::{c_char, c_int, c_uint};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const SUCCESS: c_int = 0;
const NOT_SUPPORTED: c_int = 3;
const DRIVER_NOT_LOADED: c_int = 9;
const GPU_IS_LOST: c_int = 15;

#[repr(C)]
pub struct Memory {
    version: c_uint,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

#[repr(C)]
pub struct Rates {
    gpu: c_uint,
    memory: c_uint,
}

fn set() -> String {
    std::env::var("FAKE_GPUS").unwrap()
}

/// A device is its number and one; no pointer to anything.
fn tells(device: usize) -> Result<(), c_int> {
    if device == 1 { Ok(()) } else { Err(NOT_SUPPORTED) }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> c_int {
    if set() == "no driver" { DRIVER_NOT_LOADED } else { SUCCESS }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> c_int {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let set = set();
    if set.ends_with("hanging") && ASKED.fetch_add(1, SeqCst) > 0 {
        loop {
            std::thread::sleep(Duration::from_secs(1000));
        }
    }
    unsafe { *count = set.split(',').next().unwrap().parse().unwrap() };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut usize) -> c_int {
    if index == 1 {
        return GPU_IS_LOST;
    }
    unsafe { *device = index as usize + 1 };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(device: usize, name: *mut c_char, length: c_uint) -> c_int {
    if let Err(code) = tells(device) {
        return code;
    }
    let text = c"Fake 0";
    assert!(text.count_bytes() < length as usize);
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), name, text.count_bytes() + 1) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: usize, memory: *mut Memory) -> c_int {
    if let Err(code) = tells(device) {
        return code;
    }
    let version = unsafe { (*memory).version };
    assert_eq!(version, size_of::<Memory>() as c_uint | 2 << 24);
    unsafe { *memory = Memory { version, total: 5000, reserved: 500, free: 3500, used: 1000 } };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(device: usize, rates: *mut Rates) -> c_int {
    if let Err(code) = tells(device) {
        return code;
    }
    unsafe { *rates = Rates { gpu: 25, memory: 99 } };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(device: usize, sensor: c_uint, degrees: *mut c_uint) -> c_int {
    assert_eq!(sensor, 0);
    if let Err(code) = tells(device) {
        return code;
    }
    unsafe { *degrees = 40 };
    SUCCESS
}
