//! What a prefetcher says of itself is true of the batch that the consumer has; it waits for a copy and for nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use sutler::{
    Collate, Dataset, DevicePrefetcher, Distributed, Epoch, Error, ErrorKind, InMemory, IterableDataset,
    IterableLoader, Loader, LoaderBuilder, Result, SampleRng, Transfer, WorkerPool,
};

use crate::eventually;
use crate::fake_device::{Device, Fault, Faults, Here};
use crate::fake_memory::FakePinned;
use crate::samples::{BAD, Numbered, Stuck, is_batch_of};

/// How long something may take that does not wait.
const AT_ONCE: Duration = Duration::from_secs(1);

fn counting(len: usize) -> InMemory<i64> {
    (0..len as i64).collect()
}

/// A dataset made of a function.
struct Made<F>(usize, F);

impl<F: Fn(usize) -> Result<i64> + Send + Sync> Dataset for Made<F> {
    type Sample = i64;

    fn len(&self) -> usize {
        self.0
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        (self.1)(index)
    }
}

/// With workers, or without.
fn on<D, C>(num_workers: usize, builder: LoaderBuilder<D, C>) -> LoaderBuilder<D, C> {
    match num_workers {
        0 => builder,
        _ => builder.num_workers(num_workers).prefetch_batches(3),
    }
}

/// Waits until the thread is as far ahead as it may be after `taken` of `all` batches of one tensor: `depth` that nobody
/// has taken.
fn run_ahead(device: &Device, tensors: usize, taken: usize, depth: usize, all: usize) {
    let ahead = tensors * (taken + depth).min(all);
    assert!(eventually(|| device.books().begun >= ahead), "{:?} where {ahead} could be begun", device.books());
}

/// Drops it on a thread of its own, and says when that is over.
fn dropping(what: impl Send + 'static) -> mpsc::Receiver<()> {
    let (over, is_over) = mpsc::channel();
    thread::spawn(move || {
        drop(what);
        over.send(())
    });
    is_over
}

// ---- what it says ----

#[test]
fn state_indices_padding_and_length_are_those_of_the_batch_the_consumer_has() {
    for (num_workers, depth) in [(0, 1), (2, 1), (2, 2), (1, 3)] {
        for rank in [0, 2] {
            let memory = FakePinned::new();
            let device = Device::new(&memory, 1);
            // 22 samples are 8 for each of 3 ranks, of which the last two have one that is padding.
            let ranks = Distributed::new(rank, 3).unwrap();
            let builder = Loader::builder(counting(22)).batch_size(3).shuffle(true).seed(4).distributed(ranks);
            let loader = on(num_workers, builder.allocator(memory.clone())).build().unwrap();
            let mut plain = loader.epoch_at(1);
            let mut ahead = loader.epoch_at(1).prefetch_to(device.transfer()).depth(depth);
            let all = plain.len();
            let mut padding = 0;
            for taken in 0..=all + 1 {
                assert_eq!((ahead.len(), ahead.size_hint()), (plain.len(), plain.size_hint()));
                assert_eq!(ahead.state(), plain.state());
                assert!(ahead.indices().eq(plain.indices()));
                assert_eq!(ahead.padding(), plain.padding());
                padding += ahead.padding();
                let values = ahead.next().map(|batch| batch.unwrap().to_vec());
                assert_eq!(values, plain.next().map(|batch| batch.unwrap().to_vec()));
                assert_eq!(values.is_some(), taken < all);
                run_ahead(&device, 1, taken + 1, depth, all);
            }
            // At the end, what it says stays that of the last batch.
            assert_eq!((ahead.len(), ahead.indices().len()), (0, 2));
            assert!(padding > 0 || rank == 0);
        }
    }
}

#[test]
fn no_more_is_copied_ahead_than_the_depth() {
    for (num_workers, depth) in [(0, 1), (2, 1), (2, 2), (1, 4)] {
        let memory = FakePinned::new();
        let device = Device::new(&memory, 1);
        let builder = Loader::builder(counting(100)).batch_size(5).allocator(memory.clone());
        let loader = on(num_workers, builder).build().unwrap();
        let mut prefetcher = loader.epoch().prefetch_to(device.transfer()).depth(depth);
        for taken in 1..5 {
            prefetcher.next().unwrap().unwrap();
            run_ahead(&device, 1, taken, depth, 20);
            thread::sleep(Duration::from_millis(3)); // for what must not happen
            assert_eq!(device.books().begun, taken + depth);
        }
    }
}

#[test]
fn a_masked_epoch_is_prefetched_with_its_mask() {
    for (num_workers, depth) in [(0, 1), (2, 2)] {
        let memory = FakePinned::new();
        let device = Device::new(&memory, 1);
        let ranks = Distributed::new(2, 3).unwrap();
        let builder = Loader::builder(counting(22)).batch_size(3).distributed(ranks).allocator(memory.clone());
        let loader = on(num_workers, builder).build().unwrap();
        let mut plain = loader.epoch_at(0).masked();
        let mut ahead = loader.epoch_at(0).masked().prefetch_to(device.transfer()).depth(depth);
        let all = plain.len();
        let mut masked = 0;
        for taken in 0..=all {
            assert_eq!(ahead.len(), plain.len());
            assert_eq!((ahead.state(), ahead.padding()), (plain.state(), plain.padding()));
            assert!(ahead.indices().eq(plain.indices()));
            match (ahead.next(), plain.next()) {
                (Some(on_device), Some(on_host)) => {
                    let ((numbers, mask), (expected, expected_mask)) = (on_device.unwrap(), on_host.unwrap());
                    assert!(numbers.holds(&expected) && mask.holds(&expected_mask));
                    masked += expected_mask.iter().filter(|is_real| !**is_real).count();
                }
                (None, None) => assert_eq!(taken, all),
                _ => panic!("one of them ended before the other"),
            }
            run_ahead(&device, 2, taken + 1, depth, all);
        }
        assert_eq!(masked, 1);
        drop((plain, ahead));
        assert!(eventually(|| loader.stats().buffers_live == 0));
    }
}

#[test]
fn a_resume_gives_exactly_the_rest_whatever_was_copied_ahead() {
    for (num_workers, depth) in [(0, 1), (2, 1), (2, 2), (3, 3)] {
        let memory = FakePinned::new();
        let device = Device::new(&memory, 1);
        let make = || {
            let builder = Loader::builder(counting(43)).batch_size(4).shuffle(true).seed(9).allocator(memory.clone());
            on(num_workers, builder).build().unwrap()
        };
        let whole: Vec<Vec<i64>> = make().epoch().map(|batch| batch.unwrap().to_vec()).collect();
        for taken in 0..=whole.len() {
            let loader = make();
            let begun = device.books().begun;
            let mut epoch = loader.epoch().prefetch_to(device.transfer()).depth(depth);
            let mut batches: Vec<Vec<i64>> = epoch.by_ref().take(taken).map(|batch| batch.unwrap().to_vec()).collect();
            if taken > 0 {
                run_ahead(&device, 1, taken, depth, whole.len());
                assert!(device.books().begun - begun <= taken + depth);
            }
            let state = epoch.state().to_string();
            drop(epoch);
            let rest = make().resume(&state.parse().unwrap()).unwrap().prefetch_to(device.transfer()).depth(depth);
            assert_eq!(rest.len(), whole.len() - taken);
            batches.extend(rest.map(|batch| batch.unwrap().to_vec()));
            assert_eq!(batches, whole);
        }
    }
}

#[test]
fn out_of_order_a_resume_gives_the_rest_as_well() {
    let memory = FakePinned::new();
    let device = Device::new(&memory, 1);
    let make = || {
        let uneven = Made(40, |index| {
            thread::sleep(Duration::from_micros(if index % 7 == 0 { 900 } else { 10 }));
            Ok(index as i64)
        });
        let builder = Loader::builder(uneven).batch_size(4).seed(0).in_order(false).allocator(memory.clone());
        builder.num_workers(3).prefetch_batches(4).build().unwrap()
    };
    for taken in 0..=10 {
        let mut epoch = make().epoch().prefetch_to(device.transfer()).depth(2);
        let mut batches: Vec<Vec<i64>> = Vec::new();
        for _ in 0..taken {
            batches.push(epoch.next().unwrap().unwrap().to_vec());
            assert!(epoch.indices().map(|index| index as i64).eq(batches.last().unwrap().iter().copied()));
        }
        let rest = make().resume(&epoch.state()).unwrap().prefetch_to(device.transfer()).depth(2);
        batches.extend(rest.map(|batch| batch.unwrap().to_vec()));
        batches.sort();
        assert_eq!(batches, (0..40).collect::<Vec<i64>>().chunks(4).map(<[i64]>::to_vec).collect::<Vec<_>>());
    }
}

#[test]
fn errors_of_samples_and_of_the_device_stay_in_their_places_and_are_counted() {
    for (num_workers, depth) in [(0, 1), (2, 1), (2, 2)] {
        let memory = FakePinned::new();
        let device = Device::new(&memory, 1);
        let dataset = Numbered { len: 200, one_bad_in: 50 }; // 25, 75, 125 and 175 are bad
        let builder = Loader::builder(dataset).batch_size(10).allocator(memory.clone());
        let loader = on(num_workers, builder).build().unwrap();
        let faults = Faults { seed: 3, per_mille: 300, finish: false };
        let mut prefetcher = loader.epoch().prefetch_to(device.failing(faults)).depth(depth);
        let (mut calls, mut failed, mut kinds) = (0, 0, BTreeSet::new());
        for number in 0..20 {
            let result = prefetcher.next().unwrap();
            let indices: Vec<usize> = prefetcher.indices().collect();
            assert_eq!(indices, (10 * number..10 * number + 10).collect::<Vec<_>>());
            if number % 5 == 2 {
                let Err(error) = result else { panic!("sample {} is bad", 10 * number + 5) };
                assert_eq!(error.to_string(), format!("sample {}: {BAD}", 10 * number + 5));
                failed += 1;
                continue;
            }
            match (result, faults.of(calls)) {
                (Ok(batch), None) => assert!(is_batch_of(&batch, &indices)),
                (Err(error), Some(fault)) => {
                    assert_eq!(error.to_string(), fault.text());
                    assert_eq!(error.kind() == ErrorKind::Panic, fault == Fault::StartPanics);
                    kinds.insert(error.to_string());
                    failed += 1;
                }
                _ => panic!("batch {number} is not what was foretold"),
            }
            calls += 1;
        }
        assert!(prefetcher.next().is_none());
        assert_eq!(kinds.len(), 3, "each way to fail is among them");
        let stats = loader.stats();
        assert_eq!((stats.batches, stats.errors, stats.buffers_live), (20 - failed, failed, 0));
    }
}

/// A sampler without an order.
struct NoOrder;

impl sutler::Sampler for NoOrder {
    fn order(&self, _: u64, _: usize) -> Result<sutler::Order> {
        Err(Error::msg("no order today"))
    }
}

#[test]
fn an_epoch_without_an_order_is_one_error_on_a_device_too() {
    let memory = FakePinned::new();
    let device = Device::new(&memory, 1);
    let builder = Loader::builder(counting(9)).num_workers(2).sampler(NoOrder).allocator(memory.clone());
    let mut prefetcher = builder.build().unwrap().epoch().prefetch_to(device.transfer());
    assert_eq!(prefetcher.len(), 1);
    let Some(Err(error)) = prefetcher.next() else { panic!("there is no order") };
    assert_eq!(error.to_string(), "no order today");
    assert_eq!(prefetcher.len(), 0);
    assert!(prefetcher.next().is_none() && prefetcher.next().is_none());
}

#[test]
fn a_batch_that_does_not_come_in_time_comes_later() {
    let memory = FakePinned::new();
    let device = Device::new(&memory, 1);
    let stuck = Stuck::new(6, 2);
    let builder = Loader::builder(stuck.clone()).batch_size(2).num_workers(1).prefetch_batches(1);
    let loader = builder.timeout(Duration::from_millis(200)).allocator(memory.clone()).build().unwrap();
    let mut prefetcher = loader.epoch().prefetch_to(device.transfer());
    assert_eq!(prefetcher.next().unwrap().unwrap().to_vec(), [0, 1]);
    let Some(Err(error)) = prefetcher.next() else { panic!("sample 2 is stuck") };
    assert_eq!((error.kind(), prefetcher.len()), (ErrorKind::Timeout, 2));
    assert!(error.to_string().contains("sample 2"), "{error}");
    stuck.is_released.store(true, SeqCst);
    // The thread may have waited in vain once more by now.
    let rest: Vec<Vec<i64>> = prefetcher.filter_map(Result::ok).map(|batch| batch.to_vec()).collect();
    assert_eq!(rest, [[2, 3], [4, 5]]);
}

// ---- where samples come from ----

/// Shards of so many records.
#[derive(Clone)]
struct Shards(Vec<usize>);

impl IterableDataset for Shards {
    type Record = i64;
    type Records = Box<dyn Iterator<Item = Result<i64>> + Send>;
    type Sample = i64;

    fn num_shards(&self) -> usize {
        self.0.len()
    }

    fn records(&self, shard: usize, _: u64, skip: usize) -> Result<Self::Records> {
        Ok(Box::new((skip..self.0[shard]).map(move |number| Ok((1000 * shard + number) as i64))))
    }

    fn decode(&self, record: i64, _: &mut SampleRng) -> Result<i64> {
        if record % 1000 == 17 {
            return Err(Error::msg(BAD));
        }
        Ok(record)
    }
}

#[test]
fn an_iterable_epoch_is_prefetched_with_its_state_and_resumed_with_the_rest() {
    for (num_workers, depth) in [(0, 1), (2, 1), (2, 2)] {
        let memory = FakePinned::new();
        let device = Device::new(&memory, 1);
        let make = || {
            let builder = IterableLoader::builder(Shards(vec![20, 3, 30, 11])).batch_size(4).interleave(2).seed(0);
            on(num_workers, builder.allocator(memory.clone())).build().unwrap()
        };
        let values = |batch: Result<sutler::HostTensor<i64>>| batch.map(|batch| batch.to_vec()).ok();
        let whole: Vec<_> = make().epoch().map(values).collect();
        assert_eq!((whole.len(), whole.iter().filter(|batch| batch.is_none()).count()), (16, 2));
        for taken in 0..=whole.len() {
            let (mut plain, mut ahead) = (make().epoch(), make().epoch().prefetch_to(device.transfer()).depth(depth));
            let mut batches = Vec::new();
            for _ in 0..taken {
                assert_eq!(ahead.state(), plain.state());
                plain.next();
                batches.push(ahead.next().unwrap().map(|batch| batch.to_vec()).ok());
            }
            assert_eq!(ahead.state(), plain.state());
            let rest = make().resume(&ahead.state()).unwrap().prefetch_to(device.transfer()).depth(depth);
            batches.extend(rest.map(|batch| batch.map(|batch| batch.to_vec()).ok()));
            assert_eq!(batches, whole);
        }
    }
}

#[test]
fn on_a_thread_of_the_loaders_own_pool_a_prefetcher_does_not_deadlock() {
    // The inner loader is consumed by the only worker of the pool that it loads on.
    let memory = FakePinned::new();
    let device = Device::new(&memory, 1);
    let pool = WorkerPool::new(1).unwrap();
    let inner = Loader::builder(counting(10)).batch_size(3).pool(&pool).allocator(memory.clone()).build().unwrap();
    let (over, is_over) = mpsc::channel();
    thread::spawn(move || {
        let dataset = Made(6, move |index| {
            // Half of them are dropped half-way.
            let taken = if index % 2 == 0 { 4 } else { 2 };
            let epoch = inner.epoch().prefetch_to(device.transfer()).depth(1 + index % 2);
            Ok(epoch.take(taken).map(|batch| batch.unwrap().to_vec().len() as i64).sum::<i64>())
        });
        let outer = Loader::builder(dataset).batch_size(2).pool(&pool).build().unwrap();
        over.send(outer.epoch().map(|batch| batch.unwrap().to_vec()).collect::<Vec<_>>())
    });
    assert_eq!(is_over.recv_timeout(crate::PATIENCE).unwrap(), [[10, 6]; 3]);
}

#[test]
fn it_outlives_its_loader_and_moves_between_threads() {
    let memory = FakePinned::new();
    let device = Device::new(&memory, 1);
    let loader = Loader::builder(counting(50)).batch_size(5).num_workers(2).allocator(memory.clone()).build().unwrap();
    let mut prefetcher = loader.epoch().prefetch_to(device.transfer());
    assert_eq!(prefetcher.next().unwrap().unwrap().to_vec(), [0, 1, 2, 3, 4]);
    drop(loader);
    let rest = thread::spawn(move || prefetcher.flat_map(|batch| batch.unwrap().to_vec()).sum::<i64>());
    assert_eq!(rest.join().unwrap(), (5..50).sum::<i64>());
    assert!(eventually(|| memory.live_blocks() == 0));
}

// ---- what it waits for ----

#[test]
fn one_that_was_never_started_can_be_dropped_and_has_called_nobody() {
    for num_workers in [0, 2] {
        let memory = FakePinned::new();
        let device = Device::new(&memory, 1);
        let builder = Loader::builder(counting(50)).batch_size(5).allocator(memory.clone());
        let loader = on(num_workers, builder).build().unwrap();
        let prefetcher = loader.epoch().prefetch_to(device.transfer()).depth(2);
        assert_eq!((prefetcher.len(), prefetcher.indices().len()), (10, 0));
        drop(prefetcher);
        assert_eq!(device.books().begun, 0);
        assert!(eventually(|| loader.stats().buffers_live == 0));
    }
}

/// Drops a prefetcher whose thread waits for a sample that is stuck. `of_transfer` is what its transfer has.
fn is_dropped_at_once<E, T>(
    mut prefetcher: DevicePrefetcher<E, T>,
    of_transfer: &Arc<AtomicBool>,
    stuck: &Stuck,
    num_workers: usize,
) where
    E: sutler::Feed,
    T: Transfer<E::Batch>,
{
    assert!(prefetcher.next().unwrap().is_ok());
    assert!(eventually(|| stuck.is_reached.load(SeqCst)));
    let started = Instant::now();
    drop(prefetcher);
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    // The thread does not wait either, unless it is itself what loads the sample: it ends, and the transfer with it.
    assert!(num_workers == 0 || eventually(|| Arc::strong_count(of_transfer) == 1));
    assert!(!stuck.is_released.swap(true, SeqCst), "the sample was stuck all the time");
}

/// One shard, read or decoded with a sample that is stuck.
struct StuckShard {
    stuck: Stuck,
    while_reading: bool,
}

impl IterableDataset for StuckShard {
    type Record = usize;
    type Records = Box<dyn Iterator<Item = Result<usize>> + Send>;
    type Sample = i64;

    fn num_shards(&self) -> usize {
        1
    }

    fn records(&self, _: usize, _: u64, skip: usize) -> Result<Self::Records> {
        let stuck = self.while_reading.then(|| self.stuck.clone());
        Ok(Box::new((skip..self.stuck.len).map(move |index| {
            stuck.as_ref().map(|stuck| stuck.load(index));
            Ok(index)
        })))
    }

    fn decode(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        Ok(if self.while_reading { index as i64 } else { self.stuck.load(index) })
    }
}

#[test]
fn dropping_it_does_not_wait_for_a_sample_that_is_stuck() {
    for (num_workers, depth) in [(0, 1), (1, 1), (2, 2)] {
        let memory = FakePinned::new();
        let device = Device::new(&memory, 1);
        let stuck = Stuck::new(20, 3);
        let builder = Loader::builder(stuck.clone()).batch_size(2).allocator(memory.clone());
        let loader = on(num_workers, builder).build().unwrap();
        let transfer = device.transfer();
        let of_transfer = transfer.over();
        is_dropped_at_once(loader.epoch().prefetch_to(transfer).depth(depth), &of_transfer, &stuck, num_workers);
        assert_eq!(device.books().under_way, 0);
        assert!(eventually(|| loader.stats().buffers_live == 0));
        for while_reading in [true, false] {
            let stuck = Stuck::new(2000, 700);
            let shard = StuckShard { stuck: stuck.clone(), while_reading };
            let builder = IterableLoader::builder(shard).batch_size(400).allocator(memory.clone());
            let loader = on(num_workers, builder).build().unwrap();
            let transfer = device.transfer();
            let of_transfer = transfer.over();
            is_dropped_at_once(loader.epoch().prefetch_to(transfer).depth(depth), &of_transfer, &stuck, num_workers);
            assert!(eventually(|| loader.stats().buffers_live == 0));
        }
    }
}

#[test]
fn dropping_it_in_the_middle_of_a_copy_waits_for_its_end_and_not_for_a_stuck_sample() {
    for (num_workers, depth) in [(0, 1), (2, 1), (2, 2)] {
        let memory = FakePinned::new();
        let device = Device::new(&memory, 1);
        let stuck = Stuck::new(20, 4);
        let builder = Loader::builder(stuck.clone()).batch_size(2).allocator(memory.clone());
        let loader = on(num_workers, builder).build().unwrap();
        device.close_after(1);
        let mut prefetcher = loader.epoch().prefetch_to(device.transfer()).depth(depth);
        assert_eq!(prefetcher.next().unwrap().unwrap().to_vec(), [0, 1]);
        assert!(eventually(|| device.books().under_way == 1));
        assert!(num_workers == 0 || eventually(|| stuck.is_reached.load(SeqCst)));
        let is_over = dropping(prefetcher);
        assert_eq!(is_over.recv_timeout(Duration::from_millis(30)), Err(RecvTimeoutError::Timeout));
        device.open();
        assert_eq!(is_over.recv_timeout(AT_ONCE), Ok(()));
        assert_eq!((device.books().under_way, device.books().begun), (0, 2));
        assert!(!stuck.is_released.swap(true, SeqCst));
        assert!(eventually(|| loader.stats().buffers_live == 0));
        assert_eq!(device.books().begun, 2);
    }
}

#[test]
fn dropping_it_takes_every_batch_that_nobody_took_off_the_device() {
    let memory = FakePinned::new();
    let device = Device::new(&memory, 1);
    let stuck = Stuck::new(20, 4);
    // The thread is what loads the stuck sample, and has left a batch for the consumer.
    let loader = Loader::builder(stuck.clone()).batch_size(2).allocator(memory.clone()).build().unwrap();
    let mut prefetcher = loader.epoch().prefetch_to(device.transfer()).depth(3);
    assert_eq!(prefetcher.next().unwrap().unwrap().to_vec(), [0, 1]);
    assert!(eventually(|| stuck.is_reached.load(SeqCst)));
    assert_eq!(device.books().waiting, 1);
    drop(prefetcher);
    let waiting = device.books().waiting;
    stuck.is_released.store(true, SeqCst);
    assert_eq!(waiting, 0);
}

#[test]
fn what_the_training_loop_waits_counts_and_what_the_thread_waits_does_not() {
    let waits = |sample: Duration, step: Duration| {
        let memory = FakePinned::new();
        let device = Device::new(&memory, 1);
        let dataset = Made(40, move |index| {
            thread::sleep(sample);
            Ok(index as i64)
        });
        // One batch at a time: the thread waits for each, from when it has taken the one before.
        let builder = Loader::builder(dataset).num_workers(1).prefetch_batches(1).allocator(memory.clone());
        let loader = builder.build().unwrap();
        for batch in loader.epoch().prefetch_to(device.transfer()) {
            batch.unwrap();
            thread::sleep(step);
        }
        let stats = loader.stats();
        assert_eq!(stats.batches, 40);
        assert!(stats.consumer_wait <= stats.epoch_time && stats.epoch_time >= 40 * step);
        stats.consumer_wait_share()
    };
    // If the thread's were counted, this would be a third.
    let slow_consumer = waits(Duration::from_millis(2), Duration::from_millis(6));
    assert!(slow_consumer < 0.2, "{slow_consumer}");
    let slow_loader = waits(Duration::from_millis(3), Duration::ZERO);
    assert!(slow_loader > 0.7, "{slow_loader}");
}

#[test]
fn where_there_is_nothing_to_copy_there_is_no_thread() {
    for num_workers in [0, 2] {
        let loader = on(num_workers, Loader::builder(counting(10)).batch_size(4)).build().unwrap();
        let here = Here::default();
        let mut epoch = loader.epoch().prefetch_to(here.clone()).depth(3);
        let mut plain = loader.epoch_at(0);
        loop {
            assert_eq!((epoch.state(), epoch.len()), (plain.state(), plain.len()));
            assert!(epoch.indices().eq(plain.indices()));
            let (batch, expected) = (epoch.next(), plain.next());
            assert_eq!(batch.is_some(), expected.is_some());
            let Some((batch, expected)) = batch.zip(expected) else { break };
            assert_eq!(**batch.as_ref().unwrap(), *expected.unwrap());
        }
        assert_eq!(here.calls.load(SeqCst), 3);
        assert!(here.threads.lock().unwrap().iter().all(|&thread| thread == thread::current().id()));
        assert_eq!(loader.stats().batches, 6);
    }
}

/// The prefetcher of any loader may go to another thread.
#[allow(dead_code, reason = "it only has to compile")]
fn is_send<D, C, T>(prefetcher: DevicePrefetcher<Epoch<D, C>, T>) -> impl Send
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
    C::Batch: 'static,
    T: Transfer<C::Batch>,
{
    prefetcher
}
