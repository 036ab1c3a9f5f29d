//! `Blocking`: threads for what may wait, for the disk above all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, iter};

use crossbeam_queue::SegQueue;
use tokio::sync::oneshot::{self, error::RecvError};

/// Where requests have work done that waits.
///
/// The runtime's own `spawn_blocking` and thread pools give work out under a lock. Where the system takes the core from
/// a thread that has that lock (from one that wakes another, most of all), a request that wants it waits until that
/// thread has a core again, and with it all others that are on the same thread of the runtime: for milliseconds, on a
/// machine that is busy. Here no lock is taken to give work out.
pub struct Blocking {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    work: SegQueue<Box<dyn FnOnce() + Send>>,
    /// A bit for each thread that waits for work.
    idle: AtomicU64,
    is_over: AtomicBool,
}

impl Blocking {
    /// # Panics
    ///
    /// If there are more than 64 threads.
    pub fn start(threads: u32) -> io::Result<Self> {
        assert!(threads <= u64::BITS);
        let mut blocking = Blocking { shared: Arc::default(), threads: Vec::new() };
        for number in 0..threads {
            let shared = Arc::clone(&blocking.shared);
            let builder = thread::Builder::new().name(format!("blocking-{number}"));
            blocking.threads.push(builder.spawn(move || shared.work(1 << number))?);
        }
        Ok(blocking)
    }

    /// Has something done, and gives what comes of it. It is done also where nobody waits for it any more. An error is
    /// that it panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, RecvError> {
        let (sender, result) = oneshot::channel();
        self.give(move || drop(sender.send(work())));
        result.await
    }

    /// Has something done.
    pub fn give(&self, work: impl FnOnce() + Send + 'static) {
        // The message of a panic is on stderr already.
        self.shared.work.push(Box::new(move || drop(catch_unwind(AssertUnwindSafe(work)))));
        if let Some(number) = self.shared.call() {
            self.threads[number as usize].thread().unpark();
        }
    }

    /// Waits until all is done that was given out, for so long.
    pub fn wait(&self, time: Duration) {
        let begun = Instant::now();
        while !self.is_idle() && begun.elapsed() < time {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_idle(&self) -> bool {
        // In this order: whoever takes work is not idle before that.
        self.shared.work.is_empty() && self.shared.idle.load(SeqCst).count_ones() as usize == self.threads.len()
    }
}

impl Drop for Blocking {
    /// Has the threads end when there is no work left, and does not wait for that.
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
        self.threads.iter().for_each(|thread| thread.thread().unpark());
    }
}

impl Shared {
    /// What a thread does. It is either seen to be idle by whoever brings work after it has looked for some, or sees that
    /// work: so all is `SeqCst`.
    fn work(&self, bit: u64) {
        loop {
            let is_over = self.is_over.load(SeqCst); // before, so that what came last is done
            iter::from_fn(|| self.work.pop()).for_each(|work| work());
            if is_over {
                return;
            }
            self.idle.fetch_or(bit, SeqCst);
            while self.work.is_empty() && !self.is_over.load(SeqCst) && self.idle.load(SeqCst) & bit != 0 {
                thread::park();
            }
            self.idle.fetch_and(!bit, SeqCst);
        }
    }

    /// The number of a thread that was idle, and is not from now on.
    fn call(&self) -> Option<u32> {
        let without_the_first = |idle: u64| (idle != 0).then(|| idle & (idle - 1));
        self.idle.fetch_update(SeqCst, SeqCst, without_the_first).ok().map(u64::trailing_zeros)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Barrier, mpsc};
    use std::task::{Context, Waker};

    use tokio::runtime::Builder;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// Gives work out that does not end before this does.
    fn begin<T>(run: impl Future<Output = T>) -> Pin<Box<impl Future<Output = T>>> {
        let mut run = Box::pin(run);
        assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        run
    }

    #[test]
    fn all_that_is_given_out_is_done_whoever_gives_it_out_and_however_it_ends() {
        const GIVERS: usize = 4;
        const EACH: usize = 5000;
        let blocking = Blocking::start(3).unwrap();
        let sum = AtomicUsize::new(0);
        let work = |number| move || if number % 1000 == 7 { panic!("{number}") } else { number };
        let give = async || {
            for number in 0..EACH {
                match blocking.run(work(number)).await {
                    Ok(number) => drop(sum.fetch_add(number, SeqCst)),
                    Err(_) => assert_eq!(number % 1000, 7),
                }
            }
        };
        thread::scope(|scope| (0..GIVERS).for_each(|_| drop(scope.spawn(|| block_on(give())))));
        let expected: usize = (0..EACH).filter(|number| number % 1000 != 7).sum();
        assert_eq!(sum.into_inner(), GIVERS * expected);
    }

    #[test]
    fn a_thread_that_is_about_to_wait_sees_what_comes_in_that_moment() {
        let blocking = Blocking::start(1).unwrap();
        let begun = Instant::now();
        for number in (0..).take_while(|_| begun.elapsed() < Duration::from_secs(3)) {
            let mut run = Box::pin(blocking.run(move || number));
            // Sooner than a runtime would see it.
            while run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                std::hint::spin_loop();
            }
            (0..number % 64).for_each(|_| std::hint::spin_loop());
        }
    }

    #[test]
    fn as_much_is_done_at_a_time_as_there_are_threads() {
        let blocking = Blocking::start(64).unwrap();
        for _ in 0..20 {
            let all = Arc::new(Barrier::new(65));
            let wait = || {
                let all = Arc::clone(&all);
                move || all.wait().is_leader()
            };
            let runs: Vec<_> = (0..64).map(|_| begin(blocking.run(wait()))).collect();
            all.wait();
            runs.into_iter().map(block_on).for_each(|run| assert!(run.is_ok()));
        }
    }

    #[test]
    fn whoever_waits_for_the_end_of_all_does_so_until_then_but_not_for_ever() {
        let blocking = Blocking::start(2).unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let done = Arc::clone(&done);
            blocking.give(move || {
                thread::sleep(Duration::from_millis(10));
                done.fetch_add(1, SeqCst);
            });
        }
        blocking.wait(Duration::from_secs(60));
        assert_eq!(done.load(SeqCst), 10);
        let (go_on, gate) = mpsc::channel();
        blocking.give(move || assert!(gate.recv().is_ok()));
        let begun = Instant::now();
        blocking.wait(Duration::from_millis(50));
        assert!((Duration::from_millis(50)..Duration::from_secs(30)).contains(&begun.elapsed()));
        go_on.send(()).unwrap();
    }

    #[test]
    fn what_was_given_out_is_done_also_when_nobody_waits_for_it_and_then_the_threads_end() {
        let blocking = Blocking::start(1).unwrap();
        let shared = Arc::downgrade(&blocking.shared);
        let (go_on, gate) = mpsc::channel();
        let (done, all_done) = mpsc::channel();
        drop(begin(blocking.run(move || gate.recv())));
        for number in 0..3 {
            let done = done.clone();
            drop(begin(blocking.run(move || done.send(number))));
        }
        drop((blocking, done));
        go_on.send(()).unwrap();
        assert_eq!(all_done.iter().collect::<Vec<_>>(), [0, 1, 2]);
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
