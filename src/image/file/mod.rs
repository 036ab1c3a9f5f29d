//! Image files: what a header tells, and from bytes to pixels.

mod decode;
mod header;
mod jpeg;
mod lazy;
mod options;
mod orientation;
mod tiff;
mod webp;

pub use lazy::LazyImage;
pub use options::{ColorMode, DecodeOptions, JpegDecoder, Limits};
