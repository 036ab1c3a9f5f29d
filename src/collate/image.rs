//! How images are stacked.

use super::Stackable;
use crate::error::Result;
use crate::image::{Image, ImageTensor};
use crate::memory::{Element, Shape};

/// As numpy sees an image: `[H, W, C]` bytes.
impl Stackable for Image {
    type Element = u8;

    fn shape(&self) -> Shape {
        [self.height(), self.width(), self.channels()].into()
    }

    fn write(&self, slot: &mut [u8]) -> Result<()> {
        slot.copy_from_slice(self.pixels());
        Ok(())
    }
}

/// The write is the conversion.
impl<T: Element> Stackable for ImageTensor<T> {
    type Element = T;

    fn shape(&self) -> Shape {
        self.shape()
    }

    fn write(&self, slot: &mut [T]) -> Result<()> {
        self.write_to(slot);
        Ok(())
    }
}
