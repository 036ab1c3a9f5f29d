//! What the threads of the core share things by: std's locks, crossbeam's channels, rayon's threads, by their own names.
//!
//! Under `cfg(loom)`, which only `make loom` sets, they are loom's, or made of loom's: it then tries every order in which
//! the threads of a model can come, and every value that the memory model lets a load see.
//!
//! `std::sync::Arc` stays where a method takes `self: &Arc<Self>`, which no other pointer can be. So do the atomics that
//! only count: in which order threads add to a sum is nothing to explore.

#[cfg(loom)]
mod modelled;

#[cfg(loom)]
pub(crate) use modelled::*;

#[cfg(not(loom))]
pub(crate) use {
    crossbeam_channel as channel,
    rayon::{ThreadPool, ThreadPoolBuilder},
    std::panic::catch_unwind,
    std::sync::{Arc, Mutex, MutexGuard, OnceLock, atomic},
};
