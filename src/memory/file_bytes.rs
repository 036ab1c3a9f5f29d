//! The bytes of a file, mapped or read.

use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::file;

/// A whole file as a slice.
#[derive(Debug)]
pub(crate) enum FileBytes {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl FileBytes {
    /// Maps the file: nothing is read before it is used, and the page cache is shared with other processes.
    ///
    /// The file must not be truncated while it is mapped: its last page then reads as zeros behind the new end, and the
    /// system answers a read beyond that page with SIGBUS, which ends the process. Where that cannot be excluded,
    /// [`read`](Self::read) it.
    pub(crate) fn map(path: &Path) -> io::Result<Self> {
        let (file, _) = file::open(path)?;
        // SAFETY: the map is private to this value and read-only. That nobody else changes the file while it is
        // mapped cannot be enforced; a change of its bytes is read as other bytes, of which none are invalid as `u8`,
        // and truncation ends the process by a signal, as documented to the user of this function.
        unsafe { Mmap::map(&file) }.map(FileBytes::Mapped)
    }

    /// Reads the file into memory.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let (mut file, _) = file::open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(FileBytes::Read(bytes))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            FileBytes::Mapped(map) => map,
            FileBytes::Read(bytes) => bytes,
        }
    }
}
