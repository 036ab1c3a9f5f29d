//! `OnDevice`: an epoch whose batches are tensors on a device.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::path::PathBuf;
use std::sync::Arc;

use tch::{Device, Tensor};

use super::blob::{TorchElement, into_tch};
use super::{load_cuda, torch_error};
use crate::collate::Collate;
use crate::dataset::{Dataset, IterableDataset};
use crate::error::Result;
use crate::loader::{Epoch, IterableEpoch, LoaderState, Masked};
use crate::memory::HostTensor;

/// A batch that can become tensors: a [`HostTensor`], or a tuple or a map of such batches, in which strings stay strings.
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

/// A map of batches becomes a map of tensors.
impl<K: Ord, B: ToDevice> ToDevice for BTreeMap<K, B> {
    type Output = BTreeMap<K, B::Output>;

    fn to_device(self, device: Device) -> Result<Self::Output> {
        self.into_iter().map(|(key, batch)| Ok((key, batch.to_device(device)?))).collect()
    }
}

/// A map of batches becomes a map of tensors.
impl<K: Eq + Hash, B: ToDevice, H: BuildHasher + Default> ToDevice for HashMap<K, B, H> {
    type Output = HashMap<K, B::Output, H>;

    fn to_device(self, device: Device) -> Result<Self::Output> {
        self.into_iter().map(|(key, batch)| Ok((key, batch.to_device(device)?))).collect()
    }
}

macro_rules! stays_on_the_host {
    ($($batch:ty),*) => {$(
        /// Is no tensor, and stays what it is.
        impl ToDevice for $batch {
            type Output = Self;

            fn to_device(self, _device: Device) -> Result<Self> {
                Ok(self)
            }
        }
    )*};
}

stays_on_the_host! {
    Vec<String>, Vec<&'static str>, Vec<Arc<str>>, Vec<PathBuf>, Vec<()>,
    Vec<Vec<String>>, Vec<Vec<&'static str>>, Vec<Vec<Arc<str>>>, Vec<Vec<PathBuf>>
}

/// An epoch whose batches are tensors on a device; made by [`Epoch::to_device`].
#[derive(Debug)]
pub struct OnDevice<I> {
    batches: I,
    device: Device,
}

impl<I> OnDevice<I> {
    fn new(batches: I, device: Device) -> Self {
        if device.is_cuda() {
            // If it cannot be loaded, the copy says that there is no such device.
            let _ = load_cuda();
        }
        OnDevice { batches, device }
    }
}

macro_rules! epochs_to_device {
    ($($epoch:ident of $data:ident and $masked:ty;)*) => {$(
        impl<D, C> $epoch<D, C>
        where
            D: $data + 'static,
            C: Collate<D::Sample> + 'static,
            $masked: ToDevice,
        {
            /// The batches of this epoch as tensors on `device`; see [`ToDevice::to_device`].
            pub fn to_device(self, device: Device) -> OnDevice<Self> {
                OnDevice::new(self, device)
            }
        }

        impl<D, C> OnDevice<$epoch<D, C>>
        where
            D: $data + 'static,
            C: Collate<D::Sample> + 'static,
        {
            /// The state between the batch that was delivered last and the next one.
            pub fn state(&self) -> LoaderState {
                self.batches.state()
            }
        }
    )*};
}

epochs_to_device! {
    Epoch of Dataset and C::Batch;
    Masked of Dataset and (C::Batch, HostTensor<bool>);
    IterableEpoch of IterableDataset and C::Batch;
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
