//! `Decoder`: from the bytes of a file to a tensor, by the loader's own path.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sutler::image::{DecodeOptions, ImageTensor, LazyImage, Limits, Normalize};
use sutler::transform::{CenterCrop, Resize, ToTensor, Transform};
use sutler::{Error, ErrorKind, SampleRng};

use crate::say::complain;

pub struct Decoder {
    options: DecodeOptions,
    transform: (Resize, CenterCrop, ToTensor<f32>),
    pub side: usize,
    max_pixels: usize,
}

/// How many times as long as wide an image may be: a resize makes its short side long enough, and the other as many
/// times that.
const MAX_RATIO: usize = 100;

/// Why an image is not taken, in words for whoever sent it.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    pub reason: String,
    /// It may be an image, but one that asks for too much.
    pub is_too_large: bool,
}

impl Decoder {
    /// Makes squares of `side` pixels, as validation in `examples/train` does.
    pub fn new(side: usize, max_pixels: usize) -> Self {
        let to_tensor = ToTensor::f32().normalize(Normalize::IMAGENET);
        Decoder {
            options: DecodeOptions::default().limits(Limits::default().max_pixels(max_pixels)),
            transform: (Resize::new(side * 8 / 7), CenterCrop::new(side), to_tensor),
            side,
            max_pixels,
        }
    }

    /// How many numbers a tensor has.
    pub fn numbers(&self) -> usize {
        3 * self.side * self.side
    }

    /// Reads the header: is it an image, and one of a size that can be worked on?
    pub fn open(&self, bytes: Vec<u8>) -> Result<LazyImage, Refusal> {
        let image = LazyImage::new(bytes, &self.options).map_err(|error| self.refusal(&error))?;
        let size = image.size();
        let (short, long) = (size.height.min(size.width), size.height.max(size.width));
        if long > short.saturating_mul(MAX_RATIO) {
            let reason = format!("an image of {size} is too long: one side may be {MAX_RATIO} times the other");
            return Err(Refusal { reason, is_too_large: true });
        }
        Ok(image)
    }

    pub fn decode(&self, bytes: Vec<u8>) -> Result<ImageTensor<f32>, Refusal> {
        let image = self.open(bytes)?;
        // What the transforms would draw is nothing.
        let transformed = || self.transform.apply(image, &mut SampleRng::new(0, 0, 0));
        match catch_unwind(AssertUnwindSafe(transformed)) {
            Ok(result) => result.map_err(|error| self.refusal(&error)),
            Err(_) => Err(Refusal { reason: "the image cannot be decoded".into(), is_too_large: false }),
        }
    }

    /// An error's own text where it speaks of the image alone. No file has been opened that it could name.
    fn refusal(&self, error: &Error) -> Refusal {
        match error.kind() {
            ErrorKind::Decode => Refusal { reason: error.to_string(), is_too_large: false },
            ErrorKind::Limit => {
                let reason = format!("the image is too large: it may have {} pixels", self.max_pixels);
                Refusal { reason, is_too_large: true }
            }
            kind => {
                complain(format_args!("an image cannot be decoded: {kind:?}: {error}"));
                Refusal { reason: "the image cannot be decoded".into(), is_too_large: false }
            }
        }
    }
}
