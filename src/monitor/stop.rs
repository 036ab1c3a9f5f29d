//! `Stop`: how a monitor's thread, and the task it is in, learn that it is over.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[cfg(unix)]
use std::process::Child;

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process_group};

#[cfg(unix)]
use crate::error::Result;

/// How long a stop waits for a program that is just being started. That takes a millisecond, unless it comes from a
/// network that hangs.
#[cfg(unix)]
const START: Duration = Duration::from_millis(500);

/// Tells a [`Task`](super::Task) that its monitor was stopped, so that a long run can end early: nobody will see what
/// it gives. The default one never does: for a task that is run by hand.
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
    /// Whether a program is just being started.
    #[cfg(unix)]
    is_starting: bool,
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
        self.0.told.notify_all();
        #[cfg(unix)]
        {
            // One that is started now is not to outlive this process, which may be about to end.
            let is_starting = |state: &mut State| state.is_starting;
            let told = self.0.told.wait_timeout_while(state, START, is_starting);
            kill(&told.unwrap_or_else(PoisonError::into_inner).0);
        }
    }

    /// Does something that must not happen once it is over, and that does not wait.
    pub(super) fn unless_stopped<T>(&self, run: impl FnOnce() -> T) -> Option<T> {
        let state = self.state();
        (!state.is_stopped).then(run)
    }

    /// Starts a program, unless it is over; when it is, the program's group is killed. Until [`spare`](Stop::spare) is
    /// called the program must not be reaped: only as long as it is there, its number is no other's.
    #[cfg(unix)]
    pub(super) fn start(&self, start: impl FnOnce() -> Result<Child>) -> Result<Option<Child>> {
        {
            let mut state = self.state();
            if state.is_stopped {
                return Ok(None);
            }
            state.is_starting = true;
        }
        let child = start();
        let mut state = self.state();
        state.is_starting = false;
        state.group = child.as_ref().ok().map(Pid::from_child);
        if state.is_stopped {
            kill(&state);
        }
        drop(state);
        self.0.told.notify_all();
        child.map(Some)
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
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;

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
    fn nothing_is_started_when_it_is_over() {
        let stop = Stop::default();
        stop.stop();
        let error = Runner::default().run(&mut Command::new("no-such-program"), Duration::MAX, &stop).unwrap_err();
        assert_eq!(error.to_string(), "`no-such-program` was not started, since its monitor was stopped");
    }

    #[test]
    fn a_stop_waits_for_what_is_just_being_started_but_not_for_long() {
        let starting = |time: Duration| {
            let (stop, (sender, begun)) = (Stop::default(), mpsc::channel());
            let its = stop.clone();
            let thread = thread::spawn(move || {
                let mut sleep = Command::new("/bin/sleep");
                let start = || {
                    sender.send(()).unwrap();
                    thread::sleep(time);
                    Ok(sleep.arg("1000").process_group(0).spawn()?)
                };
                its.start(start).unwrap().unwrap().wait().unwrap()
            });
            begun.recv().unwrap();
            stop.stop();
            let is_there = stop.state().group.is_some();
            // However late it is, it is killed.
            assert_eq!(thread.join().unwrap().signal(), Some(9));
            is_there
        };
        assert!(starting(START / 50));
        assert!(!starting(4 * START));
    }
}
