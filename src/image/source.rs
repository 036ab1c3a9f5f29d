//! `ImageSource`: what a transform of images needs of one, decoded or not.

use super::{Image, LazyImage, Rect, Resampling, Size};
use crate::error::Result;

/// An image that a transform can begin with: an [`Image`], or a [`LazyImage`] that is decoded as far as is needed.
pub trait ImageSource: Send {
    /// What a resize makes of it: of an image another one, of a lazy one a lazy one.
    type Resized: ImageSource;

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
    fn into_resized_crop(self, rect: Rect, size: Size, resampling: Resampling) -> Result<Image>;

    /// All of it, resampled; see [`Image::resize`].
    ///
    /// # Errors
    ///
    /// As [`Image::resize`]; if it cannot be decoded, then now or when its pixels are asked for.
    fn into_resized(self, size: Size, resampling: Resampling) -> Result<Self::Resized>;
}

impl ImageSource for Image {
    type Resized = Image;

    fn size(&self) -> Size {
        self.size()
    }

    fn into_image(self) -> Result<Image> {
        Ok(self)
    }

    fn into_crop(self, rect: Rect) -> Result<Image> {
        self.crop(rect)
    }

    fn into_resized_crop(self, rect: Rect, size: Size, resampling: Resampling) -> Result<Image> {
        self.resized_crop(rect, size, resampling)
    }

    fn into_resized(self, size: Size, resampling: Resampling) -> Result<Image> {
        self.resize(size, resampling)
    }
}

impl ImageSource for LazyImage {
    type Resized = LazyImage;

    fn size(&self) -> Size {
        self.size()
    }

    fn into_image(self) -> Result<Image> {
        self.decode()
    }

    fn into_crop(self, rect: Rect) -> Result<Image> {
        self.decode_region(rect)
    }

    fn into_resized_crop(self, rect: Rect, size: Size, resampling: Resampling) -> Result<Image> {
        self.decode_resized_crop(rect, size, resampling)
    }

    fn into_resized(self, size: Size, resampling: Resampling) -> Result<LazyImage> {
        self.resized(size, resampling)
    }
}
