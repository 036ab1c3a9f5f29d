//! `Intake`: records of an iterable dataset, read shard by shard on all threads and dealt to batches in a fixed order.
//!
//! Some shards are open at a time. A batch takes one record of each in turn; when one is exhausted, the next shard has its
//! place. That order depends on the data and the settings alone. Reading ahead in each open shard is a job of its own, and
//! so is decoding a batch, or a part of it: whichever job brings the record that was missing takes the rotation on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::IterableLoader;
use super::line::{Finished, Line};
use super::pace::{Ahead, Job, OnTheWay, Pace};
use super::streamed::{Entry, Records, Streamed};
use super::watch::SampleName;
use crate::collate::Collate;
use crate::dataset::IterableDataset;
use crate::error::{Error, ErrorKind, Result};
use crate::guard::{discard, guarded};
use crate::stats::Shift;

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
    /// What was read and not yet dealt out. An error is the last.
    records: VecDeque<Result<I::Record>>,
    /// Where its reader puts down one record after another, so that none of them waits for one behind it.
    desk: Arc<Desk<I::Record>>,
}

/// Records as they are read.
struct Desk<R>(Mutex<VecDeque<Result<R>>>);

enum Reader<R> {
    Closed,
    Open(R),
    /// A job has it.
    Away,
    Exhausted,
}

/// A reader to be read on.
struct Reading<I: IterableDataset> {
    shard: usize,
    /// How many records were read,
    read: usize,
    /// and how many to read now.
    chunk: usize,
    reader: Reader<I::Records>,
    desk: Arc<Desk<I::Record>>,
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
    batch_size: usize,
    drop_last: bool,
    /// What reading a record takes.
    reading: Pace,
    delivered: AtomicUsize,
}

/// Batches to be made, with their numbers.
type Batches<R> = Vec<(usize, Records<R>)>;

impl<I, C> Intake<I, C>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
{
    pub(super) fn new(line: Arc<Line<Streamed<I>, C>>, loader: &IterableLoader<I, C>, progress: Progress) -> Self {
        let lane = |&(shard, dealt): &(usize, usize)| Lane { dealt, ..Lane::closed(shard) };
        let rotation = Rotation {
            lanes: progress.open.iter().map(lane).collect(),
            progress,
            pending: Vec::new(),
            batches: 0,
            after: VecDeque::new(),
            ended: false,
        };
        Intake {
            line,
            rotation: Mutex::new(rotation),
            shards: loader.shards.clone(),
            interleave: loader.interleave,
            batch_size: loader.batch_size,
            drop_last: loader.drop_last,
            reading: Pace::new(Arc::default(), 0, Ahead::default(), None),
            delivered: AtomicUsize::new(0),
        }
    }

    /// Takes note that the next batch was delivered; gives the progress it makes.
    pub(super) fn deliver(&self) -> Option<Progress> {
        self.delivered.fetch_add(1, Relaxed);
        self.rotation().after.pop_front()
    }

    /// The consumer asks for a batch.
    pub(super) fn asked(&self) {
        let (queued, delivered) = (self.rotation().batches, self.delivered.load(Relaxed));
        self.line.shared.counters.asked(self.line.made.load(Relaxed).saturating_sub(delivered), queued - delivered);
    }

    /// Runs further ahead, if the consumer waits for one slow batch and the workers for the consumer.
    pub(super) fn stretch(&self) -> bool {
        let (queued, delivered) = (self.rotation().batches, self.delivered.load(Relaxed));
        let on_the_way = OnTheWay { made: self.line.made.load(Relaxed), delivered };
        self.line.shared.pace.stretch(self.batch_size, queued, on_the_way, &self.line.shared.buffers)
    }

    /// Whether all batches were delivered, or nobody wants them any more.
    pub(super) fn is_over(&self) -> bool {
        if self.line.is_cancelled() {
            return true;
        }
        let rotation = self.rotation();
        rotation.ended && rotation.batches == self.delivered.load(Relaxed)
    }

    /// Queues everything there is room for: batches that are complete, and reading.
    pub(super) fn pump(self: &Arc<Self>) {
        let (window, batches, readings) = {
            let mut rotation = self.rotation();
            let window = self.window();
            let batches = self.rotate(&mut rotation, window);
            (window, batches, self.take_readers(&mut rotation, window))
        };
        self.queue(batches, window);
        for reading in readings {
            let intake = Arc::clone(self);
            self.line.spawn(move || intake.run_reader(reading));
        }
    }

    /// Has batches made of what was read so far, whatever a reader is held up by, and takes over batches that are held up.
    pub(super) fn help_out(self: &Arc<Self>) {
        self.line.help_out();
        self.pump();
    }

    /// A worker's job: reads on in a shard.
    fn run_reader(self: Arc<Self>, reading: Reading<I>) {
        if self.line.is_cancelled() {
            return;
        }
        self.read(reading);
        self.pump();
    }

    /// Without workers: makes one step towards the next batch, perhaps the last one.
    pub(super) fn step(&self) -> Finished<C::Batch> {
        let none = Finished::nothing();
        let mut rotation = self.rotation();
        if let Some((batch, records)) = self.rotate(&mut rotation, 1).pop() {
            drop(rotation);
            let made = self.line.make_one(batch, &records);
            discard(records);
            return made;
        }
        let (turn, chunk) = (rotation.progress.turn, self.chunk(rotation.lanes.len()));
        let Some(lane) = rotation.lanes.get_mut(turn) else { return none };
        let reading = lane.send_away(chunk);
        drop(rotation);
        self.read(reading);
        none
    }

    /// How many batches may be in the making or waiting.
    fn window(&self) -> usize {
        let on_the_way = OnTheWay { made: self.line.made.load(Relaxed), delivered: self.delivered.load(Relaxed) };
        self.line.shared.pace.window(self.batch_size, &self.line.shared.buffers, on_the_way)
    }

    /// How many records to read at a time: the shard's part of a batch, and for records that take no time as many as make
    /// a job worth its while.
    fn chunk(&self, lanes: usize) -> usize {
        const MOST: usize = 1024;
        let part = self.batch_size.div_ceil(lanes.max(1));
        self.reading.samples_per_job().unwrap_or(1).max(part).min(MOST)
    }

    /// The readers that should read on now.
    fn take_readers(&self, rotation: &mut Rotation<I>, window: usize) -> Vec<Reading<I>> {
        if rotation.batches - self.delivered.load(Relaxed) >= window {
            return Vec::new();
        }
        let chunk = self.chunk(rotation.lanes.len());
        let due = |lane: &&mut Lane<I>| lane.len() < chunk && matches!(lane.reader, Reader::Closed | Reader::Open(_));
        rotation.lanes.iter_mut().filter(due).map(|lane| lane.send_away(chunk)).collect()
    }

    /// Reads some records of a shard, and puts the reader back in its lane.
    fn read(&self, Reading { shard, read, chunk, reader, desk }: Reading<I>) {
        let shift = Shift::start();
        let Streamed { dataset, epoch, .. } = &self.line.source;
        let watch = self.line.shared.watch.as_ref();
        let begin = |index| watch.map(|watch| watch.begin(SampleName { shard: Some(shard), index }, None));
        let mut records = 0;
        let mut reader = match reader {
            Reader::Open(reader) => Ok(reader),
            _ => guarded("opening the shard", || {
                let _watched = begin(read);
                dataset.records(shard, *epoch, read)
            }),
        };
        let outcome = guarded("reading the shard", || {
            let Ok(reader) = &mut reader else { return Ok(false) };
            while records < chunk && !self.line.is_cancelled() {
                let _watched = begin(read + records);
                let Some(record) = reader.next() else { return Ok(false) };
                desk.records().push_back(Ok(record?));
                records += 1;
            }
            Ok(true)
        });
        // What went wrong stands where the record would: it is reported with its batch, in order.
        let (reader, error) = match (reader, outcome) {
            (Ok(reader), Ok(true)) => (Reader::Open(reader), None),
            (Ok(reader), ended) => {
                discard(reader);
                (Reader::Exhausted, ended.err())
            }
            (Err(error), _) => (Reader::Exhausted, Some(error)),
        };
        self.reading.measured(records, shift.elapsed());
        self.line.count(0, shift);
        desk.records().extend(error.map(|error| Err(error.with_worker(self.line.worker()))));
        let mut rotation = self.rotation();
        if let Some(lane) = rotation.lanes.iter_mut().find(|lane| lane.shard == shard) {
            lane.reader = reader;
        }
    }

    /// Deals records to batches for as long as the one whose turn it is has been read; gives the batches that are complete.
    fn rotate(&self, rotation: &mut Rotation<I>, window: usize) -> Batches<I::Record> {
        let mut batches = Vec::new();
        while rotation.progress.opened < self.interleave.min(self.shards.len()) {
            rotation.lanes.push(Lane::closed(self.shards[rotation.progress.opened]));
            rotation.progress.opened += 1;
        }
        while !rotation.ended && rotation.batches - self.delivered.load(Relaxed) < window {
            let Rotation { progress, lanes, pending, .. } = rotation;
            let Some(lane) = lanes.get_mut(progress.turn) else {
                rotation.ended = true;
                if !rotation.pending.is_empty() && !self.drop_last {
                    batches.push(rotation.complete(self.batch_size));
                }
                // Whoever waits for another batch must hear that there is none.
                self.line.deliver(Finished::nothing());
                break;
            };
            let record = lane.next();
            let is_through = match &record {
                Some(record) => record.is_err(),
                None if matches!(lane.reader, Reader::Exhausted) => true,
                None => break,
            };
            let was_dealt = record.is_some();
            if let Some(record) = record {
                let name = SampleName { shard: Some(lane.shard), index: lane.dealt };
                pending.push(Entry::new(name, record));
                lane.dealt += 1;
                progress.records += 1;
            }
            match self.shards.get(progress.opened) {
                _ if !is_through => progress.turn += 1,
                Some(&shard) => {
                    // One that ended with a record, an error, has had its turn.
                    progress.turn += usize::from(was_dealt);
                    *lane = Lane::closed(shard);
                    progress.opened += 1;
                }
                None => drop(lanes.remove(progress.turn)),
            }
            if progress.turn >= lanes.len() {
                progress.turn = 0;
            }
            if rotation.pending.len() == self.batch_size {
                batches.push(rotation.complete(self.batch_size));
            }
        }
        batches
    }

    /// Has batches made.
    fn queue(self: &Arc<Self>, mut batches: Batches<I::Record>, window: usize) {
        match self.line.shared.pace.job(self.batch_size, window) {
            Job::Parts(samples) => {
                for (batch, records) in batches {
                    self.line.queue_parts(batch, records, samples);
                }
            }
            Job::Batches(most) => {
                while !batches.is_empty() {
                    let rest = batches.split_off(most.min(batches.len()));
                    let job = std::mem::replace(&mut batches, rest);
                    let (line, first) = (Arc::clone(&self.line), job[0].0);
                    let works = job.into_iter().map(|(_, records)| records).collect();
                    self.line.spawn(move || line.make_batches(first, works));
                }
            }
        }
    }

    fn rotation(&self) -> MutexGuard<'_, Rotation<I>> {
        // Nothing of the user's runs under this lock.
        self.rotation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Readers and records are the user's, and each may panic when it is dropped.
impl<I: IterableDataset + 'static, C: Collate<I::Sample>> Drop for Intake<I, C> {
    fn drop(&mut self) {
        let Rotation { lanes, pending, .. } = self.rotation.get_mut().unwrap_or_else(PoisonError::into_inner);
        lanes.drain(..).for_each(discard);
        pending.drain(..).for_each(discard);
    }
}

impl<I: IterableDataset> Lane<I> {
    fn closed(shard: usize) -> Self {
        let desk = Arc::new(Desk(Mutex::default()));
        Lane { shard, dealt: 0, reader: Reader::Closed, records: VecDeque::new(), desk }
    }

    fn send_away(&mut self, chunk: usize) -> Reading<I> {
        let read = self.dealt + self.len();
        let reader = std::mem::replace(&mut self.reader, Reader::Away);
        Reading { shard: self.shard, read, chunk, reader, desk: Arc::clone(&self.desk) }
    }

    /// How many records were read and not yet dealt out.
    fn len(&self) -> usize {
        self.records.len() + self.desk.records().len()
    }

    fn next(&mut self) -> Option<Result<I::Record>> {
        if self.records.is_empty() {
            std::mem::swap(&mut self.records, &mut *self.desk.records());
        }
        self.records.pop_front()
    }
}

impl<R> Desk<R> {
    fn records(&self) -> MutexGuard<'_, VecDeque<Result<R>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: IterableDataset> Rotation<I> {
    /// Numbers the batch that has all its records, and keeps the progress that it makes.
    fn complete(&mut self, batch_size: usize) -> (usize, Records<I::Record>) {
        let entries = std::mem::take(&mut self.pending);
        let Progress { records, opened, turn, .. } = self.progress;
        let open = self.lanes.iter().map(|lane| (lane.shard, lane.dealt)).collect();
        self.after.push_back(Progress { records, opened, turn, open });
        // Where not even the first batch is full, there are no others to share buffers with.
        let capacity = if self.batches == 0 { entries.len() } else { batch_size };
        self.batches += 1;
        (self.batches - 1, Records { entries, capacity })
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
