//! `Intake`: records of an iterable dataset, read shard by shard on all threads and dealt to batches in a fixed order.
//!
//! Some shards are open at a time. A batch takes one record of each in turn; when one is exhausted, the next shard has its
//! place. That order depends on the data and the settings alone. Reading ahead in each open shard is a job of its own, and
//! so is decoding a batch, or a part of it: whichever job brings the record that was missing takes the rotation on.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::line::{Finished, Line, Source, discard, guarded};
use super::pace::Job;
use super::watch::SampleName;
use crate::collate::Collate;
use crate::dataset::IterableDataset;
use crate::error::{Error, ErrorKind, Result};
use crate::rng::SampleRng;

/// The samples of one epoch of an iterable dataset.
pub(super) struct Streamed<I> {
    pub(super) dataset: Arc<I>,
    pub(super) seed: u64,
    pub(super) epoch: u64,
}

/// One record on its way into a batch.
pub(super) struct Entry<R> {
    name: SampleName,
    /// Taken by whoever decodes it.
    record: Mutex<Option<Result<R>>>,
}

impl<I: IterableDataset + 'static> Source for Streamed<I> {
    type Sample = I::Sample;
    type Work = Vec<Entry<I::Record>>;

    fn len(&self, work: &Self::Work) -> usize {
        work.len()
    }

    fn load(&self, work: &Self::Work, slot: usize) -> Result<I::Sample> {
        let Entry { name, record } = &work[slot];
        let record = record.lock().unwrap_or_else(PoisonError::into_inner).take().expect("a slot is loaded once")?;
        // A shard has fewer than 2^40 records, and there are fewer than 2^24 shards; beyond, draws repeat.
        let place = name.shard.unwrap_or(0) << 40 | name.index;
        self.dataset.decode(record, &mut SampleRng::new(self.seed, self.epoch, place))
    }

    fn name(&self, work: &Self::Work, slot: usize) -> SampleName {
        work[slot].name
    }

    fn path(&self, name: SampleName) -> Option<PathBuf> {
        name.shard.and_then(|shard| self.dataset.path(shard))
    }
}

/// How far an epoch has come: what a resume needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// How many records were dealt out,
    pub(super) records: usize,
    /// how many of this rank's shards were opened,
    pub(super) opened: usize,
    /// which of the open ones is next,
    pub(super) turn: usize,
    /// and each open shard with the number of its records that were dealt out.
    pub(super) open: Vec<(usize, usize)>,
}

/// One open shard.
struct Lane<I: IterableDataset> {
    shard: usize,
    /// How many of its records were dealt out.
    dealt: usize,
    reader: Reader<I::Records>,
    /// What was read and not yet dealt out.
    records: VecDeque<Result<I::Record>>,
}

enum Reader<R> {
    Closed,
    Open(R),
    /// A job has it.
    Away,
    Exhausted,
}

struct Rotation<I: IterableDataset> {
    progress: Progress,
    lanes: Vec<Lane<I>>,
    /// The batch in the making.
    pending: Vec<Entry<I::Record>>,
    /// How many batches were given to be made.
    batches: usize,
    /// The progress after each of them that was not delivered.
    after: VecDeque<Progress>,
    /// Whether there are no more.
    ended: bool,
}

pub(super) struct Intake<I: IterableDataset + 'static, C: Collate<I::Sample>> {
    pub(super) line: Arc<Line<Streamed<I>, C>>,
    rotation: Mutex<Rotation<I>>,
    /// This rank's.
    shards: Vec<usize>,
    interleave: usize,
    drop_last: bool,
    /// How many batches may be in the making or waiting.
    window: usize,
    delivered: AtomicUsize,
}

/// Queues a job for the workers.
type Spawn<'a> = &'a dyn Fn(Box<dyn FnOnce() + Send>);

/// Batches to be made, with their numbers.
type Batches<R> = Vec<(usize, Vec<Entry<R>>)>;

impl<I, C> Intake<I, C>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
{
    pub(super) fn new(
        line: Arc<Line<Streamed<I>, C>>,
        shards: Vec<usize>,
        interleave: usize,
        drop_last: bool,
        window: usize,
        progress: Progress,
    ) -> Self {
        let lane = |&(shard, dealt)| Lane { shard, dealt, reader: Reader::Closed, records: VecDeque::new() };
        let rotation = Rotation {
            lanes: progress.open.iter().map(lane).collect(),
            progress,
            pending: Vec::new(),
            batches: 0,
            after: VecDeque::new(),
            ended: false,
        };
        let rotation = Mutex::new(rotation);
        Intake { line, rotation, shards, interleave, drop_last, window, delivered: AtomicUsize::new(0) }
    }

    /// Takes note that the next batch was delivered; gives the progress it makes.
    pub(super) fn deliver(&self) -> Option<Progress> {
        self.delivered.fetch_add(1, Relaxed);
        self.rotation().after.pop_front()
    }

    /// Whether all batches were delivered.
    pub(super) fn is_over(&self) -> bool {
        let rotation = self.rotation();
        rotation.ended && rotation.batches == self.delivered.load(Relaxed)
    }

    /// Queues everything there is room for: batches that are complete, and reading.
    pub(super) fn pump(self: &Arc<Self>, spawn: Spawn<'_>) {
        let (batches, readers) = {
            let mut rotation = self.rotation();
            let batches = self.rotate(&mut rotation);
            (batches, self.take_readers(&mut rotation))
        };
        self.queue(batches, spawn);
        for (shard, skip, reader) in readers {
            let intake = Arc::clone(self);
            spawn(Box::new(move || intake.run_reader(shard, skip, reader)));
        }
    }

    /// A worker's job: reads on in a shard.
    fn run_reader(self: Arc<Self>, shard: usize, skip: usize, reader: Reader<I::Records>) {
        if self.line.is_cancelled() {
            return;
        }
        self.read(shard, skip, reader);
        // On a worker, this queues on the worker's own pool.
        self.pump(&|job| rayon::spawn_fifo(job));
    }

    /// Without workers: makes one step towards the next batch, perhaps the last one.
    pub(super) fn step(&self) -> Finished<C::Batch> {
        let none = Finished { first: 0, results: Vec::new() };
        let mut rotation = self.rotation();
        if let Some((batch, entries)) = self.rotate(&mut rotation).pop() {
            drop(rotation);
            let (started, loaded) = (Instant::now(), std::cell::Cell::new(0));
            let result = self.line.make_batch(&entries, &loaded);
            self.line.count(loaded.get(), started);
            return Finished { first: batch, results: vec![result] };
        }
        let turn = rotation.progress.turn;
        let Some(lane) = rotation.lanes.get_mut(turn) else { return none };
        let (shard, skip) = (lane.shard, lane.dealt);
        let reader = std::mem::replace(&mut lane.reader, Reader::Away);
        drop(rotation);
        self.read(shard, skip, reader);
        none
    }

    /// How many records to read at a time: about one batch over all open shards.
    fn chunk(&self, lanes: usize) -> usize {
        self.line.capacity.div_ceil(lanes.max(1))
    }

    /// The readers that should read on now, with their shards and how many records are read.
    fn take_readers(&self, rotation: &mut Rotation<I>) -> Vec<(usize, usize, Reader<I::Records>)> {
        if rotation.batches - self.delivered.load(Relaxed) >= self.window {
            return Vec::new();
        }
        let chunk = self.chunk(rotation.lanes.len());
        let due =
            |lane: &&mut Lane<I>| lane.records.len() < chunk && matches!(lane.reader, Reader::Closed | Reader::Open(_));
        let take = |lane: &mut Lane<I>| (lane.shard, lane.dealt, std::mem::replace(&mut lane.reader, Reader::Away));
        rotation.lanes.iter_mut().filter(due).map(take).collect()
    }

    /// Reads some records of a shard and puts them, and the reader, back in its lane.
    fn read(&self, shard: usize, skip: usize, reader: Reader<I::Records>) {
        let started = Instant::now();
        let chunk = self.chunk(self.rotation().lanes.len());
        let Streamed { dataset, epoch, .. } = &self.line.source;
        let watch = self.line.shared.watch.as_ref();
        let watched = watch.map(|watch| watch.begin(SampleName { shard: Some(shard), index: skip }));
        let mut records = VecDeque::with_capacity(chunk);
        let mut reader = match reader {
            Reader::Open(reader) => Ok(reader),
            _ => guarded("opening the shard", || dataset.records(shard, *epoch, skip)),
        };
        let read = guarded("reading the shard", || {
            let reader = match &mut reader {
                Ok(reader) => reader,
                Err(_) => return Ok(false),
            };
            while records.len() < chunk && !self.line.is_cancelled() {
                match reader.next() {
                    Some(Ok(record)) => records.push_back(Ok(record)),
                    Some(Err(error)) => return Err(error),
                    None => return Ok(false),
                }
            }
            Ok(true)
        });
        drop(watched);
        // What went wrong stands where the record would: it is reported with its batch, in order.
        let (reader, error) = match (reader, read) {
            (Ok(reader), Ok(true)) => (Reader::Open(reader), None),
            (Ok(reader), ended) => {
                discard(reader);
                (Reader::Exhausted, ended.err())
            }
            (Err(error), _) => (Reader::Exhausted, Some(error)),
        };
        self.line.count(0, started);
        let mut rotation = self.rotation();
        let Some(lane) = rotation.lanes.iter_mut().find(|lane| lane.shard == shard) else { return };
        lane.reader = reader;
        lane.records.append(&mut records);
        lane.records.extend(error.map(Err));
    }

    /// Deals records to batches for as long as the one whose turn it is has been read; gives the batches that are complete.
    fn rotate(&self, rotation: &mut Rotation<I>) -> Batches<I::Record> {
        let mut batches = Vec::new();
        let has_room = |rotation: &Rotation<I>| rotation.batches - self.delivered.load(Relaxed) < self.window;
        while !rotation.ended && has_room(rotation) {
            self.open_shards(rotation);
            let Rotation { progress, lanes, pending, .. } = rotation;
            let Some(lane) = lanes.get_mut(progress.turn) else {
                rotation.ended = true;
                let last = std::mem::take(&mut rotation.pending);
                if !last.is_empty() && !self.drop_last {
                    batches.push(rotation.complete(last));
                }
                // Whoever waits for another batch must hear that there is none.
                self.line.deliver(Finished { first: rotation.batches, results: Vec::new() });
                break;
            };
            if let Some(record) = lane.records.pop_front() {
                let name = SampleName { shard: Some(lane.shard), index: lane.dealt };
                lane.dealt += 1;
                progress.records += 1;
                pending.push(Entry { name, record: Mutex::new(Some(record)) });
                progress.turn = (progress.turn + 1) % lanes.len();
                if pending.len() == self.line.capacity {
                    let full = std::mem::take(&mut rotation.pending);
                    batches.push(rotation.complete(full));
                }
            } else if matches!(lane.reader, Reader::Exhausted) {
                match self.shards.get(progress.opened) {
                    Some(&shard) => {
                        *lane = Lane { shard, dealt: 0, reader: Reader::Closed, records: VecDeque::new() };
                        progress.opened += 1;
                    }
                    None => {
                        lanes.remove(progress.turn);
                        if progress.turn == lanes.len() {
                            progress.turn = 0;
                        }
                    }
                }
            } else {
                break;
            }
        }
        batches
    }

    /// Opens as many shards as may be open, at the beginning.
    fn open_shards(&self, rotation: &mut Rotation<I>) {
        while rotation.progress.opened < self.interleave.min(self.shards.len()) {
            let shard = self.shards[rotation.progress.opened];
            rotation.lanes.push(Lane { shard, dealt: 0, reader: Reader::Closed, records: VecDeque::new() });
            rotation.progress.opened += 1;
        }
    }

    /// Has batches made.
    fn queue(&self, batches: Batches<I::Record>, spawn: Spawn<'_>) {
        for (batch, entries) in batches {
            let samples = match self.line.shared.pace.job(entries.len(), self.window) {
                Job::Parts(samples) => samples,
                Job::Batches(_) => entries.len(),
            };
            self.line.queue_parts(batch, entries, samples, spawn);
        }
    }

    fn rotation(&self) -> MutexGuard<'_, Rotation<I>> {
        // Nothing of the user's runs under this lock.
        self.rotation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: IterableDataset> Rotation<I> {
    /// Numbers a batch that has all its records, and keeps the progress that it makes.
    fn complete(&mut self, entries: Vec<Entry<I::Record>>) -> (usize, Vec<Entry<I::Record>>) {
        let open = self.lanes.iter().map(|lane| (lane.shard, lane.dealt)).collect();
        self.after.push_back(Progress { open, ..self.progress.clone() });
        self.batches += 1;
        (self.batches - 1, entries)
    }
}

/// The shards of a rank.
///
/// # Errors
///
/// If there are more ranks than shards.
pub(super) fn shards_of(num_shards: usize, rank: usize, world_size: usize) -> Result<Vec<usize>> {
    if world_size > 1 && num_shards < world_size {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "{num_shards} shards cannot be dealt out to {world_size} ranks: some would have none. Cut the data into \
                 more shards"
            ),
        ));
    }
    Ok((rank..num_shards).step_by(world_size).collect())
}
