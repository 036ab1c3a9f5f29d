//! The orders of the epochs: computed when asked for, or ahead of time on a worker that has nothing else to do.
//!
//! Shuffling a million samples takes milliseconds, in which a training loop would find no batch. Since an order is a
//! function of the epoch's number, the next one can be drawn while the last batches of this one are being used.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use super::WorkerPool;
use super::line::guarded;
use crate::error::Result;
use crate::sampler::{Order, Sampler};

pub(super) struct Orders {
    sampler: Box<dyn Sampler>,
    /// How many samples the dataset has.
    len: usize,
    ahead: Mutex<Option<(u64, Arc<Mutex<Ahead>>)>>,
}

/// The order of the epoch to come.
enum Ahead {
    Wanted,
    Drawn(Result<Order>),
    Taken,
}

impl Orders {
    pub(super) fn new(sampler: Box<dyn Sampler>, len: usize) -> Self {
        Orders { sampler, len, ahead: Mutex::new(None) }
    }

    /// The order of `epoch`.
    pub(super) fn get(&self, epoch: u64) -> Result<Order> {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((_, ahead)) = ahead.filter(|(of, _)| *of == epoch) else { return self.draw(epoch) };
        // If a worker is drawing it just now, this waits for it: there is nothing better to do.
        let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *ahead, Ahead::Taken) {
            Ahead::Drawn(order) => order,
            Ahead::Wanted | Ahead::Taken => self.draw(epoch),
        }
    }

    /// Has a worker draw the order of `epoch`, once it is through with what is queued.
    pub(super) fn prepare(self: &Arc<Self>, epoch: u64, workers: &WorkerPool) {
        let cell = Arc::new(Mutex::new(Ahead::Wanted));
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some((epoch, Arc::clone(&cell)));
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

    fn draw(&self, epoch: u64) -> Result<Order> {
        guarded("the sampler", || self.sampler.order(epoch, self.len))
    }
}
