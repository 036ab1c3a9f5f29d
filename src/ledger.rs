//! `Ledger`: proves after the fact that every sample was seen exactly once.

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// What was seen, as a count and a sum of hashes: enough to prove that every sample was seen exactly once, by any number
/// of ranks in any order, over any number of interruptions.
///
/// Each rank keeps one, a few operations a sample; added up, they are compared with what should have been. A ledger is a
/// short line of text, so that ranks can print theirs.
///
/// ```
/// use sutler::Ledger;
///
/// let mut ledger = Ledger::default();
/// ledger.extend([2, 0]); // one rank
/// ledger += [1, 3].into_iter().collect::<Ledger>(); // another
/// ledger.verify(4)?; // each of 0..4 exactly once
/// ledger.record(3);
/// assert!(ledger.verify(4).is_err());
/// # Ok::<(), sutler::Error>(())
/// ```
///
/// An order without its padding is what [`Epoch::indices`](crate::Epoch::indices) gives less the last
/// [`Epoch::padding`](crate::Epoch::padding).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    count: u64,
    /// A sum does not depend on the order, and unlike an exclusive or it sees what comes twice.
    sum: u128,
}

impl Ledger {
    /// Enters sample `index` once.
    #[inline]
    pub fn record(&mut self, index: usize) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.wrapping_add(hash(index as u64));
    }

    /// How many samples were entered.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether this is each of `0..len` exactly once. Another collection of samples passes with a probability of about
    /// 2^-128.
    ///
    /// # Errors
    ///
    /// If it is not, with the counts.
    pub fn verify(&self, len: usize) -> Result<()> {
        if self.count != len as u64 {
            return Err(Error::new(
                ErrorKind::State,
                format!("{} samples were seen, and the dataset has {len}", self.count),
            ));
        }
        if *self != (0..len).collect() {
            return Err(Error::new(
                ErrorKind::State,
                format!("{len} samples were seen, as many as there are, but some more than once and others not at all"),
            ));
        }
        Ok(())
    }
}

/// 128 bits that depend on the index alone: two rounds of a 64-bit multiply, both halves kept.
fn hash(index: u64) -> u128 {
    let mixed = u128::from(index ^ 0x9e37_79b9_7f4a_7c15) * 0xda94_2042_e4dd_58b5;
    let folded = (mixed >> 64) as u64 ^ mixed as u64;
    let low = u128::from(folded ^ index) * 0xd1b5_4a32_d192_ed03;
    low ^ (u128::from(folded.rotate_left(32)) << 64)
}

impl Extend<usize> for Ledger {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, indices: I) {
        indices.into_iter().for_each(|index| self.record(index));
    }
}

impl FromIterator<usize> for Ledger {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        let mut ledger = Ledger::default();
        ledger.extend(indices);
        ledger
    }
}

/// What both have seen.
impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Ledger) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

impl std::iter::Sum for Ledger {
    fn sum<I: Iterator<Item = Ledger>>(ledgers: I) -> Self {
        ledgers.fold(Ledger::default(), |mut all, one| {
            all += one;
            all
        })
    }
}

/// `sutler-ledger-1 500 0123456789abcdef0123456789abcdef`
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sutler-ledger-1 {} {:032x}", self.count, self.sum)
    }
}

impl FromStr for Ledger {
    type Err = Error;

    /// # Errors
    ///
    /// If the text is not a ledger of this version.
    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.trim_end().split(' ');
        let parsed = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("sutler-ledger-1"), Some(count), Some(sum), None) if sum.len() == 32 && !sum.starts_with('+') => {
                count.parse().ok().zip(u128::from_str_radix(sum, 16).ok())
            }
            _ => None,
        };
        match parsed {
            Some((count, sum)) => Ok(Ledger { count, sum }),
            None => {
                Err(Error::new(ErrorKind::State, "not a ledger: it starts with sutler-ledger-1, a count and a sum"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_missing_doubled_or_swapped_is_found() {
        let of = |indices: &[usize]| indices.iter().copied().collect::<Ledger>();
        of(&[3, 1, 0, 2]).verify(4).unwrap();
        assert_eq!(of(&[0, 1, 2]).verify(4).unwrap_err().to_string(), "3 samples were seen, and the dataset has 4");
        for wrong in [[0, 1, 2, 2], [0, 1, 2, 4], [0, 0, 3, 3], [1, 1, 1, 3]] {
            let error = of(&wrong).verify(4).unwrap_err().to_string();
            assert!(error.starts_with("4 samples were seen, as many as there are, but some more than once"), "{error}");
        }
    }

    #[test]
    fn ledgers_add_up_whatever_was_seen_where() {
        let ranks = (0..7).map(|rank| (rank..1000).step_by(7).rev().collect::<Ledger>());
        let all: Ledger = ranks.map(|ledger| ledger.to_string().parse::<Ledger>().unwrap()).sum();
        all.verify(1000).unwrap();
    }

    #[test]
    fn what_is_not_a_ledger_is_refused() {
        for text in ["", "sutler-ledger-1 3", "sutler-ledger-2 0 0", "sutler-ledger-1 0 1", "sutler-ledger-1 x 0"] {
            assert_eq!(text.parse::<Ledger>().unwrap_err().kind(), ErrorKind::State, "{text}");
        }
    }

    #[test]
    fn hashes_of_small_indices_do_not_collide_in_either_half() {
        let halves = |half: fn(u128) -> u64| {
            let mut seen: Vec<u64> = (0..100_000).map(|index| half(hash(index))).collect();
            seen.sort_unstable();
            seen.dedup();
            seen.len()
        };
        assert_eq!((halves(|h| h as u64), halves(|h| (h >> 64) as u64)), (100_000, 100_000));
    }
}
