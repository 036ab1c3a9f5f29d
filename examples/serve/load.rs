//! The load test: clients that send an image, wait for its result over a WebSocket, and send the next; all on this
//! machine, which has the service to run as well.
//!
//! Two models, each with batches of one and with the batches of the service's default:
//!
//! * the mean colour, which costs next to nothing: what is left is HTTP, the store and decoding;
//! * one that costs a fixed time for a batch and a little for each image, and does one batch at a time, as a GPU does.
//!   It sleeps: no core is taken from the others.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Socket};
use crate::decoder::Decoder;
use crate::job::Label;
use crate::model::{MeanColour, Model};
use crate::pulse::Pulse;
use crate::service::{Service, Settings};
use crate::store::{Directory, Error};

/// How much is sent.
pub struct Load {
    pub clients: usize,
    /// Of each.
    pub requests: usize,
    /// To whom, if this is the process of the clients alone. They have one of their own, because whatever threads of one
    /// process do with its memory holds up the others.
    pub service: Option<SocketAddr>,
}

/// For a batch,
const BATCH: Duration = Duration::from_millis(8);

/// and for each image of it.
const IMAGE: Duration = Duration::from_micros(250);

/// Before it is measured, each client does so many.
const WARM_UP: usize = 5;

impl Load {
    pub fn run(&self) -> Result<(), Error> {
        let Load { clients, requests, .. } = self;
        let image = photograph()?;
        if let Some(address) = self.service {
            println!("{}", self.clients(address, &image)?);
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        println!("{}", machine());
        println!(
            "{clients} clients, {requests} jobs each, one at a time: a JPEG of 500x375 pixels and {} KB. Store: a \
             directory, where 4 KB are on the disk after {:.2} ms (median of 100)",
            image.len() / 1000,
            milliseconds(sync_time(folder.path())?),
        );
        println!();
        println!(
            "| model | max batch | images in a batch | jobs/s | result p50 | p99 | POST p50 | p99 | longest poll, CPU \
             | with waits | and for a core | polls of 1 ms and more, with waits | and for a core |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        let usual = Settings::default().max_batch;
        for (name, costs) in [("mean colour", false), ("8 ms a batch, 0.25 ms an image", true)] {
            for max_batch in [1, usual] {
                let folder = tempfile::tempdir()?;
                let model = Arc::new(Counted { costs, device: Mutex::new(()), batches: AtomicUsize::new(0) });
                let row = self.measure(folder.path(), &model, max_batch)?;
                println!("| {name} | {max_batch} | {row} |");
            }
        }
        Ok(())
    }

    fn measure(&self, store: &Path, model: &Arc<Counted>, max_batch: usize) -> Result<String, Error> {
        let pulse = Arc::new(Pulse::default());
        let settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            max_batch,
            pulse: Some(Arc::clone(&pulse)),
            ..Settings::default()
        };
        let store = Arc::new(Directory::open(store, Duration::from_secs(3600))?);
        let service = Service::start(settings, store, Arc::clone(model) as Arc<dyn Model>)?;
        let mut clients = Command::new(std::env::current_exe()?);
        clients.args(["--load-from", &service.address.to_string()]);
        clients.args(["--clients", &self.clients.to_string(), "--requests", &self.requests.to_string()]);
        let clients = clients.stderr(Stdio::inherit()).output()?;
        if !clients.status.success() {
            return Err("the clients failed".into());
        }
        if service.stop() > 0 {
            return Err("jobs are left".into());
        }
        let jobs = (WARM_UP + self.requests) * self.clients;
        let [(cpu, _), (held, held_over), (wall, wall_over)] = [pulse.cpu(), pulse.held(), pulse.wall()];
        Ok(format!(
            "{:.1} | {} | {:.2} ms | {:.2} ms | {:.2} ms | {held_over} of {} | {wall_over}",
            jobs as f64 / model.batches.load(Relaxed) as f64,
            String::from_utf8(clients.stdout)?.trim(),
            milliseconds(cpu),
            milliseconds(held),
            milliseconds(wall),
            pulse.polls(),
        ))
    }

    /// What the clients see: jobs per second, and how long an answer and a result take.
    fn clients(&self, service: SocketAddr, image: &[u8]) -> Result<String, Error> {
        let expected = expected(&Settings::default(), image)?;
        // All begin together, when all are warm.
        let start = Barrier::new(self.clients + 1);
        let (elapsed, times) = thread::scope(|scope| {
            let client = || self.client(service, &start, image, &expected);
            let clients: Vec<_> = (0..self.clients).map(|_| scope.spawn(client)).collect();
            start.wait();
            let begun = Instant::now();
            let ended = |client: thread::ScopedJoinHandle<'_, Result<Vec<Times>, Error>>| match client.join() {
                Ok(times) => times,
                Err(_) => Err("a client panicked".into()),
            };
            let times: Vec<_> = clients.into_iter().map(ended).collect();
            (begun.elapsed(), times)
        });
        let times: Vec<Times> = times.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        let (mut results, mut posts): (Vec<_>, Vec<_>) = times.iter().map(|times| (times.result, times.post)).unzip();
        Ok(format!(
            "{:.0} | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms",
            times.len() as f64 / elapsed.as_secs_f64(),
            milliseconds(percentile(&mut results, 50)),
            milliseconds(percentile(&mut results, 99)),
            milliseconds(percentile(&mut posts, 50)),
            milliseconds(percentile(&mut posts, 99)),
        ))
    }

    fn client(
        &self,
        service: SocketAddr,
        start: &Barrier,
        image: &[u8],
        expected: &[Label],
    ) -> Result<Vec<Times>, Error> {
        let warm_up = || -> Result<_, Error> {
            let (mut client, mut socket) = (Client::connect(service)?, Socket::connect(service)?);
            for _ in 0..WARM_UP {
                job(&mut client, &mut socket, image, expected)?;
            }
            Ok((client, socket))
        };
        let warm = warm_up();
        start.wait(); // also one that failed: the others would wait for ever
        let (mut client, mut socket) = warm?;
        (0..self.requests).map(|_| job(&mut client, &mut socket, image, expected)).collect()
    }
}

#[derive(Clone, Copy)]
struct Times {
    /// From the request to its answer,
    post: Duration,
    /// and to the job's end.
    result: Duration,
}

fn job(client: &mut Client, socket: &mut Socket, image: &[u8], expected: &[Label]) -> Result<Times, Error> {
    let begun = Instant::now();
    let answer = client.post(image)?;
    let post = begun.elapsed();
    let id = answer.id().ok_or_else(|| format!("{}: {}", answer.status, answer.json()))?;
    let end = socket.end_of(&id)?;
    let result = begun.elapsed();
    // The text of a number is as long as its own type needs, so it is read as that.
    let labels: Option<Vec<Label>> = serde_json::from_value(end["labels"].clone()).ok();
    if labels.as_deref() != Some(expected) {
        return Err(format!("a job ended with {end}").into());
    }
    Ok(Times { post, result })
}

/// What every job is to end with.
fn expected(settings: &Settings, image: &[u8]) -> Result<Vec<Label>, Error> {
    let decoder = Decoder::new(settings.size, settings.max_pixels);
    let image = decoder.decode(image.to_vec()).map_err(|refusal| refusal.reason)?;
    Ok(MeanColour.run(&image.to_vec(), settings.size)?.concat())
}

/// The mean colour, with the cost of a model on a GPU if it `costs`. Counts batches.
struct Counted {
    costs: bool,
    device: Mutex<()>,
    batches: AtomicUsize,
}

impl Model for Counted {
    fn name(&self) -> &str {
        "mean colour"
    }

    fn run(&self, images: &[f32], side: usize) -> Result<Vec<Vec<Label>>, Error> {
        self.batches.fetch_add(1, Relaxed);
        let labels = MeanColour.run(images, side)?;
        if self.costs {
            let _one_at_a_time = self.device.lock().unwrap_or_else(PoisonError::into_inner);
            thread::sleep(BATCH + IMAGE * labels.len() as u32);
        }
        Ok(labels)
    }
}

/// Not a photograph, but with as much in it: waves of colour, and a grain.
fn photograph() -> Result<Vec<u8>, Error> {
    let (width, height) = (500, 375);
    let mut noise = 1u32;
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (x, y) = (x as f32 / 40.0, y as f32 / 40.0);
            let wave = |a: f32, b: f32| 110.0 + 80.0 * (a * x + b * y).sin() + (noise >> 24) as f32 / 8.0;
            pixels.extend([wave(1.0, 0.3), wave(0.2, 1.0), wave(0.7, -0.7)].map(|value| value as u8));
        }
    }
    let mut jpeg = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 85);
    encoder.encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb)?;
    Ok(jpeg)
}

/// How long it takes until a file of 4 KB is on the disk.
fn sync_time(folder: &Path) -> Result<Duration, Error> {
    let mut times = Vec::new();
    for number in 0..100 {
        let mut file = File::create(folder.join(number.to_string()))?;
        file.write_all(&[1; 4096])?;
        let begun = Instant::now();
        file.sync_all()?;
        times.push(begun.elapsed());
    }
    Ok(percentile(&mut times, 50))
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let cpu = cpus.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1));
    let system = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {}, {} {}", cpu.unwrap_or("an unknown kind"), std::env::consts::OS, system.trim())
}
