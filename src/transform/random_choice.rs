//! torchvision's `RandomChoice`.

use super::{Transform, for_tuples};
use crate::error::Result;
use crate::rng::SampleRng;

/// One of several, drawn for each sample: of transforms for a sample, or of collates for a batch
/// (`torchvision.transforms.v2.RandomChoice`).
///
/// A tuple of up to eight, which must all give the same type.
///
/// ```
/// # #[cfg(feature = "vision")]
/// # fn main() -> sutler::Result<()> {
/// use sutler::transform::{CenterCrop, RandomChoice, RandomResizedCrop};
/// use sutler::{Dataset, ImageFolder, SampleRng};
///
/// let crop = RandomChoice::new((RandomResizedCrop::new(64), CenterCrop::new(64))).p([3.0, 1.0]);
/// let train = ImageFolder::open("fixtures/shapes/train")?.map(crop);
/// assert_eq!(train.get(0, &mut SampleRng::new(0, 0, 0))?.0.size(), 64.into());
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "vision"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct RandomChoice<T> {
    pub(crate) choices: T,
    /// None means that all are equally likely.
    weights: Option<Vec<f64>>,
}

impl<T> RandomChoice<T> {
    /// Each equally likely.
    pub fn new(choices: T) -> Self {
        RandomChoice { choices, weights: None }
    }

    /// # Panics
    ///
    /// Unless the weights are finite, not negative, and not all 0.
    fn weighted(self, weights: Vec<f64>) -> Self {
        let sum: f64 = weights.iter().sum();
        assert!(
            sum.is_finite() && sum > 0.0 && weights.iter().all(|&weight| weight >= 0.0),
            "weights are finite, not negative and not all 0, and {weights:?} are not"
        );
        RandomChoice { weights: Some(weights), ..self }
    }

    /// Draws one of `len`.
    pub(crate) fn draw(&self, len: usize, rng: &mut SampleRng) -> usize {
        let Some(weights) = &self.weights else { return rng.below(len as u32) as usize };
        let mut left = rng.uniform() * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave something at the end; then it is the last that can be drawn at all.
        chosen.or_else(|| weights.iter().rposition(|&weight| weight > 0.0)).expect("not all weights are 0")
    }
}

macro_rules! choices {
    ($($len:literal: ($first:ident $zero:tt $(, $other:ident $place:tt)*);)*) => {$(
        impl<$first, $($other),*> RandomChoice<($first, $($other,)*)> {
            /// How likely each is. The weights need not add up to 1.
            ///
            /// # Panics
            ///
            /// Unless the weights are finite, not negative, and not all 0.
            pub fn p(self, weights: [f64; $len]) -> Self {
                self.weighted(weights.into())
            }
        }

        impl<S, $first: Transform<S>, $($other: Transform<S, Output = $first::Output>),*> Transform<S>
            for RandomChoice<($first, $($other,)*)>
        {
            type Output = $first::Output;

            fn apply(&self, sample: S, rng: &mut SampleRng) -> Result<Self::Output> {
                match self.draw($len, rng) {
                    $($place => self.choices.$place.apply(sample, rng),)*
                    _ => self.choices.$zero.apply(sample, rng),
                }
            }
        }
    )*};
}

for_tuples! { choices }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_drawn_as_often_as_its_weight_says() {
        let is = |number: usize| move |(): (), _: &mut SampleRng| Ok(number);
        let choice = RandomChoice::new((is(0), is(1), is(2)));
        let draw = |choice: &RandomChoice<_>| {
            let mut counts = [0_usize; 3];
            for index in 0..9_000 {
                counts[choice.apply((), &mut SampleRng::new(0, 0, index)).unwrap()] += 1;
            }
            counts
        };
        // Five standard deviations of a binomial(9000, 1/3) are 224.
        assert!(draw(&choice).iter().all(|count| count.abs_diff(3_000) < 224));
        let [first, never, last] = draw(&choice.clone().p([1.0, 0.0, 3.0]));
        // Five standard deviations of a binomial(9000, 1/4) are 206.
        assert!(first.abs_diff(2_250) < 206 && never == 0 && first + last == 9_000, "{first} {never} {last}");
        assert_eq!(draw(&choice.p([0.0, 1e-300, 0.0])), [0, 9_000, 0]);
    }

    #[test]
    #[should_panic(expected = "not all 0")]
    fn weights_that_let_nothing_be_drawn_are_refused() {
        let _ = RandomChoice::new(("either", "or")).p([0.0, 0.0]);
    }
}
