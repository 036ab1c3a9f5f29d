//! What a loader of an iterable dataset promises: every record once, over ranks and threads, in an order of the data alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sutler::{
    Distributed, Error, ErrorKind, IterableDataset, IterableLoader, LoaderBuilder, LoaderState, Result, SampleRng,
};

/// Shards of the given lengths; the n-th record of shard s is (s, n). Counts what is opened, read and decoded.
#[derive(Clone, Default)]
struct Shards {
    lengths: Vec<usize>,
    opened: Arc<AtomicUsize>,
    read: Arc<AtomicUsize>,
    decoded: Arc<AtomicUsize>,
    /// Fails at this record: while reading, and while decoding.
    bad_read: Option<(usize, usize)>,
    bad_decode: Option<(usize, usize)>,
    panics: bool,
    /// What a record takes to be read.
    slow: Duration,
}

fn shards(lengths: impl Into<Vec<usize>>) -> Shards {
    Shards { lengths: lengths.into(), ..Shards::default() }
}

impl IterableDataset for Shards {
    type Record = (usize, usize);
    type Records = Box<dyn Iterator<Item = Result<(usize, usize)>> + Send>;
    type Sample = (i64, u64);

    fn num_shards(&self) -> usize {
        self.lengths.len()
    }

    fn records(&self, shard: usize, epoch: u64, skip: usize) -> Result<Self::Records> {
        self.opened.fetch_add(1, SeqCst);
        let (read, bad, panics, slow) = (Arc::clone(&self.read), self.bad_read, self.panics, self.slow);
        assert!(epoch < 10);
        Ok(Box::new((skip..self.lengths[shard]).map(move |number| {
            read.fetch_add(1, SeqCst);
            if !slow.is_zero() && shard % 2 == 1 {
                std::thread::sleep(slow);
            }
            if bad == Some((shard, number)) {
                assert!(!panics, "the reader is broken");
                return Err(Error::msg("cannot read on"));
            }
            Ok((shard, number))
        })))
    }

    fn decode(&self, (shard, number): (usize, usize), rng: &mut SampleRng) -> Result<(i64, u64)> {
        self.decoded.fetch_add(1, SeqCst);
        if self.bad_decode == Some((shard, number)) {
            assert!(!self.panics, "the decoder is broken");
            return Err(Error::msg("not a record"));
        }
        Ok((1000 * shard as i64 + number as i64, rng.next_u64()))
    }

    fn path(&self, shard: usize) -> Option<std::path::PathBuf> {
        Some(format!("/data/{shard}.tar").into())
    }
}

type Batch = Vec<(i64, u64)>;

fn batches(epoch: impl Iterator<Item = Result<(sutler::HostTensor<i64>, sutler::HostTensor<u64>)>>) -> Vec<Batch> {
    epoch
        .map(|batch| {
            let (numbers, draws) = batch.unwrap();
            numbers.iter().copied().zip(draws.iter().copied()).collect()
        })
        .collect()
}

/// A record of each of the first `open` shards in turn, by hand.
fn naive(lengths: &[usize], shards: &[usize], open: usize) -> Vec<i64> {
    let mut waiting = shards.iter().copied();
    let mut lanes: Vec<(usize, usize)> = waiting.by_ref().take(open).map(|shard| (shard, 0)).collect();
    let (mut turn, mut all) = (0, Vec::new());
    while !lanes.is_empty() {
        let (shard, next) = lanes[turn];
        if next < lengths[shard] {
            all.push(1000 * shard as i64 + next as i64);
            lanes[turn].1 += 1;
            turn = (turn + 1) % lanes.len();
        } else if let Some(shard) = waiting.next() {
            lanes[turn] = (shard, 0);
        } else {
            lanes.remove(turn);
            if turn == lanes.len() {
                turn = 0;
            }
        }
    }
    all
}

fn numbers(batches: &[Batch]) -> Vec<Vec<i64>> {
    batches.iter().map(|batch| batch.iter().map(|(number, _)| *number).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_is_that_of_taking_a_record_of_each_open_shard_in_turn(
        lengths in prop::collection::vec(0_usize..12, 0..9),
        batch_size in 1_usize..7,
        interleave in 1_usize..6,
        num_workers in 0_usize..4,
        prefetch in 1_usize..5,
        drop_last: bool,
        world in 1_usize..4,
    ) {
        prop_assume!(world == 1 || lengths.len() >= world);
        let mut all = Vec::new();
        for rank in 0..world {
            let mut builder = IterableLoader::builder(shards(lengths.clone()))
                .batch_size(batch_size)
                .interleave(interleave)
                .num_workers(num_workers)
                .drop_last(drop_last)
                .seed(1)
                .distributed(Distributed::new(rank, world).unwrap());
            if num_workers > 0 {
                builder = builder.prefetch_batches(prefetch);
            }
            let loader = builder.build().unwrap();
            let ours: Vec<usize> = (rank..lengths.len()).step_by(world).collect();
            let expected = naive(&lengths, &ours, interleave);
            all.extend(expected.iter().copied());
            let expected: Vec<Vec<i64>> = expected
                .chunks(batch_size)
                .filter(|batch| !drop_last || batch.len() == batch_size)
                .map(<[i64]>::to_vec)
                .collect();
            for _ in 0..2 {
                prop_assert_eq!(numbers(&batches(loader.epoch())), expected.clone());
            }
        }
        // Over all ranks, every record once.
        all.sort_unstable();
        let every = lengths.iter().enumerate().flat_map(|(shard, &len)| (0..len).map(move |n| (1000 * shard + n) as i64));
        prop_assert_eq!(all, every.collect::<Vec<_>>());
    }

    #[test]
    fn after_any_number_of_batches_the_rest_is_that_of_the_uninterrupted_run(
        bad_read in prop::option::of((0_usize..7, 0_usize..15)),
        bad_decode in prop::option::of((0_usize..7, 0_usize..15)),
        panics: bool,
        lengths in prop::collection::vec(0_usize..15, 1..7),
        batch_size in 1_usize..6,
        interleave in 1_usize..5,
        stop in 0_usize..30,
        num_workers in prop::sample::select(vec![0_usize, 2]),
    ) {
        let build = |data: &Shards| {
            let builder = IterableLoader::builder(data.clone()).batch_size(batch_size).interleave(interleave).seed(4);
            builder.num_workers(num_workers).build().unwrap()
        };
        let data = || Shards { bad_read, bad_decode, panics, ..shards(lengths.clone()) };
        let batches = |epoch: &mut dyn Iterator<Item = Result<_>>| -> Vec<std::result::Result<Batch, String>> {
            let plain = |batch: Result<_>| batch.map(|batch| batches(std::iter::once(Ok(batch))).remove(0));
            epoch.map(|batch| plain(batch).map_err(|error| error.to_string())).collect()
        };
        let whole = batches(&mut build(&data()).epoch_at(1));
        let stop = stop.min(whole.len());
        let before = build(&data());
        let mut epoch = before.epoch_at(1);
        prop_assert_eq!(&batches(&mut epoch.by_ref().take(stop))[..], &whole[..stop]);
        let state: LoaderState = epoch.state().to_string().parse().unwrap();
        prop_assert_eq!(&state, &epoch.state());

        let after = build(&data());
        let mut rest = after.resume(&state).unwrap();
        prop_assert_eq!(&rest.state(), &state);
        let one_more = batches(&mut rest.by_ref().take(1));
        let again = build(&data());
        let last = batches(&mut again.resume(&rest.state()).unwrap());
        prop_assert_eq!([one_more, last].concat(), &whole[stop..]);
    }
}

#[test]
fn contents_and_draws_do_not_depend_on_threads() {
    let digest = |num_workers: usize, slow: u64| {
        let data = Shards { slow: Duration::from_micros(slow), ..shards([31, 7, 50, 0, 22]) };
        let loader = IterableLoader::builder(data).batch_size(8).seed(9).num_workers(num_workers).build().unwrap();
        [batches(loader.epoch()), batches(loader.epoch())]
    };
    let expected = digest(0, 0);
    assert_eq!(numbers(&expected[0]), numbers(&expected[1]));
    assert_ne!(expected[0], expected[1], "another epoch draws other numbers");
    for num_workers in [1, 3, 16] {
        assert!(digest(num_workers, 50) == expected, "{num_workers} workers");
    }
}

#[test]
fn resuming_opens_no_shard_that_was_read_and_decodes_nothing_twice() {
    let build =
        |data: &Shards| IterableLoader::builder(data.clone()).batch_size(10).interleave(2).seed(0).build().unwrap();
    let before = build(&shards([50; 6]));
    let mut epoch = before.epoch();
    assert_eq!(batches(epoch.by_ref().take(22)).len(), 22); // four shards and some of the last two
    let fresh = shards([50; 6]);
    let rest = batches(build(&fresh).resume(&epoch.state()).unwrap());
    assert_eq!(rest.concat().len(), 80);
    let counts = [&fresh.opened, &fresh.read, &fresh.decoded].map(|count| count.load(SeqCst));
    assert_eq!(counts, [2, 80, 80]);
}

#[test]
fn a_record_that_cannot_be_decoded_costs_its_batch_and_is_named() {
    for (num_workers, panics) in [(0, false), (2, false), (0, true), (2, true)] {
        let data = Shards { bad_decode: Some((1, 2)), panics, ..shards([6, 6]) };
        let loader = IterableLoader::builder(data).batch_size(4).seed(0).num_workers(num_workers).build().unwrap();
        let results: Vec<_> = loader.epoch().collect();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        let error = results[1].as_ref().unwrap_err();
        let cause = if panics { "loading the sample panicked: the decoder is broken" } else { "not a record" };
        assert_eq!(error.to_string(), format!("sample 2 of shard 1 (/data/1.tar): {cause}"));
        assert_eq!((error.index(), error.shard()), (Some(2), Some(1)));
        assert_eq!(error.worker().is_some(), num_workers > 0);
    }
}

#[test]
fn a_shard_that_cannot_be_read_on_ends_and_the_others_go_on() {
    for (num_workers, panics) in [(0, false), (2, false), (0, true), (2, true)] {
        let data = Shards { bad_read: Some((0, 3)), panics, ..shards([100, 6]) };
        let loader = IterableLoader::builder(data).batch_size(3).seed(0).num_workers(num_workers).build().unwrap();
        let results: Vec<_> = loader.epoch().collect();
        // 0:0 1:0 0:1 | 1:1 0:2 1:2 | bad 1:3 1:4 | 1:5
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
        let error = results[2].as_ref().unwrap_err().to_string();
        let cause = if panics { "reading the shard panicked: the reader is broken" } else { "cannot read on" };
        assert_eq!(error, format!("sample 3 of shard 0 (/data/0.tar): {cause}"));
    }
}

#[test]
fn what_is_read_ahead_is_bounded_and_an_epoch_can_be_dropped() {
    let data = shards([usize::MAX; 3]);
    let read = Arc::clone(&data.read);
    let loader =
        IterableLoader::builder(data).batch_size(10).num_workers(2).prefetch_batches(2).seed(0).build().unwrap();
    let mut epoch = loader.epoch();
    for _ in 0..5 {
        epoch.next().unwrap().unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    // Five delivered, two ahead, and at most 2,048 records of each of the three open shards.
    let count = read.load(SeqCst);
    assert!((70..=70 + 3 * 2048).contains(&count), "{count}");
    let dropping = Instant::now();
    drop(epoch);
    drop(loader);
    assert!(dropping.elapsed() < Duration::from_millis(100));
}

#[test]
fn more_ranks_than_shards_and_foreign_states_are_refused() {
    let builder = |lengths: &[usize]| IterableLoader::builder(shards(lengths)).batch_size(2).seed(0);
    let error = builder(&[1, 2]).distributed(Distributed::new(0, 3).unwrap()).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 shards cannot be dealt out to 3 ranks: some would have none. Cut the data into more shards"
    );
    assert_eq!(error.kind(), ErrorKind::Config);
    let state = builder(&[3, 3]).build().unwrap().epoch().state();
    let refused = |builder: LoaderBuilder<sutler::Iterable<Shards>>| {
        builder.build().unwrap().resume(&state).unwrap_err().to_string()
    };
    assert!(refused(builder(&[3, 3, 3])).contains("it is of another dataset"));
    assert!(refused(builder(&[3, 3]).interleave(1)).contains("its shards are dealt out in another way"));
    assert!(refused(builder(&[3, 3]).seed(1)).contains("its seed is 0, the loader's 1"));
    // A state of a loader of the other kind.
    let other = sutler::Loader::builder((0..4).collect::<sutler::InMemory<i64>>()).seed(0).build().unwrap();
    assert_eq!(other.resume(&state).unwrap_err().kind(), ErrorKind::State);
    assert_eq!(builder(&[3, 3]).build().unwrap().resume(&other.epoch().state()).unwrap_err().kind(), ErrorKind::State);
}

#[test]
fn the_length_is_known_if_the_dataset_knows_it() {
    struct Counted(Shards);
    impl IterableDataset for Counted {
        type Record = (usize, usize);
        type Records = Box<dyn Iterator<Item = Result<(usize, usize)>> + Send>;
        type Sample = (i64, u64);
        fn num_shards(&self) -> usize {
            self.0.num_shards()
        }
        fn records(&self, shard: usize, epoch: u64, skip: usize) -> Result<Self::Records> {
            self.0.records(shard, epoch, skip)
        }
        fn decode(&self, record: (usize, usize), rng: &mut SampleRng) -> Result<(i64, u64)> {
            self.0.decode(record, rng)
        }
        fn len(&self) -> Option<usize> {
            Some(self.0.lengths.iter().sum())
        }
    }
    let loader = IterableLoader::builder(Counted(shards([3, 4]))).batch_size(2).build().unwrap();
    assert_eq!((loader.len(), batches(loader.epoch()).len()), (Some(4), 4));
    let loader = IterableLoader::builder(Counted(shards([3, 4]))).batch_size(2).drop_last(true).build().unwrap();
    assert_eq!((loader.len(), batches(loader.epoch()).len()), (Some(3), 3));
    assert_eq!(IterableLoader::builder(shards([3, 4])).build().unwrap().len(), None);
}

#[test]
fn transforms_collates_and_no_batches_work_as_for_other_datasets() {
    let data = || shards([2, 1]).map(|(number, _): (i64, u64), _: &mut SampleRng| Ok(number));
    let plain = IterableLoader::builder(data()).unbatched().num_workers(1).build().unwrap();
    assert_eq!(plain.epoch().collect::<Result<Vec<i64>>>().unwrap(), [0, 1000, 1]);
    let sums =
        IterableLoader::builder(data()).batch_size(2).collate_fn(|numbers: Vec<i64>| Ok(numbers.iter().sum::<i64>()));
    assert_eq!(sums.build().unwrap().epoch().collect::<Result<Vec<i64>>>().unwrap(), [1000, 1]);
}

#[test]
fn a_batch_size_beyond_the_data_is_all_in_one_batch() {
    for num_workers in [0, 2] {
        for batch_size in [100, 1 << 40, usize::MAX] {
            let loader =
                IterableLoader::builder(shards([5, 3])).batch_size(batch_size).num_workers(num_workers).seed(0);
            let loader = loader.build().unwrap();
            for _ in 0..2 {
                assert_eq!(numbers(&batches(loader.epoch())), [[0, 1000, 1, 1001, 2, 1002, 3, 4]]);
            }
        }
    }
}

#[test]
fn a_timeout_names_the_record_that_is_being_read_and_loses_nothing() {
    // Several times what is waited for, so that a busy machine does not see the one without the other.
    let data = Shards { slow: Duration::from_millis(400), ..shards([2, 2]) };
    let loader = IterableLoader::builder(data).batch_size(4).num_workers(2).seed(0);
    let loader = loader.timeout(Duration::from_millis(60)).build().unwrap();
    let mut errors = Vec::new();
    let batch = loader.epoch().find_map(|batch| batch.map_err(|error| errors.push(error.to_string())).ok()).unwrap();
    assert_eq!(*batch.0, [0, 1000, 1, 1001]);
    assert!(errors.len() >= 2, "{errors:?}");
    let named = |number: usize| {
        let name = format!("Being loaded: sample {number} of shard 1 (/data/1.tar) for ");
        errors.iter().any(|error| error.starts_with("no batch within 60.0ms. ") && error.contains(&name))
    };
    assert!(named(0) && named(1), "{errors:?}");
}

#[test]
fn a_state_that_is_damaged_but_readable_is_refused_or_harmless() {
    let build = || IterableLoader::builder(shards([5; 6])).batch_size(2).interleave(2).seed(0).build().unwrap();
    let loader = build();
    let mut epoch = loader.epoch();
    epoch.by_ref().take(6).for_each(|batch| drop(batch.unwrap()));
    let text = epoch.state().to_string();
    let part = "shards=4/0/2:1,3:1";
    assert!(text.contains(part), "{text}");
    for wrong in [
        "shards=4/0/2:1,2:1",
        "shards=4/0/2:1,4:1",
        "shards=99/0/2:1,3:1",
        "shards=4/2/2:1,3:1",
        "shards=4/0/2:18446744073709551615,3:1",
        "shards=4/0/2:9223372036854775808,3:1",
        "shards=18446744073709551615/0/",
    ] {
        let state = text.replace(part, wrong).parse::<LoaderState>();
        let resumed = state.and_then(|state| build().resume(&state).map(|_| ()));
        assert_eq!(resumed.unwrap_err().kind(), ErrorKind::State, "{wrong}");
    }
    let far = text.replace("position=12", "position=18446744073709551615").parse::<LoaderState>();
    assert_eq!(far.unwrap_err().kind(), ErrorKind::State);
    // Beyond the end of a shard is its end.
    let state = text.replace(part, "shards=4/0/2:1,3:1000").parse::<LoaderState>().unwrap();
    assert_eq!(batches(build().resume(&state).unwrap()).concat().len(), 4 + 5 + 5);
}

#[test]
fn a_fingerprint_that_panics_is_an_error_of_the_resume() {
    struct Unknown;
    impl IterableDataset for Unknown {
        type Record = i64;
        type Records = std::iter::Empty<Result<i64>>;
        type Sample = i64;

        fn num_shards(&self) -> usize {
            1
        }

        fn records(&self, _shard: usize, _epoch: u64, _skip: usize) -> Result<Self::Records> {
            Ok(std::iter::empty())
        }

        fn decode(&self, record: i64, _rng: &mut SampleRng) -> Result<i64> {
            Ok(record)
        }

        fn fingerprint(&self) -> u64 {
            panic!("who knows");
        }
    }
    let state = IterableLoader::builder(shards([1])).build().unwrap().state();
    let error = IterableLoader::builder(Unknown).build().unwrap().resume(&state).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Panic, "the fingerprint panicked: who knows"));
}
