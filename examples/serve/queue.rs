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

    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn ids<const N: usize>() -> [JobId; N] {
        [(); N].map(|()| JobId::random().unwrap())
    }

    fn put(queue: &Arc<Queue>, ids: &[JobId]) {
        ids.iter().for_each(|&id| queue.reserve().unwrap().fill(id));
    }

    fn take(queue: &Arc<Queue>, max: usize) -> Vec<JobId> {
        queue.take(max, Duration::ZERO).unwrap().ids.clone()
    }

    #[test]
    fn places_are_counted_from_when_they_are_reserved_and_come_back() {
        let (queue, [a, b, c]) = (Queue::new(2), ids());
        let (first, second) = (queue.reserve().unwrap(), queue.reserve().unwrap());
        assert!(queue.reserve().is_none());
        drop(first);
        put(&queue, &[a]);
        assert!(queue.reserve().is_none());
        second.fill(b);
        assert!(queue.reserve().is_none());
        assert_eq!(queue.len(), 2);
        // What is in work takes no place.
        let batch = queue.take(1, Duration::ZERO).unwrap();
        put(&queue, &[c]);
        assert!(queue.reserve().is_none());
        drop(batch);
        assert_eq!(take(&queue, 9), [b, c]);
    }

    #[test]
    fn what_was_accepted_before_comes_first_and_has_no_bound() {
        let (queue, old, [new]) = (Queue::new(1), ids::<5>(), ids());
        old.iter().for_each(|&id| queue.recover(id, 0));
        put(&queue, &[new]);
        assert_eq!(take(&queue, 3), old[..3]);
        // It waits for no others, and takes new ones along.
        assert_eq!(queue.take(9, LONG).unwrap().ids, [old[3], old[4], new]);
    }

    #[test]
    fn a_job_that_was_begun_before_goes_alone_and_with_nothing_else_in_work() {
        let (queue, [a, b, c, d]) = (Queue::new(9), ids());
        put(&queue, &[a]);
        let before = queue.take(9, Duration::ZERO).unwrap();
        queue.recover(b, 1);
        queue.recover(c, 2);
        put(&queue, &[d]);
        let (sender, taken) = std::sync::mpsc::channel();
        let threads = [sender.clone(), sender].map(|sender| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                while let Some(batch) = queue.take(9, Duration::ZERO) {
                    sender.send((batch.ids.clone(), queue.lock().batches)).unwrap();
                    thread::sleep(Duration::from_millis(20)); // so that it would be seen if the other took something
                }
            })
        });
        assert!(taken.recv_timeout(Duration::from_millis(100)).is_err());
        drop(before);
        queue.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let taken: Vec<_> = taken.into_iter().collect();
        assert_eq!(taken.len(), 3, "{taken:?}");
        for (ids, batches) in taken {
            assert!(ids == [b] || ids == [c] || ids == [d], "{ids:?}");
            assert!(ids == [d] || batches == 1, "{ids:?} with {batches} batches in work");
        }
    }

    #[test]
    fn one_worker_gathers_at_a_time_until_the_batch_is_full_or_its_time_is_over_or_the_queue_closed() {
        let (queue, [a, b, c, d]) = (Queue::new(9), ids());
        let wait = Duration::from_millis(300);
        let (sender, taken) = std::sync::mpsc::channel();
        let workers = [(); 2].map(|()| {
            let (queue, sender) = (Arc::clone(&queue), sender.clone());
            thread::spawn(move || {
                while let Some(batch) = queue.take(3, wait) {
                    sender.send(batch.ids.clone()).unwrap();
                }
            })
        });
        // Its time is over: the other worker neither shares it nor has an empty batch of it.
        put(&queue, &[a]);
        thread::sleep(Duration::from_millis(20));
        put(&queue, &[b]);
        assert_eq!(taken.recv().unwrap(), [a, b]);
        put(&queue, &[a, b, c, d]);
        assert_eq!(taken.recv().unwrap(), [a, b, c]);
        assert_eq!(taken.recv().unwrap(), [d]);
        put(&queue, &[a]);
        queue.close();
        assert_eq!(taken.recv().unwrap(), [a]);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        drop(sender);
        assert_eq!(taken.try_iter().count(), 0);
    }

    #[test]
    fn a_queue_that_is_closed_is_worked_off_and_one_that_is_halted_is_not() {
        let (queue, [a, b, c]) = (Queue::new(9), ids());
        put(&queue, &[a, b]);
        let late = queue.reserve().unwrap();
        queue.close();
        assert!(queue.reserve().is_none());
        assert_eq!(take(&queue, 1), [a]);
        // A job that is being written still comes.
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || [take(&other, 1), take(&other, 1)]);
        thread::sleep(Duration::from_millis(20));
        late.fill(c);
        assert_eq!(thread.join().unwrap(), [[b], [c]]);
        assert!(queue.take(1, LONG).is_none());

        let queue = Queue::new(9);
        put(&queue, &[a]);
        assert!(queue.pause(Duration::from_millis(1)));
        queue.halt();
        assert!(queue.take(1, LONG).is_none() && !queue.pause(LONG));
        assert_eq!(queue.len(), 1);
    }
}
