//! `Trainer`: what is done with a batch, with an epoch, and with a run that goes on.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sutler::telemetry::Metrics;
use sutler::{Epoch, Loader, LoaderState, Stack};
use tch::nn::{ModuleT, VarStore};
use tch::{Kind, Tensor, autocast, no_grad};

use crate::amp::GradScaler;
use crate::checkpoint::{self, Progress};
use crate::fit::{Error, Images, Recipe};
use crate::log::Log;
use crate::optimizer::AdamW;

/// A run: the network, what trains it, and how far it has come.
pub struct Trainer<'a, N> {
    recipe: &'a Recipe,
    /// In an epoch.
    batches: u64,
    network: N,
    optimizer: AdamW,
    vs: VarStore,
    log: Option<Log>,
    pub run: Progress,
}

impl<'a, N: ModuleT> Trainer<'a, N> {
    /// Trains `network`, whose variables are those of `vs`, in epochs of so many batches.
    pub fn new(recipe: &'a Recipe, batches: u64, vs: VarStore, network: N) -> Self {
        let run = Progress::new(&recipe.settings, GradScaler::new(recipe.amp));
        Trainer { recipe, batches, network, optimizer: AdamW::new(&vs), vs, log: None, run }
    }

    /// Logs from here on into that directory.
    pub fn log(&mut self, directory: &Path) -> Result<(), Error> {
        let Recipe { resume, device, .. } = self.recipe;
        self.log = Some(Log::open(directory, self.run.step, resume.is_some(), *device)?);
        Ok(())
    }

    /// Goes on from a checkpoint; gives what is left of its epoch.
    pub fn resume<D: Images>(&mut self, directory: &Path, loader: &Loader<D>) -> Result<Epoch<D, Stack>, Error> {
        let scaler = self.run.scaler.clone();
        self.run = checkpoint::progress(directory, &self.recipe.settings)?;
        if self.run.scaler.is_enabled() != scaler.is_enabled() {
            self.run.scaler = scaler; // it was taken on another device
        }
        // The loader first: it knows whether these are the images of that run.
        let rest = loader.resume(&self.run.loader.parse::<LoaderState>()?)?;
        checkpoint::load(directory, &mut self.vs, &mut self.optimizer)?;
        println!("resumed after {} epochs and {} steps", self.run.epoch, self.run.step);
        Ok(rest)
    }

    /// Trains for an epoch, or what is left of one; says with how many images.
    pub fn train<D: Images>(&mut self, loader: &Loader<D>, epoch: Epoch<D, Stack>) -> Result<u64, Error> {
        let device = self.recipe.device;
        let (before, started) = (loader.stats(), Instant::now());
        let bar = bar(self.run.epoch + 1, self.recipe.epochs, self.batches);
        let mut loss_sum = Tensor::full([], self.run.loss_sum, (Kind::Float, device));
        let mut images = 0;
        let mut epoch = epoch.to_device(device);
        while let Some(batch) = epoch.next() {
            let (inputs, labels) = batch?;
            let loss = self.step(&inputs, &labels);
            loss_sum += &loss;
            images += inputs.size()[0] as u64;
            self.log_step(&loss, || {
                let mut metrics = Metrics::from(loader.stats().since(&before));
                metrics.push("train/images_per_second", per_second(images, started.elapsed()));
                metrics
            });

            let number = (self.run.step - 1) % self.batches + 1;
            let is_due = self.recipe.checkpoint_every.is_some_and(|every| self.run.step.is_multiple_of(every));
            // Behind the last batch comes the one of the epoch.
            if is_due && number < self.batches {
                self.flush_log();
                self.run.loss_sum = self.finite(&loss_sum)?;
                self.save(epoch.state())?;
            }
            bar.set_position(number);
            if bar.is_hidden() || !number.is_multiple_of(10) {
                continue; // reading the loss would wait for the GPU
            }
            bar.set_message(format!(
                "{:.0} images/s, loss {:.3}, waited {:.1}% for data",
                per_second(images, started.elapsed()),
                loss_sum.double_value(&[]) / number as f64,
                loader.stats().since(&before).consumer_wait_share() * 100.0,
            ));
        }
        bar.finish_and_clear();
        self.flush_log();
        self.run.train_loss = self.finite(&loss_sum)? / self.batches as f64;
        self.run.loss_sum = 0.0;
        self.run.epoch += 1;
        Ok(images)
    }

    /// Trains with one batch; gives its mean loss.
    pub fn step(&mut self, inputs: &Tensor, labels: &Tensor) -> Tensor {
        let lr = self.learning_rate(self.run.step);
        let Trainer { recipe, network, optimizer, run, .. } = self;
        // What a step draws, for dropout, depends on its number alone: a run that goes on draws the same.
        tch::manual_seed(recipe.seed + 1 + run.step as i64);
        let loss = autocast(recipe.amp, || network.forward_t(inputs, true).cross_entropy_for_logits(labels));
        optimizer.zero_grad();
        run.scaler.scale(&loss).backward();
        let is_finite = run.scaler.unscale(&mut optimizer.gradients());
        if is_finite {
            optimizer.step(lr);
        }
        run.scaler.update(is_finite);
        run.step += 1;
        loss.detach()
    }

    /// Notes the share of validation images whose class is recognised.
    pub fn validate(&mut self, val: &Loader<impl Images>) -> Result<(), Error> {
        let Recipe { device, amp, .. } = *self.recipe;
        let (mut right, mut total) = (0, 0);
        // By its number: what it draws, if it does, is the same in a run that goes on.
        for batch in val.epoch_at(u64::from(self.run.epoch)).to_device(device) {
            let (inputs, labels) = batch?;
            let scores = no_grad(|| autocast(amp, || self.network.forward_t(&inputs, false)));
            right += scores.argmax(-1, false).eq_tensor(&labels).sum(Kind::Int64).int64_value(&[]);
            total += labels.size()[0];
        }
        self.run.accuracy = right as f64 / total as f64;
        self.run.best_accuracy = self.run.best_accuracy.max(self.run.accuracy);
        Ok(())
    }

    /// Writes a checkpoint, if that is wanted, from which the loader goes on at `state`.
    pub fn save(&mut self, state: LoaderState) -> Result<(), Error> {
        let Some(directory) = &self.recipe.checkpoint else { return Ok(()) };
        self.run.loader = state.to_string();
        checkpoint::save(directory, &self.vs, &self.optimizer, &self.run)
    }

    fn log_step(&mut self, loss: &Tensor, metrics: impl FnOnce() -> Metrics) {
        let (step, lr, scale) = (self.run.step, self.learning_rate(self.run.step - 1), self.run.scaler.factor());
        if let Some(log) = &mut self.log {
            log.step(step, loss, || {
                let mut metrics = metrics();
                metrics.extend([("train/learning_rate", lr), ("train/loss_scale", scale)]);
                metrics
            });
        }
    }

    fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush(self.run.step);
        }
    }

    /// Logs what there is to say of an epoch.
    pub fn log_epoch(&mut self, metrics: Metrics) {
        if let Some(log) = &mut self.log {
            log.epoch(self.run.step, metrics);
        }
    }

    /// The value of a loss.
    ///
    /// # Errors
    ///
    /// If it is none any more: weights without use must not take the place of the last checkpoint.
    fn finite(&self, loss: &Tensor) -> Result<f64, Error> {
        match loss.double_value(&[]) {
            value if value.is_finite() => Ok(value),
            value => Err(format!("the loss is {value} at step {}: try a lower --lr", self.run.step).into()),
        }
    }

    /// That of a step: up for a quarter of the run, then down to zero in a cosine (Smith and Topin, 2018).
    pub fn learning_rate(&self, step: u64) -> f64 {
        let steps = u64::from(self.recipe.epochs) * self.batches;
        let at = step as f64 / steps as f64;
        let half_cosine = |x: f64| (1.0 - (std::f64::consts::PI * x).cos()) / 2.0;
        let factor = if at < 0.25 { 0.1 + 0.9 * half_cosine(at / 0.25) } else { half_cosine((1.0 - at) / 0.75) };
        self.recipe.lr * factor
    }
}

/// 0 if no time has passed.
pub fn per_second(images: u64, time: Duration) -> f64 {
    images as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn bar(epoch: u32, epochs: u32, batches: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("epoch {prefix} {wide_bar} {pos}/{len} batches, {msg}").expect("a valid template");
    ProgressBar::new(batches).with_style(style).with_prefix(format!("{epoch}/{epochs}"))
}
