//! `Appended`: a file that is only ever added to, in whole pieces, by one process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Appended {
    path: PathBuf,
    file: File,
    /// The same file. What is open for appending cannot be cut off on every system.
    whole: File,
    /// Where the next piece goes.
    end: u64,
    /// Whether a piece that was written in part is still there.
    is_torn: bool,
}

impl Appended {
    /// The file at `path`, which is made if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Others may never come to an end, or never be opened.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("not a regular file"));
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let whole = OpenOptions::new().read(true).write(true).open(path)?;
        let end = file.metadata()?.len();
        Ok(Appended { path: path.to_owned(), file, whole, end, is_torn: false })
    }

    /// Adds a piece: all of it, or, with an error, nothing.
    pub(super) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write_all(piece).inspect_err(|_| {
            self.is_torn = true;
            let _ = self.cut(self.end);
        })?;
        self.end += piece.len() as u64;
        Ok(())
    }

    /// Whether the file is as this process has left it: two that write to the same one would mix rows and lose them.
    pub(super) fn check(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.cut(self.end)?;
        }
        let file = self.file.metadata()?;
        if !fs::metadata(&self.path).is_ok_and(|named| is_same(&file, &named)) {
            return Err(io::Error::other("it was moved, removed, or written anew by somebody else"));
        }
        if file.len() != self.end {
            return Err(io::Error::other("somebody else writes to it: give each process a file of its own"));
        }
        Ok(())
    }

    /// Removes what is behind the last end of a line. Says how much is left.
    pub(super) fn cut_to_lines(&mut self) -> io::Result<u64> {
        let (mut end, mut block) = (self.end, [0; 4096]);
        while end > 0 {
            let start = end.saturating_sub(block.len() as u64);
            let block = &mut block[..(end - start) as usize];
            self.whole.seek(SeekFrom::Start(start))?;
            self.whole.read_exact(block)?;
            if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
                end = start + at as u64 + 1;
                break;
            }
            end = start;
        }
        // Whoever writes there as well, by mistake, is not to lose what came meanwhile.
        if end < self.end {
            self.cut(end)?;
        }
        Ok(end)
    }

    fn cut(&mut self, end: u64) -> io::Result<()> {
        self.whole.set_len(end)?;
        (self.end, self.is_torn) = (end, false);
        Ok(())
    }
}

#[cfg(unix)]
fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// What is open there cannot be moved away.
#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}
