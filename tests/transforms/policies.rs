//! Augmentation policies: their operations in every bin, their magnitudes, and each as a whole, on the draws of `SampleRng`.

use serde_json::Value;
use sutler::SampleRng;
use sutler::image::{Fill, Image, Interpolation, Size, Warp};
use sutler::transform::{
    AugMix, AugmentOp, AugmentationSpace, AutoAugment, AutoAugmentPolicy, RandAugment, Transform, TrivialAugmentWide,
};

use super::{Check, EXACT, Output};

pub(super) const CHECKS: &[Check] = &[
    ("magnitudes", |_, p| Ok(magnitudes(p)), EXACT),
    ("augment_op", augment_op, EXACT),
    ("rand_augment", |image, p| each(image, p, rand_augment(p)), EXACT),
    ("trivial_augment_wide", |image, p| each(image, p, trivial_augment_wide(p)), EXACT),
    ("auto_augment", |image, p| each(image, p, AutoAugment::new(policy(p))), EXACT),
    ("aug_mix", |image, p| each(image, p, aug_mix(p)), EXACT),
];

fn magnitudes(p: &Value) -> Output {
    let (space, op, bins) = (space(p), op(p), whole(p, "bins").unwrap());
    let size = Size { height: whole(p, "height").unwrap(), width: whole(p, "width").unwrap() };
    let each = (0..bins).map_while(|bin| space.magnitude(op, bin, bins, size));
    let magnitudes: Vec<f32> = each.map(|magnitude| magnitude as f32).collect();
    Output::Floats(vec![magnitudes.len()], magnitudes)
}

/// In all bins, in both directions where there are two.
fn augment_op(image: &Image, p: &Value) -> sutler::Result<Output> {
    let (space, op, bins) = (space(p), op(p), whole(p, "bins").unwrap());
    let warp = Warp { interpolation: interpolation(p).unwrap(), ..Warp::default() };
    let magnitudes = match space.magnitude(op, 0, bins, image.size()) {
        None => vec![0.0],
        Some(_) => {
            let each = (0..whole(p, "most").unwrap()).map(|bin| space.magnitude(op, bin, bins, image.size()).unwrap());
            each.flat_map(|magnitude| [magnitude, -magnitude].into_iter().take(1 + usize::from(op.is_signed())))
                .collect()
        }
    };
    let images = magnitudes.into_iter().map(|magnitude| op.apply(image.clone(), magnitude, &warp));
    stacked(images.collect::<sutler::Result<Vec<_>>>()?)
}

/// What the policy makes of the image as the samples at the first places of an epoch.
fn each(image: &Image, p: &Value, policy: impl Transform<Image, Output = Image>) -> sutler::Result<Output> {
    let seed = whole(p, "seed").unwrap() as u64;
    let samples = (0..whole(p, "images").unwrap()).map(|place| SampleRng::new(seed, 0, place));
    let images = samples.map(|mut rng| policy.apply(image.clone(), &mut rng));
    stacked(images.collect::<sutler::Result<Vec<_>>>()?)
}

fn rand_augment(p: &Value) -> RandAugment {
    let mut policy = RandAugment::new();
    policy = set(policy, whole(p, "num_magnitude_bins"), RandAugment::num_magnitude_bins);
    policy = set(policy, whole(p, "num_ops"), RandAugment::num_ops);
    policy = set(policy, whole(p, "magnitude"), RandAugment::magnitude);
    policy = set(policy, interpolation(p), RandAugment::interpolation);
    set(policy, fill(p), RandAugment::fill)
}

fn trivial_augment_wide(p: &Value) -> TrivialAugmentWide {
    let mut policy = TrivialAugmentWide::new();
    policy = set(policy, whole(p, "num_magnitude_bins"), TrivialAugmentWide::num_magnitude_bins);
    policy = set(policy, interpolation(p), TrivialAugmentWide::interpolation);
    set(policy, fill(p), TrivialAugmentWide::fill)
}

fn aug_mix(p: &Value) -> AugMix {
    let mut policy = AugMix::new();
    policy = set(policy, whole(p, "severity"), AugMix::severity);
    policy = set(policy, whole(p, "mixture_width"), AugMix::mixture_width);
    policy = set(policy, whole(p, "chain_depth"), AugMix::chain_depth);
    policy = set(policy, p["alpha"].as_f64(), AugMix::alpha);
    set(policy, p["all_ops"].as_bool(), AugMix::all_ops)
}

/// The policy with a setting, if there is one.
fn set<P, V>(policy: P, value: Option<V>, setting: impl FnOnce(P, V) -> P) -> P {
    match value {
        Some(value) => setting(policy, value),
        None => policy,
    }
}

fn whole(p: &Value, name: &str) -> Option<usize> {
    p[name].as_u64().map(|number| number as usize)
}

fn space(p: &Value) -> AugmentationSpace {
    match p["space"].as_str() {
        Some("rand_augment" | "auto_augment") => AugmentationSpace::RAND_AUGMENT,
        Some("trivial_augment_wide") => AugmentationSpace::TRIVIAL_AUGMENT_WIDE,
        Some("aug_mix") => AugmentationSpace::AUG_MIX,
        _ => panic!("{p} has no space"),
    }
}

/// By the name that both have for it.
fn op(p: &Value) -> AugmentOp {
    let ops = AugmentationSpace::RAND_AUGMENT.ops().iter().copied().chain([AugmentOp::Invert]);
    ops.into_iter().find(|op| p["op"] == format!("{op:?}")).unwrap_or_else(|| panic!("{p} has no operation"))
}

fn policy(p: &Value) -> AutoAugmentPolicy {
    match p["policy"].as_str() {
        Some("imagenet") => AutoAugmentPolicy::ImageNet,
        Some("cifar10") => AutoAugmentPolicy::Cifar10,
        Some("svhn") => AutoAugmentPolicy::Svhn,
        _ => panic!("{p} has no policy"),
    }
}

fn interpolation(p: &Value) -> Option<Interpolation> {
    Some(match p["interpolation"].as_str()? {
        "nearest" => Interpolation::Nearest,
        "bilinear" => Interpolation::Bilinear,
        "bicubic" => Interpolation::Bicubic,
        other => panic!("{other} is no interpolation of a policy"),
    })
}

fn fill(p: &Value) -> Option<Fill> {
    let values: Vec<u8> = p["fill"].as_array()?.iter().map(|value| value.as_u64().unwrap() as u8).collect();
    Some(match values[..] {
        [grey] => grey.into(),
        [r, g, b] => [r, g, b].into(),
        _ => panic!("{p} has a fill of another number of channels"),
    })
}

fn stacked(images: Vec<Image>) -> sutler::Result<Output> {
    let shape = vec![images.len(), images[0].height(), images[0].width(), images[0].channels()];
    Ok(Output::Bytes(shape, images.iter().flat_map(|image| image.pixels().to_vec()).collect()))
}
