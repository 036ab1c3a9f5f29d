//! Thousands of batches whose buffers are used again at once, dropped anywhere, failed anywhere: not one of them arrives with
//! another's values, and every buffer comes back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::thread;

use sutler::{DevicePrefetcher, Epoch, Loader, Result, SampleRng, Stack, Transfer};

use crate::eventually;
use crate::fake_device::{Books, Device, FakeTransfer, Faults};
use crate::fake_memory::FakePinned;
use crate::samples::{BAD, DeviceBatch, HostBatch, Numbered, is_batch_of};

/// One way through it.
pub(crate) struct Course {
    pub(crate) seed: u64,
    pub(crate) num_workers: usize,
    pub(crate) depth: usize,
    pub(crate) epochs: usize,
    pub(crate) faults: Faults,
    /// Whether epochs end early, by all the ways there are.
    pub(crate) is_interrupted: bool,
}

/// What the consumer saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) right: usize,
    pub(crate) wrong: usize,
    pub(crate) bad_samples: usize,
    pub(crate) faults: usize,
}

type Prefetcher<T> = DevicePrefetcher<Epoch<Numbered, Stack>, T>;

/// What a consumer panics with that was told to.
struct Enough;

/// What the batches of an epoch must be.
struct Foretold {
    dataset: Numbered,
    faults: Faults,
    /// How often the transfer was called for a batch: once for each that could be made.
    calls: usize,
}

impl Foretold {
    /// Compares with what came.
    fn check(&mut self, result: &Result<DeviceBatch>, indices: &[usize], seen: &mut Seen) {
        if let Some(bad) = indices.iter().find(|&&index| self.dataset.is_bad(index)) {
            let Err(error) = result else { panic!("a batch in spite of sample {bad}") };
            assert_eq!((error.to_string(), error.index()), (format!("sample {bad}: {BAD}"), Some(*bad)));
            seen.bad_samples += 1;
            return;
        }
        let fault = self.faults.of(self.calls);
        self.calls += 1;
        match (result, fault) {
            (Ok(batch), None) if is_batch_of(batch, indices) => seen.right += 1,
            (Ok(_), None) => seen.wrong += 1,
            (Err(error), Some(fault)) => {
                assert_eq!(error.to_string(), fault.text());
                seen.faults += 1;
            }
            (Ok(_), Some(fault)) => panic!("a batch in spite of {fault:?}"),
            (Err(error), None) => panic!("an error of nobody's: {error}"),
        }
    }
}

/// Takes `most` batches, and checks each. The batches themselves end on another thread.
fn consume<T>(
    prefetcher: &mut Prefetcher<T>,
    most: usize,
    foretold: &mut Foretold,
    seen: &mut Seen,
    rng: &mut SampleRng,
    away: &mpsc::Sender<Result<DeviceBatch>>,
) where
    T: Transfer<HostBatch, Batch = DeviceBatch>,
{
    for _ in 0..most {
        let left = prefetcher.len();
        let Some(result) = prefetcher.next() else {
            assert_eq!(left, 0);
            return;
        };
        assert_eq!(prefetcher.len(), left - 1);
        // A consumer that is behind now and then, so that the thread gets ahead.
        (0..rng.below(3)).for_each(|_| thread::yield_now());
        let indices: Vec<usize> = prefetcher.indices().collect();
        foretold.check(&result, &indices, seen);
        away.send(result).unwrap();
    }
}

/// Loads and checks the batches of many epochs.
pub(crate) fn run<T>(device: &Device, memory: &FakePinned, course: &Course, way: impl Fn(FakeTransfer) -> T) -> Seen
where
    T: Transfer<HostBatch, Batch = DeviceBatch>,
{
    let dataset = Numbered { len: 293, one_bad_in: if course.is_interrupted { 97 } else { 0 } };
    let builder = Loader::builder(dataset).batch_size(12).shuffle(true).seed(course.seed).allocator(memory.clone());
    let builder = match course.num_workers {
        0 => builder,
        num_workers => builder.num_workers(num_workers).prefetch_batches(2).chunk_size(5),
    };
    let loader = builder.build().unwrap();
    assert!(loader.is_pinned());
    let (away, batches) = mpsc::channel::<Result<DeviceBatch>>();
    let graveyard = thread::spawn(move || batches.into_iter().for_each(drop));
    let mut seen = Seen::default();
    for epoch in 0..course.epochs {
        let mut rng = SampleRng::new(course.seed, 2, epoch);
        let faults = Faults { seed: course.faults.seed.wrapping_add(epoch as u64), ..course.faults };
        let mut foretold = Foretold { dataset, faults, calls: 0 };
        let transfer = device.failing(faults);
        let is_over = transfer.over();
        let mut prefetcher = loader.epoch().prefetch_to(way(transfer)).depth(course.depth);
        let taken = rng.below(prefetcher.len() as u32 + 1) as usize;
        match rng.below(5) {
            // The consumer has had enough,
            0 if course.is_interrupted => {
                consume(&mut prefetcher, taken, &mut foretold, &mut seen, &mut rng, &away);
                drop(prefetcher);
            }
            // or panics,
            1 if course.is_interrupted => {
                let end = catch_unwind(AssertUnwindSafe(|| {
                    let mut prefetcher = prefetcher;
                    consume(&mut prefetcher, taken, &mut foretold, &mut seen, &mut rng, &away);
                    resume_unwind(Box::new(Enough)); // without a message
                }));
                let Err(why) = end;
                if !why.is::<Enough>() {
                    resume_unwind(why);
                }
            }
            // or leaves the end to another thread.
            2 if course.is_interrupted => {
                consume(&mut prefetcher, taken, &mut foretold, &mut seen, &mut rng, &away);
                thread::spawn(move || drop(prefetcher)).join().unwrap();
            }
            _ => {
                consume(&mut prefetcher, usize::MAX, &mut foretold, &mut seen, &mut rng, &away);
                drop(prefetcher);
            }
        }
        is_over.store(true, SeqCst);
        if course.is_interrupted {
            let Books { under_way, waiting, .. } = device.books();
            assert_eq!(under_way, 0, "the device was still reading when the prefetcher was gone");
            assert!(waiting == 0, "a batch was still on the device when the prefetcher was gone");
        }
    }
    drop(away);
    graveyard.join().unwrap();
    let abandoned = device.books().abandoned as u64;
    assert!(eventually(|| loader.stats().buffers_live == abandoned), "{:?}, {abandoned} lost", loader.stats());
    drop(loader);
    if abandoned == 0 {
        assert!(eventually(|| memory.live_blocks() == 0), "{} blocks are left", memory.live_blocks());
    } else {
        // In the block that they share, or in others.
        assert!(memory.live_blocks() > 0);
    }
    seen
}

/// Nothing went wrong, as far as the device knows.
fn assert_clean(books: Books) {
    let Books { corrupt, freed, in_abandoned_memory, after_the_end, .. } = books;
    assert_eq!((corrupt, freed, in_abandoned_memory, after_the_end), (0, 0, 0, 0), "{books:?}");
}

#[test]
fn no_batch_arrives_with_the_values_of_another_whatever_ends_when() {
    let mut all = Seen::default();
    for (seed, depth, num_workers) in [(1, 1, 2), (2, 2, 2), (3, 1, 3), (4, 2, 1), (5, 1, 0), (6, 2, 0)] {
        let memory = FakePinned::new();
        let device = Device::new(&memory, seed);
        let course = Course { seed, num_workers, depth, epochs: 50, faults: Faults::NONE, is_interrupted: true };
        let seen = run(&device, &memory, &course, |transfer| transfer);
        assert_eq!((seen.wrong, seen.faults), (0, 0), "seed {seed}");
        assert_eq!((device.books().abandoned, memory.live_bytes()), (0, 0));
        assert_clean(device.books());
        all.right += seen.right;
        all.bad_samples += seen.bad_samples;
    }
    assert!(all.right > 3000 && all.bad_samples > 50, "{all:?}");
}

#[test]
fn a_fault_of_the_device_costs_its_batch_alone_and_never_frees_memory_that_it_may_be_reading() {
    let mut all = Seen::default();
    for (seed, depth, num_workers, finish) in [(11, 1, 2, false), (12, 2, 2, true), (13, 1, 0, true), (14, 2, 3, true)]
    {
        let memory = FakePinned::new();
        let device = Device::new(&memory, seed);
        let faults = Faults { seed, per_mille: 150, finish };
        let course = Course { seed, num_workers, depth, epochs: 40, faults, is_interrupted: true };
        let seen = run(&device, &memory, &course, |transfer| transfer);
        assert_eq!(seen.wrong, 0, "seed {seed}");
        assert_eq!(device.books().abandoned > 0, finish);
        assert_clean(device.books());
        all.right += seen.right;
        all.faults += seen.faults;
    }
    assert!(all.right > 1500 && all.faults > 300, "{all:?}");
}
