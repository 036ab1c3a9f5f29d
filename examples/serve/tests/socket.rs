//! What is pushed over a WebSocket.

use serde_json::json;

use super::models::Gate;
use super::{Running, colour, end_of, settings};
use crate::client::Socket;
use crate::service::Settings;
use crate::socket::{SOCKETS, WATCHED};

const RED: [u8; 3] = [255, 0, 0];

#[test]
fn each_change_is_told_once_and_in_order_and_how_it_is_now_at_once() {
    let gate = Gate::default();
    let service = Running::new(Settings { workers: 1, max_batch: 1, ..settings() }, gate.clone());
    let mut client = service.client();
    let mut socket = Socket::connect(service.address()).unwrap();
    let [first, second] = [(); 2].map(|()| client.post(&colour(RED)).unwrap().id().unwrap());
    super::eventually("the first is in work", || {
        (client.get(&format!("/jobs/{first}")).unwrap().json()["status"] == "running").then_some(())
    });
    socket.ask(&format!("{first} \n {second}")).unwrap();
    let mut next = || socket.next().unwrap().unwrap();
    assert_eq!(next(), json!({ "id": first, "status": "running" }));
    assert_eq!(next(), json!({ "id": second, "status": "queued" }));
    gate.open();
    let end = next();
    assert_eq!((&end["id"], &end["status"], &end["model"]), (&json!(first), &json!("done"), &json!("gate")));
    assert_eq!(end["labels"][0]["name"], "red");
    assert_eq!(next(), json!({ "id": second, "status": "running" }));
    let end = next();
    assert_eq!((&end["id"], &end["status"]), (&json!(second), &json!("done")));
    // What is pushed is what polling gives; and what has ended can be asked for as well.
    assert_eq!(end, end_of(&mut client, &second));
    socket.ask(&first).unwrap();
    assert_eq!(socket.next().unwrap().unwrap(), end_of(&mut client, &first));
}

#[test]
fn several_clients_are_told_of_the_same_job() {
    let gate = Gate::default();
    let service = Running::new(settings(), gate.clone());
    let id = service.client().post(&colour(RED)).unwrap().id().unwrap();
    let mut sockets = [(); 5].map(|()| Socket::connect(service.address()).unwrap());
    for socket in &mut sockets {
        socket.ask(&id).unwrap();
        assert_eq!(socket.next().unwrap().unwrap()["id"], json!(id));
    }
    gate.open();
    for socket in &mut sockets {
        assert_eq!(socket.end_of(&id).unwrap()["status"], "done");
    }
}

#[test]
fn what_is_not_there_is_unknown_whatever_it_looks_like() {
    let service = Running::plain();
    let mut socket = Socket::connect(service.address()).unwrap();
    let unknown = "0".repeat(32);
    for word in [unknown.as_str(), "x", "../../etc/passwd", "\"\\", &"f".repeat(31)] {
        socket.ask(word).unwrap();
        assert_eq!(socket.next().unwrap().unwrap(), json!({ "id": word, "status": "unknown" }));
    }
}

#[test]
fn clients_jobs_and_messages_have_their_bounds() {
    let gate = Gate::default();
    let service = Running::new(Settings { queue: WATCHED + 1, max_batch: 1, ..settings() }, gate.clone());
    let mut client = service.client();
    let mut ids: Vec<_> = (0..=WATCHED).map(|_| client.post(&colour(RED)).unwrap().id().unwrap()).collect();
    let last = ids.pop().unwrap();
    let mut socket = Socket::connect(service.address()).unwrap();
    socket.ask(&ids.join(" ")).unwrap();
    socket.ask(&ids[0]).unwrap(); // it is watched already
    for id in &ids {
        assert_eq!(socket.next().unwrap().unwrap()["id"], json!(id));
    }
    socket.ask(&last).unwrap();
    assert_eq!(socket.next().unwrap(), None);

    let mut socket = Socket::connect(service.address()).unwrap();
    socket.ask(&" ".repeat(100_000)).unwrap();
    assert!(!matches!(socket.next(), Ok(Some(_))));

    let sockets = &service.service().app.sockets;
    super::eventually("the others are gone", || (sockets.available_permits() == SOCKETS).then_some(()));
    let all = sockets.try_acquire_many(SOCKETS as u32 - 1).unwrap();
    let _one = Socket::connect(service.address()).unwrap();
    let error = Socket::connect(service.address()).err().unwrap().to_string();
    assert!(error.contains("503"), "{error}");
    drop(all);
    gate.open();
}
