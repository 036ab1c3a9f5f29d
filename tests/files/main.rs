//! Files as they are on disks that others use too: what cannot be read is an error of its sample, which says why and
//! what to do, the others arrive, and nothing is waited for that may never come.
#![cfg(all(feature = "vision", unix))]

mod alone;
mod changing;
mod folder;
mod limits;
mod links;
mod mapped;
#[cfg(target_os = "linux")] // other systems have other rules for names, and for how long a path may be
mod names;
mod refused;
