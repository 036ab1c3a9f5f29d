//! `Patience`: the consumer's time, and how long it waits for a batch.

use std::fmt;
use std::time::{Duration, Instant};

use super::delivery::Clock;
use crate::error::{Error, Result};

/// What an epoch hands over to whoever takes its batches in the consumer's place: from then on, that counts how long the
/// consumer waits, and for how long it does.
pub struct Patience {
    clock: Option<Clock>,
    timeout: Option<Duration>,
    /// The error of a batch that did not come in time.
    timed_out: Box<dyn Fn() -> Error + Send>,
}

impl Patience {
    pub(super) fn new(
        clock: Option<Clock>,
        timeout: Option<Duration>,
        timed_out: impl Fn() -> Error + Send + 'static,
    ) -> Self {
        Patience { clock, timeout, timed_out: Box::new(timed_out) }
    }

    /// Until when to wait, from now on.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        now.checked_add(self.timeout?)
    }

    pub(crate) fn timed_out(&self) -> Error {
        (self.timed_out)()
    }

    /// The consumer waited since then.
    pub(crate) fn waited(&self, since: Instant) {
        if let Some(clock) = &self.clock {
            clock.waited(since);
        }
    }

    /// The consumer's `next()` returns this.
    pub(crate) fn returned<B>(&mut self, result: &Option<Result<B>>) {
        if let Some(clock) = &mut self.clock {
            clock.returned(result);
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
