//! Every collate can leave out a sample that could not be loaded, also one that fails while it is written into its place.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
#[cfg(feature = "vision")]
use std::sync::OnceLock;

use sutler::transform::RandomChoice;
use sutler::{
    BatchPlan, Collate, CollateFn, Dataset, Error, ErrorKind, HostTensor, InMemory, Loader, MixUp, OnError, Pad,
    Result, SampleRng, Shape, Stack, Stackable,
};

use super::{SETTINGS, with};

const LEN: usize = 30;
const BATCH: usize = 6;
const BAD: usize = 17;

/// Which fail, how: the first of a batch, several in a row, all but one of a batch, all of a batch.
fn fault(index: usize) -> Fault {
    match index {
        0 | 8 | 13..=15 | 18 | 19 => Fault::Load,
        3 | 9 | 16 | 17 | 20..=23 => Fault::Write,
        5 | 10 => Fault::Panic,
        _ => Fault::None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    /// Found by the dataset.
    Load,
    /// Found when it is written, after other fields were.
    Write,
    Panic,
}

/// Three numbers that may not be writable.
#[derive(Clone, Copy, Debug)]
struct Row(f32, Fault);

impl Stackable for Row {
    type Element = f32;

    fn shape(&self) -> Shape {
        [3].into()
    }

    fn write(&self, slot: &mut [f32]) -> Result<()> {
        slot[0] = -1.0;
        match self.1 {
            Fault::Write => Err(Error::new(ErrorKind::Decode, "cannot be written")),
            Fault::Panic => panic!("cannot be written at all"),
            _ => {
                slot.fill(self.0);
                Ok(())
            }
        }
    }
}

fn row(index: usize) -> Row {
    Row(index as f32, fault(index))
}

struct Samples<F>(Vec<usize>, F);

impl<S: Send, F: Fn(usize) -> S + Send + Sync> Dataset for Samples<F> {
    type Sample = S;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<S> {
        match fault(self.0[index]) {
            Fault::Load => Err(Error::msg("cannot be loaded")),
            _ => Ok((self.1)(self.0[index])),
        }
    }
}

/// The batches of the samples `make` gives are those of the good samples alone, however many workers and parts make them.
fn holds<S, C>(make: fn(usize) -> S, collate: C)
where
    S: Send + 'static,
    C: Collate<S, Batch: Debug> + Copy + 'static,
{
    let whole: Vec<usize> = (0..LEN).collect();
    let expected: Vec<String> = whole
        .chunks(BATCH)
        .filter_map(|indices| {
            let good: Vec<usize> = indices.iter().copied().filter(|&index| fault(index) == Fault::None).collect();
            let count = good.len();
            let loader =
                Loader::builder(Samples(good, make)).batch_size(count.max(1)).collate(collate).build().unwrap();
            loader.epoch().next().map(|batch| format!("{:?}", batch.unwrap()))
        })
        .collect();
    assert_eq!(expected.len(), 4);
    for setting in SETTINGS {
        let builder = Loader::builder(Samples(whole.clone(), make)).batch_size(BATCH).on_error(OnError::Skip);
        let loader = with(builder.collate(collate), setting).build().unwrap();
        for _ in 0..3 {
            let batches: Vec<String> = loader.epoch().map(|batch| format!("{:?}", batch.unwrap())).collect();
            assert_eq!(batches, expected, "{setting:?}");
        }
        assert_eq!((loader.quarantine().len(), loader.stats().buffers_live), (BAD, 0));

        // And with others in the place of the bad ones, batches are full.
        let builder =
            Loader::builder(Samples(whole.clone(), make)).batch_size(BATCH).seed(1).on_error(OnError::Substitute);
        let loader = with(builder.collate(collate), setting).build().unwrap();
        let batches: Vec<_> = loader.epoch().collect::<Result<_>>().unwrap();
        assert_eq!(batches.len(), LEN / BATCH);
        assert_eq!(loader.stats().substituted, BAD as u64);
    }
}

#[test]
fn stack_leaves_out_numbers_tuples_lists_and_maps() {
    holds(row, Stack);
    holds(|index| (index as i64, row(index), index as u8), Stack);
    holds(|index| (index.to_string(), row(index), vec![index.to_string(); 2]), Stack);
    holds(|index| BTreeMap::from([("a", row(index)), ("b", Row(0.5, Fault::None)), ("c", row(index))]), Stack);
    holds(|index| (index as i64, HashMap::<_, _, Hasher>::from_iter([(1, row(index)), (2, row(index))])), Stack);
    holds(|index| BTreeMap::from([(7, BTreeMap::from([('x', (index as i64, row(index)))]))]), Stack);
}

type Hasher = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// A mixed batch is made of good samples alone: the labels say which, and the rows are what they say. The same however many
/// workers make it.
fn mixes<C>(collate: impl Fn() -> C)
where
    C: Collate<(Row, i64), Batch = (HostTensor<f32>, HostTensor<f32>)> + 'static,
{
    let epoch = |setting| -> Vec<(Vec<f32>, Vec<f32>)> {
        let samples = Samples((0..LEN).collect(), |index| (row(index), index as i64));
        let builder = Loader::builder(samples).batch_size(BATCH).seed(0).on_error(OnError::Skip);
        let loader = with(builder.collate(collate()), setting).build().unwrap();
        loader.epoch().map(|batch| batch.map(|(rows, labels)| (rows.to_vec(), labels.to_vec())).unwrap()).collect()
    };
    let expected = epoch((0, None));
    for (rows, labels) in &expected {
        assert_eq!(rows.len() / 3, labels.len() / LEN);
        for (row, labels) in rows.chunks(3).zip(labels.chunks(LEN)) {
            let mixed: f32 = labels.iter().zip(0..).map(|(share, index)| share * index as f32).sum();
            assert!(row.iter().all(|value| (value - mixed).abs() < 1e-4), "{row:?} {mixed}");
            assert!((0..LEN).all(|index| fault(index) == Fault::None || labels[index] == 0.0));
        }
    }
    let made: usize = expected.iter().map(|(rows, _)| rows.len() / 3).sum();
    assert_eq!(made, (0..LEN).filter(|&index| fault(index) == Fault::None).count());
    for setting in SETTINGS {
        assert_eq!(epoch(setting), expected, "{setting:?}");
    }
}

#[test]
fn mixed_batches_mix_those_that_are_there() {
    mixes(|| MixUp::new(LEN));
    mixes(|| RandomChoice::new((MixUp::new(LEN), MixUp::new(LEN).alpha(0.2))));
}

#[test]
fn padded_batches_are_as_long_as_the_longest_that_is_there() {
    /// Longer if bad, so that a bad one that counted would show.
    fn sequence(index: usize) -> (Vec<i64>, Row) {
        let len = if fault(index) == Fault::None { index % 4 } else { 50 };
        (vec![index as i64; len], row(index))
    }
    holds(sequence, (Pad::new(-1_i64), Stack));
    holds(sequence, (Pad::new(-1_i64).left().with_mask(), Stack));
}

#[cfg(feature = "vision")]
mod images {
    use std::fs;
    use std::path::PathBuf;

    use sutler::image::{DecodeOptions, ImageTensor, LazyImage};
    use sutler::transform::{ToTensor, Transform};
    use sutler::{CutMix, ImageFolder, Stack};

    use super::*;

    /// Copies of a picture, half of a file where they are bad: that shows when they are decoded.
    fn pictures(name: &str) -> Vec<PathBuf> {
        let folder = ImageFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/shapes/train")).unwrap();
        let directory = std::env::temp_dir().join(format!("sutler-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let copy = |index| {
            let bytes = fs::read(folder.path(0).unwrap()).unwrap();
            let kept = if fault(index) == Fault::None { bytes.len() } else { bytes.len() / 2 };
            let path = directory.join(format!("{index}.jpg"));
            fs::write(&path, &bytes[..kept]).unwrap();
            path
        };
        (0..LEN).map(copy).collect()
    }

    fn picture(path: &PathBuf) -> LazyImage {
        LazyImage::open(path, &DecodeOptions::default()).unwrap()
    }

    #[test]
    fn those_that_cannot_be_decoded_in_their_place_are_left_out() {
        static PICTURES: OnceLock<Vec<PathBuf>> = OnceLock::new();
        let pictures = PICTURES.get_or_init(|| pictures("lazy"));
        holds(|index| (index as i64, picture(&PICTURES.get().unwrap()[index])), Stack);
        let _ = fs::remove_dir_all(pictures[0].parent().unwrap());
    }

    #[test]
    fn cut_and_pasted_ones_are_those_that_are_there() {
        let pictures = pictures("cutmix");
        let tensor = |index: usize, path: &PathBuf| -> (ImageTensor<f32>, i64) {
            let image = ToTensor::f32().apply(picture(path), &mut SampleRng::new(0, 0, 0)).unwrap();
            (image, index as i64)
        };
        let directory = pictures[0].parent().unwrap().to_path_buf();
        for setting in SETTINGS {
            let pictures = pictures.clone();
            // A transform that panics, which is as bad as one that fails.
            let samples = Samples((0..LEN).collect(), move |index| tensor(index, &pictures[index]));
            let builder = Loader::builder(samples).batch_size(BATCH).on_error(OnError::Skip).collate(CutMix::new(LEN));
            let mut seen = vec![];
            for batch in &with(builder, setting).build().unwrap() {
                let (images, labels) = batch.unwrap();
                assert_eq!(images.shape()[0], labels.shape()[0]);
                let sums: Vec<f32> = (0..LEN).map(|index| labels.chunks(LEN).map(|row| row[index]).sum()).collect();
                seen.extend((0..LEN).filter(|&index| sums[index] > 0.999));
                assert!((0..LEN).all(|index| fault(index) == Fault::None || sums[index] == 0.0));
            }
            assert_eq!(seen, (0..LEN).filter(|&index| fault(index) == Fault::None).collect::<Vec<_>>());
        }
        let _ = fs::remove_dir_all(directory);
    }
}

#[test]
fn a_function_gets_the_samples_that_are_there() {
    holds(
        |index| if fault(index) == Fault::None { index } else { panic!("no {index}") },
        CollateFn::new(|samples: Vec<usize>| Ok(samples)),
    );
}

/// A collate of a user who never heard of bad samples.
#[derive(Clone, Copy)]
struct Sums;

impl Collate<i64> for Sums {
    type Batch = i64;
    type Part = i64;

    fn start(&self, _: BatchPlan<'_>) -> i64 {
        0
    }

    fn split_off(&self, _: &mut i64, _: usize) -> i64 {
        0
    }

    fn push(&self, part: &mut i64, sample: i64) -> Result<()> {
        *part += sample;
        Ok(())
    }

    fn unite(&self, part: &mut i64, next: i64) {
        *part += next;
    }

    fn finish(&self, part: i64) -> Result<i64> {
        Ok(part)
    }
}

#[test]
fn a_collate_that_cannot_leave_out_a_sample_says_so_and_nothing_is_lost_in_silence() {
    for setting in SETTINGS {
        let builder = Loader::builder(super::SEVENTH).batch_size(50).on_error(OnError::Skip).collate(Sums);
        let loader = with(builder, setting).build().unwrap();
        let error = loader.epoch().next().unwrap().unwrap_err();
        assert!((super::SEVENTH.is_bad)(error.index().unwrap()));
        assert!(error.to_string().contains("implement Collate::rewind, or use OnError::Fail: "), "{error}");
    }
}

#[test]
fn samples_that_do_not_fit_together_fail_their_batch_whatever_is_done_about_bad_ones() {
    for on_error in [OnError::Skip, OnError::Substitute] {
        for setting in SETTINGS {
            let samples =
                InMemory::new(vec![vec![0_u8; 2], vec![0; 2], vec![0; 3], vec![0; 2], vec![0; 2], vec![0; 2]]);
            let builder = Loader::builder(samples).batch_size(2).on_error(on_error);
            let loader = with(builder, setting).build().unwrap();
            let kinds: Vec<_> = loader.epoch().map(|batch| batch.map(|_| ()).map_err(|error| error.kind())).collect();
            assert_eq!(kinds, [Ok(()), Err(ErrorKind::Collate), Ok(())]);
            assert!(loader.quarantine().is_empty());
        }
    }
}
