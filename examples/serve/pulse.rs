//! `Pulse`: how long anything held up a thread of the runtime's. While it does, no other request gets on there.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Of all that was polled. Each number is a sum or a maximum: the order of events does not matter to it.
#[derive(Default)]
pub struct Pulse {
    polls: AtomicU64,
    /// By the clock on the wall: with what the system gave to other threads meanwhile.
    wall: Longest,
    /// By the thread's own: what the poll itself took.
    cpu: Longest,
}

#[derive(Default)]
struct Longest {
    nanoseconds: AtomicU64,
    /// How many took a millisecond or more.
    over: AtomicU64,
}

impl Longest {
    fn add(&self, time: Duration) {
        self.nanoseconds.fetch_max(time.as_nanos() as u64, Relaxed);
        self.over.fetch_add(u64::from(time >= Duration::from_millis(1)), Relaxed);
    }

    fn get(&self) -> (Duration, u64) {
        (Duration::from_nanos(self.nanoseconds.load(Relaxed)), self.over.load(Relaxed))
    }
}

impl Pulse {
    /// Times each poll of a future.
    pub fn timed<F: Future>(self: &Arc<Self>, future: F) -> Timed<F> {
        Timed { future: Box::pin(future), pulse: Arc::clone(self) }
    }

    pub fn polls(&self) -> u64 {
        self.polls.load(Relaxed)
    }

    /// The longest poll, and how many took a millisecond or more.
    pub fn wall(&self) -> (Duration, u64) {
        self.wall.get()
    }

    /// As [`wall`](Pulse::wall), of what the thread had of a core.
    pub fn cpu(&self) -> (Duration, u64) {
        self.cpu.get()
    }
}

pub struct Timed<F> {
    future: Pin<Box<F>>,
    pulse: Arc<Pulse>,
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (wall, cpu) = (Instant::now(), cpu_time());
        let result = self.future.as_mut().poll(context);
        self.pulse.polls.fetch_add(1, Relaxed);
        self.pulse.cpu.add(cpu_time().saturating_sub(cpu));
        self.pulse.wall.add(wall.elapsed());
        result
    }
}

/// What this thread has had of a core; nothing where nobody says.
fn cpu_time() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    #[cfg(not(unix))]
    Duration::ZERO
}
