//! CSV files.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use sutler::telemetry::{Csv, Histogram, Metrics, Picture, Shutdown, Telemetry};
use sutler::{ErrorKind, InMemory, Loader};

use crate::{PATIENCE, eventually, prompt};

/// Logs into `path` and ends.
fn csv(path: &Path, log: impl FnOnce(&Telemetry)) {
    board(Csv::open(path).unwrap(), log);
}

fn board(csv: Csv, log: impl FnOnce(&Telemetry)) {
    let telemetry = Telemetry::builder().sink(csv).start().unwrap();
    log(&telemetry);
    let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
    assert!(report.is_complete(), "{report}");
}

/// Rows without their time, which is looked at. A line without an end is none.
fn rows(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(whole.as_bytes());
    let mut rows: Vec<Vec<String>> =
        reader.records().map(|row| row.unwrap().iter().map(String::from).collect()).collect();
    assert_eq!(rows[0][1], "time");
    for row in &rows[1..] {
        let time: f64 = row[1].parse().unwrap();
        assert!((1.7e9..1e10).contains(&time));
    }
    rows.iter_mut().for_each(|row| drop(row.remove(1)));
    rows
}

#[test]
fn a_file_has_a_column_for_each_name_that_came_up_and_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs/1/metrics.csv");
    csv(&path, |telemetry| {
        telemetry.log(0, [("loss", 0.5), ("lr", 1e-3)]);
        telemetry.log(1, [("loss", f64::NAN)]);
        telemetry.log(2, vec![("note", String::from("a \"b\",\nc")), ("lr", "none".into())]);
    });
    let first = [
        vec!["step", "loss", "lr", "note"],
        vec!["0", "0.5", "0.001", ""],
        vec!["1", "NaN", "", ""],
        vec!["2", "", "none", "a \"b\", c"],
    ];
    assert_eq!(rows(&path), first);
    // A line that was cut off is no row.
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"3,17643").unwrap();
    csv(&path, |telemetry| {
        telemetry.log(3, [("accuracy", 0.25), ("loss", 0.125)]);
        telemetry.alert(4, "the loss is NaN");
    });
    assert_eq!(
        rows(&path),
        [
            vec!["step", "loss", "lr", "note", "accuracy", "alert"],
            vec!["0", "0.5", "0.001", "", "", ""],
            vec!["1", "NaN", "", "", "", ""],
            vec!["2", "", "none", "a \"b\", c", "", ""],
            vec!["3", "0.125", "", "", "0.25", ""],
            vec!["4", "", "", "", "", "the loss is NaN"],
        ]
    );
    let files = fs::read_dir(path.parent().unwrap()).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(files.collect::<Vec<_>>(), ["metrics.csv"]);
}

#[test]
fn numbers_are_read_back_as_they_were_and_what_is_no_number_or_text_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let numbers = [0.1, 1e300, -2.5e-300, f64::MAX, 3.0, 1e15, f64::INFINITY, f64::MIN_POSITIVE, 1.0 / 3.0];
    csv(&path, |telemetry| {
        for (step, number) in (0..).zip(numbers) {
            let mut metrics = Metrics::from([("number", number)]);
            metrics.push("weights", Histogram::new([1.0]));
            metrics.push("picture", Picture::new(1, 1, 1, vec![0]).unwrap());
            telemetry.log(step, metrics);
        }
    });
    let rows = rows(&path);
    assert_eq!(rows[0], ["step", "number"]);
    let read: Vec<f64> = rows[1..].iter().map(|row| row[1].parse().unwrap()).collect();
    assert_eq!(read, numbers);
    assert!(rows.iter().all(|row| row[1].len() <= 24), "{rows:?}");
    assert_eq!(rows[5][1], "3");
}

#[test]
fn a_metric_may_be_called_like_one_of_the_first_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    for _ in 0..2 {
        csv(&path, |telemetry| telemetry.log(7, [("time", 0.25), ("step", 3.0)]));
    }
    let header = ["step", "metric/time", "metric/step"];
    assert_eq!(rows(&path), [header, ["7", "0.25", "3"], ["7", "0.25", "3"]]);
}

#[test]
fn a_file_is_valid_whenever_it_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let telemetry = prompt().sink(Csv::open(&path).unwrap()).start().unwrap();
    let names: Vec<String> = (0..60).map(|number| format!("metric {number}")).collect();
    let is_through = AtomicBool::new(false);
    let looks = thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let (mut looks, mut last) = (0, 0);
            while !is_through.load(Relaxed) {
                let rows = rows(&path);
                assert!(rows.iter().all(|row| row.len() == rows[0].len()));
                assert!(rows.len() >= last, "rows are gone");
                (looks, last) = (looks + 1, rows.len());
            }
            looks
        });
        for step in 0..600 {
            let so_far = names[..1 + step / 10].iter().map(|name| (name.clone(), step as f64));
            telemetry.log(step as u64, so_far.collect::<Vec<_>>());
            if step % 20 == 0 {
                assert!(telemetry.flush(PATIENCE).is_complete());
            }
        }
        is_through.store(true, Relaxed);
        looker.join().unwrap()
    });
    assert!(looks > 10);
    drop(telemetry);
    let rows = rows(&path);
    assert_eq!((rows.len(), rows[0].len()), (601, 61));
    assert!(rows[1..].iter().enumerate().all(|(step, row)| row[0] == step.to_string() && row[1] == row[0]));
}

#[test]
fn a_run_that_went_back_to_a_checkpoint_is_in_the_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    csv(&path, |telemetry| (0..10).for_each(|step| telemetry.log(step, [("loss", 1.0)])));
    board(Csv::open(&path).unwrap().purge_step(7).unwrap(), |telemetry| {
        (7..9).for_each(|step| telemetry.log(step, [("loss", 2.0), ("lr", 3.0)]));
    });
    let steps: Vec<[String; 2]> = rows(&path)[1..].iter().map(|row| [row[0].clone(), row[1].clone()]).collect();
    let expected =
        (0..7).map(|step| [step.to_string(), "1".into()]).chain([["7".into(), "2".into()], ["8".into(), "2".into()]]);
    assert_eq!(steps, expected.collect::<Vec<_>>());
    board(Csv::open(&path).unwrap().purge_step(0).unwrap(), |_| {});
    assert_eq!(rows(&path), [["step", "loss", "lr"]]);
}

#[test]
fn a_file_of_something_else_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.csv");
    // One without an end of line is no line that was cut off.
    for text in ["name,price\napple,1\n", "no line at all", "step,price\n1,2\n", "\n", "step,timeout,loss"] {
        fs::write(&path, text).unwrap();
        let error = Csv::open(&path).unwrap_err();
        assert_eq!((error.path(), error.kind()), (Some(&*path), ErrorKind::Config));
        assert!(error.to_string().ends_with("so it is not one of metrics: move it away"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    // But a header may have been.
    fs::write(&path, "step,ti").unwrap();
    csv(&path, |telemetry| telemetry.log(0, [("loss", 0.5)]));
    assert_eq!(rows(&path), [["step", "loss"], ["0", "0.5"]]);
    let error = Csv::open(folder.path()).unwrap_err();
    assert_eq!(error.path(), Some(folder.path()));
}

#[test]
fn a_file_that_cannot_be_written_anew_stays_as_it_is_and_loses_nothing_once_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let telemetry = prompt().sink(Csv::open(&path).unwrap()).max_failures(u32::MAX).start().unwrap();
    telemetry.log(0, [("loss", 0.5)]);
    assert!(eventually(|| rows(&path).len() == 2));
    // Something is where the file would be written anew, with its new column.
    let beside = folder.path().join(".metrics.csv.new");
    fs::create_dir(&beside).unwrap();
    telemetry.log(1, [("lr", 1e-3)]);
    assert!(eventually(|| telemetry.report().sinks[0].last_error.is_some()));
    let reason = telemetry.report().sinks[0].last_error.clone().unwrap();
    assert!(reason.contains(path.to_str().unwrap()), "{reason}");
    assert_eq!(rows(&path), [["step", "loss"], ["0", "0.5"]]);
    fs::remove_dir(&beside).unwrap();
    let report = telemetry.shutdown(Shutdown::Drain(PATIENCE));
    assert!(report.is_complete(), "{report}");
    assert_eq!(rows(&path), [["step", "loss", "lr"], ["0", "0.5", ""], ["1", "", "0.001"]]);
}

#[test]
fn names_and_texts_of_any_kind_are_read_back_after_going_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let names = ["", "a,b", "\"", "two\nlines", "cr\r", "\u{1b}[31m", "ü", " "];
    for round in 0..3 {
        csv(&path, |telemetry| telemetry.log(round, names.map(|name| (name, name))));
    }
    let rows = rows(&path);
    let plain = ["step", "", "a,b", "\"", "two lines", "cr ", " [31m", "ü", " "];
    assert_eq!(rows[0], plain);
    assert_eq!(rows.len(), 1 + 3);
    assert!(rows[1..].iter().all(|row| row[1..] == plain[1..]), "{rows:?}");
}

#[test]
#[cfg(unix)]
fn a_link_stays_a_link_and_permissions_stay() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real.csv"), folder.path().join("metrics.csv"));
    fs::write(&real, "").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    csv(&link, |telemetry| telemetry.log(0, [("loss", 0.5)]));
    csv(&link, |telemetry| telemetry.log(1, [("lr", 0.5)]));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(rows(&real), [["step", "loss", "lr"], ["0", "0.5", ""], ["1", "", "0.5"]]);
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn of_two_that_write_to_a_file_the_second_fails_and_nothing_of_the_first_is_lost() {
    for (has_column, problem) in
        [(true, "give each process a file of its own"), (false, "written anew by somebody else")]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        if has_column {
            fs::write(&path, "step,time,loss\n").unwrap();
        }
        let csv = || prompt().sink(Csv::open(&path).unwrap()).max_failures(2).start().unwrap();
        let (first, second) = (csv(), csv());
        for step in 0..4 {
            first.log(step, [("loss", 0.5)]);
            assert!(first.flush(PATIENCE).is_complete());
            second.log(step, [("accuracy", 0.9)]);
            second.flush(PATIENCE);
        }
        let report = second.shutdown(Shutdown::Drain(PATIENCE));
        let reason = report.sinks[0].last_error.as_ref().unwrap();
        assert!(report.sinks[0].is_disabled && reason.ends_with(problem), "{report}");
        assert_eq!(rows(&path), [["step", "loss"], ["0", "0.5"], ["1", "0.5"], ["2", "0.5"], ["3", "0.5"]]);
        assert!(first.shutdown(Shutdown::Drain(PATIENCE)).is_complete());
    }
}

#[test]
#[cfg(unix)]
fn a_file_that_is_moved_away_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let telemetry = prompt().sink(Csv::open(&path).unwrap()).max_failures(u32::MAX).start().unwrap();
    telemetry.log(0, [("loss", 0.5)]);
    assert!(telemetry.flush(PATIENCE).is_complete());
    fs::rename(&path, folder.path().join("moved.csv")).unwrap();
    telemetry.log(1, [("loss", 0.5)]);
    assert!(eventually(|| telemetry.report().sinks[0].last_error.is_some()));
    let error = telemetry.report().sinks[0].last_error.clone().unwrap();
    assert!(error.contains("it was moved, removed, or written anew"), "{error}");
    // Once it is back, so is the row.
    fs::rename(folder.path().join("moved.csv"), &path).unwrap();
    assert!(telemetry.shutdown(Shutdown::Drain(PATIENCE)).is_complete());
    assert_eq!(rows(&path), [["step", "loss"], ["0", "0.5"], ["1", "0.5"]]);
}

#[test]
#[cfg(unix)]
fn what_is_no_file_is_refused() {
    for path in ["/dev/null", "/dev/full", "/"] {
        let error = Csv::open(path).unwrap_err().to_string();
        assert!(error.ends_with("not a regular file") && error.contains(path), "{error}");
    }
}

#[test]
fn what_has_no_number_and_no_text_is_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    csv(&path, |telemetry| {
        telemetry.log(0, [("weights", Histogram::new([1.0]))]);
        telemetry.log(1, Metrics::default());
        telemetry.log(2, ("ok", true));
    });
    assert_eq!(rows(&path), [["step", "ok"], ["2", "1"]]);
}

/// The test below, in a process of its own whose files cannot grow beyond 4 KiB.
const LIMITED: &str = "SUTLER_TELEMETRY_LIMITED";

#[test]
#[cfg(unix)]
fn a_write_that_stops_half_way_leaves_whole_rows() {
    use sutler::telemetry::TensorBoard;
    if let Some(folder) = std::env::var_os(LIMITED) {
        let csv = Csv::open(Path::new(&folder).join("metrics.csv")).unwrap();
        let board = TensorBoard::create(&folder).unwrap();
        let telemetry = Telemetry::builder().sink(csv).sink(board).flush_interval(Duration::MAX);
        let telemetry = telemetry.start().unwrap();
        (0..10).for_each(|step| telemetry.log(step, [("loss", 0.5)]));
        assert!(telemetry.flush(PATIENCE).is_complete());
        // Of these a part has room.
        (10..1000).for_each(|step| telemetry.log(step, [("loss", 0.5)]));
        telemetry.flush(Duration::from_millis(200));
        let report = telemetry.shutdown(Shutdown::Drain(Duration::from_millis(200)));
        assert!(report.sinks.iter().all(|sink| (sink.written, sink.dropped) == (10, 990)), "{report}");
        assert!(report.sinks.iter().all(|sink| sink.last_error.is_some()));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("bash")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 4; exec \"$0\" --exact csv::a_write_that_stops_half_way_leaves_whole_rows",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, folder.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let path = folder.path().join("metrics.csv");
    assert!(fs::read_to_string(&path).unwrap().ends_with("0.5\n"));
    assert_eq!(rows(&path).len(), 1 + 10);
    let events =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap()).find(|file| file.path() != path).unwrap();
    // The version, and ten numbers: 8 + 4 + 24 + 4 bytes, and 8 + 4 + 26 + 4 or one more for a step that is not 0.
    let sizes = (events.metadata().unwrap().len() - 40, 0);
    assert_eq!(sizes.0 % 10, sizes.1, "{sizes:?}");
}

/// This test, in a process of its own, as the one that is killed.
const KILLED: &str = "SUTLER_TELEMETRY_KILLED";

#[test]
fn a_process_that_is_killed_loses_no_more_than_since_the_last_flush() {
    let interval = Duration::from_millis(200);
    if let Some(path) = std::env::var_os(KILLED) {
        let sink = Csv::open(path).unwrap();
        let telemetry = Telemetry::builder().sink(sink).flush_interval(interval).start().unwrap();
        for step in 0.. {
            telemetry.log(step, [("loss", 0.5)]);
            println!("{step}");
            thread::sleep(Duration::from_millis(1));
        }
    }
    use std::io::BufRead;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "csv::a_process_that_is_killed_loses_no_more_than_since_the_last_flush", "--nocapture"])
        .env(KILLED, &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let logged = std::io::BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut logged = logged.filter_map(|line| line.parse::<usize>().ok());
    // What was logged that long before the kill was flushed, however slow the machine is.
    let early = logged.by_ref().nth(500).unwrap();
    assert!(eventually(|| path.exists() && rows(&path).len() > early + 1));
    process.kill().unwrap();
    process.wait().unwrap();
    let rows = rows(&path);
    assert!(rows[1..].iter().enumerate().all(|(step, row)| *row == [step.to_string(), "0.5".into()]));
    // And what is left is a file to go on with.
    csv(&path, |telemetry| telemetry.log(0, [("loss", 1.0)]));
    assert_eq!(self::rows(&path).len(), rows.len() + 1);
}

#[test]
fn a_loaders_stats_are_metrics() {
    let samples: InMemory<i64> = (0..100).collect();
    let loader = Loader::builder(samples).batch_size(10).num_workers(2).build().unwrap();
    let before = loader.stats();
    loader.epoch().for_each(|batch| drop(batch.unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    csv(&path, |telemetry| telemetry.log(10, loader.stats().since(&before)));
    let rows = rows(&path);
    let names = [
        "step",
        "loader/samples_per_second",
        "loader/wait_share",
        "loader/ready",
        "loader/ahead",
        "loader/errors",
        "loader/bad_samples",
    ];
    assert_eq!(rows[0], names);
    let numbers: Vec<f64> = rows[1].iter().map(|cell| cell.parse().unwrap()).collect();
    assert!(numbers[1] > 0.0 && (0.0..=1.0).contains(&numbers[2]) && numbers[5] == 0.0, "{numbers:?}");
}
