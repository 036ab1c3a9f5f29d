//! `Lot`: several batches that one worker makes, one after another, and that it can be relieved of.
//!
//! Cheap batches go many to a job, and come back together. If one of them turns out to take long, or never ends, those
//! that are done must not wait for it, and the rest is for others to make. The worker cannot do that while it is held up:
//! the consumer does, when it has waited for longer than a job should take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bad::Made;
use super::line::Finished;

/// When a lot counts as held up: hundreds of times what it should take.
pub(super) const HELD_UP: Duration = Duration::from_millis(20);

pub(super) struct Lot<W, B> {
    begun: Instant,
    state: Mutex<State<W, B>>,
}

struct State<W, B> {
    /// The number of the first batch that nobody took yet,
    first: usize,
    /// those that are made, from that one on,
    made: Vec<Made<B>>,
    /// and those that were not begun, with the number of the first.
    waiting: std::vec::IntoIter<W>,
    next: usize,
}

/// What a worker is relieved of.
pub(super) struct Relief<W, B> {
    pub(super) made: Finished<B>,
    /// Batches to be made by others, and the number of the first.
    pub(super) rest: std::vec::IntoIter<W>,
    pub(super) next: usize,
}

impl<W, B> Lot<W, B> {
    /// Batches from number `first` on.
    pub(super) fn new(first: usize, works: Vec<W>) -> Arc<Self> {
        let made = Vec::with_capacity(works.len());
        let state = State { first, made, waiting: works.into_iter(), next: first };
        Arc::new(Lot { begun: Instant::now(), state: Mutex::new(state) })
    }

    /// Puts down the batch that was begun last, and gives the next one to make.
    pub(super) fn next(&self, made: Option<Made<B>>) -> Option<W> {
        let mut state = self.state();
        state.made.extend(made);
        let work = state.waiting.next()?;
        state.next += 1;
        Some(work)
    }

    /// Everything but the batch that was begun last, if that is not made.
    pub(super) fn relieve(&self) -> Relief<W, B> {
        let mut state = self.state();
        let made = Finished { first: state.first, made: std::mem::take(&mut state.made) };
        state.first += made.made.len();
        Relief { made, rest: std::mem::take(&mut state.waiting), next: state.next }
    }

    pub(super) fn is_held_up(&self) -> bool {
        self.begun.elapsed() > HELD_UP
    }

    fn state(&self) -> MutexGuard<'_, State<W, B>> {
        // Nothing of the user's runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(value: u32) -> Option<Made<u32>> {
        Some(Ok(value).into())
    }

    fn values(finished: Finished<u32>) -> (usize, Vec<u32>) {
        (finished.first, finished.made.into_iter().map(|made| made.result.unwrap().unwrap()).collect())
    }

    #[test]
    fn a_worker_is_relieved_of_all_but_the_batch_in_its_hand() {
        let lot = Lot::new(10, vec!['a', 'b', 'c', 'd', 'e']);
        assert_eq!(lot.next(None), Some('a'));
        assert_eq!(lot.next(made(0)), Some('b'));
        assert_eq!(lot.next(made(1)), Some('c'));
        let relief = lot.relieve();
        assert_eq!(values(relief.made), (10, vec![0, 1]));
        assert_eq!((relief.next, relief.rest.collect::<String>()), (13, "de".into()));
        // The third is still in the making; then it is all there is.
        let relief = lot.relieve();
        assert_eq!((values(relief.made), relief.rest.count()), ((12, vec![]), 0));
        assert_eq!(lot.next(made(2)), None);
        assert_eq!(values(lot.relieve().made), (12, vec![2]));
    }

    #[test]
    fn a_lot_that_nobody_touches_comes_back_whole() {
        let lot = Lot::new(3, vec![(), ()]);
        let mut last = None;
        for value in 0.. {
            match lot.next(last.take()) {
                Some(()) => last = made(value),
                None => break,
            }
        }
        assert_eq!(values(lot.relieve().made), (3, vec![0, 1]));
    }
}
