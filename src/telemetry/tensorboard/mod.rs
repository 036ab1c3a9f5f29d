//! `TensorBoard`: event files.

mod event;
mod frame;
mod message;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use super::append::Appended;
use super::{Record, Sink};
use crate::error::{Error, Result};
use frame::frame;

/// Writes records for TensorBoard: numbers (which it keeps in 32 bits), texts, histograms and pictures by their names,
/// alerts as texts called `alert`.
///
/// A run is a directory of event files; a run that goes on writes another file into it, which TensorBoard puts behind
/// the others. The files are as `torch.utils.tensorboard` writes them.
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    file: Appended,
}

impl TensorBoard {
    /// Creates an event file in the directory of a run, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// If the directory or the file cannot be made.
    pub fn create(run: impl AsRef<Path>) -> Result<Self> {
        let run = std::path::absolute(run.as_ref()).unwrap_or_else(|_| run.as_ref().to_path_buf());
        Self::create_in(&run).map_err(|error| error.with_path(&run))
    }

    fn create_in(run: &Path) -> Result<Self> {
        static FILES: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(run)?;
        let now = SystemTime::now();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
        // The files of a process are read in the order in which they were made, also those of one second.
        let number = FILES.fetch_add(1, Relaxed);
        let name = format!("events.out.tfevents.{seconds:010}.{host}.{}.{number:06}", std::process::id());
        let path = run.join(name);
        let file = Appended::open(&path)?;
        let mut board = TensorBoard { path, file };
        board.append(&frame(&event::version(now)))?;
        Ok(board)
    }

    /// Has TensorBoard forget what the run's earlier files say of this step and of later ones, as for a run that goes
    /// on with it (`purge_step` of `torch.utils.tensorboard.SummaryWriter`).
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn purge_step(mut self, step: u64) -> Result<Self> {
        let start = frame(&event::start(SystemTime::now(), step));
        // Twice, since the first that TensorBoard meets in a run means nothing to it
        // (`_CheckForRestartAndMaybePurge` of its `plugin_event_accumulator.py`).
        self.append(&[&start[..], &start].concat())?;
        Ok(self)
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, events: &[u8]) -> Result<()> {
        self.file.append(events).map_err(|error| Error::from(error).with_path(&self.path))
    }
}

impl Sink for TensorBoard {
    fn name(&self) -> &str {
        "tensorboard"
    }

    fn write(&mut self, records: &[Record]) -> Result<()> {
        let events: Vec<u8> = records.iter().filter_map(event::of).flat_map(|event| frame(&event)).collect();
        self.append(&events)
    }
}
