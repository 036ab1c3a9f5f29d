//! `JobId`, and what becomes of a job.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// 128 bits from the operating system: whoever knows a job's id was told of it, since nobody can guess one.
///
/// Its text is 32 hex digits and nothing else. A store that makes a name of it makes the name of a job, whatever a
/// client sends: no id has a dot or a slash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobId(u128);

impl JobId {
    pub fn random() -> io::Result<Self> {
        Ok(JobId(random()?))
    }

    /// Some of its bits.
    pub fn to_usize(self) -> usize {
        self.0 as usize
    }

    /// Enough of it to find a job in a log, and too little to ask for it.
    pub fn short(self) -> String {
        self.to_string()[..8].to_string()
    }
}

/// A number that nobody can guess.
pub fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u128::from_ne_bytes(bytes))
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not that of an id.
#[derive(Debug)]
pub struct NoJobId;

impl FromStr for JobId {
    type Err = NoJobId;

    fn from_str(text: &str) -> Result<Self, NoJobId> {
        // `from_str_radix` alone would take a sign, capitals, and fewer digits: several names for one job.
        let is_id = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_id {
            return Err(NoJobId);
        }
        u128::from_str_radix(text, 16).map(JobId).map_err(|_| NoJobId)
    }
}

/// What the model says of an image: a name, and how sure it is, of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    pub name: String,
    pub score: f32,
}

/// How a job ended. As JSON it is what the stores keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Outcome {
    /// With what a model said, the best label first.
    Done { model: String, labels: Vec<Label> },
    /// Without. The reason is for whoever sent the image: no paths, nothing of the service's own.
    Failed { reason: String },
}

impl Outcome {
    pub fn failed(reason: impl Into<String>) -> Self {
        Outcome::Failed { reason: reason.into() }
    }
}

/// How far a job has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Queued,
    Running,
    Ended(Outcome),
}

impl Status {
    /// What a client is told, as JSON.
    pub fn to_json(&self, id: JobId) -> String {
        #[derive(Serialize)]
        struct Ended<'a> {
            id: String,
            #[serde(flatten)]
            outcome: &'a Outcome,
        }
        let text = match self {
            Status::Queued => return format!(r#"{{"id":"{id}","status":"queued"}}"#),
            Status::Running => return format!(r#"{{"id":"{id}","status":"running"}}"#),
            Status::Ended(outcome) => serde_json::to_string(&Ended { id: id.to_string(), outcome }),
        };
        text.expect("texts and numbers are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_small_hex_digits_and_nothing_else_is_one() {
        for _ in 0..100 {
            let id = JobId::random().unwrap();
            let text = id.to_string();
            assert_eq!(text.len(), 32);
            assert_eq!(text.parse::<JobId>().unwrap(), id);
        }
        let zero = "0".repeat(32);
        assert_eq!(zero.parse::<JobId>().unwrap().to_string(), zero);
        let others = [
            "",
            "0",
            &"0".repeat(31),
            &"0".repeat(33),
            &"A".repeat(32),
            &("+".to_string() + &"0".repeat(31)),
            &("../".to_string() + &"0".repeat(29)),
            &("0".repeat(31) + "/"),
            &("0".repeat(31) + "."),
            &("0".repeat(31) + "g"),
            &("0".repeat(31) + "\0"),
            &("0".repeat(30) + "é"),
            &(" ".to_string() + &"0".repeat(31)),
        ];
        for other in others {
            assert!(other.parse::<JobId>().is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_client_is_told_the_status_as_json() {
        let id: JobId = "00112233445566778899aabbccddeeff".parse().unwrap();
        let json = |status: Status| status.to_json(id).replace(&id.to_string(), "ID");
        assert_eq!(json(Status::Queued), r#"{"id":"ID","status":"queued"}"#);
        assert_eq!(json(Status::Running), r#"{"id":"ID","status":"running"}"#);
        let failed = Outcome::failed("it is a \"text\"");
        assert_eq!(json(Status::Ended(failed)), r#"{"id":"ID","status":"failed","reason":"it is a \"text\""}"#);
        let labels = vec![Label { name: "cat".into(), score: 0.5 }];
        let done = Outcome::Done { model: "m".into(), labels };
        assert_eq!(
            json(Status::Ended(done)),
            r#"{"id":"ID","status":"done","model":"m","labels":[{"name":"cat","score":0.5}]}"#
        );
    }
}
