//! How fast can a folder of images be loaded on this machine?
//!
//! ```sh
//! cargo run --release --example throughput -- DIR [--workers N] [--batch-size 64] [--size 224] [--epochs 3]
//!     [--dtype f32|u8] [--single-threaded | --limit] [--json]
//! ```
//!
//! Loads `DIR` (a directory for each class) as one trains on it: shuffled, RandomResizedCrop, flip, normalise.
//! `--single-threaded` loads in the consumer's thread (`num_workers(0)`). `--limit` is the bare loop: N threads that
//! read, decode, crop, resize and normalise the same files into one buffer each, without any loader. No loader can be
//! faster, and a good one is hardly slower.
//!
//! With `--json` the last line is the best epoch as JSON; `first_batch_ms` is that of the first epoch, from the call
//! that starts it.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sutler::image::{DecodeOptions, Image, ImageTensor, Normalize};
use sutler::transform::{RandomHorizontalFlip, RandomResizedCrop, ToTensor, Transform};
use sutler::{Dataset, Element, Generator, ImageFolder, Loader, RandomSampler, SampleRng, Sampler};

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

struct Settings {
    directory: PathBuf,
    mode: Mode,
    workers: usize,
    batch_size: usize,
    size: usize,
    epochs: usize,
    u8: bool,
    json: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Loader,
    SingleThreaded,
    Limit,
}

/// One epoch as measured.
#[derive(Clone, Copy)]
struct Epoch {
    images: usize,
    time: Duration,
    first_batch: Duration,
    /// The share of its time that the consumer waited.
    wait: f64,
}

impl Epoch {
    fn images_per_second(&self) -> f64 {
        self.images as f64 / self.time.as_secs_f64()
    }
}

fn run(settings: &Settings) -> Result<(), Error> {
    match settings.u8 {
        true => measure(settings, ToTensor::u8()),
        false => measure(settings, ToTensor::f32().normalize(Normalize::IMAGENET)),
    }
}

fn measure<T: Element + Default>(settings: &Settings, to_tensor: ToTensor<T>) -> Result<(), Error> {
    let folder = ImageFolder::open(&settings.directory)?;
    let images = folder.len();
    let crop = RandomResizedCrop::new(settings.size);
    let flip = RandomHorizontalFlip::default();

    let bar = ProgressBar::new((settings.epochs * images) as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} images  {per_sec}  {elapsed} (ETA {eta})")?);
    let epochs = if settings.mode == Mode::Limit {
        let loader_free = BareLoop { folder: &folder, crop, flip, to_tensor };
        (0..settings.epochs)
            .map(|epoch| loader_free.epoch(epoch as u64, settings, &bar))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        let workers = if settings.mode == Mode::Loader { settings.workers } else { 0 };
        let loader = Loader::builder(folder.map(crop).map(flip).map(to_tensor))
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
            let wait = loader.stats().since(&before).consumer_wait_share();
            epochs.push(Epoch { images, time: started.elapsed(), first_batch: first_batch.unwrap_or_default(), wait });
        }
        epochs
    };
    bar.finish_and_clear();
    report(settings, &epochs);
    Ok(())
}

/// The same work without a loader.
struct BareLoop<'a, T: Element> {
    folder: &'a ImageFolder,
    crop: RandomResizedCrop,
    flip: RandomHorizontalFlip,
    to_tensor: ToTensor<T>,
}

impl<T: Element + Default> BareLoop<'_, T> {
    fn epoch(&self, epoch: u64, settings: &Settings, bar: &ProgressBar) -> Result<Epoch, Error> {
        let images = self.folder.len();
        let order = RandomSampler::new(Generator::manual_seed(SEED)).order(epoch, images)?;
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let started = Instant::now();
        let first_batch = std::thread::scope(|scope| {
            let thread = || -> Result<Option<Duration>, Error> {
                let mut first_batch = None;
                let mut tensor = vec![T::default(); 3 * settings.size * settings.size];
                let mut file = Vec::new();
                loop {
                    let position = next.fetch_add(1, Relaxed);
                    if position >= images {
                        return Ok(first_batch);
                    }
                    self.load(order.get(position), epoch, &mut file)?.write_to(&mut tensor);
                    bar.inc(1);
                    if done.fetch_add(1, Relaxed) + 1 == settings.batch_size.min(images) {
                        first_batch = Some(started.elapsed());
                    }
                }
            };
            let threads: Vec<_> = (0..settings.workers).map(|_| scope.spawn(thread)).collect();
            let mut first_batch = Duration::ZERO;
            for thread in threads {
                let found = thread.join().map_err(|_| "a thread of the bare loop panicked")??;
                first_batch = first_batch.max(found.unwrap_or_default());
            }
            Ok::<_, Error>(first_batch)
        })?;
        Ok(Epoch { images, time: started.elapsed(), first_batch, wait: 0.0 })
    }

    fn load(&self, index: usize, epoch: u64, file: &mut Vec<u8>) -> Result<ImageTensor<T>, Error> {
        let path = self.folder.path(index).ok_or("an image folder has paths")?;
        file.clear();
        std::fs::File::open(&path)?.read_to_end(file)?;
        let rng = &mut SampleRng::new(SEED, epoch, index);
        let image = Image::decode(file, &DecodeOptions::default()).map_err(|error| error.with_path(path))?;
        let image = self.flip.apply(self.crop.apply(image, rng)?, rng)?;
        Ok(self.to_tensor.apply(image, rng)?)
    }
}

fn report(settings: &Settings, epochs: &[Epoch]) {
    let mode = match settings.mode {
        Mode::Loader => "loader",
        Mode::SingleThreaded => "single-threaded",
        Mode::Limit => "limit",
    };
    let workers = if settings.mode == Mode::SingleThreaded { 0 } else { settings.workers };
    println!("{mode}, {workers} workers, batches of {}, {} pixels", settings.batch_size, settings.size);
    println!("{:>5} {:>8} {:>10} {:>15} {:>8}", "epoch", "images", "images/s", "first batch ms", "wait");
    for (number, epoch) in epochs.iter().enumerate() {
        println!(
            "{number:>5} {:>8} {:>10.1} {:>15.1} {:>7.1}%",
            epoch.images,
            epoch.images_per_second(),
            epoch.first_batch.as_secs_f64() * 1e3,
            epoch.wait * 100.0
        );
    }
    let best = epochs.iter().max_by(|a, b| a.images_per_second().total_cmp(&b.images_per_second()));
    let (Some(best), Some(first)) = (best, epochs.first()) else { return };
    println!("best: {:.1} images/s; peak memory {:.1} MB", best.images_per_second(), peak_rss_mb());
    if settings.json {
        println!(
            r#"{{"mode":"{mode}","workers":{workers},"images":{},"images_per_second":{:.1},"first_batch_ms":{:.1},"peak_rss_mb":{:.1},"consumer_wait":{:.4},"decoder":"zune-jpeg"}}"#,
            best.images,
            best.images_per_second(),
            first.first_batch.as_secs_f64() * 1e3,
            peak_rss_mb(),
            best.wait,
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

const USAGE: &str = "usage: throughput DIR [--workers N] [--batch-size 64] [--size 224] [--epochs 3] [--dtype f32|u8]
                  [--single-threaded | --limit] [--json]
DIR has a directory of images for each class.";

impl Settings {
    /// `None` after `--help`.
    fn from_args() -> Result<Option<Self>, Error> {
        use lexopt::prelude::*;

        let mut settings = Settings {
            directory: PathBuf::new(),
            mode: Mode::Loader,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            batch_size: 64,
            size: 224,
            epochs: 3,
            u8: false,
            json: false,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Value(directory) if settings.directory.as_os_str().is_empty() => settings.directory = directory.into(),
                Long("workers") => settings.workers = at_least_one("--workers", parser.value()?.parse()?)?,
                Long("batch-size") => settings.batch_size = at_least_one("--batch-size", parser.value()?.parse()?)?,
                Long("size") => settings.size = at_least_one("--size", parser.value()?.parse()?)?,
                Long("epochs") => settings.epochs = at_least_one("--epochs", parser.value()?.parse()?)?,
                Long("dtype") => {
                    settings.u8 = match parser.value()?.string()?.as_str() {
                        "u8" => true,
                        "f32" => false,
                        other => return Err(format!("--dtype is f32 or u8, not {other}").into()),
                    }
                }
                Long(mode @ ("single-threaded" | "limit")) => {
                    if settings.mode != Mode::Loader {
                        return Err("--single-threaded and --limit exclude each other".into());
                    }
                    settings.mode = if mode == "limit" { Mode::Limit } else { Mode::SingleThreaded };
                }
                Long("json") => settings.json = true,
                Short('h') | Long("help") => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
            }
        }
        match settings.directory.as_os_str().is_empty() {
            true => Err(USAGE.into()),
            false => Ok(Some(settings)),
        }
    }
}

fn at_least_one(name: &str, number: usize) -> Result<usize, Error> {
    if number == 0 { Err(format!("{name} must be at least 1").into()) } else { Ok(number) }
}
