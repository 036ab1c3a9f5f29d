//! A batch that does not come can be given up, and nothing else is lost.

use std::path::PathBuf;
use std::time::Duration;

use sutler::{Dataset, Epoch, ErrorKind, Loader, LoaderState, Result, SampleRng};

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
            let (mut come, mut given_up) = batches(&mut epoch, usize::MAX);
            // A machine that is busy may have kept others from coming in time.
            given_up.retain(|indices| indices.contains(&STUCK));
            assert_eq!(given_up, [[8, 9, 10, 11]]);
            come.sort();
            let expected: Vec<Vec<i64>> =
                (0..LEN as i64).collect::<Vec<_>>().chunks(BATCH).map(<[i64]>::to_vec).filter(|b| b[0] != 8).collect();
            assert_eq!(come, expected, "in_order({in_order}), {num_workers} workers");
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
    assert_eq!((come.len(), given_up.len()), (4, 1));
    let state: LoaderState = epoch.state().to_string().parse().unwrap();
    gate.open();
    let second = loader(&gate, true, 2);
    let rest: Vec<Vec<i64>> = second.resume(&state).unwrap().map(|batch| batch.unwrap().to_vec()).collect();
    assert_eq!(rest.concat(), (20..LEN as i64).collect::<Vec<_>>());
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
