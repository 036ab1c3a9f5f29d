//! `Log`: what a run says of itself, to a CSV file and to TensorBoard, from threads beside the loop.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sutler::telemetry::{Csv, Metrics, Telemetry, TensorBoard};
use tch::{Device, Kind, Tensor};

use crate::fit::Error;

/// How many steps there are between two losses in the log.
const EVERY: u64 = 10;

/// How long a checkpoint waits for the log.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Log {
    telemetry: Telemetry,
    /// The losses of the last steps, and how many these are.
    sum: Tensor,
    steps: u64,
    /// The mean loss up to an earlier step. It is read when the next is there, so that nobody waits for the GPU.
    mean: Option<(u64, Tensor)>,
}

impl Log {
    /// Opens the log of a run that has done so many steps: 0, if it is a new one.
    ///
    /// A run that goes on may have stood further when it ended than in its checkpoint. What comes again is removed.
    ///
    /// # Errors
    ///
    /// If a new run would be mixed with another that is in the directory.
    pub fn open(directory: &Path, steps: u64, is_resumed: bool, device: Device) -> Result<Self, Error> {
        let file = directory.join("metrics.csv");
        let csv = Csv::open(&file)?;
        if !is_resumed && fs::read_to_string(&file)?.lines().count() > 1 {
            let directory = directory.display();
            return Err(format!(
                "--log {directory}: it has another run; --resume that one, name another directory, or remove it"
            )
            .into());
        }
        let (csv, board) = (csv.purge_step(steps + 1)?, TensorBoard::create(directory)?.purge_step(steps + 1)?);
        let telemetry = Telemetry::builder().sink(csv).sink(board).start()?;
        let runs = directory.parent().unwrap_or(directory);
        println!("log: {}, and for tensorboard --logdir {}", file.display(), runs.display());
        Ok(Log { telemetry, sum: Tensor::zeros([], (Kind::Float, device)), steps: 0, mean: None })
    }

    /// Adds the loss of a step; every so many steps, their mean is logged, and what `metrics` gives.
    pub fn step(&mut self, step: u64, loss: &Tensor, metrics: impl FnOnce() -> Metrics) {
        self.sum += loss;
        self.steps += 1;
        if self.steps == EVERY {
            self.take_mean(step);
            self.telemetry.log(step, metrics());
        }
    }

    /// Logs an epoch, and waits until it is written: a checkpoint comes next, and what is missing then would never come.
    pub fn epoch(&mut self, step: u64, metrics: impl Into<Metrics>) {
        if self.steps > 0 {
            self.take_mean(step);
        }
        self.log_mean();
        self.telemetry.log(step, metrics);
        self.flush();
    }

    /// Waits until what was logged is written.
    pub fn flush(&self) {
        self.telemetry.flush(PATIENCE);
    }

    fn take_mean(&mut self, step: u64) {
        self.log_mean();
        self.mean = Some((step, &self.sum / self.steps as f64));
        let _ = self.sum.zero_();
        self.steps = 0;
    }

    fn log_mean(&mut self) {
        if let Some((step, mean)) = self.mean.take() {
            self.telemetry.log(step, [("train/loss", mean.double_value(&[]))]);
        }
    }
}

/// The first of `runs/1`, `runs/2` and so on that is not there.
pub fn next_run(runs: &Path) -> PathBuf {
    let mut numbered = (1..).map(|number: u64| runs.join(number.to_string()));
    numbered.find(|run| !run.exists()).expect("numbers do not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the log without their time.
    fn rows(directory: &Path) -> Vec<String> {
        let text = fs::read_to_string(directory.join("metrics.csv")).unwrap();
        let without_time = |line: &str| {
            line.split(',')
                .enumerate()
                .filter(|(at, _)| *at != 1)
                .map(|(_, cell)| cell.to_owned())
                .collect::<Vec<_>>()
                .join(",")
        };
        text.lines().map(without_time).collect()
    }

    fn train(log: &mut Log, steps: std::ops::RangeInclusive<u64>) {
        for step in steps {
            log.step(step, &Tensor::from(step as f32), || Metrics::from([("train/lr", 0.5)]));
        }
    }

    #[test]
    fn the_mean_loss_of_every_ten_steps_is_logged_and_that_of_the_rest_with_the_epoch() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path(), 0, false, Device::Cpu).unwrap();
        train(&mut log, 1..=23);
        log.epoch(23, [("val/accuracy", 0.25)]);
        let expected = [
            "step,train/lr,train/loss,val/accuracy",
            "10,0.5,,",
            "20,0.5,,",
            "10,,5.5,",
            "20,,15.5,",
            "23,,22,",
            "23,,,0.25",
        ];
        let mut rows = rows(directory.path());
        rows[1..].sort();
        let mut sorted = expected;
        sorted[1..].sort();
        assert_eq!(rows, sorted);
    }

    #[test]
    fn what_comes_again_is_in_the_log_once_and_runs_are_not_mixed() {
        let directory = tempfile::tempdir().unwrap();
        let open = |steps, is_resumed| Log::open(directory.path(), steps, is_resumed, Device::Cpu);
        drop(open(0, false).unwrap()); // stopped in its first steps
        let mut log = open(0, false).unwrap();
        (1..=3).for_each(|epoch| log.epoch(epoch * 5, [("epoch", epoch)]));
        drop(log);
        // The checkpoint is of step 10: epoch 3 comes again.
        let mut log = open(10, true).unwrap();
        (3..=4).for_each(|epoch| log.epoch(epoch * 5, [("epoch", epoch)]));
        assert_eq!(rows(directory.path()), ["step,epoch", "5,1", "10,2", "15,3", "20,4"]);
        let error = open(0, false).err().unwrap().to_string();
        assert!(error.contains("has another run"), "{error}");
        assert_eq!(rows(directory.path()).len(), 5);
    }

    #[test]
    fn a_run_without_a_name_gets_the_next_number() {
        let runs = tempfile::tempdir().unwrap();
        fs::create_dir(runs.path().join("1")).unwrap();
        fs::create_dir(runs.path().join("3")).unwrap();
        assert_eq!(next_run(runs.path()), runs.path().join("2"));
    }
}
