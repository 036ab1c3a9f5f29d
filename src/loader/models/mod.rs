//! Models of the line: what its workers and its consumer do, in every order.

mod completion;
mod epoch;
mod gate;
mod relief;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::bad::{BadSamples, Made};
use super::line::{Finished, Line};
use super::pace::{Ahead, Pace};
use super::shared::Shared;
use super::source::{Load, Source};
use super::watch::{BatchId, SampleName};
use super::{OnError, WorkerPool};
use crate::collate::{Collate, Stack};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{BufferPool, HostTensor};
use crate::rng::SampleRng;
use crate::stats::Counters;
use crate::sync::channel::{Receiver, bounded};
use crate::sync::{Deliberate, Mutex, atomic, join_workers};

/// Batches of numbers: sample `s` of batch `b` is `10 * b + s`, if it is not one of those that fail.
struct Numbers {
    /// Samples in a batch.
    len: usize,
    fate: fn(usize) -> Fate,
    /// How many were loaded: for loom, which then tries every order of that. It compares an access with the last one before
    /// it alone, so a worker that has just looked whether another has failed would hide from it that others look as well.
    loaded: atomic::AtomicUsize,
}

enum Fate {
    Good,
    Fails,
    Panics,
}

struct Numbered<'a>(&'a Numbers, usize);

impl Numbers {
    fn new(len: usize, fate: fn(usize) -> Fate) -> Self {
        Numbers { len, fate, loaded: atomic::AtomicUsize::new(0) }
    }

    fn index(&self, batch: usize, slot: usize) -> usize {
        10 * batch + slot
    }
}

impl Source for Numbers {
    type Sample = u32;
    type Work = usize;

    fn len(&self, _batch: &usize) -> usize {
        self.len
    }

    fn capacity(&self, _batch: &usize) -> usize {
        self.len
    }

    fn id(&self, &batch: &usize) -> BatchId {
        (0, batch)
    }

    fn rng(&self, _batch: &usize) -> SampleRng {
        SampleRng::new(0, 0, 0)
    }

    fn loads<'a>(&'a self, batch: &'a usize) -> impl Load<Sample = u32> {
        Numbered(self, *batch)
    }

    fn name(&self, batch: &usize, slot: usize) -> SampleName {
        SampleName { shard: None, index: self.index(*batch, slot) }
    }

    fn path(&self, _name: SampleName) -> Option<PathBuf> {
        None
    }
}

impl Load for Numbered<'_> {
    type Sample = u32;

    fn load(&self, slot: usize) -> Result<u32> {
        let index = self.0.index(self.1, slot);
        self.0.loaded.fetch_add(1, Relaxed);
        match (self.0.fate)(index) {
            Fate::Good => Ok(index as u32),
            Fate::Fails => Err(Error::new(ErrorKind::Other, "it fails")),
            Fate::Panics => resume_unwind(Box::new(Deliberate)),
        }
    }

    fn substitutes(&self, _slot: usize) -> impl Iterator<Item = usize> {
        std::iter::empty()
    }

    fn load_instead(&self, _slot: usize, _index: usize) -> Result<u32> {
        unreachable!("there are no substitutes")
    }
}

type Batches<C> = Receiver<Finished<<C as Collate<u32>>::Batch>>;

/// A line of two workers, and where its batches come out: `most` of them at the most.
fn line<C>(collate: C, numbers: Numbers, on_error: OnError, most: usize) -> (Arc<Line<Numbers, C>>, Batches<C>)
where
    C: Collate<u32> + 'static,
{
    let (sender, finished) = bounded(most);
    let num_workers = Arc::new(atomic::AtomicUsize::new(2));
    let shared = Shared {
        collate,
        pace: Pace::new(num_workers, 2, Ahead::Batches(2), None),
        buffers: BufferPool::new(1),
        counters: Arc::new(Counters::default()),
        tuning: None,
        bad_samples: BadSamples::new(on_error, None, None, None),
        watch: None,
    };
    let line = Line {
        source: numbers,
        shared: Arc::new(shared),
        workers: Some(WorkerPool::new(2).unwrap()),
        cancelled: atomic::AtomicBool::new(false),
        made: atomic::AtomicUsize::new(0),
        lots: Mutex::default(),
        finished: sender,
        late: Mutex::default(),
    };
    (Arc::new(line), finished)
}

/// As many batches as come from `count` on, by number; none comes twice.
fn receive(finished: &Batches<Stack>, count: usize) -> BTreeMap<usize, Result<Vec<u32>>> {
    let mut received = BTreeMap::new();
    while received.len() < count {
        put(&mut received, finished.recv().unwrap());
    }
    received
}

fn put(received: &mut BTreeMap<usize, Result<Vec<u32>>>, finished: Finished<HostTensor<u32>>) {
    for (number, made) in (finished.first..).zip(finished.made) {
        let batch = made.result.expect("some samples are left").map(|batch| batch.to_vec());
        assert!(received.insert(number, batch).is_none(), "batch {number} came twice");
    }
}

/// Lets the workers end. Nothing has come beyond what was received, nobody has kept the line, and all buffers are back.
fn end<C: Collate<u32> + 'static>(line: Arc<Line<Numbers, C>>, finished: Option<Batches<C>>) {
    let (shared, ended) = (Arc::clone(&line.shared), Arc::downgrade(&line));
    drop(line);
    join_workers();
    assert!(ended.upgrade().is_none());
    let more = finished.and_then(|finished| finished.try_recv().ok());
    assert!(more.is_none(), "something came that nobody waits for");
    all_are_back(&shared.buffers);
}

fn all_are_back(buffers: &BufferPool) {
    let counts = buffers.counts();
    assert_eq!((counts.returned, counts.live_bytes), (counts.leased, 0));
}
