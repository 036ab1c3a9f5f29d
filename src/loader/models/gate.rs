//! The gate: so many jobs run at a time, and each does once.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::loader::gate::{Gate, Job};
use crate::sync::atomic::AtomicUsize;
use crate::sync::{ThreadPool, ThreadPoolBuilder, explore, join_workers};

/// Jobs that go through a gate, and what is seen of them.
struct Gated {
    gate: Arc<Gate>,
    threads: Arc<ThreadPool>,
    seen: Arc<Seen>,
}

struct Seen {
    /// How many jobs run now,
    running: AtomicUsize,
    /// how many may,
    most: usize,
    /// and how many have.
    run: AtomicUsize,
}

impl Seen {
    fn new(most: usize) -> Arc<Self> {
        Arc::new(Seen { running: AtomicUsize::new(0), most, run: AtomicUsize::new(0) })
    }
}

impl Gated {
    fn new(width: usize, most: usize) -> Self {
        let threads = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        Gated { gate: Arc::new(Gate::new(width)), threads: Arc::new(threads), seen: Seen::new(most) }
    }

    fn job(&self) -> Job {
        let seen = Arc::clone(&self.seen);
        Box::new(move || {
            let running = seen.running.fetch_add(1, Relaxed) + 1;
            assert!(running <= seen.most, "{running} jobs run at a time");
            seen.run.fetch_add(1, Relaxed);
            seen.running.fetch_sub(1, Relaxed);
        })
    }

    fn queue(&self) {
        self.gate.run(self.job(), |job| self.threads.spawn_fifo(job));
    }

    fn set_width(&self, width: usize) {
        self.gate.set_width(width, |job| self.threads.spawn_fifo(job));
    }

    /// Lets the workers end: all jobs have run.
    fn end(self, jobs: usize) {
        drop(self.threads);
        join_workers();
        assert_eq!(self.seen.run.load(Acquire), jobs);
        assert!(!self.gate.help(), "a job waits for ever");
    }
}

#[test]
fn no_more_jobs_run_than_may_and_none_is_left_behind() {
    explore(3, || {
        let gated = Gated::new(1, 1);
        (0..3).for_each(|_| gated.queue());
        gated.end(3);
    });
}

#[test]
fn a_job_that_is_queued_while_the_gate_gets_wider_is_not_left_behind() {
    explore(3, || {
        let gated = Gated::new(0, 1);
        let (gate, threads, job) = (Arc::clone(&gated.gate), Arc::clone(&gated.threads), gated.job());
        gated.threads.spawn_fifo(move || gate.run(job, |job| threads.spawn_fifo(job)));
        gated.set_width(1);
        gated.end(1);
    });
}

#[test]
fn jobs_that_come_once_the_gate_is_narrower_keep_to_it_while_those_before_them_run_on() {
    explore(3, || {
        let mut gated = Gated::new(2, 2);
        (0..2).for_each(|_| gated.queue());
        gated.set_width(1);
        let before = std::mem::replace(&mut gated.seen, Seen::new(1));
        (0..2).for_each(|_| gated.queue());
        gated.end(2);
        assert_eq!(before.run.load(Acquire), 2);
    });
}

#[test]
fn whoever_helps_runs_one_beside_those_that_may_and_each_job_runs_once() {
    explore(3, || {
        let gated = Gated::new(1, 2);
        (0..2).for_each(|_| gated.queue());
        while gated.gate.help() {}
        gated.end(2);
    });
}

#[test]
fn a_job_that_queues_another_is_followed_by_it() {
    explore(3, || {
        let gated = Gated::new(1, 1);
        let (gate, threads, last) = (Arc::clone(&gated.gate), Arc::clone(&gated.threads), gated.job());
        gated.gate.run(Box::new(move || gate.run(last, |job| threads.spawn_fifo(job))), |job| {
            gated.threads.spawn_fifo(job);
        });
        gated.queue();
        gated.end(2);
    });
}
