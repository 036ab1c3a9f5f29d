//! `Tally`: what has happened, by name, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// What happens in any soak that is long enough.
pub const EXPECTED: &[&str] = &[
    "batches",
    "bad samples: errors",
    "bad samples: panics",
    "bad samples: transients",
    "bad samples: truncations",
    "failed batches",
    "failed batches: beyond the budget",
    "samples left out",
    "samples replaced",
    "timeouts",
    "epochs left early",
    "epochs left by a panic",
    "epochs gone on with",
    "batches kept",
    "batches given up",
];

#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub fn add(&mut self, what: &'static str, count: usize) {
        *self.0.entry(what).or_default() += count as u64;
    }

    pub fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// What has not happened.
    pub fn missing<'a>(&self, all: &'a [&'static str]) -> Vec<&'a str> {
        all.iter().copied().filter(|what| self.get(what) == 0).collect()
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, count)| writeln!(f, "{count:>12} {what}"))
    }
}
