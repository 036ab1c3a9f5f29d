//! The listener: takes connections in, a bounded number, and ends them when it is told to.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::app::{App, router};
use crate::pulse::timed;
use crate::say::complain;
use crate::socket::SOCKETS;

/// At a time, WebSockets not counted. Others wait in the system's own queue.
pub const CONNECTIONS: usize = 512;

/// How long clients have at a stop to take their last answers.
pub const GOODBYE: Duration = Duration::from_secs(2);

/// How long a client may take to say what it wants, also when it asked for something before.
const HEADERS: Duration = Duration::from_secs(20);

/// Takes connections in until `stopping` is true, and waits until they have ended, for so long as `closing` is false
/// and a moment more.
pub async fn listen(listener: TcpListener, app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let router = router(&app);
    let mut closing = app.closing.clone();
    loop {
        let next = async {
            let permit = Arc::clone(&app.connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            _ = turns(&mut stopping) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let _ = set_unread_timeout(&stream, app.settings.unread_timeout);
                let connection = connection(stream, router.clone(), closing.clone());
                let connection = async move {
                    connection.await;
                    drop(permit);
                };
                tokio::spawn(timed(app.settings.pulse.clone(), connection));
            }
            // There are too many files open, say. Whoever waits will be let in later.
            Err(error) => {
                complain(format_args!("cannot take a connection in: {error}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    turns(&mut closing).await;
    let ended = async {
        let _connections = app.connections.acquire_many(CONNECTIONS as u32).await;
        let _sockets = app.sockets.acquire_many(SOCKETS as u32).await;
    };
    let _ = timeout(GOODBYE, ended).await;
}

/// Has the system end a connection whose client takes nothing for so long. Otherwise those who ask and do not read hold
/// connections until there is none left.
#[cfg(target_os = "linux")]
fn set_unread_timeout(stream: &TcpStream, time: Duration) -> rustix::io::Result<()> {
    rustix::net::sockopt::set_tcp_user_timeout(stream, time.as_millis() as u32)
}

/// Elsewhere no system is asked for that.
#[cfg(not(target_os = "linux"))]
fn set_unread_timeout(_: &TcpStream, _: Duration) -> std::io::Result<()> {
    Ok(())
}

/// Waits until it is true, or nobody is left to say so.
pub async fn turns(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|flag| *flag).await;
}

async fn connection(stream: TcpStream, router: axum::Router, mut closing: watch::Receiver<bool>) {
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
