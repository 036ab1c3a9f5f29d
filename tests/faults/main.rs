//! What the loader promises when something goes wrong. A panic costs a batch and never the workers ([`panics`]);
//! dropping waits for nothing and leaves nothing behind ([`drops`]); memory grows neither with workers nor with epochs,
//! nor behind a slow sample ([`memory`]); a sample that is stuck holds up itself and nobody else ([`stuck`]); and where
//! the system has no more to give, that is an error ([`limits`]).

mod data;
mod drops;
// The blocks are counted, so that a buffer is seen to come back also where the loader that could tell is gone.
#[allow(dead_code, reason = "the tests of devices use the rest")]
#[path = "../device/fake_memory.rs"]
mod fake_memory;
mod gate;
mod given_up;
mod limits;
mod memory;
mod panics;
mod process;
mod stuck;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen, before it says that it did not.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `is_so`, at most [`PATIENCE`]; false if it never was.
fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let waiting = Instant::now();
    while !is_so() {
        if waiting.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_micros(50));
    }
    true
}

/// What `run` gives, on a thread of its own, so that a test fails where it would hang.
fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = mpsc::channel();
    let thread = thread::spawn(move || sender.send(run()));
    match result.recv_timeout(PATIENCE) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("it sends before it ends"),
        },
    }
}
