//! Monitors: what they read, when, and that nobody notices them.
#![cfg(feature = "monitor")]

#[cfg(unix)]
mod command;
#[cfg(unix)]
mod gpu;
mod periodic;
mod readings;

use std::env;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
/// For what takes no time worth mentioning, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// Waits until something has happened.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        thread::sleep(MS);
    }
}

/// Runs a test in a process of its own, where threads can be counted, or where the environment is another one.
fn alone(test: &str, set: impl FnOnce(&mut Command), run: impl FnOnce()) {
    const ALONE: &str = "SUTLER_MONITOR_ALONE";
    if env::var_os(ALONE).is_some_and(|name| name == test) {
        return run();
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(ALONE, test);
    set(&mut command);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{test}, in a process of its own: {said}");
}

/// How many threads this process has.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap().trim().parse().unwrap()
}
