//! `Gate`: how many jobs run at a time, where that is not simply the number of threads.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use crate::guard::guarded;
use crate::sync::atomic::AtomicUsize;
use crate::sync::{Mutex, MutexGuard};

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Lets a number of jobs run at a time, first come, first served. No job waits here on a thread: those that may not run
/// yet are kept, and whoever ends one takes up the next.
pub(super) struct Gate {
    /// How many may run at a time. For others to look at.
    width: Arc<AtomicUsize>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: VecDeque<Job>,
}

impl Gate {
    pub(super) fn new(width: usize) -> Self {
        Gate { width: Arc::new(AtomicUsize::new(width)), state: Mutex::default() }
    }

    pub(super) fn width(&self) -> &Arc<AtomicUsize> {
        &self.width
    }

    /// Has a job run, now or later; `spawn` queues for a thread.
    pub(super) fn run(self: &Arc<Self>, job: Job, spawn: impl Fn(Job)) {
        self.state().waiting.push_back(job);
        self.fill(spawn);
    }

    /// From now on, so many may run at a time. Those that run go on.
    pub(super) fn set_width(self: &Arc<Self>, width: usize, spawn: impl Fn(Job)) {
        self.width.store(width, Relaxed);
        self.fill(spawn);
    }

    /// Runs a job that waits, on this thread, beside those that may run: for a thread that would else wait for one of them.
    pub(super) fn help(&self) -> bool {
        let job = self.state().waiting.pop_front();
        job.map(run_guarded).is_some()
    }

    /// Has jobs taken up until as many run as may.
    fn fill(self: &Arc<Self>, spawn: impl Fn(Job)) {
        loop {
            let mut state = self.state();
            if state.running >= self.width.load(Relaxed) || state.waiting.is_empty() {
                return;
            }
            state.running += 1;
            drop(state);
            let gate = Arc::clone(self);
            spawn(Box::new(move || {
                while let Some(job) = gate.next() {
                    run_guarded(job);
                }
            }));
        }
    }

    /// The next job for whoever runs one; `None` if there is none, or too many run.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        let job = (state.running <= self.width.load(Relaxed)).then(|| state.waiting.pop_front()).flatten();
        if job.is_none() {
            state.running -= 1;
        }
        job
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing of the user's runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run_guarded(job: Job) {
    // A job answers for its own panics; the gate must count in any case.
    let _ = guarded("a job", || {
        job();
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn on_a_thread(job: Job) {
        thread::spawn(job);
    }

    fn running_and_waiting(gate: &Gate) -> (usize, usize) {
        let state = gate.state();
        (state.running, state.waiting.len())
    }

    #[test]
    fn no_more_jobs_run_than_may_and_all_do_in_the_end() {
        let gate = Arc::new(Gate::new(3));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (sender, done) = mpsc::channel();
        for number in 0..200 {
            let (running, most, sender) = (Arc::clone(&running), Arc::clone(&most), sender.clone());
            let job = move || {
                most.fetch_max(running.fetch_add(1, Relaxed) + 1, Relaxed);
                thread::yield_now();
                running.fetch_sub(1, Relaxed);
                sender.send(number).unwrap();
                assert_ne!(number, 17, "a job that panics is counted like any other");
            };
            gate.run(Box::new(job), on_a_thread);
        }
        let mut all: Vec<usize> = done.iter().take(200).collect();
        all.sort();
        assert_eq!(all, (0..200).collect::<Vec<_>>());
        assert!(most.load(Relaxed) <= 3);
        while gate.state().running > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_wider_gate_takes_up_what_waits_and_a_narrower_one_lets_running_jobs_end() {
        let gate = Arc::new(Gate::new(1));
        let (begun_sender, begun) = mpsc::channel();
        let (go, gone) = crossbeam_channel::unbounded::<()>();
        for number in 0..5 {
            let (begun_sender, gone) = (begun_sender.clone(), gone.clone());
            let job = move || {
                begun_sender.send(number).unwrap();
                gone.recv().unwrap();
            };
            gate.run(Box::new(job), on_a_thread);
        }
        assert_eq!(begun.recv().unwrap(), 0);
        assert_eq!(running_and_waiting(&gate), (1, 4));
        gate.set_width(3, on_a_thread);
        let mut next: Vec<i32> = begun.iter().take(2).collect();
        next.sort();
        assert_eq!((next, running_and_waiting(&gate)), (vec![1, 2], (3, 2)));
        gate.set_width(1, on_a_thread);
        (0..2).for_each(|_| go.send(()).unwrap());
        while gate.state().running > 1 {
            thread::yield_now();
        }
        assert_eq!(running_and_waiting(&gate), (1, 2));
        (0..3).for_each(|_| go.send(()).unwrap());
        assert_eq!(begun.iter().take(2).collect::<Vec<i32>>(), [3, 4]);
    }

    #[test]
    fn whoever_would_wait_for_a_job_can_do_it() {
        let gate = Arc::new(Gate::new(0));
        let (sender, done) = mpsc::channel();
        gate.run(Box::new(move || sender.send(()).unwrap()), on_a_thread);
        assert!(done.try_recv().is_err());
        assert!(gate.help() && !gate.help());
        done.try_recv().unwrap();
    }
}
