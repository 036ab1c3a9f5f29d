//! The batches of the epochs: drawn when asked for, or ahead of time on a worker that has nothing else to do.
//!
//! Shuffling a million samples takes milliseconds, in which a training loop would find no batch. Since an order is a
//! function of the epoch's number, the next one can be drawn while the last batches of this one are being used.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::WorkerPool;
use crate::error::Result;
use crate::guard::guarded;
use crate::sampler::{BatchSampler, Batches, Distributed};

pub(super) struct Orders {
    sampler: Box<dyn BatchSampler>,
    distributed: Option<Distributed>,
    /// How many samples the dataset has.
    len: usize,
    ahead: Mutex<Option<Arc<Ahead>>>,
}

/// The batches of an epoch to come.
struct Ahead {
    epoch: u64,
    /// Locked to look, never to draw: a sampler may well do something else meanwhile, and come back here on the same thread.
    state: Mutex<State>,
    drawn: Condvar,
}

enum State {
    Wanted,
    Drawing,
    Drawn(Result<Batches>),
    Taken,
}

impl Orders {
    pub(super) fn new(sampler: Box<dyn BatchSampler>, distributed: Option<Distributed>, len: usize) -> Self {
        Orders { sampler, distributed, len, ahead: Mutex::new(None) }
    }

    /// The batches of `epoch`, this rank's.
    pub(super) fn get(&self, epoch: u64) -> Result<Batches> {
        let ahead = self.ahead().take().filter(|ahead| ahead.epoch == epoch);
        let drawn = ahead.and_then(|ahead| ahead.take());
        drawn.unwrap_or_else(|| self.draw(epoch))
    }

    /// As [`get`](Orders::get), and keeps them for whoever asks next.
    pub(super) fn peek(&self, epoch: u64) -> Result<Batches> {
        let batches = self.get(epoch)?;
        *self.ahead() = Some(Arc::new(Ahead::new(epoch, State::Drawn(Ok(batches.clone())))));
        Ok(batches)
    }

    /// Has a worker draw the order of `epoch`, once it is through with what is queued.
    pub(super) fn prepare(self: &Arc<Self>, epoch: u64, workers: &WorkerPool) {
        let wanted = Arc::new(Ahead::new(epoch, State::Wanted));
        match &mut *self.ahead() {
            Some(known) if known.epoch == epoch => return,
            ahead => *ahead = Some(Arc::clone(&wanted)),
        }
        let orders = Arc::clone(self);
        let first = workers.clone();
        // Always on the same thread, since allocators keep what a thread has freed for that thread: an order may have
        // megabytes. Behind what is queued, for the samples are needed sooner.
        workers.spawn(move || first.spawn_on_first(move || wanted.draw(|| orders.draw(epoch))));
    }

    /// What the sampler is called.
    pub(super) fn name(&self) -> String {
        self.sampler.name()
    }

    fn draw(&self, epoch: u64) -> Result<Batches> {
        let batches = guarded("the sampler", || self.sampler.batches(epoch, self.len))?.check()?;
        match &self.distributed {
            Some(distributed) => batches.shard(distributed),
            None => Ok(batches),
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Option<Arc<Ahead>>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ahead {
    fn new(epoch: u64, state: State) -> Self {
        Ahead { epoch, state: Mutex::new(state), drawn: Condvar::new() }
    }

    /// A worker's job.
    fn draw(&self, draw: impl FnOnce() -> Result<Batches>) {
        match &mut *self.state() {
            wanted @ State::Wanted => *wanted = State::Drawing,
            _ => return, // the consumer was faster
        }
        let batches = draw();
        match &mut *self.state() {
            drawing @ State::Drawing => *drawing = State::Drawn(batches),
            _ => return,
        }
        self.drawn.notify_all();
    }

    /// The batches, if they are drawn or being drawn.
    fn take(&self) -> Option<Result<Batches>> {
        let mut state = self.state();
        // A worker is at it: this waits for it, there is nothing better to do. Unless this is a worker, which might wait for
        // itself.
        while matches!(*state, State::Drawing) && rayon::current_thread_index().is_none() {
            state = self.drawn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match std::mem::replace(&mut *state, State::Taken) {
            State::Drawn(batches) => Some(batches),
            State::Wanted | State::Drawing | State::Taken => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
