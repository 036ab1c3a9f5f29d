//! What each kind of sample becomes, however the batch is cut among the workers, and what is said of samples that do
//! not fit together.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use proptest::prelude::*;
use sutler::{
    BatchPlan, BufferPool, Collate, Dataset, ErrorKind, HostTensor, InMemory, Loader, Pad, Result, SampleRng, Shape,
    Stack, Stackable,
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
            let text = error.to_string();
            let said = (error.kind(), text.split_once(": ").unwrap().1);
            // The first sample of the batch may be one of the part that panicked, or of another.
            let panicked = (ErrorKind::Panic, "putting the sample into the batch panicked: tick");
            let lost = (ErrorKind::Collate, "the batch is lost: another part of it panicked");
            assert!(said == panicked || said == lost, "{text}");
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
        "sample 1: at key \"x\": at key 7: its shape is [3], but that of sample 0 in the same batch is [2]: samples \
         are stacked only if all have one shape (Resize or CenterCrop make images so; the collate Pad takes sequences \
         of any length)"
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

// ---- sequences of different lengths ----

/// A padded batch as one would write it down: the values, the lengths, and the mask.
fn padded_by_hand(samples: &[Vec<i64>], value: i64, left: bool, multiple: usize) -> (Vec<i64>, Vec<i64>, Vec<bool>) {
    let mut longest = samples.iter().map(Vec::len).max().unwrap();
    while longest % multiple != 0 {
        longest += 1;
    }
    let (mut values, mut mask) = (Vec::new(), Vec::new());
    for sample in samples {
        let padding = longest - sample.len();
        for _ in 0..if left { padding } else { 0 } {
            values.push(value);
            mask.push(false);
        }
        for own in sample {
            values.push(*own);
            mask.push(true);
        }
        for _ in 0..if left { 0 } else { padding } {
            values.push(value);
            mask.push(false);
        }
    }
    (values, samples.iter().map(|sample| sample.len() as i64).collect(), mask)
}

#[test]
fn sequences_are_padded_to_the_longest_of_their_batch() {
    let samples = [vec![1], vec![2, 3, 4], vec![5, 6], vec![7, 8], vec![], vec![9], vec![10, 11, 12, 13]];
    for epoch in batches(&samples, 3, Pad::new(0_i16)) {
        let shapes: Vec<_> = epoch.iter().map(|(values, lengths)| [values.shape(), lengths.shape()]).collect();
        assert_eq!(shapes, [[&[3, 3][..], &[3]], [&[3, 2], &[3]], [&[1, 4], &[1]]]);
        assert_eq!(*epoch[0].0, [1, 0, 0, 2, 3, 4, 5, 6, 0]);
        assert_eq!(*epoch[0].1, [1, 3, 2]);
        assert_eq!(*epoch[1].0, [7, 8, 0, 0, 9, 0]);
        assert_eq!(*epoch[1].1, [2, 0, 1]);
        assert_eq!(*epoch[2].0, [10, 11, 12, 13]);
        assert_eq!(*epoch[2].1, [4]);
    }
    for epoch in batches(&samples, 3, Pad::new(-1).left()) {
        assert_eq!(*epoch[0].0, [-1, -1, 1, 2, 3, 4, -1, 5, 6]);
        assert_eq!(*epoch[0].1, [1, 3, 2]);
        assert_eq!(*epoch[1].0, [7, 8, -1, -1, -1, 9]);
        assert_eq!(*epoch[2].0, [10, 11, 12, 13]);
    }
    for epoch in batches(&samples, 3, Pad::new(0).to_multiple_of(4)) {
        assert_eq!(epoch[0].0.shape(), [3, 4]);
        assert_eq!(*epoch[0].0, [1, 0, 0, 0, 2, 3, 4, 0, 5, 6, 0, 0]);
        assert_eq!(*epoch[1].0, [7, 8, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(*epoch[2].0, [10, 11, 12, 13]);
    }
}

#[test]
fn a_mask_is_true_where_there_is_a_value() {
    let samples = [vec![0.5_f32], vec![1.5, 2.5], vec![], vec![3.5]];
    for epoch in batches(&samples, 3, Pad::new(0.0).with_mask()) {
        let (values, mask) = &epoch[0];
        assert_eq!((values.shape(), &**values), (&[3, 2][..], &[0.5, 0.0, 1.5, 2.5, 0.0, 0.0][..]));
        assert_eq!((mask.shape(), &**mask), (&[3, 2][..], &[true, false, true, true, false, false][..]));
        assert_eq!((&*epoch[1].0, &*epoch[1].1), (&[3.5][..], &[true][..]));
    }
    for epoch in batches(&samples, 3, Pad::new(9.0).left().to_multiple_of(3).with_mask()) {
        let (values, mask) = &epoch[0];
        assert_eq!((values.shape(), &**values), (&[3, 3][..], &[9.0, 9.0, 0.5, 9.0, 1.5, 2.5, 9.0, 9.0, 9.0][..]));
        assert_eq!(**mask, [false, false, true, false, true, true, false, false, false]);
        assert_eq!((&*epoch[1].0, &*epoch[1].1), (&[9.0, 9.0, 3.5][..], &[false, false, true][..]));
    }
}

/// Some frames of some features each.
#[derive(Clone)]
struct Frames(Shape, Vec<u8>);

impl Stackable for Frames {
    type Element = u8;

    fn shape(&self) -> Shape {
        self.0
    }

    fn write(&self, slot: &mut [u8]) -> Result<()> {
        slot.copy_from_slice(&self.1);
        Ok(())
    }
}

fn frames<const D: usize>(dims: [usize; D], value: u8) -> Frames {
    Frames(dims.into(), vec![value; dims.iter().product()])
}

#[test]
fn samples_of_more_dimensions_are_padded_along_the_first() {
    let samples = [frames([1, 2, 2], 1), frames([2, 2, 2], 2), frames([0, 2, 2], 3)];
    for epoch in batches(&samples, 3, Pad::new(9)) {
        let (values, lengths) = &epoch[0];
        assert_eq!(values.shape(), [3, 2, 2, 2]);
        assert_eq!(**values, [[1; 4], [9; 4], [2; 4], [2; 4], [9; 4], [9; 4]].concat());
        assert_eq!(**lengths, [1, 2, 0]);
    }
    for epoch in batches(&samples, 3, Pad::new(9).left().with_mask()) {
        let (values, mask) = &epoch[0];
        assert_eq!(**values, [[9; 4], [1; 4], [2; 4], [2; 4], [9; 4], [9; 4]].concat());
        assert_eq!((mask.shape(), &**mask), (&[3, 2][..], &[false, true, true, true, false, false][..]));
    }
    // A dimension that is 0 leaves the lengths.
    for epoch in batches(&[frames([3, 0], 1), frames([1, 0], 2)], 2, Pad::new(9)) {
        assert_eq!((epoch[0].0.shape(), epoch[0].0.len(), &*epoch[0].1), (&[2, 3, 0][..], 0, &[3, 1][..]));
    }
}

#[test]
fn sequences_that_are_all_empty_are_a_batch_without_values() {
    let samples = vec![Vec::<f64>::new(); 5];
    for epoch in batches(&samples, 3, Pad::new(1.0).to_multiple_of(8)) {
        let shapes: Vec<_> = epoch.iter().map(|(values, lengths)| (values.shape(), &**lengths)).collect();
        assert_eq!(shapes, [(&[3, 0][..], &[0, 0, 0][..]), (&[2, 0], &[0, 0])]);
    }
    for epoch in batches(&samples, 3, Pad::new(1.0).with_mask()) {
        let shapes: Vec<_> = epoch.iter().map(|(values, mask)| [values.shape(), mask.shape()]).collect();
        assert_eq!(shapes, [[&[3, 0][..]; 2], [&[2, 0][..]; 2]]);
    }
}

#[test]
fn a_field_of_a_tuple_can_be_padded() {
    let samples = [(vec![1_i64], "one", 10_u8), (vec![2, 3], "two", 20), (vec![], "three", 30)];
    for epoch in batches(&samples, 2, (Pad::new(0), Stack, Stack)) {
        let ((values, lengths), words, numbers) = &epoch[0];
        assert_eq!((&**values, &**lengths), (&[1, 0, 2, 3][..], &[1, 2][..]));
        assert_eq!((&**words, &**numbers), (&["one", "two"][..], &[10, 20][..]));
        assert_eq!((epoch[1].0.0.shape(), &epoch[1].1, &*epoch[1].2), (&[1, 0][..], &vec!["three"], &[30][..]));
    }
}

#[test]
fn a_padded_sample_is_moved_and_written_once() {
    /// Counts how often it is written. It cannot be cloned behind our back: the dataset makes each anew.
    struct Counted(usize, Arc<AtomicUsize>);
    impl Stackable for Counted {
        type Element = i64;
        fn shape(&self) -> Shape {
            [self.0].into()
        }
        fn write(&self, slot: &mut [i64]) -> Result<()> {
            self.1.fetch_add(1, SeqCst);
            slot.fill(self.0 as i64);
            Ok(())
        }
    }
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let lengths: InMemory<usize> = (0..10).collect();
    let dataset = lengths.map(move |len: usize, _: &mut SampleRng| Ok(Counted(len, Arc::clone(&counter))));
    let loader =
        Loader::builder(dataset).batch_size(4).num_workers(3).chunk_size(1).collate(Pad::new(-1)).build().unwrap();
    assert_eq!(loader.epoch().map(|batch| batch.unwrap().0.len()).sum::<usize>(), 4 * 3 + 4 * 7 + 2 * 9);
    assert_eq!(written.load(SeqCst), 10);
}

#[test]
fn a_steady_epoch_of_padded_sequences_allocates_no_buffer() {
    for (num_workers, chunk_size) in SETTINGS {
        // The last batch is smaller; the longest of a batch has 250,000 to 255,000 values, one size of buffers.
        let samples: InMemory<Vec<u64>> = (0..10).map(|i| vec![i; 250_000 + i as usize * 7919 % 5000]).collect();
        let builder = || Loader::builder(samples.clone()).batch_size(4).num_workers(num_workers).chunk_size(chunk_size);
        let steady = |stats: &dyn Fn() -> sutler::Stats, epoch: &dyn Fn()| {
            epoch();
            let warm = stats();
            epoch();
            epoch();
            let steady = stats().since(&warm);
            assert_eq!((steady.buffers_allocated, steady.buffers_leased, steady.buffers_live), (0, 2 * 3 * 2, 0));
        };
        let loader = builder().shuffle(true).seed(0).collate(Pad::new(0)).build().unwrap();
        steady(&|| loader.stats(), &|| loader.epoch().for_each(|batch| drop(batch.unwrap())));
        let loader = builder().shuffle(true).seed(0).collate(Pad::new(0).with_mask()).build().unwrap();
        steady(&|| loader.stats(), &|| loader.epoch().for_each(|batch| drop(batch.unwrap())));
    }
}

#[test]
fn samples_that_cannot_be_padded_together_are_told_with_both_shapes() {
    let samples = [frames([1, 2], 0), frames([3, 2], 0), frames([2, 2], 0), frames([5, 3], 0)];
    let expected = "sample 3: its shape is [5, 3], but that of sample 2 in the same batch is [2, 2]: only the first \
                    dimension is padded, the others must be the same (crop or resize them)";
    for epoch in each_way(&samples, 2, Pad::new(0)) {
        assert_eq!(epoch[0].as_ref().unwrap().0.shape(), [2, 3, 2]);
        let error = epoch[1].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.index(), error.batch()), (ErrorKind::Collate, Some(3), &[][..]));
        assert_eq!(error.to_string(), expected);
    }
    for mut epoch in each_way(&samples, 2, Pad::new(0).with_mask()) {
        assert_eq!(epoch.remove(1).unwrap_err().to_string(), expected);
    }
    // Another number of dimensions, in a field of a tuple.
    let samples = [(frames([4], 0), 0_u8), (frames([4, 1], 0), 1), (frames([3], 0), 2)];
    for mut epoch in each_way(&samples, 3, (Pad::new(0), Stack)) {
        assert_eq!(
            epoch.remove(0).unwrap_err().to_string(),
            "sample 1: its shape is [4, 1], but that of sample 0 in the same batch is [4]: only the first dimension is \
             padded, the others must be the same (crop or resize them)"
        );
    }
}

#[test]
fn a_number_cannot_be_padded() {
    for mut epoch in each_way(&[1_u8, 2, 3], 2, Pad::new(0)) {
        assert_eq!(
            epoch.remove(0).unwrap_err().to_string(),
            "sample 0: its shape is [], without a dimension that could be padded: Pad is for sequences (Stack for \
             numbers)"
        );
    }
}

#[test]
fn a_sample_that_fails_while_the_batch_is_padded_is_named() {
    #[derive(Clone)]
    struct Torn(usize);
    impl Stackable for Torn {
        type Element = u8;
        fn shape(&self) -> Shape {
            [self.0].into()
        }
        fn write(&self, slot: &mut [u8]) -> Result<()> {
            match slot.len() {
                3 => Err(sutler::Error::msg("torn")),
                _ => Ok(()),
            }
        }
    }
    for mut epoch in each_way(&[1, 2, 1, 3].map(Torn), 2, Pad::new(0)) {
        assert_eq!(epoch.remove(1).unwrap_err().to_string(), "sample 3: torn");
    }
}

#[test]
fn padding_that_no_memory_holds_is_an_error_and_not_an_overflow() {
    let samples = [vec![1_u8, 2], vec![3]];
    for mut epoch in each_way(&samples, 2, Pad::new(0).to_multiple_of(usize::MAX)) {
        let error = epoch.remove(0).unwrap_err();
        assert_eq!((error.kind(), error.batch()), (ErrorKind::Limit, &[0, 1][..]));
    }
}

#[test]
#[should_panic(expected = "a length cannot be a multiple of 0")]
fn padding_to_a_multiple_of_0_is_refused() {
    let _ = Pad::new(0_u8).to_multiple_of(0);
}

// ---- samples that do not fit together ----

#[test]
fn a_shape_that_does_not_fit_is_told_with_both_samples() {
    let advice = "samples are stacked only if all have one shape (Resize or CenterCrop make images so; the collate \
                  Pad takes sequences of any length)";
    let clash = |one: usize, other: usize| {
        let shape = |index| [if index == 4 { 2 } else { 3 }];
        let (found, expected) = (shape(one), shape(other));
        let fact = format!("its shape is {found:?}, but that of sample {other} in the same batch is {expected:?}");
        format!("sample {one}: {fact}: {advice}")
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
         only if all have one shape (Resize or CenterCrop make images so; the collate Pad takes sequences of any \
         length)"
    );
}

// ---- anything, beside the naive way to get the same ----

/// What is done to a batch that is driven by hand: one of its runs is split, or one is filled.
#[derive(Clone, Copy, Debug)]
enum Step {
    Split(prop::sample::Index, prop::sample::Index),
    Fill(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let split = (index(), index()).prop_map(|(run, at)| Step::Split(run, at));
    prop::collection::vec(prop_oneof![3 => split, 1 => index().prop_map(Step::Fill)], 0..30)
}

/// The batch of `samples`, by runs of any length, filled in any order.
fn by_hand<S: Clone, C: Collate<S>>(collate: &C, samples: &[S], steps: &[Step]) -> C::Batch {
    let buffers = BufferPool::new(1);
    let len = samples.len();
    let whole =
        collate.start(BatchPlan { len, capacity: len, buffers: &buffers, field: 0, rng: &SampleRng::new(0, 0, 0) });
    // Each with what it covers, and whether it is filled.
    let mut runs = vec![(0..len, whole, false)];
    let fill = |(covers, part, is_filled): &mut (Range<usize>, C::Part, bool)| {
        if !std::mem::replace(is_filled, true) {
            samples[covers.clone()].iter().for_each(|sample| collate.push(part, sample.clone()).unwrap());
        }
    };
    for step in steps {
        match step {
            Step::Fill(run) => fill(run.get_mut(&mut runs)),
            Step::Split(run, at) => {
                let run = run.index(runs.len());
                let (covers, part, is_filled) = &mut runs[run];
                if !*is_filled {
                    let at = at.index(covers.len() + 1);
                    let rest = (covers.start + at..covers.end, collate.split_off(part, at), false);
                    covers.end = covers.start + at;
                    runs.insert(run + 1, rest);
                }
            }
        }
    }
    runs.iter_mut().rev().for_each(fill);
    let united = runs.into_iter().map(|(_, part, _)| part).reduce(|mut whole, part| {
        collate.unite(&mut whole, part);
        whole
    });
    collate.finish(united.unwrap()).unwrap()
}

/// The batches of an epoch.
fn loaded<S, C>(samples: &[S], collate: C, batch_size: usize, num_workers: usize, chunk_size: usize) -> Vec<C::Batch>
where
    S: Clone + Send + Sync + 'static,
    C: Collate<S> + 'static,
{
    let loader = Loader::builder(InMemory::new(samples.to_vec()))
        .batch_size(batch_size)
        .num_workers(num_workers)
        .chunk_size(chunk_size)
        .collate(collate)
        .build()
        .unwrap();
    loader.epoch().map(Result::unwrap).collect()
}

/// A map of values, and a list in each: keys and rows follow from the seed.
type Sample = BTreeMap<u8, (Vec<i64>, String)>;

fn maps(len: usize, keys: u8, width: usize) -> Vec<Sample> {
    let value = |i: usize, key: u8| (vec![i as i64 * 100 + i64::from(key); width], format!("{i} at {key}"));
    (0..len).map(|i| (0..keys).map(|key| (key, value(i, key))).collect()).collect()
}

/// Stacked key by key, with nothing clever.
fn stacked_by_hand(samples: &[Sample]) -> BTreeMap<u8, (Vec<i64>, Vec<String>)> {
    let rows = |key: &u8| samples.iter().flat_map(|sample| sample[key].0.clone()).collect();
    let texts = |key: &u8| samples.iter().map(|sample| sample[key].1.clone()).collect();
    samples[0].keys().map(|key| (*key, (rows(key), texts(key)))).collect()
}

/// A batch of maps as plain values.
fn plain<M: IntoIterator<Item = (u8, (HostTensor<i64>, Vec<String>))>>(
    batch: M,
) -> BTreeMap<u8, (Vec<i64>, Vec<String>)> {
    batch.into_iter().map(|(key, (rows, texts))| (key, (rows.to_vec(), texts))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn padding_is_what_padding_by_hand_gives(
        lengths in prop::collection::vec(0_usize..12, 1..40),
        value: i64,
        left: bool,
        multiple in 1_usize..9,
        batch_size in 1_usize..20,
        num_workers in 0_usize..4,
        chunk_size in 1_usize..8,
        steps in steps(),
    ) {
        let samples: Vec<Vec<i64>> =
            lengths.iter().enumerate().map(|(i, len)| (0..*len).map(|j| (i * 100 + j) as i64).collect()).collect();
        let pad = if left { Pad::new(value).left() } else { Pad::new(value) }.to_multiple_of(multiple);
        let expected: Vec<_> =
            samples.chunks(batch_size).map(|batch| padded_by_hand(batch, value, left, multiple)).collect();

        let padded = loaded(&samples, pad, batch_size, num_workers, chunk_size);
        let masked = loaded(&samples, pad.with_mask(), batch_size, num_workers, chunk_size);
        prop_assert_eq!(padded.len(), expected.len());
        for (((values, lengths), (same_values, mask)), expected) in padded.iter().zip(&masked).zip(&expected) {
            prop_assert_eq!(values.shape(), [lengths.len(), expected.0.len() / lengths.len()]);
            prop_assert_eq!(values.shape(), mask.shape());
            prop_assert_eq!((&**values, &**lengths, &**mask), (&expected.0[..], &expected.1[..], &expected.2[..]));
            prop_assert_eq!(&**same_values, &expected.0[..]);
        }

        let (values, lengths) = by_hand(&pad, &samples, &steps);
        let expected = padded_by_hand(&samples, value, left, multiple);
        prop_assert_eq!((&*values, &*lengths), (&expected.0[..], &expected.1[..]));
    }

    #[test]
    fn maps_are_what_stacking_each_key_by_hand_gives(
        len in 1_usize..40,
        keys in 0_u8..6,
        width in 0_usize..4,
        batch_size in 1_usize..20,
        num_workers in 0_usize..4,
        chunk_size in 1_usize..8,
        steps in steps(),
    ) {
        let ordered = maps(len, keys, width);
        let hashed: Vec<HashMap<_, _>> = ordered.iter().map(|map| map.clone().into_iter().collect()).collect();
        let expected: Vec<_> = ordered.chunks(batch_size).map(stacked_by_hand).collect();

        let batches = loaded(&ordered, Stack, batch_size, num_workers, chunk_size);
        prop_assert_eq!(batches.into_iter().map(plain).collect::<Vec<_>>(), expected.clone());
        let batches = loaded(&hashed, Stack, batch_size, num_workers, chunk_size);
        prop_assert_eq!(batches.into_iter().map(plain).collect::<Vec<_>>(), expected);

        prop_assert_eq!(plain(by_hand(&Stack, &ordered, &steps)), stacked_by_hand(&ordered));
        prop_assert_eq!(plain(by_hand(&Stack, &hashed, &steps)), stacked_by_hand(&ordered));
    }

    #[test]
    fn sequences_of_strings_are_what_transposing_by_hand_gives(
        len in 1_usize..40,
        width in 0_usize..4,
        batch_size in 1_usize..20,
        num_workers in 0_usize..4,
        chunk_size in 1_usize..8,
        steps in steps(),
    ) {
        let samples: Vec<Vec<String>> = (0..len).map(|i| (0..width).map(|j| format!("{i}, {j}")).collect()).collect();
        let transposed = |samples: &[Vec<String>]| -> Vec<Vec<String>> {
            (0..width).map(|j| samples.iter().map(|sample| sample[j].clone()).collect()).collect()
        };
        let expected: Vec<_> = samples.chunks(batch_size).map(transposed).collect();
        prop_assert_eq!(loaded(&samples, Stack, batch_size, num_workers, chunk_size), expected);
        prop_assert_eq!(by_hand(&Stack, &samples, &steps), transposed(&samples));
    }
}

#[cfg(feature = "vision")]
mod images {
    use sutler::image::{Image, ImageTensor};
    use sutler::transform::{FiveCrop, ToTensor, Transform};

    use super::*;

    fn image(height: usize, first: u8) -> Image {
        Image::new((height, 2), 3, (first..first + height as u8 * 6).collect()).unwrap()
    }

    #[test]
    fn arrays_of_images_stack_one_above_the_other() {
        let samples: Vec<_> = (0..4).map(|i| ([image(2, 10 * i), image(2, 100 + 10 * i)], i64::from(i))).collect();
        for batches in batches(&samples, 2, Stack) {
            let (images, labels) = &batches[1];
            assert_eq!(images.shape(), [2, 2, 2, 2, 3]);
            let expected: Vec<u8> = [20, 120, 30, 130].into_iter().flat_map(|first| first..first + 12).collect();
            assert_eq!((&images[..], &labels[..]), (&expected[..], &[2, 3][..]));
        }
        let none: Vec<[Image; 0]> = vec![[], []];
        assert_eq!(batches(&none, 2, Stack)[0][0].shape(), [2, 0, 0, 0, 0]);
    }

    #[test]
    fn arrays_of_image_tensors_stack_one_above_the_other() {
        let rng = &mut SampleRng::new(0, 0, 0);
        let mut tensor = |image: Image| ToTensor::u8().apply(image, rng).unwrap();
        let sample: [ImageTensor<u8>; 2] = [tensor(image(1, 0)), tensor(image(1, 10))];
        for batches in batches(&[sample], 1, Stack) {
            assert_eq!(batches[0].shape(), [1, 2, 3, 1, 2]);
            assert_eq!(*batches[0], [0, 3, 1, 4, 2, 5, 10, 13, 11, 14, 12, 15]);
        }
    }

    #[test]
    fn five_crops_of_a_picture_are_a_dimension() {
        let crops = FiveCrop::new(1).apply((image(2, 0), 7_i64), &mut SampleRng::new(0, 0, 0)).unwrap();
        let loader = Loader::builder(InMemory::new(vec![crops])).build().unwrap();
        let (images, _) = loader.epoch().next().unwrap().unwrap();
        assert_eq!(images.shape(), [1, 5, 1, 1, 3]);
        assert_eq!(images[..], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2]);
    }

    #[test]
    fn images_of_a_sample_that_differ_in_size_are_an_error() {
        for batches in each_way(&[[image(1, 0), image(2, 0)]], 1, Stack) {
            let error = batches.into_iter().next().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Collate);
            let text =
                "sample 0: image 1 of the sample has shape [2, 2, 3], and its first [1, 2, 3]: they do not stack";
            assert_eq!(error.to_string(), text);
        }
    }
}
