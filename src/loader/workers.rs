//! `WorkerPool`: the threads, which loaders may share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::line::guarded;
use crate::error::{Error, ErrorKind, Result};

/// A pool of worker threads; a handle, cheap to clone.
///
/// A loader makes one of its own by [`num_workers`](crate::LoaderBuilder::num_workers), or several share one by
/// [`pool`](crate::LoaderBuilder::pool): a training and a validation loader, say, that are not busy at the same time.
/// The threads live as long as the last handle.
#[derive(Clone, Debug)]
pub struct WorkerPool(Arc<rayon::ThreadPool>);

impl WorkerPool {
    /// Starts `num_workers` threads.
    ///
    /// # Errors
    ///
    /// If `num_workers` is 0, or the system refuses to start a thread.
    pub fn new(num_workers: usize) -> Result<Self> {
        if num_workers == 0 {
            return Err(Error::new(ErrorKind::Config, "a worker pool needs at least one thread"));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(num_workers)
            .thread_name(|worker| format!("sutler-{worker}"))
            // A job answers for panics itself; without a handler rayon would end the process.
            .panic_handler(|_| ())
            .build()
            .map(|pool| WorkerPool(Arc::new(pool)))
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
        let done = self.0.broadcast(|thread| {
            let worker = thread.index();
            guarded("worker_init_fn", || init(worker)).map_err(|error| error.with_worker(Some(worker)))
        });
        done.into_iter().collect()
    }

    /// How many threads there are.
    pub fn num_workers(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Queues a job behind those queued before.
    pub(super) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.0.spawn_fifo(job);
    }

    /// Waits for what the workers bring about, until `deadline` at the longest.
    ///
    /// On one of the pool's own threads, waiting could mean waiting for work that only this thread is free to do: there it
    /// does queued jobs meanwhile.
    pub(crate) fn receive<T>(&self, receiver: &Receiver<T>, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        while self.0.current_thread_index().is_some() {
            let helped = matches!(self.0.yield_now(), Some(rayon::Yield::Executed));
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
