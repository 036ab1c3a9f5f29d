//! What becomes of images as tensors.

use sutler::SampleRng;
use sutler::image::Image;
use sutler::transform::{ToTensor, Transform};

use super::{Check, EXACT, Output};

pub(super) const CHECKS: &[Check] = &[("to_dtype_f32_scale", |image, _| floats(image, ToTensor::f32()), EXACT)];

fn floats(image: &Image, to_tensor: ToTensor<f32>) -> sutler::Result<Output> {
    let tensor = to_tensor.apply(image.clone(), &mut SampleRng::new(0, 0, 0))?;
    Ok(Output::Floats(tensor.shape().to_vec(), tensor.to_vec()))
}
