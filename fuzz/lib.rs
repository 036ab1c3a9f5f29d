//! What the fuzz targets share: see `targets` for what they check.

use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

pub use libfuzzer_sys;

#[path = "targets/mod.rs"]
pub mod targets;

thread_local! {
    /// What this thread last panicked with.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
    /// Where panics came from so far.
    static PLACES: RefCell<HashSet<String>> = RefCell::default();
}

/// A panic of a decoder is caught where it is called, and is no finding: it is told once, with its place. (libfuzzer-sys ends
/// the process at any panic.)
pub fn catch_panics() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        LAST.set(panic.to_string());
        if PLACES.with_borrow_mut(|places| places.insert(place)) {
            eprintln!("a first panic here: {panic}");
        }
    }));
}

/// Runs a target; what it lets out is a finding.
pub fn check(target: targets::Target, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
        eprintln!("FOUND: {}", LAST.take());
        std::process::abort();
    }
}

/// The fuzz target of that name.
#[macro_export]
macro_rules! fuzz {
    ($target:ident) => {
        use $crate::libfuzzer_sys;

        libfuzzer_sys::fuzz_target!(init: $crate::catch_panics(), |bytes: &[u8]| {
            $crate::check($crate::targets::$target, bytes)
        });
    };
}
