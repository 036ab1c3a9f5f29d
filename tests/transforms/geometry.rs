//! Where pixels go.

use sutler::image::Image;

use super::{Check, EXACT};

pub(super) const CHECKS: &[Check] = &[("hflip", |image, _| Ok(flipped(image).into()), EXACT)];

fn flipped(image: &Image) -> Image {
    let mut image = image.clone();
    image.flip_horizontal();
    image
}
