//! What samples draw beside uniform numbers: normal, gamma, beta, Dirichlet.

#[cfg(feature = "vision")]
use std::f32::consts::TAU as TAU_F32;
use std::f64::consts::TAU;

use super::SampleRng;

impl SampleRng {
    /// Standard normal (Box and Muller, "A note on the generation of random normal deviates", 1958).
    pub fn normal(&mut self) -> f64 {
        // 1 - u is above 0, whose logarithm there is.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// Two that are independent, in single precision and with 24 random bits each, as torch draws its `float32`: for noise.
    #[cfg(feature = "vision")]
    pub(crate) fn normal_pair(&mut self) -> [f32; 2] {
        let mut uniform = || (self.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32);
        let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt();
        let (sin, cos) = (TAU_F32 * uniform()).sin_cos();
        [radius * cos, radius * sin]
    }

    /// Beta-distributed, in `[0, 1]`. With `alpha = beta = 1` it is uniform; the smaller both are, the nearer it is to 0 or 1.
    ///
    /// # Panics
    ///
    /// Unless both are finite and above 0.
    pub fn beta(&mut self, alpha: f64, beta: f64) -> f64 {
        let (x, y) = (self.ln_gamma(alpha), self.ln_gamma(beta));
        1.0 / (1.0 + (y - x).exp())
    }

    /// Fills `weights` with numbers that add up to 1, from the symmetric Dirichlet distribution.
    ///
    /// # Panics
    ///
    /// Unless `alpha` is finite and above 0.
    #[cfg(feature = "vision")]
    pub(crate) fn dirichlet(&mut self, alpha: f64, weights: &mut [f64]) {
        weights.iter_mut().for_each(|weight| *weight = self.ln_gamma(alpha));
        let largest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        weights.iter_mut().for_each(|weight| *weight = (*weight - largest).exp());
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }

    /// The logarithm of a gamma-distributed number (Marsaglia and Tsang, "A simple method for generating gamma
    /// variables", 2000). The logarithm, because for a small shape the number itself is often too small for a double.
    fn ln_gamma(&mut self, shape: f64) -> f64 {
        assert!(shape > 0.0 && shape.is_finite(), "the shape of a distribution is above 0, and {shape} is not");
        if shape < 1.0 {
            return self.ln_gamma(shape + 1.0) + (1.0 - self.uniform()).ln() / shape;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.uniform()).ln() < 0.5 * x * x + d * (1.0 - v + v.ln()) {
                return d.ln() + v.ln();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 40_000;

    /// Checks mean and variance of what is drawn. The bounds are five standard deviations: those of the mean are
    /// sqrt(variance / n), those of the variance sqrt((kurtosis - 1) / n) * variance.
    fn check(name: &str, mean: f64, variance: f64, kurtosis: f64, draw: &mut dyn FnMut() -> f64) {
        let n = DRAWS as f64;
        let drawn: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
        let found = drawn.iter().sum::<f64>() / n;
        assert!((found - mean).abs() < 5.0 * (variance / n).sqrt(), "mean of {name}: {found} instead of {mean}");
        let found = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let bound = 5.0 * ((kurtosis - 1.0) / n).sqrt() * variance;
        assert!((found - variance).abs() < bound, "variance of {name}: {found} instead of {variance}");
    }

    #[test]
    fn normal_numbers_have_their_moments_and_tails() {
        let rng = &mut SampleRng::new(1, 0, 0);
        check("normal", 0.0, 1.0, 3.0, &mut || rng.normal());
        // Beyond two standard deviations lie 4.55 %; five standard deviations of the count are 208.
        let tail = (0..DRAWS).filter(|_| rng.normal().abs() > 2.0).count();
        assert!(tail.abs_diff(1820) < 208, "{tail}");
    }

    #[test]
    #[cfg(feature = "vision")]
    fn pairs_of_normal_numbers_have_their_moments() {
        let rng = &mut SampleRng::new(6, 0, 0);
        check("first of a pair", 0.0, 1.0, 3.0, &mut || rng.normal_pair()[0].into());
        check("second of a pair", 0.0, 1.0, 3.0, &mut || rng.normal_pair()[1].into());
        // The two of a pair do not follow one another: their product has mean 0 and variance 1.
        let mut product = || rng.normal_pair().into_iter().map(f64::from).product();
        check("products", 0.0, 1.0, 9.0, &mut product);
    }

    #[test]
    fn gamma_numbers_have_their_moments() {
        let rng = &mut SampleRng::new(2, 0, 0);
        for shape in [0.2, 0.5, 1.0, 1.5, 8.0] {
            check(&format!("gamma {shape}"), shape, shape, 3.0 + 6.0 / shape, &mut || rng.ln_gamma(shape).exp());
        }
    }

    #[test]
    fn beta_numbers_have_their_moments_and_stay_in_range() {
        let rng = &mut SampleRng::new(3, 0, 0);
        for (a, b) in [(1.0, 1.0), (0.2, 0.2), (0.4, 0.4), (2.0, 2.0), (8.0, 8.0), (2.0, 0.5)] {
            let sum: f64 = a + b;
            let variance = a * b / (sum.powi(2) * (sum + 1.0));
            let excess =
                6.0 * ((a - b).powi(2) * (sum + 1.0) - a * b * (sum + 2.0)) / (a * b * (sum + 2.0) * (sum + 3.0));
            check(&format!("beta {a} {b}"), a / sum, variance, 3.0 + excess, &mut || {
                let drawn = rng.beta(a, b);
                assert!((0.0..=1.0).contains(&drawn), "{drawn}");
                drawn
            });
        }
        // With 1 and 1 it is uniform: a tenth in each tenth. Five standard deviations of the counts are 300.
        let mut tenths = [0_usize; 10];
        (0..DRAWS).for_each(|_| tenths[((rng.beta(1.0, 1.0) * 10.0) as usize).min(9)] += 1);
        assert!(tenths.iter().all(|count| count.abs_diff(4_000) < 300), "{tenths:?}");
    }

    #[test]
    fn a_tiny_shape_gives_zeros_and_ones_and_never_nan() {
        let rng = &mut SampleRng::new(4, 0, 0);
        let drawn: Vec<f64> = (0..1000).map(|_| rng.beta(1e-4, 1e-4)).collect();
        // Between the two lies one of 700: P(x < 1e-6) is about (1e-6)^a / 2.
        assert!(drawn.iter().filter(|&&x| !(1e-6..=1.0 - 1e-6).contains(&x)).count() > 980);
        // Five standard deviations of a binomial(1000, 1/2) are 79.
        assert!(drawn.iter().filter(|&&x| x < 0.5).count().abs_diff(500) < 79);
    }

    #[test]
    #[cfg(feature = "vision")]
    fn dirichlet_weights_add_up_to_one_and_have_the_moments_of_a_beta() {
        let rng = &mut SampleRng::new(5, 0, 0);
        let mut weights = [0.0; 3];
        // Of a symmetric Dirichlet distribution of three, one weight is Beta(a, 2a): for a = 1, mean 1/3, variance 1/18.
        check("dirichlet", 1.0 / 3.0, 1.0 / 18.0, 2.4, &mut || {
            rng.dirichlet(1.0, &mut weights);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12 && weights.iter().all(|&w| w >= 0.0));
            weights[2]
        });
    }

    #[test]
    #[should_panic(expected = "above 0")]
    fn a_shape_of_nothing_is_refused() {
        SampleRng::new(0, 0, 0).beta(0.0, 1.0);
    }
}
