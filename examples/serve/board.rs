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
    /// The start that it is in, while it is worked on.
    start: Option<u128>,
    watchers: Vec<Sender<News>>,
}

impl Entry {
    fn status(&self) -> Status {
        if self.start.is_some() { Status::Running } else { Status::Queued }
    }
}

/// Tells watchers how jobs are; not under the lock, because who is woken by it may want that next.
fn tell(news: Vec<(Vec<Sender<News>>, News)>) {
    for (watchers, news) in news {
        for watcher in watchers {
            // A watcher has room for all news of what it watches; one that is gone has none.
            let _ = watcher.try_send(news.clone());
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
    pub fn run(&self, ids: &[JobId], start: u128) {
        let mut jobs = self.lock();
        let mut news = Vec::new();
        for id in ids {
            if let Some(entry) = jobs.get_mut(id) {
                entry.start = Some(start);
                news.push((entry.watchers.clone(), (*id, Status::Running)));
            }
        }
        drop(jobs);
        tell(news);
    }

    /// The jobs that are being worked on, each with the start that it is in.
    pub fn running(&self) -> Vec<(JobId, u128)> {
        self.lock().iter().filter_map(|(&id, entry)| Some((id, entry.start?))).collect()
    }

    /// Takes jobs off. How they ended is in the store by now, for whoever does not find them here.
    pub fn end(&self, outcomes: Vec<(JobId, Outcome)>) {
        let mut jobs = self.lock();
        let mut news = Vec::new();
        for (id, outcome) in outcomes {
            if let Some(entry) = jobs.remove(&id) {
                news.push((entry.watchers, (id, Status::Ended(outcome))));
            }
        }
        drop(jobs);
        tell(news);
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
