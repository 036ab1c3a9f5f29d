//! What each kind of sample becomes, however the batch is cut among the workers, and what is said of samples that do
//! not fit together.

use std::path::PathBuf;

use sutler::{Collate, Dataset, ErrorKind, InMemory, Loader, Result, SampleRng, Stack};

/// By how many workers a batch is made, and in parts of how many samples.
const SETTINGS: [(usize, usize); 8] = [(0, 1), (1, 1), (1, 3), (3, 1), (3, 2), (3, 3), (3, 5), (3, 100)];

/// The batches of an epoch over `samples`, once for each setting.
fn each_way<S, C>(samples: &[S], batch_size: usize, collate: C) -> Vec<Vec<Result<C::Batch>>>
where
    S: Clone + Send + Sync + 'static,
    C: Collate<S> + Copy + 'static,
{
    let epoch = |(num_workers, chunk_size)| {
        let loader = Loader::builder(InMemory::new(samples.to_vec()))
            .batch_size(batch_size)
            .num_workers(num_workers)
            .chunk_size(chunk_size)
            .collate(collate)
            .build()
            .unwrap();
        loader.epoch().collect()
    };
    SETTINGS.into_iter().map(epoch).collect()
}

// ---- samples that do not fit together ----

#[test]
fn a_shape_that_does_not_fit_is_told_with_both_samples() {
    let advice = "samples are stacked only if all have one shape (resize or pad them, or use another collate)";
    let clash = |one: usize, other: usize| {
        let shape = |index| [if index == 4 { 2 } else { 3 }];
        let (found, expected) = (shape(one), shape(other));
        format!(
            "sample {one}: its shape is {found:?}, but that of sample {other} in the same batch is {expected:?}: {advice}"
        )
    };
    let samples: Vec<Vec<i64>> = (0..9).map(|i| vec![i; if i == 4 { 2 } else { 3 }]).collect();
    for epoch in each_way(&samples, 3, Stack) {
        assert_eq!(epoch.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        let error = epoch[1].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Collate);
        // Whoever comes first decides the shape; of those that then do not fit, the first in order is reported.
        let possible = [clash(4, 3), clash(4, 5), clash(3, 4)];
        assert!(possible.contains(&error.to_string()), "{error}");
    }
}

/// A dataset of files that are not read.
struct Files;

impl Dataset for Files {
    type Sample = Vec<u8>;

    fn len(&self) -> usize {
        8
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<Vec<u8>> {
        Ok(vec![0; if index == 1 { 5 } else { 4 }])
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        Some(format!("/data/{index}.raw").into())
    }
}

#[test]
fn both_samples_are_named_by_index_and_the_one_to_blame_by_path() {
    // In the second batch, at its third place, is sample 1.
    let order = sutler::Order::from(vec![0, 7, 6, 5, 3, 2, 1, 4]);
    struct Fixed(sutler::Order);
    impl sutler::Sampler for Fixed {
        fn order(&self, _: u64, _: usize) -> Result<sutler::Order> {
            Ok(self.0.clone())
        }
    }
    let loader = Loader::builder(Files).batch_size(4).sampler(Fixed(order)).build().unwrap();
    let error = loader.epoch().nth(1).unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "sample 1 (/data/1.raw): its shape is [5], but that of sample 3 in the same batch is [4]: samples are stacked \
         only if all have one shape (resize or pad them, or use another collate)"
    );
}
