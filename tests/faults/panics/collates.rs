//! In a collate, or in a function that is one.

use sutler::{BatchPlan, Collate, ErrorKind, HostTensor, Loader, LoaderBuilder, Result, Shape, Slots};

use super::{BAD, BATCH, Blame, LEN, Sound, Trap, WAYS, costs_its_batch, others_go_on, pool, settings, to_vec};
use crate::data::{Kind, numbers};

/// Stacks numbers, and panics in one place with the bad batch. With whole batches, two of its places are never come to.
pub(super) struct Springing {
    trap: Trap,
    place: &'static str,
}

impl Springing {
    pub(super) fn at(place: &'static str, trap: &Trap) -> Self {
        Springing { trap: trap.clone(), place }
    }

    fn spring(&self, place: &'static str, is_bad: bool) {
        if self.place == place && is_bad {
            self.trap.spring(&format!("in {place}"));
        }
    }
}

/// A part, and whether the bad sample is in it.
pub(super) type SpringingPart = (Slots<i64>, bool);

impl Collate<i64> for Springing {
    type Batch = HostTensor<i64>;
    type Part = SpringingPart;

    fn start(&self, plan: BatchPlan<'_>) -> SpringingPart {
        self.spring("start", true);
        (Slots::new(plan), false)
    }

    fn split_off(&self, part: &mut SpringingPart, at: usize) -> SpringingPart {
        self.spring("split_off", true);
        (part.0.split_off(at), false)
    }

    fn push(&self, part: &mut SpringingPart, sample: i64) -> Result<()> {
        part.0.push(&Shape::SCALAR)?[0] = sample;
        part.1 |= sample == BAD as i64;
        self.spring("push", sample == BAD as i64);
        Ok(())
    }

    fn unite(&self, part: &mut SpringingPart, next: SpringingPart) {
        part.0.unite(next.0);
        part.1 |= next.1;
        self.spring("unite", part.1);
    }

    fn finish(&self, part: SpringingPart) -> Result<HostTensor<i64>> {
        self.spring("finish", part.1);
        Ok(part.0.finish())
    }
}

fn springing(place: &'static str) -> impl Fn(&Trap) -> LoaderBuilder<Sound, Springing> {
    move |trap| Loader::builder(Sound).collate(Springing::at(place, trap))
}

#[test]
fn in_a_push_it_costs_the_batch_and_names_the_sample() {
    costs_its_batch(springing("push"), to_vec, |_| {
        Some(Blame::sample(Kind::Indexed, "putting the sample into the batch panicked: in push"))
    });
}

#[test]
fn in_unite_or_finish_it_costs_the_batch_and_names_all_of_it() {
    costs_its_batch(springing("unite"), to_vec, |chunk| {
        (chunk == 1).then(|| Blame::batch("collating the batch panicked: in unite"))
    });
    costs_its_batch(springing("finish"), to_vec, |_| Some(Blame::batch("collating the batch panicked: in finish")));
}

#[test]
fn where_a_batch_is_begun_it_costs_that_batch() {
    for (num_workers, chunk) in WAYS {
        for place in ["start", "split_off"] {
            if place == "split_off" && (num_workers < 2 || chunk > 1) {
                continue;
            }
            let (pool, trap) = (pool(num_workers), Trap::default());
            let loader = settings(&pool).apply(springing(place)(&trap)).chunk_size(chunk).build().unwrap();
            for _ in 0..3 {
                trap.set();
                let mut failed = 0;
                for (result, expected) in loader.epoch().zip(numbers(LEN, BATCH)) {
                    match result {
                        Ok(batch) => assert_eq!(*batch, *expected),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Panic);
                            assert!(error.to_string().ends_with(&format!("the batch panicked: in {place}")), "{error}");
                            failed += 1;
                        }
                    }
                }
                assert_eq!((failed, loader.stats().buffers_live), (1, 0), "{num_workers} by {chunk}");
            }
            assert_eq!(loader.epoch().map(|batch| to_vec(batch.unwrap())).collect::<Vec<_>>(), numbers(LEN, BATCH));
            others_go_on(&pool);
        }
    }
}

#[test]
fn in_a_collate_function_it_costs_the_batch_and_names_all_of_it() {
    let make = |trap: &Trap| {
        let trap = trap.clone();
        Loader::builder(Sound).collate_fn(move |samples: Vec<i64>| {
            if samples.contains(&(BAD as i64)) {
                trap.spring("in a function");
            }
            Ok(samples)
        })
    };
    costs_its_batch(make, |batch| batch, |_| Some(Blame::batch("collating the batch panicked: in a function")));
}

#[test]
fn where_a_batch_is_begun_the_error_names_that_batch_and_the_worker() {
    for (num_workers, chunk) in WAYS {
        for place in ["start", "split_off"] {
            if place == "split_off" && (num_workers < 2 || chunk > 1) {
                continue;
            }
            let (pool, trap) = (pool(num_workers), Trap::default());
            let loader = settings(&pool).apply(springing(place)(&trap)).chunk_size(chunk).build().unwrap();
            trap.set();
            let mut epoch = loader.epoch();
            let error = epoch.by_ref().find_map(Result::err).unwrap();
            assert_eq!(
                error.batch(),
                epoch.indices().collect::<Vec<_>>(),
                "{place}, {num_workers} by {chunk}: {error}"
            );
            assert_eq!(error.worker(), trap.worker(), "{place}, {num_workers} by {chunk}: {error}");
        }
    }
}
