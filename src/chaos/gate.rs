//! `Gate`: what a sample that hangs waits for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What samples wait for that [hang](super::Chaos::hang_at): shut until it is [opened](Gate::open), for good.
///
/// Dropping it opens it as well, so that a test that fails leaves no thread behind. Keep it for as long as it is to
/// hold.
#[derive(Debug)]
#[must_use = "a gate that is dropped is open"]
pub struct Gate(Latch);

/// The side of those who wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Latch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    waiting: usize,
}

impl Gate {
    /// A gate that is shut.
    #[allow(clippy::new_without_default, reason = "that it is shut should be said")]
    pub fn new() -> Self {
        Gate(Latch::default())
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        self.0.state().is_open = true;
        self.0.0.opened.notify_all();
    }

    /// How many samples are waiting right now.
    pub fn waiting(&self) -> usize {
        self.0.state().waiting
    }

    pub(super) fn latch(&self) -> Latch {
        self.0.clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Latch {
    /// Returns once the gate is open.
    pub(super) fn wait(&self) {
        let mut state = self.state();
        state.waiting += 1;
        while !state.is_open {
            state = self.0.opened.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics under this lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
