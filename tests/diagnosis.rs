//! What the report says in each situation, and what `NumWorkers::Auto` makes of it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sutler::{
    Dataset, ErrorKind, InMemory, IterableDataset, IterableLoader, Limit, Loader, NumWorkers, Result, SampleRng, Stats,
};

/// Samples that each take a time, asleep or at work.
#[derive(Clone, Copy)]
struct Costly {
    asleep: Duration,
    at_work: Duration,
    /// One that takes this much longer.
    slow: Option<(usize, Duration)>,
}

const FREE: Costly = Costly { asleep: Duration::ZERO, at_work: Duration::ZERO, slow: None };
const US: Duration = Duration::from_micros(1);

impl Dataset for Costly {
    type Sample = i64;

    fn len(&self) -> usize {
        100_000
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        work(self.at_work);
        if !self.asleep.is_zero() {
            thread::sleep(self.asleep);
        }
        if let Some((_, time)) = self.slow.filter(|(slow, _)| index % slow == slow - 1) {
            thread::sleep(time);
        }
        Ok(index as i64)
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        Some(format!("/data/{index}.jpg").into())
    }
}

fn work(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// The report of `batches` batches of ten, each trained on for a time, which costs no core, as on a GPU.
fn report(dataset: Costly, num_workers: impl Into<NumWorkers>, training: Duration, batches: usize) -> Stats {
    let loader = Loader::builder(dataset).batch_size(10).num_workers(num_workers).build().unwrap();
    train(loader.epoch().take(batches), training);
    loader.stats()
}

fn train<B>(epoch: impl Iterator<Item = Result<B>>, training: Duration) {
    for batch in epoch {
        batch.unwrap();
        if !training.is_zero() {
            thread::sleep(training);
        }
    }
}

/// Other programs on the machine may spoil an attempt, not five; the other tests here do not run meanwhile.
fn limited_by(expected: Limit, report: impl Fn() -> Stats) -> Stats {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut seen = vec![];
    for _ in 0..5 {
        let stats = report();
        if stats.diagnosis().limit() == expected {
            return stats;
        }
        seen.push(format!("{} {stats:?}", stats.diagnosis()));
    }
    panic!("not {expected:?}: {seen:#?}");
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn a_trainer_that_never_waits_is_the_limit() {
    let stats = limited_by(Limit::Trainer, || report(Costly { at_work: 20 * US, ..FREE }, 2, 4000 * US, 100));
    assert!(stats.diagnosis().to_string().starts_with("The training loop is the limit: it waited for data "));
    assert!(stats.queue_occupancy() > 0.5, "{}", stats.queue_occupancy());
}

#[test]
fn a_loop_that_loads_for_itself_is_told_to_use_workers() {
    limited_by(Limit::NoWorkers, || report(Costly { at_work: 200 * US, ..FREE }, 0, 500 * US, 50));
}

#[test]
fn work_on_all_cores_is_the_cores_limit() {
    let dataset = Costly { at_work: 500 * US, ..FREE };
    limited_by(Limit::Cores, || report(dataset, cores(), Duration::ZERO, 60 * cores()));
}

#[test]
fn work_on_one_of_several_cores_is_the_workers_limit() {
    if cores() > 1 {
        limited_by(Limit::Workers, || report(Costly { at_work: 500 * US, ..FREE }, 1, Duration::ZERO, 80));
    }
}

#[test]
fn many_workers_on_few_cores_are_too_many() {
    // Only Linux says that a thread has waited for a core.
    let expected = if cfg!(target_os = "linux") { Limit::TooManyWorkers } else { Limit::Cores };
    let dataset = Costly { at_work: 500 * US, ..FREE };
    limited_by(expected, || report(dataset, 8 * cores(), Duration::ZERO, 100 * cores()));
}

#[cfg(target_os = "linux")]
#[test]
fn samples_that_sleep_are_the_limit_of_latency() {
    let dataset = Costly { asleep: 2000 * US, ..FREE };
    let stats = limited_by(Limit::Latency, || report(dataset, 4, Duration::ZERO, 80));
    assert!(stats.worker_cpu_share().unwrap() < 0.4);
}

#[test]
fn a_slow_sample_behind_which_nothing_may_be_loaded_is_named() {
    let dataset = Costly { asleep: 100 * US, slow: Some((200, Duration::from_millis(60))), ..FREE };
    let stats = limited_by(Limit::Stragglers, || {
        let loader = Loader::builder(dataset).batch_size(10).num_workers(4).prefetch_batches(2).build().unwrap();
        train(loader.epoch().take(100), Duration::ZERO);
        loader.stats()
    });
    let slowest = &stats.slowest[0];
    assert_eq!((slowest.index % 200, slowest.shard), (199, None));
    assert_eq!(slowest.path, Some(format!("/data/{}.jpg", slowest.index).into()));
    assert!(slowest.time >= Duration::from_millis(60));
    assert!(stats.diagnosis().to_string().contains(&format!("the slowest ({slowest})")));
}

#[test]
fn a_window_too_small_for_the_workers_is_the_limit() {
    // Eight workers, and never more than two samples to load.
    let dataset = Costly { asleep: 1000 * US, ..FREE };
    limited_by(Limit::Prefetch, || {
        let builder = Loader::builder(dataset).batch_size(2).num_workers(8).prefetch_batches(1).chunk_size(1);
        let loader = builder.build().unwrap();
        train(loader.epoch().take(100), Duration::ZERO);
        loader.stats()
    });
}

#[test]
fn the_report_of_a_part_of_a_run_is_about_that_part() {
    limited_by(Limit::Trainer, || {
        let builder = Loader::builder(Costly { at_work: 100 * US, ..FREE }).batch_size(10).num_workers(1);
        let loader = builder.build().unwrap();
        let mut epoch = loader.epoch();
        train(epoch.by_ref().take(40), Duration::ZERO);
        let before = loader.stats();
        assert_ne!(before.diagnosis().limit(), Limit::Trainer, "{}", before.diagnosis());
        train(epoch.by_ref().take(40), 5000 * US);
        let after = loader.stats().since(&before);
        assert_eq!(after.batches, 40);
        after
    });
}

#[test]
fn an_iterable_loader_reports_its_queue_and_its_slowest_records_as_well() {
    struct Shards;
    impl IterableDataset for Shards {
        type Record = usize;
        type Records = std::vec::IntoIter<Result<usize>>;
        type Sample = i64;

        fn num_shards(&self) -> usize {
            2
        }

        fn records(&self, _: usize, _: u64, skip: usize) -> Result<Self::Records> {
            Ok((skip..100).map(Ok).collect::<Vec<_>>().into_iter())
        }

        fn decode(&self, record: usize, _: &mut SampleRng) -> Result<i64> {
            thread::sleep(if record == 70 { 20_000 * US } else { 100 * US });
            Ok(record as i64)
        }

        fn path(&self, shard: usize) -> Option<PathBuf> {
            Some(format!("/shards/{shard}").into())
        }
    }
    let loader = IterableLoader::builder(Shards).batch_size(10).num_workers(2).build().unwrap();
    train(loader.epoch(), 1000 * US);
    let stats = loader.stats();
    let mut slowest: Vec<_> =
        stats.slowest[..2].iter().map(|slow| (slow.shard.unwrap(), slow.index, slow.path.clone().unwrap())).collect();
    slowest.sort();
    assert_eq!(slowest, [(0, 70, "/shards/0".into()), (1, 70, "/shards/1".into())]);
    assert!(stats.queue_ahead > 0 && stats.num_workers == 2);
}

#[cfg(target_os = "linux")]
#[test]
fn workers_that_have_become_more_are_measured_by_how_many_they_were() {
    // All are busy at all times, and as many as they are in the end they are for a small part of the run.
    let dataset = Costly { asleep: 2000 * US, ..FREE };
    let stats = limited_by(Limit::Latency, || report(dataset, NumWorkers::Auto, Duration::ZERO, 120));
    assert!(stats.num_workers > 4 && stats.worker_utilization() > 0.6, "{stats:?}");
    let sentence = stats.diagnosis().to_string();
    assert!(sentence.contains("NumWorkers::Auto") && !sentence.contains("raise num_workers"), "{sentence}");
}

// ---- how many workers there should be ----

/// The number of workers after up to `most` batches, and after how many it was what it is.
fn settled(dataset: Costly, batch_size: usize, training: Duration, most: usize) -> (usize, usize) {
    let loader = Loader::builder(dataset).batch_size(batch_size).num_workers(NumWorkers::Auto).build().unwrap();
    assert_eq!(loader.num_workers(), 1);
    let (mut number, mut changed_at) = (1, 0);
    for (batch, result) in loader.epoch().take(most).enumerate() {
        result.unwrap();
        thread::sleep(training);
        if loader.num_workers() != number {
            (number, changed_at) = (loader.num_workers(), batch);
        }
    }
    (number, changed_at)
}

/// Other programs on the machine may spoil an attempt, not five.
fn settles_within(range: std::ops::RangeInclusive<usize>, attempt: impl Fn() -> (usize, usize)) {
    let mut seen = vec![];
    for _ in 0..5 {
        let (number, changed_at) = attempt();
        seen.push((number, changed_at));
        if range.contains(&number) && changed_at < 400 {
            return;
        }
    }
    panic!("not within {range:?} after at most 400 batches: {seen:?}");
}

#[test]
fn a_slow_trainer_is_fed_by_one_worker() {
    settles_within(1..=1, || settled(Costly { at_work: 20 * US, ..FREE }, 10, 3000 * US, 200));
}

#[test]
fn decoding_takes_as_many_workers_as_there_are_cores() {
    // Of many, the last quarter may bring too little to be told from chance, and a few more do no harm.
    let range = (3 * cores()).div_ceil(4)..=cores() + cores().div_ceil(2);
    settles_within(range, || settled(Costly { at_work: 300 * US, ..FREE }, 10, Duration::ZERO, 450));
}

#[test]
fn samples_that_wait_take_more_workers_than_there_are_cores() {
    // Ten samples of 2 ms for each 4 ms of training: five workers, and a little more for what else there is to do.
    settles_within(5..=9, || settled(Costly { asleep: 2000 * US, ..FREE }, 10, 4000 * US, 450));
}

#[test]
fn whatever_the_number_of_workers_becomes_the_batches_are_the_same() {
    let samples = || -> InMemory<i64> { (0..3000).collect() };
    let expected: Vec<Vec<i64>> = Loader::builder(samples())
        .batch_size(7)
        .shuffle(true)
        .seed(1)
        .build()
        .unwrap()
        .epoch()
        .map(|batch| batch.unwrap().to_vec())
        .collect();
    let loader = Loader::builder(samples().map(|sample: i64, _: &mut SampleRng| {
        thread::sleep(50 * US);
        Ok(sample)
    }));
    let loader = loader.batch_size(7).shuffle(true).seed(1).num_workers(NumWorkers::Auto).build().unwrap();
    for _ in 0..2 {
        let batches: Vec<Vec<i64>> = loader.epoch_at(0).map(|batch| batch.unwrap().to_vec()).collect();
        assert_eq!(batches, expected);
    }
    assert!(loader.num_workers() > 1);
    // A half-eaten epoch leaves nothing behind.
    drop(loader.epoch().take(3).collect::<Result<Vec<_>>>().unwrap());
    assert_eq!(loader.epoch_at(0).count(), expected.len());
}

#[test]
fn a_loader_within_a_sample_of_an_automatic_one_does_not_wait_for_itself() {
    let inner = || Loader::builder((0..64).collect::<InMemory<i64>>()).batch_size(4);
    let pool_of = |loader: &Loader<InMemory<i64>>| loader.epoch().map(|batch| batch.unwrap().len()).sum::<usize>();
    let nested = inner().num_workers(NumWorkers::Auto).build().unwrap();
    let outer = (0..20).collect::<InMemory<i64>>().map(move |_: i64, _: &mut SampleRng| Ok(pool_of(&nested) as i64));
    let outer = Loader::builder(outer).batch_size(2).num_workers(NumWorkers::Auto).build().unwrap();
    assert_eq!(outer.epoch().map(|batch| batch.unwrap().iter().sum::<i64>()).sum::<i64>(), 20 * 64);
}

#[test]
fn a_negative_number_of_workers_is_refused_as_in_torch() {
    for number in [-1, i32::MIN] {
        let builder = Loader::builder((0..4).collect::<InMemory<i64>>()).num_workers(number);
        let error = builder.build().unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains("not be negative")), (ErrorKind::Config, true));
    }
}

#[test]
fn a_number_of_workers_that_no_system_has_is_refused_as_too_many() {
    for number in [usize::MAX, usize::MAX - 1] {
        let error = Loader::builder((0..4).collect::<InMemory<i64>>()).num_workers(number).build().unwrap_err();
        let says = format!("cannot start {number} worker threads: there may be ");
        assert_eq!((error.kind(), error.to_string().contains(&says)), (ErrorKind::Config, true), "{error}");
    }
}
