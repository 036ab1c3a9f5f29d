//! torchvision's `RandomOrder`.

use super::{PassThrough, Transform, for_tuples};
use crate::error::Result;
use crate::rng::SampleRng;

/// Applies all transforms of a tuple, in an order drawn for each sample (`torchvision.transforms.v2.RandomOrder`).
///
/// Each must take what the others give.
///
/// ```
/// use sutler::transform::{RandomOrder, Transform};
/// use sutler::SampleRng;
///
/// let double = |x: i32, _: &mut SampleRng| Ok(2 * x);
/// let increment = |x: i32, _: &mut SampleRng| Ok(x + 1);
/// let result = RandomOrder::new((double, increment)).apply(5, &mut SampleRng::new(0, 0, 0))?;
/// assert!([11, 12].contains(&result));
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RandomOrder<T> {
    transforms: T,
}

impl<T> RandomOrder<T> {
    /// All of a tuple of up to eight.
    pub fn new(transforms: T) -> Self {
        RandomOrder { transforms }
    }
}

macro_rules! orders {
    ($($len:literal: ($first:ident $zero:tt $(, $other:ident $place:tt)*);)*) => {$(
        impl<S, O: Send, $first, $($other),*> Transform<S> for RandomOrder<($first, $($other,)*)>
        where
            S: PassThrough<O>,
            $first: Transform<S, Output = O> + Transform<O, Output = O>,
            $($other: Transform<O, Output = O>),*
        {
            type Output = O;

            fn apply(&self, sample: S, rng: &mut SampleRng) -> Result<O> {
                let mut order: [usize; $len] = std::array::from_fn(|place| place);
                rng.shuffle(&mut order);
                let mut sample: O = sample.pass_through()?;
                for place in order {
                    sample = match place {
                        $($place => self.transforms.$place.apply(sample, rng)?,)*
                        _ => self.transforms.$zero.apply(sample, rng)?,
                    };
                }
                Ok(sample)
            }
        }
    )*};
}

for_tuples! { orders }

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_order_comes_equally_often_and_has_all() {
        let append = |letter: char| move |text: String, _: &mut SampleRng| Ok(format!("{text}{letter}"));
        let order = RandomOrder::new((append('a'), append('b'), append('c')));
        let mut counts = BTreeMap::new();
        for index in 0..6_000 {
            *counts.entry(order.apply(String::new(), &mut SampleRng::new(0, 0, index)).unwrap()).or_insert(0_usize) +=
                1;
        }
        assert_eq!(counts.keys().collect::<Vec<_>>(), ["abc", "acb", "bac", "bca", "cab", "cba"]);
        // Five standard deviations of a binomial(6000, 1/6) are 144.
        assert!(counts.values().all(|count| count.abs_diff(1_000) < 144), "{counts:?}");
    }
}
