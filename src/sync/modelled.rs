//! The same for models: loom's, and what loom does not have, made of it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{UnwindSafe, resume_unwind};
use std::sync::Arc as StdArc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use loom::sync::Condvar;
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};
use loom::thread::{self, JoinHandle};

/// Tries every order of what the threads of `model` do in which at the most `preemptions` times one is stopped that could
/// go on. `LOOM_MAX_PREEMPTIONS` sets another number: with one more, it takes ten to thirty times as long.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    let executions = StdArc::new(AtomicUsize::new(0));
    let counted = StdArc::clone(&executions);
    let started = Instant::now();
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    println!("{} executions in {:.1?}", executions.load(Relaxed), started.elapsed());
}

/// What a panic of a model's panics with, where that is part of the model.
pub(crate) struct Deliberate;

/// Catches deliberate panics; others are how loom says what it has found, and how a model fails.
pub(crate) fn catch_unwind<R>(run: impl FnOnce() -> R + UnwindSafe) -> Result<R, Box<dyn Any + Send>> {
    std::panic::catch_unwind(run).map_err(|panic| if panic.is::<Deliberate>() { panic } else { resume_unwind(panic) })
}

/// A value that is there once somebody has set it. The flag is what orders it among threads.
pub(crate) struct OnceLock<T> {
    is_set: atomic::AtomicBool,
    setting: Mutex<()>,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        OnceLock { is_set: atomic::AtomicBool::new(false), setting: Mutex::new(()), value: std::sync::OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.is_set.load(Acquire).then(|| self.value.get().expect("set before the flag"))
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _setting = self.setting.lock().expect("nothing panics under it");
        self.value.set(value)?;
        self.is_set.store(true, Release);
        Ok(())
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        self.value.take()
    }
}

/// crossbeam's channels.
pub(crate) mod channel {
    pub(crate) use crossbeam_channel::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

    use super::*;

    struct Channel<T> {
        capacity: usize,
        state: Mutex<State<T>>,
        arrived: Condvar,
    }

    struct State<T> {
        messages: VecDeque<T>,
        has_sender: bool,
        has_receiver: bool,
        /// Whether a receiver with a deadline has met it. It does once, where nothing is there: that is any time.
        has_timed_out: bool,
    }

    pub(crate) struct Sender<T>(StdArc<Channel<T>>);

    pub(crate) struct Receiver<T>(StdArc<Channel<T>>);

    pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        bounded(usize::MAX)
    }

    pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let state = State { messages: VecDeque::new(), has_sender: true, has_receiver: true, has_timed_out: false };
        let channel = StdArc::new(Channel { capacity, state: Mutex::new(state), arrived: Condvar::new() });
        (Sender(StdArc::clone(&channel)), Receiver(channel))
    }

    impl<T> Channel<T> {
        fn state(&self) -> MutexGuard<'_, State<T>> {
            self.state.lock().expect("nothing panics under it")
        }
    }

    impl<T> Sender<T> {
        /// Where crossbeam's would wait, the model fails: a job never does.
        pub(crate) fn send(&self, message: T) -> Result<(), SendError<T>> {
            match self.try_send(message) {
                Ok(()) => Ok(()),
                Err(TrySendError::Full(_)) => panic!("a job waits for room in a channel"),
                Err(TrySendError::Disconnected(message)) => Err(SendError(message)),
            }
        }

        pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
            let mut state = self.0.state();
            if !state.has_receiver {
                return Err(TrySendError::Disconnected(message));
            }
            if state.messages.len() >= self.0.capacity {
                return Err(TrySendError::Full(message));
            }
            state.messages.push_back(message);
            self.0.arrived.notify_one();
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn recv(&self) -> Result<T, RecvError> {
            self.receive(false).map_err(|_| RecvError)
        }

        pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
            let mut state = self.0.state();
            match state.messages.pop_front() {
                Some(message) => Ok(message),
                None if state.has_sender => Err(TryRecvError::Empty),
                None => Err(TryRecvError::Disconnected),
            }
        }

        pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
            std::iter::from_fn(|| self.try_recv().ok())
        }

        pub(crate) fn recv_deadline(&self, _deadline: Instant) -> Result<T, RecvTimeoutError> {
            self.receive(true)
        }

        pub(crate) fn recv_timeout(&self, _timeout: Duration) -> Result<T, RecvTimeoutError> {
            self.receive(true)
        }

        fn receive(&self, may_time_out: bool) -> Result<T, RecvTimeoutError> {
            let mut state = self.0.state();
            loop {
                if let Some(message) = state.messages.pop_front() {
                    return Ok(message);
                }
                if !state.has_sender {
                    return Err(RecvTimeoutError::Disconnected);
                }
                if may_time_out && !state.has_timed_out {
                    state.has_timed_out = true;
                    return Err(RecvTimeoutError::Timeout);
                }
                state = self.0.arrived.wait(state).expect("nothing panics under it");
            }
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.state().has_sender = false;
            self.0.arrived.notify_one();
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            let mut state = self.0.state();
            state.has_receiver = false;
            let messages = std::mem::take(&mut state.messages);
            drop(state);
            drop(messages);
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// rayon's threads: one queue, first come, first served.
pub(crate) struct ThreadPool {
    queue: StdArc<Queue>,
    num_threads: usize,
}

struct Queue {
    state: Mutex<Queued>,
    changed: Condvar,
}

#[derive(Default)]
struct Queued {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

thread_local! {
    /// The workers that a model has started. Its threads are coroutines, all on one thread of the system's.
    static WORKERS: RefCell<Vec<JoinHandle<()>>> = const { RefCell::new(Vec::new()) };
}

/// Waits until all workers have ended: all jobs are done then, and all pools are gone.
pub(crate) fn join_workers() {
    for worker in WORKERS.take() {
        worker.join().expect("a worker does not panic");
    }
}

impl ThreadPool {
    pub(crate) fn spawn_fifo(&self, job: impl FnOnce() + Send + 'static) {
        self.queue.state().jobs.push_back(Box::new(job));
        self.queue.changed.notify_one();
    }

    pub(crate) fn current_num_threads(&self) -> usize {
        self.num_threads
    }

    /// The consumer is never one of them.
    pub(crate) fn current_thread_index(&self) -> Option<usize> {
        None
    }

    pub(crate) fn yield_now(&self) -> Option<rayon::Yield> {
        None
    }

    /// Whichever worker comes first is the first, and the only one that `run` has anything for.
    pub(crate) fn spawn_broadcast(&self, run: impl Fn(BroadcastContext) + Send + 'static) {
        self.spawn_fifo(move || run(BroadcastContext(0)));
    }

    /// On this thread, for each worker in turn: in which order they would is nothing that a model asks.
    pub(crate) fn broadcast<R>(&self, run: impl Fn(BroadcastContext) -> R) -> Vec<R> {
        (0..self.num_threads).map(|worker| run(BroadcastContext(worker))).collect()
    }
}

/// What tells a worker who it is.
pub(crate) struct BroadcastContext(usize);

impl BroadcastContext {
    pub(crate) fn index(&self) -> usize {
        self.0
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.queue.state().is_closed = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, Queued> {
        self.state.lock().expect("nothing panics under it")
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            match state.jobs.pop_front() {
                None if !state.is_closed => state = self.changed.wait(state).expect("nothing panics under it"),
                job => return job,
            }
        }
    }
}

pub(crate) struct ThreadPoolBuilder {
    num_threads: usize,
}

impl ThreadPoolBuilder {
    pub(crate) fn new() -> Self {
        ThreadPoolBuilder { num_threads: 1 }
    }

    pub(crate) fn num_threads(self, num_threads: usize) -> Self {
        ThreadPoolBuilder { num_threads }
    }

    pub(crate) fn thread_name(self, _name: impl FnMut(usize) -> String + 'static) -> Self {
        self
    }

    pub(crate) fn panic_handler(self, _handler: impl Fn(Box<dyn Any + Send>) + Send + Sync + 'static) -> Self {
        self
    }

    pub(crate) fn build(self) -> Result<ThreadPool, rayon::ThreadPoolBuildError> {
        let queue = StdArc::new(Queue { state: Mutex::default(), changed: Condvar::new() });
        for _ in 0..self.num_threads {
            let queue = StdArc::clone(&queue);
            let worker = thread::spawn(move || queue.work());
            WORKERS.with_borrow_mut(|workers| workers.push(worker));
        }
        Ok(ThreadPool { queue, num_threads: self.num_threads })
    }
}
