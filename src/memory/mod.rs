//! Host memory of batches: pooled buffers, the slots that workers write, the tensors that the consumer gets.
//!
//! All unsafe code of the core is in this folder. Its one claim: a [`Slots`] is the only way to the memory it
//! covers, because two of them never cover the same slot.
#![allow(unsafe_code)]

mod access;
mod allocator;
mod buffer;
#[cfg(feature = "dlpack")]
pub mod dlpack;
mod element;
#[cfg(feature = "vision")]
mod file_bytes;
mod half;
mod host_tensor;
#[cfg(all(loom, test))]
mod models;
mod plan;
mod pool;
mod shape;
mod slots;

pub use allocator::HostAllocator;
pub use element::{DType, Element};
#[cfg(feature = "vision")]
pub(crate) use element::{as_bytes, from_f32};
#[cfg(feature = "vision")]
pub(crate) use file_bytes::FileBytes;
pub use half::{Bf16, F16};
pub use host_tensor::HostTensor;
pub use plan::BatchPlan;
pub use pool::BufferPool;
pub(crate) use pool::Small;
pub use shape::Shape;
pub use slots::Slots;
