//! How images are stacked.

use super::Stackable;
use crate::error::Result;
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
