//! What the loader promises, whatever the number of workers: exact contents, exact order, errors that stay in their
//! batch, epochs that can be dropped at any time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use sutler::{
    BatchPlan, BufferPool, Collate, Dataset, Error, ErrorKind, HostTensor, InMemory, Loader, Order, Result, SampleRng,
    Sampler, Stack, WorkerPool,
};

const WORKERS: [usize; 4] = [0, 1, 3, 16];

/// A dataset made of a function.
struct Made<F>(usize, F);

impl<S: Send, F: Fn(usize, &mut SampleRng) -> Result<S> + Send + Sync> Dataset for Made<F> {
    type Sample = S;

    fn len(&self) -> usize {
        self.0
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<S> {
        (self.1)(index, rng)
    }
}

fn made<S: Send, F>(len: usize, get: F) -> Made<F>
where
    F: Fn(usize, &mut SampleRng) -> Result<S> + Send + Sync,
{
    Made(len, get)
}

/// The indices of the samples, batch by batch.
fn batches<D>(loader: &Loader<D>) -> Vec<Vec<i64>>
where
    D: Dataset<Sample = i64> + 'static,
{
    loader.epoch().map(|batch| batch.unwrap().to_vec()).collect()
}

fn numbers(len: usize) -> Vec<i64> {
    (0..len as i64).collect()
}

/// The same as a dataset.
fn counting(len: usize) -> InMemory<i64> {
    InMemory::new(numbers(len))
}

// ---- contents and order ----

#[test]
fn batches_hold_the_samples_in_order_for_every_number_of_workers() {
    for num_workers in WORKERS {
        for (len, batch_size) in [(0, 4), (1, 4), (4, 4), (5, 4), (103, 10), (7, 1), (3, 100)] {
            for drop_last in [false, true] {
                let loader = Loader::builder(counting(len))
                    .num_workers(num_workers)
                    .batch_size(batch_size)
                    .drop_last(drop_last)
                    .build()
                    .unwrap();
                let mut expected: Vec<Vec<i64>> = numbers(len).chunks(batch_size).map(<[i64]>::to_vec).collect();
                if drop_last && expected.last().is_some_and(|last| last.len() < batch_size) {
                    expected.pop();
                }
                assert_eq!(loader.len(), expected.len());
                assert_eq!(loader.epoch().len(), expected.len());
                assert_eq!(batches(&loader), expected, "{len} by {batch_size} on {num_workers}");
            }
        }
    }
}

#[test]
fn contents_do_not_depend_on_workers_prefetch_or_chunks() {
    // Three shuffled epochs in which every sample draws random numbers, and takes an uneven time.
    let digest = |num_workers, prefetch: Option<usize>, chunk: Option<usize>| {
        let dataset = made(101, |index, rng: &mut SampleRng| {
            if index % 13 == 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
            Ok(([rng.next_u64(), rng.next_u64()], vec![rng.uniform(); 3], index as i64))
        });
        let mut builder = Loader::builder(dataset).num_workers(num_workers).batch_size(8).shuffle(true).seed(5);
        if let Some(prefetch) = prefetch.filter(|_| num_workers > 0) {
            builder = builder.prefetch_batches(prefetch);
        }
        if let Some(chunk) = chunk {
            builder = builder.chunk_size(chunk);
        }
        let loader = builder.build().unwrap();
        let epochs = (0..3).map(|_| loader.epoch().map(|batch| flat(&batch.unwrap())).collect::<Vec<_>>());
        epochs.collect::<Vec<_>>()
    };
    fn flat((a, b, c): &(HostTensor<u64>, HostTensor<f64>, HostTensor<i64>)) -> (Vec<u64>, Vec<u64>, Vec<i64>) {
        (a.to_vec(), b.iter().map(|value| value.to_bits()).collect(), c.to_vec())
    }
    let expected = digest(0, None, None);
    assert_ne!(expected[0], expected[1], "another epoch has another order and other draws");
    for num_workers in WORKERS {
        for (prefetch, chunk) in
            [(None, None), (Some(1), None), (Some(2), Some(1)), (Some(7), Some(3)), (Some(20), Some(50))]
        {
            assert!(digest(num_workers, prefetch, chunk) == expected, "{num_workers} {prefetch:?} {chunk:?}");
        }
    }
}

#[test]
fn an_epoch_depends_on_its_number_and_not_on_what_came_before() {
    for num_workers in [0, 2] {
        let make = || {
            let dataset = made(50, |index, rng: &mut SampleRng| Ok((index as i64, rng.next_u64())));
            Loader::builder(dataset).num_workers(num_workers).batch_size(7).shuffle(true).seed(1).build().unwrap()
        };
        let contents = |loader: &Loader<_>, epoch| -> Vec<(i64, u64)> {
            let pairs = |batch: Result<(HostTensor<i64>, HostTensor<u64>)>| {
                let (indices, draws) = batch.unwrap();
                indices.iter().copied().zip(draws.iter().copied()).collect::<Vec<_>>()
            };
            loader.epoch_at(epoch).flat_map(pairs).collect()
        };
        let in_turn = make();
        let epochs: Vec<_> = (0..4).map(|epoch| contents(&in_turn, epoch)).collect();
        assert_eq!(contents(&make(), 3), epochs[3]);
        assert_eq!(contents(&in_turn, 1), epochs[1]);
        // epoch() goes on behind it.
        let next: Vec<i64> = in_turn.epoch().flat_map(|batch| batch.unwrap().0.to_vec()).collect();
        assert_eq!(next, epochs[2].iter().map(|(index, _)| *index).collect::<Vec<_>>());
    }
}

#[test]
fn out_of_order_delivers_the_same_batches_as_they_get_done() {
    let first_is_released = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&first_is_released);
    let dataset = made(12, move |index, _: &mut SampleRng| {
        while index == 0 && !released.load(SeqCst) {
            std::thread::yield_now();
        }
        Ok(index as i64)
    });
    let loader =
        Loader::builder(dataset).batch_size(3).num_workers(2).prefetch_batches(4).in_order(false).build().unwrap();
    let mut epoch = loader.epoch();
    assert_ne!(epoch.next().unwrap().unwrap()[0], 0, "the batch of the stuck sample cannot be first");
    first_is_released.store(true, SeqCst);
    let mut rest: Vec<Vec<i64>> = epoch.map(|batch| batch.unwrap().to_vec()).collect();
    rest.sort();
    assert_eq!((rest.len(), &rest[0]), (3, &vec![0, 1, 2]));
}

#[test]
fn every_kind_of_sample_is_stacked() {
    type Sample = (u8, [i16; 2], [[f32; 2]; 2], Vec<f64>, bool, (u64,));
    let samples: Vec<Sample> = (0..5)
        .map(|i| (i, [i16::from(i); 2], [[f32::from(i); 2]; 2], vec![f64::from(i); 3], i % 2 == 0, (u64::from(i),)))
        .collect();
    for num_workers in WORKERS {
        let loader = Loader::builder(InMemory::new(samples.clone()))
            .num_workers(num_workers)
            .batch_size(5)
            .chunk_size(2)
            .build()
            .unwrap();
        let (a, b, c, d, e, (f,)) = loader.epoch().next().unwrap().unwrap();
        assert_eq!((a.shape(), &*a), (&[5][..], &[0, 1, 2, 3, 4][..]));
        assert_eq!((b.shape(), &*b), (&[5, 2][..], &[0, 0, 1, 1, 2, 2, 3, 3, 4, 4][..]));
        assert_eq!((c.shape(), c[19]), (&[5, 2, 2][..], 4.0));
        assert_eq!((d.shape(), d[14]), (&[5, 3][..], 4.0));
        assert_eq!((e.shape(), &*e), (&[5][..], &[true, false, true, false, true][..]));
        assert_eq!(&*f, &[0, 1, 2, 3, 4]);
        assert_eq!(c.samples().nth(3).unwrap(), [3.0; 4]);
        assert_eq!(c.as_ptr().align_offset(64), 0);
    }
}

#[test]
fn a_collate_function_gets_all_samples_of_the_batch_in_order() {
    for num_workers in WORKERS {
        let words: InMemory<String> = (0..10).map(|i| "x".repeat(i)).collect();
        let loader = Loader::builder(words)
            .num_workers(num_workers)
            .batch_size(4)
            .chunk_size(1)
            .collate_fn(|words: Vec<String>| Ok(words.iter().map(String::len).collect::<Vec<_>>()))
            .build()
            .unwrap();
        let lengths: Vec<Vec<usize>> = loader.epoch().map(Result::unwrap).collect();
        assert_eq!(lengths, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    }
}

#[test]
fn a_tuple_of_collates_treats_each_field_by_its_own() {
    let samples: InMemory<(i64, String)> = (0..4).map(|i| (i, i.to_string())).collect();
    let text = sutler::CollateFn::new(|words: Vec<String>| Ok(words.concat()));
    let loader =
        Loader::builder(samples).batch_size(4).num_workers(2).chunk_size(1).collate((Stack, text)).build().unwrap();
    let (numbers, text) = loader.epoch().next().unwrap().unwrap();
    assert_eq!((&*numbers, text.as_str()), (&[0, 1, 2, 3][..], "0123"));
}

#[test]
fn datasets_can_be_mapped_cut_and_joined() {
    let tens = counting(5).map(|n: i64, _: &mut SampleRng| Ok(n * 10));
    let joined = counting(4).subset([3, 1, 1]).unwrap().concat(tens);
    let loader = Loader::builder(joined).batch_size(8).num_workers(2).build().unwrap();
    assert_eq!(batches(&loader), [[3, 1, 1, 0, 10, 20, 30, 40]]);
    assert_eq!(counting(4).subset([0, 4]).unwrap_err().kind(), ErrorKind::Config);
    // Through pointers, as trait objects too.
    let boxed: Box<dyn Dataset<Sample = i64>> = Box::new(counting(3));
    assert_eq!(batches(&Loader::builder(Arc::new(boxed)).batch_size(2).build().unwrap()), [vec![0, 1], vec![2]]);
}

// ---- errors ----

#[test]
fn a_failing_sample_fails_its_batch_only_and_the_first_one_is_named() {
    for num_workers in WORKERS {
        for chunk in [1, 2, 100] {
            let dataset = made(20, |index, _: &mut SampleRng| match index {
                // Two in one batch: the one behind fails sooner.
                9 => Err(Error::msg("nine")),
                6 => {
                    std::thread::sleep(Duration::from_millis(5));
                    Err(Error::other(std::io::Error::other("six")))
                }
                index => Ok(index as i64),
            });
            let loader =
                Loader::builder(dataset).num_workers(num_workers).batch_size(5).chunk_size(chunk).build().unwrap();
            let results: Vec<_> = loader.epoch().collect();
            assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true]);
            let error = results[1].as_ref().unwrap_err();
            assert_eq!((error.index(), error.kind()), (Some(6), ErrorKind::Other));
            assert_eq!(error.to_string(), "sample 6: six");
            assert_eq!(error.worker().is_some(), num_workers > 0);
            assert_eq!(*results[2].as_ref().unwrap().to_vec(), [10, 11, 12, 13, 14]);
            assert_eq!((loader.stats().batches, loader.stats().errors), (3, 1));
        }
    }
}

#[test]
fn a_panic_is_an_error_with_index_and_message_and_the_workers_live_on() {
    for num_workers in WORKERS {
        let dataset = made(20, |index, _: &mut SampleRng| {
            assert!(index != 7, "seven is {}", "unlucky");
            Ok(index as i64)
        });
        let loader = Loader::builder(dataset).num_workers(num_workers).batch_size(5).build().unwrap();
        for _ in 0..3 {
            let results: Vec<_> = loader.epoch().collect();
            assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true]);
            let error = results[1].as_ref().unwrap_err();
            assert_eq!((error.index(), error.kind()), (Some(7), ErrorKind::Panic));
            assert!(error.to_string().contains("seven is unlucky"), "{error}");
        }
    }
}

/// Panics once more when it is dropped.
struct Spiteful;

impl Drop for Spiteful {
    fn drop(&mut self) {
        panic!("again");
    }
}

#[test]
fn a_panic_whose_value_panics_when_dropped_is_an_error_like_any_other() {
    for (num_workers, chunk) in [(0, 1), (2, 1), (2, 100)] {
        let dataset = made(8, |index, _: &mut SampleRng| match index {
            5 => std::panic::panic_any(Spiteful),
            index => Ok(index as i64),
        });
        let loader = Loader::builder(dataset).batch_size(4).num_workers(num_workers).chunk_size(chunk).build().unwrap();
        let results: Vec<_> = loader.epoch().collect();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
        assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::Panic);
    }
}

#[test]
fn samples_that_do_not_fit_together_fail_their_batch() {
    for num_workers in WORKERS {
        let ragged: InMemory<Vec<i64>> = (0..9).map(|i| vec![i; if i == 4 { 2 } else { 3 }]).collect();
        let loader = Loader::builder(ragged).num_workers(num_workers).batch_size(3).build().unwrap();
        let results: Vec<_> = loader.epoch().collect();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        let error = results[1].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Collate);
        assert!(matches!(error.index(), Some(3..=5)), "{error}");
        assert!(error.to_string().contains("[2]") && error.to_string().contains("[3]"), "{error}");
    }
}

#[test]
fn a_failing_or_panicking_collate_function_names_the_batch() {
    for num_workers in WORKERS {
        let loader = Loader::builder(counting(9))
            .num_workers(num_workers)
            .batch_size(3)
            .collate_fn(|samples: Vec<i64>| match samples[0] {
                0 => Err(Error::msg("no")),
                3 => panic!("never"),
                _ => Ok(samples),
            })
            .build()
            .unwrap();
        let results: Vec<_> = loader.epoch().collect();
        let (failed, panicked) = (results[0].as_ref().unwrap_err(), results[1].as_ref().unwrap_err());
        assert_eq!((failed.kind(), failed.batch()), (ErrorKind::Other, &[0, 1, 2][..]));
        assert_eq!(failed.to_string(), "batch of samples [0, 1, 2]: no");
        assert_eq!((panicked.kind(), panicked.batch()), (ErrorKind::Panic, &[3, 4, 5][..]));
        assert!(panicked.to_string().contains("never"));
        assert_eq!(*results[2].as_ref().unwrap(), [6, 7, 8]);
    }
}

/// A collate that panics in every place but one.
struct Panicking(&'static str);

impl Collate<i64> for Panicking {
    type Batch = ();
    type Part = &'static str;

    fn start(&self, _: BatchPlan<'_>) -> &'static str {
        assert!(self.0 != "start", "in start");
        self.0
    }
    fn split_off(&self, part: &mut &'static str, _: usize) -> &'static str {
        assert!(*part != "split_off", "in split_off");
        part
    }
    fn push(&self, part: &mut &'static str, _: i64) -> Result<()> {
        assert!(*part != "push", "in push");
        Ok(())
    }
    fn unite(&self, part: &mut &'static str, _: &'static str) {
        assert!(*part != "unite", "in unite");
    }
    fn finish(&self, part: &'static str) -> Result<()> {
        assert!(part != "finish", "in finish");
        Ok(())
    }
}

#[test]
fn a_collate_that_panics_anywhere_costs_its_batches_and_hangs_nobody() {
    for place in ["start", "split_off", "push", "unite", "finish"] {
        for (num_workers, chunk) in [(0, 1), (2, 1), (2, 100)] {
            let split = num_workers > 0 && chunk == 1;
            let loader = Loader::builder(counting(8))
                .num_workers(num_workers)
                .batch_size(4)
                .chunk_size(chunk)
                .collate(Panicking(place))
                .build()
                .unwrap();
            let results: Vec<_> = loader.epoch().collect();
            assert_eq!(results.len(), 2);
            for result in results {
                if !split && (place == "split_off" || place == "unite") {
                    result.unwrap();
                } else {
                    let error = result.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Panic, "{place}: {error}");
                    assert!(error.to_string().contains(&format!("in {place}")), "{error}");
                }
            }
        }
    }
}

struct Bad(&'static str);

impl Sampler for Bad {
    fn order(&self, _: u64, len: usize) -> Result<Order> {
        match self.0 {
            "fails" => Err(Error::msg("no order today")),
            "panics" => panic!("no order ever"),
            _ => Ok((0..=len).collect()),
        }
    }
}

#[test]
fn a_bad_sampler_is_an_error_and_not_a_hang() {
    for num_workers in WORKERS {
        let results = |how| -> Vec<_> {
            let loader =
                Loader::builder(counting(4)).num_workers(num_workers).batch_size(2).sampler(Bad(how)).build().unwrap();
            let epoch = loader.epoch();
            let len = epoch.len();
            let results: Vec<Result<HostTensor<i64>>> = epoch.collect();
            assert_eq!(results.len(), len);
            results
        };
        assert_eq!(results("fails")[0].as_ref().unwrap_err().to_string(), "no order today");
        assert_eq!(results("panics")[0].as_ref().unwrap_err().kind(), ErrorKind::Panic);
        let too_far = results("is too long");
        assert_eq!(too_far.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(
            (too_far[2].as_ref().unwrap_err().kind(), too_far[2].as_ref().unwrap_err().index()),
            (ErrorKind::Sampler, Some(4))
        );
    }
}

#[test]
fn contradictions_are_refused_when_the_loader_is_built() {
    let builder = || Loader::builder(counting(4));
    let pool = WorkerPool::new(1).unwrap();
    for (built, words) in [
        (builder().batch_size(0).build(), "batch_size"),
        (builder().prefetch_batches(0).build(), "prefetch_batches"),
        (builder().chunk_size(0).build(), "chunk_size"),
        (builder().shuffle(true).sampler(sutler::SequentialSampler).build(), "sampler excludes shuffle"),
        (builder().num_workers(2).pool(&pool).build(), "pool excludes num_workers"),
        (Loader::builder(counting(0)).shuffle(true).build(), "without samples"),
    ] {
        let error = built.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(WorkerPool::new(0).unwrap_err().kind(), ErrorKind::Config);
}

// ---- bounds, buffers, threads ----

#[test]
fn no_more_is_loaded_ahead_than_asked_for() {
    for chunk in [1, 2, 4, 100] {
        let loaded = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&loaded);
        let dataset = made(400, move |index, _: &mut SampleRng| {
            counter.fetch_add(1, SeqCst);
            Ok(index as i64)
        });
        let loader = Loader::builder(dataset)
            .batch_size(4)
            .num_workers(3)
            .prefetch_batches(5)
            .chunk_size(chunk)
            .build()
            .unwrap();
        let mut epoch = loader.epoch();
        for delivered in 0..20 {
            std::thread::sleep(Duration::from_millis(2));
            assert!(loaded.load(SeqCst) <= (delivered + 5) * 4, "{} after {delivered}", loaded.load(SeqCst));
            epoch.next().unwrap().unwrap();
        }
    }
}

#[test]
fn what_is_asked_for_is_loaded_ahead() {
    let loaded = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&loaded);
    let dataset = made(400, move |index, _: &mut SampleRng| {
        counter.fetch_add(1, SeqCst);
        Ok(index as i64)
    });
    let loader = Loader::builder(dataset).batch_size(4).num_workers(2).prefetch_batches(5).build().unwrap();
    let _epoch = loader.epoch();
    let patience = Instant::now();
    while loaded.load(SeqCst) < 20 && patience.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    assert_eq!(loaded.load(SeqCst), 20);
}

#[test]
fn a_job_of_samples_that_turned_slow_hands_over_what_is_done() {
    // Epochs of cheap samples make for jobs of many batches. Then the first 16 samples take a millisecond each, and no
    // other is loaded before the first batch has arrived.
    let slow = Arc::new(AtomicBool::new(false));
    let arrived = Arc::new(AtomicBool::new(false));
    let gave_up = Arc::new(AtomicBool::new(false));
    let (is_slow, has_arrived, gives_up) = (Arc::clone(&slow), Arc::clone(&arrived), Arc::clone(&gave_up));
    let dataset = made(40_000, move |index, _: &mut SampleRng| {
        if is_slow.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
            let patience = Instant::now();
            while index >= 16 && !has_arrived.load(SeqCst) && !gives_up.load(SeqCst) {
                gives_up.fetch_or(patience.elapsed() > Duration::from_secs(10), SeqCst);
                std::thread::yield_now();
            }
        }
        Ok(index as i64)
    });
    let loader = Loader::builder(dataset).batch_size(4).num_workers(2).build().unwrap();
    for _ in 0..3 {
        assert_eq!(loader.epoch().count(), 10_000);
    }
    slow.store(true, SeqCst);
    let mut epoch = loader.epoch();
    assert_eq!(*epoch.next().unwrap().unwrap(), [0, 1, 2, 3]);
    arrived.store(true, SeqCst);
    for expected in numbers(400).chunks(4).skip(1) {
        assert_eq!(*epoch.next().unwrap().unwrap(), *expected);
    }
    assert!(!gave_up.load(SeqCst), "a finished batch was held back by those behind it");
}

#[test]
fn two_fields_of_the_same_size_do_not_run_each_other_dry() {
    let dataset = made(64, |index, _: &mut SampleRng| Ok((vec![index as f32; 300_000], vec![index as f32; 300_000])));
    let loader = Loader::builder(dataset).batch_size(8).num_workers(2).prefetch_batches(3).build().unwrap();
    loader.epoch().for_each(|batch| drop(batch.unwrap()));
    let warm = loader.stats();
    (0..3).flat_map(|_| loader.epoch()).for_each(|batch| drop(batch.unwrap()));
    assert_eq!(loader.stats().since(&warm).buffers_allocated, 0);
}

#[test]
fn concurrent_calls_get_different_epochs() {
    let loader = Loader::builder(counting(1)).build().unwrap();
    let numbers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let epoch = format!("{:?}", loader.epoch());
                    numbers.lock().unwrap().push(epoch);
                }
            });
        }
    });
    let numbers = numbers.into_inner().unwrap();
    assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), 800);
}

#[test]
fn a_steady_epoch_allocates_no_buffer() {
    for num_workers in WORKERS {
        for batch_size in [1, 32] {
            let dataset = made(200, |index, rng: &mut SampleRng| {
                std::thread::sleep(Duration::from_micros(rng.below(100).into()));
                Ok(([index as f32; 3000], index as i64))
            });
            // The last batch is smaller than the others. How far to run ahead is set, or a busy machine might stretch it.
            let builder = Loader::builder(dataset).num_workers(num_workers).batch_size(batch_size);
            let loader = match num_workers {
                0 => builder.build(),
                _ => builder.prefetch_batches(num_workers + 1).build(),
            };
            let loader = loader.unwrap();
            let consume = |pause| {
                for batch in &loader {
                    batch.unwrap();
                    std::thread::sleep(pause);
                }
            };
            consume(Duration::ZERO);
            let warm = loader.stats();
            for pause in [0, 50, 300] {
                consume(Duration::from_micros(pause));
            }
            let steady = loader.stats().since(&warm);
            assert_eq!(steady.buffers_allocated, 0, "{num_workers} workers, batches of {batch_size}");
            assert_eq!(steady.buffers_leased, 3 * 2 * 200_u64.div_ceil(batch_size as u64));
            assert_eq!(steady.buffers_live, 0);
        }
    }
}

#[test]
fn a_batch_that_is_kept_is_never_overwritten() {
    let loader = Loader::builder(counting(40)).batch_size(4).num_workers(2).build().unwrap();
    let kept: Vec<HostTensor<i64>> = (0..50).flat_map(|_| loader.epoch()).map(Result::unwrap).collect();
    assert_eq!(loader.stats().buffers_live, 500);
    for (number, batch) in kept.iter().enumerate() {
        let first = (number % 10 * 4) as i64;
        assert_eq!(**batch, [first, first + 1, first + 2, first + 3]);
    }
    // Dropped on another thread, which is as good as any.
    std::thread::spawn(move || drop(kept)).join().unwrap();
    assert_eq!(loader.stats().buffers_live, 0);
}

#[test]
fn dropping_an_epoch_cancels_at_once_and_the_next_one_works() {
    for chunk in [None, Some(1), Some(1000)] {
        let started = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&started);
        let slow = Arc::new(AtomicBool::new(true));
        let is_slow = Arc::clone(&slow);
        let dataset = made(1100, move |index, _: &mut SampleRng| {
            counter.fetch_add(1, SeqCst);
            if index >= 100 && is_slow.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(index as i64)
        });
        let mut builder = Loader::builder(dataset).batch_size(100).num_workers(4).prefetch_batches(11);
        if let Some(chunk) = chunk {
            builder = builder.chunk_size(chunk);
        }
        let loader = builder.build().unwrap();
        let mut epoch = loader.epoch();
        epoch.next().unwrap().unwrap();
        let dropping = Instant::now();
        drop(epoch);
        assert!(dropping.elapsed() < Duration::from_millis(100), "{:?}", dropping.elapsed());

        let at_drop = started.load(SeqCst);
        slow.store(false, SeqCst);
        assert_eq!(batches(&loader).concat(), numbers(1100));
        // Of the cancelled thousand, each worker was in the middle of one, and may have been between two.
        assert!(started.load(SeqCst) - at_drop <= 1100 + 8, "{} after {at_drop}", started.load(SeqCst));
        all_buffers_return(&loader);
    }
}

#[test]
fn epochs_can_be_dropped_anywhere_without_leaking_a_buffer() {
    let loader = Loader::builder(counting(60)).batch_size(4).num_workers(2).shuffle(true).seed(2).build().unwrap();
    for taken in (0..=15).cycle().take(400) {
        loader.epoch().take(taken).for_each(|batch| drop(batch.unwrap()));
    }
    assert_eq!(batches(&loader).concat().len(), 60);
    all_buffers_return(&loader);
}

/// Waits for the jobs of dropped epochs that may still be on their way out, each with the buffer it was filling.
fn all_buffers_return<D: Dataset<Sample = i64> + 'static>(loader: &Loader<D>) {
    let patience = Instant::now();
    while loader.stats().buffers_live > 0 && patience.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    assert_eq!(loader.stats().buffers_live, 0);
}

#[test]
fn all_epochs_use_the_same_threads_and_no_more_than_asked_for() {
    let seen: Arc<Mutex<HashSet<ThreadId>>> = Arc::default();
    let record = Arc::clone(&seen);
    let dataset = made(300, move |index, _: &mut SampleRng| {
        record.lock().unwrap().insert(std::thread::current().id());
        Ok(index as i64)
    });
    let loader = Loader::builder(dataset).batch_size(10).num_workers(3).build().unwrap();
    for _ in 0..20 {
        batches(&loader);
    }
    let mut threads = seen.lock().unwrap();
    assert!(threads.len() <= 3, "{threads:?}");
    assert!(!threads.contains(&std::thread::current().id()));
    threads.clear();
    drop(threads);

    let record = Arc::clone(&seen);
    let inline = made(30, move |index, _: &mut SampleRng| {
        record.lock().unwrap().insert(std::thread::current().id());
        Ok(index as i64)
    });
    batches(&Loader::builder(inline).batch_size(10).build().unwrap());
    assert_eq!(*seen.lock().unwrap(), HashSet::from([std::thread::current().id()]));
}

#[test]
fn two_loaders_on_one_pool_do_not_starve_each_other() {
    let pool = WorkerPool::new(2).unwrap();
    let slow = made(40, |index, _: &mut SampleRng| {
        std::thread::sleep(Duration::from_millis(1));
        Ok(index as i64)
    });
    let train = Loader::builder(slow).batch_size(4).pool(&pool).prefetch_batches(4).build().unwrap();
    let val = Loader::builder(counting(40)).batch_size(4).pool(&pool).build().unwrap();
    assert_eq!((train.num_workers(), val.num_workers()), (2, 2));
    // Interleaved, the second starting while the first has a full queue.
    let mut train_epoch = train.epoch();
    for expected in numbers(40).chunks(4) {
        assert_eq!(*train_epoch.next().unwrap().unwrap(), *expected);
        assert_eq!(batches(&val).concat(), numbers(40));
    }
}

#[test]
fn iterating_on_a_thread_of_the_loaders_own_pool_does_not_deadlock() {
    // The inner loader is consumed by the only worker of the pool that it loads on.
    let pool = WorkerPool::new(1).unwrap();
    let inner = Arc::new(Loader::builder(counting(10)).batch_size(3).pool(&pool).build().unwrap());
    let dataset = made(4, move |index, _: &mut SampleRng| Ok(batches(&inner).concat().len() as i64 + index as i64));
    let outer = Loader::builder(dataset).batch_size(2).pool(&pool).build().unwrap();
    assert_eq!(batches(&outer), [[10, 11], [12, 13]]);
}

#[test]
fn an_epoch_outlives_its_loader_and_moves_between_threads() {
    let loader = Loader::builder(counting(50)).batch_size(5).num_workers(2).build().unwrap();
    let mut epoch = loader.epoch();
    assert_eq!(epoch.next().unwrap().unwrap()[0], 0);
    drop(loader);
    let rest = std::thread::spawn(move || epoch.map(|batch| batch.unwrap().len()).sum::<usize>()).join().unwrap();
    assert_eq!(rest, 45);
}

#[test]
fn a_finished_epoch_stays_finished() {
    for num_workers in [0, 2] {
        let loader = Loader::builder(counting(3)).num_workers(num_workers).batch_size(2).build().unwrap();
        let mut epoch = loader.epoch();
        assert_eq!(epoch.by_ref().count(), 2);
        assert!(epoch.next().is_none() && epoch.next().is_none());
        assert_eq!(epoch.len(), 0);
    }
}

#[test]
fn the_report_adds_up() {
    let loader = Loader::builder(counting(100)).batch_size(8).num_workers(2).build().unwrap();
    assert_eq!(loader.stats().consumer_wait_share(), 0.0);
    for _ in 0..3 {
        batches(&loader);
    }
    let stats = loader.stats();
    assert_eq!((stats.batches, stats.samples, stats.errors), (39, 300, 0));
    assert!(stats.consumer_wait <= stats.epoch_time);
    assert!((0.0..=1.0).contains(&stats.consumer_wait_share()));
    assert!(stats.worker_busy > Duration::ZERO);
}

#[test]
fn a_collate_can_be_driven_by_hand() {
    let pool = BufferPool::new(2);
    let plan = BatchPlan { len: 2, capacity: 2, buffers: &pool, field: 0, rng: &SampleRng::new(0, 0, 0) };
    let mut part = Collate::<i64>::start(&Stack, plan);
    Stack.push(&mut part, 1_i64).unwrap();
    Stack.push(&mut part, 2_i64).unwrap();
    let batch: HostTensor<i64> = Collate::<i64>::finish(&Stack, part).unwrap();
    assert_eq!(*batch, [1, 2]);
}
