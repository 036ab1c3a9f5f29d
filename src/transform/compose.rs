//! A tuple of transforms: one after another (torchvision's `Compose`).

use super::Transform;
use crate::error::Result;
use crate::rng::SampleRng;

macro_rules! sequences {
    ($(($first:ident $(, $next:ident $place:tt after $before:ident)*; $last:ident))*) => {$(
        /// Transforms one after another: `torchvision.transforms.v2.Compose`.
        impl<S, $first: Transform<S>, $($next: Transform<$before::Output>),*> Transform<S> for ($first, $($next,)*) {
            type Output = $last::Output;

            fn apply(&self, sample: S, rng: &mut SampleRng) -> Result<Self::Output> {
                let sample = self.0.apply(sample, rng)?;
                $(let sample = self.$place.apply(sample, rng)?;)*
                Ok(sample)
            }
        }
    )*};
}

sequences! {
    (A; A)
    (A, B 1 after A; B)
    (A, B 1 after A, C 2 after B; C)
    (A, B 1 after A, C 2 after B, D 3 after C; D)
    (A, B 1 after A, C 2 after B, D 3 after C, E 4 after D; E)
    (A, B 1 after A, C 2 after B, D 3 after C, E 4 after D, F 5 after E; F)
    (A, B 1 after A, C 2 after B, D 3 after C, E 4 after D, F 5 after E, G 6 after F; G)
    (A, B 1 after A, C 2 after B, D 3 after C, E 4 after D, F 5 after E, G 6 after F, H 7 after G; H)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_does_one_after_another_and_all_draw_from_one_generator() {
        let append = |letter: char| {
            move |text: String, rng: &mut SampleRng| Ok(format!("{text}{letter}{}", rng.next_u32() % 1000))
        };
        let all =
            (append('a'), append('b'), append('c'), append('d'), append('e'), append('f'), append('g'), append('h'));
        let rng = &mut SampleRng::new(0, 0, 0);
        let expected =
            "abcdefgh".chars().map(|letter| format!("{letter}{}", rng.next_u32() % 1000)).collect::<String>();
        assert_eq!(all.apply(String::new(), &mut SampleRng::new(0, 0, 0)).unwrap(), expected);
    }

    #[test]
    fn types_may_change_on_the_way_and_an_error_ends_it() {
        let parse = |text: &str, _: &mut SampleRng| text.parse::<u8>().map_err(crate::Error::other);
        let chain = ((parse,), |number: u8, _: &mut SampleRng| Ok(f32::from(number) / 2.0));
        assert_eq!(chain.apply("7", &mut SampleRng::new(0, 0, 0)).unwrap(), 3.5);
        assert!(chain.apply("seven", &mut SampleRng::new(0, 0, 0)).is_err());
    }
}
