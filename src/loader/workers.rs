//! `WorkerPool`: the threads, which loaders may share.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::gate::Gate;
use crate::error::{Error, ErrorKind, Result};
use crate::guard::{discard, guarded};
use crate::sync::channel::{Receiver, RecvTimeoutError};
use crate::sync::{ThreadPool, ThreadPoolBuilder, atomic::AtomicUsize};

/// A pool of worker threads; a handle, cheap to clone.
///
/// A loader makes one of its own by [`num_workers`](crate::LoaderBuilder::num_workers), or several share one by
/// [`pool`](crate::LoaderBuilder::pool): a training and a validation loader, say, that are not busy at the same time.
/// The threads live as long as the last handle.
#[derive(Clone)]
pub struct WorkerPool(Arc<Inner>);

struct Inner {
    threads: ThreadPool,
    /// Where fewer jobs may run at a time than there are threads.
    gate: Option<Arc<Gate>>,
}

impl WorkerPool {
    /// Starts `num_workers` threads.
    ///
    /// # Errors
    ///
    /// If `num_workers` is 0, or the system refuses to start a thread.
    pub fn new(num_workers: usize) -> Result<Self> {
        Self::of(num_workers, None)
    }

    /// As many threads as can be of use, of which at first one is busy at a time.
    pub(super) fn tunable() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of((4 * cores).max(16), Some(Gate::new(1)))
    }

    fn of(num_workers: usize, gate: Option<Gate>) -> Result<Self> {
        if num_workers == 0 {
            return Err(Error::new(ErrorKind::Config, "a worker pool needs at least one thread"));
        }
        let most = rayon::max_num_threads();
        if num_workers > most {
            return Err(Error::new(
                ErrorKind::Config,
                format!("cannot start {num_workers} worker threads: there may be {most} at the most"),
            ));
        }
        ThreadPoolBuilder::new()
            .num_threads(num_workers)
            .thread_name(|worker| format!("sutler-{worker}"))
            // A job answers for panics itself; without a handler rayon would end the process.
            .panic_handler(discard)
            .build()
            .map(|threads| WorkerPool(Arc::new(Inner { threads, gate: gate.map(Arc::new) })))
            .map_err(|source| {
                Error::new(ErrorKind::Config, format!("cannot start {num_workers} worker threads")).with_source(source)
            })
    }

    /// Runs `init` once on each thread, with its number, and waits for all of them.
    ///
    /// # Errors
    ///
    /// The first that failed or panicked.
    pub(super) fn init(&self, init: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
        let done = self.0.threads.broadcast(|thread| {
            let worker = thread.index();
            guarded("worker_init_fn", || init(worker)).map_err(|error| error.with_worker(Some(worker)))
        });
        done.into_iter().collect()
    }

    /// How many threads there are, or may be busy at a time.
    pub fn num_workers(&self) -> usize {
        match &self.0.gate {
            Some(gate) => gate.width().load(Relaxed),
            None => self.num_threads(),
        }
    }

    pub(super) fn num_threads(&self) -> usize {
        self.0.threads.current_num_threads()
    }

    /// How many threads may be busy at a time, for whoever needs to know often.
    pub(super) fn width(&self) -> Arc<AtomicUsize> {
        match &self.0.gate {
            Some(gate) => Arc::clone(gate.width()),
            None => Arc::new(AtomicUsize::new(self.num_threads())),
        }
    }

    /// From now on, so many threads may be busy at a time.
    pub(super) fn set_width(&self, width: usize) {
        if let Some(gate) = &self.0.gate {
            gate.set_width(width, |job| self.0.threads.spawn_fifo(job));
        }
    }

    /// Queues a job behind those queued before.
    pub(super) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        match &self.0.gate {
            Some(gate) => gate.run(Box::new(job), |job| self.0.threads.spawn_fifo(job)),
            None => self.0.threads.spawn_fifo(job),
        }
    }

    /// Has the first thread run a job, as soon as it has ended its present one.
    pub(super) fn spawn_on_first(&self, job: impl FnOnce() + Send + 'static) {
        let job = Mutex::new(Some(job));
        self.0.threads.spawn_broadcast(move |thread| {
            let job = (thread.index() == 0).then(|| job.lock().ok()?.take()).flatten();
            job.into_iter().for_each(|job| job());
        });
    }

    /// Waits for what the workers bring about, until `deadline` at the longest.
    ///
    /// On one of the pool's own threads, waiting could mean waiting for work that only this thread is free to do: there it
    /// does queued jobs meanwhile.
    pub(crate) fn receive<T>(&self, receiver: &Receiver<T>, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let Inner { threads, gate } = &*self.0;
        while threads.current_thread_index().is_some() {
            let helped = gate.as_ref().is_some_and(|gate| gate.help())
                || matches!(threads.yield_now(), Some(rayon::Yield::Executed));
            match receiver.recv_timeout(if helped { Duration::ZERO } else { Duration::from_millis(1) }) {
                Err(RecvTimeoutError::Timeout) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                received => return received,
            }
        }
        match deadline {
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(deadline) => receiver.recv_deadline(deadline),
        }
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool").field("num_workers", &self.num_workers()).finish_non_exhaustive()
    }
}
