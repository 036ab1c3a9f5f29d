//! Checkpoints: all that a run needs to go on as if it had never been stopped.
//!
//! Each is a folder of its own in the run's directory, `step-1234`, which bears that name only once it is whole. The one
//! before it is removed after that, so there is always one that can be used. In it are `model.safetensors`, which other
//! programs can read as well, `optimizer.safetensors`, and `run.json`, a [`Progress`].

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::nn::VarStore;

use crate::amp::GradScaler;
use crate::fit::Error;
use crate::optimizer::AdamW;

/// Where a run stands, tensors excepted.
#[derive(Clone, Serialize, Deserialize)]
pub struct Progress {
    /// What must not change on the way, as the arguments that say it.
    pub settings: String,
    /// Where the loader of training images goes on: a `sutler::LoaderState` as its line of text, set when it is saved.
    pub loader: String,
    /// Epochs done.
    pub epoch: u32,
    /// Batches so far, in all epochs; it is the place in the schedule of the learning rate as well.
    pub step: u64,
    /// The sum of the losses of this epoch's batches so far.
    pub loss_sum: f64,
    /// Of the last epoch, as the accuracy.
    pub train_loss: f64,
    pub accuracy: f64,
    pub best_accuracy: f64,
    pub scaler: GradScaler,
}

impl Progress {
    /// The beginning.
    pub fn new(settings: &str, scaler: GradScaler) -> Self {
        Progress {
            settings: settings.into(),
            loader: String::new(),
            epoch: 0,
            step: 0,
            loss_sum: 0.0,
            train_loss: 0.0,
            accuracy: 0.0,
            best_accuracy: 0.0,
            scaler,
        }
    }
}

/// Writes a checkpoint, and then removes the one before it.
pub fn save(directory: &Path, vs: &VarStore, optimizer: &AdamW, progress: &Progress) -> Result<(), Error> {
    let partial = directory.join("partial");
    let write = || -> Result<(), Error> {
        if partial.exists() {
            fs::remove_dir_all(&partial)?; // of a run that was stopped here
        }
        fs::create_dir_all(&partial)?;
        vs.save(partial.join(MODEL))?;
        optimizer.save(&partial.join(OPTIMIZER))?;
        fs::write(partial.join(RUN), serde_json::to_string_pretty(progress)? + "\n")?;
        for file in [MODEL, OPTIMIZER, RUN] {
            // Their bytes before their name: else, after a power failure, the name may be all there is.
            File::open(partial.join(file))?.sync_all()?;
        }
        let before = all(directory)?;
        fs::rename(&partial, directory.join(format!("step-{}", progress.step)))?;
        for (_, folder) in before {
            fs::remove_dir_all(folder)?;
        }
        Ok(())
    };
    write().map_err(|error| format!("cannot write a checkpoint into {}: {error}", directory.display()).into())
}

/// What the newest checkpoint says of a run with these settings.
///
/// # Errors
///
/// If there is none, or one of another run.
pub fn progress(directory: &Path, settings: &str) -> Result<Progress, Error> {
    let newest = newest(directory)?;
    let progress: Progress = serde_json::from_str(&fs::read_to_string(newest.join(RUN))?)
        .map_err(|error| format!("{}: {error}", newest.join(RUN).display()))?;
    if progress.settings != settings {
        return Err(format!(
            "the run in {} is one of {}, this one is of {settings}",
            directory.display(),
            progress.settings
        )
        .into());
    }
    Ok(progress)
}

/// Loads what the newest checkpoint has of tensors.
pub fn load(directory: &Path, vs: &mut VarStore, optimizer: &mut AdamW) -> Result<(), Error> {
    let newest = newest(directory)?;
    vs.load(newest.join(MODEL))?;
    optimizer.load(&newest.join(OPTIMIZER))?;
    Ok(())
}

/// Whether a run that goes on from `resume`, if from anywhere, may write into `directory`.
///
/// # Errors
///
/// If another run's checkpoint is there. It would be removed with the next one.
pub fn check_is_free(directory: &Path, resume: Option<&Path>) -> Result<(), Error> {
    let is_same = |resume: &Path| fs::canonicalize(resume).ok() == fs::canonicalize(directory).ok();
    if all(directory).is_ok_and(|all| !all.is_empty()) && !resume.is_some_and(is_same) {
        let directory = directory.display();
        return Err(format!(
            "--checkpoint {directory}: it has another run; --resume that one, or name another directory"
        )
        .into());
    }
    Ok(())
}

fn newest(directory: &Path) -> Result<PathBuf, Error> {
    let all = all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    match all.into_iter().max() {
        Some((_, folder)) => Ok(folder),
        None => Err(format!("there is no checkpoint in {}", directory.display()).into()),
    }
}

/// Those that are whole, with their steps. There is more than one if a run ended before it had removed the older.
fn all(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let step = entry.file_name().to_str().and_then(|name| name.strip_prefix("step-")?.parse().ok());
        all.extend(step.map(|step| (step, entry.path())));
    }
    Ok(all)
}

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const RUN: &str = "run.json";

#[cfg(test)]
mod tests {
    use tch::{Device, Tensor};

    use super::*;

    fn progress_at(step: u64) -> Progress {
        Progress { step, loss_sum: 0.1 + 0.2, ..Progress::new("--lr 0.1", GradScaler::new(true)) }
    }

    fn weights(values: [f32; 2]) -> (VarStore, Tensor) {
        let vs = VarStore::new(Device::Cpu);
        let weights = vs.root().var_copy("weights", &Tensor::from_slice(&values));
        (vs, weights)
    }

    fn folders(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_comes_back_and_only_it_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("runs/a");
        for step in [9, 10] {
            let (vs, _) = weights([step as f32, 0.5]);
            save(&directory, &vs, &AdamW::new(&vs), &progress_at(step)).unwrap();
        }
        assert_eq!(folders(&directory), ["step-10"]);

        let progress = progress(&directory, "--lr 0.1").unwrap();
        assert_eq!((progress.step, progress.loss_sum), (10, 0.1 + 0.2));
        assert_eq!(progress.scaler, GradScaler::new(true));
        let (mut vs, weights) = weights([0.0, 0.0]);
        let mut optimizer = AdamW::new(&vs);
        load(&directory, &mut vs, &mut optimizer).unwrap();
        assert_eq!(Vec::<f32>::try_from(weights).unwrap(), [10.0, 0.5]);
    }

    #[test]
    fn a_failure_leaves_the_one_before_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (vs, _) = weights([1.0, 2.0]);
        let optimizer = AdamW::new(&vs);
        save(directory.path(), &vs, &optimizer, &progress_at(1)).unwrap();
        // A file where the folder is to be made.
        fs::write(directory.path().join("partial"), "").unwrap();
        let error = save(directory.path(), &vs, &optimizer, &progress_at(2)).unwrap_err().to_string();
        assert!(error.starts_with("cannot write a checkpoint into "), "{error}");
        assert_eq!(progress(directory.path(), "--lr 0.1").unwrap().step, 1);
        // What a stopped run left is no checkpoint, and in nobody's way.
        fs::remove_file(directory.path().join("partial")).unwrap();
        fs::create_dir(directory.path().join("partial")).unwrap();
        fs::write(directory.path().join("partial/rest"), "").unwrap();
        save(directory.path(), &vs, &optimizer, &progress_at(2)).unwrap();
        assert_eq!(folders(directory.path()), ["step-2"]);
        assert_eq!(folders(&directory.path().join("step-2")), [MODEL, OPTIMIZER, RUN]);
    }

    #[test]
    fn the_checkpoint_of_another_run_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (mine, other) = (directory.path().join("mine"), directory.path().join("other"));
        assert!(check_is_free(&mine, None).is_ok()); // it need not be there
        let (vs, _) = weights([1.0, 2.0]);
        for directory in [&mine, &other] {
            save(directory, &vs, &AdamW::new(&vs), &progress_at(1)).unwrap();
        }
        let error = check_is_free(&mine, None).unwrap_err().to_string();
        assert!(error.contains("it has another run"), "{error}");
        assert!(check_is_free(&mine, Some(&other)).is_err());
        assert!(check_is_free(&mine, Some(&other.join("../mine"))).is_ok());
    }

    #[test]
    fn a_run_with_other_settings_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = progress(directory.path(), "").err().unwrap().to_string();
        assert!(error.starts_with("there is no checkpoint in "), "{error}");
        let (vs, _) = weights([1.0, 2.0]);
        save(directory.path(), &vs, &AdamW::new(&vs), &progress_at(1)).unwrap();
        let error = progress(directory.path(), "--lr 0.2").err().unwrap().to_string();
        assert!(error.contains("is one of --lr 0.1, this one is of --lr 0.2"), "{error}");
    }
}
