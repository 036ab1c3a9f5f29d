//! What a process has, and tests that have one for themselves.

use std::any::type_name;
use std::env;
use std::fs;
use std::process::Command;

/// Says to a process that it is one test's, and what it is to do there.
const ALONE: &str = "SUTLER_TEST_ALONE";

/// What this process has, as the system counts it; nothing where it does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    threads: usize,
    files: usize,
}

/// How many threads there are. By the number that is kept of them: while some end, a list may leave out others.
fn threads() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    threads.map_or(0, |threads| threads.trim().parse().expect("a number"))
}

impl Footprint {
    pub(crate) fn now() -> Self {
        let entries = |path| fs::read_dir(path).map_or(0, Iterator::count);
        // The directory that is being listed is itself a file that is open, each time.
        Footprint { threads: threads(), files: entries("/proc/self/fd") }
    }
}

/// The bytes of this process that are in memory; 0 where nobody says.
pub(crate) fn resident() -> usize {
    let Ok(pages) = fs::read_to_string("/proc/self/statm") else { return 0 };
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The name of the test that `test` is the body of.
fn name_of<F>(_: &F) -> &'static str {
    let path = type_name::<F>(); // faults::module::test::{{closure}}
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    name.strip_suffix("::{{closure}}").unwrap_or(name)
}

/// What this process is to do, if it is one test's.
pub(crate) fn role() -> Option<String> {
    env::var(ALONE).ok()
}

/// The command that runs nothing but the test that `test` is a closure of, in a role.
pub(crate) fn command<F>(role: &str, test: &F) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([name_of(test), "--exact", "--nocapture"]).env(ALONE, role);
    command
}

/// Runs that command; gives what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    text.into_owned()
}

/// Runs the body of a test in a process of its own, since others have threads, files and memory too.
pub(crate) fn alone(test: impl FnOnce()) {
    match role() {
        Some(_) => test(),
        None => drop(run(&mut command("alone", &test))),
    }
}

/// The same where there is room for the stacks of four threads, and no fifth.
pub(crate) fn limited<F>(role: &str, test: &F) -> Command {
    const GIB: usize = 1 << 30;
    let mut command = Command::new("sh");
    // The stacks are large, so that what is left is enough for whatever those four ask for. An arena of the heap's
    // would take as much.
    let script = format!("ulimit -v {} && exec \"$@\"", (4 * GIB + GIB / 2) >> 10);
    let inner = self::command(role, test);
    command.args(["-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.envs([(ALONE, role), ("RUST_MIN_STACK", &GIB.to_string()), ("MALLOC_ARENA_MAX", "1")]);
    command
}
