//! Trains a small convolutional network on images, through the path that a real run takes: files are opened lazily
//! and decoded, augmented and normalised on worker threads, written once into batches, and handed over without a copy
//! to torch, on the GPU if there is one.
//!
//! ```sh
//! train --data TRAIN --val VAL [--epochs 24] [--batch-size 16] [--size 64] [--lr 0.01] [--workers N]
//! train --mnist DIR [--epochs 3] [--batch-size 64] [--lr 0.001] [--workers N]
//! ```
//!
//! The last line of the output is JSON. `make train` and `make train-mnist` do the set-up and call it.

mod fit;
mod model;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sutler::image::Normalize;
use sutler::torch::{cuda_if_available, load_cuda};
use sutler::transform::{CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize, ToTensor};
use sutler::{Dataset, Idx, ImageFolder, Loader, WorkerPool};

use fit::{Error, Images, Recipe, fit};
use model::Input;

fn main() -> ExitCode {
    match Settings::from_args().and_then(|settings| settings.map_or(Ok(()), |settings| settings.run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("train: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Settings {
    source: Source,
    epochs: Option<u32>,
    batch_size: Option<usize>,
    size: usize,
    lr: Option<f64>,
    workers: usize,
}

enum Source {
    Folders { train: PathBuf, val: PathBuf },
    Mnist(PathBuf),
}

impl Settings {
    fn run(&self) -> Result<(), Error> {
        // First: setting the seed asks torch for its GPUs, and torch remembers what it found.
        let _ = load_cuda();
        tch::manual_seed(0);
        match &self.source {
            Source::Folders { train, val } => self.folders(train, val),
            Source::Mnist(directory) => self.mnist(directory),
        }
    }

    fn folders(&self, train: &Path, val: &Path) -> Result<(), Error> {
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
        let recipe = Recipe {
            input: Input { channels: 3, classes },
            epochs: self.epochs.unwrap_or(24),
            lr: self.lr.unwrap_or(1e-2),
            device: cuda_if_available(),
            accuracy_name: "val_accuracy",
        };
        let pool = WorkerPool::new(self.workers)?;
        let batch_size = self.batch_size.unwrap_or(16);
        fit(&recipe, &training(train, batch_size, &pool)?, &evaluation(val, &pool)?)
    }

    fn mnist(&self, directory: &Path) -> Result<(), Error> {
        let open = |split: &str| {
            let file = |kind: &str| directory.join(format!("{split}-{kind}-ubyte"));
            Idx::open(file("images-idx3"), file("labels-idx1"))
        };
        let (train, test) = (open("train")?, open("t10k")?);
        println!("{} training and {} test digits", train.len(), test.len());

        // The mean and standard deviation of the training digits.
        let to_tensor = ToTensor::f32().normalize(Normalize { mean: [0.1307], std: [0.3081] });
        let recipe = Recipe {
            input: Input { channels: 1, classes: 10 },
            epochs: self.epochs.unwrap_or(3),
            lr: self.lr.unwrap_or(1e-3),
            device: cuda_if_available(),
            accuracy_name: "test_accuracy",
        };
        let pool = WorkerPool::new(self.workers)?;
        let batch_size = self.batch_size.unwrap_or(64);
        fit(
            &recipe,
            &training(train.map(to_tensor.clone()), batch_size, &pool)?,
            &evaluation(test.map(to_tensor), &pool)?,
        )
    }

    /// `None` after `--help`.
    fn from_args() -> Result<Option<Self>, Error> {
        use lexopt::prelude::*;

        let (mut data, mut val, mut mnist) = (None, None, None);
        let (mut epochs, mut batch_size, mut size, mut lr) = (None, None, 64, None);
        // The cores are torch's on a machine without a GPU; a loader thread or two hold them up little.
        let mut workers = std::thread::available_parallelism().map_or(1, usize::from);
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
        Ok(Some(Settings { source, epochs, batch_size, size, lr, workers }))
    }
}

fn training<D: Images>(dataset: D, batch_size: usize, pool: &WorkerPool) -> sutler::Result<Loader<D>> {
    Loader::builder(dataset).batch_size(batch_size).shuffle(true).seed(0).drop_last(true).pool(pool).build()
}

fn evaluation<D: Images>(dataset: D, pool: &WorkerPool) -> sutler::Result<Loader<D>> {
    Loader::builder(dataset).batch_size(128).pool(pool).build()
}

const USAGE: &str =
    "usage: train --data TRAIN --val VAL [--epochs 24] [--batch-size 16] [--size 64] [--lr 0.01] [--workers N]
       train --mnist DIR [--epochs 3] [--batch-size 64] [--lr 0.001] [--workers N]
TRAIN and VAL have a directory of images for each class; DIR has MNIST's four IDX files.";
