//! Where to train: `auto`, `cpu`, `cuda` or `cuda:N`.

use sutler::torch::{cuda_if_available, load_cuda};
use tch::{Cuda, Device, Kind, Tensor};

use crate::fit::Error;

/// The device of that name.
///
/// # Errors
///
/// If it is not there or cannot be used. Torch would say so only when the first batch has been loaded, and panic.
pub fn device(name: &str) -> Result<Device, Error> {
    let number = match name {
        "auto" => return Ok(cuda_if_available()),
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        _ => match name.strip_prefix("cuda:").and_then(|number| number.parse().ok()) {
            Some(number) => number,
            None => return Err(format!("--device {name}: it is auto, cpu, cuda or cuda:N").into()),
        },
    };
    load_cuda().map_err(|error| format!("--device {name}: {error}"))?;
    let count = Cuda::device_count();
    if number as i64 >= count {
        return Err(format!("--device {name}: torch sees {count} of them, counted from 0").into());
    }
    let device = Device::Cuda(number);
    let _ = Tensor::f_zeros([1], (Kind::Float, device))?;
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_refused_in_one_line() {
        for name in ["cuda:1000", "cuda:", "cuda:-1", "gpu", ""] {
            let error = device(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--device {name}: ")), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert_eq!(device("cpu").unwrap(), Device::Cpu);
        assert_eq!(device("auto").unwrap(), cuda_if_available());
    }
}
