//! In-memory loading beside other crates: the same samples, the same batches, the same run.
//!
//! Each figure is the median of many epochs. `dataloader-rs` collects samples in a `Vec`;
//! sutler writes them into one aligned buffer a field.

use std::hint::black_box;
use std::time::Instant;

use sutler::{Collate, InMemory, Stack};

const BATCH: usize = 128;
const SEED: u64 = 42;

fn main() {
    println!("{:<34} {:>8} {:>14} {:>14} {:>7}", "samples per second", "workers", "dataloader-rs", "sutler", "ratio");
    for _ in 0..3 {
        for workers in [0, 1, 2] {
            compare("50,000 u64", (0..50_000_u64).collect(), workers, 300);
        }
        for workers in [0, 1, 2] {
            let picture = |i| ([[[i as u8; 32]; 32]; 3], i);
            compare("50,000 3x32x32 u8 and a label", (0..50_000_i64).map(picture).collect(), workers, 15);
        }
    }
}

fn compare<T: Clone + Send + Sync + 'static>(what: &str, samples: Vec<T>, workers: usize, epochs: usize)
where
    Stack: Collate<T>,
{
    let len = samples.len();
    // One after the other and not in turn: idle threads of one would be in the way of the other.
    let theirs = {
        let mut loader = dataloader_rs::DataLoader::builder(Samples(samples.clone()))
            .batch_size(BATCH)
            .sampler(dataloader_rs::RandomSampler::new(SEED))
            .num_workers(workers)
            .prefetch_depth(8)
            .build();
        median_rate(len, epochs, || batches((&mut loader).into_iter().map(|batch| batch.expect("a batch"))))
    };
    let ours = {
        let loader = sutler::Loader::builder(InMemory::new(samples))
            .batch_size(BATCH)
            .shuffle(true)
            .seed(SEED)
            .num_workers(workers)
            .build()
            .expect("valid settings");
        median_rate(len, epochs, || batches(loader.epoch().map(|batch| batch.expect("a batch"))))
    };
    println!("{what:<34} {workers:>8} {theirs:>13.2}M {ours:>13.2}M {:>7.2}", ours / theirs);
}

/// Takes every batch of an epoch and says how many there were.
fn batches<B>(epoch: impl Iterator<Item = B>) -> usize {
    epoch.fold(0, |taken, batch| {
        black_box(batch);
        taken + 1
    })
}

/// Millions of samples a second, the median over the epochs. `epoch` says how many batches it had.
fn median_rate(len: usize, epochs: usize, mut epoch: impl FnMut() -> usize) -> f64 {
    let mut took: Vec<f64> = (0..epochs)
        .map(|_| {
            let started = Instant::now();
            assert_eq!(epoch(), len.div_ceil(BATCH));
            started.elapsed().as_secs_f64()
        })
        .collect();
    took.sort_by(f64::total_cmp);
    len as f64 / took[took.len() / 2] / 1e6
}

struct Samples<T>(Vec<T>);

impl<T: Clone + Send + Sync + 'static> dataloader_rs::Dataset for Samples<T> {
    type Item = T;

    fn get(&self, index: usize) -> dataloader_rs::error::Result<T> {
        Ok(self.0[index].clone())
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}
