//! Where the system has no more to give: an error that says so, and not the end of the process.

use std::error::Error as _;

use sutler::{Error, ErrorKind, InMemory, Loader, WorkerPool};

use crate::eventually;
use crate::process::{Footprint, limited, role, run};

fn counting() -> InMemory<i64> {
    (0..10).collect()
}

#[test]
fn more_threads_than_the_system_has_are_an_error_and_those_that_were_started_end() {
    let start = || {
        let before = Footprint::now();
        let refused = |error: Error, count: usize| {
            assert_eq!(
                (error.kind(), error.to_string().contains(&count.to_string())),
                (ErrorKind::Config, true),
                "{error}"
            );
            assert!(eventually(|| Footprint::now() == before), "{:?} after {before:?}", Footprint::now());
        };
        for count in [100, 100_000] {
            refused(WorkerPool::new(count).unwrap_err(), count);
            refused(Loader::builder(counting()).num_workers(count).build().unwrap_err(), count);
        }
        // What there is room for works.
        let loader = Loader::builder(counting()).num_workers(2).build().unwrap();
        assert_eq!(loader.epoch().map(Result::unwrap).count(), 10);
    };
    match role() {
        Some(_) => start(),
        None if cfg!(all(target_os = "linux", target_pointer_width = "64")) => {
            drop(run(&mut limited("alone", &start)));
        }
        None => {}
    }
}

#[test]
fn more_threads_than_a_pool_can_have_are_refused_before_one_is_started() {
    let start = || {
        let error = WorkerPool::new(100_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        // The system was not even asked.
        assert!(error.source().is_none(), "{error}");
    };
    match role() {
        Some(_) => start(),
        None if cfg!(all(target_os = "linux", target_pointer_width = "64")) => {
            drop(run(&mut limited("alone", &start)));
        }
        None => {}
    }
}
