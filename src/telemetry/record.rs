//! `Record`: what was logged by one call.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use super::Metrics;

/// What was logged by one call. A clone is the same record.
#[derive(Clone, Debug)]
pub struct Record(Arc<Logged>);

#[derive(Debug)]
struct Logged {
    step: u64,
    time: SystemTime,
    metrics: Metrics,
    alert: Option<Cow<'static, str>>,
}

impl Record {
    pub(super) fn new(step: u64, metrics: Metrics, alert: Option<Cow<'static, str>>) -> Self {
        Record(Arc::new(Logged { step, time: SystemTime::now(), metrics, alert }))
    }

    /// The step of the training.
    pub fn step(&self) -> u64 {
        self.0.step
    }

    /// When it was logged.
    pub fn time(&self) -> SystemTime {
        self.0.time
    }

    /// What was measured.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What a person should hear of.
    pub fn alert(&self) -> Option<&str> {
        self.0.alert.as_deref()
    }
}
