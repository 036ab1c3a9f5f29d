//! What is kept stays as it is, and what is let go leaves nothing behind.

use std::env;
use std::fs;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use sutler::{Loader, SampleRng};

use crate::eventually;
use crate::fake_device::Device;
use crate::fake_memory::FakePinned;
use crate::samples::{HostBatch, Numbered, is_batch_of, is_host_batch_of};

#[test]
fn a_kept_batch_is_never_overwritten_whatever_else_is_loaded() {
    let memory = FakePinned::new();
    let device = Device::new(&memory, 1);
    let dataset = Numbered { len: 400, one_bad_in: 0 };
    let builder = Loader::builder(dataset).batch_size(8).shuffle(true).seed(6).num_workers(2).prefetch_batches(2);
    let loader = builder.allocator(memory.clone()).build().unwrap();
    let mut epoch = loader.epoch();
    let mut kept: Vec<(Vec<usize>, HostBatch)> = Vec::new();
    for _ in 0..10 {
        let batch = epoch.next().unwrap().unwrap();
        kept.push((epoch.indices().collect(), batch));
    }
    drop(epoch);
    // A thousand more: half of them copied to a device, whose batches are kept a while too.
    let mut loaded = 0;
    while loaded < 1000 {
        let mut on_device = Vec::new();
        let mut prefetcher = loader.epoch().prefetch_to(device.transfer()).depth(2);
        while let Some(batch) = prefetcher.next() {
            on_device.push((prefetcher.indices().collect::<Vec<_>>(), batch.unwrap()));
        }
        assert!(on_device.iter().all(|(indices, batch)| is_batch_of(batch, indices)));
        loaded += on_device.len() + loader.epoch().map(Result::unwrap).count();
    }
    assert!(kept.iter().all(|(indices, batch)| is_host_batch_of(batch, indices)));
    assert!(eventually(|| loader.stats().buffers_live == 20), "{:?}", loader.stats());
    // They end on another thread, one after the loader.
    let last = kept.pop();
    thread::spawn(move || {
        assert!(kept.iter().all(|(indices, batch)| is_host_batch_of(batch, indices)));
        drop(kept);
    })
    .join()
    .unwrap();
    assert!(eventually(|| loader.stats().buffers_live == 2));
    drop(loader);
    thread::spawn(move || {
        let (indices, batch) = last.unwrap();
        assert!(is_host_batch_of(&batch, &indices));
    })
    .join()
    .unwrap();
    assert!(eventually(|| memory.live_blocks() == 0));
}

/// What this process has, as the system counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Footprint {
    threads: usize,
    files: usize,
}

/// How many threads there are. By the number that is kept of them: while some end, a list may leave out others.
fn threads() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    threads.map_or(0, |threads| threads.trim().parse().expect("a number"))
}

impl Footprint {
    fn now() -> Self {
        let entries = |path| fs::read_dir(path).unwrap().count();
        // The directory that is being listed is itself a file that is open, each time.
        Footprint { threads: threads(), files: entries("/proc/self/fd") }
    }
}

/// The bytes of this process that are in memory.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Set for the process that this file's second test starts.
const ALONE: &str = "SUTLER_TEST_ALONE";
/// How much more memory 800 epochs may take than 200: fragments, but no batch of each (which would be 1.6 MB for a hundred).
const GROWTH: usize = 8 << 20;

#[test]
fn a_thousand_epochs_leave_no_buffer_thread_file_or_memory_behind() {
    if env::var_os(ALONE).is_some() {
        return a_thousand_epochs();
    }
    if !cfg!(target_os = "linux") {
        return;
    }
    // In a process of its own, since other tests have threads too.
    let name = "lifetimes::a_thousand_epochs_leave_no_buffer_thread_file_or_memory_behind";
    let mut alone = Command::new(env::current_exe().unwrap());
    let output = alone.args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn a_thousand_epochs() {
    let before = Footprint::now();
    let memory = FakePinned::new();
    let device = Device::new(&memory, 1);
    let dataset = Numbered { len: 60, one_bad_in: 0 };
    let builder = Loader::builder(dataset).batch_size(8).shuffle(true).seed(6).num_workers(2);
    let loader = builder.allocator(memory.clone()).build().unwrap();
    let mut at_200 = 0;
    for epoch in 0..1000 {
        let mut rng = SampleRng::new(1, 0, epoch);
        // Half of them are dropped at random points: before the first batch, after the last, or between.
        let most = if rng.bernoulli(0.5) { rng.below(9) as usize } else { usize::MAX };
        if epoch % 2 == 0 {
            loader.epoch().take(most).for_each(|batch| drop(batch.unwrap()));
        } else {
            let transfer = device.transfer();
            let is_over = transfer.over();
            let prefetcher = loader.epoch().prefetch_to(transfer).depth(1 + rng.below(2) as usize);
            prefetcher.take(most).for_each(|batch| drop(batch.unwrap()));
            is_over.store(true, SeqCst);
        }
        if epoch == 199 {
            at_200 = resident();
        }
    }
    let growth = resident().saturating_sub(at_200);
    // What a sanitizer keeps of freed memory is its own business.
    let is_watched = ["ASAN_OPTIONS", "TSAN_OPTIONS"].iter().any(|name| env::var_os(name).is_some());
    assert!(growth < GROWTH || is_watched, "{growth} bytes");
    assert!(eventually(|| loader.stats().buffers_live == 0), "{:?}", loader.stats());
    let books = device.books();
    assert_eq!((books.under_way, books.corrupt, books.after_the_end), (0, 0, 0));
    drop((loader, device));
    assert!(eventually(|| memory.live_blocks() == 0));
    assert!(eventually(|| Footprint::now() == before), "{:?} after {before:?}", Footprint::now());
}
