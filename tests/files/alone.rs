//! A test in a process of its own, whose limits, user and end are not those of the other tests.

use std::env;
use std::process::{Command, Output};

const ALONE: &str = "SUTLER_TEST_FILES_ALONE";

/// What `name` is to work on, if this is the process made by [`again`].
pub fn alone() -> Option<String> {
    env::var(ALONE).ok()
}

/// A process that runs the test `name` again, to work on `what`.
pub fn again(name: &str, what: &str) -> Command {
    to_run(Command::new(env::current_exe().unwrap()), name, what)
}

/// As [`again`], within what `ulimit` is told.
pub fn again_within(limit: &str, name: &str, what: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit {limit}; exec \"$0\" \"$@\"")).arg(env::current_exe().unwrap());
    to_run(shell, name, what)
}

pub fn to_run(mut command: Command, name: &str, what: &str) -> Command {
    command.args([name, "--exact", "--nocapture"]).env(ALONE, what).env("RUST_BACKTRACE", "0");
    command
}

/// What a process said, and that its test passed.
pub fn passed(output: &Output) {
    let text = said(output);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
