//! `ToDevice`: batches that can become tensors.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::path::PathBuf;
use std::sync::Arc;

use tch::{Device, Tensor};

use super::Copier;
use super::blob::{TorchElement, into_tch};
use crate::error::Result;
use crate::memory::HostTensor;

/// A batch that can become tensors: a [`HostTensor`], or a tuple or a map of such batches, in which strings stay strings.
///
/// For a batch of a type of your own:
///
/// ```
/// use sutler::HostTensor;
/// use sutler::torch::{Copier, ToDevice};
/// use tch::Tensor;
///
/// struct Batch<I, T> {
///     images: I,
///     labels: I,
///     names: T,
/// }
///
/// impl ToDevice for Batch<HostTensor<f32>, Vec<String>> {
///     type Output = Batch<Tensor, Vec<String>>;
///
///     fn copy_to(self, copier: &mut Copier<'_>) -> sutler::Result<Self::Output> {
///         let (images, labels) = (self.images.copy_to(copier)?, self.labels.copy_to(copier)?);
///         Ok(Batch { images, labels, names: self.names })
///     }
/// }
/// ```
pub trait ToDevice: Sized {
    /// The same with a [`Tensor`] for each `HostTensor`.
    type Output;

    /// Has `copier` copy what is a tensor, and passes on what is not.
    ///
    /// The tensors of the result must be those that [`Copier::copy`] gave. Compute with them in the training loop, and not
    /// here: this may run on the copying thread, on whose stream torch would then allocate what is computed, and only of
    /// those it copied does it know that another stream uses them.
    ///
    /// # Errors
    ///
    /// If torch refuses: no such device, no memory left there.
    fn copy_to(self, copier: &mut Copier<'_>) -> Result<Self::Output>;

    /// Moves the batch to `device`, at once: other than in [`Epoch::to_device`](crate::Epoch::to_device), nothing is copied
    /// ahead.
    ///
    /// On the CPU the tensor uses the batch's own memory, which returns to the loader when the last view of it is
    /// dropped. (If that is page-locked and you copy from it without blocking, keep the tensor until that copy is over:
    /// torch does not know that the memory is going to be used again.) Elsewhere it is a copy, made when this returns.
    ///
    /// # Errors
    ///
    /// If torch refuses: no such device, no memory left there.
    fn to_device(self, device: Device) -> Result<Self::Output> {
        self.copy_to(&mut Copier::at_once(device))
    }
}

impl<T: TorchElement> ToDevice for HostTensor<T> {
    type Output = Tensor;

    fn copy_to(self, copier: &mut Copier<'_>) -> Result<Tensor> {
        copier.copy(into_tch(self)?)
    }
}

macro_rules! tuples_to_device {
    ($(($($field:ident $place:tt),+))*) => {$(
        impl<$($field: ToDevice),+> ToDevice for ($($field,)+) {
            type Output = ($($field::Output,)+);

            fn copy_to(self, copier: &mut Copier<'_>) -> Result<Self::Output> {
                Ok(($(self.$place.copy_to(copier)?,)+))
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

    fn copy_to(self, copier: &mut Copier<'_>) -> Result<Self::Output> {
        self.into_iter().map(|(key, batch)| Ok((key, batch.copy_to(copier)?))).collect()
    }
}

/// A map of batches becomes a map of tensors.
impl<K: Eq + Hash, B: ToDevice, H: BuildHasher + Default> ToDevice for HashMap<K, B, H> {
    type Output = HashMap<K, B::Output, H>;

    fn copy_to(self, copier: &mut Copier<'_>) -> Result<Self::Output> {
        self.into_iter().map(|(key, batch)| Ok((key, batch.copy_to(copier)?))).collect()
    }
}

macro_rules! stays_on_the_host {
    ($($batch:ty),*) => {$(
        /// Is no tensor, and stays what it is.
        impl ToDevice for $batch {
            type Output = Self;

            fn copy_to(self, _copier: &mut Copier<'_>) -> Result<Self> {
                Ok(self)
            }
        }
    )*};
}

stays_on_the_host! {
    Vec<String>, Vec<&'static str>, Vec<Arc<str>>, Vec<PathBuf>, Vec<()>,
    Vec<Vec<String>>, Vec<Vec<&'static str>>, Vec<Vec<Arc<str>>>, Vec<Vec<PathBuf>>
}
