//! The batches of the epochs: drawn when asked for, or ahead of time on a worker that has nothing else to do.
//!
//! Shuffling a million samples takes milliseconds, in which a training loop would find no batch. Since an order is a
//! function of the epoch's number, the next one can be drawn while the last batches of this one are being used.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::WorkerPool;
use super::line::guarded;
use crate::error::Result;
use crate::sampler::{BatchSampler, Batches, Distributed};

pub(super) struct Orders {
    sampler: Box<dyn BatchSampler>,
    distributed: Option<Distributed>,
    /// How many samples the dataset has.
    len: usize,
    ahead: Mutex<Option<(u64, Arc<Mutex<Ahead>>)>>,
}

/// The batches of the epoch to come. Locked to look, never to draw: a sampler may well do something else meanwhile, and
/// come back here on the same thread.
enum Ahead {
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
        let ahead = self.ahead().take();
        let Some((_, ahead)) = ahead.filter(|(of, _)| *of == epoch) else { return self.draw(epoch) };
        let ahead = std::mem::replace(&mut *ahead.lock().unwrap_or_else(PoisonError::into_inner), Ahead::Taken);
        match ahead {
            Ahead::Drawn(batches) => batches,
            // If a worker is at it just now, this is as soon done.
            Ahead::Wanted | Ahead::Drawing | Ahead::Taken => self.draw(epoch),
        }
    }

    /// As [`get`](Orders::get), and keeps them for whoever asks next.
    pub(super) fn peek(&self, epoch: u64) -> Result<Batches> {
        let batches = self.get(epoch)?;
        *self.ahead() = Some((epoch, Arc::new(Mutex::new(Ahead::Drawn(Ok(batches.clone()))))));
        Ok(batches)
    }

    /// Has a worker draw the order of `epoch`, once it is through with what is queued.
    pub(super) fn prepare(self: &Arc<Self>, epoch: u64, workers: &WorkerPool) {
        let cell = Arc::new(Mutex::new(Ahead::Wanted));
        match &mut *self.ahead() {
            Some((known, _)) if *known == epoch => return,
            ahead => *ahead = Some((epoch, Arc::clone(&cell))),
        }
        let orders = Arc::clone(self);
        workers.spawn(move || {
            let state = || cell.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *state() {
                wanted @ Ahead::Wanted => *wanted = Ahead::Drawing,
                _ => return,
            }
            let batches = orders.draw(epoch);
            let mut state = state();
            if let Ahead::Drawing = *state {
                *state = Ahead::Drawn(batches);
            }
        });
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

    fn ahead(&self) -> MutexGuard<'_, Option<(u64, Arc<Mutex<Ahead>>)>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
