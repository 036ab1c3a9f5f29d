//! `Lane`: a sink with its queue and its thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use crossbeam_queue::ArrayQueue;

use super::{Record, Shutdown, Sink, SinkReport, on_one_line, warn};
use crate::error::{Error, ErrorKind, Result};
use crate::guard::{discard, guarded};

/// How often a thread looks how full its queue is. Nobody wakes it for that: it would be a call of the system's for
/// each record, which costs more than all the rest of logging one.
const POLL: Duration = Duration::from_millis(20);

/// How much later each attempt to write the same records comes, at the most.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// At the end somebody waits.
const FIRST_BACKOFF_AT_THE_END: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF_AT_THE_END: Duration = Duration::from_secs(1);

/// What happens to a record that has no room in the queue of a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest in the queue is dropped: what is going on now is what matters.
    #[default]
    DropOldest,
    /// The new one is dropped.
    DropNewest,
    /// The training loop waits until there is room, or the sink is disabled.
    Block,
}

#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) capacity: usize,
    pub(super) overflow: Overflow,
    pub(super) flush_interval: Duration,
    pub(super) max_failures: u32,
}

pub(super) struct Lane {
    shared: Arc<Shared>,
    thread: Thread,
    /// Its other end goes with the thread.
    ended: Receiver<()>,
}

/// What the loop and the thread share.
struct Shared {
    name: String,
    alerts_only: bool,
    queue: ArrayQueue<Record>,
    overflow: Overflow,
    order: AtomicU8,
    is_flush_wanted: AtomicBool,
    is_disabled: AtomicBool,
    last_error: Mutex<Option<String>>,
    logged: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
}

/// What the thread is to do.
const RUN: u8 = 0;
const DRAIN: u8 = 1;
const ABANDON: u8 = 2;

impl Lane {
    pub(super) fn start(sink: Box<dyn Sink>, settings: Settings) -> Result<Self> {
        let about = guarded("a sink's name", || Ok((on_one_line(sink.name()).into_owned(), sink.alerts_only())));
        let (name, alerts_only) = about?;
        let shared = Arc::new(Shared {
            name,
            alerts_only,
            queue: ArrayQueue::new(settings.capacity),
            overflow: settings.overflow,
            order: AtomicU8::new(RUN),
            is_flush_wanted: AtomicBool::new(false),
            is_disabled: AtomicBool::new(false),
            last_error: Mutex::new(None),
            logged: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let (ends, ended) = bounded(0);
        let writer = Writer {
            sink,
            shared: Arc::clone(&shared),
            settings,
            in_hand: Vec::new(),
            failures: 0,
            due: later(settings.flush_interval),
            is_draining: false,
            is_flushing: false,
            _ends: ends,
        };
        let thread = thread::Builder::new().name(format!("sutler-{}", shared.name)).spawn(|| writer.run());
        let thread = thread.map_err(|source| {
            Error::new(ErrorKind::Config, format!("cannot start the thread of {}", shared.name)).with_source(source)
        })?;
        Ok(Lane { shared, thread: thread.thread().clone(), ended })
    }

    pub(super) fn is_for_alerts_only(&self) -> bool {
        self.shared.alerts_only
    }

    pub(super) fn takes(&self, record: &Record) -> bool {
        record.alert().is_some() || !self.is_for_alerts_only()
    }

    pub(super) fn push(&self, record: Record) {
        let Shared { queue, overflow, is_disabled, logged, dropped, .. } = &*self.shared;
        logged.fetch_add(1, Relaxed);
        let is_one_lost = match overflow {
            _ if is_disabled.load(Relaxed) => true,
            Overflow::DropOldest => queue.force_push(record).is_some(),
            Overflow::DropNewest => queue.push(record).is_err(),
            Overflow::Block => self.push_when_there_is_room(record).is_err(),
        };
        dropped.fetch_add(u64::from(is_one_lost), Relaxed);
    }

    fn push_when_there_is_room(&self, mut record: Record) -> Result<(), Record> {
        while let Err(refused) = self.shared.queue.push(record) {
            if self.shared.is_disabled.load(Relaxed) {
                return Err(refused);
            }
            record = refused;
            self.thread.unpark();
            thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    /// Has the thread write at once.
    pub(super) fn flush(&self) {
        self.shared.is_flush_wanted.store(true, Release);
        self.thread.unpark();
    }

    pub(super) fn end(&self, how: Shutdown) {
        let order = if how == Shutdown::Abandon { ABANDON } else { DRAIN };
        self.shared.order.store(order, Release);
        self.thread.unpark();
    }

    /// Waits until the thread has ended, and has it end at the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) {
        // Unless the last of the user's hands on the telemetry was with its own sink.
        if thread::current().id() != self.thread.id() {
            let _ = match deadline {
                Some(deadline) => self.ended.recv_deadline(deadline).is_err(),
                None => self.ended.recv().is_err(),
            };
        }
        self.shared.order.store(ABANDON, Release);
        self.thread.unpark();
    }

    pub(super) fn report(&self) -> SinkReport {
        let Shared { name, order, is_disabled, last_error, logged, written, dropped, .. } = &*self.shared;
        // Before what was logged is read: whatever was dropped or written was logged before.
        let (written, mut dropped) = (written.load(Acquire), dropped.load(Relaxed));
        let mut waiting = logged.load(Relaxed).saturating_sub(written + dropped);
        let is_disabled = is_disabled.load(Acquire);
        if is_disabled || order.load(Acquire) == ABANDON {
            dropped += waiting;
            waiting = 0;
        }
        let last_error = last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        SinkReport {
            name: name.clone(),
            logged: written + dropped + waiting,
            written,
            dropped,
            waiting,
            is_disabled,
            last_error,
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.report()).finish()
    }
}

/// What the thread has.
struct Writer {
    sink: Box<dyn Sink>,
    shared: Arc<Shared>,
    settings: Settings,
    /// Taken from the queue, and not written yet.
    in_hand: Vec<Record>,
    /// One after another, so far.
    failures: u32,
    /// When to write next.
    due: Instant,
    is_draining: bool,
    /// Whether somebody waits for what is in the queue.
    is_flushing: bool,
    _ends: Sender<()>,
}

impl Writer {
    fn run(mut self) {
        while !self.shared.is_disabled.load(Relaxed) {
            // Looked at before the queue is: what was logged before the order is then there.
            let order = self.shared.order.load(Acquire);
            if order == ABANDON {
                break;
            }
            let is_wanted = self.shared.is_flush_wanted.swap(false, Acquire);
            let is_last_call = order == DRAIN && !self.is_draining;
            self.is_draining = order == DRAIN;
            self.is_flushing |= is_wanted;
            // However long it was to wait after a failure.
            if is_wanted || is_last_call {
                self.due = Instant::now();
            }
            let is_fresh = self.in_hand.is_empty();
            let is_urgent = is_fresh && (self.is_draining || self.is_flushing || self.is_half_full());
            let now = Instant::now();
            if is_urgent || now >= self.due {
                self.write();
                self.is_flushing &= !is_fresh;
            } else {
                thread::park_timeout((self.due - now).min(POLL));
            }
            if self.is_draining && self.in_hand.is_empty() && self.shared.queue.is_empty() {
                break;
            }
        }
        discard(self.sink);
        while self.shared.queue.pop().is_some() {}
    }

    fn is_half_full(&self) -> bool {
        self.shared.queue.len() * 2 >= self.shared.queue.capacity()
    }

    /// Writes what was logged since the last time, or what could not be written then.
    fn write(&mut self) {
        self.due = later(self.settings.flush_interval);
        if self.in_hand.is_empty() {
            let queue = &self.shared.queue;
            self.in_hand.extend(std::iter::from_fn(|| queue.pop()).take(queue.capacity()));
        }
        if self.in_hand.is_empty() {
            return;
        }
        match guarded("the sink", || self.sink.write(&self.in_hand)) {
            Ok(()) => {
                // Who sees the number sees what the sink has done.
                self.shared.written.fetch_add(self.in_hand.len() as u64, Release);
                self.in_hand.clear();
                self.failures = 0;
            }
            Err(error) => {
                // The error may be the user's as well.
                let reason = guarded("the sink's error", || Ok(error.to_string()));
                self.failed(&reason.unwrap_or_else(|panic| panic.to_string()));
                discard(error);
            }
        }
    }

    fn failed(&mut self, reason: &str) {
        let Shared { name, is_disabled, last_error, .. } = &*self.shared;
        let Settings { flush_interval, max_failures, .. } = self.settings;
        self.failures = self.failures.saturating_add(1);
        let (first, longest) = match self.is_draining {
            true => (FIRST_BACKOFF_AT_THE_END.min(flush_interval), LONGEST_BACKOFF_AT_THE_END),
            false => (flush_interval, LONGEST_BACKOFF.max(flush_interval)),
        };
        self.due = later(first.saturating_mul(1 << (self.failures - 1).min(16)).min(longest));
        *last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        if self.failures >= max_failures && !self.is_draining {
            is_disabled.store(true, Release);
            warn(format_args!("telemetry goes on without {name}, which has failed {max_failures} times: {reason}"));
        }
    }
}

/// That much later; at least a millisecond, so that an interval of none is no loop without rest.
fn later(by: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    Instant::now() + by.clamp(Duration::from_millis(1), YEAR)
}
