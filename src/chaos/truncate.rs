//! `Truncate`: how a sample is cut short.

use crate::error::Result;
#[cfg(feature = "vision")]
use crate::image::LazyImage;

/// A sample whose bytes can be cut short: bytes, text, with feature `vision` the file of a
/// [`LazyImage`](crate::image::LazyImage); and a tuple of two to four that begins with one, such as `(image, label)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no bytes that could be cut short",
    note = "`truncations` is for bytes, text, image files, and tuples that begin with one; `Truncate` can be implemented"
)]
pub trait Truncate: Sized {
    /// What is left of it when the first `keep` of its bytes are kept, a fraction in `[0, 1)`. It is rounded down, so
    /// that something is lost of whatever is not empty.
    ///
    /// # Errors
    ///
    /// If what is left is seen at once not to be a sample.
    fn cut_short(self, keep: f64) -> Result<Self>;
}

/// What a [`Chaos`](super::Chaos) does with samples that are to be cut short: [`Truncating`] cuts them, and [`Whole`]
/// has none.
pub trait Cut<S>: Send + Sync {
    /// What is left of a sample; see [`Truncate::cut_short`].
    ///
    /// # Errors
    ///
    /// As there.
    fn cut(&self, sample: S, keep: f64) -> Result<S>;
}

/// Samples of any kind, which are never cut.
#[derive(Clone, Copy, Debug)]
pub struct Whole;

/// Samples that are [`Truncate`]: what [`truncations`](super::Chaos::truncations) makes of a [`Chaos`](super::Chaos).
#[derive(Clone, Copy, Debug)]
pub struct Truncating;

impl<S> Cut<S> for Whole {
    fn cut(&self, sample: S, _keep: f64) -> Result<S> {
        Ok(sample)
    }
}

impl<S: Truncate> Cut<S> for Truncating {
    fn cut(&self, sample: S, keep: f64) -> Result<S> {
        sample.cut_short(keep)
    }
}

/// How many bytes are kept of `len`.
fn kept(len: usize, keep: f64) -> usize {
    // Never all of it, whatever is asked for.
    ((len as f64 * keep) as usize).min(len.saturating_sub(1))
}

impl Truncate for Vec<u8> {
    fn cut_short(mut self, keep: f64) -> Result<Self> {
        self.truncate(kept(self.len(), keep));
        Ok(self)
    }
}

impl Truncate for Box<[u8]> {
    fn cut_short(self, keep: f64) -> Result<Self> {
        Ok(self.into_vec().cut_short(keep)?.into_boxed_slice())
    }
}

/// Kept are whole characters.
impl Truncate for String {
    fn cut_short(mut self, keep: f64) -> Result<Self> {
        let most = kept(self.len(), keep);
        let end = (0..=most).rev().find(|&end| self.is_char_boundary(end)).unwrap_or(0);
        self.truncate(end);
        Ok(self)
    }
}

/// Fails if what is left of the file has no header.
#[cfg(feature = "vision")]
impl Truncate for LazyImage {
    fn cut_short(self, keep: f64) -> Result<Self> {
        self.truncated(|len| kept(len, keep))
    }
}

macro_rules! tuples_that_begin_with_one {
    ($(($($rest:ident)*))*) => {$(
        #[allow(non_snake_case, reason = "a field is called as its type")]
        impl<S: Truncate, $($rest),*> Truncate for (S, $($rest),*) {
            fn cut_short(self, keep: f64) -> Result<Self> {
                let (first, $($rest),*) = self;
                Ok((first.cut_short(keep)?, $($rest),*))
            }
        }
    )*};
}

tuples_that_begin_with_one!((A) (A B) (A B C));

#[cfg(test)]
mod tests {
    use super::*;

    const ALMOST: f64 = 1.0 - f64::EPSILON / 2.0;

    #[test]
    fn what_is_kept_is_the_fraction_rounded_down_and_never_all() {
        let cut = |len: usize, keep| (0..len as u8).collect::<Vec<u8>>().cut_short(keep).unwrap();
        assert!(cut(10, 0.0).is_empty());
        assert_eq!(cut(10, 0.39), [0, 1, 2]);
        assert_eq!((cut(10, ALMOST).len(), cut(10, 1.0).len()), (9, 9));
        assert_eq!((cut(1, ALMOST), cut(0, ALMOST)), (vec![], vec![]));
        let boxed: Box<[u8]> = Box::new([1, 2, 3, 4]);
        assert_eq!(*boxed.cut_short(0.5).unwrap(), [1, 2]);
    }

    #[test]
    fn text_is_cut_between_characters() {
        let cut = |text: &str, keep| text.to_string().cut_short(keep).unwrap();
        assert_eq!(cut("täglich", 0.26), "t"); // two of eight bytes, the second of them half an ä
        assert_eq!(cut("täglich", 0.4), "tä");
        assert_eq!((cut("ä", ALMOST), cut("", ALMOST)), (String::new(), String::new()));
    }

    #[test]
    fn of_a_tuple_the_first_is_cut_and_the_others_pass() {
        let sample = (vec![1, 2, 3, 4], 5, "six", [7]);
        assert_eq!(sample.clone().cut_short(0.5).unwrap(), (vec![1, 2], 5, "six", [7]));
        assert_eq!(((vec![1, 2], "a".to_string()), 5).cut_short(0.5).unwrap(), ((vec![1], "a".to_string()), 5));
    }
}
