//! `Appended`: a file that is only ever added to, in whole pieces.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

#[derive(Debug)]
pub(super) struct Appended {
    file: File,
    /// The same file. What is open for appending cannot be cut off on every system.
    whole: File,
    /// Where a piece begins that was written in part, and could not be taken back yet.
    torn: Option<u64>,
}

impl Appended {
    /// The file at `path`, which is made if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let whole = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Appended { file, whole, torn: None })
    }

    /// Adds a piece: all of it, or, with an error, nothing.
    pub(super) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        if let Some(end) = self.torn {
            self.cut(end)?;
        }
        let end = self.file.metadata()?.len();
        self.file.write_all(piece).inspect_err(|_| {
            self.torn = Some(end);
            let _ = self.cut(end);
        })
    }

    /// Removes what is behind the last end of a line. Says how much is left.
    pub(super) fn cut_to_lines(&mut self) -> io::Result<u64> {
        let length = self.whole.metadata()?.len();
        let (mut end, mut block) = (length, [0; 4096]);
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
        if end < length {
            self.cut(end)?;
        }
        Ok(end)
    }

    fn cut(&mut self, end: u64) -> io::Result<()> {
        self.whole.set_len(end)?;
        self.torn = None;
        Ok(())
    }
}
