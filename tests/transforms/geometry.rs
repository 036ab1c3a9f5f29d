//! Where pixels go.

use serde_json::Value;
use sutler::image::{Fill, Image, Interpolation, Padding, PaddingMode, Rect, Size, Warp};
use sutler::transform::{Resize, Transform};
use sutler::{Error, SampleRng};

use super::{Check, EXACT, Output, Tolerance};

/// PIL's coefficients have 22 bits and those here 16, which is seen in one value of a hundred, and in one of fifty thousand by
/// two levels where the weights of bicubic and Lanczos overshoot; and bilinear passes come in the other order, rounded in
/// between, which is seen in six of a hundred.
const RESAMPLED: Tolerance = Tolerance { most: 2.0, share: 0.07, above_one: 1e-4 };

pub(super) const CHECKS: &[Check] = &[
    ("resize", resize, RESAMPLED),
    ("resized_crop", resized_crop, RESAMPLED),
    ("crop", |image, p| Ok(image.crop(rect(p))?.into()), EXACT),
    ("center_crop", |image, p| Ok(image.center_crop(size(&p["size"]))?.into()), EXACT),
    ("five_crop", |image, p| Ok(stack(&image.five_crop(size(&p["size"]))?)), EXACT),
    ("ten_crop", |image, p| Ok(stack(&image.ten_crop(size(&p["size"]), p["vertical_flip"] == true)?)), EXACT),
    ("pad", |image, p| Ok(image.pad(padding(p), padding_mode(p))?.into()), EXACT),
    ("hflip", |image, _| Ok(changed(image, Image::flip_horizontal).into()), EXACT),
    ("vflip", |image, _| Ok(changed(image, Image::flip_vertical).into()), EXACT),
    ("rotate", |image, p| Ok(image.rotate(number(&p["angle"]), &warp(p))?.into()), EXACT),
    ("affine", affine, EXACT),
    ("perspective", perspective, EXACT),
    ("erase", erase, EXACT),
];

fn changed(image: &Image, change: impl FnOnce(&mut Image)) -> Image {
    let mut image = image.clone();
    change(&mut image);
    image
}

fn resize(image: &Image, p: &Value) -> sutler::Result<Output> {
    let resize = match (&p["size"], &p["max_size"]) {
        (Value::Array(_), Value::Null) => Resize::exact(size(&p["size"])),
        (Value::Null, longest) => Resize::longest(whole(longest)),
        (shorter, Value::Null) => Resize::new(whole(shorter)),
        // A panic, and not an error: nothing about the image is wrong.
        (shorter, most) if whole(most) <= whole(shorter) => return Err(Error::msg("max_size is too small")),
        (shorter, most) => Resize::new(whole(shorter)).max_size(whole(most)),
    };
    let resize = resize.interpolation(interpolation(p));
    Ok(resize.apply(image.clone(), &mut SampleRng::new(0, 0, 0))?.into())
}

/// A part that is not inside of the image is cut out first, black where the image is not: that is what torchvision does.
fn resized_crop(image: &Image, p: &Value) -> sutler::Result<Output> {
    let (rect, size, interpolation) = (rect(p), size(&p["size"]), interpolation(p));
    Ok(match rect.is_inside(image.size()) {
        true => image.resized_crop(rect, size, interpolation)?.into(),
        false => image.crop(rect)?.resize(size, interpolation)?.into(),
    })
}

fn affine(image: &Image, p: &Value) -> sutler::Result<Output> {
    let (translate, shear) = (pair(&p["translate"]), pair(&p["shear"]));
    Ok(image.affine(number(&p["angle"]), translate, number(&p["scale"]), shear, &warp(p))?.into())
}

/// By the coefficients that torchvision found, and by those found here.
fn perspective(image: &Image, p: &Value) -> sutler::Result<Output> {
    let coefficients = list(&p["coefficients"], number).try_into().expect("eight coefficients");
    let by_coefficients = image.perspective_by(coefficients, &warp(p))?;
    let points = |name: &str| list(&p[name], pair).try_into().expect("four points");
    let by_points = image.perspective(points("startpoints"), points("endpoints"), &warp(p))?;
    // A coefficient that ought to be 0 is 1e-16 in torch, which decides about pixels that fall on a border.
    let off = by_coefficients.pixels().iter().zip(by_points.pixels()).filter(|(a, b)| a != b).count();
    assert!(off * 50 <= by_points.pixels().len(), "other coefficients than torchvision's: {off} values differ, {p}");
    Ok(by_coefficients.into())
}

fn erase(image: &Image, p: &Value) -> sutler::Result<Output> {
    let rect = Rect {
        top: whole(&p["i"]) as isize,
        left: whole(&p["j"]) as isize,
        height: whole(&p["h"]),
        width: whole(&p["w"]),
    };
    let mut image = image.clone();
    image.erase(rect, fill(&p["v"]))?;
    Ok(image.into())
}

/// `[N, H, W, C]`.
fn stack(images: &[Image]) -> Output {
    let shape = vec![images.len(), images[0].height(), images[0].width(), images[0].channels()];
    Output::Bytes(shape, images.iter().flat_map(|image| image.pixels().to_vec()).collect())
}

fn whole(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no length")) as usize
}

fn offset(value: &Value) -> isize {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no offset")) as isize
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list<T>(value: &Value, item: fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).iter().map(item).collect()
}

/// `[side]` or `[height, width]`.
fn size(value: &Value) -> Size {
    match list(value, whole)[..] {
        [side] => side.into(),
        [height, width] => (height, width).into(),
        _ => panic!("{value} is no size"),
    }
}

/// `[x, y]`.
fn pair(value: &Value) -> (f64, f64) {
    match list(value, number)[..] {
        [x, y] => (x, y),
        _ => panic!("{value} is no pair"),
    }
}

fn warp(p: &Value) -> Warp {
    Warp {
        interpolation: interpolation(p),
        center: p.get("center").filter(|center| !center.is_null()).map(pair),
        expand: p["expand"] == true,
        fill: fill(&p["fill"]),
    }
}

fn rect(p: &Value) -> Rect {
    Rect { top: offset(&p["top"]), left: offset(&p["left"]), height: whole(&p["height"]), width: whole(&p["width"]) }
}

fn interpolation(p: &Value) -> Interpolation {
    match p["interpolation"].as_str() {
        Some("nearest") => Interpolation::Nearest,
        Some("box") => Interpolation::Box,
        Some("bilinear") => Interpolation::Bilinear,
        Some("hamming") => Interpolation::Hamming,
        Some("bicubic") => Interpolation::Bicubic,
        Some("lanczos") => Interpolation::Lanczos,
        _ => panic!("{p} has no interpolation"),
    }
}

fn padding(p: &Value) -> Padding {
    match list(&p["padding"], offset)[..] {
        [all] => (all as usize).into(),
        [sides, ends] => (sides as usize, ends as usize).into(),
        [left, top, right, bottom] => Padding { left, top, right, bottom },
        _ => panic!("{p} has no padding"),
    }
}

fn padding_mode(p: &Value) -> PaddingMode {
    match p["padding_mode"].as_str() {
        Some("constant") => PaddingMode::Constant(fill(&p["fill"])),
        Some("edge") => PaddingMode::Edge,
        Some("reflect") => PaddingMode::Reflect,
        Some("symmetric") => PaddingMode::Symmetric,
        _ => panic!("{p} has no mode"),
    }
}

/// Nothing, a number, or a list of them, whose fractions torchvision cuts off.
fn fill(value: &Value) -> Fill {
    let byte = |value: &Value| number(value) as u8;
    match value {
        Value::Null => Fill::default(),
        Value::Array(values) => match values[..] {
            [ref all] => byte(all).into(),
            [ref r, ref g, ref b] => [byte(r), byte(g), byte(b)].into(),
            [ref r, ref g, ref b, ref a] => [byte(r), byte(g), byte(b), byte(a)].into(),
            _ => panic!("{value:?} is no fill"),
        },
        all => byte(all).into(),
    }
}
