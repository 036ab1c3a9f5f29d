//! `ToTensor`: the last step of an image, into the batch.

use std::sync::Arc;

use super::Transform;
use crate::error::Result;
use crate::image::{ImageSource, ImageTensor, Normalize};
use crate::memory::Element;
use crate::rng::SampleRng;

/// Makes a `[C, H, W]` tensor of an image: of `u8` as they are, or of `f32` in `[0, 1]`, normalised if asked for.
///
/// The values are bit for bit those of `torchvision.transforms.v2`: `ToImage`, `ToDtype(torch.float32, scale=True)`
/// and `Normalize(mean, std)`. They are computed while they are written into the batch, in one pass.
///
/// ```
/// use sutler::image::{Image, Normalize};
/// use sutler::transform::{ToTensor, Transform};
/// use sutler::SampleRng;
///
/// let grey = Image::new((1, 2), 1, vec![0, 255])?;
/// let to_tensor = ToTensor::f32().normalize(Normalize { mean: [0.5], std: [0.5] });
/// assert_eq!(to_tensor.apply(grey, &mut SampleRng::new(0, 0, 0))?.to_vec(), [-1.0, 1.0]);
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ToTensor<T> {
    /// What each byte becomes; see [`ImageTensor`].
    tables: Arc<[[T; 256]]>,
}

impl ToTensor<u8> {
    /// Keeps the bytes as they are.
    pub fn u8() -> Self {
        ToTensor { tables: [std::array::from_fn(|byte| byte as u8)].into() }
    }
}

impl ToTensor<f32> {
    /// Scales to `[0, 1]`.
    pub fn f32() -> Self {
        ToTensor { tables: [std::array::from_fn(unit)].into() }
    }

    /// Subtracts a mean and divides by a standard deviation, each channel its own.
    pub fn normalize<const C: usize>(self, Normalize { mean, std }: Normalize<C>) -> Self {
        let table = |channel: usize| std::array::from_fn(|byte| (unit(byte) - mean[channel]) / std[channel]);
        ToTensor { tables: (0..C).map(table).collect() }
    }
}

/// The unit range as `to_dtype_image` in `transforms/v2/functional/_misc.py` makes it: times the reciprocal, rounded to
/// single precision. (The older `ToTensor` of torchvision divides, which differs in the last bit for half of the bytes.)
fn unit(byte: usize) -> f32 {
    const RECIPROCAL: f32 = (1.0_f64 / 255.0) as f32;
    byte as f32 * RECIPROCAL
}

/// An error if the image has another number of channels than there are means.
impl<T: Element, I: ImageSource> Transform<I> for ToTensor<T> {
    type Output = ImageTensor<T>;

    fn apply(&self, image: I, _rng: &mut SampleRng) -> Result<ImageTensor<T>> {
        ImageTensor::new(image.into_image()?, Arc::clone(&self.tables))
    }
}

impl<T: Element, I: ImageSource, L: Send> Transform<(I, L)> for ToTensor<T> {
    type Output = (ImageTensor<T>, L);

    fn apply(&self, (image, label): (I, L), rng: &mut SampleRng) -> Result<Self::Output> {
        Ok((self.apply(image, rng)?, label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    #[test]
    fn u8_keeps_the_bytes() {
        let image = Image::new((1, 1), 3, vec![0, 100, 255]).unwrap();
        assert_eq!(ToTensor::u8().apply(image, &mut SampleRng::new(0, 0, 0)).unwrap().to_vec(), [0, 100, 255]);
    }

    #[test]
    fn a_grey_image_cannot_be_normalised_with_three_means() {
        let image = Image::new((1, 1), 1, vec![0]).unwrap();
        let to_tensor = ToTensor::f32().normalize(Normalize::IMAGENET);
        assert!(to_tensor.apply(image, &mut SampleRng::new(0, 0, 0)).is_err());
    }
}
