//! A data loader for training: `torch.utils.data` with threads.
//!
//! ```
//! # #[cfg(feature = "vision")]
//! # fn main() -> sutler::Result<()> {
//! use sutler::image::Normalize;
//! use sutler::transform::{RandomHorizontalFlip, RandomResizedCrop, ToTensor};
//! use sutler::{Dataset, ImageFolder, Loader};
//!
//! let train = ImageFolder::open("fixtures/shapes/train")? // lists the files, opens none
//!     .map(RandomResizedCrop::new(64))
//!     .map(RandomHorizontalFlip::new(0.5))
//!     .map(ToTensor::f32().normalize(Normalize::IMAGENET));
//! let loader = Loader::builder(train).batch_size(32).shuffle(true).seed(0).num_workers(2).build()?;
//! for batch in &loader {
//!     let (images, labels) = batch?;
//!     assert_eq!(images.shape(), [labels.len(), 3, 64, 64]);
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "vision"))]
//! # fn main() {}
//! ```
//!
//! # The nouns
//!
//! * A [`Dataset`] has samples: [`ImageFolder`], [`Idx`], [`InMemory`], or your own. Adapters: [`map`](Dataset::map),
//!   [`subset`](Dataset::subset), [`random_split`](Dataset::random_split), [`concat`](Dataset::concat),
//!   [`ConcatDataset`]. One that can only be read from front to back is an [`IterableDataset`].
//! * A [`Transform`](transform::Transform) turns one sample into another; those of images are in [`transform`].
//! * A [`Sampler`] gives each epoch its [`Order`]: [`SequentialSampler`], [`RandomSampler`], [`SubsetRandomSampler`],
//!   [`WeightedRandomSampler`], [`DistributedSampler`], [`KeyedSampler`], or your own. A [`BatchSampler`] gives it its
//!   [`Batches`]: [`BucketBatchSampler`], or your own.
//! * A [`Collate`] makes a batch of samples: [`Stack`] by default, [`Pad`], [`MixUp`], [`CutMix`], any function, or
//!   your own.
//! * A [`Loader`] puts them together; an [`Epoch`] iterates over the batches, most of which are [`HostTensor`]s. For an
//!   iterable dataset they are an [`IterableLoader`] and an [`IterableEpoch`].
//! * [`Stats`] are what a loader has counted; their [`diagnosis`](Stats::diagnosis) says what limits the run, and what
//!   to change. [`NumWorkers::Auto`] changes the number of workers by itself.
//! * [`Distributed`] is this process among several; a [`LoaderState`] is where a run stands.
//! * With feature `tch`, [`Epoch::to_device`] gives `tch::Tensor`s: a [`DevicePrefetcher`] copies batches to a GPU
//!   ahead of time, from page-locked memory if [`pin_memory`](LoaderBuilder::pin_memory) is set. A [`Transfer`] does so
//!   for another framework, and a [`HostAllocator`] gives batches other memory. With feature `dlpack`,
//!   [`HostTensor::into_dlpack`] gives what other frameworks take.
//! * With feature `telemetry`, a [`Telemetry`](telemetry::Telemetry) takes what the training loop logs to CSV files,
//!   TensorBoard and a terminal, on threads beside it.
//! * With feature `monitor`, a [`Monitor`](monitor::Monitor) reads GPUs, the machine, a loader or anything else every so
//!   often, beside the training loop, which it never holds up.
//! * A [`Chaos`](chaos::Chaos) puts faults into a dataset, to see how a training loop bears bad data.
//!
//! # What it promises
//!
//! * What is in a batch depends on seed, epoch and settings, and not on the number of workers or on timing.
//! * `shuffle(true).seed(s)` is the order of PyTorch 2.11, bit for bit, and so are its samplers.
//! * A run that was stopped goes on where it stood, and every sample comes exactly once; with a [`Dataset`] on any
//!   number of ranks, with an [`IterableDataset`] on as many as before.
//! * An error or a panic costs one batch, and says which sample it was; or, with [`OnError`], that sample alone, which
//!   is then in the [`Quarantine`].
//! * A batch owns its memory; while you have it, nobody writes there.
//! * A steady epoch allocates no batch buffer; dropping an epoch never waits for a sample.
//! * Memory that a device is still reading is not used again.
//!
//! # What it does not do
//!
//! It starts no processes, runs no Python, and decodes neither video nor audio.
//!
//! # Features
//!
//! * `vision` (default): images, their formats and transforms.
//! * `turbojpeg`: JPEG files by libjpeg-turbo, which decodes the region that a crop needs, to PIL's pixels. It becomes
//!   the default decoder; [`image::JpegDecoder`] chooses. Needs cmake, a C compiler, and on x86 nasm.
//! * `serde`: a [`LoaderState`] serialises.
//! * `dlpack`: batches for any framework that takes DLPack (numpy, JAX, PyTorch), without a copy; see [`dlpack`].
//! * `telemetry`: logging beside the training loop; see [`telemetry`].
//! * `webhook`: and alerts to a robot in a chat. Needs a C compiler.
//! * `monitor`: what is read beside a training loop; see [`monitor`]. Has `telemetry` with it.
//! * `serve`: for `examples/serve` alone, an inference service.
//! * `tch`: the bridge to libtorch; see the README for how it is found.
#![cfg_attr(
    not(all(feature = "vision", feature = "tch", feature = "dlpack", feature = "telemetry", feature = "monitor")),
    allow(rustdoc::broken_intra_doc_links, reason = "some names above belong to features")
)]
#![deny(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub, clippy::undocumented_unsafe_blocks)]

pub mod chaos;
mod collate;
mod dataset;
mod device;
mod error;
#[cfg(feature = "vision")]
mod file;
mod fingerprint;
mod guard;
#[cfg(feature = "vision")]
pub mod image;
mod ledger;
mod loader;
mod memory;
#[cfg(feature = "monitor")]
pub mod monitor;
mod quarantine;
mod rng;
mod sampler;
mod stats;
mod sync;
#[cfg(feature = "telemetry")]
pub mod telemetry;
#[cfg(feature = "tch")]
pub mod torch;
pub mod transform;

pub use collate::{
    Collate, CollateFn, Gathered, MapPart, MixPart, MixUp, Pad, PadMask, PadPart, Stack, Stackable, Unbatched,
};
#[cfg(feature = "vision")]
pub use collate::{CutMix, CutMixPart};
pub use dataset::{Concat, ConcatDataset, Dataset, InMemory, IterableDataset, Map, SplitLengths, Subset};
#[cfg(feature = "vision")]
pub use dataset::{Idx, ImageFolder};
pub use device::{DevicePrefetcher, Transfer};
pub use error::{Error, ErrorKind, Result};
pub use ledger::Ledger;
pub use loader::{
    Epoch, Feed, Iterable, IterableEpoch, IterableLoader, Loader, LoaderBuilder, LoaderState, Masked, NumWorkers,
    OnError, WorkerPool,
};
#[cfg(feature = "dlpack")]
pub use memory::dlpack;
pub use memory::{BatchPlan, Bf16, BufferPool, DType, Element, F16, HostAllocator, HostTensor, Shape, Slots};
pub use quarantine::{Quarantine, Quarantined};
pub use rng::{Generator, SampleRng};
pub use sampler::{
    BatchSampler, Batched, Batches, BucketBatchSampler, Distributed, DistributedSampler, KeyedSampler, Order,
    RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler,
};
pub use stats::{Diagnosis, Limit, SlowSample, StageTimes, Stats};

/// Compiles and runs the README's example.
#[cfg(all(doctest, feature = "vision"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles and runs what is beside the training loop.
#[cfg(all(doctest, feature = "monitor", feature = "webhook"))]
#[doc = include_str!("../docs/SIDE_WORK.md")]
struct SideWork;
