//! MixUp and CutMix: what is mixed with what, by how much, and that it depends on the run alone.

use sutler::transform::RandomChoice;
use sutler::{
    Collate, ErrorKind, HostTensor, InMemory, IterableDataset, IterableLoader, Loader, MixUp, Result, SampleRng, Stack,
};

type Sample = ([f32; 5], i64);
type Batch = (Vec<f32>, Vec<f32>);

const CLASSES: usize = 1000;

/// Sample i has label i.
fn samples(count: usize) -> InMemory<Sample> {
    (0..count).map(|i| (std::array::from_fn(|k| ((i * 31 + k * 7) % 17) as f32 / 3.0), i as i64)).collect()
}

fn loader<C: Collate<Sample> + 'static>(collate: C, num_workers: usize) -> Loader<InMemory<Sample>, C> {
    let builder = Loader::builder(samples(203)).batch_size(8).shuffle(true).seed(5).num_workers(num_workers);
    builder.chunk_size(3).collate(collate).build().unwrap()
}

fn copied((mixed, labels): (HostTensor<f32>, HostTensor<f32>)) -> Batch {
    (mixed.to_vec(), labels.to_vec())
}

/// The samples' own numbers, the number of each sample, and what `collate` makes of them, batch for batch.
fn beside<C>(collate: C) -> Vec<(Vec<f32>, Vec<usize>, Batch)>
where
    C: Collate<Sample, Batch = (HostTensor<f32>, HostTensor<f32>)> + 'static,
{
    let (plain, mixed) = (loader(Stack, 0), loader(collate, 0));
    plain
        .epoch()
        .zip(mixed.epoch())
        .map(|(plain, mixed)| {
            let (values, numbers) = plain.unwrap();
            (values.to_vec(), numbers.iter().map(|&number| number as usize).collect(), copied(mixed.unwrap()))
        })
        .collect()
}

/// Where the one before is: `roll(1, 0)`.
fn before(i: usize, count: usize) -> usize {
    (i + count - 1) % count
}

#[test]
fn mixup_is_each_sample_and_the_one_before_by_one_lambda_a_batch() {
    let mut lambdas = Vec::new();
    for (values, numbers, (mixed, labels)) in beside(MixUp::new(CLASSES)) {
        let count = numbers.len();
        // The labels tell the two factors as they were used.
        let factors =
            |i: usize| {
                let row = &labels[i * CLASSES..][..CLASSES];
                assert!(row.iter().enumerate().all(|(label, &share)| {
                    share == 0.0 || label == numbers[i] || label == numbers[before(i, count)]
                }));
                (row[numbers[before(i, count)]], row[numbers[i]])
            };
        for i in 0..count {
            assert_eq!(factors(i), factors(0));
            let (other, own) = factors(i);
            // Two roundings to f32.
            assert!((f64::from(other) + f64::from(own) - 1.0).abs() < 1.2e-7);
            for k in 0..5 {
                let expected = values[before(i, count) * 5 + k] * other + values[i * 5 + k] * own;
                assert_eq!(mixed[i * 5 + k].to_bits(), expected.to_bits());
            }
        }
        lambdas.push(factors(0).1);
    }
    lambdas.sort_by(f32::total_cmp);
    lambdas.dedup();
    assert_eq!(lambdas.len(), 26);
}

#[test]
fn alpha_says_how_much_is_mixed() {
    let middle = |alpha: f64| {
        let batches = beside(MixUp::new(CLASSES).alpha(alpha)).into_iter();
        batches.map(|(_, numbers, (_, labels))| labels[numbers[0]]).filter(|lam| (0.1..0.9).contains(lam)).count()
    };
    assert!(middle(0.05) < middle(1.0) && middle(1.0) < middle(10.0));
}

#[test]
fn a_batch_of_one_stays_what_it_is() {
    let one = Loader::builder(samples(1)).collate(MixUp::new(3)).build().unwrap();
    let (mixed, labels) = one.epoch().next().unwrap().unwrap();
    let (own, _) = Loader::builder(samples(1)).build().unwrap().epoch().next().unwrap().unwrap();
    assert!(mixed.iter().zip(&*own).all(|(a, b)| (a - b).abs() <= b.abs() * 2e-7));
    assert!((labels[0] - 1.0).abs() < 2e-7 && labels[1..] == [0.0, 0.0]);
}

#[test]
fn mixed_batches_are_the_same_for_any_number_of_workers_and_after_a_resume() {
    fn check<C>(collate: impl Fn() -> C)
    where
        C: Collate<Sample, Batch = (HostTensor<f32>, HostTensor<f32>)> + 'static,
    {
        let expected: Vec<Vec<Batch>> = {
            let loader = loader(collate(), 0);
            (0..2).map(|_| loader.epoch().map(|batch| copied(batch.unwrap())).collect()).collect()
        };
        assert_ne!(expected[0][0].1, expected[1][0].1);
        for num_workers in [0, 1, 3] {
            let loader = loader(collate(), num_workers);
            for epoch in &expected {
                let batches: Vec<Batch> = loader.epoch().map(|batch| copied(batch.unwrap())).collect();
                assert_eq!(&batches, epoch, "{num_workers} workers");
            }
        }
        let first = loader(collate(), 3);
        let mut epoch = first.epoch();
        (0..7).for_each(|_| drop(epoch.next().unwrap().unwrap()));
        let other = loader(collate(), 1);
        let rest: Vec<Batch> = other.resume(&epoch.state()).unwrap().map(|batch| copied(batch.unwrap())).collect();
        assert_eq!(rest, expected[0][7..]);
    }
    check(|| MixUp::new(CLASSES));
    check(|| RandomChoice::new((MixUp::new(CLASSES), MixUp::new(CLASSES).alpha(0.1))));
}

#[test]
fn batches_of_a_stream_are_mixed_the_same_for_any_number_of_workers_and_after_a_resume() {
    struct Shards;

    impl IterableDataset for Shards {
        type Record = i64;
        type Records = Box<dyn Iterator<Item = Result<i64>> + Send>;
        type Sample = Sample;

        fn num_shards(&self) -> usize {
            3
        }

        fn records(&self, shard: usize, _epoch: u64, skip: usize) -> Result<Self::Records> {
            Ok(Box::new((skip as i64..20 + shard as i64).map(move |number| Ok(100 * shard as i64 + number))))
        }

        fn decode(&self, record: i64, _rng: &mut SampleRng) -> Result<Sample> {
            Ok(([record as f32; 5], record))
        }
    }

    let loader = |num_workers: usize| {
        let builder = IterableLoader::builder(Shards).batch_size(4).seed(2).num_workers(num_workers);
        builder.collate(MixUp::new(CLASSES)).build().unwrap()
    };
    let expected: Vec<Batch> = loader(0).epoch().map(|batch| copied(batch.unwrap())).collect();
    // The larger of the two shares in the first row.
    let mut shares: Vec<f32> =
        expected.iter().map(|(_, labels)| labels[..CLASSES].iter().copied().fold(0.0, f32::max)).collect();
    shares.sort_by(f32::total_cmp);
    shares.dedup();
    assert_eq!((expected.len(), shares.len()), (16, 16));
    for num_workers in [1, 3] {
        let batches: Vec<Batch> = loader(num_workers).epoch().map(|batch| copied(batch.unwrap())).collect();
        assert_eq!(batches, expected);
    }
    let stopped = loader(3);
    let mut epoch = stopped.epoch();
    (0..5).for_each(|_| drop(epoch.next().unwrap().unwrap()));
    let other = loader(1);
    let rest: Vec<Batch> = other.resume(&epoch.state()).unwrap().map(|batch| copied(batch.unwrap())).collect();
    assert_eq!(rest, expected[5..]);
}

#[test]
fn a_label_that_is_none_is_an_error_that_names_the_sample() {
    for label in [-1, 4, i64::MAX] {
        let samples: InMemory<(f32, i64)> = [0, 1, label, 3].into_iter().map(|label| (0.0, label)).collect();
        let loader = Loader::builder(samples).batch_size(2).num_workers(1).collate(MixUp::new(4)).build().unwrap();
        let batches: Vec<_> = loader.epoch().collect();
        assert!(batches[0].is_ok());
        let error = batches[1].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.index()), (ErrorKind::Collate, Some(2)));
        let text = format!("sample 2: its label is {label}, but there are 4 classes, numbered from 0");
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_steady_epoch_of_mixed_batches_allocates_no_buffers() {
    let loader = loader(MixUp::new(CLASSES), 2);
    loader.epoch().for_each(drop);
    let warm = loader.stats().buffers_allocated;
    (0..3).for_each(|_| loader.epoch().for_each(drop));
    assert_eq!(loader.stats().buffers_allocated, warm);
}

#[test]
#[should_panic(expected = "alpha")]
fn an_alpha_of_nothing_is_refused() {
    let _ = MixUp::new(2).alpha(0.0);
}

#[cfg(feature = "vision")]
mod images {
    use sutler::image::{Image, ImageTensor, Layout, Rect, Size};
    use sutler::transform::ToTensor;
    use sutler::{CutMix, Dataset};

    use super::*;

    const SIZE: Size = Size { height: 6, width: 9 };

    /// Image i has label i, and no two have a value in common.
    fn images() -> impl Dataset<Sample = (Image, i64)> + 'static {
        let image = |i: usize| (0..162).map(|at| ((at * 5 + i * 11) % 251) as u8).collect();
        (0..23).map(|i| (Image::new(SIZE, 3, image(i)).unwrap(), i as i64)).collect::<InMemory<_>>()
    }

    fn batches<C>(collate: C, to_tensor: ToTensor<f32>, num_workers: usize) -> Vec<Batch>
    where
        C: Collate<(ImageTensor<f32>, i64), Batch = (HostTensor<f32>, HostTensor<f32>)> + 'static,
    {
        let builder = Loader::builder(images().map(to_tensor)).batch_size(5).shuffle(true).seed(1);
        let loader = builder.num_workers(num_workers).chunk_size(2).collate(collate).build().unwrap();
        (0..8).flat_map(|_| loader.epoch()).map(|batch| copied(batch.unwrap())).collect()
    }

    fn plain(to_tensor: ToTensor<f32>) -> Vec<(Vec<f32>, Vec<usize>)> {
        let builder = Loader::builder(images().map(to_tensor)).batch_size(5).shuffle(true).seed(1);
        let loader = builder.build().unwrap();
        let batches = (0..8).flat_map(|_| loader.epoch()).map(Result::unwrap);
        batches.map(|(values, labels)| (values.to_vec(), labels.iter().map(|&i| i as usize).collect())).collect()
    }

    #[test]
    fn cutmix_is_each_image_with_a_rectangle_of_the_one_before_and_labels_by_its_area() {
        let mut shares = Vec::new();
        for (to_tensor, place) in [
            (ToTensor::f32(), (|y, x, c| (c * 6 + y) * 9 + x) as fn(usize, usize, usize) -> usize),
            (ToTensor::f32().channels_last(), |y, x, c| (y * 9 + x) * 3 + c),
        ] {
            let mixed = batches(CutMix::new(CLASSES), to_tensor.clone(), 0);
            for ((values, numbers), (mixed, labels)) in plain(to_tensor).into_iter().zip(mixed) {
                let count = numbers.len();
                // In the first image, which pixels are the other's? They are a rectangle, the same in all images.
                let pixels = || (0..6).flat_map(|y| (0..9).map(move |x| (y, x)));
                let value = |i: usize, (y, x): (usize, usize), c: usize| values[i * 162 + place(y, x, c)];
                let other: Vec<_> = pixels().filter(|&at| mixed[place(at.0, at.1, 0)] != value(0, at, 0)).collect();
                let (top, left) = other.iter().fold((6, 9), |(top, left), at| (at.0.min(top), at.1.min(left)));
                let (end, right) = other.iter().fold((0, 0), |(end, right), at| (at.0.max(end), at.1.max(right)));
                let inside = |(y, x): (usize, usize)| {
                    !other.is_empty() && (top..=end).contains(&y) && (left..=right).contains(&x)
                };
                for i in 0..count {
                    for at in pixels() {
                        for c in 0..3 {
                            let from = if inside(at) { before(i, count) } else { i };
                            assert_eq!(mixed[i * 162 + place(at.0, at.1, c)], value(from, at, c));
                        }
                    }
                    let share = pixels().filter(|&at| inside(at)).count() as f64 / 54.0;
                    let row = &labels[i * CLASSES..][..CLASSES];
                    let lam = 1.0 - share;
                    assert_eq!((row[numbers[before(i, count)]], row[numbers[i]]), ((1.0 - lam) as f32, lam as f32));
                    assert!((row.iter().map(|&share| f64::from(share)).sum::<f64>() - 1.0).abs() < 1.2e-7);
                    shares.push((share * 54.0) as usize);
                }
            }
        }
        shares.sort_unstable();
        shares.dedup();
        assert!(shares.len() > 10, "{shares:?}");
    }

    #[test]
    fn a_rectangles_area_is_what_lambda_leaves_less_what_lies_outside() {
        // A share v, uniform for alpha = 1, has sides s = sqrt(v) of the image's, of which s - s^2 / 4 lies inside on
        // average over the middles. The mean of the product is the integral of (s - s^2 / 4)^2 over v: 0.3208.
        let size = Size { height: 1000, width: 2000 };
        let cutmix = CutMix::new(2);
        let n = 20_000;
        let mut sum = 0.0;
        for index in 0..n {
            let rect = cutmix.draw(size, &mut SampleRng::new(9, 0, index));
            assert!(rect.is_inside(size), "{rect:?}");
            sum += (rect.height * rect.width) as f64 / 2_000_000.0;
        }
        // The variance is below 0.08: five standard deviations of the mean are 0.01. Whole pixels take away 0.001.
        assert!((sum / n as f64 - 0.3208).abs() < 0.011, "{}", sum / n as f64);
    }

    #[test]
    fn one_or_the_other_is_drawn_for_each_batch_whatever_the_workers() {
        let either = || RandomChoice::new((CutMix::new(CLASSES), MixUp::new(CLASSES))).p([3.0, 1.0]);
        let expected = batches(either(), ToTensor::f32(), 0);
        for num_workers in [1, 3] {
            assert_eq!(batches(either(), ToTensor::f32(), num_workers), expected);
        }
        // A batch that was cut has its own values only, in whole 255ths.
        let is_cut =
            |(mixed, _): &&Batch| mixed.iter().all(|value| (value * 255.0 - (value * 255.0).round()).abs() < 1e-4);
        let cut = expected.iter().filter(is_cut).count();
        // 30 of 40 expected; four standard deviations of a binomial(40, 3/4) are 11.
        assert!((19..40).contains(&cut), "{cut} of {}", expected.len());
    }

    #[test]
    #[should_panic(expected = "is not inside images of 6x9")]
    fn a_rectangle_outside_of_the_images_is_refused() {
        let loader = Loader::builder(images().map(ToTensor::f32())).build().unwrap();
        let (mut batch, _) = loader.epoch().next().unwrap().unwrap();
        CutMix::paste(&mut batch, Rect { top: 0, left: 1, height: 6, width: 9 }, Layout::ChannelsFirst);
    }
}
