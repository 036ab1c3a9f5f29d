//! `Board`: the jobs of this process that have not ended, how far each is, and who waits for it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::Sender;

use crate::job::{JobId, Outcome, Status};

/// What a watcher is told.
pub type News = (JobId, Status);

#[derive(Default)]
pub struct Board {
    jobs: Mutex<HashMap<JobId, Entry>>,
}

#[derive(Default)]
struct Entry {
    is_running: bool,
    watchers: Vec<Sender<News>>,
}

impl Entry {
    fn status(&self) -> Status {
        if self.is_running { Status::Running } else { Status::Queued }
    }

    fn tell(&self, id: JobId, status: &Status) {
        for watcher in &self.watchers {
            // A watcher has room for all news of what it watches; one that is gone has none.
            let _ = watcher.try_send((id, status.clone()));
        }
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Entry>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job up, as queued.
    pub fn enter(&self, id: JobId) {
        self.lock().entry(id).or_default();
    }

    /// Says that these jobs are being worked on.
    pub fn run(&self, ids: &[JobId]) {
        let mut jobs = self.lock();
        for id in ids {
            if let Some(entry) = jobs.get_mut(id) {
                entry.is_running = true;
                entry.tell(*id, &Status::Running);
            }
        }
    }

    /// Takes a job off. How it ended is in the store by now, for whoever does not find it here.
    pub fn end(&self, id: JobId, outcome: Outcome) {
        if let Some(entry) = self.lock().remove(&id) {
            entry.tell(id, &Status::Ended(outcome));
        }
    }

    /// Takes a job off that there is nothing to be said of.
    pub fn withdraw(&self, id: JobId) {
        self.lock().remove(&id);
    }

    /// `None` if it is not here: it has ended, or never was.
    pub fn status(&self, id: JobId) -> Option<Status> {
        self.lock().get(&id).map(Entry::status)
    }

    /// As [`status`](Board::status). A watcher is told of all that changes after that.
    pub fn watch(&self, id: JobId, watcher: &Sender<News>) -> Option<Status> {
        let mut jobs = self.lock();
        let entry = jobs.get_mut(&id)?;
        entry.watchers.retain(|other| !other.is_closed());
        entry.watchers.push(watcher.clone());
        Some(entry.status())
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
