//! A store with something the matter with it.

use super::HOUR;
use crate::job::{JobId, Outcome, Status};
use crate::store::{Begun, Directory, Error, Store, Unfinished};

/// A directory. A function is called by the name of every call, after an image is kept and before anything else is
/// done: it may wait, or fail.
pub struct Hooked<F> {
    directory: Directory,
    hook: F,
}

impl<F: Fn(&str) -> Result<(), Error> + Send + Sync> Hooked<F> {
    pub fn new(root: &std::path::Path, hook: F) -> Self {
        Hooked { directory: Directory::open(root, HOUR).unwrap(), hook }
    }
}

impl<F: Fn(&str) -> Result<(), Error> + Send + Sync> Store for Hooked<F> {
    fn accept(&self, id: JobId, image: &[u8]) -> Result<(), Error> {
        self.directory.accept(id, image)?;
        (self.hook)("accept")
    }

    fn begin(&self, ids: &[JobId], start: u128) -> Result<Vec<Begun>, Error> {
        (self.hook)("begin")?;
        self.directory.begin(ids, start)
    }

    fn take_back(&self, starts: &[(JobId, u128)]) -> Result<(), Error> {
        (self.hook)("take back")?;
        self.directory.take_back(starts)
    }

    fn finish(&self, outcomes: &[(JobId, Outcome)]) -> Result<(), Error> {
        (self.hook)("finish")?;
        self.directory.finish(outcomes)
    }

    fn status(&self, id: JobId) -> Result<Option<Status>, Error> {
        (self.hook)("status")?;
        self.directory.status(id)
    }

    fn unfinished(&self) -> Result<Vec<Unfinished>, Error> {
        (self.hook)("unfinished")?;
        self.directory.unfinished()
    }

    fn expire(&self) -> Result<(), Error> {
        (self.hook)("expire")?;
        self.directory.expire()
    }
}
