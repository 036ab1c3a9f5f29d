//! Dropping an epoch waits for nothing, whenever and wherever that is, and leaves no thread, file or buffer behind.
//! Every test counts before and after, in a process of its own.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sutler::{Error, InMemory, Loader, WorkerPool};

use crate::data::{AnyEpoch, AnyLoader, KINDS, Kind, SHARDS, Samples, Settings, numbers};
use crate::eventually;
use crate::fake_memory::FakePinned;
use crate::gate::Gate;
use crate::process::{Footprint, alone};

/// How long a drop may take, while samples take a second and more.
const AT_ONCE: Duration = Duration::from_millis(100);

/// What a sample reads.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

const BATCH: usize = 4;
const BATCHES: usize = 6;
const LEN: usize = BATCH * BATCHES;
const WORKERS: [usize; 3] = [1, 2, 16];

/// What was there before, and must be all there is afterwards.
struct Before {
    footprint: Footprint,
    memory: FakePinned,
}

impl Before {
    fn now() -> Self {
        Before { footprint: Footprint::now(), memory: FakePinned::new() }
    }

    /// Waits until nothing else is there.
    #[track_caller]
    fn assert_alone(self, what: &str) {
        let Before { footprint, memory } = self;
        assert!(eventually(|| Footprint::now() == footprint), "{what}: {:?} after {footprint:?}", Footprint::now());
        assert_eq!(memory.live_blocks(), 0, "{what}");
    }
}

/// The threads of a run: its own, or those of a pool.
fn threads(num_workers: usize, is_shared: bool, before: &Before) -> Settings {
    Settings {
        batch_size: BATCH,
        num_workers,
        pool: is_shared.then(|| WorkerPool::new(num_workers).unwrap()),
        prefetch_batches: Some(3),
        memory: Some(before.memory.clone()),
        ..Settings::default()
    }
}

/// Samples that have a file open while they are made. They cost more than a job should take, so that each is a job of
/// its own; and those from `held` on stand at a gate.
fn samples(kind: Kind, held: usize, gate: &Gate) -> Samples {
    let gate = gate.clone();
    Samples::new(kind, LEN, move |number| {
        let _file = File::open(FILE)?;
        thread::sleep(Duration::from_micros(60));
        if number >= held {
            gate.pass();
        }
        Ok(number as i64)
    })
}

#[track_caller]
fn at_once(what: &str, run: impl FnOnce()) {
    let started = Instant::now();
    run();
    assert!(started.elapsed() < AT_ONCE, "{what}: {:?}", started.elapsed());
}

/// Where an epoch and its loader end, and which of them first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    EpochFirst,
    LoaderFirst,
    /// On a thread that has nothing to do with them.
    Elsewhere,
    /// Inside a sample that is being loaded, on one of their own workers.
    OnAWorker,
}

const ENDS: [End; 4] = [End::EpochFirst, End::LoaderFirst, End::Elsewhere, End::OnAWorker];

/// Drops both while a sample is being loaded.
fn end(end: End, loader: AnyLoader, epoch: AnyEpoch, gate: &Gate, what: &str) {
    match end {
        End::EpochFirst => {
            at_once(what, || drop(epoch));
            gate.open();
            assert!(eventually(|| loader.stats().buffers_live == 0), "{what}: {:?}", loader.stats());
            at_once(what, || drop(loader));
        }
        End::LoaderFirst => {
            at_once(what, || drop(loader));
            at_once(what, || drop(epoch));
        }
        End::Elsewhere => {
            at_once(what, || thread::spawn(move || drop((epoch, loader))).join().unwrap());
        }
        End::OnAWorker => {
            let (sender, took) = mpsc::channel();
            gate.send(move || {
                let started = Instant::now();
                drop((loader, epoch));
                sender.send(started.elapsed()).unwrap();
            });
            let took = took.recv_timeout(crate::PATIENCE).unwrap();
            assert!(took < AT_ONCE, "{what}: {took:?}");
        }
    }
    gate.open();
}

#[test]
fn after_any_number_of_batches_a_drop_is_at_once_and_leaves_nothing() {
    alone(|| {
        for kind in KINDS {
            for num_workers in WORKERS {
                for is_shared in [false, true] {
                    for taken in 0..BATCHES {
                        for how in ENDS {
                            let what = format!("{kind:?} {num_workers} {is_shared} {taken} {how:?}");
                            let (before, gate) = (Before::now(), Gate::default());
                            let settings = threads(num_workers, is_shared, &before);
                            // What is read ahead takes a worker for each shard, and shards are opened at once.
                            let is_ahead = kind == Kind::Opened || kind == Kind::Read && num_workers <= SHARDS;
                            let held = if is_ahead { 0 } else { taken * BATCH };
                            let loader = AnyLoader::new(samples(kind, held, &gate), &settings);
                            let mut epoch = loader.epoch();
                            for expected in numbers(held, BATCH) {
                                assert_eq!(epoch.next().unwrap().unwrap(), expected);
                            }
                            assert!(eventually(|| gate.waiting() > 0), "{what}");
                            end(how, loader, epoch, &gate, &what);
                            if let Some(pool) = &settings.pool {
                                // Which serves others.
                                let counting: InMemory<i64> = (0..3).collect();
                                assert_eq!(Loader::builder(counting).pool(pool).build().unwrap().epoch().count(), 3);
                            }
                            drop(settings);
                            before.assert_alone(&what);
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn after_the_end_and_with_a_full_queue_a_drop_is_at_once_and_leaves_nothing() {
    alone(|| {
        for kind in [Kind::Indexed, Kind::Decoded] {
            for num_workers in WORKERS {
                for is_shared in [false, true] {
                    for taken in 0..=BATCHES + 1 {
                        for loader_first in [false, true] {
                            let what = format!("{kind:?} {num_workers} {is_shared} {taken} {loader_first}");
                            let before = Before::now();
                            let settings = threads(num_workers, is_shared, &before);
                            let loader = AnyLoader::new(samples(kind, LEN, &Gate::default()), &settings);
                            let mut epoch = loader.epoch();
                            let batches = epoch.by_ref().take(taken).map(Result::unwrap).collect::<Vec<_>>();
                            assert_eq!(batches, numbers(LEN, BATCH)[..taken.min(BATCHES)]);
                            let queued = 3.min(BATCHES.saturating_sub(taken)) as u64;
                            assert!(eventually(|| loader.stats().buffers_live == queued), "{what}");
                            match loader_first {
                                true => at_once(&what, || drop((loader, epoch))),
                                false => at_once(&what, || drop((epoch, loader))),
                            }
                            drop(settings);
                            before.assert_alone(&what);
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn amid_errors_a_drop_is_at_once_and_leaves_nothing() {
    alone(|| {
        for kind in [Kind::Indexed, Kind::Decoded] {
            for num_workers in WORKERS {
                for panics in [false, true] {
                    for how in ENDS {
                        let what = format!("{kind:?} {num_workers} {panics} {how:?}");
                        let (before, gate) = (Before::now(), Gate::default());
                        let settings = threads(num_workers, false, &before);
                        // A bad sample in each batch. That of the last has a batch before it that is held.
                        let sound = samples(kind, 3 * BATCH, &gate);
                        let bad = Samples::new(kind, LEN, move |number| {
                            let sample = (sound.load)(number)?;
                            match number % BATCH {
                                1 if panics => panic!("no good"),
                                1 => Err(Error::msg("no good")),
                                _ => Ok(sample),
                            }
                        });
                        let loader = AnyLoader::new(bad, &settings);
                        let mut epoch = loader.epoch();
                        // One that was heard of, others in the queue or being made.
                        epoch.next().unwrap().unwrap_err();
                        assert!(eventually(|| gate.waiting() > 0), "{what}");
                        end(how, loader, epoch, &gate, &what);
                        drop(settings);
                        before.assert_alone(&what);
                    }
                }
            }
        }
    });
}

#[test]
fn while_samples_take_a_second_a_drop_does_not() {
    alone(|| {
        let before = Before::now();
        let mut runs = Vec::new();
        for kind in KINDS {
            for num_workers in WORKERS {
                let started = Arc::new(AtomicUsize::new(0));
                let counter = Arc::clone(&started);
                let slow = Samples::new(kind, LEN, move |number| {
                    let _file = File::open(FILE)?;
                    counter.fetch_add(1, SeqCst);
                    thread::sleep(Duration::from_secs(1));
                    Ok(number as i64)
                });
                let loader = AnyLoader::new(slow, &threads(num_workers, false, &before));
                let epoch = loader.epoch();
                runs.push((loader, epoch, started));
            }
        }
        assert!(eventually(|| runs.iter().all(|(.., started)| started.load(SeqCst) > 0)));
        for (loader, epoch, ..) in runs {
            at_once("a second", || drop((epoch, loader)));
        }
        before.assert_alone("a second");
    });
}

#[test]
fn while_the_next_order_is_being_drawn_a_drop_is_at_once_and_leaves_nothing() {
    struct Slow(Gate);
    impl sutler::Sampler for Slow {
        fn order(&self, epoch: u64, len: usize) -> sutler::Result<sutler::Order> {
            if epoch == 1 {
                self.0.pass();
            }
            Ok(sutler::Order::sequential(len))
        }
    }
    alone(|| {
        for num_workers in WORKERS {
            for loader_first in [false, true] {
                let (before, gate) = (Before::now(), Gate::default());
                let settings = threads(num_workers, false, &before);
                let builder = settings.apply(Loader::builder(samples(Kind::Indexed, LEN, &gate)));
                let loader = builder.sampler(Slow(gate.clone())).build().unwrap();
                let epoch = loader.epoch();
                assert!(eventually(|| gate.waiting() == 1));
                match loader_first {
                    true => at_once("an order", || drop((loader, epoch))),
                    false => at_once("an order", || drop((epoch, loader))),
                }
                gate.open();
                drop(settings);
                before.assert_alone("an order");
            }
        }
    });
}
