//! A sample that is stuck holds up itself, and where there is an order what comes after it, and nobody else: not the
//! other batches, not the consumer for longer than it will wait, and not the end of the process.

use std::io::{BufRead, BufReader};
use std::mem;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sutler::{Error, ErrorKind, HostTensor, Result, Transfer, WorkerPool};

use crate::data::{AnyEpoch, AnyLoader, KINDS, Kind, Samples, Settings, name, numbers};
use crate::eventually;
use crate::gate::Gate;
use crate::process::{command, role};

const BATCH: usize = 4;
const LEN: usize = 24 * BATCH;

/// Samples that cost more than a job should take, so that each is a job of its own; those of `stuck` stand at a gate.
fn samples(kind: Kind, stuck: &'static [usize], gate: &Gate) -> Samples {
    let gate = gate.clone();
    Samples::new(kind, LEN, move |number| {
        thread::sleep(Duration::from_micros(60));
        if stuck.contains(&number) {
            gate.pass();
        }
        Ok(number as i64)
    })
}

/// How long a sample has been loading, in milliseconds, as the message of a timeout says it.
fn loading_for(error: &Error, kind: Kind, number: usize) -> f64 {
    let text = error.to_string();
    let start = format!("{} for ", name(kind, number));
    let rest = text.split_once(&start).unwrap_or_else(|| panic!("no {start}in {text}")).1;
    let time = rest.split_once(' ').unwrap().0;
    match time.strip_suffix("ms") {
        Some(time) => time.parse().unwrap(),
        None => 1000.0 * time.strip_suffix('s').unwrap().parse::<f64>().unwrap(),
    }
}

#[test]
fn a_timeout_names_every_sample_that_is_stuck_and_for_how_long_at_each_call_and_no_other() {
    for kind in KINDS {
        for num_workers in [2, 3, 16] {
            let gate = Gate::default();
            let stuck: &[usize] = match kind {
                Kind::Indexed | Kind::Decoded => &[9, 14],
                // What is read ahead takes a worker for each shard.
                Kind::Read | Kind::Opened => &[1, 2],
            };
            let timeout = Duration::from_millis(30);
            let settings = Settings {
                batch_size: BATCH,
                num_workers,
                prefetch_batches: Some(4),
                timeout: Some(timeout),
                ..Settings::default()
            };
            let loader = AnyLoader::new(samples(kind, stuck, &gate), &settings);
            let mut epoch = loader.epoch();
            let due = stuck[0] / BATCH;
            for expected in &numbers(LEN, BATCH)[..due] {
                assert_eq!(epoch.next().unwrap().unwrap(), *expected);
            }
            assert!(eventually(|| gate.waiting() == 2));
            let mut before = 0.0;
            for call in 1..=3 {
                let waiting = Instant::now();
                let error = epoch.next().unwrap().unwrap_err();
                assert!(waiting.elapsed() >= timeout);
                assert_eq!((error.kind(), error.index(), error.worker()), (ErrorKind::Timeout, None, None));
                if call == 3 {
                    // What else there was room for is loaded by then.
                    assert_eq!(error.to_string().matches("sample ").count(), 2, "{error}");
                }
                let times = [stuck[0], stuck[1]].map(|number| loading_for(&error, kind, number));
                let least = times[0].min(times[1]);
                assert!(least >= 30.0 * f64::from(call) && least >= before + 29.0, "{error}");
                before = least;
                assert_eq!((loader.stats().errors, loader.stats().batches), (call as u64, due as u64));
            }
            gate.open();
            // No batch is lost, and none comes before its time.
            let rest = epoch.filter(|batch| !matches!(batch, Err(error) if error.kind() == ErrorKind::Timeout));
            assert_eq!(rest.map(Result::unwrap).collect::<Vec<_>>(), numbers(LEN, BATCH)[due..]);
            assert_eq!(loader.stats().buffers_live, 0);
        }
    }
}

#[test]
fn out_of_order_all_other_batches_come_while_it_is_stuck() {
    for num_workers in [2, 3, 16] {
        for prefetch_batches in [None, Some(2), Some(5)] {
            for chunk_size in [None, Some(1), Some(BATCH)] {
                let gate = Gate::default();
                let settings = Settings {
                    batch_size: BATCH,
                    num_workers,
                    prefetch_batches,
                    chunk_size,
                    out_of_order: true,
                    timeout: Some(Duration::from_secs(10)),
                    ..Settings::default()
                };
                let loader = AnyLoader::new(samples(Kind::Indexed, &[9], &gate), &settings);
                let mut epoch = loader.epoch();
                let mut batches = epoch.by_ref().take(LEN / BATCH - 1).map(Result::unwrap).collect::<Vec<_>>();
                batches.sort();
                let mut others = numbers(LEN, BATCH);
                let stuck = others.remove(9 / BATCH);
                assert_eq!((batches, gate.waiting()), (others, 1));
                gate.open();
                assert_eq!(epoch.map(Result::unwrap).collect::<Vec<_>>(), [stuck]);
            }
        }
    }
}

#[test]
fn in_order_the_others_of_the_window_are_loaded_meanwhile_and_then_all_come_in_order() {
    for num_workers in [2, 3, 16] {
        for (kind, prefetch) in [(Kind::Indexed, 3), (Kind::Indexed, 8), (Kind::Decoded, 3), (Kind::Decoded, 8)] {
            let (gate, loaded) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
            let (slow, counter) = (samples(kind, &[9], &gate), Arc::clone(&loaded));
            let counted = Samples::new(kind, LEN, move |number| {
                let sample = (slow.load)(number);
                counter.fetch_add(1, SeqCst);
                sample
            });
            let settings = Settings {
                batch_size: BATCH,
                num_workers,
                prefetch_batches: Some(prefetch),
                chunk_size: Some(1),
                timeout: Some(Duration::from_millis(20)),
                ..Settings::default()
            };
            let loader = AnyLoader::new(counted, &settings);
            let mut epoch = loader.epoch();
            let mut batches = epoch.by_ref().take(2).map(Result::unwrap).collect::<Vec<_>>();
            assert_eq!(epoch.next().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
            // All of the window but the one that is stuck, and nothing behind it.
            assert!(eventually(|| loaded.load(SeqCst) == (2 + prefetch) * BATCH - 1));
            assert_eq!(epoch.next().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
            assert_eq!((loaded.load(SeqCst), gate.waiting()), ((2 + prefetch) * BATCH - 1, 1));
            gate.open();
            batches.extend(epoch.filter_map(Result::ok));
            assert_eq!(batches, numbers(LEN, BATCH));
        }
    }
}

// ---- cheap samples ----

const CHEAP: usize = 8192;
const SMALL: usize = 8;

/// The first `most` batches that come while a sample of nothing is stuck, after an epoch in which none was, so that
/// several batches are a job; fewer, if they do not come.
fn beside_a_stuck_one(kind: Kind, stuck: usize, out_of_order: bool, most: usize) -> Vec<Vec<i64>> {
    let (gate, is_closed) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let (held, has_gate) = (gate.clone(), Arc::clone(&is_closed));
    let samples = Samples::new(kind, CHEAP, move |number| {
        if number == stuck && has_gate.load(SeqCst) {
            held.pass();
        }
        Ok(number as i64)
    });
    let settings = Settings {
        batch_size: SMALL,
        num_workers: 2,
        out_of_order,
        timeout: Some(Duration::from_secs(2)),
        ..Settings::default()
    };
    let loader = AnyLoader::new(samples, &settings);
    assert_eq!(loader.epoch().map(Result::unwrap).count(), CHEAP / SMALL);
    is_closed.store(true, SeqCst);
    let mut epoch = loader.epoch();
    let mut batches = epoch.by_ref().take(most).map_while(Result::ok).collect::<Vec<_>>();
    assert!(eventually(|| gate.waiting() == 1));
    gate.open();
    // The rest comes, whatever came before.
    let rest = epoch.filter_map(Result::ok).collect::<Vec<_>>();
    let mut all = [&batches[..], &rest[..]].concat();
    if out_of_order {
        all.sort();
        batches.sort();
    }
    assert!(all == numbers(CHEAP, SMALL));
    batches
}

#[test]
fn out_of_order_all_other_batches_of_cheap_samples_come_while_one_is_stuck() {
    let mut others = numbers(CHEAP, SMALL);
    others.remove(CHEAP / 2 / SMALL);
    let batches = beside_a_stuck_one(Kind::Indexed, CHEAP / 2 + 4, true, others.len());
    assert_eq!((batches.len(), batches == others), (1023, true));
}

/// In order, with a sample stuck in the batch `first` or one of the next, wherever that is among those of its job.
fn all_before_it_come(kind: Kind, first: usize) {
    for before in first..first + 16 {
        let batches = beside_a_stuck_one(kind, before * SMALL + 4, false, before);
        assert_eq!(batches.len(), before);
        assert!(batches == numbers(CHEAP, SMALL)[..before]);
    }
}

#[test]
fn in_order_all_batches_before_a_cheap_sample_that_is_stuck_come() {
    all_before_it_come(Kind::Indexed, 512);
}

#[test]
fn in_order_all_batches_before_a_cheap_record_come_whose_decoding_is_stuck() {
    all_before_it_come(Kind::Decoded, 512);
}

#[test]
fn in_order_all_batches_before_a_cheap_record_come_whose_reading_is_stuck() {
    all_before_it_come(Kind::Read, 768);
}

// ---- samples inside samples ----

#[test]
fn a_timeout_names_a_sample_that_has_waited_for_others_on_its_worker() {
    let (pool, gate) = (WorkerPool::new(2).unwrap(), Gate::default());
    let [began, came, done] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
    // Another loader's sample, on the second worker, is through when the first has loaded the last batch.
    let (has_come, is_done) = (Arc::clone(&came), Arc::clone(&done));
    let other = Samples::new(Kind::Indexed, 1, move |number| {
        has_come.store(true, SeqCst);
        assert!(eventually(|| is_done.load(SeqCst)));
        Ok(number as i64)
    });
    let settings = Settings {
        batch_size: BATCH,
        pool: Some(pool),
        prefetch_batches: Some(3),
        chunk_size: Some(BATCH),
        timeout: Some(Duration::from_millis(50)),
        ..Settings::default()
    };
    let other = AnyLoader::new(other, &Settings { timeout: None, ..settings.clone() });
    let held = gate.clone();
    let samples = Samples::new(Kind::Indexed, 3 * BATCH, move |number| {
        match number {
            // Its worker waits for the other loader, and does the last batch meanwhile.
            0 => {
                let epoch = other.epoch();
                began.store(true, SeqCst);
                assert!(eventually(|| came.load(SeqCst)));
                assert_eq!(epoch.map(Result::unwrap).count(), 1);
                held.pass();
            }
            BATCH => assert!(eventually(|| began.load(SeqCst))),
            LAST => done.store(true, SeqCst),
            _ => {}
        }
        Ok(number as i64)
    });
    const LAST: usize = 3 * BATCH - 1;
    let loader = AnyLoader::new(samples, &settings);
    let mut epoch = loader.epoch();
    assert!(eventually(|| gate.waiting() == 1));
    let error = epoch.next().unwrap().unwrap_err();
    gate.open();
    assert_eq!(epoch.filter_map(Result::ok).collect::<Vec<_>>(), numbers(3 * BATCH, BATCH));
    assert!(error.to_string().contains("Being loaded: sample 0 (/data/0.bin) for "), "{error}");
}

// ---- the end of the process ----

/// Copies batches to the host once more.
struct ToVec;

impl Transfer<HostTensor<i64>> for ToVec {
    type Landed = Vec<i64>;
    type Batch = Vec<i64>;
    type Host = Vec<HostTensor<i64>>;

    fn start(&mut self, batch: HostTensor<i64>, host: &mut Self::Host) -> Result<Vec<i64>> {
        let copy = batch.to_vec();
        host.push(batch);
        Ok(copy)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    fn receive(landed: Vec<i64>) -> Result<Vec<i64>> {
        Ok(landed)
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// The epoch and its loader are dropped.
    Drops,
    /// Nobody drops them: a thread waits for the batch that will not come.
    Waits,
}

/// What a process does last: it has an epoch of which a sample will be stuck for ever, and leaves.
fn leave(kind: Kind, is_prefetched: bool, last: Last) {
    let (reached, is_reached) = mpsc::channel();
    // A shard that is opened, or one behind the first batch.
    let stuck = if kind == Kind::Opened { 0 } else { 9 };
    let samples = Samples::new(kind, LEN, move |number| {
        if number == stuck {
            reached.send(()).unwrap();
            loop {
                thread::park();
            }
        }
        Ok(number as i64)
    });
    let loader = AnyLoader::new(samples, &Settings { batch_size: BATCH, num_workers: 2, ..Settings::default() });
    let mut epoch: Box<dyn Iterator<Item = Result<Vec<i64>>> + Send> = match (loader.epoch(), is_prefetched) {
        (AnyEpoch::Indexed(epoch), true) => Box::new(epoch.prefetch_to(ToVec)),
        (AnyEpoch::Streamed(epoch), true) => Box::new(epoch.prefetch_to(ToVec)),
        (epoch, false) => Box::new(epoch),
    };
    match last {
        Last::Waits => {
            mem::forget(loader);
            thread::spawn(move || epoch.for_each(drop));
            is_reached.recv().unwrap();
        }
        Last::Drops => {
            if kind != Kind::Opened {
                epoch.next().unwrap().unwrap();
            }
            is_reached.recv().unwrap();
        }
    }
    println!("stuck");
}

#[test]
fn a_process_ends_at_once_whatever_sample_is_stuck_for_ever() {
    const AT_ONCE: Duration = Duration::from_secs(1);
    let mut ways = Vec::new();
    for kind in KINDS {
        ways.extend(
            [(false, Last::Drops), (true, Last::Drops), (false, Last::Waits), (true, Last::Waits)].map(
                |(is_prefetched, last)| (format!("{kind:?} {is_prefetched} {last:?}"), (kind, is_prefetched, last)),
            ),
        );
    }
    let act = |role: &str| {
        let (_, (kind, is_prefetched, last)) = ways.iter().find(|(name, _)| name == role).unwrap();
        leave(*kind, *is_prefetched, *last);
    };
    if let Some(role) = role() {
        return act(&role);
    }
    for (name, _) in &ways {
        let mut process = command(name, &act).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(|line| line.ok());
        assert!(lines.any(|line| line == "stuck"), "{name}");
        let leaving = Instant::now();
        let has_left = eventually(|| process.try_wait().unwrap().is_some());
        let took = leaving.elapsed();
        if !has_left {
            process.kill().unwrap();
        }
        assert!(process.wait().unwrap().success() && took < AT_ONCE, "{name}: {took:?}");
        assert!(lines.any(|line| line.contains("1 passed")));
    }
}
