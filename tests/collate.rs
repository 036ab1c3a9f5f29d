//! What each kind of sample becomes, however the batch is cut among the workers, and what is said of samples that do
//! not fit together.

use std::path::PathBuf;
use std::sync::Arc;

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

/// The same where all goes well.
fn batches<S, C>(samples: &[S], batch_size: usize, collate: C) -> Vec<Vec<C::Batch>>
where
    S: Clone + Send + Sync + 'static,
    C: Collate<S> + Copy + 'static,
{
    let each = each_way(samples, batch_size, collate);
    each.into_iter().map(|epoch| epoch.into_iter().map(Result::unwrap).collect()).collect()
}

// ---- strings ----

#[test]
fn strings_stay_a_list() {
    let words = ["a", "bb", "", "dddd", "e", "f", "g"];
    let expected = [vec!["a", "bb", ""], vec!["dddd", "e", "f"], vec!["g"]];
    for epoch in batches(&words, 3, Stack) {
        assert_eq!(epoch, expected);
    }
    for epoch in batches(&words.map(String::from), 3, Stack) {
        let epoch: Vec<Vec<String>> = epoch;
        assert_eq!(epoch, expected);
    }
    for epoch in batches(&words.map(Arc::<str>::from), 3, Stack) {
        let epoch: Vec<Vec<Arc<str>>> = epoch;
        assert_eq!(epoch, expected.clone().map(|batch| batch.into_iter().map(Arc::from).collect::<Vec<_>>()));
    }
    for epoch in batches(&words.map(PathBuf::from), 3, Stack) {
        let epoch: Vec<Vec<PathBuf>> = epoch;
        assert_eq!(epoch, expected.clone().map(|batch| batch.into_iter().map(PathBuf::from).collect::<Vec<_>>()));
    }
}

#[test]
fn a_string_is_not_copied_on_its_way_into_the_batch() {
    let texts: Vec<Arc<str>> = (0..7).map(|i| i.to_string().into()).collect();
    for epoch in batches(&texts, 3, Stack) {
        assert!(epoch.concat().iter().zip(&texts).all(|(text, original)| Arc::ptr_eq(text, original)));
    }
}

#[test]
fn nothing_is_a_list_of_nothings_and_still_counts() {
    let samples: Vec<(u8, ())> = (0..5).map(|i| (i, ())).collect();
    for epoch in batches(&samples, 3, Stack) {
        let epoch: Vec<_> = epoch.into_iter().map(|(numbers, nothings)| (numbers.to_vec(), nothings)).collect();
        assert_eq!(epoch, [(vec![0, 1, 2], vec![(), (), ()]), (vec![3, 4], vec![(), ()])]);
    }
}

#[test]
fn sequences_of_strings_are_transposed() {
    let samples = [["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"], ["i", "j"]].map(Vec::from);
    let expected = [[vec!["a", "c", "e"], vec!["b", "d", "f"]], [vec!["g", "i"], vec!["h", "j"]]];
    for epoch in batches(&samples, 3, Stack) {
        assert_eq!(epoch, expected);
    }
    let owned = samples.map(|sample| sample.into_iter().map(String::from).collect::<Vec<_>>());
    for epoch in batches(&owned, 3, Stack) {
        assert_eq!(epoch, expected);
    }
    for epoch in batches(&[const { Vec::<PathBuf>::new() }; 5], 3, Stack) {
        let positions: Vec<usize> = epoch.iter().map(Vec::len).collect();
        assert_eq!(positions, [0, 0], "two batches, without a position");
    }
}

#[test]
fn sequences_of_strings_of_other_lengths_are_told_with_both_samples() {
    let samples = [2, 2, 2, 2, 3, 1].map(|len| vec!["x"; len]);
    for epoch in each_way(&samples, 3, Stack) {
        assert_eq!(epoch[0].as_ref().unwrap().len(), 2);
        let error = epoch[1].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.index(), error.batch()), (ErrorKind::Collate, Some(4), &[][..]));
        assert_eq!(
            error.to_string(),
            "sample 4: it is a sequence of 3, but sample 3 in the same batch is one of 2: sequences of strings are \
             transposed, so all must have one length (cut or fill them, or use a collate function)"
        );
    }
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
