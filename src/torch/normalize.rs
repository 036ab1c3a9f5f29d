//! `NormalizeOnDevice`: bytes become normalised floats where they are needed.

use tch::{Device, Kind, Tensor};

use super::{load_cuda, torch_error};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Layout, Normalize, UNIT};

/// Makes normalised floats of images that came to the device as bytes
/// ([`ToTensor::u8`](crate::transform::ToTensor::u8)): a quarter of the bytes to copy there.
///
/// The operations are those of [`ToTensor`](crate::transform::ToTensor), in the same order and in `f32`; those of 16 bits are
/// rounded once, at the end. On the CPU the values are the same bits; a GPU's arithmetic may differ in the last one.
///
/// ```no_run
/// use sutler::image::{Layout, Normalize};
/// use sutler::torch::{NormalizeOnDevice, cuda_if_available};
/// use sutler::transform::{RandomResizedCrop, ToTensor};
/// use sutler::{Dataset, ImageFolder, Loader};
///
/// let device = cuda_if_available();
/// let train = ImageFolder::open("train")?.map(RandomResizedCrop::new(224)).map(ToTensor::u8().channels_last());
/// let loader = Loader::builder(train).batch_size(64).num_workers(8).pin_memory(true).build()?;
/// let normalize =
///     NormalizeOnDevice::f16(Normalize::IMAGENET, device)?.input(Layout::ChannelsLast).output(Layout::ChannelsLast);
/// for batch in loader.epoch().to_device(device) {
///     let (images, labels) = batch?;
///     let images = normalize.apply(&images)?; // [64, 3, 224, 224], in torch's memory format channels_last
/// }
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Debug)]
pub struct NormalizeOnDevice {
    /// `[C, 1, 1]`, on the device.
    mean: Tensor,
    std: Tensor,
    kind: Kind,
    input: Layout,
    output: Layout,
}

impl NormalizeOnDevice {
    /// Makes `torch.float32` on `device`.
    ///
    /// # Errors
    ///
    /// If torch has no such device.
    pub fn f32<const C: usize>(normalize: Normalize<C>, device: Device) -> Result<Self> {
        Self::new(normalize, device, Kind::Float)
    }

    /// Makes `torch.float16` on `device`.
    ///
    /// # Errors
    ///
    /// If torch has no such device.
    pub fn f16<const C: usize>(normalize: Normalize<C>, device: Device) -> Result<Self> {
        Self::new(normalize, device, Kind::Half)
    }

    /// Makes `torch.bfloat16` on `device`.
    ///
    /// # Errors
    ///
    /// If torch has no such device.
    pub fn bf16<const C: usize>(normalize: Normalize<C>, device: Device) -> Result<Self> {
        Self::new(normalize, device, Kind::BFloat16)
    }

    fn new<const C: usize>(Normalize { mean, std }: Normalize<C>, device: Device, kind: Kind) -> Result<Self> {
        if device.is_cuda() {
            // If it cannot be loaded, torch says that there is no such device.
            let _ = load_cuda();
        }
        let values = |values: [f32; C]| {
            let values = Tensor::f_from_slice(&values).and_then(|values| values.f_view([C as i64, 1, 1]));
            values
                .and_then(|values| values.f_to_device(device))
                .map_err(|error| torch_error(&format!("cannot normalise on {device:?}"), &error))
        };
        let (mean, std) = (values(mean)?, values(std)?);
        Ok(NormalizeOnDevice { mean, std, kind, input: Layout::default(), output: Layout::default() })
    }

    /// Which way the bytes lie (default: `ChannelsFirst`, `[N, C, H, W]`; else `[N, H, W, C]`): as `ToTensor` was told.
    pub fn input(self, layout: Layout) -> Self {
        NormalizeOnDevice { input: layout, ..self }
    }

    /// Which way the floats lie in memory (default: `ChannelsFirst`; else torch's memory format `channels_last`, in which
    /// convolutions are faster on recent GPUs). The shape is `[N, C, H, W]` either way.
    pub fn output(self, layout: Layout) -> Self {
        NormalizeOnDevice { output: layout, ..self }
    }

    /// `[N, C, H, W]` of floats, of a batch `[N, C, H, W]` or `[N, H, W, C]` of `u8` on the device. (There may be more
    /// dimensions in front, or none: an image or a batch of several views, `[N, K, C, H, W]`.)
    ///
    /// # Errors
    ///
    /// If these are no bytes, have another number of channels than there are means, or are on another device.
    pub fn apply(&self, images: &Tensor) -> Result<Tensor> {
        let (size, kind, channels) = (images.size(), images.kind(), self.mean.size()[0]);
        if kind != Kind::Uint8 {
            return refuse(format!("the images are of kind {kind:?}, not Uint8. ToTensor::u8() keeps them bytes"));
        }
        let place = match self.input {
            Layout::ChannelsFirst => 3,
            Layout::ChannelsLast => 1,
        };
        if size.len() < 3 || size[size.len() - place] != channels {
            return refuse(format!(
                "images of shape {size:?}, {:?}, do not have {channels} channels: the number of means, or the input's \
                 layout, is another one",
                self.input
            ));
        }
        self.normalize(images).map_err(|error| torch_error("cannot normalise the images", &error))
    }

    fn normalize(&self, images: &Tensor) -> Result<Tensor, tch::TchError> {
        // As bytes, of which there are fewest; then every operation keeps the way they lie.
        let bytes = match (self.input, self.output) {
            (Layout::ChannelsFirst, Layout::ChannelsFirst) => images.shallow_clone(),
            (Layout::ChannelsLast, Layout::ChannelsLast) => images.f_movedim_int(-1, -3)?,
            (Layout::ChannelsLast, Layout::ChannelsFirst) => images.f_movedim_int(-1, -3)?.f_contiguous()?,
            (Layout::ChannelsFirst, Layout::ChannelsLast) => {
                images.f_movedim_int(-3, -1)?.f_contiguous()?.f_movedim_int(-1, -3)?
            }
        };
        // A copy of ours, changed in place.
        let mut floats = bytes.f_to_kind(Kind::Float)?;
        let _ = floats.f_mul_scalar_(f64::from(UNIT))?;
        let _ = floats.f_sub_(&self.mean)?;
        let _ = floats.f_div_(&self.std)?;
        floats.f_to_kind(self.kind)
    }
}

fn refuse<T>(problem: String) -> Result<T> {
    Err(Error::new(ErrorKind::Config, problem))
}
