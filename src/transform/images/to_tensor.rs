//! `ToTensor`: the last step of an image, into the batch.

use std::sync::Arc;

use super::Transform;
use crate::error::Result;
use crate::image::{ImageSource, ImageTensor, Layout, Normalize, UNIT};
use crate::memory::{Bf16, Element, F16, from_f32};
use crate::rng::SampleRng;

/// Makes a tensor of an image: of `u8` as they are, or of floats in `[0, 1]`, normalised if asked for.
///
/// It has shape `[C, H, W]`, or with [`channels_last`](ToTensor::channels_last) `[H, W, C]`. Images of one sample in an
/// array (`FiveCrop`) become an array of tensors, which is stacked to `[N, K, C, H, W]`.
///
/// The values are bit for bit those of `torchvision.transforms.v2`: `ToImage`, `ToDtype(torch.float32, scale=True)`
/// and `Normalize(mean, std)`, for 16-bit floats rounded once, at the end. They are computed while they are written into
/// the batch, in one pass. So normalising is a setting of the conversion here, and no transform of its own.
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
    layout: Layout,
}

impl<T: Element> ToTensor<T> {
    fn new(tables: Arc<[[T; 256]]>) -> Self {
        ToTensor { tables, layout: Layout::default() }
    }

    /// The channels of a pixel side by side: shape `[H, W, C]`.
    ///
    /// A batch of them, `[N, H, W, C]`, is in memory what torch calls `channels_last`: permuted to `[N, C, H, W]` (which
    /// copies nothing), it is a tensor in that memory format.
    pub fn channels_last(self) -> Self {
        ToTensor { layout: Layout::ChannelsLast, ..self }
    }
}

impl ToTensor<u8> {
    /// Keeps the bytes as they are.
    pub fn u8() -> Self {
        Self::new([std::array::from_fn(|byte| byte as u8)].into())
    }
}

macro_rules! floats {
    ($($float:ident, $name:ident, $what:literal;)*) => {$(
        impl ToTensor<$float> {
            #[doc = concat!("Scales to `[0, 1]`, in ", $what, ".")]
            pub fn $name() -> Self {
                Self::new([std::array::from_fn(|byte| from_f32(unit(byte)))].into())
            }

            /// Subtracts a mean and divides by a standard deviation, each channel its own, all in `f32`.
            pub fn normalize<const C: usize>(self, Normalize { mean, std }: Normalize<C>) -> Self {
                let table = |channel: usize| {
                    std::array::from_fn(|byte| from_f32((unit(byte) - mean[channel]) / std[channel]))
                };
                ToTensor { tables: (0..C).map(table).collect(), layout: self.layout }
            }
        }
    )*};
}

floats! {
    f32, f32, "`torch.float32`";
    F16, f16, "`torch.float16`";
    Bf16, bf16, "`torch.bfloat16`";
}

fn unit(byte: usize) -> f32 {
    byte as f32 * UNIT
}

impl<T: Element> ToTensor<T> {
    fn of(&self, image: impl ImageSource) -> Result<ImageTensor<T>> {
        ImageTensor::new(image.into_image()?, Arc::clone(&self.tables), self.layout)
    }

    fn of_all<const K: usize>(&self, images: [impl ImageSource; K]) -> Result<[ImageTensor<T>; K]> {
        let tensors: Vec<_> = images.into_iter().map(|image| self.of(image)).collect::<Result<_>>()?;
        Ok(tensors.try_into().unwrap_or_else(|_| unreachable!("as many as there were images")))
    }
}

/// An error if the image has another number of channels than there are means.
impl<T: Element, I: ImageSource> Transform<I> for ToTensor<T> {
    type Output = ImageTensor<T>;

    fn apply(&self, image: I, _rng: &mut SampleRng) -> Result<Self::Output> {
        self.of(image)
    }
}

impl<T: Element, I: ImageSource, L: Send> Transform<(I, L)> for ToTensor<T> {
    type Output = (ImageTensor<T>, L);

    fn apply(&self, (image, label): (I, L), _rng: &mut SampleRng) -> Result<Self::Output> {
        Ok((self.of(image)?, label))
    }
}

impl<T: Element, I: ImageSource, const K: usize> Transform<[I; K]> for ToTensor<T> {
    type Output = [ImageTensor<T>; K];

    fn apply(&self, images: [I; K], _rng: &mut SampleRng) -> Result<Self::Output> {
        self.of_all(images)
    }
}

impl<T: Element, I: ImageSource, L: Send, const K: usize> Transform<([I; K], L)> for ToTensor<T> {
    type Output = ([ImageTensor<T>; K], L);

    fn apply(&self, (images, label): ([I; K], L), _rng: &mut SampleRng) -> Result<Self::Output> {
        Ok((self.of_all(images)?, label))
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
    fn small_floats_are_the_f32_values_rounded_once() {
        let image = || Image::new((16, 16), 3, (0..=255_u8).flat_map(|byte| [byte; 3]).collect()).unwrap();
        let rng = &mut SampleRng::new(0, 0, 0);
        let normalize = Normalize::IMAGENET;
        let floats = ToTensor::f32().normalize(normalize).apply(image(), rng).unwrap().to_vec();
        let halves = ToTensor::f16().normalize(normalize).apply(image(), rng).unwrap().to_vec();
        let brains = ToTensor::bf16().normalize(normalize).apply(image(), rng).unwrap().to_vec();
        assert!(floats.iter().zip(&halves).all(|(float, half)| F16::from_f32(*float) == *half));
        assert!(floats.iter().zip(&brains).all(|(float, brain)| Bf16::from_f32(*float) == *brain));
        assert_eq!(ToTensor::f16().apply(image(), rng).unwrap().to_vec()[128], F16::from_f32(unit(128)));
    }

    #[test]
    fn channels_last_is_a_transposition_of_channels_first() {
        let image = Image::new((5, 7), 3, (0..105).map(|i| i * 2).collect()).unwrap();
        let to_tensor = ToTensor::f32().normalize(Normalize::IMAGENET);
        let rng = &mut SampleRng::new(0, 0, 0);
        let first = to_tensor.apply(image.clone(), rng).unwrap();
        let last = to_tensor.channels_last().apply(image, rng).unwrap();
        assert_eq!((&*first.shape(), &*last.shape()), (&[3, 5, 7][..], &[5, 7, 3][..]));
        let (first, last) = (first.to_vec(), last.to_vec());
        assert!((0..105).all(|i| last[i] == first[i % 3 * 35 + i / 3]));
    }

    #[test]
    fn a_grey_image_cannot_be_normalised_with_three_means() {
        let image = Image::new((1, 1), 1, vec![0]).unwrap();
        let to_tensor = ToTensor::f32().normalize(Normalize::IMAGENET);
        assert!(to_tensor.apply(image, &mut SampleRng::new(0, 0, 0)).is_err());
    }
}
