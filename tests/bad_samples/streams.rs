//! Bad records and bad shards of an iterable dataset.

use std::path::PathBuf;

use sutler::{Error, IterableDataset, IterableLoader, OnError, Result, SampleRng};

use super::SETTINGS;

/// Five shards of seven records, numbered through. Some cannot be decoded, and shard 2 cannot be read beyond its third.
#[derive(Default)]
pub(crate) struct Shards {
    all_is_well: bool,
}

impl IterableDataset for Shards {
    type Record = usize;
    type Records = Box<dyn Iterator<Item = Result<usize>> + Send>;
    type Sample = i64;

    fn num_shards(&self) -> usize {
        5
    }

    fn records(&self, shard: usize, _epoch: u64, skip: usize) -> Result<Self::Records> {
        let ends = shard == 2 && !self.all_is_well;
        Ok(Box::new((skip..7).map(move |record| match record {
            3 if ends => Err(Error::msg("the shard ends in the middle of a record")),
            record => Ok(7 * shard + record),
        })))
    }

    fn decode(&self, record: usize, _: &mut SampleRng) -> Result<i64> {
        match record % 11 {
            5 if !self.all_is_well => Err(Error::msg("five")),
            9 if !self.all_is_well => panic!("nine"),
            _ => Ok(record as i64),
        }
    }

    fn path(&self, shard: usize) -> Option<PathBuf> {
        Some(format!("/shards/{shard}").into())
    }
}

#[test]
fn bad_records_are_left_out_and_a_shard_that_ends_early_is_in_quarantine() {
    let epochs = SETTINGS.map(|(num_workers, _)| {
        let builder =
            IterableLoader::builder(Shards::default()).batch_size(4).interleave(3).seed(0).on_error(OnError::Skip);
        let loader = builder.num_workers(num_workers).build().unwrap();
        let batches: Vec<Vec<i64>> = loader.epoch().map(|batch| batch.unwrap().to_vec()).collect();
        let report = loader.quarantine().to_string();
        let mut values: Vec<i64> = batches.concat();
        values.sort();
        let good = |record: &i64| !matches!(record % 11, 5 | 9) && !(17..21).contains(record);
        assert_eq!(values, (0..35).filter(good).collect::<Vec<i64>>());
        for entry in [
            "sample 3 of shard 2 (/shards/2): the shard ends in the middle of a record",
            "sample 5 of shard 0 (/shards/0): five",
            "sample 2 of shard 1 (/shards/1): loading the sample panicked: nine",
            "sample 2 of shard 2 (/shards/2): five",
        ] {
            assert!(report.contains(entry), "{report}");
        }
        assert_eq!(loader.quarantine().len(), 6, "{report}");
        (batches, report)
    });
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
}

#[test]
fn a_resumed_stream_knows_what_was_bad_and_gives_the_rest() {
    for num_workers in [0, 2] {
        let build = || {
            let builder = IterableLoader::builder(Shards::default()).batch_size(4).interleave(3).seed(0);
            builder.num_workers(num_workers).on_error(OnError::Skip).build().unwrap()
        };
        let whole = build();
        let batches: Vec<Vec<i64>> = whole.epoch().map(|batch| batch.unwrap().to_vec()).collect();
        for stop in 0..=batches.len() {
            let first = build();
            let mut epoch = first.epoch();
            epoch.by_ref().take(stop).for_each(|batch| drop(batch.unwrap()));
            let state = epoch.state().to_string().parse().unwrap();
            let second = build();
            let rest: Vec<Vec<i64>> = second.resume(&state).unwrap().map(|batch| batch.unwrap().to_vec()).collect();
            assert_eq!(rest, batches[stop..], "after {stop} batches");
            assert_eq!(second.quarantine(), whole.quarantine());
        }
    }
}

#[test]
fn a_stream_without_faults_is_the_same_whatever_it_would_do_about_them() {
    let epoch = |on_error| -> Vec<Vec<i64>> {
        let builder = IterableLoader::builder(Shards { all_is_well: true }).batch_size(4).on_error(on_error);
        builder.build().unwrap().epoch().map(|batch| batch.unwrap().to_vec()).collect()
    };
    assert_eq!(epoch(OnError::Fail), epoch(OnError::Skip));
}
