//! `Fingerprint`: tells two things apart after the fact, the same on every machine and in every version.

use std::path::PathBuf;

/// A hash of what was added: FNV-1a of Fowler, Noll and Vo, which is fixed for ever, unlike the standard library's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn new() -> Self {
        Fingerprint(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(&mut self, value: u64) {
        self.add_bytes(&value.to_le_bytes());
    }

    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The names of some of `len` files, each with that of its directory: the rest of a path changes with the machine.
    pub(crate) fn add_paths(&mut self, len: usize, path: impl Fn(usize) -> Option<PathBuf>) {
        for path in probes(len).filter_map(path) {
            for part in path.iter().rev().take(2) {
                self.add(part.len() as u64); // or "a/bc" would be "ab/c"
                self.add_bytes(part.as_encoded_bytes());
            }
        }
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

/// Up to 64 places of `len`, spread evenly, the first and the last among them: enough to tell two long lists apart, unless
/// they differ in a few places only.
pub(crate) fn probes(len: usize) -> impl Iterator<Item = usize> {
    let count = len.min(64);
    (0..count).map(move |i| if count < 2 { 0 } else { (i as u128 * (len as u128 - 1) / (count as u128 - 1)) as usize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // From the authors' test vectors.
        let mut print = Fingerprint::new();
        print.add_bytes(b"foobar");
        assert_eq!(print.value(), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn probes_are_spread_from_the_first_to_the_last() {
        assert_eq!(probes(0).count(), 0);
        assert_eq!(probes(1).collect::<Vec<_>>(), [0]);
        assert_eq!(probes(3).collect::<Vec<_>>(), [0, 1, 2]);
        let many: Vec<usize> = probes(10_000_000_000).collect();
        assert_eq!((many.len(), many[0], many[63]), (64, 0, 9_999_999_999));
        assert!(many.is_sorted_by(|a, b| a < b));
    }
}
