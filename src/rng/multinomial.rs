//! torch's `multinomial`, which its `WeightedRandomSampler` is made of.
//!
//! The rules are those of `multinomial_out` in `aten/src/ATen/native/Distributions.cpp` and of
//! `cpu/MultinomialKernel.cpp` (torch 2.11), for weights in double precision.

use super::Generator;
use super::topk::largest;
use crate::error::{Error, ErrorKind, Result};

/// torch's limit on the number of weights: `float32_max_consecutive_int`.
const MOST_WEIGHTS: usize = 1 << 24;

impl Generator {
    /// `torch.multinomial(weights, num_samples, replacement)` of float64 weights: draws indices, each as likely as its
    /// weight is large. The weights need not add up to 1.
    ///
    /// ```
    /// use sutler::Generator;
    ///
    /// let drawn = Generator::manual_seed(0).multinomial(&[0.0, 1.0, 3.0], 5, true)?;
    /// assert!(drawn.iter().all(|&index| index > 0)); // a weight of 0 is never drawn
    /// # Ok::<(), sutler::Error>(())
    /// ```
    ///
    /// Without replacement, indices of weight 0 come after all others, if so many are drawn, in whatever order torch's
    /// sorting leaves them. Draws then go through the logarithm (`log1p`) of the system's C library, as in torch: where
    /// two libraries differ in its last bit, indices whose keys are that close may change places.
    ///
    /// # Errors
    ///
    /// As in torch, if there are no weights, or more than 2^24, one is negative or not finite, all are 0, or more are to
    /// be drawn without replacement than there are weights. Unlike in torch, also if the sum of the weights is more than a
    /// double can hold: torch goes on, and with replacement draws by other weights than it was given. Unlike in torch,
    /// `num_samples` may be 0.
    pub fn multinomial(&mut self, weights: &[f64], num_samples: usize, replacement: bool) -> Result<Vec<usize>> {
        check(weights, num_samples, replacement)?;
        Ok(match (num_samples, replacement) {
            (0, _) => Vec::new(),
            // torch takes the way without replacement for a single draw.
            (2.., true) => self.with_replacement(weights, num_samples),
            _ => self.without_replacement(weights, num_samples),
        })
    }

    /// Draws what [`multinomial`](Generator::multinomial) of `len` weights would draw, and forgets it.
    pub(crate) fn skip_multinomial(&mut self, len: usize, num_samples: usize, replacement: bool) {
        self.skip(match (num_samples, replacement) {
            (0, _) => 0,
            (2.., true) => 2 * num_samples,
            _ => 2 * len,
        });
    }

    /// Draws from the cumulative distribution by binary search.
    fn with_replacement(&mut self, weights: &[f64], num_samples: usize) -> Vec<usize> {
        let mut cumulative: Vec<f64> = Vec::with_capacity(weights.len());
        let mut sum = 0.0;
        cumulative.extend(weights.iter().map(|weight| {
            sum += weight;
            sum
        }));
        cumulative.iter_mut().for_each(|value| *value /= sum);
        // Rounding may have left it below 1, and a draw beyond it.
        cumulative[weights.len() - 1] = 1.0;
        (0..num_samples)
            .map(|_| {
                let drawn = self.uniform();
                cumulative.partition_point(|&value| value < drawn)
            })
            .collect()
    }

    /// The largest of `weight / e`, where e is exponentially distributed (Efraimidis and Spirakis, 2006).
    fn without_replacement(&mut self, weights: &[f64], num_samples: usize) -> Vec<usize> {
        // A uniform draw of exactly 0 makes the key infinite, or for a weight of 0 NaN, which comes before all, as in torch.
        largest(weights.iter().map(|weight| weight / -(-self.uniform()).ln_1p()), num_samples)
    }
}

/// Whether `num_samples` can be drawn from `weights`.
pub(crate) fn check(weights: &[f64], num_samples: usize, replacement: bool) -> Result<()> {
    let refuse = |problem: String| Err(Error::new(ErrorKind::Config, problem));
    if weights.is_empty() || weights.len() > MOST_WEIGHTS {
        return refuse(format!("{} weights, but it takes 1 to {MOST_WEIGHTS} (2^24, torch's limit)", weights.len()));
    }
    if let Some(at) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        return refuse(format!("weight {at} is {}: weights are finite and not negative", weights[at]));
    }
    if weights.iter().all(|&weight| weight == 0.0) {
        return refuse(format!("all {} weights are 0: nothing can be drawn", weights.len()));
    }
    if !replacement && num_samples > weights.len() {
        return refuse(format!(
            "{num_samples} samples without replacement, but only {} weights: draw fewer, or with replacement",
            weights.len()
        ));
    }
    if !weights.iter().sum::<f64>().is_finite() {
        return refuse("the sum of the weights is not finite: scale them down".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_drawn_is_refused_with_the_reason() {
        let refused = |weights: &[f64], num_samples, replacement| {
            let drawn = Generator::manual_seed(0).multinomial(weights, num_samples, replacement);
            drawn.unwrap_err().to_string()
        };
        assert_eq!(refused(&[], 1, true), "0 weights, but it takes 1 to 16777216 (2^24, torch's limit)");
        assert_eq!(refused(&[1.0, -0.5], 1, true), "weight 1 is -0.5: weights are finite and not negative");
        assert_eq!(refused(&[f64::NAN], 1, true), "weight 0 is NaN: weights are finite and not negative");
        assert_eq!(refused(&[0.0, 0.0], 1, true), "all 2 weights are 0: nothing can be drawn");
        assert_eq!(
            refused(&[0.0, 1.0], 3, false),
            "3 samples without replacement, but only 2 weights: draw fewer, or with replacement"
        );
        assert!(refused(&[f64::MAX, f64::MAX], 2, true).starts_with("the sum of the weights is not finite"));
    }

    #[test]
    fn without_replacement_each_comes_once_and_zero_weights_last() {
        let weights: Vec<f64> = (0..100).map(|i| f64::from(i % 10)).collect();
        for num_samples in [90, 95, 100] {
            let mut drawn = Generator::manual_seed(1).multinomial(&weights, num_samples, false).unwrap();
            assert_eq!(drawn.len(), num_samples);
            let rest = drawn.split_off(90);
            drawn.sort_unstable();
            assert_eq!(drawn, (0..100).filter(|i| i % 10 > 0).collect::<Vec<_>>());
            assert!(rest.iter().all(|index| index % 10 == 0));
        }
    }
}
