//! Whole runs, of few batches, on the CPU.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use sutler::image::Normalize;
use sutler::transform::{RandomHorizontalFlip, RandomResizedCrop, ToTensor};
use sutler::{Dataset, ImageFolder, Loader};
use tch::nn::{self, VarStore};
use tch::{Device, Tensor};

use crate::fit::{Images, Recipe, fit};
use crate::model::Input;
use crate::trainer::Trainer;

const BATCH: usize = 8;
const BATCHES: usize = 5;

/// Every twelfth of the fixture images, small; an error once `lives` samples were loaded.
fn loader(lives: usize) -> Loader<impl Images> {
    let folder = ImageFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/shapes/train")).unwrap();
    let indices: Vec<usize> = (0..folder.len()).step_by(folder.len() / (BATCH * BATCHES)).collect();
    let loaded = AtomicUsize::new(0);
    let dataset = folder
        .subset(indices)
        .unwrap()
        .map(RandomResizedCrop::new(16))
        .map(RandomHorizontalFlip::default())
        .map(ToTensor::f32().normalize(Normalize::IMAGENET))
        .map(move |sample, _: &mut _| match loaded.fetch_add(1, Relaxed) {
            number if number < lives => Ok(sample),
            _ => Err(sutler::Error::msg("the plug was pulled")),
        });
    // In the caller's thread nothing is loaded ahead, so it is known which batch fails.
    Loader::builder(dataset).batch_size(BATCH).shuffle(true).seed(3).drop_last(true).num_workers(0).build().unwrap()
}

fn recipe(directory: &Path) -> Recipe {
    Recipe {
        input: Input { channels: 3, classes: 4 },
        epochs: 2,
        lr: 1e-2,
        seed: 3,
        settings: "--epochs 2".into(),
        device: Device::Cpu,
        amp: false,
        checkpoint: Some(directory.join("run")),
        checkpoint_every: Some(2),
        resume: None,
        log: Some(directory.join("log")),
        accuracy_name: "val_accuracy",
    }
}

/// The bytes of each file of the checkpoint after step `step`.
fn checkpoint(directory: &Path, step: usize) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = directory.join(format!("run/step-{step}"));
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    files.map(|file| (file.file_name().into(), std::fs::read(file.path()).unwrap())).collect()
}

/// What the log says of each epoch, but for times.
fn log(directory: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(directory.join("log/metrics.csv")).unwrap();
    let mut rows = text.lines().map(|line| line.split(',').map(String::from).collect::<Vec<_>>());
    let header = rows.next().unwrap();
    let columns = ["step", "epoch/number", "epoch/train_loss", "epoch/val_accuracy"];
    let columns = columns.map(|name| header.iter().position(|column| column == name).unwrap());
    let rows = rows.map(|row| columns.map(|column| row[column].clone()).to_vec());
    rows.filter(|row| !row[1].is_empty()).collect()
}

/// The tests that seed torch's generator, which belongs to the whole process, come one after another.
static GENERATOR: Mutex<()> = Mutex::new(());

#[test]
fn a_run_that_was_stopped_ends_as_one_that_was_not() {
    let _alone = GENERATOR.lock();
    // On the CPU, `amp` is the loss scaler alone.
    for amp in [false, true] {
        let [whole, stopped] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let first = Recipe { amp, ..recipe(whole.path()) };
        fit(&first, &loader(usize::MAX), &loader(usize::MAX)).unwrap();

        // In batch 4 of the first epoch, after a checkpoint at 2; then in batch 3 of the second, after one at 6.
        let first = Recipe { amp, ..recipe(stopped.path()) };
        let error = fit(&first, &loader(3 * BATCH), &loader(usize::MAX)).unwrap_err().to_string();
        assert!(error.contains("the plug was pulled"), "{error}");
        assert_eq!(checkpoint(stopped.path(), 2).len(), 3);
        let again = Recipe { amp, resume: first.checkpoint.clone(), ..recipe(stopped.path()) };
        fit(&again, &loader((7 - 2) * BATCH), &loader(usize::MAX)).unwrap_err();
        assert_eq!(checkpoint(stopped.path(), 6).len(), 3);
        fit(&again, &loader(usize::MAX), &loader(usize::MAX)).unwrap();

        // Weights, moments, loss, accuracy, the loader's state: bit for bit.
        let last = 2 * BATCHES;
        assert!(checkpoint(whole.path(), last) == checkpoint(stopped.path(), last));
        assert_eq!(log(whole.path()), log(stopped.path()));
        assert_eq!(log(whole.path()).len(), 2);

        // A run that is through has nothing left to do.
        fit(&again, &loader(0), &loader(0)).unwrap();
    }
}

#[test]
fn a_step_whose_gradients_overflow_changes_the_scale_alone() {
    let _alone = GENERATOR.lock();
    let recipe = Recipe { amp: true, ..recipe(Path::new("")) };
    let vs = VarStore::new(Device::Cpu);
    let weights = vs.root().zeros("weights", &[1, 2]);
    let network = nn::func({
        let weights = weights.shallow_clone();
        move |inputs| inputs.matmul(&weights)
    });
    let mut trainer = Trainer::new(&recipe, BATCHES as u64, vs, network);
    let labels = Tensor::from_slice(&[1i64]);
    // The gradient is half of the input, which only the scale of 65536 makes too large.
    let loss = trainer.step(&Tensor::from_slice(&[1e35f32]).view([1, 1]), &labels);
    assert!(loss.double_value(&[]).is_finite());
    assert_eq!(Vec::<f32>::try_from(weights.flatten(0, -1)).unwrap(), [0.0; 2]);
    assert_eq!((trainer.run.step, trainer.run.scaler.factor()), (1, 32768.0));

    let _ = trainer.step(&Tensor::from_slice(&[1f32]).view([1, 1]), &labels);
    assert!(weights.double_value(&[0, 1]) > 0.0);
    assert_eq!((trainer.run.step, trainer.run.scaler.factor()), (2, 32768.0));
}
