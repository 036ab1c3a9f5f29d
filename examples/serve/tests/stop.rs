//! A service that is to stop finishes what it can, and leaves the rest to the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::models::Gate;
use super::process::with_processes;
use super::{Running, colour, end_of, settings};
use crate::client::Socket;
use crate::model::MeanColour;
use crate::server::GOODBYE;
use crate::service::Service;

/// For what cannot be finished.
const GRACE: Duration = Duration::from_secs(2);

const RED: [u8; 3] = [255, 0, 0];

#[test]
fn what_can_be_finished_in_time_is_and_those_who_wait_are_told() {
    with_processes(|starter| {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        let mut process = starter.start(place, 300);
        let mut client = process.client();
        let mut socket = Socket::connect(process.address).unwrap();
        let ids: Vec<_> = (0..4).map(|_| client.post(&colour(RED)).unwrap().id().unwrap()).collect();
        socket.ask(&ids.join(" ")).unwrap();
        process.terminate();
        let mut ends = Vec::new();
        while let Some(news) = socket.next().unwrap() {
            ends.extend((news["status"] == "done").then(|| news["id"].as_str().unwrap().to_string()));
        }
        ends.sort_by_key(|id| ids.iter().position(|other| other == id));
        assert_eq!(ends, ids);
        let (status, text) = process.end();
        assert!(status.success() && text.contains("stopping\nstopped\n"), "{text}");
        let process = starter.start(place, 0);
        for id in &ids {
            assert_eq!(end_of(&mut process.client(), id)["status"], "done");
        }
    });
}

#[test]
fn it_makes_no_difference_that_nobody_reads_what_the_service_says() {
    with_processes(|starter| {
        let folder = tempfile::tempdir().unwrap();
        let mut process = starter.start(folder.path().to_str().unwrap(), 300);
        process.ignore();
        let id = process.client().post(&colour(RED)).unwrap().id().unwrap();
        let mut socket = Socket::connect(process.address).unwrap();
        socket.ask(&id).unwrap();
        process.terminate();
        assert_eq!(socket.end_of(&id).unwrap()["status"], "done");
        assert_eq!(socket.next().unwrap(), None);
    });
}

#[test]
fn what_cannot_is_left_to_the_next_start_and_nothing_new_is_taken() {
    with_processes(|mut starter| {
        starter.grace = GRACE;
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        let mut process = starter.start(place, 1500);
        let mut client = process.client();
        let ids: Vec<_> = (0..60).map(|_| client.post(&colour(RED)).unwrap().id().unwrap()).collect();
        let stopping = Instant::now();
        process.terminate();
        // Over a connection that was there before, it answers until it ends.
        let mut is_closed = false;
        while let Ok(answer) = client.post(&colour(RED)) {
            is_closed |= answer.status == 503 && answer.json()["error"] == "the service stops";
            // One that came before it knew is accepted.
            assert!(answer.status == 503 || (answer.status == 202 && !is_closed));
        }
        assert!(is_closed);
        let (status, text) = process.end();
        assert!(stopping.elapsed() < GRACE + Duration::from_secs(10));
        assert!(status.success() && text.contains(" jobs are left to the next start"), "{text}");
        assert!(std::net::TcpStream::connect(process.address).is_err());

        let process = starter.start(place, 0);
        for id in &ids {
            assert_eq!(end_of(&mut process.client(), id)["status"], "done");
        }
    });
}

#[test]
fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    with_processes(|starter| {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        // One batch alone takes longer than anybody will wait.
        let mut process = starter.start(place, 3_600_000);
        let mut client = process.client();
        let ids: Vec<_> = (0..20).map(|_| client.post(&colour(RED)).unwrap().id().unwrap()).collect();
        process.terminate();
        super::eventually("it says so", || {
            let answer = client.post(&colour(RED));
            answer.map_or(true, |answer| answer.status == 503).then_some(())
        });
        process.terminate();
        assert_eq!(process.end().0.code(), Some(1));
        let process = starter.start(place, 0);
        for id in &ids {
            assert_eq!(end_of(&mut process.client(), id)["status"], "done");
        }
    });
}

#[test]
fn everybody_who_waits_at_a_websocket_is_told_of_the_last_results_and_of_the_end() {
    let gate = Gate::default();
    let mut service = Running::new(settings(), gate.clone());
    let ids = [(); 3].map(|()| service.client().post(&colour(RED)).unwrap().id().unwrap());
    let mut sockets: Vec<_> = (0..100).map(|_| Socket::connect(service.address()).unwrap()).collect();
    for socket in &mut sockets {
        socket.ask(&ids.join(" ")).unwrap();
        ids.iter().for_each(|_| drop(socket.next().unwrap().unwrap()));
    }
    gate.open();
    service.service.take().map(Service::stop);
    for mut socket in sockets {
        let mut done = 0;
        while let Some(news) = socket.next().unwrap() {
            done += usize::from(news["status"] == "done");
        }
        assert_eq!(done, 3);
    }
}

#[test]
fn whoever_is_still_at_a_websocket_is_waited_for() {
    let mut service = Running::new(settings(), MeanColour);
    let _somebody = Arc::clone(&service.service().app.sockets).try_acquire_owned().unwrap();
    let stopping = Instant::now();
    service.service.take().map(Service::stop);
    assert!(stopping.elapsed() >= GOODBYE);
}

#[test]
fn a_job_that_takes_longer_than_there_is_time_at_a_stop_is_not_given_up() {
    with_processes(|mut starter| {
        starter.grace = Duration::ZERO;
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        let mut process = starter.start(place, 3_600_000);
        let id = process.client().post(&colour(RED)).unwrap().id().unwrap();
        for _ in 0..4 {
            let mut client = process.client();
            let running = || (client.get(&format!("/jobs/{id}")).ok()?.json()["status"] == "running").then_some(());
            super::eventually("it is in work", running);
            process.terminate();
            assert!(process.end().0.success());
            process = starter.start(place, 3_600_000);
        }
        drop(process);
        let process = starter.start(place, 0);
        assert_eq!(end_of(&mut process.client(), &id)["status"], "done");
    });
}
