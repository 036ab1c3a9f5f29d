//! The thread that takes batches from an epoch and brings them to a device.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use super::Transfer;
use super::transfer::carry;
use crate::error::{Error, ErrorKind, Result};
use crate::guard::guarded;
use crate::loader::{Feed, Patience, Stop, WorkerPool};
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

/// The consumer's end of it.
pub(super) struct Background<M, L> {
    /// `None` once nobody wants the batches any more.
    arrivals: Option<Receiver<Arrival<M, L>>>,
    link: Arc<Link>,
    /// Ends the epoch, which the thread has.
    stop: Stop,
    /// The loader's: if this thread is one of them, it must not merely wait for the others.
    workers: Option<WorkerPool>,
    /// The consumer's time, and how long it waits for a batch.
    patience: Patience,
}

/// What the thread sends: a batch on the device, or why there is none.
pub(super) struct Arrival<M, L> {
    pub(super) result: Result<L>,
    /// Where the epoch stood after it, and how many batches were left then; `None` where the epoch was lost.
    pub(super) place: Option<(M, (usize, Option<usize>))>,
}

struct Link {
    stopped: AtomicBool,
    /// Held by the thread while it has to do with the device: from the beginning of a copy until the consumer has the batch.
    device: Mutex<()>,
}

impl Link {
    fn device(&self) -> MutexGuard<'_, ()> {
        // It guards no data, only a time.
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Send + 'static, L: Send + 'static> Background<M, L> {
    /// Starts a thread that keeps up to `depth` batches on the device ahead of the consumer.
    ///
    /// # Errors
    ///
    /// If the system refuses to start a thread. The epoch is lost.
    pub(super) fn start<E, T>(mut epoch: E, mut transfer: T, depth: usize) -> Result<Self>
    where
        E: Feed<Mark = M>,
        T: Transfer<E::Batch, Landed = L>,
    {
        // One batch is in the thread's hand: being copied, or waiting for room.
        let (sender, arrivals) = bounded(depth - 1);
        let link = Arc::new(Link { stopped: AtomicBool::new(false), device: Mutex::new(()) });
        let background = Background {
            arrivals: Some(arrivals),
            link: Arc::clone(&link),
            stop: epoch.stop(),
            workers: epoch.workers(),
            patience: epoch.take_patience(),
        };
        let run = move || {
            // An epoch and a transfer are guarded where they are called. But whatever else it may be: the consumer must
            // hear of it, and not take it for the end.
            let ended = guarded("bringing batches to the device", || {
                run(&mut epoch, &mut transfer, &sender, &link);
                Ok(())
            });
            if let Err(error) = ended {
                let _ = sender.send(Arrival { result: Err(error), place: None });
            }
            let device = link.device();
            let _ = guarded("a drop", || {
                drop(transfer);
                Ok(())
            });
            drop(device);
        };
        match thread::Builder::new().name("sutler-device".into()).spawn(run) {
            Ok(_) => Ok(background),
            Err(source) => {
                Err(Error::new(ErrorKind::Config, "cannot start the thread that copies to the device")
                    .with_source(source))
            }
        }
    }

    /// The next batch, when it is there, or that it did not come in time; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Arrival<M, L>> {
        let arrivals = self.arrivals.as_ref()?;
        match arrivals.try_recv() {
            Ok(arrival) => Some(arrival),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                let waiting = Instant::now();
                let received = match &self.workers {
                    Some(workers) => workers.receive(arrivals, self.patience.deadline(waiting)),
                    None => arrivals.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                self.patience.waited(waiting);
                match received {
                    Ok(arrival) => Some(arrival),
                    Err(RecvTimeoutError::Timeout) => {
                        Some(Arrival { result: Err(self.patience.timed_out()), place: None })
                    }
                    Err(RecvTimeoutError::Disconnected) => None,
                }
            }
        }
    }

    /// The consumer's `next()` returns this.
    pub(super) fn returned<B>(&mut self, result: &Option<Result<B>>) {
        self.patience.returned(result);
    }
}

/// What the thread does, until the epoch ends or is not wanted any more.
fn run<E: Feed, T: Transfer<E::Batch>>(
    epoch: &mut E,
    transfer: &mut T,
    sender: &Sender<Arrival<E::Mark, T::Landed>>,
    link: &Link,
) {
    while let Some(batch) = epoch.next() {
        let device = link.device();
        if link.stopped.load(Relaxed) {
            return;
        }
        let result = batch.and_then(|batch| carry(transfer, batch));
        // Where nobody takes it, the batch leaves the device here.
        if sender.send(Arrival { result, place: Some((epoch.mark(), epoch.size_hint())) }).is_err() {
            return;
        }
        drop(device);
    }
}

impl<M, L> Drop for Background<M, L> {
    /// Waits for the copy that is under way, if there is one: afterwards the thread begins no other, and what it has copied is
    /// off the device. It never waits for a sample, which the thread may be waiting for; it ends by itself.
    fn drop(&mut self) {
        self.link.stopped.store(true, Relaxed);
        (self.stop)();
        let Some(arrivals) = self.arrivals.take() else { return };
        let take_off = || {
            let _ = guarded("a drop", || {
                arrivals.try_iter().for_each(drop);
                Ok(())
            });
        };
        loop {
            // Makes room, if the thread is waiting for some.
            take_off();
            match self.link.device.try_lock() {
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_micros(50)),
                Ok(_) | Err(TryLockError::Poisoned(_)) => break,
            }
        }
        take_off();
    }
}
