//! How fast can a folder of images be loaded on this machine, and where does the time go?
//!
//! ```sh
//! cargo run --release --features turbojpeg --example throughput -- DIR [--workers N] [--batch-size 64] [--size 224]
//!     [--epochs 3] [--dtype f32|u8] [--decoder turbojpeg|zune-jpeg] [--scaled] [--augment standard|randaugment]
//!     [--single-threaded | --limit [--into-batches]] [--json] [--chart FILE.svg]
//! ```
//!
//! Loads `DIR` (a directory for each class) as one trains on it: shuffled, RandomResizedCrop, flip, normalise; with
//! `--augment randaugment`, RandAugment between flip and normalise. `--single-threaded` loads in the consumer's thread
//! (`num_workers(0)`). `--limit` is the bare loop: N threads that read, decode, crop, resize and normalise the same files
//! into one buffer each, without any loader. No loader can be faster, and a good one is hardly slower. That buffer stays in the
//! cache, where a batch goes to memory; with `--into-batches` the bare loop writes as many images as a batch has.
//!
//! The table of stages says what a worker's time for an image goes into; `wait` is what the consumer waited for it. With
//! `--json` the last line is the best epoch as JSON; `first_batch_ms` is that of the first epoch, from the call that starts
//! it. `--chart` draws both tables.

mod bare_loop;
mod chart;
mod settings;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sutler::image::{Image, LazyImage, Normalize};
use sutler::transform::{RandAugment, RandomHorizontalFlip, RandomResizedCrop, ToTensor, Transform};
use sutler::{Dataset, Element, ImageFolder, Loader, Result as SutlerResult, SampleRng, Stats};

use bare_loop::BareLoop;
use settings::{Mode, Settings};

const SEED: u64 = 0;

fn main() -> ExitCode {
    match Settings::from_args().and_then(|settings| settings.map_or(Ok(()), |settings| run(&settings))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throughput: {error}");
            ExitCode::FAILURE
        }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// One epoch as measured.
struct Epoch {
    images: usize,
    time: Duration,
    first_batch: Duration,
    /// What the loader did in it, if there was one.
    stats: Option<Stats>,
}

impl Epoch {
    fn images_per_second(&self) -> f64 {
        self.images as f64 / self.time.as_secs_f64()
    }

    /// The share of its time that the consumer waited.
    fn wait(&self) -> f64 {
        self.stats.as_ref().map_or(0.0, |stats| stats.consumer_wait_share())
    }
}

/// What a worker's time for an image goes into, in microseconds.
struct Stages([(&'static str, f64); 6]);

impl Stages {
    fn of(epoch: &Epoch) -> Option<Self> {
        let stats = epoch.stats.as_ref()?;
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / epoch.images as f64;
        let stages = &stats.stages;
        Some(Stages([
            ("read", micros(stages.read)),
            ("header", micros(stages.header)),
            ("decode", micros(stages.decode)),
            ("resample", micros(stages.resample)),
            ("other transforms", micros(stats.worker_busy.saturating_sub(stages.total()))),
            ("write", micros(stages.write)),
        ]))
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|(_, micros)| micros).sum()
    }
}

impl Default for Stages {
    fn default() -> Self {
        Stages(["read", "header", "decode", "resample", "other transforms", "write"].map(|name| (name, 0.0)))
    }
}

/// What is done to an image before it becomes a tensor.
#[derive(Clone, Copy)]
struct Augment {
    crop: RandomResizedCrop,
    flip: RandomHorizontalFlip,
    rand_augment: Option<RandAugment>,
}

impl Transform<LazyImage> for Augment {
    type Output = Image;

    fn apply(&self, image: LazyImage, rng: &mut SampleRng) -> SutlerResult<Image> {
        let image = self.flip.apply(self.crop.apply(image, rng)?, rng)?;
        match &self.rand_augment {
            Some(rand_augment) => rand_augment.apply(image, rng),
            None => Ok(image),
        }
    }
}

fn run(settings: &Settings) -> Result<(), Error> {
    match settings.u8 {
        true => measure(settings, ToTensor::u8()),
        false => measure(settings, ToTensor::f32().normalize(Normalize::IMAGENET)),
    }
}

fn measure<T: Element + Default>(settings: &Settings, to_tensor: ToTensor<T>) -> Result<(), Error> {
    let folder = ImageFolder::open(&settings.directory)?.decode_options(settings.decode_options());
    let images = folder.len();
    let augment = Augment {
        crop: RandomResizedCrop::new(settings.size),
        flip: RandomHorizontalFlip::default(),
        rand_augment: settings.randaugment.then(RandAugment::default),
    };

    let bar = ProgressBar::new((settings.epochs * images) as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} images  {per_sec}  {elapsed} (ETA {eta})")?);
    let epochs = if settings.mode == Mode::Limit {
        let bare_loop = BareLoop { folder: &folder, augment, to_tensor };
        (0..settings.epochs)
            .map(|epoch| bare_loop.epoch(epoch as u64, settings, &bar))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        let workers = if settings.mode == Mode::Loader { settings.workers } else { 0 };
        let samples = folder.map(move |(image, label): (LazyImage, i64), rng: &mut SampleRng| {
            Ok((to_tensor.apply(augment.apply(image, rng)?, rng)?, label))
        });
        let loader = Loader::builder(samples)
            .batch_size(settings.batch_size)
            .shuffle(true)
            .seed(SEED)
            .num_workers(workers)
            .build()?;
        let mut epochs = Vec::new();
        for _ in 0..settings.epochs {
            let before = loader.stats();
            let started = Instant::now();
            let mut first_batch = None;
            for batch in loader.epoch() {
                let (_, labels) = batch?;
                first_batch.get_or_insert_with(|| started.elapsed());
                bar.inc(labels.len() as u64);
            }
            let time = started.elapsed();
            let stats = Some(loader.stats().since(&before));
            epochs.push(Epoch { images, time, first_batch: first_batch.unwrap_or_default(), stats });
        }
        epochs
    };
    bar.finish_and_clear();
    report(settings, &epochs);
    match &settings.chart {
        Some(path) => chart::write(path, settings, &epochs),
        None => Ok(()),
    }
}

fn report(settings: &Settings, epochs: &[Epoch]) {
    let (mode, decoder) = (settings.mode_name(), settings.decoder_name());
    let workers = if settings.mode == Mode::SingleThreaded { 0 } else { settings.workers };
    println!("{mode}, {decoder}, {workers} workers, batches of {}, {} pixels", settings.batch_size, settings.size);
    println!("{:>5} {:>8} {:>10} {:>15} {:>8}", "epoch", "images", "images/s", "first batch ms", "wait");
    for (number, epoch) in epochs.iter().enumerate() {
        println!(
            "{number:>5} {:>8} {:>10.1} {:>15.1} {:>7.1}%",
            epoch.images,
            epoch.images_per_second(),
            epoch.first_batch.as_secs_f64() * 1e3,
            epoch.wait() * 100.0
        );
    }
    let best = epochs.iter().max_by(|a, b| a.images_per_second().total_cmp(&b.images_per_second()));
    let (Some(best), Some(first)) = (best, epochs.first()) else { return };
    if let (Some(stages), Some(stats)) = (Stages::of(best), &best.stats) {
        println!("\n{:>16} {:>9} {:>7}", "stage", "us/image", "share");
        for (name, micros) in stages.0 {
            println!("{name:>16} {micros:>9.1} {:>6.1}%", micros / stages.total() * 100.0);
        }
        let wait = stats.consumer_wait.as_secs_f64() * 1e6 / best.images as f64;
        println!("{:>16} {:>9.1}\n{:>16} {wait:>9.1}\n", "a worker's total", stages.total(), "wait");
    }
    println!("best: {:.1} images/s; peak memory {:.1} MB", best.images_per_second(), peak_rss_mb());
    if settings.json {
        println!(
            r#"{{"mode":"{mode}","workers":{workers},"images":{},"images_per_second":{:.1},"first_batch_ms":{:.1},"peak_rss_mb":{:.1},"consumer_wait":{:.4},"decoder":"{decoder}"}}"#,
            best.images,
            best.images_per_second(),
            first.first_batch.as_secs_f64() * 1e3,
            peak_rss_mb(),
            best.wait(),
        );
    }
}

/// The most physical memory this process has had, where the system says (Linux); else 0.
fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|number| number.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0 / 1e6
}
