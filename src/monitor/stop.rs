//! `Stop`: how a monitor's thread, and the task it is in, learn that it is over.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process_group};

/// Tells a [`Task`](super::Task) that its monitor was stopped, so that a long run can end early: nobody will see what it gives.
/// The default one never does: for a task that is run by hand.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Control>);

#[derive(Debug, Default)]
struct Control {
    /// Locked for a few instructions at a time, or for one call of the system that does not wait.
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    /// The processes that are to be killed when it is over: whoever stops may be about to end this process, and then
    /// the monitor's thread has no time left to do it.
    #[cfg(unix)]
    group: Option<Pid>,
}

impl Stop {
    /// Whether it is over.
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// Sleeps for a time, or until it is over; whether it is.
    pub fn wait(&self, time: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(time))
    }

    /// Sleeps until then, without an end if that is `None`, or until it is over; whether it is.
    pub(super) fn wait_until(&self, due: Option<Instant>) -> bool {
        let mut state = self.state();
        loop {
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            state = match left {
                _ if state.is_stopped => return true,
                Some(Duration::ZERO) => return false,
                Some(left) => self.0.told.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.0.told.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        #[cfg(unix)]
        kill(&state);
        drop(state);
        self.0.told.notify_all();
    }

    /// Does something that must not happen once it is over, and that does not wait.
    pub(super) fn unless_stopped<T>(&self, run: impl FnOnce() -> T) -> Option<T> {
        let state = self.state();
        (!state.is_stopped).then(run)
    }

    /// Has a group of processes killed when it is over, or now if it is. Until [`spare`](Stop::spare) is called its leader must
    /// not be reaped: only as long as it is there, the number is no other's.
    #[cfg(unix)]
    pub(super) fn take_along(&self, group: Pid) {
        let mut state = self.state();
        state.group = Some(group);
        if state.is_stopped {
            kill(&state);
        }
    }

    #[cfg(unix)]
    pub(super) fn spare(&self) {
        self.state().group = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
fn kill(state: &State) {
    if let Some(group) = state.group {
        // It may be gone already.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;

    use super::super::child::Runner;
    use super::*;

    #[test]
    fn a_program_that_has_ended_is_not_killed_later_when_its_number_may_be_anothers() {
        let (stop, minute) = (Stop::default(), Duration::from_secs(60));
        Runner::default().run(&mut Command::new("/bin/echo"), minute, &stop).unwrap();
        assert_eq!(stop.state().group, None);
        Runner::default().run(Command::new("/bin/sleep").arg("60"), Duration::ZERO, &stop).unwrap_err();
        assert_eq!(stop.state().group, None);
    }

    #[test]
    fn a_program_that_is_started_when_it_is_over_is_killed_at_once() {
        let stop = Stop::default();
        stop.stop();
        let error = Runner::default().run(Command::new("/bin/sleep").arg("1000"), Duration::MAX, &stop).unwrap_err();
        assert_eq!(error.to_string(), "`/bin/sleep` was killed, since its monitor was stopped");
    }
}
