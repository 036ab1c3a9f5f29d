//! Stop anywhere, go on anywhere: the rest of an epoch is what the uninterrupted run would have had, on any number of
//! ranks, and every sample comes exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use proptest::prelude::*;
use sutler::{
    BatchSampler, Batches, BucketBatchSampler, Dataset, Distributed, ErrorKind, Generator, HostTensor, InMemory,
    KeyedSampler, Ledger, Loader, LoaderBuilder, LoaderState, RandomSampler, Result, SampleRng, Sampler,
    SubsetRandomSampler, WeightedRandomSampler,
};

/// Samples that say which they are and draw random numbers; loads are counted.
#[derive(Clone)]
struct Augmented {
    len: usize,
    loads: Arc<AtomicUsize>,
}

impl Augmented {
    fn new(len: usize) -> Self {
        Augmented { len, loads: Arc::default() }
    }
}

impl Dataset for Augmented {
    type Sample = (i64, [u64; 2]);

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<Self::Sample> {
        self.loads.fetch_add(1, SeqCst);
        Ok((index as i64, [rng.next_u64(), rng.next_u64()]))
    }
}

type Batch = (Vec<i64>, Vec<u64>);

fn plain((indices, draws): (HostTensor<i64>, HostTensor<u64>)) -> Batch {
    (indices.to_vec(), draws.to_vec())
}

type Make = Box<dyn Fn() -> LoaderBuilder<Augmented>>;

/// A loader for each way to order samples.
fn orders(len: usize) -> Vec<(&'static str, Make)> {
    let builder = move || Loader::builder(Augmented::new(len)).seed(11);
    let generator = || Generator::manual_seed(5);
    let lengths: Vec<usize> = (0..len).map(|i| 1 + i * 7 % 50).collect();
    let weights: Vec<f64> = (0..len).map(|i| 1.0 + (i % 4) as f64).collect();
    vec![
        ("sequential", Box::new(move || builder().batch_size(4))),
        ("shuffled", Box::new(move || builder().batch_size(4).shuffle(true))),
        ("shuffled, last dropped", Box::new(move || builder().batch_size(4).shuffle(true).drop_last(true))),
        ("generator", Box::new(move || builder().generator(generator()).batch_size(4).shuffle(true))),
        ("global", Box::new(move || builder().global_seed(3).batch_size(4).shuffle(true))),
        (
            "more",
            Box::new(move || builder().batch_size(4).sampler(RandomSampler::new(generator()).num_samples(2 * len + 1))),
        ),
        (
            "replacement",
            Box::new(move || builder().batch_size(4).sampler(RandomSampler::new(generator()).replacement(true))),
        ),
        (
            "weighted",
            Box::new(move || {
                let sampler = WeightedRandomSampler::new(weights.clone(), len + 3, generator()).unwrap();
                builder().batch_size(4).sampler(sampler)
            }),
        ),
        (
            "subset",
            Box::new(move || {
                let indices: Vec<usize> = (0..len).step_by(2).collect();
                builder().batch_size(4).sampler(SubsetRandomSampler::new(indices, generator()))
            }),
        ),
        ("keyed", Box::new(move || builder().batch_size(4).sampler(KeyedSampler::new(9)))),
        (
            "buckets",
            Box::new(move || {
                builder().batch_sampler(BucketBatchSampler::new(&lengths[..], 4).unwrap().pool_batches(3))
            }),
        ),
        (
            "weighted, rank 2 of 3",
            Box::new(move || {
                let weights: Vec<f64> = (0..len).map(|i| 1.0 + (i % 3) as f64).collect();
                let sampler = WeightedRandomSampler::new(weights, 2 * len, generator()).unwrap();
                builder().batch_size(4).sampler(sampler).distributed(Distributed::new(2, 3).unwrap())
            }),
        ),
        (
            "subset, rank 0 of 2",
            Box::new(move || {
                let indices: Vec<usize> = (0..len).step_by(3).collect();
                let sampler = SubsetRandomSampler::new(indices, generator());
                builder().batch_size(4).sampler(sampler).distributed(Distributed::new(0, 2).unwrap())
            }),
        ),
        (
            "more, rank 3 of 4",
            Box::new(move || {
                let sampler = RandomSampler::new(generator()).num_samples(2 * len + 1);
                builder().batch_size(4).sampler(sampler).distributed(Distributed::new(3, 4).unwrap())
            }),
        ),
        (
            "rank 1 of 3",
            Box::new(move || builder().batch_size(4).shuffle(true).distributed(Distributed::new(1, 3).unwrap())),
        ),
        (
            "rank 1 of 3, dropping",
            Box::new(move || {
                let ranks = Distributed::new(1, 3).unwrap().drop_last(true);
                builder().batch_size(4).shuffle(true).distributed(ranks)
            }),
        ),
    ]
}

#[test]
fn after_any_number_of_batches_the_rest_is_that_of_the_uninterrupted_run() {
    for (name, order) in orders(37) {
        for num_workers in [0, 3] {
            let loader = || order().num_workers(num_workers).build().unwrap();
            let whole = loader();
            let epochs: Vec<Vec<Batch>> =
                (0..3).map(|_| whole.epoch().map(|batch| plain(batch.unwrap())).collect()).collect();
            let batches = &epochs[1];
            for stop in 0..=batches.len() {
                let before = loader();
                let mut epoch = before.epoch_at(1);
                let had: Vec<Batch> = epoch.by_ref().take(stop).map(|batch| plain(batch.unwrap())).collect();
                assert_eq!(had, batches[..stop], "{name}");
                let state: LoaderState = epoch.state().to_string().parse().unwrap();
                assert_eq!(state, epoch.state());

                let after = loader();
                let mut rest = after.resume(&state).unwrap();
                assert_eq!(rest.len(), batches.len() - stop, "{name}");
                assert_eq!(rest.state(), state, "a state brings itself back");
                // Another one of the rest, and a resume of the resume.
                let more = usize::from(stop < batches.len());
                let first: Vec<Batch> = rest.by_ref().take(more).map(|batch| plain(batch.unwrap())).collect();
                let again = loader();
                let last: Vec<Batch> =
                    again.resume(&rest.state()).unwrap().map(|batch| plain(batch.unwrap())).collect();
                assert_eq!([first, last].concat(), batches[stop..], "{name} after {stop}");
                // The next epoch is the next one.
                let next: Vec<Batch> = again.epoch().map(|batch| plain(batch.unwrap())).collect();
                assert_eq!(next, epochs[2], "{name}");
            }
        }
    }
}

#[test]
fn resuming_loads_nothing_of_what_was_had() {
    for num_workers in [0, 2] {
        let dataset = Augmented::new(1000);
        let loader =
            Loader::builder(dataset.clone()).batch_size(10).shuffle(true).seed(1).num_workers(num_workers).build();
        let loader = loader.unwrap();
        let mut epoch = loader.epoch();
        epoch.by_ref().take(70).for_each(|batch| drop(batch.unwrap()));
        let state = epoch.state();
        drop(epoch);
        let fresh = Augmented::new(1000);
        let resumed =
            Loader::builder(fresh.clone()).batch_size(10).shuffle(true).seed(1).num_workers(num_workers).build();
        let resumed = resumed.unwrap();
        let rest: usize = resumed.resume(&state).unwrap().map(|batch| batch.unwrap().0.len()).sum();
        assert_eq!((rest, fresh.loads.load(SeqCst)), (300, 300));
    }
}

#[test]
fn a_state_counts_what_was_delivered_and_not_what_is_ahead() {
    let loader = Loader::builder(Augmented::new(100)).batch_size(5).num_workers(2).prefetch_batches(8).seed(0).build();
    let loader = loader.unwrap();
    let mut epoch = loader.epoch();
    for delivered in 0..20 {
        assert_eq!(epoch.state().position(), 5 * delivered);
        epoch.next().unwrap().unwrap();
    }
    assert_eq!(epoch.state().position(), 100);
    assert!(epoch.next().is_none());
    assert_eq!(epoch.state().position(), 100);
    let next = loader.state().unwrap();
    assert_eq!((next.epoch(), next.position(), next.seed()), (1, 0, 0));
}

#[test]
fn a_batch_that_failed_counts_as_had() {
    struct OneBad;
    impl Dataset for OneBad {
        type Sample = i64;
        fn len(&self) -> usize {
            9
        }
        fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<i64> {
            if index == 4 { Err(sutler::Error::msg("bad")) } else { Ok(index as i64) }
        }
    }
    let loader = || Loader::builder(OneBad).batch_size(3).seed(0).build().unwrap();
    let before = loader();
    let mut epoch = before.epoch();
    epoch.next().unwrap().unwrap();
    assert!(epoch.next().unwrap().is_err());
    let after = loader();
    let rest: Vec<Vec<i64>> = after.resume(&epoch.state()).unwrap().map(|batch| batch.unwrap().to_vec()).collect();
    assert_eq!(rest, [[6, 7, 8]]);
}

#[test]
fn out_of_order_what_was_had_is_left_out_wherever_it_stood() {
    /// Whose first samples are held back until a later batch has been delivered.
    struct Held(Arc<AtomicUsize>);
    impl Dataset for Held {
        type Sample = i64;
        fn len(&self) -> usize {
            40
        }
        fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<i64> {
            while (4..8).contains(&index) && self.0.load(SeqCst) == 0 {
                std::thread::yield_now();
            }
            Ok(index as i64)
        }
    }
    let build = |open: usize, batch_size: usize| {
        let gate = Arc::new(AtomicUsize::new(open));
        let loader = Loader::builder(Held(Arc::clone(&gate))).batch_size(batch_size).seed(0).in_order(false);
        (loader.num_workers(2).prefetch_batches(3).chunk_size(4).build().unwrap(), gate)
    };
    let (loader, gate) = build(0, 4);
    let mut epoch = loader.epoch();
    let mut had: Vec<i64> = epoch.by_ref().take(5).flat_map(|batch| batch.unwrap().to_vec()).collect();
    assert!(!had.contains(&4), "batch 1 is held back");
    let state = epoch.state();
    gate.store(1, SeqCst);
    assert_eq!(state.position(), 4);

    let (resumed, _) = build(1, 4);
    let mut rest = resumed.resume(&state.to_string().parse().unwrap()).unwrap();
    assert_eq!(rest.len(), 5);
    // And once more in the middle of the rest.
    had.extend(rest.by_ref().take(2).flat_map(|batch| batch.unwrap().to_vec()));
    let (again, _) = build(1, 4);
    had.extend(again.resume(&rest.state()).unwrap().flat_map(|batch| batch.unwrap().to_vec()));
    had.sort_unstable();
    assert_eq!(had, (0..40).collect::<Vec<i64>>());

    // Numbers of batches mean nothing to batches of another size.
    let error = build(1, 5).0.resume(&state).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the state does not fit this loader: it was taken with in_order(false), where it counts the batches of one rank: \
         of 4 samples on rank 0 of 1; here they are of 5 samples on rank 0 of 1. Take it with in_order(true), or at the end \
         of an epoch"
    );
}

#[test]
fn a_state_of_something_else_is_refused_with_the_difference_named() {
    /// Samples that come from files.
    struct Files(&'static str, usize);
    impl Dataset for Files {
        type Sample = i64;
        fn len(&self) -> usize {
            self.1
        }
        fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<i64> {
            Ok(index as i64)
        }
        fn path(&self, index: usize) -> Option<std::path::PathBuf> {
            Some(format!("/anywhere/{}/{index}.jpg", self.0).into())
        }
    }
    let builder = |data: Files| Loader::builder(data).batch_size(4);
    let base = || builder(Files("train", 20)).shuffle(true).seed(1);
    let loader = base().build().unwrap();
    let mut epoch = loader.epoch();
    epoch.next();
    let state = epoch.state();
    base().num_workers(2).batch_size(7).build().unwrap().resume(&state).unwrap();

    let sampler = |seed| RandomSampler::new(Generator::manual_seed(seed));
    let refused = |builder: LoaderBuilder<Files>, state: &LoaderState| {
        let error = builder.build().unwrap().resume(state).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        error.to_string().strip_prefix("the state does not fit this loader: ").unwrap().to_string()
    };
    assert_eq!(
        refused(builder(Files("train", 21)).shuffle(true).seed(1), &state),
        "it is of a dataset of 20 samples, and this one has 21"
    );
    assert!(
        refused(builder(Files("val", 20)).shuffle(true).seed(1), &state)
            .starts_with("it is of another dataset, also of 20 samples (fingerprint ")
    );
    assert_eq!(refused(base().seed(2), &state), "its seed is 1, the loader's 2: build it with that seed");
    assert_eq!(
        refused(base().shuffle(false), &state),
        "its order is of a RandomSampler, the loader's of a SequentialSampler"
    );
    assert_eq!(
        refused(base().shuffle(false).sampler(sampler(1)), &state),
        "the RandomSampler gives another order for epoch 0: its own settings or its generator differ"
    );
    assert_eq!(
        refused(base().shuffle(false).sampler(sampler(1).num_samples(30)), &state),
        "its epoch has 20 samples, the loader's epoch 0 has 30"
    );
    assert_eq!(
        refused(base().distributed(Distributed::new(0, 2).unwrap()), &state),
        "its order is of a RandomSampler, the loader's of a DistributedSampler"
    );
}

#[test]
fn a_state_that_is_damaged_but_readable_is_refused() {
    let build =
        |batch_size| Loader::builder(Augmented::new(37)).batch_size(batch_size).shuffle(true).seed(1).build().unwrap();
    let loader = build(4);
    let text = loader.epoch_at(2).state().to_string();
    let damaged = |from: &str, to: &str| {
        let damaged = text.replace(from, to);
        assert_ne!(damaged, text);
        damaged.parse::<LoaderState>().and_then(|state| build(4).resume(&state).map(|epoch| epoch.count()))
    };
    for (from, to) in [
        ("epoch=2", "epoch=18446744073709551615"),
        ("epoch=2", "epoch=3"),
        ("sampler=", "had=10@4/0/1/keep sampler="),
        ("sampler=", "had=18446744073709551615@4/0/1/keep sampler="),
        ("sampler=", "had=1@4/0/1/drop sampler="),
        ("position=0 of=37", "position=37 of=37 had=1@4/0/1/keep"),
        ("position=0", "position=38"),
        ("of=37", "of=38"),
    ] {
        assert!(damaged(from, to).is_err(), "{from} -> {to}");
    }
    // What is left may all have been had but for the first.
    assert_eq!(damaged("sampler=", "had=1,2,3,4,5,6,7,8,9@4/0/1/keep sampler=").unwrap(), 1);
    assert_eq!(damaged("position=0", "position=37").unwrap(), 0);
}

#[test]
fn out_of_order_a_rank_goes_on_with_its_own_state_only() {
    let build = |rank| {
        let builder = Loader::builder(Augmented::new(40)).batch_size(4).seed(0).num_workers(2).in_order(false);
        builder.distributed(Distributed::new(rank, 2).unwrap()).build().unwrap()
    };
    let loader = build(0);
    let mut epoch = loader.epoch();
    epoch.next().unwrap().unwrap();
    let state: LoaderState = epoch.state().to_string().parse().unwrap();
    let error = build(1).resume(&state).unwrap_err().to_string();
    assert!(error.contains("of 4 samples on rank 0 of 2; here they are of 4 samples on rank 1 of 2"), "{error}");
    assert_eq!(build(0).resume(&state).unwrap().count(), 4);
}

#[test]
fn an_order_that_panics_is_an_error_and_not_a_hang() {
    struct Broken;
    impl Sampler for Broken {
        fn order(&self, _epoch: u64, len: usize) -> Result<sutler::Order> {
            Ok(sutler::Order::from_fn(len, |place| if place == 5 { panic!("no order") } else { place }))
        }
    }
    for (num_workers, chunk) in [(0, 4), (2, 1), (2, 4)] {
        let builder = Loader::builder(Augmented::new(12)).batch_size(4).sampler(Broken).seed(0);
        let loader = builder.num_workers(num_workers).chunk_size(chunk).build().unwrap();
        let results: Vec<bool> = loader.epoch().map(|batch| batch.is_ok()).collect();
        assert_eq!(results, [true, false, true], "{num_workers} workers");
    }
}

#[test]
fn what_is_absurdly_large_is_an_error_or_works() {
    let one_batch = Loader::builder((0..5).collect::<InMemory<i64>>()).batch_size(usize::MAX).build().unwrap();
    assert_eq!(*one_batch.epoch().next().unwrap().unwrap(), [0, 1, 2, 3, 4]);
    let sampler = || RandomSampler::new(Generator::manual_seed(0)).num_samples(1 << 62);
    for sampler in [sampler(), sampler().replacement(true)] {
        let loader = Loader::builder((0..5).collect::<InMemory<i64>>()).sampler(sampler).build().unwrap();
        assert_eq!(loader.epoch().next().unwrap().unwrap_err().kind(), ErrorKind::Limit);
    }
    let far_ahead = Loader::builder(Augmented::new(100)).sampler(KeyedSampler::new(0)).num_workers(2);
    let far_ahead = far_ahead.prefetch_batches(usize::MAX).build().unwrap();
    assert_eq!(far_ahead.epoch().count(), 100);
    let order = sutler::Order::from_fn(usize::MAX, |place| place);
    assert_eq!(order.get(usize::MAX - 1), usize::MAX - 1);
    assert_eq!(order.shard(&Distributed::new(0, 2).unwrap()).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn a_loader_inside_a_dataset_on_the_same_pool_does_not_wait_for_itself() {
    /// Yields to the pool while it draws, as one that sorts in parallel does.
    struct Yielding;
    impl Sampler for Yielding {
        fn order(&self, _epoch: u64, len: usize) -> Result<sutler::Order> {
            for _ in 0..100 {
                let _ = rayon::yield_now();
            }
            Ok(sutler::Order::sequential(len))
        }
    }
    struct Nested(Loader<InMemory<i64>>);
    impl Dataset for Nested {
        type Sample = i64;
        fn len(&self) -> usize {
            200
        }
        fn get(&self, _index: usize, _rng: &mut SampleRng) -> Result<i64> {
            self.0.epoch().map(|batch| Ok(batch?.iter().sum::<i64>())).sum()
        }
    }
    for num_workers in [1, 2] {
        let pool = sutler::WorkerPool::new(num_workers).unwrap();
        let inner = Loader::builder((0..10).collect::<InMemory<i64>>()).batch_size(3).sampler(Yielding).pool(&pool);
        let outer = Loader::builder(Nested(inner.build().unwrap())).batch_size(4).pool(&pool).build().unwrap();
        let sums: Vec<i64> = outer.epoch().flat_map(|batch| batch.unwrap().to_vec()).collect();
        assert_eq!(sums, [45; 200]);
    }
}

// ---- elasticity ----

/// Runs an epoch over phases of (ranks, batch size, batches to take), the last one to its end; gives what every rank of every
/// phase had, padding left out, and how much padding there was.
fn run(
    len: usize,
    make: &dyn Fn() -> LoaderBuilder<InMemory<i64>>,
    phases: &[(usize, usize, usize)],
) -> (Vec<usize>, usize) {
    let (mut seen, mut padding) = (Vec::new(), 0);
    let mut state: Option<LoaderState> = None;
    for (number, &(world, batch_size, batches)) in phases.iter().enumerate() {
        let batches = if number + 1 == phases.len() { usize::MAX } else { batches };
        let mut states = Vec::new();
        let mut ledgers = Vec::new();
        for rank in 0..world {
            let loader =
                make().batch_size(batch_size).distributed(Distributed::new(rank, world).unwrap()).build().unwrap();
            let mut epoch = match &state {
                Some(state) => loader.resume(state).unwrap(),
                None => loader.epoch(),
            };
            let mut ledger = Ledger::default();
            for _ in 0..batches {
                let Some(batch) = epoch.next() else { break };
                let batch: Vec<usize> = batch.unwrap().iter().map(|&index| index as usize).collect();
                assert_eq!(epoch.indices().collect::<Vec<_>>(), batch);
                let real = batch.len() - epoch.padding();
                padding += epoch.padding();
                ledger.extend(batch[..real].iter().copied());
                seen.extend_from_slice(&batch[..real]);
            }
            states.push(epoch.state());
            ledgers.push(ledger);
        }
        assert!(states.iter().all(|other| *other == states[0]), "every rank's state is the state of all");
        if state.is_none() && phases.len() == 1 {
            ledgers.into_iter().sum::<Ledger>().verify(len).unwrap();
        }
        state = Some(states[0].to_string().parse().unwrap());
    }
    (seen, padding)
}

#[test]
fn ranks_may_come_and_go_in_the_middle_of_an_epoch() {
    for shuffle in [false, true] {
        let make = move || Loader::builder((0..1003).collect::<InMemory<i64>>()).shuffle(shuffle).seed(3);
        let phases = [(1, 16, 5), (2, 10, 3), (3, 7, 6), (8, 4, 4), (1, 32, 0)];
        let (mut seen, padding) = run(1003, &make, &phases);
        seen.sort_unstable();
        assert_eq!((seen, padding), ((0..1003).collect(), 0));
        let (seen, padding) = run(1003, &make, &[(1, 16, 5), (8, 4, 0)]);
        assert_eq!((seen.len(), padding), (1003, 5), "(1003 - 80) mod 8 is 3, so 5 are there twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sample_comes_exactly_once_over_any_stops_and_ranks(
        len in 1_usize..400,
        seed in 0_u64..1000,
        kind in 0_usize..3,
        phases in prop::collection::vec((1_usize..9, 1_usize..20, 0_usize..6), 1..6),
    ) {
        let make = || {
            let builder = Loader::builder((0..len as i64).collect::<InMemory<i64>>()).seed(seed);
            match kind {
                0 => builder,
                1 => builder.shuffle(true),
                _ => builder.sampler(KeyedSampler::new(seed)),
            }
        };
        let (mut seen, padding) = run(len, &make, &phases);
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..len).collect::<Vec<_>>());
        // At most one batch a phase can be cut short by the end of the data, and its padding is less than the ranks.
        prop_assert!(padding < phases.iter().map(|(world, ..)| world).max().copied().unwrap());
    }

    #[test]
    fn where_ranks_drop_what_does_not_go_round_nothing_comes_twice(
        len in 1_usize..300,
        loader_drops: bool,
        phases in prop::collection::vec((1_usize..9, 1_usize..20, 0_usize..6), 1..5),
    ) {
        let (mut seen, mut state) = (Vec::new(), None::<LoaderState>);
        let mut dropped = 0;
        for (number, &(world, batch_size, batches)) in phases.iter().enumerate() {
            let batches = if number + 1 == phases.len() { usize::MAX } else { batches };
            let mut reached = None;
            for rank in 0..world {
                let ranks = Distributed::new(rank, world).unwrap().drop_last(true);
                let builder = Loader::builder((0..len as i64).collect::<InMemory<i64>>()).shuffle(true).seed(2);
                let loader = builder.batch_size(batch_size).drop_last(loader_drops).distributed(ranks).build().unwrap();
                let mut epoch = match &state {
                    Some(state) => loader.resume(state).unwrap(),
                    None => loader.epoch(),
                };
                for batch in epoch.by_ref().take(batches) {
                    seen.extend(batch.unwrap().to_vec());
                }
                prop_assert_eq!(epoch.padding(), 0);
                reached = Some(epoch.state());
            }
            dropped += if loader_drops { world * batch_size } else { world };
            state = reached;
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        prop_assert_eq!(seen.len(), count);
        prop_assert!(count + dropped > len, "{} of {}", count, len);
    }

    #[test]
    fn batches_of_a_batch_sampler_are_dealt_out_exactly_once(
        len in 1_usize..300,
        batch_size in 1_usize..10,
        worlds in prop::collection::vec((1_usize..6, 0_usize..6), 1..5),
    ) {
        let lengths: Vec<usize> = (0..len).map(|i| 1 + i * 13 % 40).collect();
        let (mut seen, mut state) = (Vec::new(), None::<LoaderState>);
        for (number, &(world, batches)) in worlds.iter().enumerate() {
            let batches = if number + 1 == worlds.len() { usize::MAX } else { batches };
            let mut reached = None;
            for rank in 0..world {
                let sampler = BucketBatchSampler::new(&lengths[..], batch_size).unwrap().pool_batches(4);
                let loader = Loader::builder((0..len as i64).collect::<InMemory<i64>>())
                    .batch_sampler(sampler)
                    .distributed(Distributed::new(rank, world).unwrap())
                    .build()
                    .unwrap();
                let mut epoch = match &state {
                    Some(state) => loader.resume(state).unwrap(),
                    None => loader.epoch(),
                };
                for _ in 0..batches {
                    let Some(batch) = epoch.next() else { break };
                    prop_assert!(batch.is_ok());
                    if epoch.padding() == 0 {
                        seen.extend(epoch.indices());
                    }
                }
                reached = Some(epoch.state());
            }
            state = reached;
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..len).collect::<Vec<_>>());
    }

    #[test]
    fn a_rank_has_what_dealing_out_the_whole_by_hand_gives(
        len in 1_usize..200,
        world in 1_usize..10,
        drop_last: bool,
        seed: u64,
    ) {
        let whole: Vec<usize> = KeyedSampler::new(seed).order(0, len).unwrap().iter().collect();
        let ranks = |rank| Distributed::new(rank, world).unwrap().drop_last(drop_last);
        // As `DistributedSampler` in torch/utils/data/distributed.py does it, with lists.
        let total = if drop_last { len / world * world } else { len.div_ceil(world) * world };
        let padded: Vec<usize> = whole.iter().cycle().take(total).copied().collect();
        for rank in 0..world {
            let order = KeyedSampler::new(seed).order(0, len).unwrap().shard(&ranks(rank)).unwrap();
            let expected: Vec<usize> = padded.iter().skip(rank).step_by(world).copied().collect();
            prop_assert_eq!(order.iter().collect::<Vec<_>>(), expected);
        }
    }
}

// ---- a thousand ranks ----

#[test]
fn a_thousand_ranks_over_a_billion_samples_take_no_memory_and_overlap_nowhere() {
    const LEN: usize = 1_000_000_000;
    const WORLD: usize = 1024;
    let order =
        |rank| KeyedSampler::new(1).order(3, LEN).unwrap().shard(&Distributed::new(rank, WORLD).unwrap()).unwrap();
    let orders: Vec<_> = (0..WORLD).map(order).collect();
    assert!(orders.iter().all(|order| order.len() == LEN.div_ceil(WORLD)));
    // The ranks' k-th samples, for some k, are all different ones.
    let mut seen = Vec::new();
    for k in [0, 1, 1000, 500_000, 976_561] {
        seen.extend(orders.iter().map(|order| order.get(k)));
    }
    assert!(seen.iter().all(|&index| index < LEN));
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn a_loader_over_ten_billion_samples_starts_and_resumes_at_once() {
    struct Endless;
    impl Dataset for Endless {
        type Sample = u64;
        fn len(&self) -> usize {
            10_000_000_000
        }
        fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<u64> {
            Ok(index as u64)
        }
    }
    let loader = || {
        Loader::builder(Endless).batch_size(100).seed(0).sampler(KeyedSampler::new(0)).num_workers(2).build().unwrap()
    };
    let first = loader();
    let mut epoch = first.epoch();
    assert_eq!(epoch.len(), 100_000_000);
    let batches: Vec<Vec<u64>> = epoch.by_ref().take(3).map(|batch| batch.unwrap().to_vec()).collect();
    let text = epoch.state().to_string().replace("position=300", "position=9999999900");
    let second = loader();
    let last: Vec<Vec<u64>> =
        second.resume(&text.parse().unwrap()).unwrap().map(|batch| batch.unwrap().to_vec()).collect();
    assert_eq!(last.len(), 1);
    let order = KeyedSampler::new(0).order(0, 10_000_000_000).unwrap();
    assert_eq!(last[0], (9_999_999_900..10_000_000_000).map(|k| order.get(k) as u64).collect::<Vec<_>>());
    assert_eq!(batches[2], (200..300).map(|k| order.get(k) as u64).collect::<Vec<_>>());
}

#[test]
fn a_user_batch_sampler_is_resumed_and_shared_like_any_other() {
    struct Growing;
    impl BatchSampler for Growing {
        fn batches(&self, epoch: u64, len: usize) -> Result<Batches> {
            let mut order: Vec<usize> = (0..len).collect();
            order.rotate_left(epoch as usize % len);
            let (mut batches, mut size) = (Vec::new(), 1);
            while !order.is_empty() {
                let rest = order.split_off(size.min(order.len()));
                batches.push(std::mem::replace(&mut order, rest));
                size += 1;
            }
            Ok(batches.into_iter().collect())
        }
    }
    let loader = |rank, world| {
        let builder = Loader::builder((0..10).collect::<InMemory<i64>>()).batch_sampler(Growing).num_workers(2);
        builder.distributed(Distributed::new(rank, world).unwrap()).build().unwrap()
    };
    let all = |loader: &Loader<InMemory<i64>>| -> Vec<Vec<i64>> {
        loader.epoch_at(1).map(|batch| batch.unwrap().to_vec()).collect()
    };
    assert_eq!(all(&loader(0, 1)), [vec![1], vec![2, 3], vec![4, 5, 6], vec![7, 8, 9, 0]]);
    assert_eq!(all(&loader(1, 3)), [vec![2, 3], vec![1]]);
    let one = loader(0, 1);
    let mut epoch = one.epoch_at(1);
    epoch.next();
    let second_of_two = loader(1, 2);
    let rest = second_of_two.resume(&epoch.state()).unwrap().masked();
    let rest: Vec<(Vec<i64>, Vec<bool>)> =
        rest.map(|batch| batch.map(|(batch, mask)| (batch.to_vec(), mask.to_vec())).unwrap()).collect();
    assert_eq!(rest, [(vec![4, 5, 6], vec![true; 3]), (vec![1], vec![false])]);
    assert_eq!(one.state().unwrap().position(), 0);
}

#[cfg(feature = "serde")]
#[test]
fn with_serde_a_state_is_its_text() {
    let loader = Loader::builder(Augmented::new(10)).batch_size(4).seed(2).build().unwrap();
    let mut epoch = loader.epoch();
    epoch.next().unwrap().unwrap();
    let json = serde_json::to_string(&epoch.state()).unwrap();
    assert_eq!(json, format!("\"{}\"", epoch.state()));
    assert_eq!(serde_json::from_str::<LoaderState>(&json).unwrap(), epoch.state());
    // From a reader as well, which cannot lend its text.
    assert_eq!(serde_json::from_reader::<_, LoaderState>(json.as_bytes()).unwrap(), epoch.state());
    let error = serde_json::from_str::<LoaderState>("\"sutler-state-2 seed=1\"").unwrap_err();
    assert!(error.to_string().contains("this version of sutler reads sutler-state-1"), "{error}");
}
