//! `Board`: the jobs of this process that have not ended, how far each is, and who waits for it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::Sender;

use crate::job::{JobId, Outcome, Status};

/// What a watcher is told.
pub type News = (JobId, Status);

/// In many parts, so that a request which asks for one job hardly ever waits for a thread that has another's part, and
/// has just lost its core.
#[derive(Default)]
pub struct Board {
    parts: [Mutex<Part>; PARTS],
}

/// A power of two.
const PARTS: usize = 32;

type Part = HashMap<JobId, Entry>;

#[derive(Default)]
struct Entry {
    /// The start that it is in, while it is worked on.
    start: Option<u128>,
    watchers: Vec<Sender<News>>,
}

impl Entry {
    fn status(&self) -> Status {
        if self.start.is_some() { Status::Running } else { Status::Queued }
    }
}

/// Not under the lock: who is woken by it may want that next.
fn tell(watchers: Vec<Sender<News>>, id: JobId, status: &Status) {
    for watcher in watchers {
        // A watcher has room for all news of what it watches; one that is gone has none.
        let _ = watcher.try_send((id, status.clone()));
    }
}

impl Board {
    fn part(&self, id: JobId) -> MutexGuard<'_, Part> {
        lock(&self.parts[id.to_usize() % PARTS])
    }

    fn parts(&self) -> impl Iterator<Item = MutexGuard<'_, Part>> {
        self.parts.iter().map(lock)
    }

    /// Puts a job up, as queued.
    pub fn enter(&self, id: JobId) {
        self.part(id).entry(id).or_default();
    }

    /// Says that a job is being worked on.
    pub fn run(&self, id: JobId, start: u128) {
        let mut part = self.part(id);
        let Some(entry) = part.get_mut(&id) else { return };
        entry.start = Some(start);
        let watchers = entry.watchers.clone();
        drop(part);
        tell(watchers, id, &Status::Running);
    }

    /// The jobs that are being worked on, each with the start that it is in.
    pub fn running(&self) -> Vec<(JobId, u128)> {
        let running = |part: MutexGuard<'_, Part>| {
            part.iter().filter_map(|(&id, entry)| Some((id, entry.start?))).collect::<Vec<_>>()
        };
        self.parts().flat_map(running).collect()
    }

    /// Takes a job off. How it ended is in the store by now, for whoever does not find it here.
    pub fn end(&self, id: JobId, outcome: Outcome) {
        let entry = self.part(id).remove(&id);
        if let Some(entry) = entry {
            tell(entry.watchers, id, &Status::Ended(outcome));
        }
    }

    /// Takes a job off that there is nothing to be said of.
    pub fn withdraw(&self, id: JobId) {
        self.part(id).remove(&id);
    }

    /// `None` if it is not here: it has ended, or never was.
    pub fn status(&self, id: JobId) -> Option<Status> {
        self.part(id).get(&id).map(Entry::status)
    }

    /// As [`status`](Board::status). A watcher is told of all that changes after that.
    pub fn watch(&self, id: JobId, watcher: &Sender<News>) -> Option<Status> {
        let mut part = self.part(id);
        let entry = part.get_mut(&id)?;
        entry.watchers.retain(|other| !other.is_closed());
        entry.watchers.push(watcher.clone());
        Some(entry.status())
    }

    pub fn len(&self) -> usize {
        self.parts().map(|part| part.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
