//! Files are opened here and nowhere else: regular ones alone, and never with a wait for whoever is at the other end.

use std::fs::{self, File, FileType};
use std::io;
use std::path::Path;

/// Opens a regular file, and says how long it is now.
///
/// Anything else is refused at once: a FIFO would be waited for, and `/dev/zero` read, for ever.
pub(crate) fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = open_at_once(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata.len())),
        false => Err(refusal(metadata.file_type())),
    }
}

fn open_at_once(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.open(path).or_else(|error| match fs::metadata(path) {
        // A socket cannot be opened at all: that it is one says more than the system's error.
        Ok(metadata) if !metadata.is_file() => Err(refusal(metadata.file_type())),
        // A file server has leased the file to a client. It gives the lease back to those who wait.
        Ok(_) if error.kind() == io::ErrorKind::WouldBlock => File::open(path),
        _ => Err(error),
    })
}

fn refusal(kind: FileType) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {}, and only regular files are read", name(kind)))
}

fn name(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a FIFO";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_block_device() || kind.is_char_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a directory" } else { "something else" }
}
