//! `GET /ws`: a client sends the ids of jobs, separated by spaces or newlines, and is told how far each is, now and
//! whenever that changes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use crate::app::{App, nothing};
use crate::board::News;
use crate::job::{JobId, Status};
use crate::pulse::timed;
use crate::server::turns;

/// Clients at a time.
pub const SOCKETS: usize = 256;

/// Jobs that a client may wait for at a time,
pub const WATCHED: usize = 256;

/// and the bytes of a message: as many ids, and what separates them.
const MESSAGE: usize = 40 * WATCHED;

/// How often a client that says nothing is asked whether it is there; it has as long to answer.
const PING: Duration = Duration::from_secs(30);

/// How long a client may take to take something.
const SEND: Duration = Duration::from_secs(10);

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

pub async fn upgrade(State(app): State<Arc<App>>, upgrade: Upgrade) -> Response {
    let Ok(upgrade) = upgrade else { return nothing().await };
    let Ok(permit) = Arc::clone(&app.sockets).try_acquire_owned() else {
        return app.busy("there are too many clients: poll");
    };
    let upgrade = upgrade.max_message_size(MESSAGE).max_frame_size(MESSAGE);
    upgrade.read_buffer_size(MESSAGE).write_buffer_size(0).max_write_buffer_size(64 << 10).on_upgrade(|socket| {
        timed(app.settings.pulse.clone(), async move {
            let (sender, news) = mpsc::channel(2 * WATCHED); // a job has two changes left, at most
            Session { app, socket, sender, watched: HashSet::new() }.run(news).await;
            drop(permit);
        })
    })
}

struct Session {
    app: Arc<App>,
    socket: WebSocket,
    /// For the board.
    sender: mpsc::Sender<News>,
    /// Jobs that have not ended.
    watched: HashSet<JobId>,
}

/// The connection is to end.
struct End;

impl Session {
    async fn run(mut self, mut news: mpsc::Receiver<News>) {
        let mut closing = self.app.closing.clone();
        let mut ping = interval(PING);
        let mut is_silent = false;
        loop {
            let result = tokio::select! {
                message = self.socket.recv() => {
                    is_silent = false;
                    match message {
                        Some(Ok(message)) => self.receive(message).await,
                        _ => Err(End),
                    }
                }
                Some((id, status)) = news.recv() => self.tell(id, &status).await,
                _ = ping.tick() => match std::mem::replace(&mut is_silent, true) {
                    true => Err(End),
                    false => self.send(Message::Ping(Default::default())).await,
                },
                _ = turns(&mut closing) => {
                    // What ended in the last moment is told.
                    while let Ok((id, status)) = news.try_recv() {
                        if self.tell(id, &status).await.is_err() {
                            return;
                        }
                    }
                    self.close(close_code::AWAY, "the service stops").await
                }
            };
            if result.is_err() {
                return;
            }
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return self.close(close_code::UNSUPPORTED, "ids are text").await,
            Message::Close(_) => return Err(End),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        let mut others = Vec::new();
        for word in text.split_whitespace() {
            match word.parse::<JobId>() {
                Ok(id) if self.watched.contains(&id) => {}
                Ok(_) if self.watched.len() >= WATCHED => {
                    return self.close(close_code::POLICY, "too many jobs are watched").await;
                }
                Ok(id) => match self.app.board.watch(id, &self.sender) {
                    Some(status) => {
                        self.watched.insert(id);
                        self.send(Message::text(status.to_json(id))).await?;
                    }
                    None => others.push(id),
                },
                Err(_) => self.tell_unknown(word).await?,
            }
        }
        self.look_up(others).await
    }

    /// Tells how far jobs are that the board does not have: they have ended.
    async fn look_up(&mut self, ids: Vec<JobId>) -> Result<(), End> {
        if ids.is_empty() {
            return Ok(());
        }
        let Ok(all) = self.app.look_up(ids.clone()).await else {
            return self.close(close_code::AGAIN, "the store cannot be reached").await;
        };
        for (id, status) in ids.into_iter().zip(all) {
            match status {
                Some(status) => self.send(Message::text(status.to_json(id))).await?,
                None => self.tell_unknown(&id.to_string()).await?,
            }
        }
        Ok(())
    }

    /// The same for what never was, what has expired, and what cannot be an id.
    async fn tell_unknown(&mut self, word: &str) -> Result<(), End> {
        let text = serde_json::json!({ "id": word, "status": "unknown" }).to_string();
        self.send(Message::text(text)).await
    }

    /// Passes news on. They come in order, and after what the client was told when it asked.
    async fn tell(&mut self, id: JobId, status: &Status) -> Result<(), End> {
        if matches!(status, Status::Ended(_)) {
            self.watched.remove(&id);
        }
        self.send(Message::text(status.to_json(id))).await
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), End> {
        let _ = self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
        Err(End)
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(SEND, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(End),
        }
    }
}
