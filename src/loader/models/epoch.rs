//! A whole epoch, by a loader of two workers: its consumer takes the batches, or leaves.

use super::*;
use crate::dataset::InMemory;
use crate::loader::feed::sealed::Sealed;
use crate::loader::{Loader, LoaderBuilder};
use crate::sync::explore;

fn loader(set: impl Fn(LoaderBuilder<InMemory<u32>>) -> LoaderBuilder<InMemory<u32>>) -> Loader<InMemory<u32>> {
    set(Loader::builder((0..4).collect()).num_workers(2)).build().unwrap()
}

/// Batches of two samples, each in two parts, of which two are ahead.
fn in_parts() -> Loader<InMemory<u32>> {
    loader(|builder| builder.batch_size(2).chunk_size(1).prefetch_batches(2))
}

/// Batches of one sample, two to a job, all of them ahead.
fn in_lots() -> Loader<InMemory<u32>> {
    loader(|builder| builder.batch_size(1).chunk_size(2).prefetch_batches(8))
}

fn end(loader: Loader<InMemory<u32>>) {
    let buffers = loader.shared.buffers.clone();
    drop(loader);
    join_workers();
    all_are_back(&buffers);
}

#[test]
fn batches_in_parts_come_in_order_each_once() {
    explore(2, || {
        let loader = in_parts();
        let batches: Vec<_> = loader.epoch().map(|batch| batch.unwrap().to_vec()).collect();
        assert_eq!(batches, [[0, 1], [2, 3]]);
        end(loader);
    });
}

#[test]
fn batches_in_lots_come_in_order_each_once_however_impatient_the_consumer() {
    explore(2, || {
        let loader = in_lots();
        let batches: Vec<_> = loader.epoch().map(|batch| batch.unwrap().to_vec()).collect();
        assert_eq!(batches, [[0], [1], [2], [3]]);
        end(loader);
    });
}

/// An epoch that another thread stops while the consumer takes its batches: what came before that is whole, and nothing of what was given up is shown.
fn stopped(loader: fn() -> Loader<InMemory<u32>>, batches: [&'static [u32]; 2]) {
    explore(2, move || {
        let loader = loader();
        let epoch = loader.epoch();
        // By a worker, for a thread more would take minutes.
        let stop = epoch.stop();
        epoch.line.spawn(move || stop());
        for (number, batch) in epoch.enumerate() {
            let batch = batch.unwrap();
            assert!(batches.get(number).is_none_or(|expected| **expected == *batch));
        }
        end(loader);
    });
}

#[test]
fn an_epoch_in_parts_that_is_stopped_meanwhile_ends_after_whole_batches() {
    stopped(in_parts, [&[0, 1], &[2, 3]]);
}

#[test]
fn an_epoch_in_lots_that_is_stopped_meanwhile_ends_after_whole_batches() {
    stopped(in_lots, [&[0], &[1]]);
}

#[test]
fn an_epoch_that_is_dropped_at_once_gives_every_buffer_back() {
    explore(2, || {
        let loader = in_parts();
        drop(loader.epoch());
        end(loader);
    });
}

#[test]
fn an_epoch_that_is_dropped_after_a_batch_gives_every_buffer_back_and_the_batch_stays() {
    explore(2, || {
        let loader = in_parts();
        let batch = loader.epoch().next().unwrap().unwrap();
        let buffers = loader.shared.buffers.clone();
        drop(loader);
        join_workers();
        assert_eq!(buffers.counts().leased - buffers.counts().returned, 1);
        assert_eq!(*batch, [0, 1]);
    });
}

#[test]
fn lots_of_an_epoch_that_is_dropped_give_every_buffer_back() {
    explore(2, || {
        let loader = in_lots();
        let mut epoch = loader.epoch();
        assert_eq!(*epoch.next().unwrap().unwrap(), [0]);
        drop(epoch);
        end(loader);
    });
}
