//! sutler
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod collate;
mod dataset;
mod error;
mod loader;
mod memory;
mod rng;
mod sampler;
mod stats;
mod transform;

pub use collate::{BatchPlan, Collate, CollateFn, Stack, Stackable};
pub use dataset::{Concat, Dataset, Map, Subset};
pub use error::{Error, ErrorKind, Result};
pub use loader::{Epoch, Loader, LoaderBuilder, WorkerPool};
pub use memory::{BufferPool, DType, Element, HostTensor, Shape, Slots};
pub use rng::{Generator, SampleRng};
pub use sampler::{Order, RandomSampler, Sampler, SequentialSampler};
pub use stats::Stats;
pub use transform::Transform;
