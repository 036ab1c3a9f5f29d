//! From the host to a device, while the batch before is being used: whatever the device is.
//!
//! [`Transfer`] is what has to be known of it. The bridge to libtorch has one (`torch/`, feature `tch`), and the tests have
//! one whose device reads late and in any order.

mod background;
mod prefetcher;
mod transfer;

pub use prefetcher::DevicePrefetcher;
pub use transfer::Transfer;
