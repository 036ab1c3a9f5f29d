//! `Gate`: where samples stand until the test lets them go.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::PATIENCE;

/// Closed until it is opened; a handle.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_open: bool,
    waiting: usize,
    errands: Vec<Box<dyn FnOnce() + Send>>,
}

impl Gate {
    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let since = Instant::now();
        let mut state = self.state();
        state.waiting += 1;
        while !state.is_open {
            if let Some(errand) = state.errands.pop() {
                drop(state);
                errand();
                state = self.state();
                continue;
            }
            let left = PATIENCE.checked_sub(since.elapsed()).expect("the test opens its gate");
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting -= 1;
    }

    pub(crate) fn open(&self) {
        self.state().is_open = true;
        self.0.1.notify_all();
    }

    /// Has one of the threads that stand there run `errand`.
    pub(crate) fn send(&self, errand: impl FnOnce() + Send + 'static) {
        self.state().errands.push(Box::new(errand));
        self.0.1.notify_all();
    }

    /// How many threads stand there.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
