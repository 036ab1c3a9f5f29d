//! In a sampler, a batch sampler, or the function that an order is.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sutler::{BatchSampler, Batches, ErrorKind, Loader, LoaderBuilder, Order, Result, Sampler};

use super::{BAD, BATCH, Blame, LEN, Sound, Trap, WAYS, others_go_on, pool, settings, to_vec};
use crate::data::{Kind, Settings, numbers};

/// Panics in one epoch, if the trap is set.
struct NoOrder {
    trap: Trap,
    epoch: u64,
}

impl Sampler for NoOrder {
    fn order(&self, epoch: u64, len: usize) -> Result<Order> {
        if epoch == self.epoch {
            self.trap.spring("in a sampler");
        }
        Ok(Order::sequential(len))
    }
}

impl BatchSampler for NoOrder {
    fn batches(&self, epoch: u64, len: usize) -> Result<Batches> {
        if epoch == self.epoch {
            self.trap.spring("in a sampler");
        }
        Batches::every(BATCH, Order::sequential(len), false)
    }
}

/// The epoch whose order panics has one item; the others have all. The order of epoch 1 is drawn ahead of time, by a
/// worker.
fn costs_its_epoch(make: impl Fn(LoaderBuilder<Sound>, NoOrder) -> LoaderBuilder<Sound>) {
    for (num_workers, _) in WAYS {
        for epoch in 0..3 {
            let (pool, trap) = (pool(num_workers), Trap::default());
            let settings = Settings { batch_size: 1, ..settings(&pool) };
            let builder = make(settings.apply(Loader::builder(Sound)), NoOrder { trap: trap.clone(), epoch });
            let loader = builder.build().unwrap();
            trap.set();
            for number in 0..4 {
                let mut batches = loader.epoch();
                let len = batches.len();
                let mut results: Vec<_> = batches.by_ref().map(|batch| batch.map(to_vec)).collect();
                assert_eq!((results.len(), batches.state().epoch()), (len, number));
                if number != epoch {
                    let all: Vec<_> = results.into_iter().map(Result::unwrap).collect();
                    assert_eq!(all, numbers(LEN, BATCH));
                    continue;
                }
                let error = results.pop().unwrap().unwrap_err();
                assert_eq!((results.len(), error.kind()), (0, ErrorKind::Panic));
                assert_eq!(error.to_string(), "the sampler panicked: in a sampler");
                assert_eq!(
                    format!("{batches:?}"),
                    format!("Epoch {{ epoch: {number}, batches: 0, delivered: 0, .. }}")
                );
            }
            assert_eq!((loader.stats().batches, loader.stats().errors, loader.stats().buffers_live), (30, 1, 0));
            others_go_on(&pool);
        }
    }
}

#[test]
fn in_a_sampler_it_costs_the_epoch_and_not_the_next() {
    costs_its_epoch(|builder, sampler| builder.batch_size(BATCH).sampler(sampler));
}

#[test]
fn in_a_batch_sampler_it_costs_the_epoch_and_not_the_next() {
    costs_its_epoch(LoaderBuilder::batch_sampler);
}

#[test]
fn in_a_sampler_it_is_an_error_of_a_state_and_of_a_resume_too() {
    let trap = Trap::default();
    let sampler = NoOrder { trap: trap.clone(), epoch: 0 };
    let loader = Loader::builder(Sound).batch_size(BATCH).seed(0).sampler(sampler).build().unwrap();
    let state = Loader::builder(Sound).batch_size(BATCH).seed(0).build().unwrap().state().unwrap();
    for _ in 0..2 {
        trap.set();
        assert_eq!(loader.state().unwrap_err().kind(), ErrorKind::Panic);
        trap.set();
        assert_eq!(loader.resume(&state).map(drop).unwrap_err().kind(), ErrorKind::Panic);
        trap.set();
        assert_eq!((loader.len(), trap.is_set()), (0, false));
    }
    assert_eq!(loader.len(), 10);
    assert_eq!(
        loader.resume(&state).unwrap().map(|batch| to_vec(batch.unwrap())).collect::<Vec<_>>(),
        numbers(LEN, BATCH)
    );
}

/// An order that is a function, which panics at the bad place.
struct Computed(Trap);

impl Sampler for Computed {
    fn order(&self, _: u64, len: usize) -> Result<Order> {
        let trap = self.0.clone();
        Ok(Order::from_fn(len, move |place| {
            if place == BAD {
                trap.spring("in an order");
            }
            place
        }))
    }
}

#[test]
fn in_an_order_it_costs_the_batch_and_names_the_worker() {
    for (num_workers, chunk) in WAYS {
        let (pool, trap) = (pool(num_workers), Trap::default());
        let builder = settings(&pool).apply(Loader::builder(Sound)).chunk_size(chunk);
        let loader = builder.sampler(Computed(trap.clone())).build().unwrap();
        trap.set();
        let mut epoch = loader.epoch();
        for (number, expected) in numbers(LEN, BATCH).into_iter().enumerate() {
            match epoch.next().unwrap() {
                Ok(batch) => assert_eq!(*batch, *expected),
                Err(error) => {
                    assert_eq!(number, BAD / BATCH);
                    // It goes off once, and its place is known when it is asked again.
                    Blame::sample(Kind::Indexed, "loading the sample panicked: in an order")
                        .is_of(&error, trap.worker());
                }
            }
        }
        assert_eq!((loader.stats().errors, loader.stats().buffers_live), (1, 0));
        // What is asked in the consumer's thread panics there, and is asked again.
        trap.set();
        catch_unwind(AssertUnwindSafe(|| epoch.state())).unwrap_err();
        assert_eq!(epoch.state().position(), LEN);
        assert_eq!(loader.epoch().map(|batch| to_vec(batch.unwrap())).collect::<Vec<_>>(), numbers(LEN, BATCH));
        others_go_on(&pool);
    }
}
