//! A program that is run to its end, to its timeout, or until the monitor stops; whichever it is, nothing of it is
//! left.
//!
//! It runs in a process group of its own, which is killed as a whole: a browser has a dozen processes. The group's
//! number is that of its leader, and nobody else's until the leader is reaped. So that comes last.

use std::ffi::OsStr;
use std::io::{ErrorKind as Io, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::Stop;
use crate::error::{Error, ErrorKind, Result};

/// How much of the standard output is kept, from its beginning,
pub(super) const OUTPUT: usize = 64 << 10;
/// and how much of the standard error, from its end.
pub(super) const MESSAGES: usize = 4 << 10;
/// How long at most nobody looks whether the program has ended. (Mostly its end shows sooner, since that closes its
/// pipes.)
const NAP: Duration = Duration::from_millis(20);
/// How long it may take to die. One that waits for a device or a network's file system may do so for ever.
const DEATH: Duration = Duration::from_secs(1);

/// What a program left when it ended by itself.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
    /// Whether there was more output than is kept.
    pub(super) is_cut: bool,
    pub(super) messages: Vec<u8>,
}

/// Runs a program, one at a time.
#[derive(Debug, Default)]
pub(super) struct Runner {
    /// One that was killed and would not die.
    undead: Option<Child>,
}

enum Cause {
    Ended,
    TimedOut,
    Stopped,
}

impl Runner {
    /// Runs a program, whose standard input is empty.
    ///
    /// # Errors
    ///
    /// If it cannot be started, has not ended in time, does not die, or `stop` says that it is over. Not if it fails.
    pub(super) fn run(&mut self, command: &mut Command, timeout: Duration, stop: &Stop) -> Result<Ended> {
        self.bury(command.get_program())?;
        let Some(mut child) = stop.start(|| start(command))? else {
            return Err(stopped("was not started", command.get_program()));
        };
        let group = Pid::from_child(&child);
        let read = Pipes::of(&mut child).map(|mut pipes| (pipes.read(group, timeout, stop), pipes));
        stop.spare();
        // Also what a program leaves behind that has ended.
        let _ = kill_process_group(group, Signal::KILL);
        let status = self.reap(child, command.get_program())?;
        let (cause, mut pipes) = read?;
        pipes.drain();
        let Pipes { output, messages } = pipes;
        match cause {
            Cause::Ended => Ok(Ended { status, is_cut: output.is_cut, output: output.kept, messages: messages.kept }),
            Cause::TimedOut => Err(timed_out(command.get_program(), timeout, &messages.kept)),
            Cause::Stopped => Err(stopped("was killed", command.get_program())),
        }
    }

    /// Takes leave of a process that has ended or was killed.
    fn reap(&mut self, mut child: Child, program: &OsStr) -> Result<ExitStatus> {
        let deadline = Instant::now() + DEATH;
        loop {
            match child.try_wait()? {
                Some(status) => return Ok(status),
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                None => break,
            }
        }
        let error = undead(&child, program);
        self.undead = Some(child);
        Err(error)
    }

    /// Sees to it that there is never more than one that does not die: where a driver hangs, each run would add one.
    fn bury(&mut self, program: &OsStr) -> Result<()> {
        if let Some(mut child) = self.undead.take()
            && child.try_wait()?.is_none()
        {
            let error = undead(&child, program);
            self.undead = Some(child);
            return Err(error);
        }
        Ok(())
    }
}

fn start(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.spawn().map_err(|source| {
        let advice = match source.kind() {
            Io::NotFound => " (install it, or say where it is)",
            _ => "",
        };
        Error::new(ErrorKind::Io, format!("cannot start {}{advice}", shown(command.get_program()))).with_source(source)
    })
}

/// What a program writes, read as it comes, so that it never has to wait for a reader.
struct Pipes {
    output: Pipe<ChildStdout>,
    messages: Pipe<ChildStderr>,
}

struct Pipe<R> {
    /// `None` once it is closed.
    reader: Option<R>,
    kept: Vec<u8>,
    keep: Keep,
    is_cut: bool,
}

/// Which bytes are kept of many.
#[derive(Clone, Copy)]
enum Keep {
    First(usize),
    Last(usize),
}

impl Pipes {
    fn of(child: &mut Child) -> Result<Self> {
        Ok(Pipes {
            output: Pipe::of(child.stdout.take(), Keep::First(OUTPUT))?,
            messages: Pipe::of(child.stderr.take(), Keep::Last(MESSAGES))?,
        })
    }

    /// Reads until the program has ended, its time is up, or it is over.
    fn read(&mut self, group: Pid, timeout: Duration, stop: &Stop) -> Cause {
        let deadline = Instant::now().checked_add(timeout);
        let mut nap = Duration::from_millis(1);
        loop {
            self.wait(nap);
            self.output.read();
            self.messages.read();
            if has_ended(group) {
                return if stop.is_stopped() { Cause::Stopped } else { Cause::Ended };
            } else if stop.is_stopped() {
                return Cause::Stopped;
            } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Cause::TimedOut;
            }
            nap = NAP.min(2 * nap);
        }
    }

    /// Until there is something to read, but not for long.
    fn wait(&self, nap: Duration) {
        let pipes = [self.output.fd(), self.messages.fd()];
        let mut pipes: Vec<PollFd<'_>> =
            pipes.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let nap = Timespec { tv_sec: 0, tv_nsec: nap.subsec_nanos().into() };
        // If a signal comes between, it was a shorter nap.
        let _ = poll(&mut pipes, Some(&nap));
    }

    /// Reads what is there when the program has ended. Somebody else may still have the pipes and write on: no more
    /// than fits into them is the program's.
    fn drain(&mut self) {
        const READS: usize = 64;
        for _ in 0..READS {
            // Both, whatever the first says.
            if !(self.output.read() | self.messages.read()) {
                return;
            }
        }
    }
}

impl<R: Read + AsFd> Pipe<R> {
    fn of(reader: Option<R>, keep: Keep) -> Result<Self> {
        if let Some(reader) = &reader {
            rustix::io::ioctl_fionbio(reader, true).map_err(std::io::Error::from)?;
        }
        Ok(Pipe { reader, kept: Vec::new(), keep, is_cut: false })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.reader.as_ref().map(AsFd::as_fd)
    }

    /// Reads once; whether there was something.
    fn read(&mut self) -> bool {
        let Some(reader) = &mut self.reader else { return false };
        let mut bytes = [0; 16 << 10];
        match reader.read(&mut bytes) {
            Ok(0) => self.reader = None,
            Ok(len) => {
                self.keep(&bytes[..len]);
                return true;
            }
            Err(error) if error.kind() == Io::Interrupted => return true,
            Err(error) if error.kind() == Io::WouldBlock => {}
            Err(_) => self.reader = None,
        }
        false
    }

    fn keep(&mut self, bytes: &[u8]) {
        match self.keep {
            Keep::First(most) => {
                let room = most - self.kept.len();
                self.is_cut |= bytes.len() > room;
                self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Keep::Last(most) => {
                self.kept.extend_from_slice(bytes);
                let surplus = self.kept.len().saturating_sub(most);
                self.is_cut |= surplus > 0;
                self.kept.drain(..surplus);
            }
        }
    }
}

/// Whether the leader of a group has ended. It is not reaped.
fn has_ended(group: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(group), options) {
        Ok(status) => status.is_some(),
        // Somebody else in this process has reaped it.
        Err(error) => error == rustix::io::Errno::CHILD,
    }
}

fn stopped(what: &str, program: &OsStr) -> Error {
    Error::msg(format!("{} {what}, since its monitor was stopped", shown(program)))
}

fn timed_out(program: &OsStr, timeout: Duration, messages: &[u8]) -> Error {
    let said = said(messages);
    let message = format!("{} was killed, since it had not ended after {timeout:?}{said}", shown(program));
    Error::new(ErrorKind::Timeout, message)
}

fn undead(child: &Child, program: &OsStr) -> Error {
    let (program, id) = (shown(program), child.id());
    Error::new(
        ErrorKind::Timeout,
        format!(
            "{program} does not die (process {id}): it is not started again until it has; the system's log may say what it waits for"
        ),
    )
}

/// What a program that failed has written to its standard error.
pub(super) fn said(messages: &[u8]) -> String {
    const SHOWN: usize = 400;
    match excerpt(messages, Keep::Last(SHOWN)) {
        text if text.is_empty() => String::new(),
        text => format!(": {text}"),
    }
}

/// What came in the place of something else, short enough for a message.
pub(super) fn beginning(output: &[u8]) -> String {
    const SHOWN: usize = 100;
    excerpt(output, Keep::First(SHOWN))
}

/// A part of a text, in one line.
fn excerpt(bytes: &[u8], keep: Keep) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    let chars = text.chars().count();
    match keep {
        Keep::First(most) if chars > most => text.chars().take(most).chain(['…']).collect(),
        Keep::Last(most) if chars > most => ['…'].into_iter().chain(text.chars().skip(chars - most)).collect(),
        _ => text,
    }
}

/// A program's name, for a message.
pub(super) fn shown(program: &OsStr) -> String {
    format!("`{}`", program.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_die_holds_up_nobody_for_long_and_is_not_started_again_until_it_has() {
        let mut runner = Runner::default();
        // Nobody kills it, so it looks like one that does not die.
        let child = start(Command::new("/bin/sleep").arg("1000")).unwrap();
        let group = Pid::from_child(&child);
        let text = format!("`sleep` does not die (process {}): it is not started again until it has", child.id());
        let error = runner.reap(child, OsStr::new("sleep")).unwrap_err();
        assert!(error.to_string().starts_with(&text), "{error}");

        let mut next = || runner.run(Command::new("/bin/echo").arg("next"), Duration::from_secs(20), &Stop::default());
        assert_eq!(next().unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(next().unwrap_err().kind(), ErrorKind::Timeout, "it is remembered");
        kill_process_group(group, Signal::KILL).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let ended = loop {
            match next() {
                Ok(ended) => break ended,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(ended.output, b"next\n");
    }

    #[test]
    fn a_text_is_cut_at_the_end_that_matters_less_and_is_one_line() {
        let text = "one\n\ttwo  three\r\n".as_bytes();
        assert_eq!(excerpt(text, Keep::First(13)), "one two three");
        assert_eq!((excerpt(text, Keep::First(5)), excerpt(text, Keep::Last(5))), ("one t…".into(), "…three".into()));
        assert_eq!((said(b" \n"), said("no\u{1b}\nüb\u{7f}".as_bytes())), (String::new(), ": no üb".into()));
    }
}
