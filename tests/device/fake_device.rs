//! A device that reads host memory late: in pieces, in any order, on threads of its own. It fails on demand, and keeps books
//! of what it saw.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sutler::{Element, Error, HostTensor, Result, SampleRng, Transfer};

use crate::PATIENCE;
use crate::fake_memory::FakePinned;

/// The device. Its threads end when it is dropped.
pub(crate) struct Device {
    engine: Arc<Engine>,
    threads: Vec<JoinHandle<()>>,
}

/// When the device reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// After a while, on its threads.
    Late,
    /// When it must: when it is asked to finish, or to begin with something else. On the thread that asks.
    Last,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// Copies that were begun, a tensor each.
    pub(crate) begun: usize,
    /// Those that are not over, and were not abandoned.
    pub(crate) under_way: usize,
    /// Those that nobody knew the end of, so that their memory may never be used again.
    pub(crate) abandoned: usize,
    /// Those that read something else than what was there when they began.
    pub(crate) corrupt: usize,
    /// Those that read memory that had been freed.
    pub(crate) freed: usize,
    /// Those that began in memory which an abandoned one may still be reading.
    pub(crate) in_abandoned_memory: usize,
    /// Batches on the device that no consumer has yet.
    pub(crate) waiting: usize,
    /// Calls of the transfer after its prefetcher was gone.
    pub(crate) after_the_end: usize,
}

struct Engine {
    memory: FakePinned,
    when: When,
    queue: Mutex<Queue>,
    changed: Condvar,
    books: Mutex<Ledger>,
}

struct Queue {
    pieces: Vec<(Arc<Copy>, Range<usize>)>,
    /// Of which copies pieces may be read: of those before this one.
    open_before: usize,
    is_over: bool,
    /// What delays and orders are drawn from.
    rng: SampleRng,
}

#[derive(Default)]
struct Ledger {
    books: Books,
    abandoned: Vec<Range<usize>>,
}

/// A copy under way, and the device memory that it fills.
struct Copy {
    number: usize,
    address: usize,
    /// The checksum of what was to be copied.
    sum: u64,
    landing: Mutex<Landing>,
    landed: Condvar,
}

struct Landing {
    memory: Vec<u8>,
    left: usize,
    is_abandoned: bool,
}

/// A tensor in the memory of the device.
pub(crate) struct DeviceTensor {
    shape: Vec<usize>,
    copy: Arc<Copy>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The memory of plain values.
fn bytes_of<T: Element>(values: &[T]) -> &[u8] {
    // SAFETY: an `Element` has no padding, so that all its bytes are initialised, and `u8` has no alignment to keep.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

fn checksum(bytes: &[u8]) -> u64 {
    let word = |chunk: &[u8]| chunk.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    bytes.chunks(8).fold(0, |sum: u64, chunk| (sum ^ word(chunk)).wrapping_mul(0x0100_0000_01b3).rotate_left(29))
}

impl Device {
    /// A device that reads `memory` after random delays, which follow from `seed` and the scheduler.
    pub(crate) fn new(memory: &FakePinned, seed: u64) -> Self {
        let engine = Engine::new(memory, When::Late, seed);
        let threads = (0..2).map(|_| {
            let engine = Arc::clone(&engine);
            thread::Builder::new().name("fake-dma".into()).spawn(move || engine.work()).unwrap()
        });
        Device { threads: threads.collect(), engine }
    }

    /// One that reads as late as it can at all, and not by chance: it has no threads.
    pub(crate) fn last_minute(memory: &FakePinned) -> Self {
        Device { engine: Engine::new(memory, When::Last, 0), threads: Vec::new() }
    }

    /// A way to it that works.
    pub(crate) fn transfer(&self) -> FakeTransfer {
        self.failing(Faults::NONE)
    }

    /// A way to it that fails as `faults` say.
    pub(crate) fn failing(&self, faults: Faults) -> FakeTransfer {
        FakeTransfer {
            engine: Arc::clone(&self.engine),
            faults,
            calls: 0,
            fault: None,
            copies: Vec::new(),
            is_over: Arc::default(),
        }
    }

    pub(crate) fn books(&self) -> Books {
        locked(&self.engine.books).books
    }

    /// Reads `copies` tensors, and nothing of the next until it is opened.
    pub(crate) fn close_after(&self, copies: usize) {
        locked(&self.engine.queue).open_before = copies;
    }

    pub(crate) fn open(&self) {
        locked(&self.engine.queue).open_before = usize::MAX;
        self.engine.changed.notify_all();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let mut queue = locked(&self.engine.queue);
        (queue.open_before, queue.is_over) = (usize::MAX, true);
        drop(queue);
        self.engine.changed.notify_all();
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

impl Engine {
    fn new(memory: &FakePinned, when: When, seed: u64) -> Arc<Self> {
        let queue =
            Queue { pieces: Vec::new(), open_before: usize::MAX, is_over: false, rng: SampleRng::new(seed, 0, 0) };
        Arc::new(Engine {
            memory: memory.clone(),
            when,
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            books: Mutex::default(),
        })
    }

    /// Begins to copy what is at `values`.
    fn begin<T: Element>(&self, values: &[T]) -> Arc<Copy> {
        let bytes = bytes_of(values);
        let address = bytes.as_ptr().addr();
        let range = address..address + bytes.len();
        let mut ledger = locked(&self.books);
        let number = ledger.books.begun;
        ledger.books.begun += 1;
        ledger.books.under_way += 1;
        let overlaps = |other: &Range<usize>| range.start < other.end && other.start < range.end;
        ledger.books.in_abandoned_memory += usize::from(ledger.abandoned.iter().any(overlaps));
        drop(ledger);
        let landing = Landing { memory: vec![0; bytes.len()], left: bytes.len(), is_abandoned: false };
        let (sum, landing) = (checksum(bytes), Mutex::new(landing));
        let copy = Arc::new(Copy { number, address, sum, landing, landed: Condvar::new() });
        if self.when == When::Late {
            let mut queue = locked(&self.queue);
            let piece = bytes.len().div_ceil(1 + queue.rng.below(4) as usize).max(1);
            let pieces = (0..bytes.len()).step_by(piece).map(|start| start..(start + piece).min(bytes.len()));
            queue.pieces.extend(pieces.map(|piece| (Arc::clone(&copy), piece)));
            drop(queue);
            self.changed.notify_all();
        }
        copy
    }

    /// What a thread of the device does.
    fn work(&self) {
        let mut queue = locked(&self.queue);
        loop {
            let Queue { pieces, open_before, rng, .. } = &mut *queue;
            let due: Vec<usize> = (0..pieces.len()).filter(|&piece| pieces[piece].0.number < *open_before).collect();
            if !due.is_empty() {
                let (copy, piece) = pieces.swap_remove(due[rng.below(due.len() as u32) as usize]);
                let delay = match rng.below(64) {
                    0 => 1000 + rng.below(2000),
                    1..=31 => rng.below(100),
                    _ => 0,
                };
                drop(queue);
                if delay > 0 {
                    thread::sleep(Duration::from_micros(delay.into()));
                }
                self.read(&copy, piece);
                queue = locked(&self.queue);
            } else if queue.is_over {
                return;
            } else {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Reads a piece of host memory into that of the device.
    fn read(&self, copy: &Copy, piece: Range<usize>) {
        let mut bytes = vec![0; piece.len()];
        let is_there = self.memory.read(copy.address + piece.start, &mut bytes);
        let mut landing = locked(&copy.landing);
        landing.memory[piece.clone()].copy_from_slice(&bytes);
        landing.left -= piece.len();
        let is_corrupt = landing.left == 0 && checksum(&landing.memory) != copy.sum;
        let mut ledger = locked(&self.books);
        ledger.books.freed += usize::from(!is_there);
        ledger.books.corrupt += usize::from(is_there && is_corrupt);
        ledger.books.under_way -= usize::from(landing.left == 0 && !landing.is_abandoned);
        drop(ledger);
        copy.landed.notify_all();
    }

    /// A transfer is called, whose prefetcher is gone if `is_over`.
    fn called(&self, is_over: &AtomicBool) {
        if is_over.load(SeqCst) {
            locked(&self.books).books.after_the_end += 1;
        }
    }

    /// Nobody knows whether these copies are over.
    fn abandon(&self, copies: &[Arc<Copy>]) {
        for copy in copies {
            let mut landing = locked(&copy.landing);
            landing.is_abandoned = true;
            let mut ledger = locked(&self.books);
            ledger.books.abandoned += 1;
            ledger.books.under_way -= usize::from(landing.left > 0);
            ledger.abandoned.push(copy.address..copy.address + landing.memory.len());
        }
    }
}

impl Copy {
    fn len(&self) -> usize {
        locked(&self.landing).memory.len()
    }

    /// Waits until all of it was read.
    fn wait(&self) -> MutexGuard<'_, Landing> {
        let landing = locked(&self.landing);
        let over = self.landed.wait_timeout_while(landing, PATIENCE, |landing| landing.left > 0);
        let (landing, waited) = over.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "a copy never ended");
        landing
    }
}

impl DeviceTensor {
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether it holds these values, once its copy is over.
    pub(crate) fn holds<T: Element>(&self, values: &[T]) -> bool {
        self.copy.wait().memory == bytes_of(values)
    }

    /// Its values, once its copy is over.
    pub(crate) fn to_vec(&self) -> Vec<i64> {
        let landing = self.copy.wait();
        landing.memory.chunks_exact(8).map(|word| i64::from_ne_bytes(word.try_into().unwrap())).collect()
    }
}

/// What may go wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `start` fails when the copy of the first field is under way,
    StartFails,
    /// or panics then.
    StartPanics,
    /// `finish` fails,
    FinishFails,
    /// or panics; the copies go on.
    FinishPanics,
    /// Both fail.
    StartAndFinishFail,
    ReceiveFails,
}

impl Fault {
    /// What the error of the batch says.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Fault::StartFails | Fault::StartAndFinishFail => "the device refuses the second field",
            Fault::StartPanics => "copying the batch panicked: the device is on fire",
            Fault::FinishFails => "the device does not answer",
            Fault::FinishPanics => "copying the batch panicked: the device is gone",
            Fault::ReceiveFails => "the stream is lost",
        }
    }

    /// Whether the host memory of the batch may never be used again.
    pub(crate) fn leaks(self) -> bool {
        matches!(self, Fault::FinishFails | Fault::FinishPanics | Fault::StartAndFinishFail)
    }
}

/// Which batches have one: a function of the number of the call, so that a test can foretell it.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) seed: u64,
    /// Of a thousand calls, so many fail.
    pub(crate) per_mille: u32,
    /// Whether `finish` may fail too.
    pub(crate) finish: bool,
}

impl Faults {
    pub(crate) const NONE: Faults = Faults { seed: 0, per_mille: 0, finish: false };

    pub(crate) fn of(&self, call: usize) -> Option<Fault> {
        use Fault::*;
        let mut rng = SampleRng::new(self.seed, 1, call);
        if rng.below(1000) >= self.per_mille {
            return None;
        }
        let all = [StartFails, StartPanics, ReceiveFails, FinishFails, FinishPanics, StartAndFinishFail];
        Some(all[rng.below(if self.finish { 6 } else { 3 }) as usize])
    }
}

/// The way to the device.
pub(crate) struct FakeTransfer {
    engine: Arc<Engine>,
    faults: Faults,
    calls: usize,
    /// That of the batch in hand.
    fault: Option<Fault>,
    /// Its copies.
    copies: Vec<Arc<Copy>>,
    is_over: Arc<AtomicBool>,
}

impl FakeTransfer {
    /// Set when the prefetcher is gone: what is called from then on is counted.
    pub(crate) fn over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_over)
    }

    /// The last minute has come.
    fn catch_up(&mut self) {
        if self.engine.when == When::Last {
            for copy in self.copies.drain(..) {
                self.engine.read(&copy, 0..copy.len());
            }
        }
    }
}

impl Drop for FakeTransfer {
    fn drop(&mut self) {
        self.catch_up();
    }
}

/// What the device reads, kept until it says that it is through.
pub(crate) type Kept = Vec<Box<dyn Any + Send>>;

/// A batch on its way to the consumer's thread.
pub(crate) struct Landed<D> {
    /// `None` once it is there.
    batch: Option<D>,
    is_refused: bool,
    engine: Arc<Engine>,
}

impl<D> Drop for Landed<D> {
    fn drop(&mut self) {
        if self.batch.take().is_some() {
            // To free its memory takes a while.
            thread::sleep(Duration::from_micros(50));
            locked(&self.engine.books).books.waiting -= 1;
        }
    }
}

/// Copies the tensors of one batch.
pub(crate) struct Copier<'a> {
    transfer: &'a mut FakeTransfer,
    host: &'a mut Kept,
}

impl Copier<'_> {
    fn copy<T: Element>(&mut self, tensor: HostTensor<T>) -> Result<DeviceTensor> {
        assert!(tensor.is_pinned());
        self.host.push(Box::new(tensor));
        let tensor: &HostTensor<T> = self.host.last().and_then(|kept| kept.downcast_ref()).unwrap();
        let copy = self.transfer.engine.begin(tensor);
        self.transfer.copies.push(Arc::clone(&copy));
        let fault = self.transfer.fault;
        match fault {
            Some(fault @ (Fault::StartFails | Fault::StartAndFinishFail)) => Err(Error::msg(fault.text())),
            Some(Fault::StartPanics) => std::panic::resume_unwind(Box::new("the device is on fire")), // and no message
            _ => Ok(DeviceTensor { shape: tensor.shape().to_vec(), copy }),
        }
    }
}

/// What can be brought to the device: tensors, and what has some.
pub(crate) trait ToDevice: Send + 'static {
    type Output: Send + 'static;

    fn copy_to(self, copier: &mut Copier<'_>) -> Result<Self::Output>;
}

impl<T: Element> ToDevice for HostTensor<T> {
    type Output = DeviceTensor;

    fn copy_to(self, copier: &mut Copier<'_>) -> Result<DeviceTensor> {
        copier.copy(self)
    }
}

impl<A: ToDevice, B: ToDevice> ToDevice for (A, B) {
    type Output = (A::Output, B::Output);

    fn copy_to(self, copier: &mut Copier<'_>) -> Result<Self::Output> {
        Ok((self.0.copy_to(copier)?, self.1.copy_to(copier)?))
    }
}

/// Passes through.
impl ToDevice for Vec<String> {
    type Output = Self;

    fn copy_to(self, _: &mut Copier<'_>) -> Result<Self> {
        Ok(self)
    }
}

impl<B: ToDevice> Transfer<B> for FakeTransfer {
    type Landed = Landed<B::Output>;
    type Batch = B::Output;
    type Host = Kept;

    fn start(&mut self, batch: B, host: &mut Kept) -> Result<Landed<B::Output>> {
        self.engine.called(&self.is_over);
        self.catch_up();
        self.fault = self.faults.of(self.calls);
        self.calls += 1;
        let batch = batch.copy_to(&mut Copier { transfer: self, host })?;
        locked(&self.engine.books).books.waiting += 1;
        let (is_refused, engine) = (self.fault == Some(Fault::ReceiveFails), Arc::clone(&self.engine));
        Ok(Landed { batch: Some(batch), is_refused, engine })
    }

    fn finish(&mut self) -> Result<()> {
        self.engine.called(&self.is_over);
        match self.fault {
            Some(fault) if fault.leaks() => {
                self.engine.abandon(&std::mem::take(&mut self.copies));
                if fault == Fault::FinishPanics {
                    std::panic::resume_unwind(Box::new("the device is gone"));
                }
                Err(Error::msg(Fault::FinishFails.text()))
            }
            _ => {
                self.catch_up();
                self.copies.drain(..).for_each(|copy| drop(copy.wait()));
                Ok(())
            }
        }
    }

    fn receive(mut landed: Landed<B::Output>) -> Result<B::Output> {
        let batch = landed.batch.take();
        locked(&landed.engine.books).books.waiting -= 1;
        match batch {
            Some(batch) if !landed.is_refused => Ok(batch),
            _ => Err(Error::msg(Fault::ReceiveFails.text())),
        }
    }
}

/// A wrong way to a device: it lets go of the host memory as soon as the copy has begun, and never waits for its end.
pub(crate) struct EarlyRelease<T>(pub(crate) T);

impl<B, T: Transfer<B>> Transfer<B> for EarlyRelease<T> {
    type Landed = T::Landed;
    type Batch = T::Batch;
    type Host = ();

    fn start(&mut self, batch: B, (): &mut ()) -> Result<T::Landed> {
        self.0.start(batch, &mut T::Host::default())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    fn receive(landed: T::Landed) -> Result<T::Batch> {
        T::receive(landed)
    }
}

/// A device that is the host: nothing is copied. Notes which threads called it.
#[derive(Clone, Default)]
pub(crate) struct Here {
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) threads: Arc<Mutex<Vec<thread::ThreadId>>>,
}

/// Of `B`, since its batch says nothing of it.
impl<B: Send + 'static> Transfer<B> for Here {
    type Landed = B;
    type Batch = B;
    type Host = PhantomData<B>;

    fn start(&mut self, batch: B, _: &mut PhantomData<B>) -> Result<B> {
        self.calls.fetch_add(1, SeqCst);
        locked(&self.threads).push(thread::current().id());
        Ok(batch)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    fn receive(landed: B) -> Result<B> {
        Ok(landed)
    }

    fn is_immediate(&self) -> bool {
        true
    }
}
