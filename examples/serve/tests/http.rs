//! Requests and their answers.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use super::models::{Gate, POISON, Poisoned};
use super::stores::Hooked;
use super::{HOUR, Running, colour, end_of, eventually, fixture, settings};
use crate::client::{Answer, Client, Socket};
use crate::job::Label;
use crate::model::{MeanColour, Model};
use crate::server::CONNECTIONS;
use crate::service::Settings;
use crate::store::Error;
use crate::upload::UPLOADS;

const RED: [u8; 3] = [255, 0, 0];

/// A form with these files, each in a field of its own, and a field that is none.
fn form(files: &[&[u8]]) -> Vec<u8> {
    let mut form = b"--B0undary\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n".to_vec();
    for file in files {
        let head =
            "--B0undary\r\nContent-Disposition: form-data; name=\"image\"; filename=\"../../etc/passwd\"\r\n\r\n";
        form.extend([head.as_bytes(), file, b"\r\n"].concat());
    }
    form.extend(b"--B0undary--\r\n");
    form
}

fn post_form(client: &mut Client, form: &[u8]) -> Answer {
    client.request("POST", "/jobs", "Content-Type: Multipart/Form-Data; boundary=B0undary\r\n", form).unwrap()
}

#[test]
fn an_image_is_accepted_at_once_and_then_answered_with_what_the_model_says() {
    let service = Running::plain();
    let mut client = service.client();
    for image in [colour(RED), fixture("formats/rgb.png"), fixture("shapes/train/dots/000.jpg")] {
        for answer in [client.post(&image).unwrap(), post_form(&mut client, &form(&[&image]))] {
            assert_eq!((answer.status, &answer.json()["status"]), (202, &"queued".into()));
            let id = answer.id().unwrap();
            assert_eq!(answer.header("location"), Some(format!("/jobs/{id}").as_str()));
            let end = end_of(&mut client, &id);
            assert_eq!((&end["status"], &end["model"]), (&"done".into(), &"mean colour (no torch)".into()), "{end}");
            assert_eq!(end["labels"].as_array().unwrap().len(), 3);
        }
    }
    let id = client.post(&colour(RED)).unwrap().id().unwrap();
    let best = &end_of(&mut client, &id)["labels"][0];
    assert_eq!(best["name"], "red");
    assert!(best["score"].as_f64().unwrap() > 0.99);
}

#[test]
fn what_is_no_image_is_refused_with_the_reason_and_nothing_is_kept_of_it() {
    let service = Running::new(Settings { max_body: 100_000, max_pixels: 1_000_000, ..settings() }, MeanColour);
    let mut client = service.client();
    let red = colour(RED);
    let strip = {
        let mut png = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut png);
        image::ImageEncoder::write_image(encoder, &[0; 3 * 101], 101, 1, image::ExtendedColorType::Rgb8).unwrap();
        png
    };
    let raw: [(u16, &str, Vec<u8>); 7] = [
        (400, "no image in the body", vec![]),
        (415, "not an image", b"hello".to_vec()),
        (415, "not an image", fixture("bad/text.jpg")),
        (415, "no header", fixture("bad/header-only.jpg")),
        (422, "1000000 pixels", fixture("bad/huge.png")),
        (422, "too long", strip),
        (413, "100000 bytes", vec![0; 100_001]),
    ];
    for (status, reason, body) in &raw {
        let answer = client.post(body).unwrap();
        let problem = answer.json()["error"].as_str().unwrap().to_string();
        assert!(answer.status == *status && problem.contains(reason), "{} {problem}", answer.status);
    }
    let forms: [(u16, &str, Vec<u8>); 5] = [
        (400, "more than one file", form(&[&red, &red])),
        (400, "no file", form(&[])),
        (400, "no image", form(&[b""])),
        (400, "broken", b"hello".to_vec()),
        (415, "not an image", form(&[b"hello"])),
    ];
    for (status, reason, body) in &forms {
        let answer = post_form(&mut client, body);
        let problem = answer.json()["error"].as_str().unwrap().to_string();
        assert!(answer.status == *status && problem.contains(reason), "{} {problem}", answer.status);
    }
    // A field where no file was chosen is none.
    let unchosen = b"--B0undary\r\nContent-Disposition: form-data; name=\"other\"; filename=\"\"\r\n\r\n\r\n".to_vec();
    let answer = post_form(&mut client, &[unchosen.clone(), form(&[b"hello"])].concat());
    assert_eq!(answer.status, 415);
    let answer = post_form(&mut client, &[unchosen.clone(), b"--B0undary--\r\n".to_vec()].concat());
    assert_eq!(answer.json()["error"], "the form has no file");
    let no_boundary = client.request("POST", "/jobs", "Content-Type: multipart/form-data\r\n", &form(&[&red])).unwrap();
    assert_eq!(no_boundary.status, 400);
    for folder in ["accepted", "starts", "results", "partial"] {
        assert_eq!(std::fs::read_dir(service.folder.path().join(folder)).unwrap().count(), 0, "{folder}");
    }
    assert!(service.service().app.board.is_empty());
}

#[test]
fn a_body_that_is_far_too_long_is_not_read_to_its_end() {
    let service = Running::new(Settings { max_body: 1 << 20, ..settings() }, MeanColour);
    let mut client = service.client();
    client.send(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n").unwrap();
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, &answer.json()["error"]), (413, &"the body may have 1 MiB".into()));
    // One that does not say how long it is.
    let service = Running::new(Settings { max_body: 1000, ..settings() }, MeanColour);
    let mut client = service.client();
    client.send(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"3e8\r\n".as_slice(), &[0; 1000], b"\r\n"].concat();
    client.send(&chunk.repeat(5)).unwrap();
    assert_eq!(client.answer().unwrap().status, 413);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let service = Running::new(Settings { body_timeout: Duration::from_millis(200), ..settings() }, MeanColour);
    let mut client = service.client();
    client.send(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n123").unwrap();
    assert_eq!(client.answer().unwrap().status, 408);
    // Nor do those who wait for their turn, where there are too many of them.
    let all = service.service().app.uploads.try_acquire_many(UPLOADS as u32).unwrap();
    assert_eq!(service.client().post(&colour(RED)).unwrap().status, 503);
    drop(all);
    assert_eq!(service.client().post(&colour(RED)).unwrap().status, 202);
}

#[test]
fn an_image_that_is_damaged_behind_its_header_fails_alone_with_the_reason() {
    let service = Running::new(Settings { max_wait: HOUR, max_batch: 4, ..settings() }, MeanColour);
    let mut client = service.client();
    let images = [colour(RED), fixture("bad/truncated.jpg"), fixture("bad/truncated.png"), colour(RED)];
    let ids = images.map(|image| client.post(&image).unwrap().id().unwrap());
    let ends = ids.map(|id| end_of(&mut client, &id));
    assert_eq!([0, 1, 2, 3].map(|job: usize| &ends[job]["status"]), ["done", "failed", "failed", "done"]);
    for job in [1, 2] {
        let reason = ends[job]["reason"].as_str().unwrap();
        assert!(reason.contains("decode") && !reason.contains('/'), "{reason}");
    }
}

#[test]
fn a_queue_that_is_full_says_so_and_when_to_come_again_and_takes_jobs_when_there_is_room() {
    let gate = Gate::default();
    let service = Running::new(Settings { queue: 3, workers: 1, max_batch: 1, ..settings() }, gate.clone());
    let mut client = service.client();
    let mut ids = vec![client.post(&colour(RED)).unwrap().id().unwrap()];
    eventually("the first is in work", || (!gate.batches.lock().unwrap().is_empty()).then_some(()));
    ids.extend((0..3).map(|_| client.post(&colour(RED)).unwrap().id().unwrap()));
    for _ in 0..10 {
        let full = client.post(&colour(RED)).unwrap();
        assert_eq!((full.status, full.json()["error"].as_str()), (503, Some("the queue is full")));
        assert!(full.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
    let files = std::fs::read_dir(service.folder.path().join("accepted")).unwrap().count();
    assert_eq!(files, 4);
    gate.open();
    for id in &ids {
        assert_eq!(end_of(&mut client, id)["status"], "done");
    }
    assert_eq!(client.post(&colour(RED)).unwrap().status, 202);
}

#[test]
fn requests_become_batches_of_at_most_max_batch_and_the_first_waits_for_others() {
    let gate = Gate::default();
    gate.open();
    let max_wait = Duration::from_secs(20);
    let service = Running::new(Settings { max_batch: 4, max_wait, ..settings() }, gate.clone());
    let mut client = service.client();
    let ids: Vec<_> = (0..8).map(|_| client.post(&colour(RED)).unwrap().id().unwrap()).collect();
    for id in &ids {
        assert_eq!(end_of(&mut client, id)["status"], "done");
    }
    // Full ones do not wait for the time to be over, and no two workers share what comes.
    assert_eq!(*gate.batches.lock().unwrap(), [4, 4]);
}

#[test]
fn a_batch_that_does_not_fill_goes_when_its_time_is_over() {
    let gate = Gate::default();
    gate.open();
    let max_wait = Duration::from_millis(500);
    let service = Running::new(Settings { max_batch: 1000, max_wait, ..settings() }, gate.clone());
    let mut client = service.client();
    let posted = Instant::now();
    let ids: Vec<_> = (0..3).map(|_| client.post(&colour(RED)).unwrap().id().unwrap()).collect();
    for id in &ids {
        assert_eq!(end_of(&mut client, id)["status"], "done");
    }
    assert!(posted.elapsed() >= max_wait);
    // One, unless the store was slow.
    assert_eq!(gate.batches.lock().unwrap().iter().sum::<usize>(), 3);
}

#[test]
fn a_model_that_panics_or_fails_costs_its_batch_and_the_service_goes_on() {
    let panics = Poisoned { effect: || panic!("secret: /etc/model"), time: Duration::ZERO };
    // The batch goes when it is full.
    let service = Running::new(Settings { max_wait: HOUR, max_batch: 3, ..settings() }, panics);
    let mut client = service.client();
    let ids = [RED, POISON, RED].map(|pixel| client.post(&colour(pixel)).unwrap().id().unwrap());
    for id in &ids {
        let end = end_of(&mut client, id);
        assert_eq!(end["status"], "failed");
        assert_eq!(end["reason"], "the model panicked on the batch that this image was in");
    }
    for _ in 0..2 * service.service().app.settings.workers {
        let ids = [(); 3].map(|()| client.post(&colour(RED)).unwrap().id().unwrap());
        assert!(ids.iter().all(|id| end_of(&mut client, id)["status"] == "done"));
    }

    let gate = Gate::default();
    gate.open();
    gate.fails.store(true, SeqCst);
    let service = Running::new(settings(), gate.clone());
    let mut client = service.client();
    let id = client.post(&colour(RED)).unwrap().id().unwrap();
    assert_eq!(end_of(&mut client, &id)["reason"], "the model failed on the batch that this image was in");
    gate.fails.store(false, SeqCst);
    let id = client.post(&colour(RED)).unwrap().id().unwrap();
    assert_eq!(end_of(&mut client, &id)["status"], "done");
}

/// A model that was trained to nothing.
struct Diverged;

impl Model for Diverged {
    fn name(&self) -> &str {
        "diverged"
    }

    fn run(&self, images: &[f32], side: usize) -> Result<Vec<Vec<Label>>, Error> {
        let mut labels = MeanColour.run(images, side)?;
        labels.iter_mut().flatten().for_each(|label| label.score = f32::NAN);
        Ok(labels)
    }
}

#[test]
fn a_model_that_gives_no_numbers_fails_its_jobs_with_a_reason() {
    let service = Running::new(settings(), Diverged);
    let mut client = service.client();
    let id = client.post(&colour(RED)).unwrap().id().unwrap();
    assert_eq!(end_of(&mut client, &id)["reason"], "the model gave no number for this image");
}

#[test]
fn a_job_that_the_store_has_lost_fails_for_whoever_waits_for_it() {
    let gate = Gate::default();
    let service = Running::new(Settings { workers: 1, max_batch: 1, ..settings() }, gate.clone());
    let mut client = service.client();
    let ids = [(); 2].map(|()| client.post(&colour(RED)).unwrap().id().unwrap());
    eventually("the first is in work", || (!gate.batches.lock().unwrap().is_empty()).then_some(()));
    let mut socket = Socket::connect(service.address()).unwrap();
    socket.ask(&ids[1]).unwrap();
    assert_eq!(socket.next().unwrap().unwrap()["status"], "queued");
    std::fs::remove_file(service.folder.path().join("accepted").join(&ids[1])).unwrap();
    gate.open();
    let end = end_of(&mut client, &ids[1]);
    assert_eq!(end["reason"], "the store has lost the job");
    assert_eq!(socket.next().unwrap().unwrap()["status"], "running");
    assert_eq!(socket.next().unwrap().unwrap(), end);
}

#[test]
fn how_far_a_job_is_is_told_though_the_store_answers_nobody() {
    let (gate, held) = (Gate::default(), Gate::default());
    let folder = tempfile::tempdir().unwrap();
    let hold = held.clone();
    let store = Hooked::new(folder.path(), move |call| match call {
        "status" => hold.pass(),
        _ => Ok(()),
    });
    let service = Running::with_store(settings(), store, gate.clone(), folder);
    let id = service.client().post(&colour(RED)).unwrap().id().unwrap();
    // As many as there are threads that may wait, and more.
    let unknown = format!("GET /jobs/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "0".repeat(32));
    let mut others: Vec<_> = (0..80).map(|_| service.client()).collect();
    others.iter_mut().for_each(|client| client.send(unknown.as_bytes()).unwrap());
    let answer = service.client().get(&format!("/jobs/{id}")).unwrap();
    assert_eq!((answer.status, &answer.json()["id"]), (200, &id.into()));
    held.open();
    gate.open();
    assert!(others.iter_mut().all(|client| client.answer().unwrap().status == 404));
}

#[test]
fn everything_else_is_one_and_the_same_404() {
    let service = Running::plain();
    std::fs::write(service.folder.path().join("results/secret"), "secret").unwrap();
    std::fs::write(service.folder.path().join("secret"), "secret").unwrap();
    let mut client = service.client();
    let id = client.post(&colour(RED)).unwrap().id().unwrap();
    end_of(&mut client, &id);
    let unknown = "0".repeat(32);
    let paths = [
        format!("/jobs/{unknown}"),
        format!("/jobs/{}", id.to_uppercase()),
        format!("/jobs/{id}/"),
        format!("/jobs/{id}%00"),
        format!("/jobs/%2e%2e%2fresults%2f{id}"),
        format!("/jobs/../results/{id}"),
        format!("//jobs/{id}"),
        "/jobs/secret".into(),
        "/jobs/../secret".into(),
        "/jobs/..%2fsecret".into(),
        "/jobs/%ff".into(),
        "/jobs/".into(),
        "/jobs".into(),
        "/..".into(),
        "/secret".into(),
        "/results/secret".into(),
        "/page.html".into(),
        "/ws".into(),
        "/../../../../etc/passwd".into(),
        "/%2e%2e/%2e%2e/etc/passwd".into(),
    ];
    for path in &paths {
        let answer = client.get(path).unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.body, br#"{"error":"there is nothing here"}"#, "{path}");
    }
    for (method, path) in [("DELETE", format!("/jobs/{id}")), ("PUT", "/jobs".into()), ("POST", "/".into())] {
        assert_eq!(client.request(method, &path, "", &[]).unwrap().status, 404, "{method} {path}");
    }
}

#[test]
fn results_expire_and_are_then_as_if_they_had_never_been() {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::store::Directory::open(folder.path(), Duration::from_secs(1)).unwrap();
    let settings = Settings { sweep: Duration::from_millis(20), ..settings() };
    let service =
        crate::service::Service::start(settings, std::sync::Arc::new(store), std::sync::Arc::new(MeanColour)).unwrap();
    let mut client = Client::connect(service.address).unwrap();
    let id = client.post(&colour(RED)).unwrap().id().unwrap();
    let body = eventually("it is gone", || {
        let answer = client.get(&format!("/jobs/{id}")).unwrap();
        (answer.status == 404).then_some(answer.body)
    });
    assert_eq!(body, client.get(&format!("/jobs/{}", "0".repeat(32))).unwrap().body);
    eventually("its file is gone", || {
        (std::fs::read_dir(folder.path().join("results")).unwrap().count() == 0).then_some(())
    });
    service.stop();
}

#[test]
fn every_answer_says_that_it_is_not_to_be_sniffed_cached_or_framed() {
    let service = Running::plain();
    let mut client = service.client();
    let id = client.post(&colour(RED)).unwrap().id().unwrap();
    end_of(&mut client, &id);
    for path in ["/", "/health", "/nothing", &format!("/jobs/{id}")] {
        let answer = client.get(path).unwrap();
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"), "{path}");
        let kind = if path == "/" { "text/html; charset=utf-8" } else { "application/json" };
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
    }
    let health = client.get("/health").unwrap().json();
    assert_eq!((&health["status"], &health["jobs"]), (&"ok".into(), &0.into()));
}

#[test]
fn a_page_of_another_site_can_neither_send_images_nor_listen() {
    let service = Running::plain();
    let mut client = service.client();
    let own = format!("Origin: http://{}\r\n", service.address());
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
                   dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (origin, post, socket) in [(own.as_str(), 202, 101), ("Origin: http://evil.example\r\n", 403, 403)] {
        assert_eq!(client.request("POST", "/jobs", origin, &colour(RED)).unwrap().status, post);
        let headers = format!("{origin}{upgrade}");
        assert_eq!(service.client().request("GET", "/ws", &headers, &[]).unwrap().status, socket);
    }
    // Nor if the site's name leads to this machine.
    let get = "GET /health HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n";
    client.send(get.as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 403);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_image_takes_nothing_with_it() {
    let service = Running::new(Settings { queue: 1, ..settings() }, MeanColour);
    for _ in 0..50 {
        let mut client = service.client();
        client.send(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n123").unwrap();
    }
    let mut client = service.client();
    for _ in 0..5 {
        let id = client.post(&colour(RED)).unwrap().id().unwrap();
        assert_eq!(end_of(&mut client, &id)["status"], "done");
    }
    let uploads = &service.service().app.uploads;
    eventually("all places are free", || (uploads.available_permits() == UPLOADS).then_some(()));
}

#[test]
fn a_body_has_its_place_as_long_as_it_is_in_memory_also_when_its_client_is_gone() {
    let (inside, gate) = (Arc::new(AtomicUsize::new(0)), Gate::default());
    let (count, wait) = (Arc::clone(&inside), gate.clone());
    let folder = tempfile::tempdir().unwrap();
    let store = Hooked::new(folder.path(), move |call| {
        if call != "accept" {
            return Ok(());
        }
        count.fetch_add(1, SeqCst);
        wait.pass()
    });
    let body_timeout = Duration::from_secs(2);
    let service = Running::with_store(Settings { body_timeout, ..settings() }, store, MeanColour, folder);
    let image = colour(RED);
    let head = format!("POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", image.len());
    for number in 0..UPLOADS {
        let mut client = service.client();
        client.send(&[head.as_bytes(), &image].concat()).unwrap();
        eventually("it is being accepted", || (inside.load(SeqCst) > number).then_some(()));
    }
    let busy = service.client().post(&image).unwrap();
    assert_eq!((busy.status, busy.json()["error"].as_str()), (503, Some("too many images are being sent")));
    gate.open();
    assert_eq!(service.client().post(&image).unwrap().status, 202);
}

#[test]
fn a_client_that_asks_and_does_not_read_is_let_go_of() {
    let unread_timeout = Duration::from_secs(1);
    let service = Running::new(Settings { unread_timeout, ..settings() }, MeanColour);
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.set_nonblocking(true).unwrap();
    // One is always there for the next client.
    let connections = &service.service().app.connections;
    eventually("it is there", || (connections.available_permits() == CONNECTIONS - 2).then_some(()));
    // Until nothing more can be sent, because nothing that is sent is taken.
    let mut waits = 0;
    while waits < 20 {
        match stream.write(&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100)) {
            Ok(_) => waits = 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                waits += 1;
                thread::sleep(Duration::from_millis(10));
            }
            Err(_) => break, // it was let go of already
        }
    }
    eventually("it is let go of", || (connections.available_permits() == CONNECTIONS - 1).then_some(()));
    drop(stream);
}

#[test]
fn ids_are_not_given_twice_under_load() {
    let service = Running::plain();
    let address = service.address();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::connect(address).unwrap();
                (0..25).filter_map(|_| client.post(&colour(RED)).unwrap().id()).collect::<Vec<_>>()
            })
        })
        .collect();
    let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let mut client = service.client();
    for id in &ids {
        assert_eq!(end_of(&mut client, id)["status"], "done");
    }
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (200, 200));
}
