//! The bridge to other frameworks: they see what is in the batch, and every buffer comes back.
#![cfg(feature = "dlpack")]

use std::ffi::c_void;
use std::fmt::Debug;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sutler::dlpack::{DLDevice, DlPack};
use sutler::{Bf16, Element, ErrorKind, F16, HostTensor, InMemory, Loader, Result, Shape, Stackable};

/// dlpack.h, as a consumer knows it.
#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

#[repr(C)]
struct Unversioned {
    tensor: Tensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Unversioned)>,
}

#[repr(C)]
struct Versioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Versioned)>,
    flags: u64,
    tensor: Tensor,
}

/// Another framework's array: the memory that it was lent, until it is dropped.
enum Array {
    Versioned(*mut Versioned),
    Unversioned(*mut Unversioned),
}

// SAFETY: an array owns its loan, which may be used and ended on any thread.
unsafe impl Send for Array {}

impl Array {
    fn take(pack: DlPack) -> Self {
        let managed: *mut Versioned = pack.into_raw().as_ptr().cast();
        // SAFETY: the loan is ours, and both structs are that of the header.
        assert_eq!(unsafe { ((*managed).major, (*managed).flags) }, (1, 0));
        Array::Versioned(managed)
    }

    fn take_unversioned(pack: DlPack) -> Self {
        Array::Unversioned(pack.into_raw_unversioned().as_ptr().cast())
    }

    fn tensor(&self) -> &Tensor {
        // SAFETY: the loan is ours, and the struct is that of the header.
        unsafe {
            match *self {
                Array::Versioned(managed) => &(*managed).tensor,
                Array::Unversioned(managed) => &(*managed).tensor,
            }
        }
    }

    fn dims(&self) -> (Vec<i64>, Vec<i64>) {
        let tensor = self.tensor();
        // SAFETY: both have `ndim` numbers.
        let list = |dims| unsafe { std::slice::from_raw_parts(dims, tensor.ndim as usize) }.to_vec();
        (list(tensor.shape), list(tensor.strides))
    }

    /// Where each element is, in C order: an index for each dimension, and the strides.
    fn places<T>(&self) -> Vec<*mut T> {
        let tensor = self.tensor();
        assert_eq!((usize::from(tensor.bits), tensor.lanes), (8 * size_of::<T>(), 1));
        let (shape, strides) = self.dims();
        (0..shape.iter().product())
            .map(|number: i64| {
                let mut rest = number;
                let offset: i64 = (0..shape.len())
                    .rev()
                    .map(|dim| {
                        let index = rest % shape[dim];
                        rest /= shape[dim];
                        index * strides[dim]
                    })
                    .sum();
                tensor.data.cast::<T>().wrapping_byte_add(tensor.byte_offset as usize).wrapping_add(offset as usize)
            })
            .collect()
    }

    fn values<T: Element>(&self) -> Vec<T> {
        // SAFETY: the memory is on loan to us, and initialised where the strides lead.
        self.places::<T>().into_iter().map(|place| unsafe { place.read() }).collect()
    }

    fn fill<T: Element>(&mut self, value: T) {
        // SAFETY: as above; it is not read-only, and the loan is borrowed exclusively.
        self.places::<T>().into_iter().for_each(|place| unsafe { place.write(value) });
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // SAFETY: the loan is ours, and ends here.
        unsafe {
            match *self {
                Array::Versioned(managed) => (*managed).deleter.unwrap()(managed),
                Array::Unversioned(managed) => (*managed).deleter.unwrap()(managed),
            }
        }
    }
}

/// All samples in one batch, and the loader that it is from.
fn one_batch<S: Stackable + Clone + Sync + 'static>(samples: Vec<S>) -> (Loader<InMemory<S>>, HostTensor<S::Element>) {
    let n = samples.len();
    let loader = Loader::builder(InMemory::new(samples)).batch_size(n).build().unwrap();
    let batch = loader.epoch().next().unwrap().unwrap();
    (loader, batch)
}

/// Batches of eight samples of three equal numbers, which count from 0 to 79.
fn ten_batches(num_workers: usize) -> Loader<InMemory<[i64; 3]>> {
    let samples: InMemory<[i64; 3]> = (0..80).map(|i| [i; 3]).collect();
    Loader::builder(samples).batch_size(8).num_workers(num_workers).build().unwrap()
}

fn expected(batch: usize) -> Vec<i64> {
    (0..24).map(|place| 8 * batch as i64 + place / 3).collect()
}

/// Batches that were ahead go back as their jobs end, so it may take a moment.
fn assert_live<S: Send + Sync + Clone + Stackable + 'static>(loader: &Loader<InMemory<S>>, count: u64) {
    let patience = Instant::now();
    while loader.stats().buffers_live != count && patience.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    assert_eq!(loader.stats().buffers_live, count);
}

#[test]
fn a_consumer_reads_the_values_of_every_element_type() {
    fn check<T>(values: [T; 3], code: u8)
    where
        T: Element + Stackable<Element = T> + PartialEq + Debug,
    {
        for take in [Array::take, Array::take_unversioned] {
            let (loader, batch) = one_batch(values.to_vec());
            let array = take(batch.into_dlpack().unwrap());
            assert_eq!((array.tensor().code, array.values::<T>()), (code, values.to_vec()), "{:?}", T::DTYPE);
            drop(array);
            assert_eq!(loader.stats().buffers_live, 0);
        }
    }
    check([i8::MIN, -1, i8::MAX], 0);
    check([i16::MIN, -1, i16::MAX], 0);
    check([i32::MIN, -1, i32::MAX], 0);
    check([i64::MIN, -1, i64::MAX], 0);
    check([0, 1, u8::MAX], 1);
    check([0, 1, u16::MAX], 1);
    check([0, 1, u32::MAX], 1);
    check([0, 1, u64::MAX], 1);
    check([-0.5, 1.0, 65504.0].map(F16::from_f32), 2);
    check([-0.1, f32::MIN_POSITIVE, f32::MAX], 2);
    check([-0.1, f64::MIN_POSITIVE, f64::MAX], 2);
    check([-0.5, 1.0, 3e38].map(Bf16::from_f32), 4);
    check([true, false, true], 6);
}

#[test]
fn shapes_are_in_c_order_with_strides() {
    fn check<S: Stackable + Clone + Sync + 'static>(samples: Vec<S>, shape: &[i64], strides: &[i64]) {
        for take in [Array::take, Array::take_unversioned] {
            let (loader, batch) = one_batch(samples.clone());
            let elements = batch.len();
            let array = take(batch.into_dlpack().unwrap());
            assert_eq!(array.dims(), (shape.to_vec(), strides.to_vec()));
            // No elements, no memory: so says the header.
            assert_eq!(array.tensor().data.is_null(), elements == 0);
            assert_eq!(array.places::<S::Element>().len(), elements);
            assert_eq!(loader.stats().buffers_live, 1);
            drop(array);
            assert_eq!(loader.stats().buffers_live, 0);
        }
    }
    check(vec![7_i64; 5], &[5], &[1]);
    check(vec![[[1_f32; 3]; 2]; 4], &[4, 2, 3], &[6, 3, 1]);
    check(vec![Vec::<f32>::new(); 3], &[3, 0], &[1, 1]);
    check(vec![[[1_u8; 3]; 0]; 2], &[2, 0, 3], &[3, 3, 1]);
    check(vec![Shaped(&[1, 2, 1, 2, 3, 1, 2]); 2], &[2, 1, 2, 1, 2, 3, 1, 2], &[24, 24, 12, 12, 6, 2, 2, 1]);
}

/// A sample of zeros.
#[derive(Clone)]
struct Shaped(&'static [usize]);

impl Stackable for Shaped {
    type Element = u16;

    fn shape(&self) -> Shape {
        Shape::new(self.0)
    }

    fn write(&self, slot: &mut [u16]) -> Result<()> {
        slot.fill(0);
        Ok(())
    }
}

#[test]
fn a_shape_that_64_bits_do_not_hold_is_an_error_and_the_buffer_returns() {
    for shape in [&[0, usize::MAX][..], &[0, 1 << 40, 1 << 40]] {
        let (loader, batch) = one_batch(vec![Shaped(shape); 2]);
        let error = batch.into_dlpack().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains(&format!("{shape:?}")[1..]), "{error}");
        assert_eq!(loader.stats().buffers_live, 0);
    }
}

#[test]
fn it_is_the_batchs_own_memory_aligned_and_writable() {
    let (_loader, batch) = one_batch(vec![[1_f32; 5]; 7]);
    let address = batch.as_ptr() as usize;
    let pack = batch.into_dlpack().unwrap();
    assert_eq!(pack.device(), DLDevice::CPU);
    let debug = format!("{pack:?}");
    assert!(debug.contains("[7, 5]") && debug.contains("Float32"), "{debug}");
    let mut array = Array::take(pack);
    let tensor = array.tensor();
    assert_eq!((tensor.data as usize, tensor.byte_offset), (address, 0));
    assert_eq!(address % 64, 0);
    assert_eq!((tensor.device_type, tensor.device_id), (1, 0));
    array.fill(2_f32);
    assert_eq!(array.values::<f32>(), [2.0; 35]);
}

#[test]
fn the_buffer_returns_when_the_deleter_runs_on_whatever_thread() {
    let loader = ten_batches(2);
    for take in [Array::take, Array::take_unversioned] {
        let mut epoch = loader.epoch();
        let array = take(epoch.next().unwrap().unwrap().into_dlpack().unwrap());
        drop(epoch);
        assert_live(&loader, 1);
        let array = std::thread::spawn(move || {
            assert_eq!(array.values::<i64>(), expected(0));
            array
        });
        let array = array.join().unwrap();
        assert_live(&loader, 1);
        std::thread::spawn(move || drop(array)).join().unwrap();
        assert_live(&loader, 0);
    }
}

#[test]
fn what_nobody_took_returns_its_buffer() {
    let (loader, batch) = one_batch(vec![1_u8; 9]);
    let pack = batch.into_dlpack().unwrap();
    assert_eq!(loader.stats().buffers_live, 1);
    std::thread::spawn(move || drop(pack)).join().unwrap();
    assert_eq!(loader.stats().buffers_live, 0);
}

#[test]
fn what_a_consumer_keeps_outlives_a_thousand_batches_and_the_loader() {
    let loader = ten_batches(2);
    let packs = (0..2).flat_map(|_| loader.epoch()).map(|batch| batch.unwrap().into_dlpack().unwrap());
    let kept: Vec<Array> = packs.map(Array::take).collect();
    let mut others = 0;
    for _ in 0..100 {
        for batch in loader.epoch() {
            // Written over, so that a buffer which is in two hands would show.
            Array::take(batch.unwrap().into_dlpack().unwrap()).fill(-1_i64);
            others += 1;
        }
    }
    assert_eq!((kept.len(), others), (20, 1000));
    assert_live(&loader, 20);
    drop(loader);
    for (number, array) in kept.iter().enumerate() {
        assert_eq!(array.values::<i64>(), expected(number % 10));
    }
}

#[test]
fn a_steady_run_allocates_no_buffers() {
    // A batch of 1 MiB: of smaller ones more are held ready than could ever be missed.
    let samples: InMemory<Shaped> = (0..64).map(|_| Shaped(&[1 << 16])).collect();
    let loader = Loader::builder(samples).batch_size(8).num_workers(2).prefetch_batches(3).build().unwrap();
    let (send, arrays) = mpsc::sync_channel::<Array>(0);
    let (done, is_done) = mpsc::channel();
    let consumer = std::thread::spawn(move || {
        for array in arrays {
            drop(array);
            done.send(()).unwrap();
        }
    });
    let run = |epochs| {
        for batch in (0..epochs).flat_map(|_| loader.epoch()) {
            send.send(Array::take(batch.unwrap().into_dlpack().unwrap())).unwrap();
            is_done.recv().unwrap();
        }
        loader.stats().buffers_allocated
    };
    let warm = run(1);
    assert_eq!(run(20), warm);
    assert_live(&loader, 0);
    drop(send);
    consumer.join().unwrap();
}
