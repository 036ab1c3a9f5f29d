//! How many samples may be bad.

use sutler::{ErrorKind, InMemory, IterableLoader, Loader, OnError};

use super::{Faulty, SETTINGS, streams::Shards, with};

/// Bad are 5, 15, 25 and so on: ten of a hundred.
const TENTH: Faulty = Faulty { len: 100, is_bad: |index| index % 10 == 5 };

#[test]
fn one_more_than_allowed_is_an_error_of_its_batch_whoever_met_it_first() {
    for setting in SETTINGS {
        for (allowed, by_share) in [(0, 0.0), (3, 0.039), (9, 0.09)] {
            let builder = || with(Loader::builder(TENTH).batch_size(10).on_error(OnError::Skip), setting);
            for (builder, name) in [
                (builder().max_bad_samples(allowed), "max_bad_samples"),
                (builder().max_bad_share(by_share), "max_bad_share"),
                (builder().max_bad_share(by_share).max_bad_samples(100), "max_bad_share"),
            ] {
                let loader = builder.build().unwrap();
                for (number, batch) in loader.epoch().enumerate() {
                    match batch {
                        Ok(batch) => assert!(number < allowed && batch.len() == 9),
                        Err(error) => {
                            assert!(number >= allowed, "{error}");
                            assert_eq!((error.kind(), error.index()), (ErrorKind::Budget, Some(10 * number + 5)));
                            let (count, index) = (number + 1, 10 * number + 5);
                            let text = error.to_string();
                            assert!(
                                text.starts_with(&format!(
                                    "sample {index} (/data/{index}): {count} samples could not be loaded, and {name} \
                                     allows {allowed}; this is one of them: "
                                )) && text.ends_with(&format!("{index} is odd")),
                                "{text}"
                            );
                        }
                    }
                }
                // Each is counted once, and in quarantine whether it was too many or not.
                assert_eq!((loader.quarantine().len(), loader.stats().errors), (10, 10 - allowed as u64));
                // What is too much stays so: those beyond are errors in each epoch.
                let again: Vec<bool> = loader.epoch().map(|batch| batch.is_ok()).collect();
                assert_eq!(again, (0..10).map(|number| number < allowed).collect::<Vec<_>>());
                assert_eq!(loader.quarantine().len(), 10);
            }
        }
    }
}

#[test]
fn as_many_as_allowed_are_no_error_in_any_number_of_epochs() {
    let loader = Loader::builder(TENTH).batch_size(7).on_error(OnError::Substitute).max_bad_share(0.1).build().unwrap();
    for _ in 0..3 {
        assert_eq!(loader.epoch().map(|batch| batch.unwrap().len()).sum::<usize>(), 100);
    }
    assert_eq!(loader.stats().bad_samples, 10);
}

#[test]
fn settings_that_make_no_sense_are_refused_with_what_to_do() {
    let builder = || Loader::builder((0..4).collect::<InMemory<i64>>());
    for (builder, text) in [
        (builder().max_bad_samples(3), "Set on_error to OnError::Skip or OnError::Substitute"),
        (builder().max_bad_share(0.1), "Set on_error to OnError::Skip or OnError::Substitute"),
        (builder().on_error(OnError::Skip).max_bad_share(1.5), "between 0 and 1"),
        (builder().on_error(OnError::Skip).max_bad_share(f64::NAN), "between 0 and 1"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(text), "{error}");
    }
    let stream = || IterableLoader::builder(Shards::default());
    for (builder, text) in [
        (stream().on_error(OnError::Substitute), "use OnError::Skip"),
        (stream().on_error(OnError::Skip).max_bad_share(0.1), "Use max_bad_samples"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(text), "{error}");
    }
}
