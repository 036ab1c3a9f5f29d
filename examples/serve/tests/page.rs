//! The page, in a browser without a screen, at the width of a phone.
//!
//! With `SUTLER_SERVE_SCREENSHOT=docs/serve.png` the first of the tests leaves a picture there.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::protocol::Message;
use tungstenite::{WebSocket, client};

use super::models::Gate;
use super::{PATIENCE, Running, eventually, settings};
use crate::model::MeanColour;
use crate::service::Settings;
use crate::socket::SOCKETS;

const WIDTH: u32 = 390;
const HEIGHT: u32 = 844;

/// A browser with one page, driven over its DevTools.
struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    calls: u64,
    session: Option<String>,
    /// What the page complained of.
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// `None`, after a line that says so, where there is no Chromium.
    fn open(url: &str) -> Option<Self> {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromium");
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--remote-debugging-port=0", "--disable-background-networking", "--disable-extensions"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let Ok(mut child) = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn() else {
            eprintln!("skipped: there is no chromium");
            return None;
        };
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.ok()?.split_once("DevTools listening on ")?.1.to_string()));
        // Whoever does not read on has it stop when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        let Some(address) = address else {
            child.wait().unwrap();
            panic!("chromium does not say where it listens");
        };
        let stream = TcpStream::connect(address.split('/').nth(2).unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = client(address, stream).unwrap();
        let (calls, session, complaints) = (0, None, Vec::new());
        let mut browser = Browser { child, socket, calls, session, complaints, _profile: profile };
        browser.navigate(url);
        Some(browser)
    }

    fn navigate(&mut self, url: &str) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let session = self.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        self.session = Some(session["sessionId"].as_str().unwrap().into());
        for domain in ["Page", "DOM", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        let metrics = json!({ "width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 2, "mobile": true });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        self.call("Page.navigate", json!({ "url": url }));
        self.wait_for("document.readyState === 'complete' && document.getElementById('how') !== null");
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.calls {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            if let Some("Runtime.exceptionThrown" | "Log.entryAdded") = answer["method"].as_str() {
                self.complaints.push(answer["params"].to_string());
            }
        }
    }

    fn evaluate(&mut self, script: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({ "expression": script, "returnByValue": true }));
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    fn wait_for(&mut self, script: &str) {
        eventually(script, || (self.evaluate(script) == true).then_some(()));
    }

    /// Chooses these files, as somebody does who clicks on the field.
    fn choose(&mut self, files: &[PathBuf]) {
        let document = self.call("DOM.getDocument", json!({}))["root"]["nodeId"].clone();
        let input =
            self.call("DOM.querySelector", json!({ "nodeId": document, "selector": "#files" }))["nodeId"].clone();
        self.call("DOM.setFileInputFiles", json!({ "nodeId": input, "files": files }));
    }

    /// The cards, from the top: name, class, what it says, and the best label.
    fn cards(&mut self) -> Vec<[String; 4]> {
        let script = "[...document.querySelectorAll('li')].map(card => [card.querySelector('.name').textContent, \
                      card.className, card.querySelector('.state').textContent, \
                      card.querySelector('.label span')?.textContent ?? ''])";
        serde_json::from_value(self.evaluate(script)).unwrap()
    }

    fn wait_for_ends(&mut self, count: usize) {
        self.wait_for(&format!("document.querySelectorAll('li.done, li.failed').length === {count}"));
    }

    fn fits(&mut self) {
        assert_eq!(self.evaluate("[innerWidth, document.documentElement.scrollWidth]"), json!([WIDTH, WIDTH]));
    }

    fn screenshot(&mut self) -> Vec<u8> {
        let data = self.call("Page.captureScreenshot", json!({ "format": "png" }))["data"].clone();
        decode_base64(data.as_str().unwrap())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        alphabet.iter().position(|&other| other == letter).unwrap() as u32
    };
    let mut bytes = Vec::new();
    for letters in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = letters.iter().fold(0, |bits, &letter| bits << 6 | value(letter)) << (6 * (4 - letters.len()));
        bytes.extend(&bits.to_be_bytes()[1..letters.len()]);
    }
    bytes
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

#[test]
fn images_are_chosen_or_dropped_on_the_page_and_their_results_arrive() {
    let service = Running::plain();
    let Some(mut browser) = Browser::open(&format!("http://{}/", service.address())) else { return };
    browser.wait_for("document.getElementById('how').textContent === 'live'");
    browser.fits();
    let names = ["shapes/val/rings/000.jpg", "formats/rgb.png", "bad/truncated.jpg", "bad/text.jpg"];
    browser.choose(&names.map(fixture));
    browser.wait_for_ends(4);
    // What is dropped is taken as well: an image of the page's own making.
    browser.evaluate(
        "{ const canvas = document.createElement('canvas'); const pen = canvas.getContext('2d'); \
         canvas.width = canvas.height = 64; pen.fillStyle = 'teal'; pen.fillRect(0, 0, 64, 64); \
         canvas.toBlob(blob => { const files = new DataTransfer(); \
         files.items.add(new File([blob], 'a-name-that-is-much-too-long-for-the-width-of-a-telephone.png')); \
         document.dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true })); }); 0 }",
    );
    browser.wait_for_ends(5);
    let cards = browser.cards();
    let of = |name: &str| cards.iter().find(|card| card[0] == name).unwrap().each_ref().map(String::as_str);
    assert!(cards[0][0].starts_with("a-name"), "{cards:?}");
    assert_eq!(cards[0].each_ref().map(String::as_str)[1..], ["done", "mean colour (no torch)", "teal"]);
    assert_eq!(of("000.jpg")[1..3], ["done", "mean colour (no torch)"]);
    assert_eq!(of("rgb.png")[1..3], ["done", "mean colour (no torch)"]);
    assert_eq!(of("truncated.jpg")[1], "failed");
    assert!(of("truncated.jpg")[2].contains("decode"), "{cards:?}");
    assert_eq!(of("text.jpg")[1], "failed");
    assert!(of("text.jpg")[2].contains("not an image"), "{cards:?}");
    browser.fits();
    // Refused images are answered with an error, which the browser notes. Nothing else is to be complained of.
    let others: Vec<_> = browser.complaints.iter().filter(|text| !text.contains("415")).collect();
    assert!(others.is_empty(), "{others:?}");
    let picture = browser.screenshot();
    assert_eq!(image::load_from_memory(&picture).unwrap().width(), 2 * WIDTH);
    if let Some(path) = std::env::var_os("SUTLER_SERVE_SCREENSHOT") {
        std::fs::write(path, picture).unwrap();
    }
}

#[test]
fn where_the_websocket_is_refused_the_page_polls() {
    let service = Running::plain();
    let app = &service.service().app;
    let all = app.sockets.try_acquire_many(SOCKETS as u32).unwrap();
    let Some(mut browser) = Browser::open(&format!("http://{}/", service.address())) else { return };
    browser.wait_for("document.getElementById('how').textContent === 'polling'");
    browser.choose(&["shapes/val/rings/000.jpg", "formats/rgb.png"].map(fixture));
    browser.wait_for_ends(2);
    assert_eq!(browser.evaluate("document.getElementById('how').textContent"), "polling");
    assert!(browser.cards().iter().all(|card| card[1] == "done" && !card[3].is_empty()));
    // And it comes back to it.
    drop(all);
    browser.wait_for("document.getElementById('how').textContent === 'live'");
}

#[test]
fn the_page_sends_again_what_the_queue_had_no_room_for() {
    let gate = Gate::default();
    let service = Running::new(Settings { queue: 1, workers: 1, max_batch: 1, ..settings() }, gate.clone());
    let Some(mut browser) = Browser::open(&format!("http://{}/", service.address())) else { return };
    browser.choose(&["000", "001", "002", "003"].map(|name| fixture(&format!("shapes/val/rings/{name}.jpg"))));
    browser.wait_for(
        "[...document.querySelectorAll('.state')].some(state => /queue is full.*again/.test(state.textContent))",
    );
    // A poll that was overtaken does not put a job back into the queue.
    browser.wait_for("document.querySelectorAll('li.running').length === 1");
    browser
        .evaluate("tell([...pending].find(([, card]) => card.item.className === 'running')[0], { status: 'queued' })");
    assert_eq!(browser.evaluate("document.querySelectorAll('li.running').length"), 1);
    gate.open();
    browser.wait_for_ends(4);
    assert!(browser.cards().iter().all(|card| card[1] == "done"));
}

#[test]
fn a_page_that_is_open_when_the_service_is_started_again_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let start = |settings: Settings| {
        let store = crate::store::Directory::open(folder.path(), super::HOUR).unwrap();
        crate::service::Service::start(settings, std::sync::Arc::new(store), std::sync::Arc::new(MeanColour))
    };
    let service = start(Settings { workers: 0, ..settings() }).unwrap();
    let address = service.address;
    let Some(mut browser) = Browser::open(&format!("http://{address}/")) else { return };
    browser.choose(&[fixture("formats/rgb.png")]);
    browser.wait_for("document.querySelectorAll('li.queued').length === 1");
    assert_eq!(service.stop(), 1);
    let no_answer = "document.getElementById('how').textContent === 'no answer'";
    browser.wait_for(no_answer);
    let service = eventually("the port is free", || start(Settings { listen: address, ..settings() }).ok());
    browser.wait_for_ends(1);
    assert_eq!(browser.cards()[0][1], "done");
    // It is seen also by a page that waits for nothing.
    service.stop();
    browser.wait_for(no_answer);
}
