//! Programs as tasks: what they write, how they fail, and that nothing of them is left.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process;
use std::time::{Duration, Instant};

use sutler::monitor::{Command, Monitor, Output, Stop, Task};
use sutler::{Error, ErrorKind, Result};

use crate::{MS, SOON, alone, until};

const HOUR: Duration = Duration::from_secs(3600);

fn shell(script: &str) -> Command {
    Command::new("/bin/sh").args(["-c", script]).timeout(SOON)
}

fn run(mut command: Command) -> Result<Output> {
    command.run(&Stop::default())
}

fn fails(command: Command) -> Error {
    run(command).unwrap_err()
}

/// A process of a number that a file holds, when it does.
fn process_of(file: &Path) -> u32 {
    until("a process's number", || fs::read_to_string(file).ok()?.strip_suffix('\n')?.parse().ok())
}

/// Whether a process is there, be it as what is left of it until its parent looks.
fn exists(process: u32) -> bool {
    signal(process).is_ok()
}

fn signal(process: u32) -> std::io::Result<()> {
    let status = process::Command::new("/bin/sh").args(["-c", &format!("kill -0 {process} 2>/dev/null")]).status()?;
    status.success().then_some(()).ok_or_else(|| std::io::Error::other("gone"))
}

/// Whether it is at work. One that was killed, whose parent is gone as well, may not have been looked after.
fn is_running(process: u32) -> bool {
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']),
        Err(_) => !cfg!(target_os = "linux") && exists(process),
    }
}

#[test]
fn what_a_program_writes_is_read() {
    let output = run(shell("echo out; echo err >&2; cat; echo end")).unwrap();
    assert_eq!((output.stdout, output.is_cut, output.stderr), (b"out\nend\n".to_vec(), false, b"err\n".to_vec()));
    let arguments = Command::new("/bin/echo").args(["a b", "$HOME"]).args(["c"]);
    assert_eq!(run(arguments).unwrap().stdout, b"a b $HOME c\n");
    let mut elsewhere = process::Command::new("/bin/sh");
    elsewhere.args(["-c", "pwd; echo $SEEN"]).current_dir("/").env("SEEN", "yes");
    assert_eq!(run(elsewhere.into()).unwrap().stdout, b"/\nyes\n");
}

#[test]
fn a_program_that_fails_is_an_error_with_the_end_of_what_it_said() {
    let error = fails(shell("echo early >&2; echo it  is\t broken >&2; exit 3"));
    assert_eq!(error.to_string(), "`/bin/sh` failed (exit status: 3): early it is broken");
    assert_eq!(fails(shell("exit 1")).to_string(), "`/bin/sh` failed (exit status: 1)");
    assert_eq!(fails(shell("kill -TERM $$")).to_string(), "`/bin/sh` failed (signal: 15 (SIGTERM))");
    let long = fails(shell("i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i + 1)); done; exit 1")).to_string();
    assert!(long.ends_with("line 1998 line 1999") && long.contains(": …") && long.len() < 500, "{long}");
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    let error = fails(Command::new("no-such-program"));
    let text =
        "cannot start `no-such-program` (install it, or say where it is): No such file or directory (os error 2)";
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Io, text.into()));
    let error = fails(Command::new("/etc/passwd"));
    assert!(error.to_string().starts_with("cannot start `/etc/passwd`: "), "{error}");
}

#[test]
fn of_much_output_the_beginning_is_kept_and_of_many_messages_the_end() {
    let output = run(shell("head -c 1000000 /dev/zero; printf '%65536s' last")).unwrap();
    assert_eq!((output.stdout, output.is_cut), (vec![0; 64 << 10], true));
    let output = run(shell("head -c 65536 /dev/zero; head -c 500000 /dev/zero >&2; printf end >&2")).unwrap();
    assert_eq!((output.stdout.len(), output.is_cut), (64 << 10, false));
    assert_eq!((output.stderr.len(), output.stderr.ends_with(b"\0end")), (4 << 10, true));
}

#[test]
fn a_program_does_not_read_what_is_meant_for_this_process() {
    let (reader, _writer) = std::io::pipe().unwrap();
    alone(
        "command::a_program_does_not_read_what_is_meant_for_this_process",
        |command| _ = command.stdin(reader),
        || assert_eq!(run(Command::new("cat").timeout(SOON)).unwrap().stdout, b""),
    );
}

#[test]
fn what_is_written_just_before_the_end_is_read() {
    for _ in 0..20 {
        let output = run(Command::new("head").args(["-c", "65536", "/dev/zero"])).unwrap();
        assert_eq!((output.stdout.len(), output.is_cut), (64 << 10, false));
    }
}

#[test]
fn a_program_that_never_ends_is_killed_with_all_its_processes() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let script = "sleep 1000 & echo $! >second; echo $$ >first; echo about to hang >&2; sleep 1000; true";
    let mut hangs = process::Command::new("/bin/sh");
    hangs.args(["-c", script]).current_dir(folder.path());
    let began = Instant::now();
    let error = fails(Command::from(hangs).timeout(300 * MS));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let text = "`/bin/sh` was killed, since it had not ended after 300ms: about to hang";
    assert_eq!(error.to_string(), text);
    assert!(began.elapsed() >= 300 * MS && began.elapsed() < SOON);
    assert!(!exists(process_of(&first)), "it was reaped");
    let child = process_of(&second);
    until("the end of its child", || (!is_running(child)).then_some(()));
}

#[test]
fn a_program_that_writes_without_end_is_killed_in_time() {
    let error = fails(shell("while :; do echo y; done").timeout(200 * MS));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let error = fails(Command::new("yes").timeout(200 * MS));
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[test]
fn what_a_program_leaves_behind_is_killed_and_not_waited_for() {
    let began = Instant::now();
    let output = run(shell("sleep 1000 & echo $!").timeout(HOUR)).unwrap();
    assert!(began.elapsed() < SOON);
    let left: u32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    until("its end", || (!is_running(left)).then_some(()));
}

#[test]
fn a_program_that_closes_its_output_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let script = format!("exec >&- 2>&-; sleep 0.3; : >'{}'", done.display());
    assert_eq!(run(shell(&script)).unwrap().stdout, b"");
    assert!(done.exists());
}

#[test]
fn a_program_is_killed_when_its_monitor_stops() {
    let folder = tempfile::tempdir().unwrap();
    for (name, end) in [("stopped", false), ("dropped", true)] {
        let file = folder.path().join(name);
        let script = format!("echo $$ >'{}'; sleep 1000; true", file.display());
        let monitor = Monitor::every(MS, shell(&script).timeout(HOUR)).history(10).start().unwrap();
        let process = process_of(&file);
        assert!(exists(process));
        match end {
            true => drop(monitor),
            false => {
                monitor.stop();
                until("its end", || (!exists(process)).then_some(()));
                assert!(monitor.latest().is_none() && monitor.failure().is_none() && monitor.history().is_empty());
            }
        }
        until("its end", || (!exists(process)).then_some(()));
        assert_eq!(process_of(&file), process, "it was not started again");
    }
}

#[test]
fn a_program_does_not_outlive_a_process_that_ends_right_after_the_drop() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("number");
    alone(
        "command::a_program_does_not_outlive_a_process_that_ends_right_after_the_drop",
        |command| _ = command.env("NUMBER", &file),
        || {
            // One that was told by its parent and one that it was not.
            let task = shell("sleep 1000 & echo $! >$NUMBER; sleep 1000; true").timeout(HOUR);
            let monitor = Monitor::every(MS, task).start().unwrap();
            process_of(Path::new(&std::env::var_os("NUMBER").unwrap()));
            drop(monitor);
            // Nothing of the test harness in between.
            println!("test result: ok. 1 passed");
            process::exit(0);
        },
    );
    let process = process_of(&file);
    until("its end", || (!is_running(process)).then_some(()));
}

#[cfg(target_os = "linux")]
#[test]
fn runs_leave_no_process_no_thread_and_no_open_file() {
    alone(
        "command::runs_leave_no_process_no_thread_and_no_open_file",
        |_| {},
        || {
            let children = || fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
            let open = || fs::read_dir("/proc/self/fd").unwrap().count();
            let before = (open(), crate::threads());
            for _ in 0..50 {
                run(shell("echo")).unwrap();
                fails(shell("exit 1"));
                fails(shell("sleep 9 & sleep 9").timeout(Duration::ZERO));
                fails(Command::new("no-such-program"));
            }
            assert_eq!((open(), crate::threads(), children()), (before.0, before.1, String::new()));
        },
    );
}

/// A page as a picture, as the documentation of `Command` shows it.
#[test]
fn chromium_takes_a_screenshot() {
    let chromium = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|&name| run(Command::new(name).args(["--version"]).timeout(SOON)).is_ok());
    let Some(chromium) = chromium else {
        println!("skipped: there is no Chromium");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let [page, picture] = ["page.html", "picture.png"].map(|name| folder.path().join(name));
    fs::write(&page, "<body style='background: rgb(255, 0, 0)'></body>").unwrap();
    let argument = |name: &str, path: &Path| {
        let mut argument = OsString::from(name);
        argument.push(path);
        argument
    };
    let screenshot = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=320,200"])
        .args([argument("--user-data-dir=", &folder.path().join("profile"))])
        .args([argument("--screenshot=", &picture), argument("file://", &page)])
        .timeout(120 * Duration::from_secs(1));
    let monitor = Monitor::every(HOUR, screenshot).name("screenshot").start().unwrap();
    let began = Instant::now();
    while monitor.latest().is_none() {
        assert!(monitor.failure().is_none(), "{:?}", monitor.failure());
        assert!(began.elapsed() < Duration::from_secs(150));
        std::thread::sleep(MS);
    }
    let decoded = fs::read(&picture).unwrap();
    let decoded = image::load_from_memory(&decoded).unwrap().into_rgb8();
    assert_eq!((decoded.dimensions(), decoded.get_pixel(5, 5).0), ((320, 200), [255, 0, 0]));
    #[cfg(target_os = "linux")]
    until("the end of all its processes", || (processes_with(folder.path()) == 0).then_some(()));
}

/// How many processes have a path in their arguments.
#[cfg(target_os = "linux")]
fn processes_with(path: &Path) -> usize {
    let path = path.to_str().unwrap();
    let of_process = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let lines = fs::read_dir("/proc").unwrap().flatten().map(of_process);
    lines.filter(|line| String::from_utf8_lossy(line).contains(path)).count()
}
