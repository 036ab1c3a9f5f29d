//! What becomes of the values of pixels.

use serde_json::Value;
use sutler::image::Image;

use super::{Check, EXACT, Output, Tolerance};

/// torch sums the products of a convolution in an order of its own, in single precision: a sum that lies within
/// rounding of a half goes either way: of the values of photographs one in 80,000, of noise one in 12,000.
const SUMMED: Tolerance = Tolerance { most: 1.0, share: 1e-4, above_one: 0.0 };

pub(super) const CHECKS: &[Check] = &[
    ("adjust_brightness", |image, p| changed(image, |image| image.adjust_brightness(number(p, "factor"))), EXACT),
    ("adjust_contrast", |image, p| changed(image, |image| image.adjust_contrast(number(p, "factor"))), EXACT),
    ("adjust_saturation", |image, p| changed(image, |image| image.adjust_saturation(number(p, "factor"))), EXACT),
    ("adjust_hue", |image, p| changed(image, |image| image.adjust_hue(number(p, "factor"))), EXACT),
    ("adjust_sharpness", |image, p| changed(image, |image| image.adjust_sharpness(number(p, "factor"))), EXACT),
    (
        "adjust_gamma",
        |image, p| changed(image, |image| image.adjust_gamma(number(p, "gamma"), number(p, "gain"))),
        EXACT,
    ),
    ("to_grayscale", |image, p| Ok(image.to_grayscale(number(p, "num_output_channels") as usize)?.into()), EXACT),
    ("invert", |image, _| changed(image, Image::invert), EXACT),
    ("autocontrast", |image, _| changed(image, Image::autocontrast), EXACT),
    ("equalize", |image, _| changed(image, Image::equalize), EXACT),
    ("posterize", |image, p| changed(image, |image| image.posterize(number(p, "bits") as u8)), EXACT),
    ("solarize", |image, p| changed(image, |image| image.solarize(number(p, "threshold"))), EXACT),
    ("gaussian_blur", blurred, SUMMED),
];

fn changed(image: &Image, change: impl FnOnce(&mut Image)) -> sutler::Result<Output> {
    let mut image = image.clone();
    change(&mut image);
    Ok(image.into())
}

fn number(parameters: &Value, name: &str) -> f64 {
    parameters[name].as_f64().unwrap_or_else(|| panic!("{name} of {parameters} is a number"))
}

fn blurred(image: &Image, parameters: &Value) -> sutler::Result<Output> {
    let pair = |name: &str| parameters[name].as_array().map(|pair| [&pair[0], &pair[1]].map(|v| v.as_f64().unwrap()));
    let kernel_size = pair("kernel_size").expect("two numbers").map(|size| size as usize);
    let mut image = image.clone();
    image.gaussian_blur(kernel_size, pair("sigma"))?;
    Ok(image.into())
}
