//! `OnDevice`: an epoch whose batches are tensors on a device.

use tch::{Device, Tensor};

use super::blob::{TorchElement, into_tch};
use super::{load_cuda, torch_error};
use crate::collate::Collate;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::loader::Epoch;
use crate::memory::HostTensor;

/// A batch that can become tensors: a [`HostTensor`], or a tuple of such batches.
pub trait ToDevice {
    /// The same with a [`Tensor`] for each `HostTensor`.
    type Output;

    /// Moves the batch to `device`.
    ///
    /// On the CPU the tensor uses the batch's own memory, which returns to the loader when the last view of it is
    /// dropped. Elsewhere it is a copy, made when this returns.
    ///
    /// # Errors
    ///
    /// If torch refuses: no such device, no memory left there.
    fn to_device(self, device: Device) -> Result<Self::Output>;
}

impl<T: TorchElement> ToDevice for HostTensor<T> {
    type Output = Tensor;

    fn to_device(self, device: Device) -> Result<Tensor> {
        let tensor = into_tch(self)?;
        if device == Device::Cpu {
            return Ok(tensor);
        }
        tensor.f_to_device(device).map_err(|error| torch_error(&format!("cannot copy the batch to {device:?}"), &error))
    }
}

macro_rules! tuples_to_device {
    ($(($($field:ident $place:tt),+))*) => {$(
        impl<$($field: ToDevice),+> ToDevice for ($($field,)+) {
            type Output = ($($field::Output,)+);

            fn to_device(self, device: Device) -> Result<Self::Output> {
                Ok(($(self.$place.to_device(device)?,)+))
            }
        }
    )*};
}

tuples_to_device! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

/// An epoch whose batches are tensors on a device; made by [`Epoch::to_device`].
#[derive(Debug)]
pub struct OnDevice<I> {
    batches: I,
    device: Device,
}

impl<D, C> Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
    C::Batch: ToDevice,
{
    /// The batches of this epoch as tensors on `device`; see [`ToDevice::to_device`].
    pub fn to_device(self, device: Device) -> OnDevice<Self> {
        if device.is_cuda() {
            // If it cannot be loaded, the copy says that there is no such device.
            let _ = load_cuda();
        }
        OnDevice { batches: self, device }
    }
}

impl<B: ToDevice, I: Iterator<Item = Result<B>>> Iterator for OnDevice<I> {
    type Item = Result<B::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.batches.next()?.and_then(|batch| batch.to_device(self.device)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.batches.size_hint()
    }
}

impl<B: ToDevice, I: ExactSizeIterator<Item = Result<B>>> ExactSizeIterator for OnDevice<I> {}
