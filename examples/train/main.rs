//! Trains a small convolutional network on images, through the path that a real run takes: files are opened lazily
//! and decoded, augmented and normalised on worker threads, written once into batches, and handed over without a copy
//! to torch, on the GPU if there is one.
//!
//! ```sh
//! train --data TRAIN --val VAL [--epochs 24] [--batch-size 16] [--size 64] [--lr 0.01] [OPTIONS]
//! train --mnist DIR [--epochs 3] [--batch-size 64] [--lr 0.001] [OPTIONS]
//! ```
//!
//! `--help` says what the options are. The last line of the output is JSON. `make train` and `make train-mnist` do the
//! set-up and call it.
//!
//! A run with `--checkpoint DIR` that was stopped, wherever that was, goes on with `--resume DIR` in its place: with the
//! images that are left, in the same order, augmented in the same way. On the CPU, with as many threads of torch's, it
//! ends with the weights of a run that was not stopped, bit for bit; a GPU adds up in whatever order it likes. Give the
//! same arguments otherwise: only `--device`, `--amp`, `--workers` and where data lie may be others.

mod amp;
mod checkpoint;
mod device;
mod fit;
mod log;
mod model;
mod optimizer;
#[cfg(test)]
mod tests;
mod trainer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sutler::image::Normalize;
use sutler::transform::{CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize, ToTensor};
use sutler::{Dataset, Idx, ImageFolder, Loader, WorkerPool};
use tch::{Device, TchError};

use device::device;
use fit::{Error, Images, Recipe, fit};
use log::next_run;
use model::Input;

/// Where runs are logged, each in a directory of its own.
const RUNS: &str = "runs";

/// Of the order, the augmentation, the weights and the dropout.
const SEED: u64 = 0;

fn main() -> ExitCode {
    match Settings::from_args().and_then(|settings| settings.map_or(Ok(()), |settings| settings.run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = error.to_string();
            // What torch says goes on, behind its first line, with kilobytes of a backtrace.
            let is_torch = error.downcast_ref::<TchError>().is_some();
            eprintln!("train: {}", if is_torch { text.lines().next().unwrap_or_default() } else { &text });
            ExitCode::FAILURE
        }
    }
}

struct Settings {
    source: Source,
    epochs: u32,
    batch_size: usize,
    size: usize,
    lr: f64,
    workers: usize,
    device: String,
    amp: bool,
    checkpoint: Option<PathBuf>,
    checkpoint_every: Option<u64>,
    resume: Option<PathBuf>,
    log: Option<PathBuf>,
}

enum Source {
    Folders { train: PathBuf, val: PathBuf },
    Mnist(PathBuf),
}

impl Settings {
    fn run(&self) -> Result<(), Error> {
        // First: whoever sets torch's seed asks it for its GPUs, and torch remembers what it found.
        let device = device(&self.device)?;
        if self.amp && !device.is_cuda() {
            println!("--amp has no effect on the CPU");
        }
        match &self.source {
            Source::Folders { train, val } => self.folders(train, val, device),
            Source::Mnist(directory) => self.mnist(directory, device),
        }
    }

    fn folders(&self, train: &Path, val: &Path, device: Device) -> Result<(), Error> {
        let (train, val) = (ImageFolder::open(train)?, ImageFolder::open(val)?);
        if train.classes() != val.classes() {
            let (a, b) = (train.classes(), val.classes());
            return Err(format!("the classes differ: {a:?} in training, {b:?} in validation").into());
        }
        let classes = train.classes().len();
        println!("{} training and {} validation images of {classes} classes", train.len(), val.len());

        let to_tensor = ToTensor::f32().normalize(Normalize::IMAGENET);
        let train = train
            .map(RandomResizedCrop::new(self.size).scale(0.4, 1.0))
            .map(RandomHorizontalFlip::default())
            .map(to_tensor.clone());
        let val = val.map(Resize::new(self.size * 8 / 7)).map(CenterCrop::new(self.size)).map(to_tensor);
        self.fit(&self.recipe(Input { channels: 3, classes }, device), train, val)
    }

    fn mnist(&self, directory: &Path, device: Device) -> Result<(), Error> {
        let open = |split: &str| {
            let file = |kind: &str| directory.join(format!("{split}-{kind}-ubyte"));
            Idx::open(file("images-idx3"), file("labels-idx1"))
        };
        let (train, test) = (open("train")?, open("t10k")?);
        println!("{} training and {} test digits", train.len(), test.len());

        // The mean and standard deviation of the training digits.
        let to_tensor = ToTensor::f32().normalize(Normalize { mean: [0.1307], std: [0.3081] });
        let recipe =
            Recipe { accuracy_name: "test_accuracy", ..self.recipe(Input { channels: 1, classes: 10 }, device) };
        self.fit(&recipe, train.map(to_tensor.clone()), test.map(to_tensor))
    }

    fn recipe(&self, input: Input, device: Device) -> Recipe {
        let Settings { epochs, batch_size, size, lr, .. } = self;
        Recipe {
            input,
            epochs: *epochs,
            lr: *lr,
            seed: SEED as i64,
            settings: format!("--epochs {epochs} --batch-size {batch_size} --size {size} --lr {lr}"),
            device,
            amp: self.amp && device.is_cuda(),
            checkpoint: self.checkpoint.clone(),
            checkpoint_every: self.checkpoint_every,
            resume: self.resume.clone(),
            log: self.log.clone(),
            accuracy_name: "val_accuracy",
        }
    }

    fn fit(&self, recipe: &Recipe, train: impl Images, val: impl Images) -> Result<(), Error> {
        let pool = WorkerPool::new(self.workers)?;
        let train = Loader::builder(train).batch_size(self.batch_size).shuffle(true).seed(SEED).drop_last(true);
        let val = Loader::builder(val).batch_size(128);
        let on_gpu = recipe.device.is_cuda();
        fit(recipe, &train.pool(&pool).pin_memory(on_gpu).build()?, &val.pool(&pool).pin_memory(on_gpu).build()?)
    }

    /// `None` after `--help`.
    fn from_args() -> Result<Option<Self>, Error> {
        use lexopt::prelude::*;

        let (mut data, mut val, mut mnist) = (None, None, None);
        let (mut epochs, mut batch_size, mut size, mut lr) = (None, None, 64, None);
        // The cores are torch's on a machine without a GPU; a loader thread or two hold them up little.
        let mut workers = std::thread::available_parallelism().map_or(1, usize::from);
        let (mut device, mut amp) = ("auto".to_string(), false);
        let (mut checkpoint, mut checkpoint_every, mut resume) = (None, None, None);
        let (mut log, mut no_log) = (None, false);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("data") => data = Some(PathBuf::from(parser.value()?)),
                Long("val") => val = Some(PathBuf::from(parser.value()?)),
                Long("mnist") => mnist = Some(PathBuf::from(parser.value()?)),
                Long("epochs") => epochs = Some(parser.value()?.parse()?),
                Long("batch-size") => batch_size = Some(parser.value()?.parse()?),
                Long("size") => size = parser.value()?.parse()?,
                Long("lr") => lr = Some(parser.value()?.parse()?),
                Long("workers") => workers = parser.value()?.parse()?,
                Long("device") => device = parser.value()?.string()?,
                Long("amp") => amp = true,
                Long("checkpoint") => checkpoint = Some(PathBuf::from(parser.value()?)),
                Long("checkpoint-every") => checkpoint_every = Some(parser.value()?.parse()?),
                Long("resume") => resume = Some(PathBuf::from(parser.value()?)),
                Long("log") => log = Some(PathBuf::from(parser.value()?)),
                Long("no-log") => no_log = true,
                Short('h') | Long("help") => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
            }
        }
        let source = match (data, val, mnist) {
            (Some(train), Some(val), None) => Source::Folders { train, val },
            (None, None, Some(directory)) => Source::Mnist(directory),
            _ => return Err(USAGE.into()),
        };
        if size < 16 {
            return Err("--size must be at least 16".into());
        }
        if checkpoint_every == Some(0) {
            return Err("--checkpoint-every must be at least 1".into());
        }
        let checkpoint = checkpoint.or_else(|| resume.clone());
        if checkpoint_every.is_some() && checkpoint.is_none() {
            return Err("--checkpoint-every needs --checkpoint DIR".into());
        }
        let (default_epochs, default_batch_size, default_lr) = match source {
            Source::Folders { .. } => (24, 16, 1e-2),
            Source::Mnist(_) => (3, 64, 1e-3),
        };
        Ok(Some(Settings {
            source,
            epochs: epochs.unwrap_or(default_epochs),
            batch_size: batch_size.unwrap_or(default_batch_size),
            size,
            lr: lr.unwrap_or(default_lr),
            workers,
            device,
            amp,
            checkpoint,
            checkpoint_every,
            resume,
            log: if no_log { None } else { log.or_else(default_log) },
        }))
    }
}

/// `None` where it cannot be made: nobody has asked for it.
fn default_log() -> Option<PathBuf> {
    next_run(Path::new(RUNS)).inspect_err(|error| eprintln!("there is no log: cannot make {RUNS}: {error}")).ok()
}

const USAGE: &str = "\
usage: train --data TRAIN --val VAL [--epochs 24] [--batch-size 16] [--size 64] [--lr 0.01] [OPTIONS]
       train --mnist DIR [--epochs 3] [--batch-size 64] [--lr 0.001] [OPTIONS]
TRAIN and VAL have a directory of images for each class; DIR has MNIST's four IDX files.
  --workers N           threads that load; as many as there are cores, unless said
  --device D            auto (a GPU if there is one), cpu, cuda or cuda:N
  --amp                 forward passes in 16 bits, on a GPU
  --checkpoint DIR      keep a checkpoint there, a new one after each epoch
  --checkpoint-every N  and after every N batches
  --resume DIR          go on from the checkpoint there; new ones go there too, unless --checkpoint says otherwise
  --log DIR             log there, for TensorBoard and as metrics.csv; runs/1, runs/2 and so on, unless said. With
                        --resume it is continued, else it must not have another run
  --no-log              don't";
