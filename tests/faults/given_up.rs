//! A batch that does not come can be given up, and nothing else is lost.

use std::path::PathBuf;
use std::time::Duration;

use sutler::{Dataset, Epoch, ErrorKind, InMemory, Loader, LoaderState, Result, SampleRng, WorkerPool};

use crate::data::{AnyEpoch, AnyLoader, Kind, Samples, Settings, numbers};
use crate::eventually;
use crate::gate::Gate;

const BATCH: usize = 4;
const LEN: usize = 40;
const STUCK: usize = 9;

/// Counts; one sample stands at a gate.
struct Numbers(Gate);

impl Dataset for Numbers {
    type Sample = i64;

    fn len(&self) -> usize {
        LEN
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        if index == STUCK {
            self.0.pass();
        }
        Ok(index as i64)
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        Some(format!("/data/{index}").into())
    }
}

fn loader(gate: &Gate, in_order: bool, num_workers: usize) -> Loader<Numbers> {
    let builder = Loader::builder(Numbers(gate.clone())).batch_size(BATCH).num_workers(num_workers).in_order(in_order);
    builder.seed(0).timeout(Duration::from_millis(100)).build().unwrap()
}

/// The batches that come, and those that were given up.
fn batches(epoch: &mut Epoch<Numbers>, most: usize) -> (Vec<Vec<i64>>, Vec<Vec<usize>>) {
    let (mut come, mut given_up) = (vec![], vec![]);
    while come.len() < most {
        match epoch.next() {
            Some(Ok(batch)) => come.push(batch.to_vec()),
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
                let indices = epoch.give_up_batch();
                assert_eq!(epoch.indices().collect::<Vec<_>>(), indices);
                given_up.push(indices);
            }
            None => break,
        }
    }
    (come, given_up)
}

#[test]
fn all_other_batches_come_and_the_stuck_sample_is_in_quarantine() {
    for in_order in [true, false] {
        for num_workers in [2, 16] {
            let gate = Gate::default();
            let loader = loader(&gate, in_order, num_workers);
            let mut epoch = loader.epoch();
            let (mut all, given_up) = batches(&mut epoch, usize::MAX);
            // A machine that is busy may have kept others from coming in time.
            assert!(given_up.contains(&vec![8, 9, 10, 11]) && given_up.len() < LEN / BATCH, "{given_up:?}");
            all.extend(given_up.iter().map(|indices| indices.iter().map(|&index| index as i64).collect()));
            all.sort();
            let expected: Vec<Vec<i64>> =
                (0..LEN as i64).collect::<Vec<_>>().chunks(BATCH).map(<[i64]>::to_vec).collect();
            assert_eq!(all, expected, "in_order({in_order}), {num_workers} workers");
            assert!(epoch.give_up_batch().is_empty(), "the epoch is over");
            let quarantine = loader.quarantine();
            let stuck = quarantine.iter().find(|sample| sample.index == STUCK).unwrap();
            assert_eq!(stuck.path, Some("/data/9".into()));
            assert!(stuck.cause.starts_with("it did not return within "), "{stuck}");
            drop(epoch);
            gate.open();
            assert!(eventually(|| loader.stats().buffers_live == 0));
            assert_eq!(loader.epoch().map(Result::unwrap).count(), LEN / BATCH);
        }
    }
}

#[test]
fn a_run_that_goes_on_elsewhere_counts_it_as_had() {
    let gate = Gate::default();
    let first = loader(&gate, true, 2);
    let mut epoch = first.epoch();
    let (come, given_up) = batches(&mut epoch, 4);
    assert!(given_up.contains(&vec![8, 9, 10, 11]));
    let had = BATCH * (come.len() + given_up.len());
    let state: LoaderState = epoch.state().to_string().parse().unwrap();
    gate.open();
    let second = loader(&gate, true, 2);
    let rest: Vec<Vec<i64>> = second.resume(&state).unwrap().map(|batch| batch.unwrap().to_vec()).collect();
    assert_eq!(rest.concat(), (had as i64..LEN as i64).collect::<Vec<_>>());
    assert_eq!(second.quarantine()[0].index, STUCK);
}

#[test]
fn a_batch_that_has_come_meanwhile_is_not_given_up() {
    let gate = Gate::default();
    let loader = loader(&gate, true, 2);
    let mut epoch = loader.epoch();
    let come: Vec<_> = epoch.by_ref().take(2).map(Result::unwrap).collect();
    assert_eq!(come.len(), 2);
    assert_eq!(epoch.next().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    gate.open();
    assert!(eventually(|| gate.waiting() == 0 && loader.stats().samples >= 12));
    std::thread::sleep(Duration::from_millis(50));
    assert!(epoch.give_up_batch().is_empty());
    assert_eq!(epoch.next().unwrap().unwrap().to_vec(), [8, 9, 10, 11]);
    assert_eq!(epoch.map(Result::unwrap).count(), 7);
}

#[test]
fn more_batches_than_may_be_ahead_can_be_given_up_and_no_worker_waits_for_the_consumer() {
    let pool = WorkerPool::new(2).unwrap();
    let gate = Gate::default();
    let held = gate.clone();
    let samples = Samples::new(Kind::Indexed, LEN, move |number| {
        if number < LEN / 2 {
            held.pass();
        }
        Ok(number as i64)
    });
    let settings = Settings {
        batch_size: BATCH,
        pool: Some(pool.clone()),
        prefetch_batches: Some(1),
        chunk_size: Some(BATCH),
        timeout: Some(Duration::from_millis(20)),
        ..Settings::default()
    };
    let AnyEpoch::Indexed(mut epoch) = AnyLoader::new(samples, &settings).epoch() else { unreachable!() };
    for number in 0..5 {
        assert_eq!(epoch.next().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(epoch.give_up_batch()[0], BATCH * number);
    }
    gate.open();
    // They all have come by then, and nobody has taken them.
    let (ended, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let other = Loader::builder((0..LEN as i64).collect::<InMemory<i64>>()).batch_size(BATCH).pool(&pool).build();
        ended.send(other.unwrap().epoch().map(Result::unwrap).count()).unwrap();
    });
    assert_eq!(has_ended.recv_timeout(crate::PATIENCE), Ok(LEN / BATCH));
    let mut rest = Vec::new();
    for batch in epoch {
        rest.extend(batch.map(|batch| batch.to_vec()));
    }
    let missing = numbers(LEN, BATCH).split_off(5);
    assert_eq!(rest, missing);
}
