//! `ImageTensor`: an image on its way into a batch.

use std::sync::Arc;

use super::layout::write;
use super::{Image, Layout};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{Element, Shape};

/// An image that becomes a tensor when it is written into its batch: what
/// [`ToTensor`](crate::transform::ToTensor) makes. `[C, H, W]`, or `[H, W, C]` if its [`Layout`] is `ChannelsLast`.
///
/// The conversion from interleaved bytes to values of `T` happens in that write, so the tensor never exists anywhere
/// else. To look at one outside of a loader, use [`to_vec`](ImageTensor::to_vec).
#[derive(Clone, Debug)]
pub struct ImageTensor<T> {
    image: Image,
    /// What each byte becomes, a table a channel, or one for all. Bytes stay what they are: their tables are not used.
    tables: Arc<[[T; 256]]>,
    layout: Layout,
}

impl<T: Element> ImageTensor<T> {
    pub(crate) fn new(image: Image, tables: Arc<[[T; 256]]>, layout: Layout) -> Result<Self> {
        if tables.len() != 1 && tables.len() != image.channels() {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot normalise an image of {} channels with {} means and deviations: give one for each channel",
                    image.channels(),
                    tables.len()
                ),
            ));
        }
        Ok(ImageTensor { image, tables, layout })
    }

    /// `[C, H, W]`, or `[H, W, C]`.
    pub fn shape(&self) -> Shape {
        let (channels, height, width) = (self.image.channels(), self.image.height(), self.image.width());
        match self.layout {
            Layout::ChannelsFirst => [channels, height, width].into(),
            Layout::ChannelsLast => [height, width, channels].into(),
        }
    }

    /// Which way the values lie.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Writes the values in C order.
    ///
    /// # Panics
    ///
    /// If `out` does not have `C * H * W` values.
    pub fn write_to(&self, out: &mut [T]) {
        let pixels = self.image.pixels();
        assert_eq!(out.len(), pixels.len(), "a tensor of shape {:?} has {} values", self.shape(), pixels.len());
        let table = |channel: usize| &self.tables[if self.tables.len() == 1 { 0 } else { channel }];
        match self.image.channels() {
            1 => write(pixels, out, [table(0)], self.layout),
            3 => write(pixels, out, [0, 1, 2].map(table), self.layout),
            _ => write(pixels, out, [0, 1, 2, 3].map(table), self.layout),
        }
    }

    /// The values in C order.
    pub fn to_vec(&self) -> Vec<T> {
        let mut values = vec![self.tables[0][0]; self.image.pixels().len()];
        self.write_to(&mut values);
        values
    }
}

/// The means and standard deviations to normalise with, a pair a channel, of values in `[0, 1]`
/// (`torchvision.transforms.v2.Normalize`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalize<const C: usize> {
    /// Is subtracted from each value.
    pub mean: [f32; C],
    /// Each difference is divided by it.
    pub std: [f32; C],
}

impl Normalize<3> {
    /// The values that torchvision's ImageNet models are trained with.
    pub const IMAGENET: Self = Normalize { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_number_of_means_is_an_error() {
        let image = Image::new((1, 1), 1, vec![0]).unwrap();
        let error = ImageTensor::new(image, vec![[0_f32; 256]; 3].into(), Layout::ChannelsFirst).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
