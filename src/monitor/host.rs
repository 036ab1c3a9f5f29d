//! `Host`: memory and processor time, of the machine and of this process.

use std::time::Instant;

use sysinfo::System;

use super::own::{self, Usage};
use super::{Stop, Task};
use crate::error::{Error, ErrorKind, Result};

/// A [`Task`](super::Task) that reads memory and processor time, of the machine and of this process.
///
/// Memory is that of the machine, also in a container that may have less of it.
#[derive(Default)]
pub struct Host {
    system: System,
    before: Option<Usage>,
    /// When the machine's processors were first looked at.
    first: Option<Instant>,
}

/// What was read of the machine and of this process. `None` is what the system does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct HostReading {
    /// Bytes of the machine's memory.
    pub memory_total: u64,
    /// Bytes that programs can still have: free ones, and those of caches that can be given up.
    pub memory_available: u64,
    /// The others.
    pub memory_used: u64,
    /// Bytes of swap,
    pub swap_total: u64,
    /// and how many are in use.
    pub swap_used: u64,
    /// Bytes of memory that this process has.
    pub resident: Option<u64>,
    /// How many processors the machine has, as threads.
    pub processors: usize,
    /// How busy they were since the last reading, from 0 to 1; `None` in the first. It is measured over a fifth of a
    /// second at least.
    pub cpu: Option<f64>,
    /// The share of them that this process had since the last reading, from 0 to 1; `None` in the first.
    pub process_cpu: Option<f64>,
}

impl Host {
    /// This machine, and this process.
    pub fn new() -> Self {
        Self::default()
    }

    /// How busy the machine was.
    fn cpu(&mut self) -> Option<f64> {
        self.system.refresh_cpu_usage();
        let first = *self.first.get_or_insert_with(Instant::now);
        let is_known = first.elapsed() >= sysinfo::MINIMUM_CPU_UPDATE_INTERVAL;
        is_known.then(|| f64::from(self.system.global_cpu_usage()) / 100.0)
    }

    /// The share of the processors that this process had.
    fn process_cpu(&self, now: &Usage, processors: usize) -> Option<f64> {
        let before = self.before.as_ref()?;
        let (worked, elapsed) = (now.cpu?.saturating_sub(before.cpu?), now.at - before.at);
        let most = elapsed.as_secs_f64() * processors as f64;
        (most > 0.0).then(|| (worked.as_secs_f64() / most).min(1.0))
    }
}

impl Task for Host {
    type Value = HostReading;

    /// # Errors
    ///
    /// If the system does not tell how much memory there is.
    fn run(&mut self, _: &Stop) -> Result<HostReading> {
        self.system.refresh_memory();
        let (total, available) = (self.system.total_memory(), self.system.available_memory());
        if total == 0 {
            return Err(Error::new(ErrorKind::Io, "the system does not tell how much memory there is"));
        }
        let (cpu, usage) = (self.cpu(), own::usage());
        let processors = self.system.cpus().len();
        let process_cpu = self.process_cpu(&usage, processors);
        self.before = Some(usage);
        Ok(HostReading {
            memory_total: total,
            memory_available: available,
            memory_used: total.saturating_sub(available),
            swap_total: self.system.total_swap(),
            swap_used: self.system.total_swap().saturating_sub(self.system.free_swap()),
            resident: usage.resident,
            processors,
            cpu,
            process_cpu,
        })
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}
