//! `Store`: where jobs are, so that what was accepted survives the process.

mod directory;
mod redis;

pub use directory::Directory;
pub use redis::Redis;

use crate::job::{JobId, Outcome, Status};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Keeps jobs. Every call may wait for a disk or a network: none is made on a thread of the runtime's.
///
/// All of them may be made again when they failed, with the same arguments, however far they had come.
pub trait Store: Send + Sync {
    /// Keeps a job. When it returns `Ok`, the job survives whatever happens to this process.
    fn accept(&self, id: JobId, image: &[u8]) -> Result<(), Error>;

    /// Counts a start of each of these jobs, and then gives their images. `start` names the start: a call that is made
    /// again is not another one.
    fn begin(&self, ids: &[JobId], start: u128) -> Result<Vec<Begun>, Error>;

    /// Counts starts no more: the service stops, and that they come to no end is no fault of the jobs.
    fn take_back(&self, starts: &[(JobId, u128)]) -> Result<(), Error>;

    /// Keeps how jobs ended, and forgets their images. What a job ended with is written once: a second outcome is not.
    fn finish(&self, outcomes: &[(JobId, Outcome)]) -> Result<(), Error>;

    /// `Queued` for all that have not ended, `None` for what is not there, or not any more.
    fn status(&self, id: JobId) -> Result<Option<Status>, Error>;

    /// The jobs that have not ended, in the order in which they were accepted.
    fn unfinished(&self) -> Result<Vec<Unfinished>, Error>;

    /// Removes outcomes that are older than they are kept.
    fn expire(&self) -> Result<(), Error>;

    /// Says, once a second, that this process still works here. False if another does: the store's own way to know is
    /// that nothing was said for too long.
    fn hold(&self) -> Result<bool, Error> {
        Ok(true)
    }

    /// What is wrong with the store's own keeping, for whoever starts the service.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The outcome that a store has kept. One that cannot be read will not be, however often it is asked for.
fn parse(text: &[u8]) -> Outcome {
    serde_json::from_slice(text).unwrap_or_else(|_| Outcome::failed("the result cannot be read"))
}

/// A job whose start was counted.
#[derive(Debug, PartialEq)]
pub enum Begun {
    /// `starts` counts this one.
    Image { image: Vec<u8>, starts: u32 },
    /// There is nothing left to do.
    Ended,
    /// The store has the job and cannot give the image.
    Lost,
}

#[derive(Debug, PartialEq)]
pub struct Unfinished {
    pub id: JobId,
    /// How often it was begun.
    pub starts: u32,
}
