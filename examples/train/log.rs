//! `Log`: what a run says of itself, to a CSV file and to TensorBoard, from threads beside the
//! loop; and what they read of GPU and machine.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use sutler::monitor::{Gpu, GpuReading, Host, HostReading, Monitor};
use sutler::telemetry::{Csv, Metrics, Telemetry, TensorBoard};
use tch::{Device, Kind, Tensor};

use crate::fit::Error;

/// How many steps there are between two losses in the log.
const EVERY: u64 = 10;

/// How many readings of GPU and machine, one a second, wait for the next of these steps.
const HISTORY: usize = 60;

/// How long a checkpoint waits for the log.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Log {
    telemetry: Telemetry,
    host: Monitor<HostReading>,
    /// `None` without a GPU.
    gpus: Option<Monitor<Vec<GpuReading>>>,
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
        // Before anything is written there.
        if !is_resumed && fs::read_to_string(&file).is_ok_and(|text| text.lines().count() > 1) {
            let directory = directory.display();
            return Err(format!(
                "--log {directory}: it has another run; --resume that one, name another directory, or remove it"
            )
            .into());
        }
        let csv = Csv::open(&file)?.purge_step(steps + 1)?;
        let board = TensorBoard::create(directory)?.purge_step(steps + 1)?;
        let telemetry = Telemetry::builder().sink(csv).sink(board).start()?;
        let directory = std::path::absolute(directory)?;
        println!("log: {}/metrics.csv, and for tensorboard --logdir {0}", directory.display());
        let second = Duration::from_secs(1);
        let host = Monitor::every(second, Host::new()).name("host").history(HISTORY).start()?;
        let gpus = match Gpu::open() {
            Ok(gpus) => Some(Monitor::every(second, gpus).name("gpu").history(HISTORY).start()?),
            Err(_) => None,
        };
        Ok(Log { telemetry, host, gpus, sum: Tensor::zeros([], (Kind::Float, device)), steps: 0, mean: None })
    }

    /// Adds the loss of a step; every so many steps, their mean is logged, and what `metrics` gives.
    pub fn step(&mut self, step: u64, loss: &Tensor, metrics: impl FnOnce() -> Metrics) {
        self.sum += loss;
        self.steps += 1;
        if self.steps == EVERY {
            self.take_mean(step);
            self.telemetry.log(step, metrics());
            self.log_readings(step);
        }
    }

    /// Logs what was read of this machine since the last time.
    fn log_readings(&self, step: u64) {
        self.host.history().iter().for_each(|reading| self.telemetry.log(step, &reading.value));
        let gpus = self.gpus.iter().flat_map(Monitor::history);
        gpus.for_each(|reading| self.telemetry.log(step, &reading.value));
    }

    /// Logs what there is to say of an epoch.
    pub fn epoch(&mut self, step: u64, metrics: impl Into<Metrics>) {
        self.telemetry.log(step, metrics);
        self.flush(step);
    }

    /// Waits until what was logged is written, the losses up to this step as well: before a checkpoint, since what is
    /// missing then would never come.
    pub fn flush(&mut self, step: u64) {
        if self.steps > 0 {
            self.take_mean(step);
        }
        self.log_mean();
        let report = self.telemetry.flush(PATIENCE);
        if !report.is_complete() {
            eprintln!("the log is behind:\n{report}");
        }
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

/// Makes the first directory of `runs/1`, `runs/2` and so on that is not there.
pub fn next_run(runs: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(runs)?;
    for number in 1_u64.. {
        let run = runs.join(number.to_string());
        match fs::create_dir(&run) {
            // Also of a run that begins at the same moment.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| run),
        }
    }
    unreachable!("numbers do not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the log has under a name: step and value.
    fn column(directory: &Path, name: &str) -> Vec<(u64, f64)> {
        let text = fs::read_to_string(directory.join("metrics.csv")).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let column = rows[0].iter().position(|column| *column == name).unwrap();
        let cells = rows[1..].iter().filter(|row| !row[column].is_empty());
        cells.map(|row| (row[0].parse().unwrap(), row[column].parse().unwrap())).collect()
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
        let column = |name| column(directory.path(), name);
        assert_eq!(column("train/lr"), [(10, 0.5), (20, 0.5)]);
        assert_eq!(column("train/loss"), [(10, 5.5), (20, 15.5), (23, 22.0)]);
        assert_eq!(column("val/accuracy"), [(23, 0.25)]);
    }

    #[test]
    fn what_is_read_of_the_machine_is_logged_with_the_next_step() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path(), 0, false, Device::Cpu).unwrap();
        while log.host.latest().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        train(&mut log, 1..=10);
        log.flush(10);
        let memory = column(directory.path(), "host/memory_used");
        assert!(memory[0].0 == 10 && memory[0].1 > 0.0, "{memory:?}");
    }

    #[test]
    fn a_checkpoint_has_all_losses_before_it_in_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path(), 0, false, Device::Cpu).unwrap();
        train(&mut log, 1..=17);
        log.flush(17);
        assert_eq!(column(directory.path(), "train/loss"), [(10, 5.5), (17, 14.0)]);
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
        let epochs = [(5, 1.0), (10, 2.0), (15, 3.0), (20, 4.0)];
        assert_eq!(column(directory.path(), "epoch"), epochs);
        let error = open(0, false).err().unwrap().to_string();
        assert!(error.contains("has another run"), "{error}");
        assert_eq!(column(directory.path(), "epoch"), epochs);
    }

    #[test]
    fn a_run_without_a_name_gets_the_next_number() {
        let runs = tempfile::tempdir().unwrap();
        let runs = runs.path().join("runs");
        fs::create_dir_all(runs.join("2")).unwrap();
        let made = [(); 3].map(|()| next_run(&runs).unwrap());
        assert_eq!(made, ["1", "3", "4"].map(|number| runs.join(number)));
        assert!(made.iter().all(|run| run.is_dir()));
    }
}
