//! Memory: as much with sixteen workers as with one, as much in the third epoch as in the first, as much behind a slow
//! sample as is asked for; and none that processes would have to share.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use sutler::{Dataset, HostTensor, InMemory, Loader, LoaderBuilder, Order, Result, SampleRng, Sampler};

use crate::data::{AnyLoader, Kind, Samples, Settings, numbers};
use crate::eventually;
use crate::fake_memory::FakePinned;
use crate::process::{alone, command, resident, role, run};

// ---- workers and epochs ----

/// How many paths there are, in the test of how much memory they take; `make memory` sets ten millions.
const PATHS: &str = "SUTLER_PATHS";

/// Paths, each of which is copied when it is asked for, and dropped where that was.
struct Paths(Vec<String>);

impl Dataset for Paths {
    type Sample = i64;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        Ok(black_box(self.0[index].clone()).len() as i64)
    }
}

/// Loads three epochs of paths with so many workers, and prints the most that was resident in each.
fn load_paths(num_workers: usize) {
    let count = env::var(PATHS).map_or(1_000_000, |count| count.parse().unwrap());
    // What a list of files is made of. In Python each worker process ends up with a copy of it, because looking at an
    // object writes to its reference count.
    let path = |number: usize| {
        let class = number / 1300;
        format!("/mnt/datasets/imagenet/ILSVRC2012/Data/CLS-LOC/train/n{class:08}/n{class:08}_{number:08}.JPEG")
    };
    let paths = Paths((0..count).map(path).collect());
    let loader = Loader::builder(paths).batch_size(256).num_workers(num_workers).build().unwrap();
    for epoch in 0..3 {
        let (mut most, mut bytes) = (0, 0);
        for (number, batch) in loader.epoch().enumerate() {
            bytes += batch.unwrap().iter().sum::<i64>();
            if number % 100 == 0 {
                most = most.max(resident());
            }
        }
        println!("resident: {most} in epoch {epoch} of {count} paths, {bytes} bytes");
    }
}

/// What a process that printed that had resident in each epoch.
fn figures(text: &str) -> Vec<usize> {
    let figures = text.lines().filter_map(|line| line.strip_prefix("resident: "));
    figures.map(|figures| figures.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn paths_take_as_much_memory_with_sixteen_workers_as_with_one_and_no_more_in_later_epochs() {
    let load = |num_workers: &str| load_paths(num_workers.parse().unwrap());
    if let Some(num_workers) = role() {
        return load(&num_workers);
    }
    if !cfg!(target_os = "linux") {
        return;
    }
    let [one, sixteen] = ["1", "16"].map(|num_workers| figures(&run(&mut command(num_workers, &load))));
    println!("the most bytes resident in each epoch: with one worker {one:?}, with sixteen {sixteen:?}");
    let differ = |a: usize, b: usize| a.abs_diff(b) as f64 / a.min(b) as f64;
    // Of what a thread needs for itself, its stack and its part of the heap, whenever it gets to work for the first time; of
    // ten million paths that is nothing.
    const OF_THREADS: usize = 15 * (256 << 10);
    let without_threads = |sixteen: usize, one: usize| sixteen.saturating_sub(OF_THREADS).max(one.min(sixteen));
    for (&one, &sixteen) in one.iter().zip(&sixteen) {
        assert!(differ(one, without_threads(sixteen, one)) < 0.02, "{one} with one worker, {sixteen} with sixteen");
    }
    for (epochs, may_have_begun) in [(one, false), (sixteen, true)] {
        let [first, _, third] = epochs[..] else { panic!("{epochs:?}") };
        let third = if may_have_begun { without_threads(third, first) } else { third };
        assert!(differ(first, third) < 0.01, "{epochs:?}");
    }
}

// ---- batches that are kept ----

const KEPT: usize = 100_000;

/// A sample of half a kilobyte, which no other has.
fn row(index: usize) -> [i64; 64] {
    std::array::from_fn(|place| (index * 64 + place) as i64)
}

/// Keeps all batches of an epoch while others come and go, and gives them back.
fn keep_all(loader: &Loader<impl Dataset<Sample = [i64; 64]> + 'static>) -> usize {
    let kept: Vec<HostTensor<i64>> = loader.epoch().map(Result::unwrap).collect();
    assert_eq!(loader.stats().buffers_live, KEPT as u64);
    let peak = resident();
    loader.epoch().take(KEPT / 4).for_each(|batch| drop(batch.unwrap()));
    assert!(kept.iter().enumerate().all(|(index, batch)| **batch == row(index)));
    drop(kept);
    // What was ahead when the others were left comes back as well.
    assert!(eventually(|| loader.stats().buffers_live == 0));
    peak
}

/// A batch for each sample.
fn rows() -> LoaderBuilder<impl Dataset<Sample = [i64; 64]> + 'static> {
    let numbers: InMemory<i64> = (0..KEPT as i64).collect();
    Loader::builder(numbers.map(|number: i64, _: &mut SampleRng| Ok(row(number as usize)))).num_workers(2)
}

#[test]
fn a_hundred_thousand_kept_batches_stay_as_they_are_and_give_back_every_byte() {
    let memory = FakePinned::new();
    let loader = rows().allocator(memory.clone()).build().unwrap();
    loader.epoch().for_each(|batch| drop(batch.unwrap()));
    let warm = memory.live_bytes();
    for _ in 0..2 {
        keep_all(&loader);
        assert_eq!((memory.live_bytes(), loader.stats().buffer_bytes), (warm, warm as u64));
    }
    drop(loader);
    assert_eq!(memory.live_blocks(), 0);
}

#[test]
fn keeping_as_many_batches_again_takes_no_more_memory() {
    let keep = || {
        let loader = rows().build().unwrap();
        loader.epoch().for_each(|batch| drop(batch.unwrap()));
        let warm = loader.stats();
        let peaks: Vec<usize> = (0..4).map(|_| keep_all(&loader)).collect();
        assert_eq!(loader.stats().buffer_bytes, warm.buffer_bytes);
        // The first time it is where the heap grows.
        assert!(peaks[3] < peaks[1] + peaks[1] / 50, "{peaks:?}");
    };
    match role() {
        Some(_) => keep(),
        // In one arena: how the others share what was freed is the business of the system's allocator.
        None if cfg!(target_os = "linux") => drop(run(command("alone", &keep).env("MALLOC_ARENA_MAX", "1"))),
        None => {}
    }
}

// ---- memory that processes share ----

/// What of this process is in the memory that processes share: by its maps, and by its open files.
fn shared_memory() -> BTreeSet<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let files = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let files = files.filter_map(|file| fs::read_link(file.path()).ok()).map(|path| path.display().to_string());
    let all = maps.lines().map(str::to_owned).chain(files);
    all.filter(|place| ["/dev/shm", "/memfd:", "/SYSV"].iter().any(|kind| place.contains(kind))).collect()
}

/// What there is, of any process.
fn listed() -> BTreeSet<PathBuf> {
    fs::read_dir("/dev/shm").into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[test]
fn sixteen_workers_need_no_shared_memory() {
    alone(|| {
        let (before, mut appeared) = (listed(), BTreeSet::new());
        // A second time, if there was something: of another process, which will not do it again.
        for _ in 0..3 {
            appeared.clear();
            let samples = Samples::new(Kind::Indexed, 4000, |index| {
                thread::sleep(Duration::from_micros(100));
                Ok(index as i64)
            });
            let loader = Loader::builder(samples).batch_size(8).num_workers(16).build().unwrap();
            let mut kept = Vec::new();
            for batch in &loader {
                kept.push(batch.unwrap());
                assert_eq!(shared_memory(), BTreeSet::new());
                appeared.extend(listed().difference(&before).cloned());
            }
            assert_eq!(kept.len(), 500);
            if appeared.is_empty() {
                return;
            }
        }
        panic!("{appeared:?}");
    });
}

// ---- how far ahead ----

/// How many samples were started, of how many that somebody wanted; and the most that they were ever ahead.
#[derive(Default)]
struct Ahead {
    started: AtomicUsize,
    wanted: AtomicUsize,
    most: AtomicUsize,
}

impl Ahead {
    fn start(&self) {
        let started = self.started.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(started.saturating_sub(self.wanted.load(SeqCst)), SeqCst);
    }
}

#[test]
fn no_more_is_loaded_ahead_than_asked_for_also_behind_a_slow_sample() {
    const BATCH: usize = 4;
    const LEN: usize = 24 * BATCH;
    const SLOW: usize = 21;
    for prefetch in [1, 2, 5, 16] {
        for num_workers in [1, 2, 3, 7, 16] {
            for (kind, in_order) in [(Kind::Indexed, true), (Kind::Indexed, false), (Kind::Decoded, true)] {
                let ahead = Arc::new(Ahead::default());
                let counter = Arc::clone(&ahead);
                let samples = Samples::new(kind, LEN, move |number| {
                    counter.start();
                    thread::sleep(Duration::from_micros(if number == SLOW { 10_000 } else { 100 }));
                    Ok(number as i64)
                });
                let settings = Settings {
                    batch_size: BATCH,
                    num_workers,
                    prefetch_batches: Some(prefetch),
                    out_of_order: !in_order,
                    ..Settings::default()
                };
                let loader = AnyLoader::new(samples, &settings);
                let mut epoch = loader.epoch();
                let mut batches = Vec::new();
                while batches.len() < LEN / BATCH {
                    // All that may be started is, before the next one is wanted.
                    let wanted = ahead.wanted.load(SeqCst);
                    let allowed = (wanted + prefetch * BATCH).min(LEN);
                    assert!(eventually(|| ahead.started.load(SeqCst) >= allowed), "{prefetch} {num_workers} {kind:?}");
                    assert_eq!(ahead.started.load(SeqCst), allowed, "{prefetch} {num_workers} {kind:?}");
                    // A batch that `next()` has in its hand is not ahead any more.
                    ahead.wanted.store(wanted + BATCH, SeqCst);
                    batches.push(epoch.next().unwrap().unwrap());
                }
                if !in_order {
                    batches.sort();
                }
                assert_eq!(batches, numbers(LEN, BATCH));
                assert_eq!(ahead.most.load(SeqCst), prefetch * BATCH, "{num_workers} workers, {kind:?}, {in_order}");
            }
        }
    }
}

// ---- orders ----

/// A list of all indices, and how many were drawn.
struct Listed(Arc<AtomicUsize>);

impl Sampler for Listed {
    fn order(&self, _: u64, len: usize) -> Result<Order> {
        let order = (0..len).collect();
        self.0.fetch_add(1, SeqCst);
        Ok(order)
    }
}

#[test]
fn an_order_takes_the_memory_of_the_one_before_whichever_worker_draws_it() {
    const LEN: usize = 1_000_000;
    const ORDER: usize = LEN * size_of::<usize>();
    if !cfg!(target_os = "linux") {
        return;
    }
    alone(|| {
        let drawn = Arc::new(AtomicUsize::new(0));
        let dataset: InMemory<u8> = (0..LEN).map(|_| 1).collect();
        // Half of the epoch is queued when it begins, so that the next order is as well.
        let builder = Loader::builder(dataset).batch_size(LEN / 10).num_workers(16).prefetch_batches(5).chunk_size(LEN);
        let loader = builder.sampler(Listed(Arc::clone(&drawn))).build().unwrap();
        let mut after = Vec::new();
        for epoch in 0..48 {
            drop(loader.epoch());
            assert!(eventually(|| drawn.load(SeqCst) == epoch + 2));
            after.push(resident());
        }
        // This epoch's and the next one's, and one that was freed.
        assert!(after[47] < after[2] + 3 * ORDER, "{after:?}");
    });
}
