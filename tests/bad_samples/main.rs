//! A loader that goes on without bad samples loses no other, says which they were, and does the same on any number of
//! workers.

mod budget;
mod collates;
#[cfg(feature = "vision")]
mod files;
mod skip;
mod state;
mod streams;
mod substitute;

use std::path::PathBuf;

use sutler::{Dataset, Error, Loader, LoaderBuilder, OnError, Result, SampleRng};

/// Counts from 0, but for some samples that fail, each in one of the ways a sample can.
#[derive(Clone, Copy)]
struct Faulty {
    len: usize,
    is_bad: fn(usize) -> bool,
}

impl Dataset for Faulty {
    type Sample = i64;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        match (self.is_bad)(index) {
            true if index % 2 == 1 => panic!("{index} is odd"),
            true => Err(Error::msg(format!("{index} is even"))),
            false => Ok(index as i64),
        }
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        Some(format!("/data/{index}").into())
    }
}

impl Faulty {
    fn good(self) -> Vec<usize> {
        (0..self.len).filter(|&index| !(self.is_bad)(index)).collect()
    }

    fn bad(self) -> Vec<usize> {
        (0..self.len).filter(|&index| (self.is_bad)(index)).collect()
    }
}

/// About one in seven, some of them in a row.
const SEVENTH: Faulty =
    Faulty { len: 200, is_bad: |index| matches!(index * 37 % 101, 0..14) || matches!(index, 60..66) };

/// Numbers of workers and sizes of jobs.
const SETTINGS: [(usize, Option<usize>); 6] =
    [(0, None), (1, None), (2, Some(1)), (3, Some(3)), (3, Some(1000)), (16, None)];

fn with<D, C>(builder: LoaderBuilder<D, C>, (num_workers, chunk_size): (usize, Option<usize>)) -> LoaderBuilder<D, C>
where
    D: Dataset + 'static,
{
    let builder = builder.num_workers(num_workers);
    match chunk_size {
        Some(chunk_size) => builder.chunk_size(chunk_size),
        None => builder,
    }
}

/// A loader of batches of eight, shuffled.
fn shuffled<D: Dataset + 'static>(dataset: D, on_error: OnError) -> LoaderBuilder<D> {
    Loader::builder(dataset).batch_size(8).shuffle(true).seed(3).on_error(on_error)
}

/// The batches of an epoch, all of which can be made, each with the indices that the epoch says it has.
fn epoch<D: Dataset<Sample = i64> + 'static>(loader: &Loader<D>) -> Vec<(Vec<i64>, Vec<i64>)> {
    let mut epoch = loader.epoch();
    let mut batches = vec![];
    while let Some(batch) = epoch.next() {
        let batch = batch.unwrap().to_vec();
        batches.push((batch, epoch.indices().map(|index| index as i64).collect()));
    }
    batches
}

/// The indices in quarantine, sorted.
fn quarantined<D: Dataset + 'static, C>(loader: &Loader<D, C>) -> Vec<usize>
where
    C: sutler::Collate<D::Sample> + 'static,
{
    let mut indices: Vec<usize> = loader.quarantine().iter().map(|sample| sample.index).collect();
    indices.sort_unstable();
    indices
}
