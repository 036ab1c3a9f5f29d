//! `Queue`: which job is next. It holds ids alone; the images are in the store.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::job::JobId;

pub struct Queue {
    state: Mutex<State>,
    /// Something that somebody may wait for.
    changed: Condvar,
    /// Of new jobs that wait.
    capacity: usize,
}

#[derive(Default)]
struct State {
    /// Those that were begun and have not ended, when a process did. One of them may be why it ended, so each goes
    /// alone, with nothing else in work: if it does it again, it takes no other job's start with it.
    suspects: VecDeque<JobId>,
    /// Others that an earlier process has accepted. They were let in already: no bound is theirs.
    recovered: VecDeque<JobId>,
    waiting: VecDeque<(JobId, Instant)>,
    /// Places of those that are being written to the store.
    reserved: usize,
    /// In work.
    batches: usize,
    /// Whether the batch in work is a suspect.
    is_alone: bool,
    /// Whether a worker waits for a batch to fill. The others let it, or they would share what comes.
    is_gathering: bool,
    /// No new jobs.
    is_closed: bool,
    /// No more work.
    is_halted: bool,
}

impl Queue {
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Queue { state: Mutex::default(), changed: Condvar::new(), capacity })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// A place for a job that is yet to be written to the store: none if the queue is full or closed.
    pub fn reserve(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.lock();
        if state.is_closed || state.waiting.len() + state.reserved >= self.capacity {
            return None;
        }
        state.reserved += 1;
        Some(Place { queue: Arc::clone(self) })
    }

    /// Puts in what a store had; `starts` says how often it was begun.
    pub fn recover(&self, id: JobId, starts: u32) {
        self.change(|state| match starts {
            0 => state.recovered.push_back(id),
            _ => state.suspects.push_back(id),
        });
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        let state = self.lock();
        state.suspects.len() + state.recovered.len() + state.waiting.len()
    }

    /// The next jobs, at most `max`. Waits for the first, and then for others to fill the batch: not after the first
    /// has been in the queue for `wait`. `None` when there is no more to do.
    pub fn take(self: &Arc<Self>, max: usize, wait: Duration) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            if state.is_halted {
                return None;
            }
            let is_free = !state.is_alone && !state.is_gathering;
            if is_free && !state.suspects.is_empty() {
                if state.batches == 0 {
                    state.is_alone = true;
                    let suspect = state.suspects.pop_front().into_iter().collect();
                    return Some(self.batch(&mut state, suspect));
                }
            } else if is_free && !(state.recovered.is_empty() && state.waiting.is_empty()) {
                if state.recovered.is_empty() {
                    state = self.gather(state, max, wait);
                    if state.is_halted {
                        return None;
                    }
                }
                let ids = state.next(max);
                return Some(self.batch(&mut state, ids));
            } else if state.is_closed && state.reserved == 0 && state.is_empty() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn gather<'a>(&'a self, mut state: MutexGuard<'a, State>, max: usize, wait: Duration) -> MutexGuard<'a, State> {
        let Some(&(_, since)) = state.waiting.front() else { return state };
        state.is_gathering = true;
        while state.waiting.len() < max && !state.is_closed && !state.is_halted {
            let Some(left) = wait.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) else { break };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_gathering = false;
        self.changed.notify_all();
        state
    }

    fn batch(self: &Arc<Self>, state: &mut State, ids: Vec<JobId>) -> Batch {
        state.batches += 1;
        Batch { ids, queue: Arc::clone(self) }
    }

    /// Lets no new job in. What is there is worked off.
    pub fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    /// Gives out no more work.
    pub fn halt(&self) {
        self.change(|state| (state.is_closed, state.is_halted) = (true, true));
    }

    /// Waits for so long; false if there is no more work to be done.
    pub fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let until_halted = |state: &mut State| !state.is_halted;
        let (state, _) =
            self.changed.wait_timeout_while(state, time, until_halted).unwrap_or_else(PoisonError::into_inner);
        !state.is_halted
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.suspects.is_empty() && self.recovered.is_empty() && self.waiting.is_empty()
    }

    /// The first `max`, recovered ones before new ones.
    fn next(&mut self, max: usize) -> Vec<JobId> {
        let old = max.min(self.recovered.len());
        let mut ids: Vec<_> = self.recovered.drain(..old).collect();
        let new = (max - old).min(self.waiting.len());
        ids.extend(self.waiting.drain(..new).map(|(id, _)| id));
        ids
    }
}

/// A place in the queue, for one job. Dropped, it is given back.
pub struct Place {
    queue: Arc<Queue>,
}

impl Place {
    /// Puts the job there.
    pub fn fill(self, id: JobId) {
        // What `drop` does is seen after this: the queue never looks empty in between.
        self.queue.change(|state| state.waiting.push_back((id, Instant::now())));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.change(|state| state.reserved -= 1);
    }
}

/// Jobs in work, until it is dropped.
pub struct Batch {
    pub ids: Vec<JobId>,
    queue: Arc<Queue>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.queue.change(|state| {
            state.batches -= 1;
            state.is_alone = false; // if it was alone, it was the only one
        });
    }
}
