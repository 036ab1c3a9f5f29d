//! What the service promises: over HTTP ([`http`]) and WebSocket ([`socket`]), of its stores ([`store`]), when the
//! process is killed ([`crash`]), when Redis goes away ([`redis`]), when it is to stop ([`stop`]), and on its page
//! ([`page`]).

mod crash;
mod http;
mod models;
mod page;
mod process;
mod redis;
mod socket;
mod stop;
mod store;
mod stores;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Client;
use crate::model::{MeanColour, Model};
use crate::service::{Service, Settings};
use crate::store::{Directory, Store};

/// How long a test waits for what must happen, before it says that it did not.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long results are kept, where no test waits for their end.
const HOUR: Duration = Duration::from_secs(3600);

/// Waits until `ask` gives something.
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let waiting = Instant::now();
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(waiting.elapsed() < PATIENCE, "it never came to this: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A file of the fixtures.
fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An image of 8x8 pixels, all of one colour.
fn colour(pixel: [u8; 3]) -> Vec<u8> {
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    image::ImageEncoder::write_image(encoder, &pixel.repeat(64), 8, 8, image::ExtendedColorType::Rgb8).unwrap();
    png
}

/// For tests: a port that is free, and no waiting for others.
fn settings() -> Settings {
    Settings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), max_wait: Duration::ZERO, ..Settings::default() }
}

/// A service in this process, with its jobs in a folder that goes when it does.
struct Running {
    service: Option<Service>,
    folder: TempDir,
}

impl Running {
    fn new(settings: Settings, model: impl Model + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Directory::open(folder.path(), HOUR).unwrap();
        Running::with_store(settings, store, model, folder)
    }

    fn with_store(
        settings: Settings,
        store: impl Store + 'static,
        model: impl Model + 'static,
        folder: TempDir,
    ) -> Self {
        let service = Service::start(settings, Arc::new(store), Arc::new(model)).unwrap();
        Running { service: Some(service), folder }
    }

    fn plain() -> Self {
        Running::new(settings(), MeanColour)
    }

    fn service(&self) -> &Service {
        self.service.as_ref().unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.service().address
    }

    fn client(&self) -> Client {
        Client::connect(self.address()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.service.take().map(Service::stop);
    }
}

/// Waits for the end of a job, by polling.
fn end_of(client: &mut Client, id: &str) -> serde_json::Value {
    eventually("the job ends", || {
        let answer = client.get(&format!("/jobs/{id}")).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        let json = answer.json();
        (json["status"] != "queued" && json["status"] != "running").then_some(json)
    })
}
