//! How images are stacked.

use super::Stackable;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, ImageTensor, LazyImage};
use crate::memory::{Element, Shape};
use crate::stats::{Stage, timed};

/// As numpy sees an image: `[H, W, C]` bytes.
impl Stackable for Image {
    type Element = u8;

    fn shape(&self) -> Shape {
        [self.height(), self.width(), self.channels()].into()
    }

    fn write(&self, slot: &mut [u8]) -> Result<()> {
        timed(Stage::Write, || slot.copy_from_slice(self.pixels()));
        Ok(())
    }
}

/// Decoded into its batch.
impl Stackable for LazyImage {
    type Element = u8;

    fn shape(&self) -> Shape {
        [self.size().height, self.size().width, self.channels()].into()
    }

    fn write(&self, slot: &mut [u8]) -> Result<()> {
        self.decode()?.write(slot)
    }
}

/// The write is the conversion.
impl<T: Element> Stackable for ImageTensor<T> {
    type Element = T;

    fn shape(&self) -> Shape {
        self.shape()
    }

    fn write(&self, slot: &mut [T]) -> Result<()> {
        timed(Stage::Write, || self.write_to(slot));
        Ok(())
    }
}

/// Several images that are one sample, such as the crops of [`FiveCrop`](crate::transform::FiveCrop): one above the other.
macro_rules! stackable_arrays_of_images {
    ($([$($generics:tt)*] $image:ty => $element:ty;)*) => {$(
        impl<$($generics)* const N: usize> Stackable for [$image; N] {
            type Element = $element;

            fn shape(&self) -> Shape {
                let of_one = self.first().map_or([0; 3].into(), Stackable::shape);
                of_one.with_front(N)
            }

            fn write(&self, slot: &mut [$element]) -> Result<()> {
                write_each(self, slot)
            }
        }
    )*};
}

stackable_arrays_of_images! {
    [] Image => u8;
    [] LazyImage => u8;
    [T: Element,] ImageTensor<T> => T;
}

fn write_each<S: Stackable>(images: &[S], slot: &mut [S::Element]) -> Result<()> {
    let Some(first) = images.first().map(Stackable::shape) else { return Ok(()) };
    for (i, image) in images.iter().enumerate() {
        if image.shape() != first {
            return Err(Error::new(
                ErrorKind::Collate,
                format!(
                    "image {i} of the sample has shape {:?}, and its first {first:?}: they do not stack",
                    image.shape()
                ),
            ));
        }
    }
    let len = slot.len() / images.len();
    images.iter().enumerate().try_for_each(|(i, image)| image.write(&mut slot[i * len..(i + 1) * len]))
}
