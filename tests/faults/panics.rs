//! A panic of the user's costs a batch, wherever it comes from. What it said is in the error, with the sample and the
//! worker; the threads go on, for this loader and for others, and nothing is poisoned and no buffer lost.

mod collates;
mod drops;
mod facts;
mod orders;
mod records;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use sutler::{
    Collate, Dataset, Error, ErrorKind, HostTensor, IterableLoader, Loader, LoaderBuilder, Result, SampleRng,
    WorkerPool,
};

use crate::data::{Kind, SHARDS, Samples, Settings, name, numbers};
use crate::eventually;

const LEN: usize = 40;
const BATCH: usize = 4;
/// The sample with which something goes wrong, and its batch.
const BAD: usize = 13;
const BAD_BATCH: [usize; 4] = [12, 13, 14, 15];

/// How many workers, and how many samples a job has: parts of batches, or whole ones.
const WAYS: [(usize, usize); 6] = [(0, 100), (1, 1), (1, 100), (2, 1), (2, 100), (16, 1)];

/// Panics once each time that it is set; a handle.
#[derive(Clone, Default)]
struct Trap(Arc<Trapped>);

#[derive(Default)]
struct Trapped {
    /// How often it will still panic.
    charges: AtomicUsize,
    /// The name of the thread where it did last.
    thread: Mutex<Option<String>>,
}

impl Trap {
    fn set(&self) {
        self.0.charges.store(1, SeqCst);
    }

    fn is_set(&self) -> bool {
        self.0.charges.load(SeqCst) > 0
    }

    /// Panics with `text` if it is set.
    fn spring(&self, text: &str) {
        if self.0.charges.fetch_update(SeqCst, SeqCst, |charges| charges.checked_sub(1)).is_ok() {
            *self.0.thread.lock().unwrap() = thread::current().name().map(str::to_owned);
            panic!("{text}");
        }
    }

    /// The number of the worker that it panicked on.
    fn worker(&self) -> Option<usize> {
        let thread = self.0.thread.lock().unwrap();
        thread.as_ref()?.strip_prefix("sutler-")?.parse().ok()
    }
}

/// What an error says of a panic.
struct Blame {
    text: String,
    index: Option<usize>,
    batch: Vec<usize>,
}

impl Blame {
    /// Of the bad sample.
    fn sample(kind: Kind, text: &str) -> Self {
        let index = if kind == Kind::Indexed { BAD } else { BAD / SHARDS };
        Blame { text: format!("{}: {text}", name(kind, BAD)), index: Some(index), batch: vec![] }
    }

    /// Of its batch as a whole.
    fn batch(text: &str) -> Self {
        Blame { text: format!("batch of samples {BAD_BATCH:?}: {text}"), index: None, batch: BAD_BATCH.into() }
    }

    #[track_caller]
    fn is_of(&self, error: &Error, worker: Option<usize>) {
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Panic, self.text.clone()));
        assert_eq!((error.index(), error.batch()), (self.index, &self.batch[..]), "{error}");
        assert_eq!(error.worker(), worker, "{error}");
    }
}

fn pool(num_workers: usize) -> Option<WorkerPool> {
    (num_workers > 0).then(|| WorkerPool::new(num_workers).unwrap())
}

fn settings(pool: &Option<WorkerPool>) -> Settings {
    Settings { batch_size: BATCH, pool: pool.clone(), ..Settings::default() }
}

/// Another loader on the same threads gives everything.
#[track_caller]
fn others_go_on(pool: &Option<WorkerPool>) {
    let other = settings(pool).apply(Loader::builder(Sound)).build().unwrap();
    let batches: Vec<Vec<i64>> = other.epoch().map(|batch| batch.unwrap().to_vec()).collect();
    assert_eq!(batches, numbers(LEN, BATCH));
}

/// Loads an epoch in which the trap costs the bad batch, and then everything, on this loader and on another.
fn costs_its_batch<D, C>(
    make: impl Fn(&Trap) -> LoaderBuilder<D, C>,
    read: fn(C::Batch) -> Vec<i64>,
    blame: impl Fn(usize) -> Option<Blame>,
) where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    for (num_workers, chunk) in WAYS {
        let Some(blame) = blame(if num_workers > 1 { chunk } else { 100 }) else { continue };
        let (pool, trap) = (pool(num_workers), Trap::default());
        let loader = settings(&pool).apply(make(&trap)).chunk_size(chunk).build().unwrap();
        let expected = numbers(LEN, BATCH);
        trap.set();
        let mut epoch = loader.epoch();
        let mut state = None;
        for (number, expected) in expected.iter().enumerate() {
            let result = epoch.next().unwrap();
            assert!(epoch.indices().map(|index| index as i64).eq(expected.iter().copied()));
            match result {
                Ok(batch) => assert_eq!(read(batch), *expected),
                Err(error) => {
                    assert_eq!(number, BAD / BATCH, "{error}");
                    blame.is_of(&error, trap.worker());
                    state = Some(epoch.state());
                }
            }
            assert_eq!(epoch.state().position(), BATCH * (number + 1));
            assert_eq!(
                format!("{epoch:?}"),
                format!("Epoch {{ epoch: 0, batches: 10, delivered: {}, .. }}", number + 1)
            );
        }
        assert!(epoch.next().is_none() && !trap.is_set());
        let stats = loader.stats();
        assert_eq!((stats.batches, stats.errors, stats.buffers_live), (9, 1, 0), "{num_workers} by {chunk}");
        assert!(format!("{loader:?}").starts_with("Loader { samples: 40, workers: "));

        let rest = loader.resume(&state.expect("the bad batch has failed")).unwrap();
        assert_eq!(rest.map(|batch| read(batch.unwrap())).collect::<Vec<_>>(), expected[BAD / BATCH + 1..]);
        assert_eq!(loader.state().unwrap().epoch(), 1);
        assert_eq!(loader.epoch().map(|batch| read(batch.unwrap())).collect::<Vec<_>>(), expected);
        others_go_on(&pool);
        assert_eq!(loader.stats().buffers_live, 0);
    }
}

fn to_vec(batch: HostTensor<i64>) -> Vec<i64> {
    batch.to_vec()
}

/// Samples of which the bad one springs the trap.
fn trapped(trap: &Trap, kind: Kind, text: &'static str) -> Samples {
    let trap = trap.clone();
    Samples::new(kind, LEN, move |number| {
        if number == BAD {
            trap.spring(text);
        }
        Ok(number as i64)
    })
}

/// All samples, and no traps.
struct Sound;

impl Dataset for Sound {
    type Sample = i64;

    fn len(&self) -> usize {
        LEN
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        Ok(index as i64)
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        Some(format!("/data/{index}.bin").into())
    }
}

/// The same as records.
fn sound_records() -> Samples {
    Samples::new(Kind::Decoded, LEN, |number| Ok(number as i64))
}

#[test]
fn in_get_it_costs_the_batch_and_names_the_sample() {
    costs_its_batch(
        |trap| Loader::builder(trapped(trap, Kind::Indexed, "in get")),
        to_vec,
        |_| Some(Blame::sample(Kind::Indexed, "loading the sample panicked: in get")),
    );
}

#[test]
fn in_a_transform_it_costs_the_batch_and_names_the_sample() {
    let make = |trap: &Trap| {
        let trap = trap.clone();
        Loader::builder(Sound.map(move |number: i64, _: &mut SampleRng| {
            if number == BAD as i64 {
                trap.spring("in a transform");
            }
            Ok(number)
        }))
    };
    costs_its_batch(make, to_vec, |_| {
        Some(Blame::sample(Kind::Indexed, "loading the sample panicked: in a transform"))
    });
}

#[test]
fn in_the_consumers_loop_it_costs_the_epoch_and_the_loader_goes_on() {
    for (num_workers, _) in WAYS {
        for taken in 0..=10 {
            let pool = pool(num_workers);
            let indexed = settings(&pool).apply(Loader::builder(Sound)).build().unwrap();
            let streamed = settings(&pool).apply(IterableLoader::builder(sound_records())).build().unwrap();
            let leaves = |epoch: &mut dyn Iterator<Item = Result<HostTensor<i64>>>| {
                let mut kept = Vec::new();
                for (number, batch) in epoch.enumerate() {
                    kept.push(batch.unwrap());
                    assert!(number + 1 < taken, "enough");
                }
                panic!("enough");
            };
            for _ in 0..2 {
                catch_unwind(AssertUnwindSafe(|| leaves(&mut indexed.epoch()))).unwrap_err();
                catch_unwind(AssertUnwindSafe(|| leaves(&mut streamed.epoch()))).unwrap_err();
            }
            assert_eq!((indexed.state().unwrap().epoch(), streamed.state().epoch()), (2, 2));
            let all = |epoch: &mut dyn Iterator<Item = Result<HostTensor<i64>>>| {
                assert_eq!(epoch.map(|batch| to_vec(batch.unwrap())).collect::<Vec<_>>(), numbers(LEN, BATCH));
            };
            all(&mut indexed.epoch());
            all(&mut streamed.epoch());
            others_go_on(&pool);
            assert!(eventually(|| indexed.stats().buffers_live == 0 && streamed.stats().buffers_live == 0));
        }
    }
}
