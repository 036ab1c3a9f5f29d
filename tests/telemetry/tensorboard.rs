//! Event files, as TensorBoard itself reads them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;
use sutler::telemetry::{Histogram, Metrics, Picture, Shutdown, Telemetry, TensorBoard};

use crate::PATIENCE;

/// A Python that has TensorBoard, if there is one; `make test` says which.
fn python() -> Option<String> {
    let python = std::env::var("SUTLER_TENSORBOARD").unwrap_or("python3".into());
    let has_it = Command::new(&python).args(["-c", "import tensorboard"]).stderr(Stdio::null()).status();
    let is_there = has_it.is_ok_and(|status| status.success());
    if !is_there {
        say("skipped: there is no TensorBoard to read event files with (pip install tensorboard)");
    }
    is_there.then_some(python)
}

/// Also where tests pass, whose output cargo keeps to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Logs into a run and ends.
fn board(board: TensorBoard, log: impl FnOnce(&Telemetry)) {
    let telemetry = Telemetry::builder().sink(board).start().unwrap();
    log(&telemetry);
    let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
    assert!(report.is_complete(), "{report}");
}

fn read(python: &str, run: &Path) -> Json {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/telemetry/read_events.py");
    let output = Command::new(python).arg(script).arg(run).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The steps and values of a tag.
fn events(found: &Json, tag: &str) -> Vec<(u64, Json)> {
    let events = found[tag]["events"].as_array().unwrap_or_else(|| panic!("there is no {tag}"));
    events.iter().map(|event| (event["step"].as_u64().unwrap(), event["value"].clone())).collect()
}

/// Red on the left, green on the right.
fn picture() -> Picture {
    let pixels = (0..6 * 8).flat_map(|at| if at % 8 < 4 { [255, 0, 0] } else { [0, 255, 0] }).collect();
    Picture::new(6, 8, 3, pixels).unwrap()
}

#[test]
fn tensorboards_own_reader_reads_back_all_that_was_logged() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    board(TensorBoard::create(folder.path().join("run")).unwrap(), |telemetry| {
        for step in 0..1000 {
            telemetry.log(step, [("train/loss", 1.0 / (1 + step) as f64), ("train/lr", 1e-3)]);
        }
        telemetry.log(1 << 40, [("train/loss", f64::NAN)]);
        let mut metrics = Metrics::default();
        metrics.push("note", "**bold**, ü");
        metrics.push("weights", Histogram::new([0.0, 0.25, 0.25, 1.0, f32::NAN]));
        metrics.push("nothing", Histogram::new([f32::NAN]));
        metrics.push("sample", picture());
        metrics.push("grey", Picture::new(1, 2, 1, vec![7, 200]).unwrap());
        telemetry.log(5, metrics);
        telemetry.alert(6, "the loss is NaN");
    });
    let found = read(&python, &folder.path().join("run"));
    let tags: Vec<&str> = found.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(tags, ["alert", "grey", "note", "sample", "train/loss", "train/lr", "weights"]);
    let plugins = tags.iter().map(|tag| found[tag]["plugin"].as_str().unwrap());
    assert_eq!(plugins.collect::<Vec<_>>(), ["text", "images", "text", "images", "scalars", "scalars", "histograms"]);

    let losses = events(&found, "train/loss");
    assert_eq!(losses.len(), 1001);
    for (step, (of, loss)) in losses[..1000].iter().enumerate() {
        let expected = f64::from((1.0 / (1 + step) as f64) as f32);
        assert_eq!((*of, loss.as_f64()), (step as u64, Some(expected)));
    }
    assert_eq!(losses[1000], (1 << 40, Json::Null)); // which stands for NaN
    let time = found["train/loss"]["events"][0]["time"].as_f64().unwrap();
    assert!((before..before + 600.0).contains(&time));

    assert_eq!(events(&found, "note"), [(5, serde_json::json!(["**bold**, Ã¼"]))]); // its bytes, one by one
    assert_eq!(events(&found, "alert"), [(6, serde_json::json!(["the loss is NaN"]))]);

    // Left limit, right limit, count.
    let (step, buckets) = &events(&found, "weights")[0];
    let buckets: Vec<[f64; 3]> = serde_json::from_value(buckets.clone()).unwrap();
    let filled: Vec<_> = buckets.iter().filter(|[.., count]| *count > 0.0).collect();
    assert_eq!((*step, filled.iter().map(|[.., count]| *count).collect::<Vec<_>>()), (5, vec![1.0, 2.0, 1.0]));
    assert!(filled[1][0] <= 0.25 && 0.25 <= filled[1][1], "{filled:?}");
    assert_eq!(filled[2][1], 1.0);

    for (tag, expected) in [("sample", picture()), ("grey", Picture::new(1, 2, 1, vec![7, 200]).unwrap())] {
        let image: Vec<String> = serde_json::from_value(events(&found, tag)[0].1.clone()).unwrap();
        let [width, height, png] = &image[..] else { panic!("{image:?}") };
        assert_eq!((width, height), (&expected.width().to_string(), &expected.height().to_string()));
        let png: Vec<u8> = png.chars().map(|byte| u32::from(byte) as u8).collect();
        let decoded = image::load_from_memory(&png).unwrap();
        assert_eq!(decoded.into_bytes(), expected.pixels());
    }
}

#[test]
fn a_run_that_went_back_to_a_checkpoint_is_shown_once() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = |board_: TensorBoard, steps: std::ops::Range<u64>, loss: f64| {
        board(board_, |telemetry| steps.for_each(|step| telemetry.log(step, [("loss", loss)])));
    };
    log(TensorBoard::create(folder.path()).unwrap(), 0..10, 1.0);
    log(TensorBoard::create(folder.path()).unwrap().purge_step(7).unwrap(), 7..12, 2.0);
    log(TensorBoard::create(folder.path()).unwrap().purge_step(11).unwrap(), 11..13, 4.0);
    let losses = events(&read(&python, folder.path()), "loss");
    let expected = (0..7).map(|step| (step, 1.0)).chain((7..11).map(|step| (step, 2.0))).chain([(11, 4.0), (12, 4.0)]);
    let losses = losses.iter().map(|(step, loss)| (*step, loss.as_f64().unwrap()));
    assert_eq!(losses.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn each_writer_has_a_file_of_its_own_and_the_directory_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("runs/7");
    let (first, second) = (TensorBoard::create(&run).unwrap(), TensorBoard::create(&run).unwrap());
    assert_ne!(first.path(), second.path());
    for board in [first, second] {
        assert!(board.path().is_absolute() && board.path().is_file());
        assert!(board.path().file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."));
    }
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = TensorBoard::create(folder.path().join("file")).unwrap_err();
    assert_eq!(error.path(), Some(&*folder.path().join("file")));
}

/// TensorBoard on a port of its own; it ends with this.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(python: &str, logs: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Command::new(python)
            .args(["-m", "tensorboard.main", "--host", "127.0.0.1", "--port", &port.to_string(), "--logdir"])
            .arg(logs)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // It says where it is once it is there; what else it says is read as well, so that it can say it.
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let is_there = said.by_ref().any(|line| line.contains("Press CTRL+C to quit"));
        thread::spawn(move || said.for_each(drop));
        let server = Server { process, url: format!("http://127.0.0.1:{port}") };
        assert!(is_there, "TensorBoard has not started");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn tensorboards_page_shows_what_was_logged() {
    let Some(python) = python() else { return };
    if Command::new("chromium").arg("--version").output().is_err() {
        say("skipped: there is no chromium to look at TensorBoard's page with");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    board(TensorBoard::create(folder.path().join("logs/run")).unwrap(), |telemetry| {
        for step in 0..200 {
            telemetry.log(step, [("train/loss", (-0.02 * step as f64).exp())]);
        }
        telemetry.log(0, [("sample", picture())]);
        telemetry.log(0, [("weights", Histogram::new([0.0, 1.0]))]);
    });
    let server = Server::start(&python, &folder.path().join("logs"));
    let screenshot = folder.path().join("page.png");
    let browser = |what: &str| {
        let output = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--window-size=1400,1000",
                "--virtual-time-budget=20000",
            ])
            .arg(format!("--user-data-dir={}", folder.path().join("browser").display()))
            .args([what, &format!("{}/#timeseries", server.url)])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // It loads what there is in the background.
    let started = Instant::now();
    loop {
        let page = browser("--dump-dom");
        if ["train/loss", "sample", "weights"].iter().all(|name| page.contains(name)) {
            break;
        }
        assert!(started.elapsed() < PATIENCE * 4, "the page does not show what was logged:\n{page}");
        thread::sleep(Duration::from_millis(500));
    }
    browser(&format!("--screenshot={}", screenshot.display()));
    let picture = image::open(&screenshot).unwrap().to_rgb8();
    let reds = picture.pixels().filter(|pixel| pixel.0 == [255, 0, 0]).count();
    let greens = picture.pixels().filter(|pixel| pixel.0 == [0, 255, 0]).count();
    assert!(reds > 100 && greens > 100, "the logged picture is not on the page: {reds} red and {greens} green pixels");
    if let Some(path) = std::env::var_os("SUTLER_SCREENSHOT") {
        std::fs::copy(&screenshot, path).unwrap();
    }
}
