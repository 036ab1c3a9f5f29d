//! Memory that a worker uses again for each picture.
//!
//! A decoded photograph is half a megabyte: given back to the system and asked for again, its pages would be cleared
//! and mapped anew each time.

use std::cell::RefCell;
use std::io::{self, Read};
use std::ops::{Deref, DerefMut};
use std::path::Path;

use crate::file;
use crate::stats::has_read;

/// How many blocks a thread keeps: a file, its pixels, and two stages of transforms.
const KEPT: usize = 4;
/// Blocks larger than this go back to the system, or one huge picture would be paid for until the end.
const KEPT_SIZE: usize = 32 << 20;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that return to the thread that drops them.
pub(crate) struct Scratch {
    /// May be longer than what is asked for: whatever was initialised once need not be again.
    block: Vec<u8>,
    len: usize,
}

impl Scratch {
    /// `len` bytes, with unspecified contents; `None` where the system has no more memory.
    pub(super) fn take(len: usize) -> Option<Self> {
        let mut block = Self::recycled(len).unwrap_or_default();
        if block.len() < len {
            block.try_reserve_exact(len - block.len()).ok()?;
            block.resize(len, 0);
        }
        Some(Scratch { block, len })
    }

    /// The smallest of the kept blocks that has room.
    fn recycled(len: usize) -> Option<Vec<u8>> {
        FREE.with_borrow_mut(|free| {
            let fitting = (0..free.len()).filter(|&i| free[i].capacity() >= len).min_by_key(|&i| free[i].capacity());
            fitting.map(|i| free.swap_remove(i))
        })
    }
}

impl From<Vec<u8>> for Scratch {
    fn from(block: Vec<u8>) -> Self {
        Scratch { len: block.len(), block }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let block = std::mem::take(&mut self.block);
        if block.capacity() == 0 || block.capacity() > KEPT_SIZE {
            return;
        }
        // While a thread ends, its storage may be gone before its images are: then the block is just freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            free.push(block);
            if free.len() > KEPT {
                let smallest = (0..free.len()).min_by_key(|&i| free[i].capacity()).expect("just pushed one");
                free.swap_remove(smallest);
            }
        });
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block[..self.len]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.block[..self.len]
    }
}

/// The contents of a file; `None` if that is more than `most` bytes.
pub(crate) fn read_file(path: &Path, most: u64) -> io::Result<Option<Scratch>> {
    let (file, size) = file::open(path)?;
    if size > most {
        return Ok(None);
    }
    let bytes = read_to_end(&mut file.take(most.saturating_add(1)), size)?;
    has_read(bytes.len);
    Ok(Some(bytes).filter(|bytes| bytes.len as u64 <= most))
}

/// What there is up to the end. The `size` is only a hint (files grow and shrink, and those of /proc say 0), and no
/// reason to reserve without bounds.
fn read_to_end(file: &mut impl Read, size: u64) -> io::Result<Scratch> {
    // One byte more than expected, so that the read that finds the end needs no more room.
    let room = size.min(KEPT_SIZE as u64) as usize + 1;
    let mut bytes = Scratch::take(room).ok_or(io::ErrorKind::OutOfMemory)?;
    bytes.len = 0;
    // `Read::read_to_end` would ask the system again how long the file is, and where it stands.
    while bytes.len < bytes.block.len() {
        match file.read(&mut bytes.block[bytes.len..]) {
            Ok(0) => return Ok(bytes),
            Ok(read) => bytes.len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    file.read_to_end(&mut bytes.block)?;
    bytes.len = bytes.block.len();
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_used_again_by_its_thread() {
        std::thread::spawn(|| {
            let first = Scratch::take(1000).unwrap();
            let address = first.as_ptr();
            drop(first);
            let again = Scratch::take(900).unwrap();
            assert_eq!((again.as_ptr(), again.len()), (address, 900));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn few_blocks_are_kept_and_no_huge_ones() {
        std::thread::spawn(|| {
            let blocks: Vec<_> = (1..=10).map(|n| Scratch::take(n * 1000).unwrap()).collect();
            drop(blocks);
            drop(Scratch::take(KEPT_SIZE + 1).unwrap());
            assert!(Scratch::take(usize::MAX).is_none());
            let kept: Vec<usize> = FREE.with_borrow(|free| free.iter().map(Vec::capacity).collect());
            assert_eq!(kept.len(), KEPT);
            assert!(kept.iter().all(|&capacity| (7000..=KEPT_SIZE).contains(&capacity)), "{kept:?}");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_file_is_read_whole_and_nothing_else() {
        let path = std::env::temp_dir().join(format!("sutler-scratch-{}", std::process::id()));
        for len in [0, 1, 5000, 100] {
            std::fs::write(&path, vec![7; len]).unwrap();
            assert_eq!(*read_file(&path, len as u64).unwrap().unwrap(), vec![7; len]);
        }
        std::fs::remove_file(&path).unwrap();
    }

    /// Gives at most `step` bytes at a time of as many as there are, and is interrupted before each time.
    struct Trickle {
        left: usize,
        step: usize,
        interrupted: bool,
    }

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = self.left.min(self.step).min(buffer.len());
            buffer[..count].fill(7);
            self.left -= count;
            Ok(count)
        }
    }

    #[test]
    fn the_end_is_where_it_is_found_whatever_the_size_was() {
        for size in [0, 1, 999, 1000, 1001, 5000, u64::MAX] {
            for step in [1, 64, usize::MAX] {
                let mut file = Trickle { left: 1000, step, interrupted: false };
                assert!(*read_to_end(&mut file, size).unwrap() == [7; 1000], "{size}, {step}");
                assert_eq!(file.left, 0);
            }
        }
    }
}
