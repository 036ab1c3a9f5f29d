//! Services in processes of their own, which can be killed.

use std::any::type_name;
use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::models::Poisoned;
use super::{HOUR, PATIENCE, eventually, settings};
use crate::client::Client;
use crate::run_until_stopped;
use crate::service::{Service, Settings};
use crate::store::{Directory, Redis, Store};

/// Says to a process that it is to be a service, and where its jobs are.
const PLACE: &str = "SUTLER_SERVE_PLACE";

/// How long its model takes for a batch, in milliseconds.
const TIME: &str = "SUTLER_SERVE_TIME";

/// How long it has to stop, in milliseconds.
const GRACE: &str = "SUTLER_SERVE_GRACE";

/// Images in a batch.
pub const MAX_BATCH: usize = 8;

/// What starts services. The process that it starts is this test again, which is then nothing else.
#[derive(Clone, Copy)]
pub struct Starter {
    test: &'static str,
    /// For what it starts.
    pub grace: Duration,
}

/// Runs the body of a test that starts services, or is one of those.
pub fn with_processes<F: FnOnce(Starter)>(test: F) {
    if let Ok(place) = env::var(PLACE) {
        return serve(&place);
    }
    let path = type_name::<F>(); // serve::tests::module::test::{{closure}}
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    test(Starter { test: name.strip_suffix("::{{closure}}").unwrap_or(name), grace: PATIENCE });
}

fn serve(place: &str) {
    let store: Arc<dyn Store> = match place.starts_with("redis://") {
        true => Arc::new(Redis::open(place, HOUR).unwrap()),
        false => Arc::new(Directory::open(Path::new(place), HOUR).unwrap()),
    };
    let time = |name| Duration::from_millis(env::var(name).unwrap().parse().unwrap());
    let (time, grace) = (time(TIME), time(GRACE));
    let model = Poisoned { effect: || std::process::abort(), time };
    // Long enough for a test to fill a batch.
    let settings = Settings { grace, max_batch: MAX_BATCH, max_wait: Duration::from_millis(200), ..settings() };
    run_until_stopped(Service::start(settings, store, Arc::new(model)).unwrap()).unwrap();
}

impl Starter {
    /// Starts a service, unless the process ends before it listens.
    pub fn try_start(&self, place: &str, time: u64) -> Option<Process> {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([self.test, "--exact", "--nocapture"]).env(PLACE, place).env(TIME, time.to_string());
        command.env(GRACE, self.grace.as_millis().to_string());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = child.stdout.take().map(BufReader::new);
        let mut process = Process { child, output, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        while process.output.as_mut().unwrap().read_line(&mut line).unwrap() > 0 {
            if let Some((_, address)) = line.trim_end().split_once("listening at http://") {
                process.address = address.parse().unwrap();
                return Some(process);
            }
            line.clear();
        }
        None
    }

    pub fn start(&self, place: &str, time: u64) -> Process {
        self.try_start(place, time).expect("it listens")
    }
}

pub struct Process {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
    pub address: SocketAddr,
}

impl Process {
    pub fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// Nobody reads any more what it says.
    pub fn ignore(&mut self) {
        self.output = None;
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits until it has ended; gives what it still said.
    pub fn end(&mut self) -> (ExitStatus, String) {
        let status = eventually("the process ends", || self.child.try_wait().unwrap());
        let mut text = String::new();
        if let Some(output) = &mut self.output {
            std::io::Read::read_to_string(output, &mut text).unwrap();
        }
        (status, text)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
