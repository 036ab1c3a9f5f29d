//! A loader as a C library: `consume.py` hands its batches to numpy, PyTorch and JAX, without a copy.
//!
//! ```sh
//! make dlpack
//! ```
//!
//! A Python extension does the same with a class that owns a `DlPack`.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use sutler::dlpack::{DLDevice, DLManagedTensor, DLManagedTensorVersioned, DlPack};
use sutler::{Bf16, Element, F16, HostTensor, InMemory, Loader, Result};

/// A sample has a field of each element type.
type Sample = (
    ([bool; 3], [u8; 3], [i8; 3], [u16; 3], [i16; 3], [u32; 3], [i32; 3], [u64; 3]),
    ([i64; 3], [F16; 3], [Bf16; 3], [f32; 3], [f64; 3]),
);

/// Value `j` of sample `i` is `i + j` of each type, or whether that is odd.
fn sample(i: u8) -> Sample {
    fn all<T>(i: u8, convert: impl Fn(u8) -> T) -> [T; 3] {
        [i, i + 1, i + 2].map(convert)
    }
    let integers = (
        all(i, |value| value % 2 == 1),
        all(i, u8::from),
        all(i, |value| value as i8),
        all(i, u16::from),
        all(i, i16::from),
        all(i, u32::from),
        all(i, i32::from),
        all(i, u64::from),
    );
    let others = (
        all(i, i64::from),
        all(i, |value| F16::from_f32(value.into())),
        all(i, |value| Bf16::from_f32(value.into())),
        all(i, f32::from),
        all(i, f64::from),
    );
    (integers, others)
}

/// A field of a batch that nobody has taken yet.
pub struct Field {
    pack: DlPack,
    address: *const (),
}

fn field<T: Element>(tensor: HostTensor<T>) -> Result<*mut Field> {
    let address = tensor.as_ptr().cast();
    Ok(Box::into_raw(Box::new(Field { pack: tensor.into_dlpack()?, address })))
}

fn fields(loader: &Loader<InMemory<Sample>>) -> Result<[*mut Field; 13]> {
    let Some(batch) = loader.epoch().next() else { return Ok([ptr::null_mut(); 13]) };
    let ((a, b, c, d, e, f, g, h), (i, j, k, l, m)) = batch?;
    Ok([
        field(a)?,
        field(b)?,
        field(c)?,
        field(d)?,
        field(e)?,
        field(f)?,
        field(g)?,
        field(h)?,
        field(i)?,
        field(j)?,
        field(k)?,
        field(l)?,
        field(m)?,
    ])
}

/// A loader of one batch of eight samples, for as long as the process lives; null if that fails.
// SAFETY, here and below: no other library has a function of this name.
#[unsafe(no_mangle)]
pub extern "C" fn sutler_loader() -> *mut Loader<InMemory<Sample>> {
    let loader = Loader::builder((0..8).map(sample).collect::<InMemory<Sample>>()).batch_size(8).num_workers(2).build();
    match loader {
        Ok(loader) => Box::into_raw(Box::new(loader)),
        Err(error) => {
            eprintln!("{error}");
            ptr::null_mut()
        }
    }
}

/// The buffers that are not in the loader's pool.
///
/// # Safety
///
/// `loader` is what `sutler_loader` gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sutler_buffers_live(loader: *const Loader<InMemory<Sample>>) -> u64 {
    // SAFETY: the caller promises a live loader.
    unsafe { &*loader }.stats().buffers_live
}

/// The fields of the batch of another epoch. Returns false if that fails.
///
/// # Safety
///
/// `loader` is what `sutler_loader` gave, and `out` has room for thirteen.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sutler_fields(loader: *const Loader<InMemory<Sample>>, out: *mut [*mut Field; 13]) -> bool {
    // SAFETY: the caller promises a live loader.
    let fields = fields(unsafe { &*loader });
    match fields {
        // SAFETY: the caller promises the room.
        Ok(fields) => unsafe { out.write(fields) },
        Err(ref error) => eprintln!("{error}"),
    }
    fields.is_ok()
}

/// Where the field's memory begins.
///
/// # Safety
///
/// `field` is what `sutler_fields` gave, and not taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sutler_address(field: *const Field) -> *const () {
    // SAFETY: the caller promises a live field.
    unsafe { &*field }.address
}

/// The device that the field's memory is on.
///
/// # Safety
///
/// `field` is what `sutler_fields` gave, and not taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sutler_device(field: *const Field) -> DLDevice {
    // SAFETY: the caller promises a live field.
    unsafe { &*field }.pack.device()
}

/// What a capsule named `dltensor_versioned` holds. Takes the field.
///
/// # Safety
///
/// `field` is what `sutler_fields` gave, and not taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sutler_take_versioned(field: *mut Field) -> *mut DLManagedTensorVersioned {
    // SAFETY: the caller promises a live field that nobody else takes.
    unsafe { Box::from_raw(field) }.pack.into_raw().as_ptr()
}

/// What a capsule named `dltensor` holds. Takes the field.
///
/// # Safety
///
/// `field` is what `sutler_fields` gave, and not taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sutler_take(field: *mut Field) -> *mut DLManagedTensor {
    // SAFETY: the caller promises a live field that nobody else takes.
    unsafe { Box::from_raw(field) }.pack.into_raw_unversioned().as_ptr()
}

/// Drops a field that nobody takes.
///
/// # Safety
///
/// `field` is what `sutler_fields` gave, and not taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sutler_drop(field: *mut Field) {
    // SAFETY: the caller promises a live field that nobody else takes.
    drop(unsafe { Box::from_raw(field) });
}

/// Python's functions of these names. It tells us where they are, so that this library can be linked without it.
struct Capsules {
    is_valid: unsafe extern "C" fn(capsule: *mut c_void, name: *const c_char) -> c_int,
    get_pointer: unsafe extern "C" fn(capsule: *mut c_void, name: *const c_char) -> *mut c_void,
}

static CAPSULES: OnceLock<Capsules> = OnceLock::new();

/// Tells `sutler_destroy_capsule` where Python's functions are.
///
/// # Safety
///
/// They are `PyCapsule_IsValid` and `PyCapsule_GetPointer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sutler_capsules(
    is_valid: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    get_pointer: unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void,
) {
    CAPSULES.get_or_init(|| Capsules { is_valid, get_pointer });
}

/// The destructor of capsules. Who takes what is in one renames it; if nobody did, this calls the deleter.
///
/// Not written in Python, because it also runs while an exception is being raised: that of a framework which has looked
/// into the capsule and does not want it.
///
/// # Safety
///
/// Python calls it, for a capsule of what `sutler_take_versioned` or `sutler_take` gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sutler_destroy_capsule(capsule: *mut c_void) {
    const VERSIONED: &CStr = c"dltensor_versioned";
    const UNVERSIONED: &CStr = c"dltensor";
    let Some(Capsules { is_valid, get_pointer }) = CAPSULES.get() else { return };
    // SAFETY: a capsule that still has its first name holds what that name says, which nobody else will end.
    unsafe {
        if is_valid(capsule, VERSIONED.as_ptr()) != 0 {
            let managed = get_pointer(capsule, VERSIONED.as_ptr()).cast::<DLManagedTensorVersioned>();
            if let Some(deleter) = (*managed).deleter {
                deleter(managed);
            }
        } else if is_valid(capsule, UNVERSIONED.as_ptr()) != 0 {
            let managed = get_pointer(capsule, UNVERSIONED.as_ptr()).cast::<DLManagedTensor>();
            if let Some(deleter) = (*managed).deleter {
                deleter(managed);
            }
        }
    }
}
