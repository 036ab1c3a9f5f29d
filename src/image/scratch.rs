//! Memory that a worker uses again for each picture.
//!
//! A decoded photograph is half a megabyte: given back to the system and asked for again, its pages would be cleared
//! and mapped anew each time.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, DerefMut};
use std::path::Path;

use crate::stats::has_read;

/// How many blocks a thread keeps: a file, its pixels, and two stages of transforms.
const KEPT: usize = 4;
/// Blocks larger than this go back to the system, or one huge picture would be paid for until the end.
const KEPT_SIZE: usize = 32 << 20;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that return to the thread that drops them.
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    /// At least `len` bytes, with unspecified contents; `None` where the system has no more memory.
    pub(super) fn take(len: usize) -> Option<Self> {
        let mut block = Self::recycled(len).unwrap_or_default();
        if block.len() < len {
            block.try_reserve_exact(len - block.len()).ok()?;
            block.resize(len, 0);
        }
        Some(Scratch(block))
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
        Scratch(block)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let block = std::mem::take(&mut self.0);
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
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// The contents of a file.
pub(crate) fn read_file(path: &Path) -> io::Result<Scratch> {
    let mut file = File::open(path)?;
    // One byte more than expected, so that the read that finds the end needs no more room. A size is only a hint (a
    // file may grow, a pipe has none), and not a reason to reserve without bounds.
    let expected = file.metadata()?.len().min(KEPT_SIZE as u64) as usize + 1;
    let mut block = Scratch::recycled(expected).unwrap_or_default();
    block.clear();
    block.reserve(expected);
    let read = file.read_to_end(&mut block)?;
    has_read(read);
    Ok(Scratch(block))
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
            assert_eq!(again.as_ptr(), address);
            assert!(again.len() >= 900);
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
            assert_eq!(*read_file(&path).unwrap(), vec![7; len]);
        }
        std::fs::remove_file(&path).unwrap();
    }
}
