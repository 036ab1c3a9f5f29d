//! `Reading` and `Failure`: what a run of a task comes to.

use std::time::{Duration, SystemTime};

use crate::error::Error;

/// What a [`Task`](super::Task) has read, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading<T> {
    /// Which tick it was: so many intervals after the start the run was due.
    pub tick: u64,
    /// When the run began.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What it gave.
    pub value: T,
}

/// A run of a [`Task`](super::Task) that failed, and when.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Which tick it was: so many intervals after the start the run was due.
    pub tick: u64,
    /// When the run began.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What went wrong; a panic has the kind [`Panic`](crate::ErrorKind::Panic).
    pub error: Error,
}
