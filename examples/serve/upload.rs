//! `POST /jobs`: takes an image in, as the body itself or as the file of a form.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::header::{self, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::app::{App, failure, json};
use crate::job::{JobId, Status};
use crate::say::complain;

/// Bodies that are in memory at a time, at most. Others wait to be read.
pub const UPLOADS: usize = 32;

pub async fn post(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let patience = app.settings.body_timeout;
    let Ok(Ok(permit)) = timeout(patience, Arc::clone(&app.uploads).acquire_owned()).await else {
        return app.busy("too many images are being sent");
    };
    let body = match timeout(patience, read(body, app.settings.max_body, &parts.headers)).await {
        Ok(Ok(body)) => body,
        Ok(Err(problem)) => return problem,
        Err(_) => return failure(StatusCode::REQUEST_TIMEOUT, "the image did not come in time"),
    };
    // From here on it runs to its end, also when the client is gone: half an acceptance would be none.
    let (accepting, runtime) = (Arc::clone(&app), Handle::current());
    let accept = move || {
        let _permit = permit; // as long as the body is in memory
        accept(&accepting, &runtime, &parts.headers, body)
    };
    let accepted = app.blocking.run(accept).await;
    accepted.unwrap_or_else(|_| failure(StatusCode::INTERNAL_SERVER_ERROR, "the service failed"))
}

/// Reads a body. What is too long is read on for a while, and thrown away: a client that is still sending does not look
/// for an answer.
async fn read(mut body: Body, most: usize, headers: &HeaderMap) -> Result<Vec<u8>, Response> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let patience = most.saturating_mul(4);
    let mut bytes = Vec::with_capacity(announced.filter(|&length| length <= most).unwrap_or(0));
    let mut length = 0;
    while length <= patience && announced.is_none_or(|announced| announced <= patience) {
        let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await else { break };
        let Ok(frame) = frame else { return Err(failure(StatusCode::BAD_REQUEST, "the body ended early")) };
        let chunk = frame.into_data().unwrap_or_default();
        length += chunk.len();
        if length <= most {
            bytes.extend_from_slice(&chunk);
        }
    }
    if length > most || announced.is_some_and(|announced| announced > most) {
        let most = if most.is_multiple_of(1 << 20) { format!("{} MiB", most >> 20) } else { format!("{most} bytes") };
        let problem = format!("the body may have {most}");
        return Err(failure(StatusCode::PAYLOAD_TOO_LARGE, &problem));
    }
    Ok(bytes)
}

/// On a thread that may wait: looks at the image, reserves a place, writes the job down, and only then says that it is
/// accepted.
fn accept(app: &Arc<App>, runtime: &Handle, headers: &HeaderMap, body: Vec<u8>) -> Response {
    let image = match file(runtime, headers, body) {
        Ok(image) => image,
        Err(problem) => return failure(StatusCode::BAD_REQUEST, problem),
    };
    if let Err(refusal) = app.decoder.open(image.to_vec()) {
        let status = match refusal.is_too_large {
            true => StatusCode::UNPROCESSABLE_ENTITY,
            false => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        };
        return failure(status, &refusal.reason);
    }
    let Some(place) = app.queue.reserve() else {
        return app.busy(if app.queue.is_closed() { "the service stops" } else { "the queue is full" });
    };
    let id = match JobId::random() {
        Ok(id) => id,
        Err(_) => return app.busy("no random numbers"),
    };
    // Before it is in the store, where a job that nobody works on is an orphan.
    app.board.enter(id);
    let written = app.store.accept(id, &image);
    // Once, and not for each image that comes meanwhile.
    match (&written, app.is_store_away.swap(written.is_err(), Relaxed)) {
        (Err(error), false) => {
            complain(format_args!("no job is accepted, because the store cannot keep it: {error}"));
        }
        (Ok(()), true) => complain(format_args!("jobs are accepted again")),
        _ => {}
    }
    if written.is_err() {
        app.board.withdraw(id);
        return app.busy("the store cannot keep the image now");
    }
    place.fill(id);
    let mut response = json(StatusCode::ACCEPTED, Status::Queued.to_json(id));
    if let Ok(location) = HeaderValue::from_str(&format!("/jobs/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The image: the body, or the one file of a form.
fn file(runtime: &Handle, headers: &HeaderMap, body: Vec<u8>) -> Result<Bytes, &'static str> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let image = match content_type.to_ascii_lowercase().starts_with("multipart/") {
        false => body.into(),
        // All of it is here: nothing waits.
        true => runtime.block_on(part(content_type, body))?,
    };
    if image.is_empty() { Err("there is no image in the body") } else { Ok(image) }
}

async fn part(content_type: &str, body: Vec<u8>) -> Result<Bytes, &'static str> {
    const BROKEN: &str = "the form is broken";
    let request = Request::builder().header(header::CONTENT_TYPE, content_type).body(Body::from(body));
    let mut request = request.map_err(|_| BROKEN)?;
    DefaultBodyLimit::disable().apply(&mut request); // it was read within one
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| BROKEN)?;
    let mut image = None;
    while let Some(field) = form.next_field().await.map_err(|_| BROKEN)? {
        // A browser sends a field where no file was chosen, too.
        if field.file_name().is_none_or(str::is_empty) {
            continue;
        }
        let bytes = field.bytes().await.map_err(|_| BROKEN)?;
        if image.replace(bytes).is_some() {
            return Err("the form has more than one file: send each on its own");
        }
    }
    image.ok_or("the form has no file")
}
