//! Samples that say which they are in every byte, so that a batch with another's values cannot be taken for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use sutler::{Dataset, Error, HostTensor, Result, SampleRng};

use crate::eventually;
use crate::fake_device::DeviceTensor;

/// How many values a sample has of each kind.
const WORDS: usize = 24;
const BYTES: usize = 40;

/// A sample: two tensors and a string.
pub(crate) type Sample = (([i64; WORDS], [u8; BYTES]), String);

/// Its batch, on the host and on the device.
pub(crate) type HostBatch = ((HostTensor<i64>, HostTensor<u8>), Vec<String>);
pub(crate) type DeviceBatch = ((DeviceTensor, DeviceTensor), Vec<String>);

/// The text of what goes wrong with a bad sample.
pub(crate) const BAD: &str = "this one is bad";

/// So many samples, some of them bad.
#[derive(Clone, Copy)]
pub(crate) struct Numbered {
    pub(crate) len: usize,
    /// The sample of each that many that cannot be loaded; 0 for none.
    pub(crate) one_bad_in: usize,
}

impl Numbered {
    pub(crate) fn is_bad(&self, index: usize) -> bool {
        self.one_bad_in > 0 && index % self.one_bad_in == self.one_bad_in / 2
    }
}

impl Dataset for Numbered {
    type Sample = Sample;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<Sample> {
        if self.is_bad(index) {
            return Err(Error::msg(BAD));
        }
        Ok(((words(index), bytes(index)), index.to_string()))
    }
}

fn words(index: usize) -> [i64; WORDS] {
    std::array::from_fn(|place| (index * WORDS + place + 1) as i64)
}

fn bytes(index: usize) -> [u8; BYTES] {
    std::array::from_fn(|place| (index * 131 + place * 7 + 1) as u8)
}

/// Whether a batch on the device holds the samples that it should.
pub(crate) fn is_batch_of(((numbers, pixels), names): &DeviceBatch, indices: &[usize]) -> bool {
    let expected: Vec<i64> = indices.iter().flat_map(|&index| words(index)).collect();
    let expected_pixels: Vec<u8> = indices.iter().flat_map(|&index| bytes(index)).collect();
    let expected_names: Vec<String> = indices.iter().map(usize::to_string).collect();
    numbers.shape() == [indices.len(), WORDS]
        && pixels.shape() == [indices.len(), BYTES]
        && numbers.holds(&expected)
        && pixels.holds(&expected_pixels)
        && *names == expected_names
}

/// Whether a batch on the host does.
pub(crate) fn is_host_batch_of(((numbers, pixels), names): &HostBatch, indices: &[usize]) -> bool {
    numbers.samples().zip(indices).all(|(sample, &index)| *sample == words(index))
        && pixels.samples().zip(indices).all(|(sample, &index)| *sample == bytes(index))
        && names.iter().zip(indices).all(|(name, index)| *name == index.to_string())
        && (numbers.shape()[0], pixels.shape()[0], names.len()) == (indices.len(), indices.len(), indices.len())
}

/// A dataset that gets stuck at one of its samples, until it is released.
#[derive(Clone)]
pub(crate) struct Stuck {
    pub(crate) len: usize,
    pub(crate) at: usize,
    pub(crate) is_reached: Arc<AtomicBool>,
    pub(crate) is_released: Arc<AtomicBool>,
}

impl Stuck {
    pub(crate) fn new(len: usize, at: usize) -> Self {
        Stuck { len, at, is_reached: Arc::default(), is_released: Arc::default() }
    }

    pub(crate) fn load(&self, index: usize) -> i64 {
        if index == self.at {
            self.is_reached.store(true, SeqCst);
            assert!(eventually(|| self.is_released.load(SeqCst)), "the test forgot the stuck sample");
        }
        index as i64
    }
}

impl Dataset for Stuck {
    type Sample = i64;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        Ok(self.load(index))
    }
}
