//! `Pace`: how long a job takes, to say when it is worth asking again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub struct Pace {
    workers: usize,
    /// Seconds of a worker's time for a job: a mean in which older batches count less and less.
    seconds: Mutex<Option<f64>>,
}

/// How much of the mean a new batch makes.
const WEIGHT: f64 = 0.2;

/// Whoever comes back later than that has given up.
const LONGEST: f64 = 60.0;

impl Pace {
    pub fn new(workers: usize) -> Self {
        Pace { workers, seconds: Mutex::new(None) }
    }

    /// A batch of so many jobs took so long.
    pub fn add(&self, time: Duration, jobs: usize) {
        let new = time.as_secs_f64() / jobs.max(1) as f64;
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        *seconds = Some(seconds.map_or(new, |old| old + (new - old) * WEIGHT));
    }

    /// In how many seconds that many jobs will be done, from 1 on.
    pub fn seconds(&self, jobs: usize) -> u64 {
        let each = self.seconds.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(0.0);
        (each * jobs as f64 / self.workers as f64).ceil().clamp(1.0, LONGEST) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_worth_asking_again_when_the_queue_will_be_done_but_not_at_once_nor_never() {
        let pace = Pace::new(2);
        assert_eq!(pace.seconds(1000), 1);
        pace.add(Duration::from_secs(2), 20);
        assert_eq!([0, 1, 20, 21, 200, 100_000].map(|jobs| pace.seconds(jobs)), [1, 1, 1, 2, 10, 60]);
        for _ in 0..100 {
            pace.add(Duration::from_secs(2), 4); // the pace of now counts
        }
        assert_eq!(pace.seconds(40), 10);
    }
}
