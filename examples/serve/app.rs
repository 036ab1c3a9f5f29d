//! `App`: what the requests share, and which request goes where.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};

use crate::blocking::Blocking;
use crate::board::Board;
use crate::decoder::Decoder;
use crate::job::{self, JobId, Status};
use crate::model::Model;
use crate::pace::Pace;
use crate::queue::Queue;
use crate::service::Settings;
use crate::store::{Error, Store};
use crate::{socket, upload};

pub struct App {
    pub settings: Settings,
    pub store: Arc<dyn Store>,
    pub model: Arc<dyn Model>,
    pub decoder: Decoder,
    pub queue: Arc<Queue>,
    pub board: Board,
    pub pace: Pace,
    pub blocking: Blocking,
    /// Whether the last job that was to be written down could not be.
    pub is_store_away: AtomicBool,
    /// Of bodies that may be in memory at a time,
    pub uploads: Arc<Semaphore>,
    /// of connections,
    pub connections: Arc<Semaphore>,
    /// and of those that have become WebSockets.
    pub sockets: Arc<Semaphore>,
    /// Turns to true when connections are to end.
    pub closing: watch::Receiver<bool>,
}

pub fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/jobs", post(upload::post))
        .route("/jobs/{id}", get(status))
        .route("/ws", get(socket::upgrade))
        .route("/health", get(health))
        .method_not_allowed_fallback(nothing)
        .fallback(nothing)
        .layer(middleware::from_fn_with_state(Arc::clone(app), own_site))
        .layer(middleware::map_response(headers))
        .with_state(Arc::clone(app))
}

async fn page() -> Response {
    let Ok(nonce) = job::random() else { return failure(StatusCode::SERVICE_UNAVAILABLE, "no random numbers") };
    let nonce = format!("{nonce:032x}");
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src blob: data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let html = include_str!("page.html").replace("{nonce}", &nonce);
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, &policy)];
    (headers, html).into_response()
}

/// One answer for what never was, what has expired, and what cannot be an id.
async fn status(State(app): State<Arc<App>>, id: Result<Path<String>, PathRejection>) -> Response {
    let Some(id) = id.ok().and_then(|Path(id)| id.parse::<JobId>().ok()) else { return nothing().await };
    // What is on the board is answered without the store, which may be slow, or away.
    if let Some(status) = app.board.status(id) {
        return json(StatusCode::OK, status.to_json(id));
    }
    match app.look_up(vec![id]).await.as_deref() {
        Ok([Some(status)]) => json(StatusCode::OK, status.to_json(id)),
        Ok(_) => nothing().await,
        Err(_) => app.busy("the store cannot be reached"),
    }
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let health = serde_json::json!({
        "status": "ok",
        "model": app.model.name(),
        "jobs": app.board.len(),
        "waiting": app.queue.len(),
    });
    json(StatusCode::OK, health.to_string())
}

pub async fn nothing() -> Response {
    failure(StatusCode::NOT_FOUND, "there is nothing here")
}

impl App {
    /// How jobs ended that are not on the board: that was written down before. `None` for what is not there.
    pub async fn look_up(self: &Arc<Self>, ids: Vec<JobId>) -> Result<Vec<Option<Status>>, Error> {
        let app = Arc::clone(self);
        self.blocking.run(move || ids.into_iter().map(|id| app.store.status(id)).collect()).await?
    }

    /// Says that there is no room now, and when there will be.
    pub fn busy(&self, problem: &str) -> Response {
        let mut response = failure(StatusCode::SERVICE_UNAVAILABLE, problem);
        response.headers_mut().insert(header::RETRY_AFTER, self.pace.seconds(self.queue.len()).into());
        response
    }
}

pub fn json(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

pub fn failure(status: StatusCode, problem: &str) -> Response {
    json(status, serde_json::json!({ "error": problem }).to_string())
}

/// Refuses what a page of somebody else's asks a browser to send. Programs send no `Origin`.
async fn own_site(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if !is_own_name(&app.settings, request.headers()) {
        return failure(StatusCode::FORBIDDEN, "this service has another name (--host)");
    }
    if is_foreign(request.headers()) {
        return failure(StatusCode::FORBIDDEN, "another site's page may not ask");
    }
    next.run(request).await
}

/// Whether a request is for this service, by the name in it. Any name can be made to lead to this machine, and the page
/// behind it then has the same origin. A service for other machines has a name that only `--host` says.
fn is_own_name(settings: &Settings, headers: &HeaderMap) -> bool {
    if settings.hosts.is_empty() && !settings.listen.ip().is_loopback() {
        return true;
    }
    let Some(host) = headers.get(header::HOST) else { return true }; // no browser
    let Some(name) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = name.host();
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let is_known = |host: &String| host.eq_ignore_ascii_case(name);
    is_address || name.eq_ignore_ascii_case("localhost") || settings.hosts.iter().any(is_known)
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let site = origin.as_bytes().splitn(2, |&byte| byte == b'/').nth(1).and_then(|rest| rest.strip_prefix(b"/"));
    site.is_none() || site != headers.get(header::HOST).map(HeaderValue::as_bytes)
}

/// What every answer has.
async fn headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The page has one of its own.
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_made_to_lead_here_is_not_the_services_own() {
        let settings = Settings { hosts: vec!["images.example".into()], ..Settings::default() };
        let is_own = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_own_name(&settings, &headers)
        };
        let own = [
            "127.0.0.1:8080",
            "127.0.0.1",
            "[::1]:8080",
            "localhost:1",
            "LocalHost",
            "images.example",
            "IMAGES.example:443",
        ];
        assert!(own.into_iter().all(is_own));
        let others =
            ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "a.images.example", "", ":1"];
        assert!(!others.into_iter().any(is_own));
        assert!(is_own_name(&settings, &HeaderMap::new()));
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "server".parse().unwrap());
        let to_all = |hosts| Settings { listen: ([0; 4], 80).into(), hosts, ..Settings::default() };
        assert!(is_own_name(&to_all(vec![]), &headers) && !is_own_name(&to_all(vec!["other".into()]), &headers));
    }

    #[test]
    fn a_page_from_elsewhere_is_foreign_and_a_program_is_not() {
        let foreign = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:8080".parse().unwrap());
            headers.extend(origin.map(|origin| (header::ORIGIN, origin.parse().unwrap())));
            is_foreign(&headers)
        };
        assert!(!foreign(None));
        assert!(!foreign(Some("http://127.0.0.1:8080")));
        for origin in ["null", "", "http://127.0.0.1", "http://127.0.0.1:8081", "http://evil.example", "http:/", "/"] {
            assert!(foreign(Some(origin)), "{origin}");
        }
    }
}
