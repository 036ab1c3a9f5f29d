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

/// Several images of one sample (`FiveCrop`): `[K, …]`. They must have one shape.
macro_rules! several {
    ($([$($generics:tt)*] $image:ty => $element:ty;)*) => {$(
        impl<$($generics)* const K: usize> Stackable for [$image; K] {
            type Element = $element;

            fn shape(&self) -> Shape {
                self.first().map_or(Shape::SCALAR, Stackable::shape).with_front(K)
            }

            fn write(&self, slot: &mut [$element]) -> Result<()> {
                let len = slot.len() / K.max(1);
                for (number, image) in self.iter().enumerate() {
                    let (first, shape) = (Stackable::shape(&self[0]), Stackable::shape(image));
                    if shape != first {
                        let text = format!("its image {number} has shape {shape:?}, but its first one {first:?}");
                        return Err(Error::new(ErrorKind::Collate, text));
                    }
                    image.write(&mut slot[number * len..][..len])?;
                }
                Ok(())
            }
        }
    )*};
}

several! {
    [] Image => u8;
    [T: Element,] ImageTensor<T> => T;
}
