//! The listener: takes connections in, a bounded number, and ends them when it is told to.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::pulse::Pulse;

/// At a time. Others wait in the system's own queue.
const CONNECTIONS: usize = 512;

/// How long a client may take to say what it wants, also when it asked for something before.
const HEADERS: Duration = Duration::from_secs(20);

/// Takes connections in until `stopping` is true, and waits until they have ended, for so long as `closing` is false
/// and a moment more.
pub async fn listen(
    listener: TcpListener,
    router: Router,
    pulse: Arc<Pulse>,
    mut stopping: watch::Receiver<bool>,
    mut closing: watch::Receiver<bool>,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            _ = turns(&mut stopping) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, router.clone(), closing.clone());
                tokio::spawn(pulse.timed(async move {
                    connection.await;
                    drop(permit);
                }));
            }
            // There are too many files open, say. Whoever waits will be let in later.
            Err(error) => {
                eprintln!("serve: cannot take a connection in: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    turns(&mut closing).await;
    let _ = timeout(Duration::from_secs(2), connections.acquire_many(CONNECTIONS as u32)).await;
}

/// Waits until it is true, or nobody is left to say so.
pub async fn turns(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|flag| *flag).await;
}

async fn connection(stream: TcpStream, router: Router, mut closing: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = pin!(connection);
    // That a client goes away, or speaks something else, is no concern of ours.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = turns(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
