//! `Webhook`: alerts, to a robot in a chat.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use ureq::Agent;
use ureq::http::header::RETRY_AFTER;

use super::{Record, Sink, warn};
use crate::error::{Error, ErrorKind, Result};

/// Posts alerts ([`Telemetry::alert`](super::Telemetry::alert)) as JSON to a URL: to a robot of Slack, Feishu or WeCom,
/// or to anything else that takes a POST.
///
/// A message has a line for each alert, `step 7: the loss is NaN`; alerts that come between two posts go into one, as
/// far as 2048 bytes go.
///
/// What happens after a post depends on the answer. It fails, and is tried again, later and later, if there is none
/// within ten seconds, or one that says so (408, 429, 5xx; a robot that was asked too often). An alert is left out,
/// with a warning, if it is refused for what it says (400, 413, 422; most codes of a robot's). Anything else is a
/// failure of the sink, which is disabled after [some](super::TelemetryBuilder::max_failures) of them; redirections are
/// not followed. Where an answer was lost, an alert may be posted twice.
///
/// A URL like these is a secret, so it stands in no error, no warning and no `Debug`. (The HTTP client, ureq, logs
/// requests at the level `trace`, as they are: a logger for all should leave out `ureq` and `ureq_proto` there.)
/// Proxies are those of the environment, `HTTPS_PROXY` and the like.
pub struct Webhook {
    url: String,
    body: Json,
    robot: Robot,
    agent: Agent,
    min_interval: Duration,
    retries: u32,
    backoff: Duration,
    last_post: Option<Instant>,
    /// How many alerts of a write that failed were posted before it did.
    posted: usize,
}

/// What is known of whoever takes the posts.
#[derive(Clone, Copy)]
enum Robot {
    Any,
    /// Its texts have markup: `<!channel>` calls everybody.
    Slack,
    /// This and the next say in the body what becomes of a post.
    Feishu,
    WeCom,
}

/// Why a post failed.
enum Refusal {
    /// Whatever is posted would fail.
    Final(String),
    /// What was posted would fail again.
    Content(String),
    /// It may go through after so long, if the server says how long.
    Passing(String, Option<Duration>),
}

/// In bytes, with what the template has around it. WeCom takes as much, the others more.
const LONGEST_TEXT: usize = 2048;

/// However long a server asks to be left alone for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Webhook {
    /// Posts to `url`, with `body` as its JSON, in whose strings `{{message}}` and `{{step}}` are replaced.
    ///
    /// ```
    /// use sutler::telemetry::Webhook;
    ///
    /// let url = "https://chat.example.org/hooks/0123456789abcdef"; // better read from the environment
    /// let webhook = Webhook::new(url, r#"{"channel": "training", "text": "run 7: {{message}}"}"#)?;
    /// assert!(!format!("{webhook:?}").contains("0123456789abcdef"));
    /// # Ok::<(), sutler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the URL is not one of http or https, or the body is not JSON or has no `{{message}}`.
    pub fn new(url: impl Into<String>, body: &str) -> Result<Self> {
        let url = url.into();
        let is_http = url.parse().is_ok_and(|uri: ureq::http::Uri| {
            uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https"))
        });
        if !is_http {
            return Err(Error::new(ErrorKind::Config, "a webhook's URL must be one of http or https"));
        }
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(10)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("sutler/", env!("CARGO_PKG_VERSION")))
            .build();
        let webhook = Webhook {
            url,
            body: Json::Null,
            robot: Robot::Any,
            agent: agent.into(),
            min_interval: Duration::from_secs(3),
            retries: 4,
            backoff: Duration::from_secs(1),
            last_post: None,
            posted: 0,
        };
        webhook.body(body)
    }

    /// Posts another body than the robot's usual one: to mention somebody, say.
    ///
    /// # Errors
    ///
    /// As [`new`](Webhook::new).
    pub fn body(mut self, body: &str) -> Result<Self> {
        let refused = |problem: &str| Error::new(ErrorKind::Config, problem);
        self.body = serde_json::from_str(body)
            .map_err(|source| refused("a webhook's body must be JSON").with_source(source))?;
        let has_message = strings(&self.body).any(|text| text.contains("{{message}}"));
        if has_message { Ok(self) } else { Err(refused("a webhook's body needs {{message}} in one of its strings")) }
    }

    /// An incoming webhook of Slack.
    ///
    /// # Errors
    ///
    /// As [`new`](Webhook::new).
    pub fn slack(url: impl Into<String>) -> Result<Self> {
        let webhook = Self::new(url, r#"{"text": "{{message}}"}"#)?;
        Ok(Webhook { robot: Robot::Slack, ..webhook })
    }

    /// A custom robot of Feishu (Lark).
    ///
    /// # Errors
    ///
    /// As [`new`](Webhook::new).
    pub fn feishu(url: impl Into<String>) -> Result<Self> {
        let webhook = Self::new(url, r#"{"msg_type": "text", "content": {"text": "{{message}}"}}"#)?;
        Ok(Webhook { robot: Robot::Feishu, ..webhook })
    }

    /// A group robot of WeCom (WeChat Work).
    ///
    /// # Errors
    ///
    /// As [`new`](Webhook::new).
    pub fn wecom(url: impl Into<String>) -> Result<Self> {
        let webhook = Self::new(url, r#"{"msgtype": "text", "text": {"content": "{{message}}"}}"#)?;
        Ok(Webhook { robot: Robot::WeCom, ..webhook })
    }

    /// How long to wait after a post before the next one (default: three seconds, as WeCom takes twenty a minute).
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = interval;
        self
    }

    /// How often a post that failed is tried again before it counts as a failure of the sink (default: four times), and
    /// how long to wait before the first of these (default: a second; each time twice as long). Where a server says
    /// `Retry-After`, that counts, up to a minute.
    pub fn retries(mut self, retries: u32, backoff: Duration) -> Self {
        self.retries = retries;
        self.backoff = backoff;
        self
    }

    fn post(&mut self, step: u64, message: &str) -> Result<(), Refusal> {
        let mut body = self.body.clone();
        fill(&mut body, step, message);
        let body = body.to_string();
        let (mut retries, mut backoff) = (self.retries, self.backoff);
        loop {
            if let Some(last) = self.last_post {
                thread::sleep(self.min_interval.saturating_sub(last.elapsed()));
            }
            let sent = self.send(&body);
            self.last_post = Some(Instant::now());
            match sent {
                Err(Refusal::Passing(_, after)) if retries > 0 => {
                    thread::sleep(after.unwrap_or(backoff).min(LONGEST_WAIT));
                    retries -= 1;
                    backoff = backoff.saturating_mul(2);
                }
                sent => return sent,
            }
        }
    }

    fn send(&self, body: &str) -> Result<(), Refusal> {
        let sent = self.agent.post(&self.url).header("content-type", "application/json; charset=utf-8").send(body);
        let mut answer = sent.map_err(|error| Refusal::Passing(without_url(&error).into(), None))?;
        let status = answer.status();
        if status.is_success() {
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            return self.robot.judge(&text);
        }
        let problem = format!("the webhook's server answers {status}");
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(match status.as_u16() {
            400 | 413 | 422 => Refusal::Content(problem),
            408 | 429 | 500.. => Refusal::Passing(problem, after.map(Duration::from_secs)),
            _ => Refusal::Final(problem),
        })
    }
}

impl Robot {
    /// What it makes of a post, by its answer of 200.
    fn judge(self, answer: &str) -> Result<(), Refusal> {
        let code = |names: &[&str]| {
            let answer: Json = serde_json::from_str(answer).ok()?;
            names.iter().find_map(|name| answer.get(name)?.as_i64())
        };
        let (code, too_often, unusable) = match self {
            Robot::Any | Robot::Slack => return Ok(()),
            // 19001: no such robot; 19021 and 19022: it wants a signature, or another address.
            Robot::Feishu => (code(&["code", "StatusCode"]), 11232, &[19001, 19021, 19022][..]),
            // 93000: no such robot.
            Robot::WeCom => (code(&["errcode"]), 45009, &[93000][..]),
        };
        match code {
            Some(0) => Ok(()),
            Some(code) if code == too_often => Err(Refusal::Passing("the robot was asked too often".into(), None)),
            Some(code) if unusable.contains(&code) => Err(Refusal::Final(format!("the robot refuses all: {code}"))),
            Some(code) => Err(Refusal::Content(format!("the robot refuses it: {code}"))),
            // The page of a gateway in between. What else it may say, it has taken it.
            None if answer.trim_start().starts_with('<') => {
                Err(Refusal::Passing("the webhook's server does not answer as the robot would".into(), None))
            }
            None => Ok(()),
        }
    }

    /// As text, and not as markup.
    fn escaped(self, message: String) -> String {
        match self {
            Robot::Slack => message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
            _ => message,
        }
    }
}

/// What went wrong, in words of our own: those of the error may hold the URL.
fn without_url(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Timeout(_) => "the webhook's server does not answer in time",
        ureq::Error::HostNotFound => "the webhook's host is not known",
        ureq::Error::ConnectionFailed | ureq::Error::Io(_) => "the webhook's server cannot be reached",
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => "there is no safe connection to the webhook's server",
        _ => "the webhook cannot be posted to",
    }
}

fn strings(json: &Json) -> Box<dyn Iterator<Item = &str> + '_> {
    match json {
        Json::String(text) => Box::new(std::iter::once(text.as_str())),
        Json::Array(items) => Box::new(items.iter().flat_map(strings)),
        Json::Object(fields) => Box::new(fields.values().flat_map(strings)),
        _ => Box::new(std::iter::empty()),
    }
}

/// Puts step and message where the body has their names.
fn fill(json: &mut Json, step: u64, message: &str) {
    match json {
        // The message last: what it says is not looked through for names.
        Json::String(text) => *text = text.replace("{{step}}", &step.to_string()).replace("{{message}}", message),
        Json::Array(items) => items.iter_mut().for_each(|item| fill(item, step, message)),
        Json::Object(fields) => fields.values_mut().for_each(|field| fill(field, step, message)),
        _ => {}
    }
}

/// As many of the alerts as go into a message of so many bytes, but one at least; and how many they are.
fn message(alerts: &[(u64, &str)], longest: usize) -> (String, usize) {
    let (mut message, mut count) = (String::new(), 0);
    for (step, text) in alerts {
        let line = format!("step {step}: {text}");
        if count > 0 && message.len() + 1 + line.len() > longest {
            break;
        }
        if count > 0 {
            message.push('\n');
        }
        let end = (0..=line.len().min(longest)).rfind(|&at| line.is_char_boundary(at));
        message.push_str(&line[..end.unwrap_or(0)]);
        count += 1;
    }
    (message, count)
}

impl Sink for Webhook {
    fn name(&self) -> &str {
        "webhook"
    }

    fn write(&mut self, records: &[Record]) -> Result<()> {
        let alerts: Vec<(u64, &str)> =
            records.iter().filter_map(|record| Some((record.step(), record.alert()?))).collect();
        let longest = LONGEST_TEXT.saturating_sub(strings(&self.body).map(str::len).max().unwrap_or(0));
        let mut left_out = None;
        while self.posted < alerts.len() {
            let rest = &alerts[self.posted..];
            let (message, count) = message(rest, longest);
            match self.post(rest[0].0, &self.robot.escaped(message)) {
                Ok(()) => {}
                Err(Refusal::Content(problem)) => {
                    warn(format_args!("an alert is left out: {problem}"));
                    left_out = Some(problem);
                }
                Err(Refusal::Final(problem) | Refusal::Passing(problem, _)) => {
                    return Err(Error::new(ErrorKind::Io, problem));
                }
            }
            self.posted += count;
        }
        if let Some(problem) = left_out {
            // For the report. When this is called again, nothing is left to be posted.
            return Err(Error::new(ErrorKind::Io, format!("an alert was left out: {problem}")));
        }
        self.posted = 0;
        Ok(())
    }

    fn alerts_only(&self) -> bool {
        true
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("min_interval", &self.min_interval).finish_non_exhaustive()
    }
}
