//! What becomes of images as tensors.

use serde_json::Value;
use sutler::image::{Image, Layout, Normalize, Rect};
use sutler::transform::{ToTensor, Transform};
use sutler::{BatchPlan, BufferPool, CutMix, HostTensor, MixUp, SampleRng, Slots};

use super::{Check, EXACT, Output, Tolerance};

pub(super) const CHECKS: &[Check] = &[
    ("to_dtype_f32_scale", |image, _| floats(image, ToTensor::f32()), EXACT),
    // torchvision's older ToTensor divides by 255 where to_dtype multiplies by the reciprocal: the last bit differs.
    ("to_tensor", |image, _| floats(image, ToTensor::f32()), Tolerance { most: 6e-8, share: 1.0, above_one: 0.0 }),
    ("normalize", normalize, EXACT),
    ("mixup", |image, p| mixed(image, |batch| MixUp::mix(batch, p["lam"].as_f64().unwrap())), EXACT),
    ("cutmix", |image, p| mixed(image, |batch| CutMix::paste(batch, rect(&p["box"]), Layout::ChannelsFirst)), EXACT),
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

/// A batch of the grey image and its negative, as floats of 0 to 255, after `mix`.
fn mixed(image: &Image, mix: impl FnOnce(&mut HostTensor<f32>)) -> sutler::Result<Output> {
    let (buffers, rng) = (BufferPool::new(1), SampleRng::new(0, 0, 0));
    let mut slots = Slots::new(BatchPlan { len: 2, capacity: 2, buffers: &buffers, field: 0, rng: &rng });
    for inverts in [false, true] {
        let slot = slots.push(&[1, image.height(), image.width()].into())?;
        for (value, &byte) in slot.iter_mut().zip(image.pixels()) {
            *value = f32::from(if inverts { 255 - byte } else { byte });
        }
    }
    let mut batch = slots.finish();
    mix(&mut batch);
    Ok(Output::Floats(batch.shape().to_vec(), batch.to_vec()))
}

/// Of left, top, right, bottom, as torchvision draws it for CutMix.
fn rect(value: &Value) -> Rect {
    let [left, top, right, bottom] = std::array::from_fn(|i| value[i].as_i64().unwrap() as isize);
    Rect { top, left, height: (bottom - top) as usize, width: (right - left) as usize }
}
