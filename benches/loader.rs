//! The same work single-threaded and on 1, 2 and 4 workers; every case checks its batches before it is timed.
//!
//! `cargo bench` (all), `cargo bench -- u64` (one group). Criterion reports elements per second.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use sutler::{Dataset, HostTensor, InMemory, IterableDataset, IterableLoader, Loader, Result, SampleRng, Stack};

const WORKERS: [usize; 4] = [0, 1, 2, 4];
const SEED: u64 = 7;

fn epochs<D>(group: &mut BenchmarkGroup<'_, WallTime>, batch_size: usize, dataset: D, check: impl Fn(&Loader<D>))
where
    D: Dataset + Clone + 'static,
    Stack: sutler::Collate<D::Sample>,
{
    group.throughput(Throughput::Elements(dataset.len() as u64));
    for num_workers in WORKERS {
        let loader = Loader::builder(dataset.clone())
            .batch_size(batch_size)
            .shuffle(true)
            .seed(SEED)
            .num_workers(num_workers)
            .build()
            .expect("valid settings");
        check(&loader);
        group.bench_function(format!("{num_workers} workers"), |bencher| {
            bencher.iter(|| {
                for batch in &loader {
                    black_box(batch.expect("a batch"));
                }
            });
        });
    }
}

/// The order of the epoch that a loader is about to start.
fn order(epoch: u64, len: usize) -> Vec<usize> {
    // A shuffling loader draws one int64 before its order: see `RandomSampler`.
    let loader = Loader::builder(InMemory::new((0..len as u64).collect())).batch_size(len).shuffle(true).seed(SEED);
    let indices = loader.build().expect("valid settings").epoch_at(epoch).next().expect("a batch").expect("a batch");
    indices.iter().map(|&index| index as usize).collect()
}

fn u64s(criterion: &mut Criterion) {
    const LEN: usize = 50_000;
    let mut group = criterion.benchmark_group("50,000 u64 in batches of 128");
    let samples: InMemory<u64> = (0..LEN as u64).map(|i| i * i).collect();
    epochs(&mut group, 128, samples, |loader| {
        let order = order(0, LEN);
        let loaded: Vec<u64> = loader.epoch_at(0).flat_map(|batch| batch.expect("a batch").to_vec()).collect();
        assert!(loaded.iter().zip(&order).all(|(&value, &index)| value == (index * index) as u64));
        assert_eq!(loaded.len(), LEN);
    });
}

fn pictures(criterion: &mut Criterion) {
    const LEN: usize = 50_000;
    type Picture = [[[u8; 32]; 32]; 3];
    let mut group = criterion.benchmark_group("50,000 3x32x32 u8 and a label in batches of 128");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    let samples: Vec<(Picture, i64)> = (0..LEN).map(|i| ([[[i as u8; 32]; 32]; 3], i as i64)).collect();
    let samples = std::sync::Arc::new(InMemory::new(samples));
    epochs(&mut group, 128, samples, |loader| {
        let order = order(0, LEN);
        let mut position = 0;
        for batch in loader.epoch_at(0) {
            let (pictures, labels): (HostTensor<u8>, HostTensor<i64>) = batch.expect("a batch");
            for (picture, &label) in pictures.samples().zip(labels.iter()) {
                assert_eq!(label as usize, order[position]);
                assert!(picture.iter().all(|&value| value == label as u8));
                position += 1;
            }
        }
        assert_eq!(position, LEN);
    });
}

fn jpegs(criterion: &mut Criterion) {
    use sutler::ImageFolder;
    use sutler::image::Normalize;
    use sutler::transform::{RandomHorizontalFlip, RandomResizedCrop, ToTensor};

    let mut group = criterion.benchmark_group("480 fixture JPEGs to 64x64 in batches of 32");
    group.sample_size(10);
    let folder = || {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/shapes/train");
        ImageFolder::open(path)
            .expect("the fixtures")
            .map(RandomResizedCrop::new(64))
            .map(RandomHorizontalFlip::default())
            .map(ToTensor::f32().normalize(Normalize::IMAGENET))
    };
    let single = Loader::builder(folder()).batch_size(32).shuffle(true).seed(SEED).build().expect("valid settings");
    let expected = digest(&single);
    epochs(&mut group, 32, std::sync::Arc::new(folder()), |loader| {
        assert!(digest(loader) == expected, "batches differ from those of a single thread");
    });
}

/// A fold of every value of epoch 0.
fn digest<D>(loader: &Loader<D>) -> u64
where
    D: Dataset<Sample = (sutler::image::ImageTensor<f32>, i64)> + 'static,
{
    loader.epoch_at(0).fold(0, |sum, batch| {
        let (images, labels) = batch.expect("a batch");
        let values =
            images.iter().map(|value| u64::from(value.to_bits())).chain(labels.iter().map(|&label| label as u64));
        values.fold(sum, |sum: u64, value| sum.rotate_left(5) ^ value)
    })
}

/// Shards of numbers that cost nothing to read: what is left is the loader's own.
struct Numbers;

impl Numbers {
    const SHARDS: usize = 32;
    const LEN: usize = 50_000;
}

impl IterableDataset for Numbers {
    type Record = u64;
    type Records = std::iter::Map<std::ops::Range<usize>, fn(usize) -> Result<u64>>;
    type Sample = u64;

    fn num_shards(&self) -> usize {
        Numbers::SHARDS
    }

    fn records(&self, shard: usize, _epoch: u64, skip: usize) -> Result<Self::Records> {
        let start = |shard: usize| shard * Numbers::LEN / Numbers::SHARDS;
        Ok((start(shard) + skip..start(shard + 1)).map(|number| Ok(number as u64)))
    }

    fn decode(&self, number: u64, _rng: &mut SampleRng) -> Result<u64> {
        Ok(number)
    }
}

fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("50,000 u64 of 32 shards in batches of 128");
    group.throughput(Throughput::Elements(Numbers::LEN as u64));
    for num_workers in WORKERS {
        let loader = IterableLoader::builder(Numbers).batch_size(128).seed(SEED).num_workers(num_workers).build();
        let loader = loader.expect("valid settings");
        let mut seen: Vec<u64> = loader.epoch().flat_map(|batch| batch.expect("a batch").to_vec()).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..Numbers::LEN as u64));
        group.bench_function(format!("{num_workers} workers"), |bencher| {
            bencher.iter(|| {
                for batch in &loader {
                    black_box(batch.expect("a batch"));
                }
            });
        });
    }
}

criterion_group!(benches, u64s, pictures, jpegs, streams);
criterion_main!(benches);
