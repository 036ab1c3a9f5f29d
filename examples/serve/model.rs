//! `Model`: what is asked about a batch of images.

mod mean_colour;
#[cfg(feature = "tch")]
mod torch;

pub use mean_colour::MeanColour;
#[cfg(feature = "tch")]
pub use torch::Torch;

use crate::job::Label;
use crate::store::Error;

pub trait Model: Send + Sync {
    /// For the answers.
    fn name(&self) -> &str;

    /// What it says of each image, the best label first. `images` is `[N, 3, side, side]`, normalised as ImageNet's.
    ///
    /// It may be called from several threads at a time.
    fn run(&self, images: &[f32], side: usize) -> Result<Vec<Vec<Label>>, Error>;
}
