//! What is the user's may panic. It does so in here, and the loader goes on.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use crate::error::{Error, ErrorKind, Result};
use crate::sync::catch_unwind;

/// Runs user code; a panic becomes an error that says what panicked, and with which message.
pub(crate) fn guarded<T>(doing: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panicked(doing, panic)))
}

/// Drops what may be the user's, and may panic at it.
pub(crate) fn discard<T>(value: T) {
    let _ = guarded("a drop", || {
        drop(value);
        Ok(())
    });
}

pub(crate) fn panicked(doing: &str, panic: Box<dyn Any + Send>) -> Error {
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message.as_str(),
        _ => "a value that is not text",
    };
    let error = Error::new(ErrorKind::Panic, format!("{doing} panicked: {message}"));
    // Whoever panics with a value whose drop panics gets no third chance.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    error
}
