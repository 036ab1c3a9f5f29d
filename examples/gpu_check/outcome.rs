//! What came of a check.

use serde_json::{Value, json};

pub(super) struct Outcome {
    verdict: Verdict,
    /// A line for people.
    pub(super) summary: String,
    /// The same and more for programs.
    pub(super) details: Value,
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Pass,
    Fail,
    /// Nothing to pass or fail.
    Information,
}

impl Outcome {
    pub(super) fn judged(passed: bool, summary: String, details: Value) -> Self {
        Outcome { verdict: if passed { Verdict::Pass } else { Verdict::Fail }, summary, details }
    }

    pub(super) fn information(summary: String, details: Value) -> Self {
        Outcome { verdict: Verdict::Information, summary, details }
    }

    /// The check could not be made. Of torch's messages the first line is the message, and the rest a backtrace; tch's panics
    /// quote both.
    pub(super) fn failed(reason: &str) -> Self {
        let summary =
            reason.split('\n').next().and_then(|line| line.split("\\n").next()).unwrap_or_default().to_string();
        Outcome { verdict: Verdict::Fail, summary, details: json!({}) }
    }

    pub(super) fn is_failure(&self) -> bool {
        self.verdict == Verdict::Fail
    }

    pub(super) fn verdict(&self, dry: bool) -> String {
        let verdict = match self.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::Information => "info",
        };
        if dry { format!("{verdict} (cpu dry run)") } else { verdict.into() }
    }
}
