//! Accepted means answered: also when the process is killed in the middle of it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;

use super::models::POISON;
use super::process::{MAX_BATCH, Process, Starter, with_processes};
use super::redis::{SAFE, Server};
use super::{colour, end_of, eventually, fixture};
use crate::client::Client;

/// Jobs that were accepted, by id, and how they are to end.
type Accepted = HashMap<String, &'static str>;

/// Sends good and bad images from several clients until the process is killed, which is when there are `many` more
/// jobs.
fn kill_under_load(process: Process, many: usize, accepted: &Mutex<Accepted>) {
    let (good, bad) = (colour([0, 128, 0]), fixture("bad/truncated.jpg"));
    let address = process.address;
    let before = accepted.lock().unwrap().len();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let Ok(mut client) = Client::connect(address) else { return };
                for number in 0.. {
                    let (image, end) = if number % 5 == 4 { (&bad, "failed") } else { (&good, "done") };
                    // An error: it was killed before it answered. Whether it accepted the job, nobody was told.
                    let Ok(answer) = client.post(image) else { return };
                    match answer.id() {
                        Some(id) => drop(accepted.lock().unwrap().insert(id, end)),
                        None => assert_eq!(answer.status, 503),
                    }
                }
            });
        }
        eventually("there are enough", || (accepted.lock().unwrap().len() >= before + many).then_some(()));
        process.kill();
    });
}

/// Twice is not three times: no job may be given up.
fn nothing_is_lost(starter: Starter, place: &str, rounds: usize) {
    let accepted = Mutex::new(Accepted::new());
    for _ in 0..rounds {
        for _ in 0..2 {
            kill_under_load(starter.start(place, 10), 40, &accepted);
        }
        let process = starter.start(place, 0);
        let mut client = process.client();
        for (id, end) in &*accepted.lock().unwrap() {
            let json = end_of(&mut client, id);
            assert_eq!(json["status"], *end, "{json}");
        }
        // The jobs whose acceptance nobody was told of are done too.
        assert!(eventually("it has no jobs", || settled(&process)));
        process.kill();
    }
    assert!(accepted.lock().unwrap().len() >= 80 * rounds);
}

#[test]
fn what_was_accepted_ends_though_the_process_is_killed_again_and_again() {
    with_processes(|starter| {
        let folder = tempfile::tempdir().unwrap();
        nothing_is_lost(starter, folder.path().to_str().unwrap(), 3);
        for name in ["accepted", "starts", "partial"] {
            assert_eq!(std::fs::read_dir(folder.path().join(name)).unwrap().count(), 0, "{name}");
        }
    });
}

#[test]
fn what_was_accepted_ends_though_the_process_is_killed_again_and_again_with_redis() {
    with_processes(|starter| {
        let Some(server) = Server::start(&SAFE) else { return };
        nothing_is_lost(starter, &server.url(), 1); // each start waits until the owner's time is over
        assert!(server.keys().iter().all(|key| key.starts_with("sutler:serve:result:")), "{:?}", server.keys());
    });
}

#[test]
fn what_was_accepted_ends_though_redis_and_the_service_are_killed_together() {
    with_processes(|starter| {
        let Some(mut server) = Server::start(&SAFE) else { return };
        let accepted = Mutex::new(Accepted::new());
        for _ in 0..2 {
            kill_under_load(starter.start(&server.url(), 10), 40, &accepted);
            server.kill();
            server.restart();
        }
        let process = starter.start(&server.url(), 0);
        let mut client = process.client();
        for (id, end) in &*accepted.lock().unwrap() {
            assert_eq!(end_of(&mut client, id)["status"], *end);
        }
    });
}

/// The jobs of one batch, one of which ends the process. Those that were with it are done.
fn poison_fails_alone(starter: Starter, place: &str) {
    const LAST: usize = MAX_BATCH - 1;
    // So long that the last of them is answered before the process ends.
    let mut process = starter.start(place, 300);
    let mut client = process.client();
    let pixels: [[u8; 3]; MAX_BATCH] = std::array::from_fn(|number| if number == LAST { POISON } else { [0, 128, 0] });
    let ids = pixels.map(|pixel| client.post(&colour(pixel)).unwrap().id().unwrap());
    assert!(!process.end().0.success());
    let mut deaths = 1;
    let process = loop {
        match starter.try_start(place, 0) {
            // It may have listened for a moment.
            Some(process) if eventually("it has settled", || settled(&process)) => break process,
            _ => deaths += 1,
        }
    };
    assert_eq!(deaths, 3);
    let mut client = process.client();
    for (number, id) in ids.iter().enumerate() {
        let end = end_of(&mut client, id);
        assert_eq!(end["status"], if number == LAST { "failed" } else { "done" }, "{number}: {end}");
        if number == LAST {
            let reason = "the job was begun 3 times, and each time the service ended before it did";
            assert_eq!(end["reason"], reason);
        }
    }
    let id = client.post(&colour([0, 128, 0])).unwrap().id().unwrap();
    assert_eq!(end_of(&mut client, &id)["status"], "done");
}

/// Whether it has no jobs any more, or has ended.
fn settled(process: &Process) -> Option<bool> {
    let health = Client::connect(process.address).and_then(|mut client| client.get("/health"));
    match health {
        Ok(health) => (health.json()["jobs"] == 0).then_some(true),
        Err(_) => Some(false),
    }
}

#[test]
fn a_job_that_ends_the_process_is_begun_three_times_and_takes_no_other_with_it() {
    with_processes(|starter| {
        let folder = tempfile::tempdir().unwrap();
        poison_fails_alone(starter, folder.path().to_str().unwrap());
    });
}

#[test]
fn a_job_that_ends_the_process_is_begun_three_times_and_takes_no_other_with_it_with_redis() {
    with_processes(|starter| {
        let Some(server) = Server::start(&SAFE) else { return };
        poison_fails_alone(starter, &server.url());
    });
}
