//! Loads libtorch's CUDA half where there is one.

use tch::Device;

/// `Device::Cuda(0)` if this machine has a GPU that torch can use, else the CPU.
///
/// Unlike `tch::Device::cuda_if_available()`, it first loads libtorch's CUDA half; see [`load_cuda`].
pub fn cuda_if_available() -> Device {
    let _ = load_cuda();
    Device::cuda_if_available()
}

/// Loads libtorch's CUDA half, once.
///
/// Nothing in a program refers to `libtorch_cuda.so` by a symbol, so a linker leaves it out, and CUDA would never be
/// available. This loads it from where the rest of libtorch lies, if there is an NVIDIA driver: one binary serves
/// machines with and without a GPU. [`cuda_if_available`] and [`Epoch::to_device`](crate::Epoch::to_device) call it;
/// call it yourself before the first question to `tch::Cuda` otherwise, and before `tch::manual_seed`, which is one: torch
/// remembers the first answer.
///
/// # Errors
///
/// The dynamic loader's message where it cannot be loaded: no driver, a libtorch without CUDA, or incomplete CUDA
/// libraries. Everything on the CPU works all the same.
#[cfg(target_os = "linux")]
pub fn load_cuda() -> Result<(), &'static str> {
    use std::ffi::{CStr, CString, OsStr};
    use std::mem::MaybeUninit;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::Path;
    use std::sync::OnceLock;

    fn open(library: &CStr) -> Result<(), String> {
        // SAFETY: a C string and valid flags. What is opened are NVIDIA's driver and libtorch, whose initialisers are
        // made to run from dlopen. It is never closed.
        if !unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) }.is_null() {
            return Ok(());
        }
        // SAFETY: right after a failure this is a C string, of this thread, valid until its next dl call.
        Err(unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned())
    }

    fn load() -> Result<(), String> {
        // Without a driver there is no device: do not load gigabytes of libraries to find that out.
        open(c"libcuda.so.1")?;

        // Where is libtorch_cpu.so, the library that this function is in?
        let mut info = MaybeUninit::<libc::Dl_info>::uninit();
        // SAFETY: dladdr accepts any address, and `info` is writable.
        if unsafe { libc::dladdr(super::blob::address_in_libtorch(), info.as_mut_ptr()) } == 0 {
            return Err("libtorch is not a shared library here".into());
        }
        // SAFETY: filled by dladdr; the name is a C string and lives as long as libtorch, to the end.
        let name = unsafe { CStr::from_ptr(info.assume_init().dli_fname) };
        let path = Path::new(OsStr::from_bytes(name.to_bytes())).with_file_name("libtorch_cuda.so");
        let path = CString::new(path.into_os_string().into_vec()).map_err(|error| error.to_string())?;
        open(&path)
    }

    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load).as_ref().copied().map_err(String::as_str)
}

/// Elsewhere the linker keeps what it is told to link.
///
/// # Errors
///
/// None.
#[cfg(not(target_os = "linux"))]
pub fn load_cuda() -> Result<(), &'static str> {
    Ok(())
}
