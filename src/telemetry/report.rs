//! `Report`: what has become of what was logged.

use std::fmt;

/// What has become of what was logged, for each sink.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// In the order in which they were added.
    pub sinks: Vec<SinkReport>,
}

/// What has become of what was logged for a sink: it is written, dropped, or waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkReport {
    /// What the sink is called.
    pub name: String,
    /// How many records were logged that it takes.
    pub logged: u64,
    /// How many it has written.
    pub written: u64,
    /// How many had no room in its queue, or were not written when it was disabled or the telemetry ended.
    pub dropped: u64,
    /// How many are in its queue or its hands.
    pub waiting: u64,
    /// Whether it has failed so often that it was given up.
    pub is_disabled: bool,
    /// What went wrong last, if anything ever did.
    pub last_error: Option<String>,
}

impl Report {
    /// Whether every sink has written everything so far.
    pub fn is_complete(&self) -> bool {
        self.sinks.iter().all(|sink| sink.written == sink.logged)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, sink) in self.sinks.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{sink}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SinkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SinkReport { name, logged, written, dropped, waiting, is_disabled, last_error } = self;
        write!(f, "{name}: {written} of {logged} records written")?;
        if *waiting > 0 {
            write!(f, ", {waiting} waiting")?;
        }
        if *dropped > 0 {
            write!(f, ", {dropped} dropped")?;
        }
        match last_error {
            Some(reason) if *is_disabled => write!(f, ", disabled: {reason}"),
            Some(reason) if written < logged => write!(f, ", last error: {reason}"),
            _ => Ok(()),
        }
    }
}
