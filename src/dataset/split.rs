//! torch's `random_split`, in torch's order.
//!
//! The rules are those of `random_split` in `torch/utils/data/dataset.py` (torch 2.11).

use crate::error::{Error, ErrorKind, Result};
use crate::rng::Generator;

/// How [`Dataset::random_split`](crate::Dataset::random_split) cuts a dataset: an array or a `Vec` of lengths (`usize`), or
/// of fractions (`f64`).
pub trait SplitLengths: sealed::Sealed {
    /// As many parts as there are lengths: `[T; N]` for an array, `Vec<T>` for a `Vec`.
    type Parts<T>;

    /// The lengths of the parts of `len` samples.
    #[doc(hidden)]
    fn lengths(&self, len: usize) -> Result<Vec<usize>>;

    #[doc(hidden)]
    fn parts<T>(parts: Vec<T>) -> Self::Parts<T>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! split_lengths {
    ($($number:ty, $lengths:ident;)*) => {$(
        impl<const N: usize> sealed::Sealed for [$number; N] {}
        impl sealed::Sealed for Vec<$number> {}

        impl<const N: usize> SplitLengths for [$number; N] {
            type Parts<T> = [T; N];

            fn lengths(&self, len: usize) -> Result<Vec<usize>> {
                $lengths(self, len)
            }

            fn parts<T>(parts: Vec<T>) -> [T; N] {
                match parts.try_into() {
                    Ok(parts) => parts,
                    Err(_) => unreachable!("one part for each length"),
                }
            }
        }

        impl SplitLengths for Vec<$number> {
            type Parts<T> = Vec<T>;

            fn lengths(&self, len: usize) -> Result<Vec<usize>> {
                $lengths(self, len)
            }

            fn parts<T>(parts: Vec<T>) -> Vec<T> {
                parts
            }
        }
    )*};
}

split_lengths! {
    usize, by_lengths;
    f64, by_fractions;
}

fn refuse<T>(problem: String) -> Result<T> {
    Err(Error::new(ErrorKind::Config, problem))
}

fn by_lengths(lengths: &[usize], len: usize) -> Result<Vec<usize>> {
    let sum = lengths.iter().try_fold(0_usize, |sum, &length| sum.checked_add(length));
    if sum != Some(len) {
        return refuse(format!("the lengths {lengths:?} do not add up to the {len} samples of the dataset"));
    }
    Ok(lengths.to_vec())
}

/// The floor of each fraction of the samples; what is left over goes to the first parts, one sample each in turn.
fn by_fractions(fractions: &[f64], len: usize) -> Result<Vec<usize>> {
    if let Some(at) = fractions.iter().position(|fraction| !(0.0..=1.0).contains(fraction)) {
        return refuse(format!("fraction {at} is {}: fractions are from 0 to 1", fractions[at]));
    }
    let sum: f64 = fractions.iter().sum();
    // The tolerance is that of Python's math.isclose. torch refuses a sum that rounding left a little above 1.
    let mut lengths: Vec<usize> = fractions.iter().map(|fraction| (len as f64 * fraction).floor() as usize).collect();
    match len.checked_sub(lengths.iter().sum()) {
        Some(left) if (sum - 1.0).abs() <= 1e-9 => {
            let parts = lengths.len();
            (0..left).for_each(|i| lengths[i % parts] += 1);
            Ok(lengths)
        }
        _ => refuse(format!("the fractions {fractions:?} add up to {sum}, not to 1")),
    }
}

/// The indices of each part, in the order in which torch draws them.
pub(super) fn random_split(len: usize, lengths: &[usize], generator: &mut Generator) -> Vec<Vec<usize>> {
    let permutation = generator.randperm(len);
    let mut rest = &permutation[..];
    lengths
        .iter()
        .map(|&length| {
            let (part, next) = rest.split_at(length);
            rest = next;
            part.to_vec()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_rounded_down_and_the_first_parts_get_the_rest() {
        assert_eq!(by_fractions(&[0.3, 0.3, 0.4], 31).unwrap(), [10, 9, 12]);
        assert_eq!(by_fractions(&[0.5, 0.5], 1).unwrap(), [1, 0]);
        assert_eq!(by_fractions(&[0.1; 10], 9).unwrap(), [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn lengths_that_do_not_cover_the_dataset_are_refused() {
        assert_eq!(
            by_lengths(&[3, 4], 8).unwrap_err().to_string(),
            "the lengths [3, 4] do not add up to the 8 samples of the dataset"
        );
        assert!(by_lengths(&[usize::MAX, 2], 1).is_err());
        assert_eq!(
            by_fractions(&[0.5, 0.4], 8).unwrap_err().to_string(),
            "the fractions [0.5, 0.4] add up to 0.9, not to 1"
        );
        assert!(by_fractions(&[1.5, -0.5], 8).unwrap_err().to_string().starts_with("fraction 0 is 1.5"));
        assert!(by_fractions(&[f64::NAN], 8).is_err());
        assert!(by_fractions(&[], 8).is_err());
    }
}
