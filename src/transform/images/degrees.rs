//! `Degrees`: a range of angles to draw from.

use crate::rng::SampleRng;

/// A range of angles in degrees. A number stands for the range from its negative to it, a pair for (least, greatest), as
/// in torchvision.
///
/// # Panics
///
/// Making one of a negative number, of a pair in the wrong order, or of what is not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Degrees {
    least: f64,
    greatest: f64,
}

impl Degrees {
    pub(super) fn draw(self, rng: &mut SampleRng) -> f64 {
        rng.uniform_range(self.least, self.greatest)
    }
}

impl From<f64> for Degrees {
    fn from(most: f64) -> Self {
        Degrees::from((-most, most))
    }
}

impl From<(f64, f64)> for Degrees {
    fn from((least, greatest): (f64, f64)) -> Self {
        let ordered = least.is_finite() && greatest.is_finite() && least <= greatest;
        assert!(ordered, "degrees: from {least} to {greatest} is no range");
        Degrees { least, greatest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_range_about_zero() {
        assert_eq!(Degrees::from(30.0), Degrees::from((-30.0, 30.0)));
        let draws = (0..1000).map(|index| Degrees::from((-5.0, 20.0)).draw(&mut SampleRng::new(0, 0, index)));
        let (least, greatest) = draws.fold((0.0_f64, 0.0_f64), |(a, b), angle| (a.min(angle), b.max(angle)));
        assert!((-5.0..-4.8).contains(&least) && (19.8..20.0).contains(&greatest), "{least} to {greatest}");
    }

    #[test]
    #[should_panic(expected = "no range")]
    fn a_negative_number_is_refused() {
        let _ = Degrees::from(-30.0);
    }
}
