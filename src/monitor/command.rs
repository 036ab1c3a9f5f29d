//! `Command`: a program as a task.

use std::ffi::OsStr;
use std::process;
use std::time::Duration;

use super::child::{self, Ended, Runner};
use super::{Stop, Task};
use crate::error::{Error, Result};

/// A [`Task`](super::Task) that runs a program to its end, and reads what it writes.
///
/// It may not take longer than [`timeout`](Command::timeout). When it is over, be it at its end, after the timeout, or
/// because the monitor stops, all processes of its group are killed: no child is left, except such as have left the
/// group (`setsid`). It has no standard input. If this process ends without having dropped the monitor
/// (`std::process::exit`, a signal), the program goes on to its own end.
///
/// A program that does not die (it waits for a device, say) is not started again until it has.
///
/// What a dashboard shows, as a picture every five minutes, by Chromium:
///
/// ```no_run
/// use std::time::Duration;
///
/// use sutler::monitor::{Command, Monitor};
///
/// let screenshot = Command::new("chromium")
///     .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1600,900"])
///     .args(["--virtual-time-budget=5000"]) // lets the page's scripts run for 5 s
///     .args(["--screenshot=/tmp/dashboard.png", "http://localhost:6006/"])
///     .timeout(Duration::from_secs(60));
/// let pictures = Monitor::every(Duration::from_secs(300), screenshot).name("screenshot").start()?;
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Debug)]
pub struct Command {
    command: process::Command,
    timeout: Duration,
    runner: Runner,
}

/// What a program wrote that ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// The first 64 KiB of its standard output.
    pub stdout: Vec<u8>,
    /// Whether there was more of it.
    pub is_cut: bool,
    /// The last 4 KiB of its standard error.
    pub stderr: Vec<u8>,
}

impl Command {
    /// A program, by its path or by a name that is looked for on `PATH`; no shell is involved.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        process::Command::new(program).into()
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// How long it may take; 10 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// With an environment and a directory of its own. What it says of standard input, output, error and the process group
/// is not kept.
impl From<process::Command> for Command {
    fn from(command: process::Command) -> Self {
        Command { command, timeout: Duration::from_secs(10), runner: Runner::default() }
    }
}

impl Task for Command {
    type Value = Output;

    /// # Errors
    ///
    /// If the program cannot be started, does not end in time, or fails, with the end of what it wrote to its standard
    /// error.
    fn run(&mut self, stop: &Stop) -> Result<Output> {
        let Ended { status, output, is_cut, messages } = self.runner.run(&mut self.command, self.timeout, stop)?;
        if !status.success() {
            let program = child::shown(self.command.get_program());
            return Err(Error::msg(format!("{program} failed ({status}){}", child::said(&messages))));
        }
        Ok(Output { stdout: output, is_cut, stderr: messages })
    }
}
