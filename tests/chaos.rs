//! What a dataset with faults in it promises: each sample has its fate, which is known beforehand and the same for
//! any number of workers, in any order and epoch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use sutler::chaos::{Chaos, Fate, Fault, Gate, Target, Truncate};
use sutler::{
    Dataset, Error, ErrorKind, HostTensor, InMemory, IterableDataset, IterableLoader, Loader, Result, SampleRng,
};

const WORKERS: [usize; 4] = [0, 1, 3, 16];
const LATE: Duration = Duration::from_millis(20);

/// Samples are their index and a random number; each has a file's name. Counts how often it is asked.
#[derive(Clone, Default)]
struct Drawing {
    len: usize,
    asked: Arc<AtomicUsize>,
}

impl Dataset for Drawing {
    type Sample = (i64, u64);

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<(i64, u64)> {
        self.asked.fetch_add(1, SeqCst);
        Ok((index as i64, rng.next_u64()))
    }

    fn path(&self, index: usize) -> Option<std::path::PathBuf> {
        Some(format!("/data/{index}.bin").into())
    }

    fn fingerprint(&self) -> u64 {
        99
    }
}

fn drawing(len: usize) -> Drawing {
    Drawing { len, ..Drawing::default() }
}

fn rng() -> SampleRng {
    SampleRng::new(0, 0, 0)
}

/// Of the first `len` samples, those that a fault befalls.
fn befallen<D, C>(chaos: &Chaos<D, C>, len: usize, fault: Fault) -> Vec<usize> {
    (0..len).filter(|&index| chaos.fate(index).fault == Some(fault)).collect()
}

fn delayed<D, C>(chaos: &Chaos<D, C>, len: usize) -> Vec<usize> {
    (0..len).filter(|&index| chaos.fate(index).delay.is_some()).collect()
}

const TRANSIENT: Fault = Fault::Transient { failures: 2 };

// ---- what is drawn ----

#[test]
fn the_fates_of_a_seed_are_what_they_always_were() {
    // By a second implementation: the first two doubles, as numpy makes them of 64 bits, of Philox4x32-10 with the key
    // FNV-1a(b"chaos", 7 as u64) and the counter [0, shard, index, 0].
    let chaos = Chaos::new((), 7).errors(0.01).panics(0.01).truncations(0.01).transients(0.01, 2).delays(0.01, LATE);
    assert_eq!(befallen(&chaos, 1000, Fault::Error), [90, 292, 536, 548, 564, 707, 708, 882, 960]);
    assert_eq!(befallen(&chaos, 1000, Fault::Panic), [35, 265, 371, 402, 437, 453, 692, 704, 711, 782, 980]);
    let cut = [73, 183, 207, 476, 489, 505, 565, 713, 740, 856, 928, 953, 973];
    assert_eq!(befallen(&chaos, 1000, Fault::Truncation), cut);
    assert_eq!(befallen(&chaos, 1000, TRANSIENT), [199, 249, 287, 308, 404, 561, 668, 694]);
    assert_eq!(delayed(&chaos, 1000), [18, 57, 61, 278, 308, 463, 490, 563, 572, 916]);
    let in_shard_3: Vec<usize> = (0..1000).filter(|&n| chaos.fate((3, n)).fault == Some(Fault::Error)).collect();
    assert_eq!(in_shard_3, [36, 96, 156, 186, 373, 400, 530, 754, 771, 893, 922]);
}

#[test]
fn rates_are_met_for_any_seed() {
    const LEN: usize = 100_000;
    for seed in [0, 1, 7, 42, u64::MAX] {
        let chaos =
            Chaos::new((), seed).errors(0.01).panics(0.001).truncations(0.02).transients(0.05, 2).delays(0.1, LATE);
        let fates: Vec<Fate> = (0..LEN).map(|index| chaos.fate(index)).collect();
        let check = |what: &str, rate: f64, is: &dyn Fn(usize) -> bool| {
            let count = (0..LEN).filter(|&index| is(index)).count() as f64;
            // Five standard deviations of a binomial(LEN, rate).
            let bound = 5.0 * (LEN as f64 * rate * (1.0 - rate)).sqrt();
            assert!((count - LEN as f64 * rate).abs() < bound, "{what}: {count} with seed {seed}");
        };
        check("errors", 0.01, &|i| fates[i].fault == Some(Fault::Error));
        check("panics", 0.001, &|i| fates[i].fault == Some(Fault::Panic));
        check("truncations", 0.02, &|i| fates[i].fault == Some(Fault::Truncation));
        check("transients", 0.05, &|i| fates[i].fault == Some(TRANSIENT));
        check("delays", 0.1, &|i| fates[i].delay == Some(LATE));
        check("bad", 0.031, &|i| fates[i].is_bad());
        // Independent of each other, and of the neighbour's.
        check("late and befallen", 0.1 * 0.081, &|i| fates[i].delay.is_some() && fates[i].fault.is_some());
        check("befallen in a row", 0.081 * 0.081, &|i| fates[i].fault.and(fates[(i + 1) % LEN].fault).is_some());
        check("befallen in two shards", 0.081 * 0.081, &|i| fates[i].fault.and(chaos.fate((1, i)).fault).is_some());
        assert!(fates.iter().all(|fate| !fate.hangs));
    }
}

#[test]
fn without_rates_nothing_befalls_and_with_rates_of_one_everything() {
    let none = Chaos::new((), 7).errors(0.0).delays(0.0, LATE);
    assert!((0..10_000).all(|index| none.fate(index) == Fate::default()));
    let all = Chaos::new((), 7).errors(0.3).panics(0.6).truncations(0.1).delays(1.0, LATE);
    assert!((0..10_000).all(|index| all.fate(index).is_bad() && all.fate(index).delay == Some(LATE)));
    // Set again, a rate replaces the former one.
    let again = Chaos::new((), 7).errors(1.0).errors(0.0).panics(1.0);
    assert_eq!(befallen(&again, 1000, Fault::Panic).len(), 1000);
}

#[test]
fn another_seed_means_others_and_the_order_of_the_settings_nothing() {
    let bad = |chaos: &Chaos<(), _>| -> Vec<Fate> { (0..1000).map(|index| chaos.fate(index)).collect() };
    let one = bad(&Chaos::new((), 1).errors(0.1).panics(0.1).delays(0.1, LATE).truncations(0.1));
    assert_eq!(bad(&Chaos::new((), 1).delays(0.1, LATE).panics(0.1).errors(0.1).truncations(0.1)), one);
    let other = bad(&Chaos::new((), 2).errors(0.1).panics(0.1).delays(0.1, LATE).truncations(0.1));
    let same = one.iter().zip(&other).filter(|(one, other)| one.fault.is_some() && one.fault == other.fault).count();
    // Expected are 30; a standard deviation is below 6.
    assert!(same < 60, "{same}");
}

#[test]
fn one_seed_for_loader_and_chaos_does_not_join_fates_to_draws() {
    let chaos = Chaos::new((), 5).errors(0.1).delays(0.1, LATE);
    for epoch in 0..3 {
        let draws = |index| SampleRng::new(5, epoch, index).uniform();
        let low = (0..10_000).filter(|&index| draws(index) < 0.1 && chaos.fate(index).fault.is_some()).count();
        // Five standard deviations of a binomial(10000, 0.01) are 50.
        assert!(low.abs_diff(100) < 50, "{low}");
    }
}

#[test]
fn what_is_placed_is_there_and_changes_nobody_else() {
    let gate = Gate::new();
    let drawn = Chaos::new((), 7).errors(0.1).delays(0.1, LATE).truncations(0.0);
    let fates: Vec<Fate> = (0..1000).map(|index| drawn.fate(index)).collect();
    let target = |n: usize| befallen(&drawn, 1000, Fault::Error)[n];
    let placed =
        [(3, Fault::Error), (4, Fault::Panic), (5, Fault::Truncation), (6, TRANSIENT), (target(0), Fault::Panic)];
    let (late, hung) = (delayed(&drawn, 1000)[0], target(1));
    let chaos = placed.iter().fold(drawn, |chaos, &(index, fault)| chaos.at(index, fault));
    let chaos = chaos.delay_at(late, Duration::from_secs(1)).hang_at(hung, &gate);
    for (index, &before) in fates.iter().enumerate() {
        let mut expected = before;
        if let Some((_, fault)) = placed.iter().find(|(place, _)| *place == index) {
            expected.fault = Some(*fault);
        }
        if index == late {
            expected.delay = Some(Duration::from_secs(1));
        }
        expected.hangs = index == hung;
        assert_eq!(chaos.fate(index), expected, "{index}");
    }
    assert_eq!([3, 4, 5, 6].map(|index| chaos.fate(index).is_bad()), [true, true, true, false]);
    // A shard's are not another's.
    let chaos = Chaos::new((), 7).at((2, 17), Fault::Panic);
    let befallen = [Target::from((2, 17)), (1, 17).into(), 17.into()].map(|target| chaos.fate(target).fault);
    assert_eq!(befallen, [Some(Fault::Panic), None, None]);
}

#[test]
#[should_panic(expected = "the rates of all faults add up to 1 at most, since a sample has one, and not to 1.1")]
fn rates_that_add_up_to_more_than_one_are_refused() {
    let _ = Chaos::new((), 7).errors(0.5).panics(0.5).transients(0.1, 1);
}

#[test]
#[should_panic(expected = "a rate is in [0, 1], and -0.1 is not")]
fn a_rate_that_is_no_probability_is_refused() {
    let _ = Chaos::new((), 7).errors(-0.1);
}

#[test]
#[should_panic(expected = "a rate is in [0, 1], and NaN is not")]
fn a_rate_of_delays_that_is_no_probability_is_refused() {
    let _ = Chaos::new((), 7).delays(f64::NAN, LATE);
}

#[test]
#[should_panic(expected = "needs truncations(…) before it")]
fn a_truncation_where_nothing_can_be_cut_is_refused() {
    let _ = Chaos::new(drawing(10), 7).at(3, Fault::Truncation);
}

// ---- what happens ----

#[test]
fn faults_say_that_they_are_injected_and_name_the_sample() {
    let data = drawing(10);
    let chaos = Chaos::new(data.clone(), 7).at(3, Fault::Error).at(4, TRANSIENT);
    let failed = |index| chaos.get(index, &mut rng()).unwrap_err();
    assert_eq!(failed(3).to_string(), "sample 3 (/data/3.bin): injected by chaos: the sample cannot be read");
    let once = "sample 4 (/data/4.bin): injected by chaos: the sample cannot be read this time (failure 1 of 2)";
    assert_eq!(failed(4).to_string(), once);
    assert_eq!((failed(3).kind(), failed(4).kind()), (ErrorKind::Io, ErrorKind::Io));
    assert_eq!(data.asked.load(SeqCst), 0, "what cannot be read is not read");
    for num_workers in WORKERS {
        let chaos = Chaos::new(drawing(10), 7).at(5, Fault::Panic);
        let loader = Loader::builder(chaos).batch_size(2).num_workers(num_workers).build().unwrap();
        let results: Vec<_> = loader.epoch().collect();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true, true]);
        let error = results[2].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.index()), (ErrorKind::Panic, Some(5)));
        let text = "sample 5 (/data/5.bin): loading the sample panicked: injected by chaos: a panic";
        assert_eq!(error.to_string(), text);
    }
}

/// What an epoch of single samples gives: those that came, and the indices of those that did not, by kind.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    good: BTreeSet<(i64, u64)>,
    failed: BTreeSet<usize>,
    panicked: BTreeSet<usize>,
}

fn outcome(epoch: impl Iterator<Item = Result<(i64, u64)>>) -> Outcome {
    let mut outcome = Outcome::default();
    for sample in epoch {
        let is_new = match sample {
            Ok(sample) => outcome.good.insert(sample),
            Err(error) if error.kind() == ErrorKind::Panic => outcome.panicked.insert(error.index().unwrap()),
            Err(error) => outcome.failed.insert(error.index().unwrap()),
        };
        assert!(is_new, "a sample came twice");
    }
    outcome
}

#[test]
fn what_befalls_does_not_depend_on_workers_order_or_epoch_and_the_others_are_what_they_are_without() {
    const LEN: usize = 2_000;
    for num_workers in WORKERS {
        for shuffle in [false, true] {
            let chaos = Chaos::new(drawing(LEN), 7).errors(0.02).panics(0.01).delays(0.01, Duration::from_micros(200));
            let failed: BTreeSet<usize> = befallen(&chaos, LEN, Fault::Error).into_iter().collect();
            let panicked: BTreeSet<usize> = befallen(&chaos, LEN, Fault::Panic).into_iter().collect();
            assert!(failed.len() > 20 && panicked.len() > 5);
            let plain = Loader::builder(drawing(LEN)).unbatched().shuffle(shuffle).seed(3).build().unwrap();
            let loader = Loader::builder(chaos).unbatched().shuffle(shuffle).seed(3).num_workers(num_workers);
            let loader = loader.build().unwrap();
            for _ in 0..2 {
                let mut expected = outcome(plain.epoch());
                expected.good.retain(|&(index, _)| !loader.dataset().fate(index as usize).is_bad());
                (expected.failed, expected.panicked) = (failed.clone(), panicked.clone());
                let met = outcome(loader.epoch());
                assert!(met == expected, "{num_workers} workers, shuffled: {shuffle}");
            }
        }
    }
}

#[test]
fn a_transient_fault_passes_after_as_many_failures_as_it_has() {
    let chaos = Chaos::new(drawing(10), 7).at(3, TRANSIENT).at(4, Fault::Transient { failures: 0 });
    let attempts = |index| -> Vec<bool> { (0..5).map(|_| chaos.get(index, &mut rng()).is_ok()).collect() };
    assert_eq!(attempts(3), [false, false, true, true, true]);
    assert_eq!((attempts(4), attempts(5)), (vec![true; 5], vec![true; 5]));
    // Each counts for itself, and what fails in one epoch is there in the next but one.
    let chaos = Chaos::new(drawing(1000), 7).transients(0.1, 2);
    let expected = befallen(&chaos, 1000, TRANSIENT);
    let loader = Loader::builder(chaos).unbatched().num_workers(3).build().unwrap();
    let failed: Vec<Vec<usize>> =
        (0..4).map(|_| outcome(loader.epoch()).failed.into_iter().collect::<Vec<_>>()).collect();
    assert_eq!(failed, [expected.clone(), expected, vec![], vec![]]);
}

#[test]
fn attempts_of_several_threads_are_all_counted() {
    const FAILURES: u32 = 1000;
    let chaos = Chaos::new(drawing(1), 7).at(0, Fault::Transient { failures: FAILURES });
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..FAILURES / 2 {
                    failed.fetch_add(usize::from(chaos.get(0, &mut rng()).is_err()), SeqCst);
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), FAILURES as usize);
}

#[test]
fn what_is_delayed_comes_late_and_is_good() {
    let chaos =
        Chaos::new(drawing(200), 7).delays(0.05, LATE).delay_at(0, 2 * LATE).at(1, Fault::Error).delay_at(1, LATE);
    let takes = |index| {
        let start = Instant::now();
        let is_good = chaos.get(index, &mut rng()).is_ok();
        (start.elapsed(), is_good)
    };
    let late = delayed(&chaos, 200);
    assert!(late.len() > 5);
    for index in late {
        let (elapsed, is_good) = takes(index);
        assert!(elapsed >= chaos.fate(index).delay.unwrap(), "{index}");
        assert_eq!(is_good, index != 1);
    }
    assert!(takes(0).0 >= 2 * LATE);
}

/// Waits until so many samples wait.
fn wait_for(gate: &Gate, waiting: usize) {
    let patience = Instant::now();
    while gate.waiting() != waiting && patience.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    assert_eq!(gate.waiting(), waiting);
}

#[test]
fn a_sample_that_hangs_is_what_a_timeout_names_and_comes_once_it_is_let() {
    let gate = Gate::new();
    let chaos = Chaos::new(drawing(8), 7).hang_at(3, &gate).hang_at(5, &gate).at(5, Fault::Error);
    let builder = Loader::builder(chaos).batch_size(2).chunk_size(1).num_workers(2);
    let loader = builder.timeout(Duration::from_millis(50)).build().unwrap();
    let mut epoch = loader.epoch();
    // Each of the two workers is with one; so all samples before them are through.
    wait_for(&gate, 2);
    let indices = |batch: Result<(HostTensor<i64>, HostTensor<u64>)>| batch.map(|(indices, _)| indices.to_vec());
    assert_eq!(indices(epoch.next().unwrap()).unwrap(), [0, 1]);
    for _ in 0..2 {
        let error = epoch.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("sample 3 (/data/3.bin) for "), "{error}");
    }
    gate.open();
    let is_timeout = |batch: &Result<_>| batch.as_ref().is_err_and(|error: &Error| error.kind() == ErrorKind::Timeout);
    let rest: Vec<_> = epoch.filter(|batch| !is_timeout(batch)).map(indices).collect();
    assert_eq!((rest[0].as_ref().unwrap(), rest[2].as_ref().unwrap()), (&vec![2, 3], &vec![6, 7]));
    let error = rest[1].as_ref().unwrap_err().to_string();
    assert_eq!(error, "sample 5 (/data/5.bin): injected by chaos: the sample cannot be read");
    assert_eq!(gate.waiting(), 0);
    // It stays open.
    assert!(loader.dataset().get(3, &mut rng()).is_ok());
}

#[test]
fn a_gate_that_is_dropped_is_open() {
    let gate = Gate::new();
    let chaos = Chaos::new(drawing(8), 7).hang_at(3, &gate);
    let loader = Loader::builder(chaos).batch_size(8).num_workers(1).timeout(Duration::from_secs(10)).build().unwrap();
    let mut epoch = loader.epoch();
    wait_for(&gate, 1);
    drop(gate);
    assert_eq!(epoch.next().unwrap().unwrap().0.len(), 8);
}

// ---- what is cut short ----

#[test]
fn bytes_are_cut_where_the_hash_says() {
    let whole: Vec<u8> = (0..100).collect();
    let data: InMemory<(Vec<u8>, usize)> = (0..1000).map(|index| (whole.clone(), index)).collect();
    let chaos = Chaos::new(data, 7).truncations(0.5);
    let cut: BTreeSet<usize> = befallen(&chaos, 1000, Fault::Truncation).into_iter().collect();
    let lengths: Vec<usize> = (0..1000)
        .map(|index| {
            let (bytes, label) = chaos.get(index, &mut rng()).unwrap();
            assert_eq!((&*bytes, label), (&whole[..bytes.len()], index));
            bytes.len()
        })
        .collect();
    assert!((0..1000).all(|index| cut.contains(&index) == (lengths[index] < 100)));
    // Anywhere: half of them in the first half. Five standard deviations of a binomial(500, 1/2) are 56.
    let early = lengths.iter().filter(|&&len| len < 50).count();
    assert!(early.abs_diff(250) < 56, "{early}");
    // The first ten of seed 7, from the third double: see above.
    let all = Chaos::new((0..10).map(|_| whole.clone()).collect::<InMemory<_>>(), 7).truncations(1.0);
    let lengths: Vec<usize> = (0..10).map(|index| all.get(index, &mut rng()).unwrap().len()).collect();
    assert_eq!(lengths, [11, 10, 92, 93, 79, 5, 74, 72, 45, 84]);
}

#[test]
fn a_sample_of_ones_own_says_how_it_is_cut() {
    #[derive(Clone)]
    struct Line(Vec<i64>);
    impl Truncate for Line {
        fn cut_short(mut self, _keep: f64) -> Result<Self> {
            match self.0.pop() {
                Some(_) => Ok(self),
                None => Err(Error::msg("nothing is left")),
            }
        }
    }
    let lines = InMemory::new(vec![Line(vec![1, 2]), Line(vec![1, 2]), Line(vec![])]);
    let chaos = Chaos::new(lines, 7).truncations(0.0).at(1, Fault::Truncation).at(2, Fault::Truncation);
    let get = |index| chaos.get(index, &mut rng()).map(|line| line.0);
    assert_eq!((get(0).unwrap(), get(1).unwrap()), (vec![1, 2], vec![1]));
    assert_eq!(get(2).unwrap_err().to_string(), "sample 2: nothing is left");
}

#[cfg(feature = "vision")]
mod images {
    use super::*;
    use sutler::ImageFolder;
    use sutler::image::{DecodeOptions, LazyImage};
    use sutler::transform::{RandomResizedCrop, Resize, ToTensor};

    fn folder() -> Chaos<ImageFolder, sutler::chaos::Truncating> {
        Chaos::new(ImageFolder::open("fixtures/shapes/val").unwrap(), 7).truncations(0.3)
    }

    /// The indices of the samples that failed, each of which could not be decoded.
    fn undecodable<B>(epoch: impl Iterator<Item = Result<B>>) -> Vec<usize> {
        let errors = epoch.filter_map(Result::err);
        let index = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
            assert!(error.path().unwrap().is_absolute() && error.path().unwrap().extension().unwrap() == "jpg");
            error.index().unwrap()
        };
        errors.map(index).collect()
    }

    #[test]
    fn a_jpeg_that_is_cut_short_fails_where_it_is_decoded() {
        let chaos = folder();
        let expected = befallen(&chaos, chaos.len(), Fault::Truncation);
        assert!(expected.len() > 20 && expected.len() < chaos.len());
        for num_workers in [0, 2] {
            // In the first transform, in a transform that puts a resize off, and in the write into the batch.
            let loader = Loader::builder(folder().map(RandomResizedCrop::new(32)).map(ToTensor::u8()));
            let loader = loader.batch_size(1).seed(0).num_workers(num_workers).build().unwrap();
            assert_eq!(undecodable(loader.epoch()), expected);
            let loader = Loader::builder(folder().map(Resize::new(16)).map(ToTensor::u8()));
            let loader = loader.batch_size(1).num_workers(num_workers).build().unwrap();
            assert_eq!(undecodable(loader.epoch()), expected);
            let loader = Loader::builder(folder()).batch_size(1).num_workers(num_workers).build().unwrap();
            assert_eq!(undecodable(loader.epoch()), expected);
        }
    }

    #[test]
    fn an_image_that_is_to_be_resized_is_cut_as_long_as_it_has_a_file() {
        let folder = || ImageFolder::open("fixtures/shapes/val").unwrap();
        let chaos = Chaos::new(folder().map(Resize::new(16)), 7).truncations(0.3);
        let expected = befallen(&chaos, chaos.len(), Fault::Truncation);
        let (whole, _) = folder().map(Resize::new(16)).get(0, &mut rng()).unwrap();
        let size = whole.size();
        assert_eq!(whole.cut_short(0.9).unwrap().size(), size);
        let loader = Loader::builder(chaos.map(ToTensor::u8())).batch_size(1).build().unwrap();
        assert_eq!(undecodable(loader.epoch()), expected);
        let (resized_twice, _) = folder().map((Resize::new(32), Resize::new(16))).get(0, &mut rng()).unwrap();
        let error = resized_twice.cut_short(0.9).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().ends_with("cut it before"), "{error}");
    }

    #[test]
    fn the_others_are_what_they_are_without_chaos() {
        let (chaos, plain) = (folder(), ImageFolder::open("fixtures/shapes/val").unwrap());
        let good: Vec<usize> = (0..plain.len()).filter(|&index| !chaos.fate(index).is_bad()).collect();
        for index in good {
            let ((ours, label), (theirs, expected)) =
                (chaos.get(index, &mut rng()).unwrap(), plain.get(index, &mut rng()).unwrap());
            assert_eq!((ours.decode().unwrap().pixels(), label), (theirs.decode().unwrap().pixels(), expected));
        }
    }

    #[test]
    fn an_image_cut_anywhere_is_the_file_cut_there() {
        let bytes = std::fs::read("fixtures/shapes/val/dots/000.jpg").unwrap();
        let options = DecodeOptions::default();
        let problem = |image: Result<LazyImage>| image.and_then(|image| image.decode()).unwrap_err().to_string();
        for kept in 0..bytes.len() {
            // In the middle of a byte, so that rounding has no say.
            let keep = (kept as f64 + 0.5) / bytes.len() as f64;
            let cut = LazyImage::new(bytes.clone(), &options).unwrap().cut_short(keep);
            assert_eq!(problem(cut), problem(LazyImage::new(bytes[..kept].to_vec(), &options)), "{kept}");
        }
    }
}

// ---- records ----

/// Shards of bytes; the record n of shard s is n + 1 bytes of value s.
struct Shards(Vec<usize>);

impl IterableDataset for Shards {
    type Record = Vec<u8>;
    type Records = Box<dyn Iterator<Item = Result<Vec<u8>>> + Send>;
    type Sample = (i64, u64);

    fn num_shards(&self) -> usize {
        self.0.len()
    }

    fn records(&self, shard: usize, _epoch: u64, skip: usize) -> Result<Self::Records> {
        Ok(Box::new((skip..self.0[shard]).map(move |number| Ok(vec![shard as u8; number + 1]))))
    }

    fn decode(&self, record: Vec<u8>, rng: &mut SampleRng) -> Result<(i64, u64)> {
        let shard = record.first().copied().unwrap_or(u8::MAX);
        Ok((1000 * i64::from(shard) + record.len() as i64 - 1, rng.next_u64()))
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.iter().sum())
    }

    fn path(&self, shard: usize) -> Option<std::path::PathBuf> {
        Some(format!("/data/{shard}.tar").into())
    }
}

/// What comes of each record, by `1000 * shard + number`.
fn records<C>(chaos: Chaos<Shards, C>, num_workers: usize) -> Vec<std::result::Result<(i64, u64), String>>
where
    Chaos<Shards, C>: IterableDataset<Sample = (i64, u64)> + 'static,
{
    let loader = IterableLoader::builder(chaos).unbatched().seed(3).num_workers(num_workers).build().unwrap();
    loader.epoch().map(|sample| sample.map_err(|error| error.to_string())).collect()
}

#[test]
fn a_record_that_something_befalls_costs_itself_alone() {
    let plain: Vec<_> =
        IterableLoader::builder(Shards(vec![300, 200])).unbatched().seed(3).build().unwrap().epoch().collect();
    for num_workers in WORKERS {
        let chaos = Chaos::new(Shards(vec![300, 200]), 7).errors(0.02).panics(0.02).at((1, 5), TRANSIENT);
        let fault = |number: i64| chaos.fate(((number / 1000) as usize, (number % 1000) as usize)).fault;
        let expected: Vec<_> = plain
            .iter()
            .map(|sample| {
                let &(number, drawn) = sample.as_ref().unwrap();
                let what = match fault(number) {
                    None => return Ok((number, drawn)),
                    Some(Fault::Panic) => "loading the sample panicked: injected by chaos: a panic",
                    Some(Fault::Error) => "injected by chaos: the sample cannot be read",
                    Some(_) => "injected by chaos: the sample cannot be read this time (failure 1 of 2)",
                };
                let (shard, index) = (number / 1000, number % 1000);
                Err(format!("sample {index} of shard {shard} (/data/{shard}.tar): {what}"))
            })
            .collect();
        assert!(expected.iter().filter(|outcome| outcome.is_err()).count() > 10);
        assert_eq!(records(chaos, num_workers), expected);
    }
}

#[test]
fn what_befalls_a_record_that_is_being_read_ends_its_shard() {
    for num_workers in [0, 2] {
        for (fault, what) in [
            (Fault::Error, "injected by chaos: the sample cannot be read"),
            (Fault::Panic, "reading the shard panicked: injected by chaos: a panic"),
        ] {
            let chaos = Chaos::new(Shards(vec![3, 100]), 7).at((1, 2), fault).while_reading();
            let found = records(chaos, num_workers);
            let numbers: Vec<_> = found.iter().map(|found| found.as_ref().map_or(-1, |(number, _)| *number)).collect();
            assert_eq!(numbers, [0, 1000, 1, 1001, 2, -1]);
            assert_eq!(*found[5].as_ref().unwrap_err(), format!("sample 2 of shard 1 (/data/1.tar): {what}"));
        }
    }
}

#[test]
fn a_record_keeps_its_fate_when_reading_starts_behind_others_and_a_shard_ends_where_it_ends() {
    let chaos = Chaos::new(Shards(vec![20]), 7).at((0, 12), Fault::Error).at((0, 20), Fault::Error).while_reading();
    let targets = |skip| -> Vec<std::result::Result<Target, String>> {
        let records = chaos.records(0, 0, skip).unwrap();
        records.map(|record| record.map(|(target, _)| target).map_err(|error| error.to_string())).collect()
    };
    let mut expected: Vec<_> = (10..20).map(|index| Ok(Target::from((0, index)))).collect();
    expected[2] = Err("sample 12 of shard 0: injected by chaos: the sample cannot be read".into());
    assert_eq!(targets(10), expected);
}

#[test]
fn records_are_cut_before_they_are_decoded() {
    for reading in [false, true] {
        let chaos = Chaos::new(Shards(vec![100, 100]), 7).truncations(0.1);
        let chaos = if reading { chaos.while_reading() } else { chaos };
        let fault = |n: usize| chaos.fate((n % 2, n / 2)).fault;
        let cut: Vec<usize> = (0..200).filter(|&n| fault(n) == Some(Fault::Truncation)).collect();
        assert!(cut.len() > 10);
        let found = records(chaos, 2);
        assert_eq!(found.len(), 200);
        let came = |n: usize| found[n].as_ref().unwrap().0 == (1000 * (n % 2) + n / 2) as i64;
        assert_eq!((0..200).filter(|&n| !came(n)).collect::<Vec<_>>(), cut);
    }
}

// ---- what it is besides ----

#[test]
fn length_path_and_fingerprint_are_those_of_the_dataset_inside() {
    let chaos = Chaos::new(drawing(10), 7).errors(1.0);
    assert_eq!((Dataset::len(&chaos), Dataset::fingerprint(&chaos)), (10, 99));
    assert_eq!(Dataset::path(&chaos, 3).unwrap().to_str(), Some("/data/3.bin"));
    let (shards, chaos) = (Shards(vec![3, 4]), Chaos::new(Shards(vec![3, 4]), 7).errors(1.0));
    assert_eq!((chaos.num_shards(), IterableDataset::len(&chaos)), (2, Some(7)));
    assert_eq!(IterableDataset::path(&chaos, 1).unwrap().to_str(), Some("/data/1.tar"));
    assert_eq!(IterableDataset::fingerprint(&chaos), shards.fingerprint());
}
