//! `Plan`: what befalls whom, and having it happen.

use std::collections::HashMap;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::gate::Latch;
use super::{Fate, Fault, Gate, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::rng::SampleRng;

/// What befalls which sample.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What draws are keyed by.
    key: u64,
    /// Each fault, and its rate.
    shares: [(Fault, f64); 4],
    delays: (f64, Duration),
    /// What is not left to chance.
    placed: HashMap<Target, Placed>,
    /// Whether samples are known to be such as can be cut.
    can_cut: bool,
    /// Whether records are befallen when they are read.
    pub(super) reading: bool,
    attempts: Arc<Attempts>,
}

#[derive(Clone, Debug, Default)]
struct Placed {
    fault: Option<Fault>,
    delay: Option<Duration>,
    latch: Option<Latch>,
}

/// How often the samples have failed that fail at first.
#[derive(Debug, Default)]
struct Attempts(Mutex<HashMap<Target, u32>>);

/// What is drawn for a sample, in the order of the draws: each has its own, whatever comes of those before it.
struct Draws {
    fault: f64,
    delay: f64,
    keep: f64,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        // A sample's own generator is keyed by the loader's seed as it is. If that is this one as well, which samples
        // are bad should still have nothing to do with what they draw.
        let mut key = Fingerprint::new();
        key.add_bytes(b"chaos");
        key.add(seed);
        Plan {
            key: key.value(),
            shares: [
                (Fault::Error, 0.0),
                (Fault::Panic, 0.0),
                (Fault::Truncation, 0.0),
                (Fault::Transient { failures: 0 }, 0.0),
            ],
            delays: (0.0, Duration::ZERO),
            placed: HashMap::new(),
            can_cut: false,
            reading: false,
            attempts: Arc::default(),
        }
    }

    /// Has `fault` befall a share of the samples.
    pub(super) fn share(&mut self, fault: Fault, rate: f64) {
        let share = self.shares.iter_mut().find(|(other, _)| discriminant(other) == discriminant(&fault));
        *share.expect("every fault has a share") = (fault, checked(rate));
        let sum: f64 = self.shares.iter().map(|(_, rate)| rate).sum();
        // Tenths that add up to 1 on paper may come to a little more.
        assert!(
            sum < 1.0 + 1e-9,
            "the rates of all faults add up to 1 at most, since a sample has one, and not to {sum}"
        );
    }

    /// Has samples cut, of which it is known that they can be.
    pub(super) fn truncate(&mut self, rate: f64) {
        self.share(Fault::Truncation, rate);
        self.can_cut = true;
    }

    pub(super) fn delay(&mut self, rate: f64, delay: Duration) {
        self.delays = (checked(rate), delay);
    }

    pub(super) fn place(&mut self, target: Target, fault: Fault) {
        assert!(
            self.can_cut || fault != Fault::Truncation,
            "at(…, Fault::Truncation) needs truncations(…) before it, which knows how samples are cut: a rate of 0 will do"
        );
        self.placed.entry(target).or_default().fault = Some(fault);
    }

    pub(super) fn delay_at(&mut self, target: Target, delay: Duration) {
        self.placed.entry(target).or_default().delay = Some(delay);
    }

    pub(super) fn hang_at(&mut self, target: Target, gate: &Gate) {
        self.placed.entry(target).or_default().latch = Some(gate.latch());
    }

    pub(super) fn fate(&self, target: Target) -> Fate {
        let draws = self.draws(target);
        let placed = self.placed.get(&target);
        Fate {
            fault: placed.and_then(|placed| placed.fault).or_else(|| self.fault(draws.fault)),
            delay: placed
                .and_then(|placed| placed.delay)
                .or_else(|| (draws.delay < self.delays.0).then_some(self.delays.1)),
            hangs: placed.is_some_and(|placed| placed.latch.is_some()),
        }
    }

    /// Has happen to a sample what is to, except that it is cut.
    pub(super) fn strike(&self, target: Target) -> Result<()> {
        let fate = self.fate(target);
        if let Some(delay) = fate.delay {
            thread::sleep(delay);
        }
        if let Some(latch) = self.placed.get(&target).and_then(|placed| placed.latch.as_ref()) {
            latch.wait();
        }
        match fate.fault {
            Some(Fault::Error) => Err(injected("the sample cannot be read")),
            Some(Fault::Panic) => panic!("injected by chaos: a panic"),
            Some(Fault::Transient { failures }) => match self.attempts.failure(target, failures) {
                Some(failure) => {
                    Err(injected(&format!("the sample cannot be read this time (failure {failure} of {failures})")))
                }
                None => Ok(()),
            },
            Some(Fault::Truncation) | None => Ok(()),
        }
    }

    /// Of a sample that is to be cut, which part of it is to be kept: less than 1.
    pub(super) fn keep(&self, target: Target) -> Option<f64> {
        let is_cut = self.can_cut && self.fate(target).fault == Some(Fault::Truncation);
        is_cut.then(|| self.draws(target).keep)
    }

    /// The faults lie one behind the other in [0, 1).
    fn fault(&self, drawn: f64) -> Option<Fault> {
        let mut end = 0.0;
        self.shares.iter().find_map(|&(fault, rate)| {
            end += rate;
            (drawn < end).then_some(fault)
        })
    }

    fn draws(&self, Target { shard, index }: Target) -> Draws {
        let mut rng = SampleRng::new(self.key, shard as u64, index);
        Draws { fault: rng.uniform(), delay: rng.uniform(), keep: rng.uniform() }
    }
}

impl Attempts {
    /// Counts an attempt: which of its `failures` it is, if any.
    fn failure(&self, target: Target, failures: u32) -> Option<u32> {
        // Nothing panics under this lock.
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(target).or_default();
        (*count < failures).then(|| {
            *count += 1;
            *count
        })
    }
}

fn injected(what: &str) -> Error {
    Error::new(ErrorKind::Io, format!("injected by chaos: {what}"))
}

/// # Panics
///
/// Unless it is a probability.
fn checked(rate: f64) -> f64 {
    assert!((0.0..=1.0).contains(&rate), "a rate is in [0, 1], and {rate} is not");
    rate
}
