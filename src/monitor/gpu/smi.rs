//! GPUs by `nvidia-smi`, where NVML cannot be loaded.

use std::process::Command;
use std::time::Duration;

use super::{GpuReading, share};
use crate::error::{Error, ErrorKind, Result};
use crate::monitor::Stop;
use crate::monitor::child::{Ended, Runner, beginning, said};

const QUERY: &str = "--query-gpu=index,name,memory.used,memory.total,utilization.gpu,temperature.gpu";
const FORMAT: &str = "--format=csv,noheader,nounits";

#[derive(Debug)]
pub(super) struct Smi {
    command: Command,
    timeout: Duration,
    runner: Runner,
}

impl Smi {
    pub(super) fn open(timeout: Duration) -> Result<Self> {
        let mut command = Command::new("nvidia-smi");
        command.args([QUERY, FORMAT]);
        let mut smi = Smi { command, timeout, runner: Runner::default() };
        smi.read(&Stop::default())?;
        Ok(smi)
    }

    pub(super) fn read(&mut self, stop: &Stop) -> Result<Vec<GpuReading>> {
        let Ended { status, output, is_cut, messages } = self.runner.run(&mut self.command, self.timeout, stop)?;
        if !status.success() {
            // It also writes to its standard output why it fails.
            let said = [said(&messages), said(&output)].concat();
            return Err(Error::msg(format!("nvidia-smi failed ({status}){said}")));
        }
        if is_cut {
            let message = format!("nvidia-smi has written too much, beginning with {:?}", beginning(&output));
            return Err(Error::new(ErrorKind::Decode, message));
        }
        parse(&String::from_utf8_lossy(&output))
    }
}

/// A line for each GPU. One that is lost has a line of another kind, which is no reason not to read the others.
fn parse(text: &str) -> Result<Vec<GpuReading>> {
    // It adds such lines about hardware that is about to fail.
    let is_row = |line: &&str| !line.is_empty() && !line.starts_with("WARNING");
    let (mut gpus, mut lost) = (Vec::new(), None);
    for line in text.lines().map(str::trim).filter(is_row) {
        match parse_line(line) {
            Ok(gpu) => gpus.push(gpu),
            Err(error) => lost = lost.or(Some(error)),
        }
    }
    match (gpus.is_empty(), lost) {
        (false, _) => Ok(gpus),
        (true, Some(error)) => Err(error),
        (true, None) => Err(Error::new(ErrorKind::Config, "nvidia-smi shows none")),
    }
}

fn parse_line(line: &str) -> Result<GpuReading> {
    fields(line).ok_or_else(|| {
        let line = beginning(line.as_bytes());
        Error::new(ErrorKind::Decode, format!("nvidia-smi has not written what it was asked for, but {line:?}"))
    })
}

fn fields(line: &str) -> Option<GpuReading> {
    // A name may have commas of its own.
    let (index, rest) = line.split_once(',')?;
    let mut fields = rest.rsplitn(5, ',').map(str::trim);
    let temperature = number(fields.next()?)?;
    let percent = number(fields.next()?)?;
    let memory_total = bytes(fields.next()?)?;
    let memory_used = bytes(fields.next()?)?;
    let name = fields.next()?;
    Some(GpuReading {
        index: index.trim().parse().ok()?,
        name: is_told(name).then(|| name.to_owned()),
        memory_used,
        memory_total,
        utilization: percent.and_then(share),
        temperature: match temperature {
            Some(degrees) => Some(u32::try_from(degrees).ok()?),
            None => None,
        },
    })
}

/// Whether a field has something in it, and not `[N/A]`, `[Not Supported]`, `[Unknown Error]`, `ERR!` and the like.
fn is_told(field: &str) -> bool {
    !(field.starts_with('[') && field.ends_with(']') || field == "N/A" || field == "ERR!")
}

/// A number, if it is told; `None` if it is none.
fn number(field: &str) -> Option<Option<u64>> {
    match is_told(field) {
        true => field.parse().ok().map(Some),
        false => Some(None),
    }
}

/// Bytes, of what is in MiB.
fn bytes(field: &str) -> Option<Option<u64>> {
    match number(field)? {
        Some(mib) => mib.checked_mul(1 << 20).map(Some),
        None => Some(None),
    }
}
