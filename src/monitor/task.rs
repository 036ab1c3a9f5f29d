//! `Task`: what a monitor runs.

use super::Stop;
use crate::error::Result;

/// Something that can be read again and again. Any `FnMut() -> Result<T>` is one.
///
/// ```
/// use std::time::Duration;
///
/// use sutler::Result;
/// use sutler::monitor::{Monitor, Stop, Task};
///
/// /// How large a file is that another program writes.
/// struct SizeOf(&'static str);
///
/// impl Task for SizeOf {
///     type Value = u64;
///
///     fn run(&mut self, _: &Stop) -> Result<u64> {
///         Ok(std::fs::metadata(self.0)?.len())
///     }
/// }
///
/// let size = Monitor::every(Duration::from_secs(10), SizeOf("Cargo.toml")).name("size").start()?;
/// let mut beats = 0;
/// let heart = Monitor::every(Duration::from_secs(1), move || {
///     beats += 1;
///     Ok(beats)
/// });
/// let heart = heart.name("heart").start()?;
/// # while heart.latest().is_none() || size.latest().is_none() {}
/// # assert_eq!(heart.latest().unwrap().value, 1);
/// # assert!(size.latest().unwrap().value > 0);
/// # Ok::<(), sutler::Error>(())
/// ```
pub trait Task: Send + 'static {
    /// What is read. The monitor's thread and the training loop share it.
    type Value: Send + Sync + 'static;

    /// Reads it, on the monitor's thread. A run may take as long as it likes: it holds up nobody, and ticks that pass
    /// meanwhile are left out.
    ///
    /// # Errors
    ///
    /// What went wrong. The next tick tries again. A panic is caught, and is an error.
    fn run(&mut self, stop: &Stop) -> Result<Self::Value>;
}

impl<F, T> Task for F
where
    F: FnMut() -> Result<T> + Send + 'static,
    T: Send + Sync + 'static,
{
    type Value = T;

    fn run(&mut self, _: &Stop) -> Result<T> {
        self()
    }
}
