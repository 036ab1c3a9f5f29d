//! `Fate`: what befalls a sample.

use std::time::Duration;

/// What befalls a sample; made by [`Chaos::fate`](super::Chaos::fate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fate {
    /// What goes wrong with it.
    pub fault: Option<Fault>,
    /// By how much it comes late.
    pub delay: Option<Duration>,
    /// Whether it waits for a [`Gate`](super::Gate), which may be open by now.
    pub hangs: bool,
}

impl Fate {
    /// Whether it can never be had as it is: an error, a panic or a truncation befalls it. What fails at first, or
    /// comes late, is not bad.
    pub fn is_bad(&self) -> bool {
        matches!(self.fault, Some(Fault::Error | Fault::Panic | Fault::Truncation))
    }
}

/// What goes wrong with a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// It fails with an error of kind [`Io`](crate::ErrorKind::Io), each time.
    Error,
    /// It panics, each time.
    Panic,
    /// Its bytes are cut short: see [`Chaos::truncations`](super::Chaos::truncations).
    Truncation,
    /// It fails with an error of kind [`Io`](crate::ErrorKind::Io) the first times that it is asked for.
    Transient {
        /// How many times.
        failures: u32,
    },
}

/// Which sample: an index, or the `(shard, index)` of a record of an [`IterableDataset`](crate::IterableDataset). An
/// index alone is one of shard 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub(super) shard: usize,
    pub(super) index: usize,
}

impl From<usize> for Target {
    fn from(index: usize) -> Self {
        Target { shard: 0, index }
    }
}

impl From<(usize, usize)> for Target {
    fn from((shard, index): (usize, usize)) -> Self {
        Target { shard, index }
    }
}
