//! `Disk`: what is free where a path lies, and what this process reads and writes.

use std::path::{Path, PathBuf};

use super::own::{self, Usage, rate};
use super::{Stop, Task};
use crate::error::{Error, ErrorKind, Result};

/// A [`Task`](super::Task) that reads how much is free in the file system of a path, and how much this process reads
/// from storage and writes to it.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    before: Option<Usage>,
}

/// What was read of a file system and of this process.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DiskReading {
    /// Bytes of the file system.
    pub total: u64,
    /// Bytes of it that this user can still write.
    pub free: u64,
    /// Bytes a second since the last reading that this process had from storage, wherever; what was in memory already
    /// does not count. `None` in the first, and where the system does not tell.
    pub read_per_second: Option<f64>,
    /// The same of what it wrote.
    pub written_per_second: Option<f64>,
}

impl Disk {
    /// The file system of a path.
    ///
    /// # Errors
    ///
    /// If there is no such path, or it cannot be asked.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let disk = Disk { path, before: None };
        disk.space()?;
        Ok(disk)
    }

    /// Bytes in all, and free ones.
    fn space(&self) -> Result<(u64, u64)> {
        space(&self.path).map_err(|source| {
            Error::new(ErrorKind::Io, "cannot ask the file system for its free space")
                .with_source(source)
                .with_path(&self.path)
        })
    }
}

/// The file system of the path alone is asked: another one may hang.
#[cfg(unix)]
fn space(path: &Path) -> std::io::Result<(u64, u64)> {
    let told = rustix::fs::statvfs(path)?;
    Ok((told.f_blocks.saturating_mul(told.f_frsize), told.f_bavail.saturating_mul(told.f_frsize)))
}

#[cfg(not(unix))]
fn space(path: &Path) -> std::io::Result<(u64, u64)> {
    use sysinfo::{DiskRefreshKind, Disks};

    let path = path.canonicalize()?;
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage());
    // That of what is mounted deepest.
    let of_path = disks.iter().filter_map(|disk| {
        let mount = disk.mount_point().canonicalize().ok()?;
        path.starts_with(&mount).then(|| (mount.as_os_str().len(), disk))
    });
    match of_path.max_by_key(|(len, _)| *len) {
        Some((_, disk)) => Ok((disk.total_space(), disk.available_space())),
        None => Err(std::io::Error::new(std::io::ErrorKind::NotFound, "it is on no disk that the system knows")),
    }
}

impl Task for Disk {
    type Value = DiskReading;

    /// # Errors
    ///
    /// If the file system cannot be asked.
    fn run(&mut self, _: &Stop) -> Result<DiskReading> {
        let (total, free) = self.space()?;
        let now = own::usage();
        let before = self.before.replace(now);
        let rate = |what: fn(&Usage) -> Option<u64>| {
            let before = before.as_ref()?;
            rate(what(before), what(&now), now.at - before.at)
        };
        let (read_per_second, written_per_second) = (rate(|usage| usage.read), rate(|usage| usage.written));
        Ok(DiskReading { total, free, read_per_second, written_per_second })
    }
}
