//! What both stores promise.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::redis::{SAFE, Server};
use super::stores::Hooked;
use super::{HOUR, colour, eventually, settings};
use crate::client::Client;
use crate::job::{JobId, Label, Outcome, Status};
use crate::model::MeanColour;
use crate::service::{Service, Settings};
use crate::store::{Begun, Directory, Redis, Store, Unfinished};

/// Runs a test with a new store of either kind, and then with what another process would find there.
fn with_stores(keep: Duration, test: impl Fn(&dyn Fn() -> Box<dyn Store>)) {
    let folder = tempfile::tempdir().unwrap();
    test(&|| Box::new(Directory::open(folder.path(), keep).unwrap()));
    if let Some(server) = Server::start(&SAFE) {
        test(&|| Box::new(Redis::open(&server.url(), keep).unwrap()));
    }
}

fn ids<const N: usize>() -> [JobId; N] {
    [(); N].map(|()| JobId::random().unwrap())
}

fn done(name: &str) -> Outcome {
    Outcome::Done { model: "m".into(), labels: vec![Label { name: name.into(), score: 0.25 }] }
}

fn begun(image: &[u8], starts: u32) -> Begun {
    Begun::Image { image: image.to_vec(), starts }
}

#[test]
fn a_job_is_kept_from_its_acceptance_to_its_end_by_whatever_process() {
    with_stores(HOUR, |open| {
        let [a, b, c, unknown] = ids();
        let store = open();
        for (id, image) in [(a, b"a".as_slice()), (b, b"b\0b\r\n"), (c, b"")] {
            store.accept(id, image).unwrap();
            thread::sleep(Duration::from_millis(10)); // the order is that of clocks
        }
        assert_eq!(store.status(a).unwrap(), Some(Status::Queued));
        assert_eq!(store.status(unknown).unwrap(), None);
        drop(store);

        let store = open();
        let unfinished = |jobs: &[(JobId, u32)]| {
            let expected: Vec<_> = jobs.iter().map(|&(id, starts)| Unfinished { id, starts }).collect();
            assert_eq!(open_again(&*store), expected);
        };
        unfinished(&[(a, 0), (b, 0), (c, 0)]);
        let images = store.begin(&[b, unknown, a], 1).unwrap();
        assert_eq!(images, [begun(b"b\0b\r\n", 1), Begun::Ended, begun(b"a", 1)]);
        // The same start, asked for again: it is counted once.
        assert_eq!(store.begin(&[b], 1).unwrap(), [begun(b"b\0b\r\n", 1)]);
        assert_eq!(store.begin(&[b], u128::MAX).unwrap(), [begun(b"b\0b\r\n", 2)]);
        // One that was taken back never was. Of a job that is not there nothing can be.
        store.take_back(&[(b, 1), (unknown, 1), (c, 1)]).unwrap();
        store.take_back(&[]).unwrap();
        assert_eq!(store.begin(&[b], 2).unwrap(), [begun(b"b\0b\r\n", 2)]);
        unfinished(&[(a, 1), (b, 2), (c, 0)]);

        store.finish(&[(a, done("cat")), (c, Outcome::failed("it is damaged"))]).unwrap();
        unfinished(&[(b, 2)]);
        assert_eq!(store.status(a).unwrap(), Some(Status::Ended(done("cat"))));
        assert_eq!(store.status(b).unwrap(), Some(Status::Queued));
        assert_eq!(store.status(c).unwrap(), Some(Status::Ended(Outcome::failed("it is damaged"))));
        assert_eq!(store.begin(&[a, b], 3).unwrap(), [Begun::Ended, begun(b"b\0b\r\n", 3)]);
        // An outcome is written once.
        store.finish(&[(a, done("dog"))]).unwrap();
        assert_eq!(store.status(a).unwrap(), Some(Status::Ended(done("cat"))));
        store.finish(&[(b, done("dog"))]).unwrap();
        unfinished(&[]);
        drop(store);
        assert_eq!(open().status(a).unwrap(), Some(Status::Ended(done("cat"))));
    });
}

fn open_again(store: &dyn Store) -> Vec<Unfinished> {
    store.unfinished().unwrap()
}

#[test]
fn outcomes_expire_and_jobs_that_have_none_do_not() {
    with_stores(Duration::from_secs(2), |open| {
        let [a, b] = ids();
        let store = open();
        store.accept(a, b"a").unwrap();
        store.accept(b, b"b").unwrap();
        store.finish(&[(a, done("cat"))]).unwrap();
        assert!(store.status(a).unwrap().is_some());
        store.expire().unwrap();
        assert!(store.status(a).unwrap().is_some());
        thread::sleep(Duration::from_millis(2100));
        assert_eq!(store.status(a).unwrap(), None);
        store.expire().unwrap();
        assert_eq!((store.status(a).unwrap(), store.status(b).unwrap()), (None, Some(Status::Queued)));
        assert_eq!(store.begin(&[a, b], 1).unwrap(), [Begun::Ended, begun(b"b", 1)]);
    });
}

#[test]
fn a_job_that_has_ended_leaves_nothing_but_its_outcome() {
    let Some(server) = Server::start(&SAFE) else { return };
    let store = Redis::open(&server.url(), HOUR).unwrap();
    let [a, b] = ids();
    store.accept(a, b"a").unwrap();
    store.begin(&[a, b], 1).unwrap();
    store.finish(&[(a, done("cat"))]).unwrap();
    store.accept(a, b"a").unwrap(); // it may come late, over a connection that was given up
    assert_eq!(store.begin(&[a], 2).unwrap(), [Begun::Ended]);
    assert_eq!(server.keys(), [format!("sutler:serve:result:{a}")]);

    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path(), HOUR).unwrap();
    store.accept(a, b"a").unwrap();
    store.begin(&[a, b], 1).unwrap();
    store.finish(&[(a, done("cat"))]).unwrap();
    store.accept(a, b"a").unwrap();
    assert_eq!(store.begin(&[a], 2).unwrap(), [Begun::Ended]);
    let path = |name: &str| folder.path().join(name);
    let mut files = Vec::new();
    for folder in ["accepted", "partial", "results", "starts"] {
        files.extend(std::fs::read_dir(path(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    assert_eq!(files, [path("results").join(a.to_string())]);
}

#[test]
fn an_image_that_the_store_has_lost_is_said_to_be_lost() {
    let Some(server) = Server::start(&SAFE) else { return };
    let store = Redis::open(&server.url(), HOUR).unwrap();
    let [a] = ids();
    store.accept(a, b"a").unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("DEL").arg(format!("sutler:serve:image:{a}")).exec(&mut connection).unwrap();
    assert_eq!(store.begin(&[a], 1).unwrap(), [Begun::Lost]);
    let service = Service::start(settings(), Arc::new(store), Arc::new(MeanColour)).unwrap();
    let end = super::end_of(&mut Client::connect(service.address).unwrap(), &a.to_string());
    assert_eq!(end["reason"], "the store has lost the image");
    service.stop();
}

#[test]
fn a_result_that_cannot_be_read_is_said_to_be_so_and_is_no_store_that_is_away() {
    let [a] = ids();
    let unreadable = Some(Status::Ended(Outcome::failed("the result cannot be read")));
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path(), HOUR).unwrap();
    std::fs::write(folder.path().join(format!("results/{a}")), "{}").unwrap();
    assert_eq!(store.status(a).unwrap(), unreadable);
    let Some(server) = Server::start(&SAFE) else { return };
    let store = Redis::open(&server.url(), HOUR).unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("SET").arg(format!("sutler:serve:result:{a}")).arg("{}").exec(&mut connection).unwrap();
    assert_eq!(store.status(a).unwrap(), unreadable);
}

#[test]
fn an_error_that_may_pass_is_none_of_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path(), HOUR).unwrap();
    let [broken, passing, damaged] = ids();
    let path = |id: JobId| folder.path().join(format!("accepted/{id}"));
    std::fs::create_dir(path(broken)).unwrap();
    assert_eq!(store.begin(&[broken], 1).unwrap(), [Begun::Lost]);
    std::os::unix::fs::symlink(path(passing), path(passing)).unwrap();
    assert!(store.begin(&[passing], 1).is_err());
    std::fs::remove_dir(path(broken)).unwrap();
    std::fs::remove_file(path(passing)).unwrap();
    // What is left of the starts after a power failure.
    store.accept(damaged, b"image").unwrap();
    std::fs::write(folder.path().join(format!("starts/{damaged}")), b"\xff\xfe\n\0\0").unwrap();
    assert_eq!(store.unfinished().unwrap(), [Unfinished { id: damaged, starts: 2 }]);
    assert!(matches!(store.begin(&[damaged], 1).unwrap()[..], [Begun::Image { .. }]));
}

#[test]
fn an_image_is_not_removed_while_its_result_may_not_be_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path(), HOUR).unwrap();
    let [a] = ids();
    store.accept(a, b"a").unwrap();
    std::fs::write(folder.path().join(format!("results/{a}")), serde_json::to_vec(&done("cat")).unwrap()).unwrap();
    let image = folder.path().join(format!("accepted/{a}"));
    assert_eq!(store.unfinished().unwrap(), []);
    assert!(image.exists());
    assert_eq!(store.begin(&[a], 1).unwrap(), [Begun::Ended]);
    assert!(!image.exists());
}

#[test]
fn a_disk_that_is_almost_full_takes_no_new_jobs_and_lets_those_that_it_has_end() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ids();
    Directory::open(folder.path(), HOUR).unwrap().accept(a, b"a").unwrap();
    let store = Directory::open(folder.path(), HOUR).unwrap().reserve(u64::MAX);
    let error = store.accept(b, b"b").unwrap_err().to_string();
    assert!(error.contains("almost full"), "{error}");
    assert_eq!(store.unfinished().unwrap(), [Unfinished { id: a, starts: 0 }]);
    assert_eq!(store.begin(&[a], 1).unwrap(), [begun(b"a", 1)]);
    store.finish(&[(a, done("cat"))]).unwrap();
    assert_eq!(store.status(a).unwrap(), Some(Status::Ended(done("cat"))));
}

#[test]
fn a_directory_belongs_to_one_process_at_a_time_and_to_its_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b");
    let store = Directory::open(&root, HOUR).unwrap();
    let error = Directory::open(&root, HOUR).err().unwrap().to_string();
    assert!(error.starts_with("--store ") && error.contains("another process works there"), "{error}");
    drop(store);
    Directory::open(&root, HOUR).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&root), mode(&root.join("accepted")), mode(&root.join("results"))], [0o700; 3]);
    }
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert!(Directory::open(&folder.path().join("file"), HOUR).is_err());
}

#[test]
fn what_a_process_left_half_written_is_cleared_and_never_taken_for_a_job() {
    let folder = tempfile::tempdir().unwrap();
    let [half, both, whole] = ids();
    {
        let store = Directory::open(folder.path(), HOUR).unwrap();
        store.accept(both, b"both").unwrap();
        store.accept(whole, b"whole").unwrap();
    }
    let path = |name: String| folder.path().join(name);
    std::fs::write(path(format!("partial/{half}")), "ha").unwrap();
    // The process ended after it had written the result, and before it had removed the image.
    std::fs::write(path(format!("results/{both}")), serde_json::to_vec(&done("cat")).unwrap()).unwrap();
    std::fs::write(path("accepted/no-id".into()), "").unwrap();
    let store = Directory::open(folder.path(), HOUR).unwrap();
    assert_eq!(store.unfinished().unwrap(), [Unfinished { id: whole, starts: 0 }]);
    assert_eq!(store.status(half).unwrap(), None);
    assert_eq!(store.status(both).unwrap(), Some(Status::Ended(done("cat"))));
    assert!(!path(format!("accepted/{both}")).exists() && !path(format!("partial/{half}")).exists());
}

#[test]
fn a_job_that_was_written_though_its_client_was_told_otherwise_does_not_stay_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        Hooked::new(folder.path(), |call| if call == "accept" { Err("the answer was lost".into()) } else { Ok(()) });
    let settings = Settings { sweep: Duration::from_millis(20), ..settings() };
    let service = Service::start(settings, Arc::new(store), Arc::new(MeanColour)).unwrap();
    let mut client = Client::connect(service.address).unwrap();
    assert_eq!(client.post(&colour([0; 3])).unwrap().status, 503);
    let count = |name: &str| std::fs::read_dir(folder.path().join(name)).unwrap().count();
    eventually("it has ended", || (count("results") == 1).then_some(()));
    eventually("its image is gone", || (count("accepted") == 0).then_some(()));
    service.stop();
}
