//! `OnError::Skip`: the batch is shorter, and nothing else moves.

use std::fmt;

use sutler::{Dataset, Distributed, Error, ErrorKind, InMemory, Loader, OnError, Order, SampleRng, Sampler};

use super::{Faulty, SETTINGS, SEVENTH, epoch, quarantined, shuffled, with};

/// The batches that a loader of good samples makes, and of these only the good ones.
fn expected(faulty: Faulty, epochs: usize) -> Vec<Vec<Vec<i64>>> {
    let all: InMemory<i64> = (0..faulty.len as i64).collect();
    let loader = shuffled(all, OnError::Fail).build().unwrap();
    let good = |batch: &(Vec<i64>, _)| -> Vec<i64> {
        batch.0.iter().copied().filter(|&index| !(faulty.is_bad)(index as usize)).collect()
    };
    (0..epochs).map(|_| epoch(&loader).iter().map(good).filter(|batch| !batch.is_empty()).collect()).collect()
}

#[test]
fn every_good_sample_comes_once_in_its_place_and_every_bad_one_is_in_quarantine() {
    for setting in SETTINGS {
        let loader = with(shuffled(SEVENTH, OnError::Skip), setting).build().unwrap();
        for expected in expected(SEVENTH, 3) {
            let batches = epoch(&loader);
            assert!(batches.iter().all(|(values, indices)| values == indices));
            assert_eq!(batches.into_iter().map(|(values, _)| values).collect::<Vec<_>>(), expected, "{setting:?}");
        }
        assert_eq!(quarantined(&loader), SEVENTH.bad());
        let stats = loader.stats();
        assert_eq!((stats.bad_samples, stats.skipped), (SEVENTH.bad().len() as u64, 3 * SEVENTH.bad().len() as u64));
        assert_eq!((stats.errors, stats.substituted, stats.buffers_live), (0, 0, 0));
    }
}

#[test]
fn the_quarantine_has_index_path_and_cause_in_the_order_of_the_epoch() {
    for setting in SETTINGS {
        let faulty = Faulty { len: 10, is_bad: |index| matches!(index, 3 | 4 | 9) };
        let loader = with(Loader::builder(faulty).batch_size(2).on_error(OnError::Skip), setting).build().unwrap();
        assert_eq!(epoch(&loader).len(), 5);
        assert_eq!(
            loader.quarantine().to_string(),
            "3 samples could not be loaded:\n  \
             sample 3 (/data/3): loading the sample panicked: 3 is odd\n  \
             sample 4 (/data/4): 4 is even\n  \
             sample 9 (/data/9): loading the sample panicked: 9 is odd",
            "{setting:?}"
        );
    }
}

#[test]
fn out_of_order_the_same_batches_come() {
    let mut expected = expected(SEVENTH, 1).remove(0);
    expected.sort();
    for setting in &SETTINGS[1..] {
        let loader = with(shuffled(SEVENTH, OnError::Skip), *setting).in_order(false).build().unwrap();
        let mut batches: Vec<Vec<i64>> = epoch(&loader).into_iter().map(|(values, _)| values).collect();
        batches.sort();
        assert_eq!(batches, expected);
    }
}

#[test]
fn a_batch_of_which_nothing_is_left_is_left_out() {
    for setting in SETTINGS {
        let faulty = Faulty { len: 12, is_bad: |index| matches!(index, 0..5 | 8..12) };
        let loader = with(Loader::builder(faulty).batch_size(4).on_error(OnError::Skip), setting).build().unwrap();
        assert_eq!(epoch(&loader), [(vec![5, 6, 7], vec![5, 6, 7])], "{setting:?}");
        assert_eq!(quarantined(&loader), faulty.bad());

        let hopeless = Faulty { is_bad: |_| true, ..faulty };
        let loader = with(Loader::builder(hopeless).batch_size(4).on_error(OnError::Skip), setting).build().unwrap();
        assert_eq!((epoch(&loader), epoch(&loader)), (vec![], vec![]));
        assert_eq!(quarantined(&loader).len(), 12);
    }
}

#[test]
fn samples_without_batches_are_left_out_one_by_one() {
    let loader = Loader::builder(SEVENTH).unbatched().num_workers(2).on_error(OnError::Skip).build().unwrap();
    let samples: Vec<usize> = loader.epoch().map(|sample| sample.unwrap() as usize).collect();
    assert_eq!(samples, SEVENTH.good());
}

#[test]
fn every_rank_leaves_out_its_own_and_masks_count_what_is_there() {
    for num_workers in [0, 3] {
        let mut counted = vec![];
        for rank in 0..3 {
            let faulty = Faulty { len: 20, is_bad: |index| matches!(index, 0 | 7 | 12 | 13) };
            let loader = Loader::builder(faulty)
                .batch_size(4)
                .num_workers(num_workers)
                .on_error(OnError::Skip)
                .distributed(Distributed::new(rank, 3).unwrap())
                .build()
                .unwrap();
            let mut epoch = loader.epoch().masked();
            while let Some(batch) = epoch.next() {
                let (values, mask) = batch.unwrap();
                assert_eq!(values.shape(), mask.shape());
                assert_eq!(mask.iter().filter(|is_real| !**is_real).count(), epoch.padding());
                counted
                    .extend(values.iter().zip(mask.iter()).filter(|(_, is_real)| **is_real).map(|(value, _)| *value));
            }
        }
        counted.sort();
        // Index 0 is bad, and as padding for rank 2 it is bad again; nothing is counted twice or in its place.
        assert_eq!(counted, (0..20).filter(|index| !matches!(index, 0 | 7 | 12 | 13)).collect::<Vec<i64>>());
    }
}

#[cfg(unix)]
#[test]
fn a_system_that_has_run_out_of_files_is_no_fault_of_the_sample() {
    struct Crowded;
    impl sutler::Dataset for Crowded {
        type Sample = i64;

        fn len(&self) -> usize {
            4
        }

        fn get(&self, index: usize, _: &mut sutler::SampleRng) -> sutler::Result<i64> {
            match index {
                1 => Err(std::io::Error::from_raw_os_error(24).into()), // EMFILE
                index => Ok(index as i64),
            }
        }
    }
    for on_error in [OnError::Skip, OnError::Substitute] {
        let loader = Loader::builder(Crowded).batch_size(2).on_error(on_error).build().unwrap();
        let results: Vec<_> =
            loader.epoch().map(|batch| batch.map(|batch| batch.to_vec()).map_err(|e| e.index())).collect();
        assert_eq!(results, [Err(Some(1)), Ok(vec![2, 3])]);
        assert!(loader.quarantine().is_empty());
    }
}

#[test]
fn a_sampler_that_gives_what_is_not_there_or_panics_is_no_fault_of_any_sample() {
    struct Beyond;
    impl Sampler for Beyond {
        fn order(&self, _epoch: u64, len: usize) -> sutler::Result<Order> {
            Ok(Order::from_fn(len, |place| match place {
                1 => 8,
                4 => panic!("no such place"),
                place => place,
            }))
        }
    }
    for setting in SETTINGS {
        for on_error in [OnError::Skip, OnError::Substitute] {
            let samples: InMemory<i64> = (0..8).collect();
            let builder = Loader::builder(samples).batch_size(2).sampler(Beyond).on_error(on_error);
            let loader = with(builder, setting).build().unwrap();
            let results: Vec<_> = loader.epoch().map(|batch| batch.map(|b| b.to_vec()).map_err(|e| e.kind())).collect();
            let expected = [Err(ErrorKind::Sampler), Ok(vec![2, 3]), Err(ErrorKind::Panic), Ok(vec![6, 7])];
            assert_eq!(results, expected, "{setting:?} {on_error:?}");
            assert!(loader.quarantine().is_empty());
        }
    }
}

#[test]
fn an_error_that_panics_as_it_is_printed_or_dropped_costs_no_batch() {
    #[derive(Debug)]
    struct Thorn(usize);
    impl fmt::Display for Thorn {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                1 => panic!("no words"),
                2 => Err(fmt::Error),
                _ => f.write_str("prickly"),
            }
        }
    }
    impl std::error::Error for Thorn {}
    impl Drop for Thorn {
        fn drop(&mut self) {
            if self.0 == 3 && !std::thread::panicking() {
                panic!("it stings");
            }
        }
    }
    struct Thorny;
    impl Dataset for Thorny {
        type Sample = i64;

        fn len(&self) -> usize {
            8
        }

        fn get(&self, index: usize, _: &mut SampleRng) -> sutler::Result<i64> {
            match index {
                1..4 => Err(Error::other(Thorn(index))),
                index => Ok(index as i64),
            }
        }
    }
    for setting in SETTINGS {
        let loader = with(Loader::builder(Thorny).batch_size(4).on_error(OnError::Skip), setting).build().unwrap();
        let batches: Vec<_> = epoch(&loader).into_iter().map(|(values, _)| values).collect();
        assert_eq!(batches, [vec![0], vec![4, 5, 6, 7]], "{setting:?}");
        let quarantine = loader.quarantine();
        assert_eq!(quarantine.iter().map(|bad| bad.index).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(quarantine[0].cause, "writing the error's text panicked: no words");
        assert_eq!(quarantine[2].cause, "prickly");
    }
}
