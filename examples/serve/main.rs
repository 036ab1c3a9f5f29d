//! A service that says what is on images: they are accepted at once, wait in a queue, and are worked on in batches.
//!
//! ```sh
//! serve [--listen 127.0.0.1:8080] [--store DIR | --redis URL] [--model FILE | --checkpoint DIR] [OPTIONS]
//! curl --data-binary @image.jpg http://127.0.0.1:8080/jobs          # {"id":"ID","status":"queued"}
//! curl http://127.0.0.1:8080/jobs/ID                                # and so on, until it is done or failed
//! ```
//!
//! `--help` says what the options are. `make serve` builds it and calls it; `http://127.0.0.1:8080/` is a page to drop
//! images on.
//!
//! The model is a TorchScript file or what `make train` saved, with feature `tch`. Without one it is no model at all:
//! it names the colour that is nearest to the mean of the image, so that everything else runs anywhere.
//!
//! * `POST /jobs` takes an image, as the body or as the file of a form. Answered with 202 it is on the disk (or in
//!   Redis) and will end with a result or with a reason, whatever happens to the process. Answered with 503 it was not
//!   taken, unless the store did take it and could not say so: whoever sends it again may have it done twice.
//! * `GET /jobs/ID` says how far a job is; `/ws` pushes that to whoever sends ids there.
//! * A job that ends the process is begun three times, and then fails. From the second time on it goes alone. A stop is
//!   no such end.
//! * SIGTERM and SIGINT have it finish what it can in `--grace` seconds. The rest is done after the next start.
//!
//! Memory has a bound: 32 images that are being sent, three times each (with the copies that are made of them), and
//! `--workers` x `--max-batch` that are in work, twice each, all of up to `--max-body`. At defaults that is 2.5 GiB at
//! worst; `--max-body 4` makes it 640 MiB. To it come the pixels of one image for each worker, of up to `--max-pixels`:
//! 150 MB at three bytes each.
//!
//! It speaks HTTP and trusts whoever can reach it: for others than this machine, put a proxy in front, with TLS, names
//! and rates. The proxy must pass `Host` on as it came, for that is what an `Origin` is compared with, and `--host`
//! must name it: a service that listens on this machine alone refuses requests for names that are not `localhost`.

mod app;
mod arguments;
mod blocking;
mod board;
mod client;
mod decoder;
mod job;
mod load;
mod model;
// The network of `make train`, where it is.
#[cfg(feature = "tch")]
#[path = "../train/model.rs"]
mod network;
mod pace;
mod pulse;
mod queue;
mod say;
mod server;
mod service;
mod socket;
mod store;
mod upload;
mod worker;

#[cfg(all(test, unix))] // they send signals
mod tests;

use std::process::ExitCode;
use std::sync::Arc;

#[cfg(feature = "tch")]
use arguments::ModelFile;
use arguments::{Arguments, Command, Place, USAGE};
#[cfg(feature = "tch")]
use model::Torch;
use model::{MeanColour, Model};
use say::{complain, say};
use service::Service;
use store::{Directory, Error, Redis, Store};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    match Command::from_args()? {
        Command::Help => say(USAGE),
        Command::Load(load) => load.run()?,
        Command::Serve(arguments) => serve(*arguments)?,
    }
    Ok(())
}

fn serve(arguments: Arguments) -> Result<(), Error> {
    let model = model(&arguments)?;
    let store: Arc<dyn Store> = match arguments.place {
        Place::Directory(root) => Arc::new(Directory::open(&root, arguments.keep)?),
        Place::Redis(url) => Arc::new(Redis::open(&url, arguments.keep)?),
    };
    for warning in store.warnings() {
        complain(warning);
    }
    say(format_args!("the model is: {}", model.name()));
    run_until_stopped(Service::start(arguments.settings, store, model)?)
}

fn run_until_stopped(service: Service) -> Result<(), Error> {
    if !service.app.board.is_empty() {
        say(format_args!("{} jobs were accepted before and not finished", service.app.board.len()));
    }
    let mut signals = service.runtime.block_on(async { Signals::new() })?;
    say(format_args!("listening at http://{}", service.address));
    service.runtime.block_on(signals.next());
    say("stopping");
    // A second signal ends it at once: that loses nothing either.
    service.runtime.spawn(async move {
        signals.next().await;
        std::process::exit(1);
    });
    match service.stop() {
        0 => say("stopped"),
        left => say(format_args!("stopped; {left} jobs are left to the next start")),
    }
    Ok(())
}

#[cfg(feature = "tch")]
fn model(arguments: &Arguments) -> Result<Arc<dyn Model>, Error> {
    let (labels, side) = (arguments.labels.as_deref(), arguments.settings.size);
    Ok(match &arguments.model {
        Some(ModelFile::TorchScript(path)) => Arc::new(Torch::script(path, labels, side)?),
        Some(ModelFile::Checkpoint(directory)) => Arc::new(Torch::trained(directory, labels, side)?),
        None => Arc::new(MeanColour),
    })
}

#[cfg(not(feature = "tch"))]
fn model(arguments: &Arguments) -> Result<Arc<dyn Model>, Error> {
    match arguments.model {
        Some(_) => Err("--model and --checkpoint need a build with `--features serve,tch`".into()),
        None => Ok(Arc::new(MeanColour)),
    }
}

/// Those that ask a process to stop.
#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 2]);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]))
    }

    async fn next(&mut self) {
        let [terminate, interrupt] = &mut self.0;
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
