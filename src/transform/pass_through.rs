//! `PassThrough`: a sample that a transform is spared.

use crate::error::Result;
#[cfg(feature = "vision")]
use crate::image::{Image, LazyImage};

/// A sample that can go on as an `O`, with nothing done to it: what [`RandomApply`](super::RandomApply) does when it does
/// not apply its transform. Every sample goes on as itself, and a lazy image, which most transforms make an `Image` of,
/// also as that.
pub trait PassThrough<O> {
    /// The sample, as the transform that is left out would give it.
    ///
    /// # Errors
    ///
    /// If it cannot be decoded.
    fn pass_through(self) -> Result<O>;
}

impl<S> PassThrough<S> for S {
    fn pass_through(self) -> Result<S> {
        Ok(self)
    }
}

#[cfg(feature = "vision")]
impl PassThrough<Image> for LazyImage {
    fn pass_through(self) -> Result<Image> {
        self.decode()
    }
}

#[cfg(feature = "vision")]
impl<L> PassThrough<(Image, L)> for (LazyImage, L) {
    fn pass_through(self) -> Result<(Image, L)> {
        Ok((self.0.decode()?, self.1))
    }
}
