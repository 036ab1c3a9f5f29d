//! What the loader promises to a device: memory of its own choice, which nobody writes to while it is read, however late
//! that is; and to whoever waits for it.
//!
//! The device is a fake ([`fake_device`]), and so is the page-locked memory ([`fake_memory`]). Both keep books.

mod allocator;
mod budget;
mod early_release;
mod fake_device;
mod fake_memory;
mod faults;
mod lifetimes;
mod prefetcher;
mod samples;
mod stress;

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
        std::thread::yield_now();
    }
    true
}
