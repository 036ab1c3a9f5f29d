//! Rectangles of an image tensor that are erased when it is written.

use crate::image::geometry::inside;
use crate::image::{Layout, Rect, Size};
use crate::memory::{Element, from_f32};
use crate::rng::SampleRng;

/// A rectangle, and what is written there instead of the image.
#[derive(Clone, Debug)]
pub(super) struct Erased<T> {
    pub(super) rect: Rect,
    pub(super) with: With<T>,
}

#[derive(Clone, Debug)]
pub(super) enum With<T> {
    /// A value a channel.
    Values([T; 4]),
    /// Standard normal numbers. Each write draws the same.
    Noise(SampleRng),
}

impl<T: Element> Erased<T> {
    /// Overwrites the rectangle, as far as it lies inside the image.
    pub(super) fn write(&self, out: &mut [T], channels: usize, size: Size, layout: Layout) {
        let rows = inside(self.rect.top, self.rect.height, size.height);
        let columns = inside(self.rect.left, self.rect.width, size.width);
        if columns.is_empty() {
            return;
        }
        // How far it is to the next channel, row and pixel.
        let [channel, row, pixel] = match layout {
            Layout::ChannelsFirst => [size.height * size.width, size.width, 1],
            Layout::ChannelsLast => [1, size.width * channels, channels],
        };
        // The same order for both layouts, so that the noise is the same.
        let places = (0..channels).flat_map(|c| rows.clone().map(move |y| (c, c * channel + y * row)));
        let places = places.map(|(c, start)| (c, start + columns.start * pixel));
        match &self.with {
            With::Values(values) => {
                for (c, start) in places {
                    out[start..].iter_mut().step_by(pixel).take(columns.len()).for_each(|value| *value = values[c]);
                }
            }
            With::Noise(rng) => {
                let mut rng = rng.clone();
                let mut noise = std::iter::repeat_with(|| rng.normal_pair()).flatten();
                for (_, start) in places {
                    for (value, noise) in out[start..].iter_mut().step_by(pixel).take(columns.len()).zip(&mut noise) {
                        *value = from_f32(noise);
                    }
                }
            }
        }
    }
}
