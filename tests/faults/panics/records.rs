//! In an iterable dataset: where a shard is opened, read or decoded, and in the drop of what comes of it.

use std::iter::StepBy;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use sutler::{Collate, Error, ErrorKind, Iterable, IterableDataset, IterableLoader, LoaderBuilder, Result, SampleRng};

use super::collates::Springing;
use super::drops::Touchy;
use super::{BAD, BATCH, Blame, LEN, Trap, others_go_on, pool, settings, sound_records, to_vec, trapped};
use crate::data::{Kind, SHARDS, Samples, name, numbers};
use crate::gate::Gate;
use crate::{eventually, in_time};

/// What comes of shards whose records are `shards[shard][record]`, one of each in turn, in batches: `None` for a batch
/// with a record that is none.
fn dealt(mut shards: Vec<Vec<Option<i64>>>) -> Vec<Option<Vec<i64>>> {
    let mut all = Vec::new();
    while shards.iter().any(|shard| !shard.is_empty()) {
        shards.retain(|shard| !shard.is_empty());
        all.extend(shards.iter_mut().map(|shard| shard.remove(0)));
    }
    all.chunks(BATCH).map(|batch| batch.iter().copied().collect()).collect()
}

/// Loads an epoch of an iterable dataset in which the trap goes off, and then everything.
fn costs_its_record<I, C>(
    make: impl Fn(&Trap) -> LoaderBuilder<Iterable<I>, C>,
    read: fn(C::Batch) -> Vec<i64>,
    expected: &[Option<Vec<i64>>],
    blame: impl Fn(&Error, &Trap),
) where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
{
    for num_workers in [0, 1, 2, 16] {
        let (pool, trap) = (pool(num_workers), Trap::default());
        let loader = settings(&pool).apply(make(&trap)).build().unwrap();
        trap.set();
        let mut epoch = loader.epoch();
        let mut failed = Vec::new();
        let mut batches = Vec::new();
        while let Some(result) = epoch.next() {
            let state = epoch.state();
            assert!(format!("{epoch:?}").starts_with("IterableEpoch { state: "));
            batches.push(result.map(read).map_err(|error| failed.push((error, state))).ok());
        }
        assert_eq!(batches, expected);
        let [(error, state)] = &failed[..] else { panic!("{failed:?}") };
        blame(error, &trap);
        assert!(!trap.is_set());
        let stats = loader.stats();
        assert_eq!((stats.batches, stats.errors, stats.buffers_live), (expected.len() as u64 - 1, 1, 0));
        assert!(format!("{loader:?}").starts_with("IterableLoader { shards: 4, batch_size: 4, workers: "));

        let number = expected.iter().position(Option::is_none).unwrap();
        assert_eq!(state.position(), BATCH * (number + 1));
        let rest = loader.resume(state).unwrap();
        assert_eq!(rest.map(|batch| batch.map(read).ok()).collect::<Vec<_>>(), expected[number + 1..]);
        assert_eq!(loader.state().epoch(), 1);
        assert_eq!(loader.epoch().map(|batch| read(batch.unwrap())).collect::<Vec<_>>(), numbers(LEN, BATCH));
        others_go_on(&pool);
        assert_eq!(loader.stats().buffers_live, 0);
    }
}

/// The records of each shard, without one, and without what is behind it.
fn without(number: usize, ends: bool) -> Vec<Vec<Option<i64>>> {
    let shard = |shard: usize| -> Vec<Option<i64>> {
        let mut records: Vec<_> = (shard..LEN).step_by(SHARDS).map(|number| Some(number as i64)).collect();
        if shard == number % SHARDS {
            records[number / SHARDS] = None;
            if ends {
                records.truncate(number / SHARDS + 1);
            }
        }
        records
    };
    (0..SHARDS).map(shard).collect()
}

#[test]
fn in_decode_it_costs_the_batch_and_names_the_record() {
    costs_its_record(
        |trap| IterableLoader::builder(trapped(trap, Kind::Decoded, "in decode")),
        to_vec,
        &dealt(without(BAD, false)),
        |error, trap| {
            Blame::sample(Kind::Decoded, "loading the sample panicked: in decode").is_of(error, trap.worker());
        },
    );
}

#[test]
fn in_a_reader_it_ends_the_shard_and_names_the_record() {
    costs_its_record(
        |trap| IterableLoader::builder(trapped(trap, Kind::Read, "in a reader")),
        to_vec,
        &dealt(without(BAD, true)),
        |error, trap| {
            assert_eq!(
                error.to_string(),
                format!("{}: reading the shard panicked: in a reader", name(Kind::Read, BAD))
            );
            assert_eq!((error.kind(), error.index(), error.shard()), (ErrorKind::Panic, Some(3), Some(1)));
            assert_eq!(error.worker().is_some(), trap.worker().is_some());
        },
    );
}

#[test]
fn where_a_shard_is_opened_it_costs_the_shard_and_the_others_go_on() {
    let make = |trap: &Trap| {
        let trap = trap.clone();
        IterableLoader::builder(Samples::new(Kind::Opened, LEN, move |shard| {
            if shard == 1 {
                trap.spring("in records");
            }
            Ok(0)
        }))
    };
    costs_its_record(make, to_vec, &dealt(without(1, true)), |error, trap| {
        assert_eq!(error.to_string(), format!("{}: opening the shard panicked: in records", name(Kind::Opened, 1)));
        assert_eq!((error.kind(), error.index(), error.shard()), (ErrorKind::Panic, Some(0), Some(1)));
        assert_eq!(error.worker().is_some(), trap.worker().is_some());
    });
}

#[test]
fn in_a_collate_of_records_it_costs_the_batch() {
    let make = |trap: &Trap| IterableLoader::builder(sound_records()).collate(Springing::at("finish", trap));
    costs_its_record(make, to_vec, &dealt(without(BAD, false)), |error, trap| {
        assert!(error.to_string().ends_with(": collating the batch panicked: in finish"), "{error}");
        assert_eq!((error.kind(), error.batch(), error.worker()), (ErrorKind::Panic, &[3; 4][..], trap.worker()));
    });
}

/// Records that spring the trap when they are dropped, as samples do; of which one cannot be decoded.
struct TouchyRecords {
    trap: Trap,
    /// The record that cannot be decoded, if the trap is set.
    fails: usize,
}

impl IterableDataset for TouchyRecords {
    type Record = Touchy;
    type Records = TouchyReader;
    type Sample = i64;

    fn num_shards(&self) -> usize {
        SHARDS
    }

    fn records(&self, shard: usize, _: u64, skip: usize) -> Result<TouchyReader> {
        Ok(TouchyReader { next: shard + SHARDS * skip, trap: self.trap.clone() })
    }

    fn decode(&self, record: Touchy, _: &mut SampleRng) -> Result<i64> {
        match record.0 as usize == self.fails && self.trap.is_set() {
            true => Err(Error::msg("no good")),
            false => Ok(record.0),
        }
    }
}

struct TouchyReader {
    next: usize,
    trap: Trap,
}

impl Iterator for TouchyReader {
    type Item = Result<Touchy>;

    fn next(&mut self) -> Option<Result<Touchy>> {
        let number = self.next;
        self.next += SHARDS;
        (number < LEN).then(|| Ok(Touchy::new(number as i64, &self.trap)))
    }
}

#[test]
fn in_the_drop_of_a_record_it_costs_the_batch() {
    costs_its_record(
        |trap| IterableLoader::builder(TouchyRecords { trap: trap.clone(), fails: LEN }),
        to_vec,
        &dealt(without(BAD, false)),
        |error, trap| {
            assert_eq!(error.to_string(), "sample 3 of shard 1: loading the sample panicked: in drop");
            assert_eq!((error.index(), error.shard(), error.worker()), (Some(3), Some(1), trap.worker()));
        },
    );
}

/// Shards whose readers spring the trap when they are dropped; of which one stands at a gate.
struct TouchyReaders {
    trap: Trap,
    gate: Gate,
}

struct Reader {
    numbers: StepBy<Range<usize>>,
    trap: Trap,
    gate: Gate,
}

impl IterableDataset for TouchyReaders {
    type Record = i64;
    type Records = Reader;
    type Sample = i64;

    fn num_shards(&self) -> usize {
        SHARDS
    }

    fn records(&self, shard: usize, _: u64, _: usize) -> Result<Reader> {
        Ok(Reader { numbers: (shard..LEN).step_by(SHARDS), trap: self.trap.clone(), gate: self.gate.clone() })
    }

    fn decode(&self, record: i64, _: &mut SampleRng) -> Result<i64> {
        Ok(record)
    }
}

impl Iterator for Reader {
    type Item = Result<i64>;

    fn next(&mut self) -> Option<Result<i64>> {
        let number = self.numbers.next()?;
        if number == BAD {
            self.gate.pass();
        }
        Some(Ok(number as i64))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.trap.spring("in the drop of a reader");
    }
}

#[test]
fn in_the_drop_of_a_reader_it_costs_nothing() {
    for num_workers in [0, 1, 2, 16] {
        let (pool, trap, gate) = (pool(num_workers), Trap::default(), Gate::default());
        let dataset = TouchyReaders { trap: trap.clone(), gate: gate.clone() };
        let loader = settings(&pool).apply(IterableLoader::builder(dataset)).build().unwrap();
        let all =
            || assert_eq!(loader.epoch().map(|batch| to_vec(batch.unwrap())).collect::<Vec<_>>(), numbers(LEN, BATCH));
        if num_workers > 0 {
            // A job is the last to have the readers.
            let epoch = loader.epoch();
            assert!(eventually(|| gate.waiting() > 0));
            drop(epoch);
            trap.set();
            gate.open();
            assert!(eventually(|| !trap.is_set()));
        }
        gate.open();
        trap.set();
        all();
        assert!(!trap.is_set());
        all();
        others_go_on(&pool);
        assert!(eventually(|| loader.stats().buffers_live == 0));
    }
}

#[test]
fn in_the_drop_of_a_record_that_is_given_up_nothing_hangs_and_the_error_is_the_other_records() {
    for num_workers in [0, 1, 2, 16] {
        for chunk in ["as it comes", "cheap"] {
            let errors = in_time(move || {
                let (pool, trap) = (pool(num_workers), Trap::default());
                // The bad record is not decoded, because the one before it cannot be.
                let dataset = TouchyRecords { trap: trap.clone(), fails: BAD - 1 };
                let loader = settings(&pool).apply(IterableLoader::builder(dataset)).build().unwrap();
                if chunk == "cheap" {
                    // Then several batches are a job.
                    assert_eq!((0..20).map(|_| loader.epoch().map(Result::unwrap).count()).sum::<usize>(), 200);
                }
                trap.set();
                let errors: Vec<Error> = loader.epoch().filter_map(Result::err).collect();
                others_go_on(&pool);
                errors
            });
            let texts: Vec<String> = errors.iter().map(Error::to_string).collect();
            assert_eq!(texts, ["sample 3 of shard 0: no good"], "{num_workers} {chunk}");
        }
    }
}

/// Shards whose path panics.
struct Pathless(Samples, Trap);

impl IterableDataset for Pathless {
    type Record = i64;
    type Records = <Samples as IterableDataset>::Records;
    type Sample = i64;

    fn num_shards(&self) -> usize {
        SHARDS
    }

    fn records(&self, shard: usize, epoch: u64, skip: usize) -> Result<Self::Records> {
        self.0.records(shard, epoch, skip)
    }

    fn decode(&self, record: i64, rng: &mut SampleRng) -> Result<i64> {
        self.0.decode(record, rng)
    }

    fn path(&self, _: usize) -> Option<PathBuf> {
        self.1.spring("in path");
        None
    }
}

#[test]
fn in_a_path_it_costs_no_epoch_since_paths_are_for_messages() {
    for num_workers in [0, 1, 2, 16] {
        let (pool, trap) = (pool(num_workers), Trap::default());
        let dataset = Pathless(sound_records(), trap.clone());
        let loader = settings(&pool).apply(IterableLoader::builder(dataset)).build().unwrap();
        trap.set();
        let epoch = catch_unwind(AssertUnwindSafe(|| loader.epoch())).expect("an epoch needs no paths");
        assert_eq!(epoch.map(|batch| to_vec(batch.unwrap())).collect::<Vec<_>>(), numbers(LEN, BATCH));
        others_go_on(&pool);
    }
}

#[test]
fn in_a_reader_the_error_names_the_worker_that_read() {
    for num_workers in [1, 2, 16] {
        let (pool, trap) = (pool(num_workers), Trap::default());
        // Decoding takes long enough for each record to be a job of its own, anybody's.
        let slow = |number: i64, _: &mut SampleRng| {
            thread::sleep(Duration::from_micros(60));
            Ok(number)
        };
        let samples = IterableDataset::map(trapped(&trap, Kind::Read, "in a reader"), slow);
        let loader = settings(&pool).apply(IterableLoader::builder(samples)).build().unwrap();
        for _ in 0..30 {
            trap.set();
            let error = loader.epoch().find_map(Result::err).unwrap();
            assert_eq!(error.worker(), trap.worker(), "{error}");
        }
    }
}
