//! `Watchdog`: a round that hangs ends the process, and says which it was.

use std::io::{Write, stderr};
use std::process::abort;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// How long a round may take. They take a tenth of a second; on a machine with a lot else to do, some seconds.
const MOST: Duration = Duration::from_secs(60);

pub struct Watchdog {
    rounds: Option<Sender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub fn start() -> Self {
        let (rounds, begun) = channel::<String>();
        let watch = move || {
            let mut round = String::new();
            loop {
                match begun.recv_timeout(MOST) {
                    Ok(next) => round = next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        // Not by a macro, whose text the test harness would keep.
                        let _ = writeln!(stderr(), "a round hangs: it has not ended in {MOST:?}\nin {round}");
                        abort();
                    }
                }
            }
        };
        Watchdog { rounds: Some(rounds), thread: Some(spawn(watch)) }
    }

    /// The next round begins, and those before it have ended.
    pub fn expect(&self, round: &str) {
        let rounds = self.rounds.as_ref().expect("the watchdog is awake");
        rounds.send(round.into()).expect("the watchdog is awake");
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.rounds.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
