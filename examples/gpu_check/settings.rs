//! The command line, and how large the checks are.

use std::path::PathBuf;

use sutler::torch::PinMemory;
use tch::Device;

use super::Error;

const USAGE: &str =
    "usage: gpu_check [--cpu] [--batches 10000] [--steps 100] [--workers N] [--photos DIR] [--json FILE]
--cpu      a dry run of the same code on the CPU, with small counts
--batches  of the check of checksums
--steps    of the check of ResNet-50
--photos   a directory of images for each class; default: fixtures/shapes/train, if it is there
--json     also writes the last line of the output there";

pub(super) struct Settings {
    /// Whether this is a dry run, in which times mean nothing.
    pub(super) dry: bool,
    pub(super) device: Device,
    pub(super) batches: usize,
    pub(super) steps: usize,
    pub(super) workers: usize,
    pub(super) photos: Option<PathBuf>,
    pub(super) json: Option<PathBuf>,
}

impl Settings {
    /// `None` after `--help`.
    pub(super) fn from_args() -> Result<Option<Self>, Error> {
        use lexopt::prelude::*;

        let (mut dry, mut batches, mut steps) = (false, None, None);
        let mut workers = std::thread::available_parallelism().map_or(1, usize::from).min(16);
        let (mut photos, mut json) = (None, None);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("cpu") => dry = true,
                Long("batches") => batches = Some(at_least_one("--batches", parser.value()?.parse()?)?),
                Long("steps") => steps = Some(at_least_one("--steps", parser.value()?.parse()?)?),
                Long("workers") => workers = at_least_one("--workers", parser.value()?.parse()?)?,
                Long("photos") => photos = Some(PathBuf::from(parser.value()?)),
                Long("json") => json = Some(PathBuf::from(parser.value()?)),
                Short('h') | Long("help") => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
            }
        }
        let fixtures = || Some(PathBuf::from("fixtures/shapes/train")).filter(|path| path.is_dir());
        Ok(Some(Settings {
            dry,
            device: if dry { Device::Cpu } else { Device::Cuda(0) },
            batches: batches.unwrap_or(if dry { 200 } else { 10_000 }),
            steps: steps.unwrap_or(if dry { 2 } else { 100 }),
            workers,
            photos: photos.or_else(fixtures),
            json,
        }))
    }

    /// Page-locked memory where it is being checked; there is none without a GPU.
    pub(super) fn pin_memory(&self) -> PinMemory {
        if self.dry { PinMemory::Off } else { PinMemory::Required }
    }

    /// `real` of something, or in a dry run `small`.
    pub(super) fn pick<T>(&self, real: T, small: T) -> T {
        if self.dry { small } else { real }
    }
}

fn at_least_one(name: &str, number: usize) -> Result<usize, Error> {
    if number == 0 { Err(format!("{name} must be at least 1").into()) } else { Ok(number) }
}
