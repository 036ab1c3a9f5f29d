//! GPUs by NVML, the library of NVIDIA's driver.

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;

use super::{GpuReading, share};
use crate::error::{Error, ErrorKind, Result};

/// NVML, which is shut down when this is dropped. (It counts who uses it: others in this process go on.)
#[derive(Debug)]
pub(super) struct Nvml(Box<nvml_wrapper::Nvml>);

impl Nvml {
    pub(super) fn open() -> Result<Self> {
        let nvml =
            nvml_wrapper::Nvml::init().map(Box::new).map(Nvml).map_err(|cause| failed("NVML cannot be used", cause))?;
        nvml.read()?;
        Ok(nvml)
    }

    pub(super) fn read(&self) -> Result<Vec<GpuReading>> {
        let count = self.0.device_count().map_err(|cause| failed("NVML cannot count the GPUs", cause))?;
        let mut first_failure = None;
        let mut failures = 0;
        let gpus = (0..count).map(|index| {
            self.read_one(index).unwrap_or_else(|cause| {
                failures += 1;
                first_failure.get_or_insert(cause);
                GpuReading { index: index as usize, ..GpuReading::default() }
            })
        });
        let gpus: Vec<GpuReading> = gpus.collect();
        match first_failure {
            _ if gpus.is_empty() => Err(Error::new(ErrorKind::Config, "NVML shows none")),
            // One that has fallen off the bus is not to hide the others.
            Some(cause) if failures == gpus.len() => Err(failed("NVML can read none of the GPUs", cause)),
            _ => Ok(gpus),
        }
    }

    fn read_one(&self, index: u32) -> Result<GpuReading, NvmlError> {
        let gpu = self.0.device_by_index(index)?;
        let memory = gpu.memory_info().ok();
        Ok(GpuReading {
            index: index as usize,
            name: gpu.name().ok(),
            memory_used: memory.as_ref().map(|memory| memory.used),
            memory_total: memory.as_ref().map(|memory| memory.total),
            utilization: gpu.utilization_rates().ok().and_then(|rates| share(rates.gpu.into())),
            temperature: gpu.temperature(TemperatureSensor::Gpu).ok(),
        })
    }
}

fn failed(what: &str, cause: NvmlError) -> Error {
    Error::new(ErrorKind::Io, what).with_source(cause)
}
