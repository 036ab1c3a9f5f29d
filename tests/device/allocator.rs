//! Where batches are made in memory of an allocator's: how much of it, cut from what, and what happens when there is none.

use std::thread;
use std::time::Duration;

use sutler::{Dataset, ErrorKind, InMemory, IterableDataset, IterableLoader, Loader, Result, SampleRng};

use crate::eventually;
use crate::fake_device::Device;
use crate::fake_memory::{FakePinned, REFUSAL};

/// `len` samples of `bytes` bytes, which take an uneven time.
struct Blobs {
    len: usize,
    bytes: usize,
}

impl Dataset for Blobs {
    type Sample = Vec<u8>;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<Vec<u8>> {
        thread::sleep(Duration::from_micros(rng.below(30).into()));
        Ok(vec![index as u8; self.bytes])
    }
}

/// What a buffer for so many bytes has, by the documentation of `BufferPool`: the bytes rounded up to a sixteenth of the next
/// power of two, and to whole cache lines.
fn buffer(bytes: usize) -> usize {
    bytes.next_multiple_of((bytes.next_power_of_two() / 16).max(64))
}

/// The fewest bytes of blocks in powers of two that so many buffers can be cut from, by trying all ways.
fn fewest_bytes(buffers: usize, capacity: usize) -> usize {
    match buffers {
        0 => 0,
        _ => (1..=buffers)
            .map(|last| (last * capacity).next_power_of_two() + fewest_bytes(buffers - last, capacity))
            .min()
            .unwrap(),
    }
}

#[test]
fn a_steady_epoch_allocates_nothing_and_has_the_blocks_that_the_documentation_says() {
    // 588 KiB a batch, which take as much of 1 MiB as those of the documentation of 64: three fit 2 MiB. Where a buffer is a
    // power of two, larger blocks only save calls.
    for (prefetch, kibibytes, blocks) in [(4, 588, 1), (1, 588, 1), (4, 1024, 2), (2, 300, 2), (7, 588, 2)] {
        let bytes = kibibytes << 8;
        let memory = FakePinned::with_footprint(usize::next_power_of_two);
        let device = Device::new(&memory, 1);
        let builder = Loader::builder(Blobs { len: 4 * 10 + 3, bytes }).batch_size(4).num_workers(2);
        let loader = builder.prefetch_batches(prefetch).allocator(memory.clone()).build().unwrap();
        let in_use = prefetch + 2;
        let capacity = buffer(4 * bytes);
        let expected = fewest_bytes(in_use, capacity);
        for epoch in 0..6 {
            if epoch % 2 == 0 {
                // A consumer that takes the next batch before it lets go of the one it has.
                let mut held = None;
                for batch in &loader {
                    let batch = batch.unwrap();
                    assert!(batch.is_pinned());
                    held = Some(batch);
                }
                drop(held);
            } else {
                loader.epoch().prefetch_to(device.transfer()).for_each(|batch| drop(batch.unwrap()));
            }
            let stats = loader.stats();
            assert_eq!(stats.buffer_bytes, expected as u64, "{in_use} of {capacity}");
            assert!((in_use..=expected / capacity).contains(&(stats.buffers_allocated as usize)), "{stats:?}");
            assert_eq!((memory.live_bytes(), memory.blocks_allocated()), (expected, blocks), "{in_use} of {capacity}");
        }
        assert_eq!(loader.stats().buffers_live, 0);
        drop(loader);
        assert!(eventually(|| memory.live_blocks() == 0));
    }
}

#[test]
fn each_field_has_blocks_of_its_own_and_an_iterable_loader_the_same() {
    struct Records;

    impl IterableDataset for Records {
        type Record = i64;
        type Records = std::iter::Map<std::ops::Range<i64>, fn(i64) -> Result<i64>>;
        type Sample = ([u8; 588], i64);

        fn num_shards(&self) -> usize {
            3
        }

        fn records(&self, _: usize, _: u64, skip: usize) -> Result<Self::Records> {
            Ok((skip as i64..200).map(Ok))
        }

        fn decode(&self, record: i64, _: &mut SampleRng) -> Result<Self::Sample> {
            Ok(([record as u8; 588], record))
        }
    }

    let memory = FakePinned::with_footprint(usize::next_power_of_two);
    let device = Device::new(&memory, 1);
    let builder = IterableLoader::builder(Records).batch_size(64).num_workers(2).prefetch_batches(4);
    let loader = builder.allocator(memory.clone()).build().unwrap();
    // A block costs 64 KiB besides, so six of 512 bytes are cut from one, and not from the two that have less room to spare.
    let expected = fewest_bytes(6, buffer(64 * 588)) + (6 * buffer(64 * 8)).next_power_of_two();
    for _ in 0..4 {
        loader.epoch().for_each(|batch| drop(batch.unwrap()));
        loader.epoch().prefetch_to(device.transfer()).for_each(|batch| drop(batch.unwrap()));
        assert_eq!((loader.stats().buffer_bytes, memory.live_bytes()), (expected as u64, expected));
    }
}

#[test]
fn a_refused_block_costs_the_batches_that_want_it_and_no_others() {
    for (num_workers, panics) in [(0, false), (2, false), (0, true), (2, true)] {
        let memory = FakePinned::new();
        let samples: InMemory<i64> = (0..40).collect();
        let builder = Loader::builder(samples).batch_size(4).allocator(memory.clone());
        let builder = if num_workers > 0 { builder.num_workers(num_workers).prefetch_batches(1) } else { builder };
        let loader = builder.build().unwrap();
        if panics {
            memory.panic_when_refusing();
        }
        memory.refuse_after(0);
        let mut epoch = loader.epoch();
        for _ in 0..3 {
            let error = epoch.next().unwrap().unwrap_err();
            assert_eq!(error.kind(), if panics { ErrorKind::Panic } else { ErrorKind::Limit });
            assert!(error.to_string().contains(REFUSAL), "{error}");
        }
        // With workers, one that was under way may still have been refused.
        memory.refuse_after(usize::MAX);
        let rest: Vec<Vec<i64>> = epoch.filter_map(Result::ok).map(|batch| batch.to_vec()).collect();
        assert!(rest.len() >= 7 - usize::from(num_workers > 0), "{rest:?}");
        assert_eq!(*rest.last().unwrap(), [36, 37, 38, 39]);
        assert_eq!(loader.epoch().filter(Result::is_ok).count(), 10);
        assert_eq!(loader.stats().buffers_live, 0);
        drop(loader);
        assert!(eventually(|| memory.live_blocks() == 0));
    }
}

#[test]
fn where_there_is_no_block_for_all_buffers_a_loader_makes_do_with_one() {
    // Of the buffers that it would hold ready there is memory for one. As long as the consumer lets go of each batch, that is
    // enough; otherwise the next batch is an error that says why.
    let memory = FakePinned::new();
    memory.refuse_larger_than(64);
    memory.refuse_after(1);
    let samples: InMemory<i64> = (0..40).collect();
    let loader = Loader::builder(samples).batch_size(4).allocator(memory.clone()).build().unwrap();
    for (batch, first) in loader.epoch().zip((0..).step_by(4)) {
        assert_eq!(batch.unwrap()[0], first);
    }
    assert_eq!((memory.live_blocks(), loader.stats().buffers_allocated), (1, 1));
    let kept = loader.epoch().next().unwrap().unwrap();
    let error = loader.epoch().next().unwrap().unwrap_err();
    assert!(error.to_string().contains(REFUSAL), "{error}");
    assert_eq!(*kept, [0, 1, 2, 3]);
}
