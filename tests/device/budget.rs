//! `prefetch_bytes`: how far ahead a loader is, counted in bytes, and never further.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use sutler::{
    Dataset, Error, ErrorKind, HostTensor, InMemory, IterableDataset, IterableLoader, Loader, Pad, Result, SampleRng,
    Stack, Stats,
};

use crate::eventually;
use crate::fake_device::Device;
use crate::fake_memory::FakePinned;

/// A batch of [`Blobs`]: a power of two, so that its buffer has no more.
const BATCH: usize = 16 << 10;
const SAMPLES: usize = 16;

/// Samples of which 16 are a batch, which take an uneven time. Some fail.
struct Blobs {
    batches: usize,
    failing: BTreeSet<usize>,
}

impl Blobs {
    fn new(batches: usize) -> Self {
        Blobs { batches, failing: BTreeSet::new() }
    }
}

impl Dataset for Blobs {
    type Sample = Vec<u8>;

    fn len(&self) -> usize {
        self.batches * SAMPLES
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<Vec<u8>> {
        if rng.below(8) == 0 {
            thread::sleep(Duration::from_micros(rng.below(100).into()));
        }
        if self.failing.contains(&index) {
            return Err(Error::msg("no"));
        }
        Ok(vec![index as u8; BATCH / SAMPLES])
    }
}

/// Sequences of the given lengths, one a batch.
struct Sequences(Vec<usize>);

impl Dataset for Sequences {
    type Sample = Vec<u8>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<Vec<u8>> {
        thread::sleep(Duration::from_micros(rng.below(100).into()));
        Ok(vec![index as u8; self.0[index]])
    }
}

/// What a buffer for so many bytes has.
fn buffer(bytes: usize) -> usize {
    bytes.next_multiple_of((bytes.next_power_of_two() / 16).max(64))
}

/// Waits until nothing new was begun for a while: a consumer that is slow.
fn pause(stats: impl Fn() -> Stats) {
    let mut last = stats();
    assert!(eventually(|| {
        thread::sleep(Duration::from_millis(3));
        let now = stats();
        std::mem::replace(&mut last, now.clone()) == now
    }));
}

/// Waits for so many bytes to be in use, for as long as a slow consumer takes for a batch; false if they were not.
fn are_live(bytes: usize, stats: impl Fn() -> Stats) -> bool {
    let waiting = Instant::now();
    while stats().buffer_bytes_live != bytes as u64 {
        if waiting.elapsed() > Duration::from_millis(20) {
            return false;
        }
        thread::yield_now();
    }
    true
}

/// How far ahead a loader is of a slow consumer whose budget is so many batches: one less, since for one in the making there
/// has to be twice the room.
fn ahead(budget: usize) -> usize {
    (budget - 1).max(1)
}

#[test]
fn batches_of_one_size_are_ahead_as_far_as_the_budget_and_never_further() {
    for (num_workers, budget) in [(1, 8), (2, 8), (3, 5), (2, 1), (4, 2)] {
        let limit = budget * BATCH + BATCH / 2;
        let builder = Loader::builder(Blobs::new(100)).batch_size(SAMPLES).num_workers(num_workers);
        // A job of several batches leaves room that is too small for another.
        let loader = builder.chunk_size(SAMPLES).prefetch_bytes(limit).build().unwrap();
        let (mut epoch, mut was_full) = (loader.epoch(), false);
        for taken in 0..100 {
            let batch = epoch.next().unwrap().unwrap();
            assert_eq!(batch[0], (taken * SAMPLES) as u8);
            // The consumer is slow for a time, until it has seen how far the loader goes; then it is fast.
            was_full = was_full || taken >= 20 && are_live((ahead(budget) + 1) * BATCH, || loader.stats());
        }
        assert!(was_full, "the loader never used its budget of {limit}");
        drop(epoch);
        // The budget, and the consumer's own.
        let peak = loader.stats().buffer_bytes_peak as usize;
        assert!(peak <= limit + BATCH, "{peak} with a budget of {limit}");
        assert_eq!(loader.stats().buffers_live, 0);
    }
}

#[test]
fn a_prefetcher_keeps_to_the_budget_with_one_batch_in_its_hand() {
    for depth in [1, 3] {
        let memory = FakePinned::new();
        let device = Device::new(&memory, 1);
        let limit = 6 * BATCH;
        let builder = Loader::builder(Blobs::new(60)).batch_size(SAMPLES).num_workers(2).allocator(memory.clone());
        let loader = builder.prefetch_bytes(limit).build().unwrap();
        for _ in 0..3 {
            let batches = loader.epoch().prefetch_to(device.transfer()).depth(depth);
            assert_eq!(batches.filter(Result::is_ok).count(), 60);
        }
        let peak = loader.stats().buffer_bytes_peak as usize;
        assert!(peak <= limit + BATCH, "{peak} with a budget of {limit}");
    }
}

#[test]
fn failed_batches_do_not_let_the_loader_run_further_ahead() {
    // One batch at the beginning that has no buffer, so that nothing is known of how large they are; and some later.
    for failing in [vec![0], vec![SAMPLES + 3, 5 * SAMPLES, 6 * SAMPLES], vec![0, 2, SAMPLES, 2 * SAMPLES]] {
        for (num_workers, budget) in [(2, 1), (4, 2), (2, 6)] {
            let limit = budget * BATCH;
            let blobs = Blobs { batches: 60, failing: failing.iter().copied().collect() };
            let builder = Loader::builder(blobs).batch_size(SAMPLES).num_workers(num_workers).chunk_size(SAMPLES);
            let loader = builder.prefetch_bytes(limit).build().unwrap();
            let mut epoch = loader.epoch();
            for _ in 0..5 {
                drop(epoch.next());
                pause(|| loader.stats());
            }
            drop(epoch);
            let peak = loader.stats().buffer_bytes_peak as usize;
            assert!(peak <= limit + BATCH, "{peak} with a budget of {limit}, {num_workers} workers, {failing:?}");
        }
    }
}

#[test]
fn a_batch_that_failed_between_two_fields_does_not_say_how_large_batches_are() {
    /// A number that is always there, and a row that is not.
    struct Pairs;

    impl Dataset for Pairs {
        type Sample = (i64, Vec<u8>);

        fn len(&self) -> usize {
            60 * SAMPLES
        }

        fn get(&self, index: usize, _: &mut SampleRng) -> Result<(i64, Vec<u8>)> {
            Ok((index as i64, vec![0; if index == 0 { 0 } else { BATCH / SAMPLES }]))
        }
    }

    /// Refuses empty rows.
    struct Rows;

    impl sutler::Collate<Vec<u8>> for Rows {
        type Batch = HostTensor<u8>;
        type Part = sutler::Slots<u8>;

        fn start(&self, plan: sutler::BatchPlan<'_>) -> Self::Part {
            sutler::Slots::new(plan)
        }

        fn split_off(&self, part: &mut Self::Part, at: usize) -> Self::Part {
            part.split_off(at)
        }

        fn push(&self, part: &mut Self::Part, row: Vec<u8>) -> Result<()> {
            if row.is_empty() {
                return Err(Error::msg("empty"));
            }
            part.push(&[row.len()].into())?.copy_from_slice(&row);
            Ok(())
        }

        fn unite(&self, part: &mut Self::Part, next: Self::Part) {
            part.unite(next);
        }

        fn finish(&self, part: Self::Part) -> Result<HostTensor<u8>> {
            Ok(part.finish())
        }
    }

    let limit = 4 * BATCH;
    let builder = Loader::builder(Pairs).collate((Stack, Rows)).batch_size(SAMPLES).num_workers(1);
    let loader = builder.prefetch_bytes(limit).build().unwrap();
    let mut epoch = loader.epoch();
    assert!(epoch.next().unwrap().is_err());
    pause(|| loader.stats());
    drop(epoch);
    let peak = loader.stats().buffer_bytes_peak as usize;
    assert!(peak <= limit + BATCH, "{peak} with a budget of {limit}");
}

/// The peak of an epoch of sequences with a budget, and the most that was held.
fn peak_of(lengths: &[usize], limit: usize, num_workers: usize) -> (usize, usize) {
    let builder = Loader::builder(Sequences(lengths.to_vec())).collate(Pad::new(0)).num_workers(num_workers);
    let loader = builder.prefetch_bytes(limit).build().unwrap();
    let mut rng = SampleRng::new(3, 0, 0);
    let mut held = 0;
    for (index, batch) in loader.epoch().enumerate() {
        let (values, length) = batch.unwrap();
        assert!(*length == [lengths[index] as i64] && values.iter().all(|&value| value == index as u8));
        if rng.below(4) == 0 {
            thread::sleep(Duration::from_micros(rng.below(2000).into()));
        }
        held = held.max(loader.stats().buffer_bytes as usize);
    }
    (loader.stats().buffer_bytes_peak as usize, held)
}

/// The peak exceeds the budget by one batch at the most, and by the consumer's own.
fn keeps_to_its_budget(lengths: &[usize]) {
    // The values' buffer, and that of the length.
    let largest = buffer(*lengths.iter().max().unwrap()) + 64;
    for (num_workers, times) in [(1, 3), (2, 8), (4, 5)] {
        let limit = times * largest;
        let (peak, _) = peak_of(lengths, limit, num_workers);
        assert!(peak <= limit + 2 * largest, "{peak} with a budget of {limit}, the largest {largest}");
    }
}

#[test]
fn batches_of_varying_size_exceed_the_budget_by_no_more_than_one() {
    let mut rng = SampleRng::new(1, 0, 0);
    let random: Vec<usize> = (0..300).map(|_| 16_384 + rng.below(16_385) as usize).collect();
    let growing: Vec<usize> = (0..257).map(|index| 16_384 + index * 64).collect();
    let doubled: Vec<usize> = (0..100).map(|index| 16_384 << (index / 50)).collect();
    for lengths in [random, growing, doubled] {
        keeps_to_its_budget(&lengths);
    }
}

#[test]
fn batches_that_grow_by_no_more_than_a_tenth_exceed_the_budget_by_no_more_than_one() {
    let lengths: Vec<usize> = (0..2000).map(|index| 1024 + index * 64).collect();
    let (limit, largest) = (1 << 20, buffer(lengths[1999]) + 64);
    let (peak, held) = peak_of(&lengths, limit, 2);
    assert!(peak <= limit + 2 * largest, "{peak} with a budget of {limit}, the largest {largest}, {held} held");
}

#[test]
fn however_batches_grow_the_budget_is_exceeded_by_no_more_than_is_in_the_making() {
    // Sixteen times as large from one to the next: what was begun meanwhile is two batches for each worker.
    let lengths: Vec<usize> = (0..120).map(|index| if index < 60 { 4 << 10 } else { 64 << 10 }).collect();
    let largest = buffer(64 << 10) + 64;
    for num_workers in [1, 2, 4] {
        let limit = 2 * largest;
        let (peak, _) = peak_of(&lengths, limit, num_workers);
        assert!(
            peak <= limit + (2 * num_workers + 1) * largest,
            "{peak} with a budget of {limit}, {num_workers} workers"
        );
    }
}

#[test]
fn batches_without_buffers_are_ahead_as_well() {
    let words: InMemory<String> = (0..200).map(|index| index.to_string()).collect();
    let loader = Loader::builder(words).batch_size(4).num_workers(2).prefetch_bytes(1 << 20).build().unwrap();
    let mut epoch = loader.epoch();
    assert_eq!(epoch.next().unwrap().unwrap(), ["0", "1", "2", "3"]);
    // One more than there are workers.
    assert!(eventually(|| loader.stats().samples == 16), "{:?}", loader.stats());
    assert_eq!(epoch.map(Result::unwrap).count(), 49);
    assert_eq!(loader.stats().buffer_bytes_peak, 0);
}

#[test]
fn a_budget_smaller_than_a_batch_is_one_batch() {
    for num_workers in [1, 3] {
        let builder = Loader::builder(Blobs::new(20)).batch_size(SAMPLES).num_workers(num_workers);
        let loader = builder.prefetch_bytes(1).build().unwrap();
        let mut epoch = loader.epoch();
        for taken in 1..=20 {
            epoch.next().unwrap().unwrap();
            pause(|| loader.stats());
            assert!(loader.stats().samples as usize <= (taken + 1) * SAMPLES);
        }
        assert!(epoch.next().is_none());
        assert!(loader.stats().buffer_bytes_peak as usize <= 2 * BATCH);
    }
}

/// Shards of rows.
struct Rows(usize);

impl IterableDataset for Rows {
    type Record = usize;
    type Records = Box<dyn Iterator<Item = Result<usize>> + Send>;
    type Sample = Vec<u8>;

    fn num_shards(&self) -> usize {
        4
    }

    fn records(&self, shard: usize, _: u64, skip: usize) -> Result<Self::Records> {
        Ok(Box::new((skip..self.0 / 4).map(move |number| Ok(4 * number + shard))))
    }

    fn decode(&self, record: usize, _: &mut SampleRng) -> Result<Vec<u8>> {
        Ok(vec![record as u8; BATCH / SAMPLES])
    }
}

#[test]
fn an_iterable_loader_keeps_to_its_budget_and_uses_it() {
    for (num_workers, budget) in [(1, 8), (2, 5), (3, 1)] {
        let limit = budget * BATCH;
        let builder = IterableLoader::builder(Rows(80 * SAMPLES)).batch_size(SAMPLES).num_workers(num_workers);
        let loader = builder.prefetch_bytes(limit).build().unwrap();
        let (mut epoch, mut was_full) = (loader.epoch(), false);
        for taken in 0..80 {
            let batch = epoch.next().unwrap().unwrap();
            assert_eq!(batch[0], (taken * SAMPLES) as u8);
            was_full = was_full || taken >= 20 && are_live((ahead(budget) + 1) * BATCH, || loader.stats());
        }
        assert!(was_full, "the loader never used its budget of {limit}");
        assert!(epoch.next().is_none());
        let peak = loader.stats().buffer_bytes_peak as usize;
        assert!(peak <= limit + BATCH, "{peak} with a budget of {limit}");
    }
}

#[test]
fn a_budget_changes_nothing_in_the_batches() {
    type Sample = (u64, Vec<f64>);
    let contents = |limit: Option<usize>, num_workers| {
        struct Drawn;
        impl Dataset for Drawn {
            type Sample = Sample;
            fn len(&self) -> usize {
                203
            }
            fn get(&self, index: usize, rng: &mut SampleRng) -> Result<Sample> {
                Ok((index as u64 ^ rng.next_u64(), vec![rng.uniform(); 1 + index % 7]))
            }
        }
        let builder = Loader::builder(Drawn).collate((Stack, Pad::new(-1.0))).batch_size(8).shuffle(true).seed(3);
        let builder = if num_workers > 0 { builder.num_workers(num_workers) } else { builder };
        let loader = limit.into_iter().fold(builder, |builder, limit| builder.prefetch_bytes(limit)).build().unwrap();
        (0..2)
            .flat_map(|_| loader.epoch())
            .map(|batch| {
                let (numbers, (values, lengths)) = batch.unwrap();
                let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
                (numbers.to_vec(), bits, lengths.to_vec())
            })
            .collect::<Vec<_>>()
    };
    let expected = contents(None, 0);
    for (limit, num_workers) in [(1, 2), (1000, 1), (5000, 3), (usize::MAX, 2)] {
        assert!(contents(Some(limit), num_workers) == expected, "{limit} on {num_workers}");
    }
    let rows = |limit: Option<usize>| {
        let builder = IterableLoader::builder(Rows(500)).batch_size(8).num_workers(2).seed(0);
        let loader = limit.into_iter().fold(builder, |builder, limit| builder.prefetch_bytes(limit)).build().unwrap();
        loader.epoch().map(|batch| batch.unwrap().to_vec()).collect::<Vec<_>>()
    };
    assert!(rows(Some(1)) == rows(None) && rows(Some(4 * BATCH)) == rows(None));
}

#[test]
fn what_is_held_ready_follows_the_budget_however_small_the_first_batch_was() {
    for (first, rest) in [(64 << 10, 1 << 20), (16 << 10, 1 << 20), (1 << 20, 2 << 20), (1 << 20, 64)] {
        let lengths: Vec<usize> = std::iter::once(first).chain(std::iter::repeat_n(rest, 60)).collect();
        let limit = 8 << 20;
        let memory = FakePinned::with_footprint(usize::next_power_of_two);
        let builder = Loader::builder(Sequences(lengths.clone())).num_workers(2).allocator(memory.clone());
        let loader = builder.prefetch_bytes(limit).build().unwrap();
        for batch in &loader {
            batch.unwrap();
            // What may be ahead, the consumer's own, and one in passing; rounded up by less than twice.
            let largest = buffer(first.max(rest));
            assert!(memory.live_bytes() <= 2 * (limit + 2 * largest), "{} bytes", memory.live_bytes());
        }
    }
}

#[test]
fn settings_that_contradict_a_budget_are_errors_that_name_both() {
    let builder = || Loader::builder(Blobs::new(1));
    let iterable = || IterableLoader::builder(Rows(4));
    for (error, words) in [
        (builder().num_workers(1).prefetch_bytes(0).build().err(), vec!["prefetch_bytes", "at least 1"]),
        (builder().prefetch_bytes(9).build().err(), vec!["prefetch_bytes", "num_workers"]),
        (
            builder().num_workers(1).prefetch_bytes(9).prefetch_batches(2).build().err(),
            vec!["prefetch_bytes", "prefetch_batches"],
        ),
        (iterable().num_workers(1).prefetch_bytes(0).build().err(), vec!["prefetch_bytes", "at least 1"]),
        (iterable().prefetch_bytes(9).build().err(), vec!["prefetch_bytes", "num_workers"]),
        (
            iterable().num_workers(1).prefetch_batches(2).prefetch_bytes(9).build().err(),
            vec!["prefetch_bytes", "prefetch_batches"],
        ),
    ] {
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    }
}
