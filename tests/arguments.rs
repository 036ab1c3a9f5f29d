//! Every argument of `torch.utils.data.DataLoader`: a row in docs/PARITY.md and a test here, whose name begins with the
//! argument's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sutler::{
    Batches, Dataset, Distributed, Error, ErrorKind, Generator, HostTensor, InMemory, Loader, LoaderBuilder,
    RandomSampler, Result, SampleRng, Sampler, SequentialSampler, Stack, SubsetRandomSampler, WorkerPool,
};

/// The signature of `DataLoader.__init__` (torch 2.11), in its order.
const ARGUMENTS: [&str; 17] = [
    "dataset",
    "batch_size",
    "shuffle",
    "sampler",
    "batch_sampler",
    "num_workers",
    "collate_fn",
    "pin_memory",
    "drop_last",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
    "persistent_workers",
    "pin_memory_device",
    "in_order",
];

/// Those that can do nothing here; their rows say why.
const NOTHING_TO_TEST: [&str; 2] = ["multiprocessing_context", "pin_memory_device"];

#[test]
fn every_argument_of_torchs_loader_has_a_row_and_a_test() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PARITY.md")).unwrap();
    let rows: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '=']).next())
        .filter(|name| ARGUMENTS.contains(name))
        .collect();
    assert_eq!(rows, ARGUMENTS, "the rows of docs/PARITY.md");
    for argument in ARGUMENTS.iter().filter(|argument| !NOTHING_TO_TEST.contains(argument)) {
        assert!(include_str!("arguments.rs").contains(&format!("\nfn {argument}_")), "no test for {argument}");
    }
}

fn counting(len: usize) -> InMemory<i64> {
    (0..len as i64).collect()
}

fn batches<D: Dataset<Sample = i64> + 'static>(loader: &Loader<D>) -> Vec<Vec<i64>> {
    loader.epoch().map(|batch| batch.unwrap().to_vec()).collect()
}

fn builder(len: usize) -> LoaderBuilder<InMemory<i64>> {
    Loader::builder(counting(len))
}

/// Why a loader cannot be built.
fn refused<D: Dataset<Sample = i64> + 'static>(builder: LoaderBuilder<D>) -> String {
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[test]
fn dataset_is_asked_for_each_sample_once_and_shared_by_all_workers() {
    struct Counted(Arc<Mutex<Vec<usize>>>);
    impl Dataset for Counted {
        type Sample = i64;
        fn len(&self) -> usize {
            50
        }
        fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<i64> {
            self.0.lock().unwrap().push(index);
            Ok(index as i64)
        }
    }
    let asked = Arc::new(Mutex::new(Vec::new()));
    let loader = Loader::builder(Counted(Arc::clone(&asked))).batch_size(7).num_workers(3).build().unwrap();
    assert_eq!(batches(&loader).concat(), (0..50).collect::<Vec<i64>>());
    let mut asked = asked.lock().unwrap().clone();
    asked.sort_unstable();
    assert_eq!(asked, (0..50).collect::<Vec<_>>());
}

#[test]
fn batch_size_is_that_of_all_batches_but_the_last_and_one_by_default() {
    assert_eq!(batches(&builder(7).batch_size(3).build().unwrap()), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    assert_eq!(batches(&builder(2).build().unwrap()), [[0], [1]]);
    assert_eq!(refused(builder(7).batch_size(0)), "batch_size must be at least 1");
}

#[test]
fn batch_size_none_gives_the_samples_themselves() {
    for num_workers in [0, 2] {
        let words = InMemory::new(vec!["a".to_string(), "b".into(), "c".into()]);
        let loader = Loader::builder(words).unbatched().shuffle(true).seed(0).num_workers(num_workers).build().unwrap();
        assert_eq!(loader.len(), 3);
        let mut samples: Vec<String> = loader.epoch().map(Result::unwrap).collect();
        samples.sort_unstable();
        assert_eq!(samples, ["a", "b", "c"]);
    }
    let message = "unbatched excludes batch_size, batch_sampler, drop_last and collate: there are no batches. Leave the \
                   others out";
    for builder in [
        builder(3).batch_size(2).unbatched(),
        builder(3).unbatched().drop_last(true),
        builder(3).collate(Stack).unbatched(),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), message);
    }
    assert_eq!(builder(3).unbatched().collate(Stack).build().unwrap_err().to_string(), message);
}

#[test]
fn shuffle_is_torchs_order_and_excludes_a_sampler() {
    // list(DataLoader(range(10), 4, shuffle=True, generator=torch.Generator().manual_seed(0)))
    let loader = builder(10).batch_size(4).shuffle(true).seed(0).build().unwrap();
    assert_eq!(batches(&loader), [vec![3, 7, 5, 2], vec![0, 8, 1, 6], vec![9, 4]]);
    assert_eq!(
        refused(builder(10).shuffle(true).sampler(SequentialSampler)),
        "sampler excludes shuffle: a sampler gives the order itself. Leave one of them out"
    );
    assert_eq!(refused(builder(0).shuffle(true)), "cannot shuffle a dataset without samples");
}

#[test]
fn sampler_gives_the_order_and_the_length() {
    let sampler = SubsetRandomSampler::new([1, 3, 5], Generator::manual_seed(0));
    let expected: Vec<i64> = sampler.order(0, 10).unwrap().iter().map(|index| index as i64).collect();
    let loader = builder(10).batch_size(2).sampler(sampler).build().unwrap();
    assert_eq!((loader.len(), loader.is_empty()), (2, false));
    assert_eq!(batches(&loader).concat(), expected);
    let longer = builder(10).batch_size(4).sampler(RandomSampler::new(Generator::manual_seed(0)).num_samples(25));
    let longer = longer.build().unwrap();
    assert_eq!((longer.len(), batches(&longer).len()), (7, 7));
}

#[test]
fn batch_sampler_gives_the_batches_and_excludes_what_makes_them() {
    let sampler = || SequentialSampler.batched(3, true);
    let loader = builder(8).batch_sampler(sampler()).build().unwrap();
    assert_eq!(loader.len(), 2);
    assert_eq!(batches(&loader), [[0, 1, 2], [3, 4, 5]]);
    let message = "batch_sampler excludes batch_size, shuffle, sampler and drop_last: it gives the batches itself. Leave \
                   the others out";
    for builder in [
        builder(8).batch_sampler(sampler()).batch_size(2),
        builder(8).batch_sampler(sampler()).shuffle(true),
        builder(8).batch_sampler(sampler()).sampler(SequentialSampler),
        builder(8).batch_sampler(sampler()).drop_last(true),
    ] {
        assert_eq!(refused(builder), message);
    }
    // As in torch, a batch size of 1 is the same as none.
    assert!(builder(8).batch_sampler(sampler()).batch_size(1).build().is_ok());
}

#[test]
fn batch_sampler_with_a_bad_index_or_an_empty_batch_is_an_error_that_says_so() {
    struct Fixed(Vec<Vec<usize>>);
    impl sutler::BatchSampler for Fixed {
        fn batches(&self, _epoch: u64, _len: usize) -> Result<Batches> {
            Ok(self.0.iter().cloned().collect())
        }
    }
    let epoch = |batches: &[&[usize]]| -> Vec<Result<HostTensor<i64>>> {
        let sampler = Fixed(batches.iter().map(|batch| batch.to_vec()).collect());
        builder(4).batch_sampler(sampler).build().unwrap().epoch().collect()
    };
    let results = epoch(&[&[0, 1], &[2, 9], &[3]]);
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(
        results[1].as_ref().unwrap_err().to_string(),
        "sample 9: the sampler gave index 9, but the dataset has 4 samples"
    );
    let results = epoch(&[&[0, 1], &[]]);
    assert_eq!(results.len(), 1);
    assert_eq!(
        results[0].as_ref().unwrap_err().to_string(),
        "batch 1 of the batch sampler has no samples: leave it out"
    );
}

#[test]
fn num_workers_is_how_many_threads_load_and_none_is_the_callers() {
    let threads = |num_workers| {
        let seen = Arc::new(Mutex::new(std::collections::HashSet::new()));
        let record = Arc::clone(&seen);
        let data = counting(200).map(move |sample: i64, _: &mut SampleRng| {
            record.lock().unwrap().insert(std::thread::current().id());
            std::thread::sleep(Duration::from_micros(200));
            Ok(sample)
        });
        let loader = Loader::builder(data).batch_size(10).num_workers(num_workers).build().unwrap();
        assert_eq!(loader.epoch().map(|batch| batch.unwrap().len()).sum::<usize>(), 200);
        assert_eq!(loader.num_workers(), num_workers);
        let seen = seen.lock().unwrap();
        (seen.len(), seen.contains(&std::thread::current().id()))
    };
    assert_eq!(threads(0), (1, true));
    assert_eq!(threads(3), (3, false));
    assert_eq!(
        refused(builder(3).num_workers(2).pool(&WorkerPool::new(1).unwrap())),
        "pool excludes num_workers: a pool has its number of threads. Leave one of them out"
    );
}

#[test]
fn collate_fn_makes_the_batch_of_the_samples_in_order() {
    for num_workers in [0, 3] {
        let loader = builder(7).batch_size(3).num_workers(num_workers).chunk_size(1);
        let loader = loader.collate_fn(|samples: Vec<i64>| Ok(format!("{samples:?}"))).build().unwrap();
        let batches: Vec<String> = loader.epoch().map(Result::unwrap).collect();
        assert_eq!(batches, ["[0, 1, 2]", "[3, 4, 5]", "[6]"]);
    }
}

#[test]
fn drop_last_leaves_out_the_batch_that_is_not_full() {
    let loader = builder(7).batch_size(3).drop_last(true).build().unwrap();
    assert_eq!((loader.len(), batches(&loader)), (2, vec![vec![0, 1, 2], vec![3, 4, 5]]));
}

#[test]
fn timeout_names_the_samples_being_loaded_and_loses_nothing() {
    struct Stuck(Arc<AtomicBool>);
    impl Dataset for Stuck {
        type Sample = i64;
        fn len(&self) -> usize {
            6
        }
        fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<i64> {
            while index == 2 && !self.0.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(index as i64)
        }
        fn path(&self, index: usize) -> Option<std::path::PathBuf> {
            Some(format!("/data/{index}.bin").into())
        }
    }
    let free = Arc::new(AtomicBool::new(false));
    let loader = Loader::builder(Stuck(Arc::clone(&free))).batch_size(2).num_workers(2);
    let loader = loader.timeout(Duration::from_millis(50)).build().unwrap();
    let mut epoch = loader.epoch();
    assert_eq!(*epoch.next().unwrap().unwrap(), [0, 1]);
    for _ in 0..2 {
        let error = epoch.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let text = error.to_string();
        assert!(text.starts_with("no batch within 50.0ms. Being loaded: sample 2 (/data/2.bin) for "), "{text}");
        assert!(text.ends_with("Epoch::give_up_batch goes on without it"), "{text}");
        assert_eq!(epoch.state().position(), 2, "a timeout is not a batch");
    }
    free.store(true, SeqCst);
    let rest: Vec<Vec<i64>> = epoch.filter_map(|batch| batch.ok().map(|batch| batch.to_vec())).collect();
    assert_eq!(rest, [[2, 3], [4, 5]]);
    assert_eq!(
        refused(builder(3).timeout(Duration::from_secs(1))),
        "timeout needs workers: the caller cannot stop waiting for itself. Set num_workers to at least 1, or leave it out"
    );
    // As in torch, 0 is no timeout.
    assert!(builder(3).timeout(Duration::ZERO).build().is_ok());
}

#[test]
fn worker_init_fn_runs_once_on_each_worker_before_anything_is_loaded() {
    thread_local!(static READY: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    let calls = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&calls);
    let init = move |worker| {
        record.lock().unwrap().push(worker);
        READY.set(true);
        Ok(())
    };
    let data = counting(40).map(|sample: i64, _: &mut SampleRng| match READY.get() {
        true => Ok(sample),
        false => Err(Error::msg("not initialised")),
    });
    let loader = Loader::builder(data).batch_size(4).num_workers(3).worker_init_fn(init).build().unwrap();
    for _ in 0..2 {
        assert_eq!(loader.epoch().map(|batch| batch.unwrap().len()).sum::<usize>(), 40);
    }
    let mut calls = calls.lock().unwrap().clone();
    calls.sort_unstable();
    assert_eq!(calls, [0, 1, 2]);
}

#[test]
fn worker_init_fn_that_fails_or_panics_is_the_error_of_build() {
    let fails = builder(3).num_workers(3).worker_init_fn(|worker| match worker {
        1 => Err(Error::msg("no connection")),
        _ => Ok(()),
    });
    let error = fails.build().unwrap_err();
    assert_eq!((error.to_string().as_str(), error.worker()), ("no connection", Some(1)));
    let error = builder(3).num_workers(1).worker_init_fn(|_| panic!("no core")).build().unwrap_err();
    assert_eq!(error.to_string(), "worker_init_fn panicked: no core");
    // As in torch, it is not called where there are no workers.
    assert!(builder(3).worker_init_fn(|_| panic!("never called")).build().is_ok());
    assert!(
        refused(builder(3).pool(&WorkerPool::new(1).unwrap()).worker_init_fn(|_| Ok(())))
            .starts_with("pool excludes worker_init_fn")
    );
}

#[test]
fn generator_is_drawn_from_where_it_stands() {
    let mut generator = Generator::manual_seed(3);
    generator.random();
    // What a DataLoader draws first is its base seed, then the permutation.
    let mut copy = generator.clone();
    copy.random();
    let expected: Vec<i64> = copy.randperm(9).into_iter().map(|index| index as i64).collect();
    let loader = builder(9).batch_size(9).shuffle(true).generator(generator.clone()).build().unwrap();
    assert_eq!(loader.seed(), generator.random() as u64);
    assert_eq!(batches(&loader), [expected]);
    assert_eq!(
        refused(builder(9).shuffle(true).generator(generator).distributed(Distributed::new(0, 2).unwrap())),
        "distributed shuffles by seed, which all ranks share, and excludes generator and global_seed. Use seed"
    );
}

#[test]
fn prefetch_factor_is_prefetch_batches_and_bounds_what_is_loaded_ahead() {
    let loads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&loads);
    let data = counting(1000).map(move |sample: i64, _: &mut SampleRng| {
        count.fetch_add(1, SeqCst);
        Ok(sample)
    });
    let loader = Loader::builder(data).batch_size(10).num_workers(2).prefetch_batches(3).build().unwrap();
    let mut epoch = loader.epoch();
    for _ in 0..4 {
        epoch.next().unwrap().unwrap();
    }
    let patience = Instant::now();
    while loads.load(SeqCst) < 70 && patience.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(loads.load(SeqCst), 70, "four delivered and three ahead");
    assert!(refused(builder(3).prefetch_batches(2)).starts_with("prefetch_batches needs workers"));
    assert_eq!(refused(builder(3).num_workers(1).prefetch_batches(0)), "prefetch_batches must be at least 1");
}

#[test]
fn persistent_workers_draws_the_base_seed_once() {
    let loader =
        builder(9).batch_size(9).shuffle(true).seed(5).num_workers(1).persistent_workers(true).build().unwrap();
    let mut generator = Generator::manual_seed(5);
    generator.random();
    for _ in 0..3 {
        let expected: Vec<i64> = generator.randperm(9).into_iter().map(|index| index as i64).collect();
        generator.randperm(9); // what RandomSampler draws when it is exhausted
        assert_eq!(batches(&loader), [expected]);
    }
    assert_eq!(
        refused(builder(9).persistent_workers(true)),
        "persistent_workers needs workers. Set num_workers to at least 1, or leave it out"
    );
}

#[test]
fn in_order_keeps_the_order_and_without_it_what_is_done_first_comes_first() {
    let gate = Arc::new(AtomicBool::new(false));
    let run = |in_order: bool| {
        gate.store(false, SeqCst);
        let held = Arc::clone(&gate);
        let data = counting(6).map(move |sample: i64, _: &mut SampleRng| {
            while sample == 0 && !held.load(SeqCst) {
                std::thread::yield_now();
            }
            Ok(sample)
        });
        let builder = Loader::builder(data).num_workers(2).prefetch_batches(3).chunk_size(1).in_order(in_order);
        let loader = builder.build().unwrap();
        let mut epoch = loader.epoch();
        let first = if in_order { None } else { Some(epoch.next().unwrap().unwrap()[0]) };
        gate.store(true, SeqCst);
        let mut rest: Vec<i64> = epoch.map(|batch| batch.unwrap()[0]).collect();
        if !in_order {
            rest.sort_unstable();
        }
        (first, rest)
    };
    assert_eq!(run(true), (None, vec![0, 1, 2, 3, 4, 5]));
    assert_eq!(run(false), (Some(1), vec![0, 2, 3, 4, 5]));
}

// ---- beside torch's ----

#[test]
fn ranks_without_a_seed_agree() {
    let epoch = |rank| {
        let builder = builder(100).batch_size(50).shuffle(true).distributed(Distributed::new(rank, 2).unwrap());
        batches(&builder.build().unwrap()).concat()
    };
    let mut all = [epoch(0), epoch(1)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<i64>>());
}

#[test]
fn a_distributed_sampler_and_the_setting_are_the_same_and_not_both() {
    let ranks = || Distributed::new(1, 3).unwrap();
    let by_setting = builder(20).batch_size(3).shuffle(true).seed(4).distributed(ranks()).build().unwrap();
    let sampler = || sutler::DistributedSampler::new(ranks()).seed(4);
    let by_sampler = builder(20).batch_size(3).sampler(sampler()).build().unwrap();
    for _ in 0..3 {
        assert_eq!(batches(&by_setting), batches(&by_sampler));
    }
    let both = builder(20).sampler(sampler()).distributed(ranks()).build().unwrap();
    assert_eq!(
        both.epoch().next().unwrap().unwrap_err().to_string(),
        "the order is already shared out among ranks: use either a DistributedSampler or distributed(…)"
    );
}

#[test]
fn a_sample_that_comes_twice_in_an_epoch_draws_anew() {
    let data = counting(3).map(|sample: i64, rng: &mut SampleRng| Ok((sample, rng.next_u64())));
    let sampler = RandomSampler::new(Generator::manual_seed(0)).num_samples(30);
    let loader = Loader::builder(data).batch_size(30).sampler(sampler).seed(0).build().unwrap();
    let (_, draws) = loader.epoch().next().unwrap().unwrap();
    let mut draws = draws.to_vec();
    draws.sort_unstable();
    draws.dedup();
    assert_eq!(draws.len(), 30);
}

#[test]
#[cfg(feature = "tch")]
fn pin_memory_that_cannot_be_had_is_a_warning_or_an_error_as_asked() {
    use sutler::torch::{PinMemory, cuda_if_available};
    let build = |pin_memory: PinMemory| {
        let samples: InMemory<i64> = (0..4).collect();
        Loader::builder(samples).batch_size(2).pin_memory(pin_memory).build()
    };
    assert_eq!((PinMemory::from(true), PinMemory::from(false)), (PinMemory::IfAvailable, PinMemory::Off));
    assert!(!build(PinMemory::Off).unwrap().is_pinned());
    if cuda_if_available() != tch::Device::Cpu {
        return; // a machine with a GPU: its checks are elsewhere
    }
    let loader = build(PinMemory::IfAvailable).unwrap();
    assert!(!loader.is_pinned());
    let batch = loader.epoch().next().unwrap().unwrap();
    assert!(!batch.is_pinned());
    assert_eq!(*batch, [0, 1]);
    let error = build(PinMemory::Required).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Torch);
    assert!(error.to_string().starts_with("pin_memory is required, and there is no accelerator ("), "{error}");
    assert!(!error.to_string().contains('\n') && error.to_string().contains("PinMemory::IfAvailable"), "{error}");
}
