//! What this process has, as the system counts it. Elsewhere than on Linux it is not looked at.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Check, ensure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    threads: usize,
    files: usize,
}

/// How many threads there are. By the number that is kept of them: while some end, a list may leave out others.
fn threads() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    threads.map_or(0, |threads| threads.trim().parse().expect("a number"))
}

impl Footprint {
    pub fn now() -> Self {
        // The directory that is being listed is a file that is open, each time.
        let entries = |path| fs::read_dir(path).map_or(0, Iterator::count);
        Footprint { threads: threads(), files: entries("/proc/self/fd") }
    }

    /// Waits until it is what it was.
    pub fn is_again(before: Footprint) -> Check {
        let is_again = eventually(|| Footprint::now() == before);
        ensure!(is_again, "threads or files are left: {:?}, and {before:?} before", Footprint::now());
        Ok(())
    }
}

/// The bytes of this process that are in memory; 0 where nobody knows.
pub fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kilobytes.unwrap_or(0) << 10
}

/// Whether a condition holds within twenty seconds.
pub fn eventually(holds: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > Duration::from_secs(20) {
            return false;
        }
        sleep(Duration::from_micros(200));
    }
    true
}
