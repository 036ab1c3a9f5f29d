//! `Service`: all of it, from its start to its end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::blocking::Blocking;
use crate::board::Board;
use crate::decoder::Decoder;
use crate::job::JobId;
use crate::model::Model;
use crate::pace::Pace;
use crate::pulse::{Pulse, timed};
use crate::queue::Queue;
use crate::say::complain;
use crate::server::{CONNECTIONS, listen};
use crate::socket::SOCKETS;
use crate::store::{Error, Store};
use crate::upload::UPLOADS;
use crate::worker::Workers;

#[derive(Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    /// The names that clients know this service by, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    pub workers: usize,
    pub max_batch: usize,
    /// How long the first of a batch waits for others.
    pub max_wait: Duration,
    /// New jobs that wait, at most.
    pub queue: usize,
    /// In bytes.
    pub max_body: usize,
    /// How long a body may take to come, whole.
    pub body_timeout: Duration,
    /// How long a client may take nothing of what it asked for (on Linux).
    pub unread_timeout: Duration,
    pub max_pixels: usize,
    /// The side of the square that the model sees.
    pub size: usize,
    /// How long stopping may take.
    pub grace: Duration,
    /// How often the store is looked through for what has expired, and for jobs that nobody works on.
    pub sweep: Duration,
    /// Times all that the runtime does, where somebody asks for it: that is half a dozen system calls for each poll.
    pub pulse: Option<Arc<Pulse>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            hosts: Vec::new(),
            workers: 2,
            max_batch: 16,
            max_wait: Duration::from_millis(5),
            queue: 256,
            max_body: 16 << 20,
            body_timeout: Duration::from_secs(30),
            unread_timeout: Duration::from_secs(30),
            max_pixels: 50_000_000,
            size: 64,
            grace: Duration::from_secs(5), // and 3.5 to say good-bye: containers are given 10
            sweep: Duration::from_secs(30),
            pulse: None,
        }
    }
}

pub struct Service {
    pub address: SocketAddr,
    pub app: Arc<App>,
    pub runtime: Runtime,
    workers: Workers,
    server: JoinHandle<()>,
    stopping: watch::Sender<bool>,
    closing: watch::Sender<bool>,
}

/// Threads for requests. They only pass bytes on.
const THREADS: usize = 2;

/// Threads for the store. Where it hangs, every upload is answered when one call has come to the end of its patience.
const WRITERS: u32 = UPLOADS as u32;

/// How long a stop waits for what is still going on.
const LAST: Duration = Duration::from_secs(1);

impl Service {
    /// Queues what the store has that was not finished, and then listens.
    pub fn start(settings: Settings, store: Arc<dyn Store>, model: Arc<dyn Model>) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(settings.listen));
        let listener = listener.map_err(|error| format!("cannot listen at {}: {error}", settings.listen))?;
        let (stopping, is_stopping) = watch::channel(false);
        let (closing, is_closing) = watch::channel(false);
        let app = Arc::new(App {
            decoder: Decoder::new(settings.size, settings.max_pixels),
            queue: Queue::new(settings.queue),
            board: Board::default(),
            pace: Pace::new(settings.workers),
            blocking: Blocking::start(WRITERS)?,
            is_store_away: AtomicBool::new(false),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            sockets: Arc::new(Semaphore::new(SOCKETS)),
            closing: is_closing,
            settings,
            store,
            model,
        });
        for job in app.store.unfinished()? {
            app.board.enter(job.id);
            app.queue.recover(job.id, job.starts);
        }
        let workers = Workers::start(&app, app.settings.workers)?;
        let keeper = Arc::clone(&app);
        thread::Builder::new().name("keeper".into()).spawn(move || keep(&keeper))?;
        let address = listener.local_addr()?;
        let server = runtime.spawn(timed(app.settings.pulse.clone(), listen(listener, Arc::clone(&app), is_stopping)));
        Ok(Service { address, app, runtime, workers, server, stopping, closing })
    }

    /// Takes nothing new, works off what it can in the time there is, and says how many jobs are left to the next
    /// start. Clients that are connected are answered meanwhile.
    pub fn stop(self) -> usize {
        self.stopping.send_replace(true);
        self.app.queue.close();
        let have_ended = self.workers.wait(self.app.settings.grace);
        self.app.queue.halt();
        if !have_ended {
            self.workers.wait(Duration::from_millis(500)); // those that only wait for the store
        }
        let app = Arc::clone(&self.app);
        self.app.blocking.give(move || {
            if let Err(error) = app.store.take_back(&app.board.running()) {
                complain(format_args!("jobs count as begun that were only stopped: {error}"));
            }
        });
        self.closing.send_replace(true);
        let _ = self.runtime.block_on(self.server);
        self.runtime.shutdown_timeout(LAST); // requests that have not ended, which nothing holds up
        self.app.blocking.wait(LAST); // a store that hangs is not waited for longer than the rest
        self.app.board.len()
    }
}

/// Keeps the store, and keeps it clean, until the service stops.
fn keep(app: &App) {
    let mut orphans = HashSet::new();
    let mut swept = Instant::now();
    while app.queue.pause(app.settings.sweep.min(Duration::from_secs(1))) {
        if let Ok(false) = app.store.hold() {
            complain("another service has taken the jobs over, and each is to be done once: this one ends");
            std::process::exit(1);
        }
        if swept.elapsed() < app.settings.sweep {
            continue;
        }
        swept = Instant::now();
        if let Err(error) = app.store.expire() {
            complain(format_args!("the store cannot remove old results: {error}"));
        }
        match app.store.unfinished() {
            Ok(jobs) => {
                // Whoever sent them was told that they were not accepted, and yet they were written: the answer of a
                // store got lost. Those that were seen before as well: others may have ended while the list was made.
                let unknown = |id: &JobId| app.board.status(*id).is_none();
                let (again, new) =
                    jobs.iter().filter(|job| unknown(&job.id)).partition::<Vec<_>, _>(|job| orphans.contains(&job.id));
                for job in again {
                    app.board.enter(job.id);
                    app.queue.recover(job.id, job.starts);
                }
                orphans = new.into_iter().map(|job| job.id).collect();
            }
            Err(error) => complain(format_args!("the store cannot say which jobs it has: {error}")),
        }
    }
}
