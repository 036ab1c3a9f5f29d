//! A Redis server of a test's own; and what happens when it goes away.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::models::{Gate, Poisoned};
use super::process::with_processes;
use super::{HOUR, colour, end_of, eventually, settings};
use crate::client::{Client, Socket};
use crate::service::{Service, Settings};
use crate::store::{Redis, Store};

const OWNER: &str = "sutler:serve:owner";

/// On a port that was free, with its file in a folder of its own. It ends with the test.
pub struct Server {
    folder: TempDir,
    port: u16,
    options: Vec<&'static str>,
    child: Option<Child>,
}

/// Keeps what it is told.
pub const SAFE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

impl Server {
    /// `None`, after a line that says so, where there is no Redis.
    pub fn start(options: &[&'static str]) -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: there is no redis-server");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let mut server = Server { folder, port, options: options.to_vec(), child: None };
        server.restart();
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_child(self.child.as_ref().unwrap());
        kill_process(id, signal).unwrap();
    }

    /// Starts it again, with what it wrote down, and waits until it answers.
    pub fn restart(&mut self) {
        assert!(self.child.is_none());
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", ""]).args(&self.options);
        command.arg("--dir").arg(self.folder.path());
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let ping = || redis::cmd("PING").exec(&mut redis::Client::open(self.url())?.get_connection()?);
        eventually("Redis answers", || ping().ok());
    }

    /// All keys that there are of jobs.
    pub fn keys(&self) -> Vec<String> {
        let mut connection = redis::Client::open(self.url()).unwrap().get_connection().unwrap();
        let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
        keys.retain(|key| key != OWNER);
        keys.sort();
        keys
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn redis_may_go_away_and_come_back_and_nothing_that_was_accepted_is_lost() {
    let Some(mut server) = Server::start(&SAFE) else { return };
    let store: Arc<dyn Store> = Arc::new(Redis::open(&server.url(), HOUR).unwrap());
    let model = Poisoned { effect: || {}, time: Duration::from_millis(10) };
    let settings = Settings { sweep: Duration::from_millis(20), ..settings() };
    let service = Service::start(settings, store, Arc::new(model)).unwrap();
    let address = service.address;
    let (accepted, refused) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(address).unwrap();
                while !is_over.load(SeqCst) {
                    let answer = client.post(&colour([0, 0, 255])).unwrap();
                    match answer.status {
                        202 => accepted.lock().unwrap().push(answer.id().unwrap()),
                        503 => {
                            assert!(answer.header("retry-after").is_some());
                            refused.fetch_add(1, SeqCst);
                        }
                        other => panic!("{other}: {}", answer.json()),
                    }
                }
            });
        }
        let more = |of: &dyn Fn() -> usize, by: usize| {
            let before = of();
            eventually("more come", || (of() >= before + by).then_some(()));
        };
        let accepted = || accepted.lock().unwrap().len();
        for _ in 0..3 {
            more(&accepted, 20);
            server.kill();
            more(&|| refused.load(SeqCst), 20);
            server.restart();
        }
        more(&accepted, 20);
        is_over.store(true, SeqCst);
    });
    let accepted = accepted.into_inner().unwrap();
    let mut client = Client::connect(address).unwrap();
    for id in &accepted {
        assert_eq!(end_of(&mut client, id)["status"], "done");
    }
    // Those whose acceptance did not come through are looked for, and worked off as well.
    let is_result = |key: &String| key.starts_with("sutler:serve:result:");
    eventually("nothing but results is left", || server.keys().iter().all(is_result).then_some(()));
    service.stop();
    assert!(accepted.len() >= 80);
}

#[test]
fn jobs_that_redis_has_forgotten_fail_for_whoever_waits_for_them() {
    let Some(mut server) = Server::start(&["--appendonly", "no"]) else { return };
    let store: Arc<dyn Store> = Arc::new(Redis::open(&server.url(), HOUR).unwrap());
    let gate = Gate::default();
    let settings = Settings { workers: 1, max_batch: 1, ..settings() };
    let service = Service::start(settings, store, Arc::new(gate.clone())).unwrap();
    let mut client = Client::connect(service.address).unwrap();
    let ids = [(); 2].map(|()| client.post(&colour([0, 0, 255])).unwrap().id().unwrap());
    eventually("the first is in work", || (!gate.batches.lock().unwrap().is_empty()).then_some(()));
    let mut socket = Socket::connect(service.address).unwrap();
    socket.ask(&ids.join(" ")).unwrap();
    server.kill();
    server.restart();
    gate.open();
    let end = end_of(&mut client, &ids[1]);
    let mut ends = Vec::new();
    while ends.len() < 2 {
        let news = socket.next().unwrap().unwrap();
        ends.extend((news["status"] != "queued" && news["status"] != "running").then_some(news));
    }
    assert_eq!(ends[0]["status"], "done");
    assert_eq!(ends[1]["reason"], "the store has lost the job");
    assert_eq!(ends[1], end);
    service.stop();
}

#[test]
fn while_redis_is_away_the_health_is_told_and_results_are_asked_for_later() {
    let Some(mut server) = Server::start(&SAFE) else { return };
    let store: Arc<dyn Store> = Arc::new(Redis::open(&server.url(), HOUR).unwrap());
    let service = Service::start(settings(), store, Arc::new(crate::model::MeanColour)).unwrap();
    let mut client = Client::connect(service.address).unwrap();
    let id = client.post(&colour([0, 0, 255])).unwrap().id().unwrap();
    let before = end_of(&mut client, &id);
    server.kill();
    let answer = client.get(&format!("/jobs/{id}")).unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(client.get("/health").unwrap().status, 200);
    server.restart();
    assert_eq!(end_of(&mut client, &id), before);
    service.stop();
}

#[test]
fn a_redis_that_hangs_is_one_that_is_away() {
    let Some(server) = Server::start(&SAFE) else { return };
    let store: Arc<dyn Store> = Arc::new(Redis::open(&server.url(), HOUR).unwrap());
    let service = Service::start(settings(), store, Arc::new(crate::model::MeanColour)).unwrap();
    let mut client = Client::connect(service.address).unwrap();
    let id = client.post(&colour([0, 0, 255])).unwrap().id().unwrap();
    server.signal(Signal::STOP);
    // Whether the first is done by now or not: it is in the end.
    assert_eq!(client.post(&colour([0, 0, 255])).unwrap().status, 503);
    assert_eq!(client.get("/health").unwrap().status, 200);
    server.signal(Signal::CONT);
    assert_eq!(end_of(&mut client, &id)["status"], "done");
    let id = client.post(&colour([0, 0, 255])).unwrap().id().unwrap();
    assert_eq!(end_of(&mut client, &id)["status"], "done");
    service.stop();
}

#[test]
fn a_second_service_is_refused_until_the_first_has_stopped_or_was_killed() {
    let Some(server) = Server::start(&SAFE) else { return };
    let open = || Redis::open(&server.url(), HOUR);
    let start = |store: Redis| Service::start(settings(), Arc::new(store), Arc::new(crate::model::MeanColour)).unwrap();
    let service = start(open().unwrap());
    let error = open().err().unwrap().to_string();
    assert!(error.starts_with("--redis: another service works there"), "{error}");
    let id = Client::connect(service.address).unwrap().post(&colour([0, 0, 255])).unwrap().id().unwrap();
    service.stop();
    drop(open().unwrap());
    thread::sleep(Duration::from_millis(20)); // one would do
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    assert!(!redis::cmd("EXISTS").arg(OWNER).query::<bool>(&mut connection).unwrap());
    // As if it was killed: it says nothing any more, and its name stays.
    std::mem::forget(open().unwrap());
    let service = start(open().unwrap());
    assert_eq!(end_of(&mut Client::connect(service.address).unwrap(), &id)["status"], "done");
    service.stop();
}

#[test]
fn a_service_whose_jobs_another_has_taken_over_ends() {
    with_processes(|starter| {
        let Some(server) = Server::start(&SAFE) else { return };
        let mut process = starter.start(&server.url(), 0);
        let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        redis::cmd("SET").arg(OWNER).arg("another").exec(&mut connection).unwrap();
        assert_eq!(process.end().0.code(), Some(1));
    });
}

#[test]
fn a_redis_that_does_not_keep_what_it_is_told_is_warned_of() {
    let warnings = |options: &[&'static str]| {
        let server = Server::start(options)?;
        let warnings = Redis::open(&server.url(), HOUR).unwrap().warnings();
        Some(warnings)
    };
    let Some(none) = warnings(&SAFE) else { return };
    assert_eq!(none, [] as [String; 0]);
    let everysec = warnings(&["--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"]).unwrap();
    assert_eq!(everysec.len(), 2, "{everysec:?}");
    assert!(everysec[0].contains("appendfsync everysec") && everysec[1].contains("allkeys-lru"), "{everysec:?}");
    let bounded = warnings(&[&SAFE[..], &["--maxmemory", "100mb"]].concat()).unwrap();
    assert!(bounded.len() == 1 && bounded[0].contains("104857600 bytes (maxmemory)"), "{bounded:?}");
    let no = warnings(&["--appendonly", "no"]).unwrap();
    assert!(no.len() == 1 && no[0].contains("appendonly no"), "{no:?}");
}

#[test]
fn a_redis_that_is_not_there_is_an_error_at_the_start_that_does_not_repeat_the_password() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = Redis::open(&format!("redis://:secret@127.0.0.1:{port}"), HOUR).err().unwrap().to_string();
    assert!(error.starts_with("--redis: ") && !error.contains("secret"), "{error}");
}
