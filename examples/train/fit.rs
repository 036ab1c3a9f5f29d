//! The loop: train, validate, report, keep a checkpoint.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sutler::image::ImageTensor;
use sutler::telemetry::Metrics;
use sutler::{Dataset, Loader};
use tch::Device;
use tch::nn::VarStore;

use crate::checkpoint;
use crate::model::{Input, network};
use crate::trainer::{Trainer, per_second};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A dataset of normalised images and their classes.
pub trait Images: Dataset<Sample = (ImageTensor<f32>, i64)> + 'static {}
impl<D: Dataset<Sample = (ImageTensor<f32>, i64)> + 'static> Images for D {}

pub struct Recipe {
    pub input: Input,
    pub epochs: u32,
    /// The highest learning rate of the schedule.
    pub lr: f64,
    /// Of the weights, and of what the steps draw.
    pub seed: i64,
    /// What must be the same when the run goes on, as the arguments that say it.
    pub settings: String,
    pub device: Device,
    /// Forward passes in 16 bits, which only CUDA has.
    pub amp: bool,
    /// Where checkpoints go: one after each epoch,
    pub checkpoint: Option<PathBuf>,
    /// and one after so many batches.
    pub checkpoint_every: Option<u64>,
    /// Where the checkpoint is that the run goes on from.
    pub resume: Option<PathBuf>,
    /// The directory of the log.
    pub log: Option<PathBuf>,
    /// What the last line calls the accuracy.
    pub accuracy_name: &'static str,
}

/// Trains for all epochs; prints a line for each, and a last one as JSON.
pub fn fit<D: Images>(recipe: &Recipe, train: &Loader<D>, val: &Loader<impl Images>) -> Result<(), Error> {
    if train.is_empty() || val.is_empty() {
        return Err("too few images for one batch: use a smaller --batch-size".into());
    }
    if let Some(directory) = &recipe.checkpoint {
        checkpoint::check_is_free(directory, recipe.resume.as_deref())?;
    }
    tch::manual_seed(recipe.seed);
    let vs = VarStore::new(recipe.device);
    let network = network(&vs.root(), &recipe.input);
    let mut trainer = Trainer::new(recipe, train.len() as u64, vs, network);
    // Of the first epoch, if it was begun already.
    let mut rest = match &recipe.resume {
        Some(directory) => Some(trainer.resume(directory, train)?),
        None => None,
    };
    if let Some(directory) = &recipe.log {
        trainer.log(directory)?;
    }

    let (mut all_images, mut all_time) = (0, Duration::ZERO);
    while trainer.run.epoch < recipe.epochs {
        let (before, started) = (train.stats(), Instant::now());
        let images = trainer.train(train, rest.take().unwrap_or_else(|| train.epoch()))?;
        let time = started.elapsed();
        trainer.validate(val)?;
        (all_images, all_time) = (all_images + images, all_time + time);

        let (run, stats) = (&trainer.run, train.stats().since(&before));
        println!(
            "epoch {}/{}: {:.0} images/s, loss {:.4}, accuracy {:.2}%, waited {:.1}% for data",
            run.epoch,
            recipe.epochs,
            per_second(images, time),
            run.train_loss,
            run.accuracy * 100.0,
            stats.consumer_wait_share() * 100.0,
        );
        let metrics = Metrics::from([
            ("epoch/number", f64::from(run.epoch)),
            ("epoch/train_loss", run.train_loss),
            ("epoch/val_accuracy", run.accuracy),
            ("epoch/images_per_second", per_second(images, time)),
            ("epoch/seconds", started.elapsed().as_secs_f64()),
        ]);
        // Before the checkpoint: what is missing in the log then would never come.
        trainer.log_epoch(metrics);
        trainer.save(train.state()?)?;
    }

    println!("{}", train.stats().diagnosis());
    if !train.quarantine().is_empty() {
        println!("{}", train.quarantine());
    }
    let run = &trainer.run;
    println!(
        r#"{{"epochs":{},"{}":{:.4},"images_per_second":{:.1},"consumer_wait":{:.4},"device":"{}",{}}}"#,
        recipe.epochs,
        recipe.accuracy_name,
        run.accuracy,
        per_second(all_images, all_time),
        train.stats().consumer_wait_share(),
        if recipe.device.is_cuda() { "cuda" } else { "cpu" },
        format_args!(r#""best_accuracy":{:.4},"train_loss":{:.6}"#, run.best_accuracy, run.train_loss),
    );
    Ok(())
}
