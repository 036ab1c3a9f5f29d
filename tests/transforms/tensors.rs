//! What becomes of images as tensors.

use serde_json::Value;
use sutler::SampleRng;
use sutler::image::{Image, Normalize};
use sutler::transform::{ToTensor, Transform};

use super::{Check, EXACT, Output, Tolerance};

pub(super) const CHECKS: &[Check] = &[
    ("to_dtype_f32_scale", |image, _| floats(image, ToTensor::f32()), EXACT),
    // torchvision's older ToTensor divides by 255 where to_dtype multiplies by the reciprocal: the last bit differs.
    ("to_tensor", |image, _| floats(image, ToTensor::f32()), Tolerance { most: 6e-8, share: 1.0 }),
    ("normalize", normalize, EXACT),
];

fn floats(image: &Image, to_tensor: ToTensor<f32>) -> sutler::Result<Output> {
    let tensor = to_tensor.apply(image.clone(), &mut SampleRng::new(0, 0, 0))?;
    Ok(Output::Floats(tensor.shape().to_vec(), tensor.to_vec()))
}

fn normalize(image: &Image, parameters: &Value) -> sutler::Result<Output> {
    fn of<const C: usize>(parameters: &Value) -> Normalize<C> {
        let each = |name: &str| std::array::from_fn(|channel| parameters[name][channel].as_f64().unwrap() as f32);
        Normalize { mean: each("mean"), std: each("std") }
    }
    floats(
        image,
        match image.channels() {
            1 => ToTensor::f32().normalize(of::<1>(parameters)),
            _ => ToTensor::f32().normalize(of::<3>(parameters)),
        },
    )
}
