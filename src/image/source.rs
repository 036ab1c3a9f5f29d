//! `ImageSource`: what a transform of images needs of one, decoded or not.

use super::{Image, LazyImage, Rect, Size};
use crate::error::Result;

/// An image that a transform can begin with: an [`Image`], or a [`LazyImage`] that is decoded as far as is needed.
pub trait ImageSource: Send {
    /// Height and width in pixels.
    fn size(&self) -> Size;

    /// All of it.
    ///
    /// # Errors
    ///
    /// If it cannot be decoded.
    fn into_image(self) -> Result<Image>;

    /// The part inside `rect`; see [`Image::crop`].
    ///
    /// # Errors
    ///
    /// If it cannot be decoded, or as [`Image::crop`].
    fn into_crop(self, rect: Rect) -> Result<Image>;

    /// The part inside `rect`, resampled; see [`Image::resized_crop`].
    ///
    /// # Errors
    ///
    /// If it cannot be decoded, or as [`Image::resized_crop`].
    fn into_resized_crop(self, rect: Rect, size: Size) -> Result<Image>;
}

impl ImageSource for Image {
    fn size(&self) -> Size {
        self.size()
    }

    fn into_image(self) -> Result<Image> {
        Ok(self)
    }

    fn into_crop(self, rect: Rect) -> Result<Image> {
        self.crop(rect)
    }

    fn into_resized_crop(self, rect: Rect, size: Size) -> Result<Image> {
        self.resized_crop(rect, size)
    }
}

impl ImageSource for LazyImage {
    fn size(&self) -> Size {
        self.size()
    }

    fn into_image(self) -> Result<Image> {
        self.decode()
    }

    fn into_crop(self, rect: Rect) -> Result<Image> {
        self.decode_region(rect)
    }

    fn into_resized_crop(self, rect: Rect, size: Size) -> Result<Image> {
        // Resampling reads from the whole as well as from a crop of it: no copy where all is decoded anyway.
        self.decode()?.resized_crop(rect, size)
    }
}
