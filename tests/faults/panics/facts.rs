//! In what a dataset says of itself, its paths and its fingerprint; and before there is anything to load.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use sutler::{Dataset, Error, ErrorKind, Loader, Order, Result, SampleRng, Sampler};

use super::{BAD, BATCH, LEN, Sound, Trap, WAYS, others_go_on, pool, settings, to_vec};
use crate::data::numbers;
use crate::eventually;
use crate::gate::Gate;
use crate::process::{Footprint, alone};

/// Samples whose path panics, and of which the bad one fails.
struct Pathless(Trap);

impl Dataset for Pathless {
    type Sample = i64;

    fn len(&self) -> usize {
        LEN
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        match index {
            BAD => Err(Error::msg("no good")),
            _ => Ok(index as i64),
        }
    }

    fn path(&self, _: usize) -> Option<PathBuf> {
        self.0.spring("in path");
        Some("/data".into())
    }
}

#[test]
fn in_a_path_it_costs_the_path_and_the_error_says_the_rest() {
    for (num_workers, chunk) in WAYS {
        let (pool, trap) = (pool(num_workers), Trap::default());
        let loader = settings(&pool).apply(Loader::builder(Pathless(trap.clone()))).chunk_size(chunk).build().unwrap();
        for (is_set, text) in [(true, "sample 13: no good"), (false, "sample 13 (/data): no good")] {
            if is_set {
                trap.set();
            }
            let mut failed = Vec::new();
            let epoch = loader.epoch();
            for (result, expected) in epoch.zip(numbers(LEN, BATCH)) {
                match result {
                    Ok(batch) => assert_eq!(*batch, *expected),
                    Err(error) => failed.push(error),
                }
            }
            let [error] = &failed[..] else { panic!("{failed:?}") };
            assert_eq!((error.to_string(), error.index()), (text.into(), Some(BAD)));
            assert_eq!((error.kind(), error.worker().is_some()), (ErrorKind::Other, num_workers > 0));
            assert_eq!(loader.stats().buffers_live, 0);
        }
        others_go_on(&pool);
    }
}

#[test]
fn in_a_path_it_costs_the_path_of_a_sample_that_is_stuck() {
    let (trap, gate) = (Trap::default(), Gate::default());
    let held = gate.clone();
    let dataset = Pathless(trap.clone()).map(move |number: i64, _: &mut SampleRng| {
        if number == 2 {
            held.pass();
        }
        Ok(number)
    });
    let builder = Loader::builder(dataset).batch_size(BATCH).num_workers(1).timeout(Duration::from_millis(20));
    let loader = builder.build().unwrap();
    let mut epoch = loader.epoch();
    assert!(eventually(|| gate.waiting() == 1));
    for text in ["Being loaded: sample 2 for ", "Being loaded: sample 2 (/data) for "] {
        if !text.contains("data") {
            trap.set();
        }
        let error = epoch.next().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains(text)), (ErrorKind::Timeout, true), "{error}");
    }
    gate.open();
    let rest = epoch.filter_map(|batch| batch.ok().map(to_vec)).collect::<Vec<_>>();
    assert_eq!((rest.len(), &rest[0]), (9, &numbers(LEN, BATCH)[0]));
}

/// Sound samples whose fingerprint panics.
struct Faceless(Trap);

impl Dataset for Faceless {
    type Sample = i64;

    fn len(&self) -> usize {
        LEN
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        Ok(index as i64)
    }

    fn fingerprint(&self) -> u64 {
        self.0.spring("in a fingerprint");
        7
    }
}

#[test]
fn in_a_fingerprint_it_costs_the_state_and_no_batch_and_the_next_state_is_right() {
    for (num_workers, chunk) in WAYS {
        let (pool, trap) = (pool(num_workers), Trap::default());
        let loader = settings(&pool).apply(Loader::builder(Faceless(trap.clone()))).chunk_size(chunk).build().unwrap();
        let mut epoch = loader.epoch();
        let mut batches = Vec::new();
        for number in 0..10 {
            batches.push(to_vec(epoch.next().unwrap().unwrap()));
            if number == 0 {
                trap.set();
                let panic = catch_unwind(AssertUnwindSafe(|| epoch.state())).unwrap_err();
                assert_eq!(panic.downcast_ref::<String>().unwrap(), "in a fingerprint");
            }
            assert_eq!(epoch.state().position(), BATCH * (number + 1));
        }
        assert_eq!(batches, numbers(LEN, BATCH));
        let state = loader.state().unwrap();
        assert_eq!(loader.resume(&state).unwrap().map(|batch| to_vec(batch.unwrap())).collect::<Vec<_>>(), batches);
        assert_eq!(loader.stats().buffers_live, 0);
        others_go_on(&pool);
    }
}

#[test]
fn in_worker_init_fn_it_is_the_error_of_build_with_the_worker_and_no_thread_stays() {
    alone(|| {
        let before = Footprint::now();
        for num_workers in [1, 2, 16] {
            for bad in [0, num_workers - 1] {
                let builder = Loader::builder(Sound).num_workers(num_workers);
                let init = move |worker| if worker == bad { panic!("no core for it") } else { Ok(()) };
                let error = builder.worker_init_fn(init).build().map(drop).unwrap_err();
                assert_eq!(error.to_string(), "worker_init_fn panicked: no core for it");
                assert_eq!((error.kind(), error.worker()), (ErrorKind::Panic, Some(bad)));
                assert!(eventually(|| Footprint::now() == before), "{:?} after {before:?}", Footprint::now());
            }
        }
    });
}

/// An order without a name.
struct Nameless(Trap);

impl Sampler for Nameless {
    fn order(&self, _: u64, len: usize) -> Result<Order> {
        Ok(Order::sequential(len))
    }

    fn name(&self) -> String {
        self.0.spring("in a name");
        "Nameless".into()
    }
}

#[test]
fn in_a_fingerprint_or_a_name_it_is_the_error_of_a_state_and_of_a_resume() {
    let says = |result: Result<()>, place: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panic);
        assert!(error.to_string().contains(place), "{error}");
    };
    let trap = Trap::default();
    let faceless = || Loader::builder(Faceless(trap.clone())).seed(0).build().unwrap();
    let state = faceless().state().unwrap();
    trap.set();
    says(faceless().state().map(drop), "in a fingerprint");
    trap.set();
    says(faceless().resume(&state).map(drop), "in a fingerprint");

    let nameless = Loader::builder(Sound).sampler(Nameless(trap.clone())).seed(0).build().unwrap();
    let state = nameless.state().unwrap();
    trap.set();
    says(nameless.state().map(drop), "in a name");
    trap.set();
    says(nameless.resume(&state).map(drop), "in a name");
}
