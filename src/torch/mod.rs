//! The bridge to libtorch (feature `tch`): a batch becomes tensors without a copy.
//!
//! ```
//! use sutler::{InMemory, Loader};
//! use tch::Device;
//!
//! let samples: InMemory<([f32; 3], i64)> = (0..10).map(|i| ([i as f32; 3], i)).collect();
//! let loader = Loader::builder(samples).batch_size(4).build()?;
//! for batch in loader.epoch().to_device(Device::Cpu) {
//!     let (values, labels) = batch?; // (Tensor, Tensor)
//!     assert_eq!(values.size()[1..], [3]);
//!     assert_eq!(labels.kind(), tch::Kind::Int64);
//! }
//! # Ok::<(), sutler::Error>(())
//! ```
//!
//! With a GPU: [`pin_memory(true)`](crate::LoaderBuilder::pin_memory) has workers write batches where the GPU can copy them
//! from, and [`to_device`](crate::Epoch::to_device) copies each while the one before is used. `docs/CUDA.md` has the rest.
//!
//! All unsafe code of the bridge is in this folder: the call that lends a buffer to libtorch, those of the C++ shim, and the
//! one that loads its CUDA half.
#![allow(unsafe_code)]

mod blob;
mod cuda;
#[cfg(feature = "vision")]
mod normalize;
mod pinned;
mod shim;
mod side_stream;
mod stream;
mod to_device;

pub use blob::TorchElement;
pub use cuda::{cuda_if_available, load_cuda};
#[cfg(feature = "vision")]
pub use normalize::NormalizeOnDevice;
pub use pinned::PinMemory;
pub use side_stream::{Copier, SideStream};
pub use to_device::ToDevice;

use crate::error::{Error, ErrorKind};

/// What torch says, less its backtrace: that is kilobytes of C++ names behind the first line.
fn torch_error(doing: &str, source: &tch::TchError) -> Error {
    Error::new(ErrorKind::Torch, format!("{doing}: {}", first_line(&source.to_string())))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
