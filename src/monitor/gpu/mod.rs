//! `Gpu`: memory, utilisation and temperature of NVIDIA's GPUs.

mod nvml;
#[cfg(unix)]
mod smi;

#[cfg(unix)]
use std::time::Duration;

use super::{Stop, Task};
use crate::error::{Error, ErrorKind, Result};
use nvml::Nvml;
#[cfg(unix)]
use smi::Smi;

/// A [`Task`](super::Task) that reads all NVIDIA GPUs of the machine, by NVML or else by `nvidia-smi`.
///
/// It sees those that the driver shows to this process, whatever `CUDA_VISIBLE_DEVICES` says, in the order of the PCI
/// bus; CUDA counts in that order with `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
#[derive(Debug)]
pub struct Gpu(Reader);

#[derive(Debug)]
enum Reader {
    Nvml(Nvml),
    #[cfg(unix)]
    Smi(Box<Smi>),
}

/// What GPUs are read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GpuSource {
    /// The library of NVIDIA's driver, in this process. A reading takes a millisecond or so.
    Nvml,
    /// The program `nvidia-smi`. A reading takes from a tenth of a second to some seconds.
    NvidiaSmi,
}

/// What was read of one GPU. `None` is what it does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GpuReading {
    /// Its number, in the order of the PCI bus.
    pub index: usize,
    /// Its model.
    pub name: Option<String>,
    /// Bytes of its memory that are in use, by all processes.
    pub memory_used: Option<u64>,
    /// Bytes of its memory.
    pub memory_total: Option<u64>,
    /// The share of the last moments (at most a second) in which at least one kernel ran, from 0 to 1.
    pub utilization: Option<f64>,
    /// °C.
    pub temperature: Option<u32>,
}

impl Gpu {
    /// By NVML, or else by `nvidia-smi`, which may take five seconds.
    ///
    /// # Errors
    ///
    /// If neither shows a GPU: the text begins with `no GPU`, and has both reasons.
    pub fn open() -> Result<Self> {
        Self::nvml().or_else(|nvml| Self::by_smi().map_err(|smi| none(&nvml, &smi)))
    }

    /// By NVML alone: `libnvidia-ml.so.1` or `nvml.dll`, which comes with the driver and is loaded here.
    ///
    /// # Errors
    ///
    /// If it cannot be loaded, or shows no GPU.
    pub fn nvml() -> Result<Self> {
        Nvml::open().map(Reader::Nvml).map(Gpu)
    }

    /// By the `nvidia-smi` on `PATH` alone, which is killed where it takes longer than `timeout`. Where many GPUs have
    /// to be woken up first (no persistence mode), it takes ten seconds and more. It is run once, to see whether there
    /// are GPUs.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sutler::monitor::Gpu;
    /// let gpu = Gpu::nvml().or_else(|_| Gpu::nvidia_smi(Duration::from_secs(30)))?;
    /// # Ok::<(), sutler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If it cannot be run, fails, takes too long, or shows no GPU.
    #[cfg(unix)]
    pub fn nvidia_smi(timeout: Duration) -> Result<Self> {
        Smi::open(timeout).map(Box::new).map(Reader::Smi).map(Gpu)
    }

    #[cfg(unix)]
    fn by_smi() -> Result<Self> {
        Self::nvidia_smi(Duration::from_secs(5))
    }

    #[cfg(not(unix))]
    fn by_smi() -> Result<Self> {
        Err(Error::new(ErrorKind::Config, "nvidia-smi is run on unix only"))
    }

    /// Which of the two it is.
    pub fn source(&self) -> GpuSource {
        match self.0 {
            Reader::Nvml(_) => GpuSource::Nvml,
            #[cfg(unix)]
            Reader::Smi(_) => GpuSource::NvidiaSmi,
        }
    }
}

impl Task for Gpu {
    type Value = Vec<GpuReading>;

    /// # Errors
    ///
    /// If no GPU can be read. What one of them does not tell is `None`.
    #[cfg_attr(not(unix), expect(unused_variables, reason = "nothing there can be stopped"))]
    fn run(&mut self, stop: &Stop) -> Result<Vec<GpuReading>> {
        match &mut self.0 {
            Reader::Nvml(nvml) => nvml.read(),
            #[cfg(unix)]
            Reader::Smi(smi) => smi.read(stop),
        }
    }
}

fn none(nvml: &Error, smi: &Error) -> Error {
    Error::new(
        ErrorKind::Config,
        format!(
            "no GPU: neither NVML ({nvml}) nor nvidia-smi ({smi}): if there is one, install NVIDIA's driver, or give \
             the container its GPUs (docker run --gpus all)"
        ),
    )
}

/// A percentage as a share; what is none was not told.
fn share(percent: u64) -> Option<f64> {
    (percent <= 100).then(|| percent as f64 / 100.0)
}
