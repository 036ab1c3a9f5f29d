//! `Progress`: the latest numbers, on a terminal.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::{Record, Sink, on_one_line};
use crate::error::Result;

/// Shows the step and the latest number of each name: on a terminal in a line that changes, elsewhere in a line now and
/// then. Alerts have lines of their own.
pub struct Progress {
    out: Box<dyn Write + Send>,
    is_terminal: bool,
    interval: Duration,
    shown: Option<Instant>,
    step: u64,
    numbers: Vec<(String, f64)>,
    is_new: bool,
}

/// A terminal's line, from its start.
const CLEAR: &str = "\r\x1b[K";
/// What does not fit on it is left out: on two lines, only the second could be cleared.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

impl Progress {
    /// On stderr: at each flush if it is a terminal, else every ten seconds.
    pub fn stderr() -> Self {
        let is_terminal = io::stderr().is_terminal();
        let interval = if is_terminal { Duration::ZERO } else { Duration::from_secs(10) };
        Self::to(stderr(), is_terminal).every(interval)
    }

    /// To something else: in one line that changes if it `is_terminal`, else a line at each flush.
    pub fn to(out: impl Write + Send + 'static, is_terminal: bool) -> Self {
        Progress {
            out: Box::new(out),
            is_terminal,
            interval: Duration::ZERO,
            shown: None,
            step: 0,
            numbers: Vec::new(),
            is_new: false,
        }
    }

    /// No more often than this; what is left is shown at the end.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    fn show(&mut self) -> io::Result<()> {
        let mut line = format!("step {}", self.step);
        for (name, number) in &self.numbers {
            let _ = write!(line, "  {} {}", on_one_line(name), short(*number));
        }
        match self.is_terminal {
            true => write!(self.out, "{CLEAR}{NO_WRAP}{line}{WRAP}")?,
            false => writeln!(self.out, "{line}")?,
        }
        self.shown = Some(Instant::now());
        self.is_new = false;
        self.out.flush()
    }
}

impl Sink for Progress {
    fn name(&self) -> &str {
        "progress"
    }

    fn write(&mut self, records: &[Record]) -> Result<()> {
        for record in records {
            self.step = record.step();
            for (name, number) in record.metrics().scalars() {
                match self.numbers.iter_mut().find(|(known, _)| known == name) {
                    Some((_, latest)) => *latest = number,
                    None => self.numbers.push((name.to_owned(), number)),
                }
            }
            if let Some(alert) = record.alert() {
                let clear = if self.is_terminal { CLEAR } else { "" };
                writeln!(self.out, "{clear}step {}: {}", record.step(), on_one_line(alert))?;
            }
            self.is_new = true;
        }
        match self.shown.is_some_and(|shown| shown.elapsed() < self.interval) {
            true => Ok(()),
            false => Ok(self.show()?),
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("step", &self.step).finish_non_exhaustive()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_new {
            let _ = self.show();
        }
        if self.is_terminal && self.shown.is_some() {
            let _ = writeln!(self.out);
        }
    }
}

/// Without the lock of `io::stderr()`: where nobody reads on, whoever says something there would wait for it.
#[cfg(unix)]
fn stderr() -> Box<dyn Write + Send> {
    use std::os::fd::AsFd;
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(stderr) => Box::new(std::fs::File::from(stderr)),
        Err(_) => Box::new(io::stderr()),
    }
}

#[cfg(not(unix))]
fn stderr() -> Box<dyn Write + Send> {
    Box::new(io::stderr())
}

/// Four digits that count.
fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e6).contains(&size) => {
            let digits = (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize;
            let text = format!("{number:.digits$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
        }
        _ => format!("{number:.3e}"),
    }
}
