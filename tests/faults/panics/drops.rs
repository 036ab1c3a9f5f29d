//! In the drop of a sample.

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use sutler::{Dataset, Error, IterableDataset, IterableLoader, Loader, Result, SampleRng, Shape, Stackable};

use super::{BAD, BATCH, Blame, LEN, Sound, Trap, WAYS, costs_its_batch, others_go_on, pool, settings, to_vec};
use crate::data::{Kind, numbers};
use crate::eventually;
use crate::gate::Gate;
use crate::process::alone;

/// A sample that springs the trap when it is dropped, if it is the bad one.
pub(super) struct Touchy(pub(super) i64, Trap);

impl Touchy {
    pub(super) fn new(number: i64, trap: &Trap) -> Self {
        Touchy(number, trap.clone())
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        if self.0 == BAD as i64 && !thread::panicking() {
            self.1.spring("in drop");
        }
    }
}

impl Stackable for Touchy {
    type Element = i64;

    fn shape(&self) -> Shape {
        Shape::SCALAR
    }

    fn write(&self, slot: &mut [i64]) -> Result<()> {
        slot[0] = self.0;
        Ok(())
    }
}

/// Samples of which the bad one springs the trap when it is dropped.
fn touchy(trap: &Trap) -> impl Dataset<Sample = Touchy> + use<> {
    let trap = trap.clone();
    Sound.map(move |number: i64, _: &mut SampleRng| Ok(Touchy(number, trap.clone())))
}

#[test]
fn in_the_drop_of_a_sample_it_costs_the_batch() {
    costs_its_batch(
        |trap| Loader::builder(touchy(trap)),
        to_vec,
        |_| Some(Blame::sample(Kind::Indexed, "putting the sample into the batch panicked: in drop")),
    );
    costs_its_batch(
        |trap| {
            Loader::builder(touchy(trap))
                .collate_fn(|samples: Vec<Touchy>| Ok(samples.iter().map(|sample| sample.0).collect::<Vec<_>>()))
        },
        |batch| batch,
        |_| Some(Blame::batch("collating the batch panicked: in drop")),
    );
}

#[test]
fn in_the_drop_of_samples_that_nobody_wants_any_more_it_costs_nothing() {
    for (num_workers, chunk) in WAYS.into_iter().filter(|(num_workers, _)| *num_workers > 0) {
        let (pool, trap, gate) = (pool(num_workers), Trap::default(), Gate::default());
        let held = gate.clone();
        let dataset = touchy(&trap).map(move |sample: Touchy, _: &mut SampleRng| {
            if sample.0 == BAD as i64 + 1 {
                held.pass();
            }
            Ok(sample)
        });
        let builder = settings(&pool).apply(Loader::builder(dataset)).prefetch_batches(4).chunk_size(chunk);
        let loader = builder.collate_fn(|samples: Vec<Touchy>| Ok(samples)).build().unwrap();
        let mut epoch = loader.epoch();
        epoch.next().unwrap().unwrap();
        // The bad sample is in a part that will not become a batch.
        assert!(eventually(|| gate.waiting() > 0));
        drop(epoch);
        trap.set();
        gate.open();
        assert!(eventually(|| !trap.is_set()));
        let numbers_of = |batch: Result<Vec<Touchy>>| batch.unwrap().iter().map(|sample| sample.0).collect::<Vec<_>>();
        assert_eq!(loader.epoch().map(numbers_of).collect::<Vec<_>>(), numbers(LEN, BATCH));
        others_go_on(&pool);
    }
}

#[test]
fn in_the_drop_of_a_sample_beside_one_that_failed_the_error_is_that_ones() {
    for (num_workers, chunk) in WAYS {
        let (pool, trap) = (pool(num_workers), Trap::default());
        // The bad sample is dropped because the next one cannot be loaded.
        let dataset = touchy(&trap).map(|sample: Touchy, _: &mut SampleRng| match sample.0 as usize {
            number if number == BAD + 1 => Err(Error::msg("no good")),
            _ => Ok(sample),
        });
        let builder = settings(&pool).apply(Loader::builder(dataset)).chunk_size(chunk);
        let loader = builder.collate_fn(|samples: Vec<Touchy>| Ok(samples.len())).build().unwrap();
        trap.set();
        let errors: Vec<Error> = loader.epoch().filter_map(Result::err).collect();
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(error.to_string(), "sample 14 (/data/14.bin): no good", "{num_workers} by {chunk}");
        assert_eq!((error.index(), error.worker().is_some()), (Some(BAD + 1), num_workers > 0));
        others_go_on(&pool);
    }
}

/// A batch whose drop panics, as long as it is told to.
struct Hot(Arc<AtomicBool>);

impl Drop for Hot {
    fn drop(&mut self) {
        if self.0.load(SeqCst) && !thread::panicking() {
            panic!("hot");
        }
    }
}

#[test]
fn in_the_drop_of_batches_that_are_ready_and_left_it_costs_nothing() {
    for num_workers in [1, 3] {
        let is_hot = Arc::new(AtomicBool::new(true));
        let heat = Arc::clone(&is_hot);
        let builder = Loader::builder(Sound).batch_size(BATCH).num_workers(num_workers).prefetch_batches(3);
        let loader = builder.collate_fn(move |_: Vec<i64>| Ok(Hot(Arc::clone(&heat)))).build().unwrap();
        let mut epoch = loader.epoch();
        std::mem::forget(epoch.next().unwrap().unwrap());
        // Some in the channel, and some that were taken from there.
        assert!(eventually(|| loader.stats().samples as usize >= 4 * BATCH));
        std::mem::forget(epoch.next().unwrap().unwrap());
        thread::sleep(std::time::Duration::from_millis(50));
        drop(epoch);
        is_hot.store(false, SeqCst);
        assert_eq!(loader.epoch().map(Result::unwrap).count(), LEN / BATCH);
    }
}

/// A reader whose drop panics.
struct HotShard;

impl IterableDataset for HotShard {
    type Record = i64;
    type Records = HotReader;
    type Sample = i64;

    fn num_shards(&self) -> usize {
        2
    }

    fn records(&self, _shard: usize, _epoch: u64, _skip: usize) -> Result<HotReader> {
        Ok(HotReader)
    }

    fn decode(&self, number: i64, _: &mut SampleRng) -> Result<i64> {
        Ok(number)
    }
}

struct HotReader;

impl Iterator for HotReader {
    type Item = Result<i64>;

    fn next(&mut self) -> Option<Result<i64>> {
        Some(Ok(7))
    }
}

impl Drop for HotReader {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("hot");
        }
    }
}

#[test]
fn in_the_drop_of_readers_that_are_left_it_costs_nothing() {
    for num_workers in [0, 2] {
        let loader = IterableLoader::builder(HotShard).batch_size(4).num_workers(num_workers).build().unwrap();
        for _ in 0..3 {
            let mut epoch = loader.epoch();
            assert_eq!(epoch.next().unwrap().unwrap().to_vec(), [7; 4]);
        }
    }
}

/// Panics when it is dropped, with another of its kind.
struct Spiteful(usize);

impl Drop for Spiteful {
    fn drop(&mut self) {
        if self.0 > 0 && !thread::panicking() {
            panic_any(Spiteful(self.0 - 1));
        }
    }
}

#[test]
fn in_the_drop_of_what_a_panic_had_to_say_it_does_not_end_the_process() {
    alone(|| {
        for (num_workers, chunk) in WAYS.into_iter().filter(|(num_workers, _)| *num_workers > 0) {
            let (pool, gate) = (pool(num_workers), Gate::default());
            let held = gate.clone();
            let dataset = Sound.map(move |number: i64, _: &mut SampleRng| {
                if number == BAD as i64 + 1 {
                    held.pass();
                }
                // Its drop panics, and so does that of what it panics with.
                Ok(Spiteful(if number == BAD as i64 { 2 } else { 0 }))
            });
            let builder = settings(&pool).apply(Loader::builder(dataset)).prefetch_batches(4).chunk_size(chunk);
            let loader = builder.collate_fn(|samples: Vec<Spiteful>| Ok(samples)).build().unwrap();
            let epoch = loader.epoch();
            assert!(eventually(|| gate.waiting() > 0));
            drop(epoch);
            gate.open();
            others_go_on(&pool);
        }
    });
}
