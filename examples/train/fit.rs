//! The loop: train, validate, report.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sutler::image::ImageTensor;
use sutler::{Dataset, Loader};
use tch::nn::{self, ModuleT, OptimizerConfig};
use tch::{Device, Kind, Tensor, no_grad};

use crate::model::{Input, network};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A dataset of normalised images and their classes.
pub trait Images: Dataset<Sample = (ImageTensor<f32>, i64)> + 'static {}
impl<D: Dataset<Sample = (ImageTensor<f32>, i64)> + 'static> Images for D {}

pub struct Recipe {
    pub input: Input,
    pub epochs: u32,
    /// The highest learning rate of the schedule.
    pub lr: f64,
    pub device: Device,
    /// What the last line calls the accuracy.
    pub accuracy_name: &'static str,
}

/// Trains for all epochs; prints a line for each, and a last one as JSON.
pub fn fit(recipe: &Recipe, train: &Loader<impl Images>, val: &Loader<impl Images>) -> Result<(), Error> {
    if train.is_empty() || val.is_empty() {
        return Err("too few images for one batch: use a smaller --batch-size".into());
    }
    let vs = nn::VarStore::new(recipe.device);
    let network = network(&vs.root(), &recipe.input);
    let mut optimizer = nn::Adam::default().build(&vs, recipe.lr)?;
    optimizer.set_weight_decay(1e-4);

    let steps = u64::from(recipe.epochs) * train.len() as u64;
    let mut step = 0;
    let mut training_time = Duration::ZERO;
    let mut images = 0;
    let mut accuracy = 0.0;
    for epoch in 1..=recipe.epochs {
        let before = train.stats();
        let started = Instant::now();
        let mut loss_sum = Tensor::zeros([], (Kind::Float, recipe.device));
        let bar = bar(epoch, recipe.epochs, train.len());
        for (number, batch) in train.epoch().to_device(recipe.device).enumerate() {
            let (inputs, labels) = batch?;
            optimizer.set_lr(recipe.lr * one_cycle(step as f64 / steps as f64));
            let loss = network.forward_t(&inputs, true).cross_entropy_for_logits(&labels);
            optimizer.backward_step(&loss);
            loss_sum += loss.detach();
            step += 1;
            images += inputs.size()[0];

            bar.inc(1);
            if bar.is_hidden() || number % 10 != 9 {
                continue; // reading the loss would wait for the GPU
            }
            let stats = train.stats().since(&before);
            bar.set_message(format!(
                "{:.0} images/s, loss {:.3}, waited {:.1}% for data",
                stats.batches as f64 * inputs.size()[0] as f64 / started.elapsed().as_secs_f64(),
                loss_sum.double_value(&[]) / (number + 1) as f64,
                stats.consumer_wait_share() * 100.0,
            ));
        }
        let mean_loss = loss_sum.double_value(&[]) / train.len() as f64;
        training_time += started.elapsed();
        bar.finish_and_clear();
        accuracy = evaluate(&network, val, recipe.device)?;
        let stats = train.stats().since(&before);
        println!(
            "epoch {epoch}/{}: {:.0} images/s, loss {mean_loss:.4}, accuracy {:.2}%, waited {:.1}% for data",
            recipe.epochs,
            images as f64 / training_time.as_secs_f64(),
            accuracy * 100.0,
            stats.consumer_wait_share() * 100.0,
        );
    }
    println!(
        r#"{{"epochs":{},"{}":{accuracy:.4},"images_per_second":{:.1},"consumer_wait":{:.4},"device":"{}"}}"#,
        recipe.epochs,
        recipe.accuracy_name,
        images as f64 / training_time.as_secs_f64(),
        train.stats().consumer_wait_share(),
        if recipe.device.is_cuda() { "cuda" } else { "cpu" },
    );
    Ok(())
}

/// The share of validation images whose class is recognised.
fn evaluate(network: &impl ModuleT, val: &Loader<impl Images>, device: Device) -> Result<f64, Error> {
    let (mut right, mut total) = (0, 0);
    for batch in val.epoch().to_device(device) {
        let (inputs, labels) = batch?;
        let recognised = no_grad(|| network.forward_t(&inputs, false).argmax(-1, false).eq_tensor(&labels));
        right += recognised.sum(Kind::Int64).int64_value(&[]);
        total += labels.size()[0];
    }
    Ok(right as f64 / total as f64)
}

/// The factor on the learning rate at a point of the run in `[0, 1)`: up for a quarter of it, then down to zero in a
/// cosine (Smith and Topin, 2018).
fn one_cycle(at: f64) -> f64 {
    let half_cosine = |x: f64| (1.0 - (std::f64::consts::PI * x).cos()) / 2.0;
    if at < 0.25 { 0.1 + 0.9 * half_cosine(at / 0.25) } else { half_cosine((1.0 - at) / 0.75) }
}

fn bar(epoch: u32, epochs: u32, batches: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("epoch {prefix} {wide_bar} {pos}/{len} batches, {msg}").expect("a valid template");
    ProgressBar::new(batches as u64).with_style(style).with_prefix(format!("{epoch}/{epochs}"))
}
