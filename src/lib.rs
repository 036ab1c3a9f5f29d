//! sutler
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod collate;
mod dataset;
mod error;
#[cfg(feature = "vision")]
pub mod image;
mod loader;
mod memory;
mod rng;
mod sampler;
mod stats;
#[cfg(feature = "tch")]
pub mod torch;
pub mod transform;

pub use collate::{BatchPlan, Collate, CollateFn, Stack, Stackable};
pub use dataset::{Concat, Dataset, Map, Subset};
#[cfg(feature = "vision")]
pub use dataset::{Idx, ImageFolder};
pub use error::{Error, ErrorKind, Result};
pub use loader::{Epoch, Loader, LoaderBuilder, WorkerPool};
pub use memory::{BufferPool, DType, Element, HostTensor, Shape, Slots};
pub use rng::{Generator, SampleRng};
pub use sampler::{Order, RandomSampler, Sampler, SequentialSampler};
pub use stats::Stats;
