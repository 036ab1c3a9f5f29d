//! `SideStream`: libtorch's devices, to a prefetcher.

use tch::{Device, Tensor};

use super::stream::Stream;
use super::{ToDevice, load_cuda, torch_error};
use crate::collate::Collate;
use crate::dataset::{Dataset, IterableDataset};
use crate::device::{DevicePrefetcher, Transfer};
use crate::error::Result;
use crate::loader::{Epoch, IterableEpoch, Masked};
use crate::memory::HostTensor;

/// Brings batches to a device of libtorch's on a stream of their own, beside the one that computes; the
/// [`Transfer`] of [`Epoch::to_device`].
///
/// Copies are given to the side stream without waiting, and a batch is handed out when that stream is through with them; so
/// the computing stream never waits for a copy. Which stream that is, torch is told when the consumer gets the batch
/// (`record_stream`), so that it does not give a tensor's memory to the next copy while kernels still read it.
///
/// On the CPU a batch's own memory becomes tensors, and nothing is copied. For an accelerator other than CUDA's, a copy is made
/// by the thread, but waited for on the stream that computes.
#[derive(Debug)]
pub struct SideStream {
    device: Device,
    /// Found when the first batch comes, on the prefetcher's thread.
    stream: Option<Stream>,
    /// Whether anything was given to it since it was last waited for.
    is_busy: bool,
}

impl SideStream {
    /// To `device`. If it is not there, every batch says so.
    pub fn new(device: Device) -> Self {
        if device.is_cuda() {
            // If it cannot be loaded, the copy says that there is no such device.
            let _ = load_cuda();
        }
        SideStream { device, stream: None, is_busy: false }
    }

    /// `None` where torch has no other stream than the one that computes.
    fn stream(&mut self) -> Result<Option<Stream>> {
        if self.device.is_cuda() && self.stream.is_none() {
            self.stream = Some(Stream::beside(self.device)?);
        }
        Ok(self.stream)
    }
}

/// A batch on the device, and the tensors in it.
#[derive(Debug)]
pub struct Landed<B> {
    batch: B,
    tensors: Vec<Tensor>,
    device: Device,
}

impl<B> Landed<B> {
    /// The batch as it is, without telling torch on which stream it is used. That is wrong; the check of the CUDA path
    /// (`examples/gpu_check`) shows that it is.
    #[doc(hidden)]
    pub fn without_record_stream(self) -> B {
        self.batch
    }
}

impl<B> Transfer<B> for SideStream
where
    B: ToDevice,
    B::Output: Send + 'static,
{
    type Landed = Landed<B::Output>;
    type Batch = B::Output;
    type Host = Vec<Tensor>;

    fn start(&mut self, batch: B, host: &mut Vec<Tensor>) -> Result<Self::Landed> {
        let device = self.device;
        let mut tensors = Vec::new();
        let entered = self.stream()?.map(Stream::enter).transpose()?;
        self.is_busy = entered.is_some();
        let ahead = entered.is_some().then_some((host, &mut tensors));
        let batch = batch.copy_to(&mut Copier { device, ahead })?;
        Ok(Landed { batch, tensors, device })
    }

    fn finish(&mut self) -> Result<()> {
        match self.stream {
            Some(stream) if std::mem::take(&mut self.is_busy) => stream.wait(),
            _ => Ok(()),
        }
    }

    fn receive(landed: Self::Landed) -> Result<Self::Batch> {
        if !landed.tensors.is_empty() {
            let stream = Stream::current(landed.device)?;
            landed.tensors.iter().try_for_each(|tensor| stream.uses(tensor))?;
        }
        Ok(landed.batch)
    }

    fn is_immediate(&self) -> bool {
        self.device == Device::Cpu
    }
}

/// Copies the tensors of a batch to a device; what [`ToDevice::copy_to`] is given.
#[derive(Debug)]
pub struct Copier<'a> {
    device: Device,
    /// Where copies are not waited for: the tensors that are being read, and those that are being written.
    ahead: Option<(&'a mut Vec<Tensor>, &'a mut Vec<Tensor>)>,
}

impl Copier<'_> {
    /// Each copy is made when the call returns.
    pub(super) fn at_once(device: Device) -> Self {
        if device.is_cuda() {
            let _ = load_cuda();
        }
        Copier { device, ahead: None }
    }

    /// The device.
    pub fn device(&self) -> Device {
        self.device
    }

    /// A host tensor on the device: itself, if that is the CPU.
    ///
    /// # Errors
    ///
    /// If torch refuses: no such device, no memory left there.
    pub fn copy(&mut self, tensor: Tensor) -> Result<Tensor> {
        let device = self.device;
        if device == Device::Cpu {
            return Ok(tensor);
        }
        let copied = match &mut self.ahead {
            None => tensor.f_to_device(device),
            Some((host, copies)) => {
                // First kept, then read.
                let kind = tensor.kind();
                host.push(tensor);
                let copied = host[host.len() - 1].f_to_device_(device, kind, true, false);
                copied.inspect(|copy| copies.push(copy.shallow_clone()))
            }
        };
        copied.map_err(|error| torch_error(&format!("cannot copy the batch to {device:?}"), &error))
    }
}

macro_rules! epochs_to_device {
    ($($epoch:ident of $data:ident, $batch:ty;)*) => {$(
        impl<D, C> $epoch<D, C>
        where
            D: $data + 'static,
            C: Collate<D::Sample> + 'static,
            C::Batch: 'static,
            $batch: ToDevice<Output: Send + 'static>,
        {
            /// The batches of this epoch as tensors on `device`, each copied there while the one before is being used; see
            /// [`SideStream`]. On the CPU nothing is copied: the tensors use the batch's own memory.
            pub fn to_device(self, device: Device) -> DevicePrefetcher<Self, SideStream> {
                self.prefetch_to(SideStream::new(device))
            }
        }
    )*};
}

epochs_to_device! {
    Epoch of Dataset, C::Batch;
    Masked of Dataset, (C::Batch, HostTensor<bool>);
    IterableEpoch of IterableDataset, C::Batch;
}
