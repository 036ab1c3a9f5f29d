//! `ImageTensor`: an image on its way into a batch.

mod erased;
mod layout;

use std::sync::Arc;

pub use layout::Layout;

use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Rect, Size};
use crate::memory::{Element, Shape, from_f32};
use crate::rng::SampleRng;
use erased::{Erased, With};
use layout::write;

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
    erased: Vec<Erased<T>>,
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
        Ok(ImageTensor { image, tables, layout, erased: Vec::new() })
    }

    /// `[C, H, W]`, or `[H, W, C]`.
    pub fn shape(&self) -> Shape {
        let (channels, height, width) = (self.image.channels(), self.image.height(), self.image.width());
        match self.layout {
            Layout::ChannelsFirst => [channels, height, width].into(),
            Layout::ChannelsLast => [height, width, channels].into(),
        }
    }

    /// Height and width of the image.
    pub fn size(&self) -> Size {
        self.image.size()
    }

    /// Which way the values lie.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Overwrites the values inside `rect`, as far as it lies inside the image, with one for all channels or one a channel,
    /// in the unit of the tensor: behind normalising (`torchvision.transforms.v2.functional.erase`). In a tensor of bytes,
    /// what is behind the point is cut off.
    ///
    /// # Errors
    ///
    /// If the values are for another number of channels.
    pub fn erase(&mut self, rect: Rect, values: &[f32]) -> Result<()> {
        let channels = self.image.channels();
        if ![1, channels].contains(&values.len()) {
            let text = format!(
                "cannot erase a part of an image of {channels} channels with {} values: give one, or one a channel",
                values.len()
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        let values = std::array::from_fn(|channel| from_f32(values[channel.min(values.len() - 1)]));
        self.erased.push(Erased { rect, with: With::Values(values) });
        Ok(())
    }

    /// Overwrites the values inside `rect`, as far as it lies inside the image, with standard normal noise drawn from `rng`.
    pub fn erase_with_noise(&mut self, rect: Rect, rng: SampleRng) {
        self.erased.push(Erased { rect, with: With::Noise(rng) });
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
        for erased in &self.erased {
            erased.write(out, self.image.channels(), self.image.size(), self.layout);
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

/// What brings a byte to `[0, 1]`, as `to_dtype_image` in `transforms/v2/functional/_misc.py` does it: times the reciprocal,
/// rounded to single precision. (The older `ToTensor` of torchvision divides, which differs in the last bit for half of the
/// bytes.)
pub(crate) const UNIT: f32 = (1.0_f64 / 255.0) as f32;

impl Normalize<3> {
    /// The values that torchvision's ImageNet models are trained with.
    pub const IMAGENET: Self = Normalize { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_erased_is_overwritten_in_either_layout_and_the_rest_is_not() {
        let rect = Rect { top: 1, left: -1, height: 2, width: 4 };
        let inside = |y: usize, x: usize| (1..3).contains(&y) && x < 3;
        for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
            for channels in [1, 3, 4] {
                let pixels: Vec<u8> = (0..4 * 5 * channels).map(|i| i as u8 + 100).collect();
                let image = Image::new((4, 5), channels, pixels.clone()).unwrap();
                let mut tensor = ImageTensor::new(image, [std::array::from_fn(|v| v as f32)].into(), layout).unwrap();
                let values = [-0.5, -1.5, -2.5, -3.5];
                tensor.erase(rect, &values[..channels]).unwrap();
                let erased = tensor.to_vec();
                for (y, x, c) in (0..20 * channels).map(|i| (i / channels / 5, i / channels % 5, i % channels)) {
                    let at = match layout {
                        Layout::ChannelsFirst => c * 20 + y * 5 + x,
                        Layout::ChannelsLast => (y * 5 + x) * channels + c,
                    };
                    let own = f32::from(pixels[(y * 5 + x) * channels + c]);
                    assert_eq!(erased[at], if inside(y, x) { values[c] } else { own }, "{layout:?} {y} {x} {c}");
                }
                // Nothing of it inside, on any side.
                let before = tensor.to_vec();
                for (top, left) in [(0, 5), (0, -2), (4, 0), (-2, 0), (9, 9)] {
                    tensor.erase(Rect { top, left, height: 2, width: 2 }, &[77.0]).unwrap();
                }
                assert_eq!(tensor.to_vec(), before);
                // One value for all, over what was erased before.
                tensor.erase(Rect::all(tensor.size()), &[7.0]).unwrap();
                assert!(tensor.to_vec().iter().all(|&value| value == 7.0));
                assert_eq!(tensor.erase(rect, &[0.0; 2]).unwrap_err().kind(), ErrorKind::Config);
            }
        }
    }

    #[test]
    fn noise_is_standard_normal_the_same_at_every_write_and_in_every_layout() {
        let tensor = |layout| {
            let image = Image::new((100, 90), 3, vec![0; 27_000]).unwrap();
            let mut tensor = ImageTensor::new(image, [[9.0_f32; 256]].into(), layout).unwrap();
            tensor.erase_with_noise(Rect { top: 0, left: 0, height: 80, width: 80 }, SampleRng::new(1, 2, 3));
            tensor
        };
        let first = tensor(Layout::ChannelsFirst);
        assert_eq!(first.to_vec(), first.to_vec());
        let (first, last) = (first.to_vec(), tensor(Layout::ChannelsLast).to_vec());
        assert!((0..27_000).all(|i| last[i] == first[i % 3 * 9_000 + i / 3]));
        let noise: Vec<f64> = first.iter().filter(|&&value| value != 9.0).map(|&value| value.into()).collect();
        assert_eq!(noise.len(), 3 * 80 * 80);
        // Five standard deviations of the mean are 0.036, of the variance 0.051.
        let mean = noise.iter().sum::<f64>() / 19_200.0;
        let variance = noise.iter().map(|value| value * value).sum::<f64>() / 19_200.0;
        assert!(mean.abs() < 0.036 && (variance - 1.0).abs() < 0.051, "{mean} {variance}");
    }

    #[test]
    fn values_in_a_tensor_of_bytes_are_cut_off() {
        let image = Image::new((1, 2), 1, vec![1, 2]).unwrap();
        let mut tensor = ImageTensor::new(image, [[0_u8; 256]].into(), Layout::ChannelsFirst).unwrap();
        tensor.erase(Rect { top: 0, left: 1, height: 1, width: 1 }, &[12.7]).unwrap();
        assert_eq!(tensor.to_vec(), [1, 12]);
    }

    #[test]
    fn the_wrong_number_of_means_is_an_error() {
        let image = Image::new((1, 1), 1, vec![0]).unwrap();
        let error = ImageTensor::new(image, vec![[0_f32; 256]; 3].into(), Layout::ChannelsFirst).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
