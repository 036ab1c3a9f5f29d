//! Posts to a robot in a chat, for which a server on this machine stands.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use sutler::telemetry::{Report, Shutdown, Telemetry, Webhook};

use crate::{PATIENCE, counts, eventually, prompt};

/// What a server answers: a status with headers, and a body; or nothing at all.
type Answer = Option<(&'static str, &'static str)>;

const OK: Answer = Some(("200 OK", "ok"));

/// A server that gives these answers in turn, and the last of them from then on.
struct Robot {
    url: String,
    /// When they came, and what was posted.
    posts: Receiver<(Instant, Json)>,
}

impl Robot {
    fn new(answers: &'static [Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hooks/SECRET?key=SECRET", listener.local_addr().unwrap());
        let (posted, posts) = mpsc::channel();
        thread::spawn(move || {
            let mut answers = answers.iter();
            let mut answer = &OK;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                answer = answers.next().unwrap_or(answer);
                if posted.send((Instant::now(), body(&stream))).is_err() {
                    return;
                }
                if let Some((head, body)) = answer {
                    let length = body.len();
                    let _ = write!(
                        stream,
                        "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                    );
                }
            }
        });
        Robot { url, posts }
    }

    fn next(&self) -> Json {
        self.posts.recv_timeout(PATIENCE).unwrap().1
    }

    fn rest(&self) -> Vec<Json> {
        self.posts.try_iter().map(|(_, body)| body).collect()
    }
}

/// The JSON of a request.
fn body(stream: &TcpStream) -> Json {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_ascii_lowercase());
    }
    assert_eq!(head[0], "post /hooks/secret?key=secret http/1.1");
    assert!(head.contains(&"content-type: application/json; charset=utf-8".into()), "{head:?}");
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

type Make = fn(String) -> sutler::Result<Webhook>;

/// Without a pause worth speaking of.
fn quick(webhook: Webhook) -> Webhook {
    webhook.min_interval(Duration::ZERO).retries(4, Duration::from_millis(1))
}

fn alert(webhook: Webhook, alerts: &[&'static str]) -> Report {
    let telemetry = Telemetry::builder().sink(webhook).flush_interval(Duration::MAX).start().unwrap();
    for (step, text) in (0..).zip(alerts) {
        telemetry.log(step, [("loss", 0.5)]);
        telemetry.alert(step, *text);
    }
    telemetry.shutdown(Shutdown::Drain(PATIENCE))
}

#[test]
fn each_robot_gets_the_json_it_wants() {
    let robots: [(Make, &str, Json); 4] = [
        (Webhook::slack, "ok", json!({"text": "step 0: the \"loss\" is NaN"})),
        (
            Webhook::feishu,
            r#"{"code": 0}"#,
            json!({"msg_type": "text", "content": {"text": "step 0: the \"loss\" is NaN"}}),
        ),
        (
            Webhook::wecom,
            r#"{"errcode": 0}"#,
            json!({"msgtype": "text", "text": {"content": "step 0: the \"loss\" is NaN"}}),
        ),
        (
            |url| Webhook::new(url, r#"{"at": ["run 7, {{step}}", {"what": "{{message}} {{step}}"}], "level": 3}"#),
            r#"{"code": 5}"#, // which says nothing to somebody who does not know the robot
            json!({"at": ["run 7, 0", {"what": "step 0: the \"loss\" is NaN 0"}], "level": 3}),
        ),
    ];
    for (make, answer, expected) in robots {
        let robot = Robot::new(Vec::leak(vec![Some(("200 OK", answer))]));
        let report = alert(quick(make(robot.url.clone()).unwrap()), &["the \"loss\" is NaN"]);
        assert_eq!((counts(&report.sinks[0]), robot.next(), robot.rest()), ([1, 0, 0], expected, vec![]));
    }
}

#[test]
fn a_message_that_looks_like_a_template_is_left_as_it_is() {
    let robot = Robot::new(&[OK]);
    alert(quick(Webhook::slack(&robot.url).unwrap()), &["{{step}} of {{message}}"]);
    assert_eq!(robot.next(), json!({"text": "step 0: {{step}} of {{message}}"}));
}

#[test]
fn alerts_that_come_together_are_posted_together_as_far_as_a_message_goes() {
    let robot = Robot::new(&[OK]);
    let webhook = Webhook::slack(&robot.url).unwrap().min_interval(Duration::from_millis(200));
    let long: &'static str = "ü".repeat(1500).leak();
    let alerts = [&["a"; 30][..], &[long, "b"]].concat();
    let report = alert(webhook, &alerts);
    assert_eq!(counts(&report.sinks[0]), [32, 0, 0]);
    let posts: Vec<String> = robot.rest().iter().map(|post| post["text"].as_str().unwrap().into()).collect();
    // The first goes alone; what came while it went goes together.
    assert!(posts.len() <= 6, "{posts:?}");
    let room = 2048 - "{{message}}".len();
    assert!(posts.iter().all(|post| post.len() <= room));
    let cut = "ü".repeat((room - "step 30: ".len()) / 2);
    let lines = (0..30).map(|step| format!("step {step}: a")).chain([format!("step 30: {cut}"), "step 31: b".into()]);
    assert_eq!(posts.join("\n"), lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_may_pass_is_tried_again_and_nothing_is_posted_twice() {
    // A server that is down, one that has enough, a connection that breaks off, a robot that has enough.
    let robot = Robot::new(&[
        Some(("503 Service Unavailable", "")),
        Some(("429 Too Many Requests\r\nretry-after: 0", "")),
        None,
        Some(("200 OK", r#"{"errcode": 45009}"#)),
        Some(("200 OK", "<html>please log in</html>")),
        Some(("200 OK", r#"{"errcode": 0}"#)),
    ]);
    let report = alert(quick(Webhook::wecom(&robot.url).unwrap()), &["stop"]);
    assert_eq!(counts(&report.sinks[0]), [1, 0, 0]);
    assert_eq!(robot.rest().len(), 6);
}

#[test]
fn what_is_refused_for_what_it_says_is_left_out_and_what_comes_after_it_is_posted() {
    let refusals = [("200 OK", r#"{"code": 19024, "msg": "Key Words Not Found"}"#), ("400 Bad Request", "")];
    for (head, body) in refusals {
        let accepted = Some(("200 OK", r#"{"code": 0}"#));
        let robot = Robot::new(Vec::leak(vec![Some((head, body)), accepted]));
        let webhook = quick(Webhook::feishu(&robot.url).unwrap());
        let telemetry = prompt().sink(webhook).start().unwrap();
        telemetry.alert(0, "a");
        robot.next();
        telemetry.alert(1, "b");
        assert_eq!(robot.next()["content"]["text"], "step 1: b");
        let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
        assert!(report.is_complete() && !report.sinks[0].is_disabled, "{report}");
        assert!(report.sinks[0].last_error.as_ref().unwrap().starts_with("an alert was left out: "), "{report:?}");
        assert!(robot.rest().is_empty());
    }
}

#[test]
fn a_robot_that_is_not_there_is_given_up_and_one_that_says_nothing_of_itself_has_taken_the_post() {
    let unusable: [(Make, &str); 2] =
        [(Webhook::feishu, r#"{"code": 19001}"#), (Webhook::wecom, r#"{"errcode": 93000}"#)];
    for (make, answer) in unusable {
        let robot = Robot::new(Vec::leak(vec![Some(("200 OK", answer))]));
        let telemetry = prompt().sink(quick(make(robot.url.clone()).unwrap())).max_failures(2).start().unwrap();
        telemetry.alert(0, "stop");
        assert!(eventually(|| telemetry.report().sinks[0].is_disabled));
        assert_eq!((robot.rest().len(), counts(&telemetry.report().sinks[0])), (2, [0, 1, 0]));
    }
    for answer in ["", "{}", "ok", r#"{"StatusCode": 0, "StatusMessage": "success"}"#] {
        let robot = Robot::new(Vec::leak(vec![Some(("200 OK", answer))]));
        assert!(alert(quick(Webhook::feishu(&robot.url).unwrap()), &["stop"]).is_complete());
        assert_eq!(robot.rest().len(), 1);
    }
}

#[test]
fn what_an_alert_says_is_no_markup_for_slack() {
    let robot = Robot::new(&[OK]);
    alert(quick(Webhook::slack(&robot.url).unwrap()), &["<!channel> a & b"]);
    assert_eq!(robot.next(), json!({"text": "step 0: &lt;!channel&gt; a &amp; b"}));
}

#[test]
fn a_robot_may_be_given_another_body_and_is_still_asked_what_it_makes_of_it() {
    let robot = Robot::new(&[Some(("200 OK", r#"{"errcode": 45009}"#)), Some(("200 OK", r#"{"errcode": 0}"#))]);
    let body = r#"{"msgtype": "markdown", "markdown": {"content": "<@all> {{message}}"}}"#;
    let webhook = quick(Webhook::wecom(&robot.url).unwrap().body(body).unwrap());
    assert!(alert(webhook, &["stop"]).is_complete());
    let posted = robot.rest();
    assert_eq!((posted.len(), &posted[1]["markdown"]["content"]), (2, &json!("<@all> step 0: stop")));
}

#[test]
fn an_alert_does_not_wait_for_the_interval() {
    let robot = Robot::new(&[OK]);
    let telemetry = Telemetry::builder().sink(Webhook::slack(&robot.url).unwrap()).flush_interval(Duration::MAX);
    let telemetry = telemetry.start().unwrap();
    telemetry.alert(7, "stop");
    assert_eq!(robot.next(), json!({"text": "step 7: stop"}));
    drop(telemetry);
}

#[test]
fn what_was_posted_before_a_failure_is_not_posted_again_after_it() {
    // The first is posted alone, and two messages then come together; the second of these fails.
    let robot = Robot::new(&[OK, OK, Some(("500 Internal Server Error", "")), OK]);
    let webhook = Webhook::slack(&robot.url).unwrap().min_interval(Duration::from_millis(300));
    let telemetry = prompt().sink(webhook.retries(0, Duration::ZERO)).start().unwrap();
    telemetry.alert(0, "first");
    robot.next();
    let long = "a".repeat(2020);
    ["held", &long, "last"].into_iter().for_each(|text| telemetry.alert(1, text.to_owned()));
    assert!(eventually(|| telemetry.report().is_complete()), "{}", telemetry.report());
    let posts = robot.rest();
    let firsts: Vec<char> = posts.iter().map(|post| post["text"].as_str().unwrap().chars().nth(8).unwrap()).collect();
    assert!([vec!['h', 'a', 'a', 'l'], vec!['h', 'h', 'a', 'l']].contains(&firsts), "{firsts:?}");
}

#[test]
fn what_is_refused_for_good_is_not_tried_again_but_by_the_telemetry_which_gives_up() {
    let robot = Robot::new(&[Some(("404 Not Found", ""))]);
    let webhook = quick(Webhook::slack(&robot.url).unwrap());
    let telemetry = prompt().sink(webhook).max_failures(2).start().unwrap();
    telemetry.alert(0, "stop");
    assert!(eventually(|| telemetry.report().sinks[0].is_disabled));
    assert_eq!(robot.rest().len(), 2);
    let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
    assert_eq!(
        report.to_string(),
        "webhook: 0 of 1 records written, 1 dropped, disabled: the webhook's server answers 404 Not Found"
    );
}

#[test]
fn posts_keep_their_distance() {
    let robot = Robot::new(&[OK]);
    let webhook = Webhook::slack(&robot.url).unwrap().min_interval(Duration::from_millis(200));
    let telemetry = prompt().sink(webhook).start().unwrap();
    telemetry.alert(0, "a");
    let (first, _) = robot.posts.recv_timeout(PATIENCE).unwrap();
    (1..20).for_each(|step| telemetry.alert(step, "b"));
    let (second, _) = robot.posts.recv_timeout(PATIENCE).unwrap();
    assert!(second - first >= Duration::from_millis(190), "{:?}", second - first);
}

#[test]
fn no_error_and_no_debug_has_the_url() {
    let debug = format!("{:?}", Webhook::slack("https://hooks.example.org/SECRET").unwrap());
    assert!(!debug.contains("SECRET"), "{debug}");
    for url in ["ftp://example.org/SECRET", "SECRET", "https://", "", "http://exa mple.org/SECRET"] {
        let error = Webhook::slack(url).unwrap_err().to_string();
        assert_eq!(error, "a webhook's URL must be one of http or https");
    }
    for (body, problem) in
        [("{", "must be JSON"), ("{}", "needs {{message}}"), (r#"{"{{message}}": 1}"#, "needs {{message}}")]
    {
        let error = Webhook::new("http://example.org/SECRET", body).unwrap_err().to_string();
        assert!(error.contains(problem) && !error.contains("SECRET"), "{error}");
    }
    // Nobody is there; not even somebody who speaks HTTP; nobody of that name.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tls = Robot::new(&[OK]).url.replace("http://", "https://");
    for url in [format!("http://{nobody}/SECRET"), tls, "http://SECRET.invalid/SECRET".into()] {
        let webhook = Webhook::slack(url).unwrap().retries(0, Duration::ZERO);
        let telemetry = prompt().sink(webhook).max_failures(1).start().unwrap();
        telemetry.alert(0, "stop");
        assert!(eventually(|| telemetry.report().sinks[0].is_disabled));
        let report = telemetry.report().to_string();
        assert!(report.contains("webhook") && !report.contains("SECRET"), "{report}");
    }
}
