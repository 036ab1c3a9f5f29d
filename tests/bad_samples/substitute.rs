//! `OnError::Substitute`: another sample of the order, the same in every run.

use std::time::Duration;

use sutler::{Dataset, Error, ErrorKind, Generator, InMemory, Loader, OnError, SampleRng, SubsetRandomSampler};

use super::{Faulty, SETTINGS, SEVENTH, epoch, quarantined, shuffled, with};

#[test]
fn every_batch_is_full_and_every_good_sample_is_where_it_was() {
    let plain = shuffled((0..200).collect::<sutler::InMemory<i64>>(), OnError::Fail).build().unwrap();
    let mut first = None;
    for setting in SETTINGS {
        let loader = with(shuffled(SEVENTH, OnError::Substitute), setting).build().unwrap();
        let epochs = [epoch(&loader), epoch(&loader)];
        if first.is_none() {
            for (batches, epoch_number) in epochs.iter().zip(0..) {
                let order: Vec<i64> = plain.epoch_at(epoch_number).flat_map(|batch| batch.unwrap().to_vec()).collect();
                let values: Vec<i64> = batches.iter().flat_map(|(values, _)| values.clone()).collect();
                assert_eq!(values.len(), 200);
                for (value, should_be) in values.iter().zip(order) {
                    let is_bad = (SEVENTH.is_bad)(should_be as usize);
                    assert!(!(SEVENTH.is_bad)(*value as usize) && (is_bad || *value == should_be));
                }
            }
            // Another draw in another epoch.
            assert_ne!(epochs[0], epochs[1]);
        }
        for (values, indices) in epochs.iter().flatten() {
            assert_eq!(values, indices);
        }
        assert_eq!(first.get_or_insert_with(|| epochs.clone()), &epochs, "{setting:?}");
        assert_eq!(quarantined(&loader), SEVENTH.bad());
        let stats = loader.stats();
        assert_eq!((stats.substituted, stats.skipped), (2 * SEVENTH.bad().len() as u64, 0));
        // A worker may count what it has loaded after its batch has come.
        assert!(setting.0 > 0 || stats.samples == 2 * SEVENTH.len as u64, "{} were loaded", stats.samples);
    }
}

#[test]
fn what_the_sampler_does_not_give_does_not_stand_in_either() {
    let validation: Vec<usize> = (0..200).filter(|index| index % 5 == 0).collect();
    let loader = Loader::builder(SEVENTH)
        .sampler(SubsetRandomSampler::new(validation, Generator::manual_seed(0)))
        .batch_size(8)
        .num_workers(2)
        .on_error(OnError::Substitute)
        .build()
        .unwrap();
    let values: Vec<i64> = epoch(&loader).into_iter().flat_map(|(values, _)| values).collect();
    assert!(values.len() == 40 && values.iter().all(|value| value % 5 == 0));
    assert!(loader.stats().substituted > 0);
}

#[test]
fn where_hardly_any_sample_is_good_the_batch_is_an_error_that_says_so() {
    for setting in SETTINGS {
        let hopeless = Faulty { len: 6, is_bad: |index| index != 6 };
        let builder = Loader::builder(hopeless).batch_size(3).on_error(OnError::Substitute);
        let loader = with(builder, setting).build().unwrap();
        let mut epoch = loader.epoch();
        let error = epoch.next().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.index()), (ErrorKind::Other, Some(0)));
        assert_eq!(
            error.to_string(),
            "sample 0 (/data/0): none of 16 others could be loaded in its place either: 0 is even",
            "{setting:?}"
        );
        assert_eq!(epoch.indices().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(epoch.next().unwrap().is_err());
        assert!(epoch.next().is_none());
        drop(epoch);
        assert_eq!(loader.stats().buffers_live, 0);
    }
}

#[test]
fn what_takes_long_and_fails_is_among_the_slowest() {
    let dataset = (0..4).collect::<InMemory<i64>>().map(|number: i64, _: &mut SampleRng| {
        if number == 2 {
            std::thread::sleep(Duration::from_millis(20));
            return Err(Error::msg("it took too long"));
        }
        Ok(number)
    });
    for on_error in [OnError::Fail, OnError::Skip, OnError::Substitute] {
        let loader = Loader::builder(dataset.clone()).batch_size(4).on_error(on_error).build().unwrap();
        loader.epoch().for_each(drop);
        let slowest = loader.stats().slowest[0].clone();
        assert_eq!(slowest.index, 2);
        assert!(slowest.time >= Duration::from_millis(20));
    }
}
