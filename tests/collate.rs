//! What each kind of sample becomes, however the batch is cut among the workers, and what is said of samples that do
//! not fit together.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::path::PathBuf;
use std::sync::Arc;

use sutler::{
    BatchPlan, Collate, Dataset, ErrorKind, HostTensor, InMemory, Loader, Result, SampleRng, Shape, Stack, Stackable,
};

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

// ---- maps ----

/// A hasher that is not the default one.
type Fixed = BuildHasherDefault<DefaultHasher>;

#[test]
fn maps_become_maps_of_batches() {
    let names = ["tall", "small", "wide"];
    let values = |i: i64| names.map(|name| (name.to_string(), vec![10 * i, name.len() as i64]));
    let expected = |batch: &[i64]| {
        let rows = |name: &str| batch.iter().flat_map(|i| [10 * i, name.len() as i64]).collect::<Vec<_>>();
        BTreeMap::from(names.map(|name| (name.to_string(), ([batch.len(), 2], rows(name)))))
    };
    let expected = [expected(&[0, 1, 2]), expected(&[3, 4, 5]), expected(&[6])];
    fn seen(batch: (String, HostTensor<i64>)) -> (String, ([usize; 2], Vec<i64>)) {
        let (key, tensor) = batch;
        (key, (tensor.shape().try_into().unwrap(), tensor.to_vec()))
    }

    let ordered: Vec<BTreeMap<String, Vec<i64>>> = (0..7).map(|i| values(i).into()).collect();
    for epoch in batches(&ordered, 3, Stack) {
        let epoch: Vec<BTreeMap<_, _>> = epoch.into_iter().map(|batch| batch.into_iter().map(seen).collect()).collect();
        assert_eq!(epoch, expected);
    }
    let hashed: Vec<HashMap<String, Vec<i64>>> = (0..7).map(|i| values(i).into()).collect();
    for epoch in batches(&hashed, 3, Stack) {
        let epoch: Vec<BTreeMap<_, _>> = epoch.into_iter().map(|batch| batch.into_iter().map(seen).collect()).collect();
        assert_eq!(epoch, expected);
    }
    let hashed: Vec<HashMap<String, Vec<i64>, Fixed>> = (0..7).map(|i| values(i).into_iter().collect()).collect();
    for epoch in batches(&hashed, 3, Stack) {
        let _: &HashMap<_, _, Fixed> = &epoch[0];
        let epoch: Vec<BTreeMap<_, _>> = epoch.into_iter().map(|batch| batch.into_iter().map(seen).collect()).collect();
        assert_eq!(epoch, expected);
    }
}

#[test]
fn maps_of_maps_and_tuples_in_tuples_are_collated_to_the_bottom() {
    type Sample = (u8, BTreeMap<&'static str, HashMap<u8, (i64, &'static str)>>);
    let sample = |i: i64| -> Sample {
        let inner = |base: i64, name| HashMap::from([(1, (base + i, name)), (2, (base - i, "same"))]);
        (i as u8, BTreeMap::from([("x", inner(100, "one")), ("y", inner(200, "two"))]))
    };
    let samples: Vec<Sample> = (0..5).map(sample).collect();
    for epoch in batches(&samples, 4, Stack) {
        assert_eq!(epoch.len(), 2);
        let (numbers, maps) = &epoch[0];
        assert_eq!(numbers.to_vec(), [0, 1, 2, 3]);
        assert_eq!(maps.keys().copied().collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!((maps["x"].len(), maps["y"].len()), (2, 2));
        assert_eq!((&*maps["x"][&1].0, &*maps["x"][&1].1), (&[100, 101, 102, 103][..], &["one"; 4][..]));
        assert_eq!((&*maps["x"][&2].0, &*maps["x"][&2].1), (&[100, 99, 98, 97][..], &["same"; 4][..]));
        assert_eq!((&*maps["y"][&1].0, &*maps["y"][&1].1), (&[200, 201, 202, 203][..], &["two"; 4][..]));
        assert_eq!(*maps["y"][&2].0, [200, 199, 198, 197]);
        let (numbers, maps) = &epoch[1];
        assert_eq!((&**numbers, &*maps["y"][&2].0, &*maps["x"][&1].1), (&[4][..], &[196][..], &["one"][..]));
    }
}

#[test]
fn maps_without_keys_are_a_map_without_keys() {
    let samples: Vec<(i64, HashMap<String, f32>)> = (0..5).map(|i| (i, HashMap::new())).collect();
    for epoch in batches(&samples, 3, Stack) {
        let epoch: Vec<_> = epoch.into_iter().map(|(numbers, map)| (numbers.to_vec(), map.len())).collect();
        assert_eq!(epoch, [(vec![0, 1, 2], 0), (vec![3, 4], 0)]);
    }
    for epoch in batches(&[const { BTreeMap::<u8, u8>::new() }; 5], 3, Stack) {
        assert_eq!(epoch.iter().map(BTreeMap::len).collect::<Vec<_>>(), [0, 0]);
    }
}

#[test]
fn batches_may_differ_in_their_keys() {
    let samples: Vec<BTreeMap<i64, i64>> =
        (0..6).map(|i| (0..=i / 2).map(|key| (key, 10 * key + i)).collect()).collect();
    for epoch in batches(&samples, 2, Stack) {
        let epoch: Vec<Vec<_>> = epoch
            .into_iter()
            .map(|batch| batch.into_iter().map(|(key, tensor)| (key, tensor.to_vec())).collect())
            .collect();
        assert_eq!(
            epoch,
            [
                vec![(0, vec![0, 1])],
                vec![(0, vec![2, 3]), (1, vec![12, 13])],
                vec![(0, vec![4, 5]), (1, vec![14, 15]), (2, vec![24, 25])],
            ]
        );
    }
}

/// A sample that writes where it is written.
#[derive(Clone)]
struct Whereabouts;

impl Stackable for Whereabouts {
    type Element = u64;

    fn shape(&self) -> Shape {
        Shape::SCALAR
    }

    fn write(&self, slot: &mut [u64]) -> Result<()> {
        slot[0] = slot.as_ptr() as u64;
        Ok(())
    }
}

#[test]
fn values_of_maps_are_written_where_the_batch_has_them() {
    let samples = vec![BTreeMap::from(["a", "b", "c"].map(|key| (key, Whereabouts))); 23];
    for epoch in batches(&samples, 10, Stack) {
        for tensor in epoch.iter().flat_map(BTreeMap::values) {
            assert!(tensor.iter().all(|place| *place == std::ptr::from_ref(place) as u64));
        }
    }
}

#[test]
fn a_steady_epoch_of_maps_allocates_no_buffer() {
    for (num_workers, chunk_size) in SETTINGS {
        // Large ones, of which the pool holds no more than can be in use.
        let samples: InMemory<HashMap<u8, BTreeMap<&str, Vec<u8>>>> = (0..10)
            .map(|i| HashMap::from([(i / 10, BTreeMap::from(["a", "b"].map(|key| (key, vec![i; 1 << 20]))))]))
            .collect();
        let loader =
            Loader::builder(samples).batch_size(4).num_workers(num_workers).chunk_size(chunk_size).build().unwrap();
        loader.epoch().for_each(|batch| drop(batch.unwrap()));
        let warm = loader.stats();
        (0..2).flat_map(|_| loader.epoch()).for_each(|batch| drop(batch.unwrap()));
        let steady = loader.stats().since(&warm);
        assert_eq!((steady.buffers_allocated, steady.buffers_live), (0, 0));
        assert_eq!(steady.buffers_leased, 2 * 3 * 2);
    }
}

#[test]
fn maps_with_other_keys_are_told_with_the_key_and_both_samples() {
    let advice = "the maps of a batch must all have the same keys (fill in a default, or take the key out of all)";
    let lacks = |key: &str, one: usize, other: usize| {
        format!("sample {one}: it lacks the key {key:?}, and sample {other} in the same batch has it: {advice}")
    };
    let has = |key: &str, one: usize, other: usize| {
        format!("sample {one}: it has the key {key:?}, and sample {other} in the same batch lacks it: {advice}")
    };
    let samples = |odd: &[&'static str]| -> Vec<BTreeMap<&'static str, i64>> {
        (0..9).map(|i| if i == 4 { odd } else { &["a", "c"] }.iter().map(|key| (*key, i)).collect()).collect()
    };
    for (odd, one_way, other_way) in [
        (&["a"][..], lacks("c", 4, 3), [lacks("c", 4, 5), has("c", 3, 4)]),
        (&["a", "b", "c"], has("b", 4, 3), [has("b", 4, 5), lacks("b", 3, 4)]),
        // One that is missing goes before one that is there in its stead.
        (&["b", "c"], lacks("a", 4, 3), [lacks("a", 4, 5), lacks("b", 3, 4)]),
        (&[], lacks("a", 4, 3), [lacks("a", 4, 5), has("a", 3, 4)]),
    ] {
        let ordered = samples(odd);
        let hashed: Vec<HashMap<_, _>> = ordered.iter().map(|map| map.clone().into_iter().collect()).collect();
        let errors = |ok: Vec<bool>, error: &sutler::Error, settings: (usize, usize)| {
            assert_eq!(ok, [true, false, true]);
            assert_eq!(error.kind(), ErrorKind::Collate);
            let error = error.to_string();
            // Whoever comes first decides which keys there are.
            assert!(error == one_way || settings.0 > 1 && other_way.contains(&error), "{error}");
        };
        for (epoch, settings) in each_way(&ordered, 3, Stack).iter().zip(SETTINGS) {
            errors(epoch.iter().map(Result::is_ok).collect(), epoch[1].as_ref().unwrap_err(), settings);
        }
        for (epoch, settings) in each_way(&hashed, 3, Stack).iter().zip(SETTINGS) {
            errors(epoch.iter().map(Result::is_ok).collect(), epoch[1].as_ref().unwrap_err(), settings);
        }
    }
}

/// A sample whose batch cannot be started.
#[derive(Clone)]
struct Bomb;

impl Collate<Bomb> for Stack {
    type Batch = ();
    type Part = ();

    fn start(&self, _: BatchPlan<'_>) {
        panic!("tick");
    }
    fn split_off(&self, _: &mut (), _: usize) {}
    fn push(&self, _: &mut (), _: Bomb) -> Result<()> {
        Ok(())
    }
    fn unite(&self, _: &mut (), _: ()) {}
    fn finish(&self, _: ()) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_while_the_keys_are_dealt_out_costs_the_batch_and_hangs_nobody() {
    for epoch in each_way(&vec![BTreeMap::from([("x", Bomb)]); 9], 3, Stack) {
        assert_eq!(epoch.len(), 3);
        for error in epoch.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::Panic);
            let text = error.to_string();
            let cause = text.split_once(": ").unwrap().1;
            let possible = ["loading the sample panicked: tick", "the batch is lost: another part of it panicked"];
            assert!(possible.contains(&cause), "{text}");
        }
    }
}

/// A sample that cannot be written.
#[derive(Clone)]
struct Unwritable;

impl Stackable for Unwritable {
    type Element = u8;

    fn shape(&self) -> Shape {
        Shape::SCALAR
    }

    fn write(&self, _: &mut [u8]) -> Result<()> {
        Err(sutler::Error::other(std::io::Error::other("no ink")))
    }
}

#[test]
fn a_value_that_does_not_fit_is_told_with_its_keys() {
    let first_error =
        |epochs: Vec<Vec<Result<_>>>| epochs.into_iter().next().unwrap().remove(0).err().unwrap().to_string();
    let values = |len| BTreeMap::from([("x", BTreeMap::from([(7, vec![0_u8; len])]))]);
    let error = each_way(&[values(2), values(3)], 2, Stack).remove(0).remove(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "sample 1: at key \"x\": at key 7: its shape is [3], but that of sample 0 in the same batch is [2]: samples are \
         stacked only if all have one shape (resize or pad them, or use another collate)"
    );
    let sequences = [2, 3].map(|len| BTreeMap::from([('k', vec!["x"; len])]));
    let error = each_way(&sequences, 2, Stack).remove(0).remove(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "sample 1: at key 'k': it is a sequence of 3, but sample 0 in the same batch is one of 2: sequences of strings \
         are transposed, so all must have one length (cut or fill them, or use a collate function)"
    );
    assert_eq!(
        first_error(each_way(&[BTreeMap::from([("x", Unwritable)])], 2, Stack)),
        "sample 0: at key \"x\": no ink"
    );
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
