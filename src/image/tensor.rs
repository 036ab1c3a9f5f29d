//! `ImageTensor`: an image on its way into a batch.

use std::sync::Arc;

use super::Image;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{Element, Shape};

/// An image that becomes a `[C, H, W]` tensor when it is written into its batch: what
/// [`ToTensor`](crate::transform::ToTensor) makes.
///
/// The conversion from interleaved bytes to planes of `T` happens in that write, so the tensor never exists anywhere
/// else. To look at one outside of a loader, use [`to_vec`](ImageTensor::to_vec).
#[derive(Clone, Debug)]
pub struct ImageTensor<T> {
    image: Image,
    /// What each byte becomes, a table a channel, or one for all.
    tables: Arc<[[T; 256]]>,
}

impl<T: Element> ImageTensor<T> {
    pub(crate) fn new(image: Image, tables: Arc<[[T; 256]]>) -> Result<Self> {
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
        Ok(ImageTensor { image, tables })
    }

    /// `[C, H, W]`.
    pub fn shape(&self) -> Shape {
        [self.image.channels(), self.image.height(), self.image.width()].into()
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
            1 => planes::<T, 1>(pixels, out, [table(0)]),
            3 => planes::<T, 3>(pixels, out, [table(0), table(1), table(2)]),
            _ => planes::<T, 4>(pixels, out, [table(0), table(1), table(2), table(3)]),
        }
    }

    /// The values in C order.
    pub fn to_vec(&self) -> Vec<T> {
        let mut values = vec![self.tables[0][0]; self.image.pixels().len()];
        self.write_to(&mut values);
        values
    }
}

/// Takes interleaved pixels apart. A table look-up a value is exact to the last bit by construction, and as fast as
/// arithmetic: taking the channels apart is what costs.
fn planes<T: Copy, const C: usize>(pixels: &[u8], out: &mut [T], tables: [&[T; 256]; C]) {
    let count = pixels.len() / C;
    let mut rest = out;
    let planes = [(); C].map(|()| {
        let (plane, others) = std::mem::take(&mut rest).split_at_mut(count);
        rest = others;
        plane
    });
    for (i, pixel) in pixels.as_chunks::<C>().0.iter().enumerate() {
        for c in 0..C {
            planes[c][i] = tables[c][usize::from(pixel[c])];
        }
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
    fn planes_are_the_channels_one_after_the_other() {
        for channels in [1, 3, 4] {
            let pixels: Vec<u8> = (0..5 * 7 * channels).map(|i| (i * 37 % 256) as u8).collect();
            let image = Image::new((5, 7), channels, pixels.clone()).unwrap();
            let tables: Vec<[f32; 256]> =
                (0..channels).map(|c| std::array::from_fn(|v| v as f32 * 2.0 + c as f32)).collect();
            let tensor = ImageTensor::new(image, tables.into()).unwrap();
            assert_eq!(*tensor.shape(), [channels, 5, 7]);
            let values = tensor.to_vec();
            for c in 0..channels {
                for p in 0..35 {
                    assert_eq!(values[c * 35 + p], f32::from(pixels[p * channels + c]) * 2.0 + c as f32);
                }
            }
        }
    }

    #[test]
    fn the_wrong_number_of_means_is_an_error() {
        let image = Image::new((1, 1), 1, vec![0]).unwrap();
        let error = ImageTensor::new(image, vec![[0_f32; 256]; 3].into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
