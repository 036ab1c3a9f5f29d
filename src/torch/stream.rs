//! `Stream` and `Event`: the order of work on a device.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tch::{Device, Tensor};

use super::shim::{self, RawStream, check};
use crate::error::Result;

/// How long to sleep between two looks at an event. Waiting in CUDA spins, on a core that the workers could use; the copy of
/// a batch takes milliseconds.
const PATIENCE: Duration = Duration::from_micros(50);

/// A queue of work on a device, which is done in order. Torch keeps it; this is its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream(RawStream);

impl Stream {
    /// The one that this thread gives its work to.
    pub(super) fn current(device: Device) -> Result<Self> {
        Self::found("cannot get the current stream", device, shim::sutler_stream_current)
    }

    /// One beside it; always the same one, because torch keeps the memory that is freed on a stream for that stream. With a
    /// new one for each epoch, there would soon be some batches' memory for each of the 32 streams that torch has.
    pub(super) fn beside(device: Device) -> Result<Self> {
        static FOUND: Mutex<Vec<(Device, Stream)>> = Mutex::new(Vec::new());
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stream)) = found.iter().find(|(known, _)| *known == device) {
            return Ok(*stream);
        }
        let stream = Self::found("cannot get a stream", device, shim::sutler_stream_of_pool)?;
        found.push((device, stream));
        Ok(stream)
    }

    fn found(
        doing: &str,
        device: Device,
        find: unsafe extern "C" fn(i32, i32, &mut RawStream) -> *mut std::ffi::c_char,
    ) -> Result<Self> {
        let (device_type, index) = shim::device_parts(device);
        let mut stream = RawStream::default();
        // SAFETY: both functions that this is called with take any device, and write a stream.
        let failure = unsafe { find(device_type, index, &mut stream) };
        check(&format!("{doing} of {device:?}"), failure)?;
        Ok(Stream(stream))
    }

    /// Gives this thread's work to this stream, for as long as the value that is returned lives.
    pub(super) fn enter(self) -> Result<Entered> {
        let mut previous = RawStream::default();
        // SAFETY: a stream that torch gave us, and room for another.
        check("cannot change the stream", unsafe { shim::sutler_stream_exchange(&self.0, &mut previous) })?;
        Ok(Entered { previous, this_thread: PhantomData })
    }

    /// Waits until all work that was given to it is done.
    pub(super) fn wait(self) -> Result<()> {
        let waited = Event::record(self).and_then(|event| {
            while !event.is_over()? {
                std::thread::sleep(PATIENCE);
            }
            Ok(())
        });
        if waited.is_err() {
            // CUDA's errors stay, and torch cannot free page-locked memory with one.
            super::pinned::end();
        }
        waited
    }

    /// Keeps the memory of `tensor`, once that is dropped, from being used again before the work that was given to this
    /// stream until then is done.
    pub(super) fn uses(self, tensor: &Tensor) -> Result<()> {
        // SAFETY: a handle of tch's is a pointer to an `at::Tensor`, alive as long as the reference.
        check("cannot record the stream of a tensor", unsafe { shim::sutler_record_stream(tensor.as_ptr(), &self.0) })
    }
}

/// A thread works on another stream than before. Which one is the thread's own affair, so this stays on it.
pub(super) struct Entered {
    previous: RawStream,
    this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut left = RawStream::default();
        // SAFETY: the stream that torch said was this thread's. It can be set as it could be before; and there is nobody
        // to tell if not.
        let _ = check("", unsafe { shim::sutler_stream_exchange(&self.previous, &mut left) });
    }
}

/// A point in the work of a stream.
struct Event {
    event: *mut c_void,
    stream: Stream,
}

impl Event {
    /// After all that was given to the stream so far.
    fn record(stream: Stream) -> Result<Self> {
        let mut event = Event { event: ptr::null_mut(), stream };
        // SAFETY: an event that does not exist yet, and a stream that torch gave us.
        check("cannot record an event", unsafe { shim::sutler_event_record(&mut event.event, &stream.0) })?;
        Ok(event)
    }

    fn is_over(&self) -> Result<bool> {
        let mut is_over = false;
        // SAFETY: recorded on this stream.
        check("cannot query an event", unsafe { shim::sutler_event_query(self.event, &self.stream.0, &mut is_over) })?;
        Ok(is_over)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.event.is_null() {
            // SAFETY: recorded on this stream, and deleted once.
            let _ = check("", unsafe { shim::sutler_event_delete(self.event, &self.stream.0) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_stream_of_a_device_that_is_not_there_is_an_error_that_names_it() {
        if super::super::cuda_if_available() != Device::Cpu {
            return;
        }
        for stream in [Stream::current(Device::Cuda(0)), Stream::beside(Device::Cuda(0)), Stream::beside(Device::Cpu)] {
            let error = stream.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Torch);
            assert!(error.to_string().contains("Cuda(0)") || error.to_string().contains("Cpu"), "{error}");
        }
    }

    #[test]
    fn the_cpu_has_a_stream_to_enter_and_no_events() {
        let stream = Stream::current(Device::Cpu).unwrap();
        let entered = stream.enter().unwrap();
        assert_eq!(Stream::current(Device::Cpu).unwrap(), stream);
        drop(entered);
        stream.uses(&Tensor::zeros([1], (tch::Kind::Float, Device::Cpu))).unwrap();
        assert!(Event::record(stream).err().unwrap().to_string().starts_with("cannot record an event: "));
    }
}
