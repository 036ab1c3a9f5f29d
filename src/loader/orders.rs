//! The batches of the epochs: drawn when asked for, or ahead of time on a worker that has nothing else to do.
//!
//! Shuffling a million samples takes milliseconds, in which a training loop would find no batch. Since an order is a
//! function of the epoch's number, the next one can be drawn while the last batches of this one are being used.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

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

/// The batches of the epoch to come.
enum Ahead {
    Wanted,
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
        // If a worker is drawing it just now, this waits for it: there is nothing better to do.
        let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *ahead, Ahead::Taken) {
            Ahead::Drawn(batches) => batches,
            Ahead::Wanted | Ahead::Taken => self.draw(epoch),
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
            // If it is locked, the consumer was faster and is drawing it: a job waits for nobody.
            let mut ahead = match cell.try_lock() {
                Ok(ahead) => ahead,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            if matches!(*ahead, Ahead::Wanted) {
                *ahead = Ahead::Drawn(orders.draw(epoch));
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
