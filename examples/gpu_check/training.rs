//! How many photographs a second go into a training step of ResNet-50, and how many would if they were there already?

use std::time::Instant;

use serde_json::json;
use sutler::image::Normalize;
use sutler::transform::{RandomHorizontalFlip, RandomResizedCrop, ToTensor};
use sutler::{Dataset, ImageFolder, Loader, Result as SutlerResult, SampleRng};
use tch::Tensor;
use tch::nn::{self, ModuleT, OptimizerConfig};
use tch::vision::resnet::resnet50;

use super::Error;
use super::outcome::Outcome;
use super::settings::Settings;
use super::work::{seconds, synchronize};

/// A dataset over and over: an epoch as long as the measurement, of however few photographs.
struct Repeated<D> {
    dataset: D,
    len: usize,
}

impl<D: Dataset> Dataset for Repeated<D> {
    type Sample = D::Sample;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> SutlerResult<D::Sample> {
        self.dataset.get(index % self.dataset.len(), rng)
    }
}

pub(super) fn check(settings: &Settings) -> Result<Outcome, Error> {
    let Some(photos) = &settings.photos else {
        return Ok(Outcome::information("no images: give it some with --photos DIR".into(), json!({})));
    };
    let device = settings.device;
    let (batch_size, side) = settings.pick((64, 224), (2, 32));
    let (warm_up, steps) = (settings.pick(10, 1), settings.steps);

    let folder = ImageFolder::open(photos)?;
    let images = folder.len();
    let transformed = folder
        .map(RandomResizedCrop::new(side))
        .map(RandomHorizontalFlip::default())
        .map(ToTensor::f32().normalize(Normalize::IMAGENET));
    let loader = Loader::builder(Repeated { dataset: transformed, len: (warm_up + steps) * batch_size })
        .batch_size(batch_size)
        .shuffle(true)
        .seed(0)
        .num_workers(settings.workers)
        .pin_memory(settings.pin_memory())
        .build()?;

    tch::Cuda::cudnn_set_benchmark(true); // all batches have one shape
    let vs = nn::VarStore::new(device);
    let network = resnet50(&vs.root(), 1000);
    let mut optimizer = nn::sgd(0.9, 0.0, 1e-4, false).build(&vs, 0.01)?;
    let mut step = |(inputs, labels): &(Tensor, Tensor)| {
        let loss = network.forward_t(inputs, true).cross_entropy_for_logits(labels);
        optimizer.backward_step(&loss);
        // As a loop that reads its loss: what it waits for data is then what the device waits.
        synchronize(device);
    };

    let mut epoch = loader.epoch().to_device(device);
    let mut last = None;
    for batch in epoch.by_ref().take(warm_up) {
        let batch = batch?;
        step(&batch);
        last = Some(batch);
    }
    let resident = last.ok_or("the epoch is empty")?;
    let before = loader.stats();
    let started = Instant::now();
    let mut seen = 0;
    for batch in epoch.by_ref() {
        let batch = batch?;
        step(&batch);
        seen += batch.0.size()[0];
    }
    let with_loader = seen as f64 / started.elapsed().as_secs_f64();
    let wait = loader.stats().since(&before).consumer_wait_share();
    drop(epoch);

    let time = seconds::<Error>(device, || {
        (0..steps).for_each(|_| step(&resident));
        Ok(())
    })?;
    let alone = (steps * batch_size) as f64 / time;
    Ok(Outcome::information(
        format!(
            "{with_loader:.0} images/s with the loader, {alone:.0} with a resident batch ({:.1}%); waited {:.1}%",
            with_loader / alone * 100.0,
            wait * 100.0
        ),
        json!({
            "images_per_second": with_loader, "step_alone_images_per_second": alone, "consumer_wait": wait,
            "images": images, "steps": steps, "batch_size": batch_size, "side": side, "workers": settings.workers,
            "decoder": if cfg!(feature = "turbojpeg") { "turbojpeg" } else { "zune-jpeg" },
        }),
    ))
}
