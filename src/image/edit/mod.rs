//! What can be done to pixels: methods of `Image`, with torchvision's names and Pillow's results.

mod alpha;
mod blend;
mod box_filter;
mod color;
mod crops;
mod fill;
mod filter;
mod flip;
mod hue;
mod lookup;
mod nearest;
mod pad;
mod resample;
mod sample;
mod warp;

pub use fill::Fill;
pub use pad::{Padding, PaddingMode};
pub use resample::{Interpolation, Resampling};
pub use warp::Warp;

/// Calls a function that is generic over the number of channels.
macro_rules! by_channels {
    ($channels:expr, $function:ident($($argument:expr),*)) => {
        match $channels {
            1 => $function::<1>($($argument),*),
            3 => $function::<3>($($argument),*),
            _ => $function::<4>($($argument),*),
        }
    };
}
use by_channels;

/// Those of a pixel that an image of `C` channels has.
fn channels<const C: usize>(pixel: [u8; 4]) -> [u8; C] {
    std::array::from_fn(|channel| pixel[channel])
}
