//! `Tuner`: finds the fewest workers that keep the consumer fed.
//!
//! It looks at how things go with one number of workers, and then tries another. The number is doubled while the
//! consumer waits and that brings more batches; then what is between the last that was not enough and the first that
//! was is halved.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::WorkerPool;
use crate::stats::Counters;

/// A number is judged by as many batches as this, and by this much time.
const BATCHES: usize = 12;
const TIME: Duration = Duration::from_millis(40);
/// The consumer is fed if it waits no longer than this share of its time,
const FED: f64 = 0.03;
/// and starves if it waits for longer than this: between the two, things stay as they are.
const STARVED: f64 = 0.1;
/// What twice as many workers must bring, to be worth it.
const GAIN: f64 = 1.15;
/// What counts as as fast.
const AS_FAST: f64 = 0.92;
/// So many judgements in a row make a change,
const CONSTANTLY: usize = 3;
/// and after so many it is tried anew whether other numbers would do better.
const NOW_AND_THEN: usize = 100;

pub(super) struct Tuner {
    most: usize,
    num_workers: usize,
    search: Search,
    /// Batches that were on their way when the number changed say nothing of the new one.
    skipped: usize,
    seen: Seen,
}

/// A tuner, and the workers that it is for.
pub(super) struct Tuning {
    tuner: Mutex<Tuner>,
    workers: WorkerPool,
    counters: Arc<Counters>,
}

impl Tuning {
    pub(super) fn new(workers: WorkerPool, counters: &Arc<Counters>) -> Self {
        let tuner = Mutex::new(Tuner::new(workers.num_threads()));
        Tuning { tuner, workers, counters: Arc::clone(counters) }
    }

    /// The most workers that are tried.
    pub(super) fn most_workers(&self) -> usize {
        self.workers.num_threads()
    }

    /// The consumer has a batch, so long after the one before, and has waited for so much of that.
    pub(super) fn delivered(&self, time: Duration, waited: Duration) {
        let mut tuner = self.tuner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(num_workers) = tuner.delivered(time, waited, self.counters.ahead_now()) {
            self.workers.set_width(num_workers);
        }
    }
}

/// What was seen with one number of workers.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    batches: usize,
    time: Duration,
    waited: Duration,
}

/// How one number of workers does.
#[derive(Clone, Copy, Debug)]
struct Judgement {
    /// The share of its time that the consumer waited.
    wait: f64,
    /// Batches a second.
    rate: f64,
}

/// What makes a number good enough.
#[derive(Clone, Copy, Debug)]
enum Goal {
    /// The consumer is fed.
    Fed,
    /// It cannot be: the rate of the best there is.
    Rate(f64),
}

#[derive(Clone, Copy, Debug)]
enum Search {
    /// Doubles. With the number before, and what that brought.
    Doubling { before: Option<(usize, f64)> },
    /// Halves what is between a number that is not good enough and one that is.
    Halving { low: usize, high: usize, goal: Goal },
    /// Has found it. For how many judgements, and how many of the last ones say that things have changed.
    Settled { goal: Goal, since: usize, changed: usize },
}

impl Tuner {
    /// Tries from 1 to `most` workers.
    pub(super) fn new(most: usize) -> Self {
        Tuner { most, num_workers: 1, search: Search::Doubling { before: None }, skipped: 0, seen: Seen::default() }
    }

    /// Takes note of a batch: how long it took since the one before, and how much of that the consumer waited. Gives
    /// another number of workers, if one is to be tried, while `ahead` batches are on their way.
    pub(super) fn delivered(&mut self, time: Duration, waited: Duration, ahead: usize) -> Option<usize> {
        if self.skipped > 0 {
            self.skipped -= 1;
            return None;
        }
        self.seen.batches += 1;
        self.seen.time += time;
        self.seen.waited += waited;
        if self.seen.batches < BATCHES || self.seen.time < TIME {
            return None;
        }
        let judgement = std::mem::take(&mut self.seen).judge();
        let before = self.num_workers;
        self.judged(judgement);
        if self.num_workers == before {
            return None;
        }
        // Few are enough to see what a number is worth, and nobody wants to wait for hundreds.
        self.skipped = (ahead + self.num_workers).min(3 * BATCHES);
        Some(self.num_workers)
    }

    fn judged(&mut self, Judgement { wait, rate }: Judgement) {
        let number = self.num_workers;
        let good_enough = |goal| match goal {
            Goal::Fed => wait < FED,
            Goal::Rate(best) => rate >= AS_FAST * best,
        };
        match self.search {
            Search::Doubling { before } if wait < FED => {
                self.halve(before.map_or(0, |(number, _)| number), number, Goal::Fed);
            }
            // No use: the one before is as good, and perhaps fewer are.
            Search::Doubling { before: Some((before, its_rate)) } if rate < GAIN * its_rate => {
                self.halve(before / 2, before, Goal::Rate(its_rate.max(rate)));
            }
            Search::Doubling { before } if number == self.most => {
                self.halve(before.map_or(0, |(number, _)| number), number, Goal::Rate(rate));
            }
            Search::Doubling { .. } => {
                self.search = Search::Doubling { before: Some((number, rate)) };
                self.num_workers = (2 * number).min(self.most);
            }
            Search::Halving { low, high, goal } => match good_enough(goal) {
                true => self.halve(low, number, goal),
                false => self.halve(number, high, goal),
            },
            Search::Settled { goal, since, changed } => {
                let has_changed = match goal {
                    Goal::Fed => wait > STARVED,
                    Goal::Rate(best) => wait < FED || rate < 0.7 * best,
                };
                let changed = if has_changed { changed + 1 } else { 0 };
                let is_time = (since + 1).is_multiple_of(NOW_AND_THEN);
                match goal {
                    Goal::Fed if is_time && !has_changed && number > 1 => self.halve(0, number, goal),
                    Goal::Rate(_) if wait < FED && changed == CONSTANTLY => self.halve(0, number, Goal::Fed),
                    _ if changed == CONSTANTLY || (is_time && has_changed) => {
                        self.search = Search::Doubling { before: None };
                    }
                    Goal::Rate(_) if is_time => self.search = Search::Doubling { before: None },
                    _ => self.search = Search::Settled { goal, since: since + 1, changed },
                }
            }
        }
    }

    /// Goes on between `low`, which is not good enough, and `high`, which is.
    fn halve(&mut self, low: usize, high: usize, goal: Goal) {
        // Of many, a few more or less do not matter.
        if high - low <= (high / 16).max(1) {
            self.num_workers = high;
            self.search = Search::Settled { goal, since: 0, changed: 0 };
        } else {
            self.num_workers = low.midpoint(high);
            self.search = Search::Halving { low, high, goal };
        }
    }

    #[cfg(test)]
    fn is_settled(&self) -> bool {
        matches!(self.search, Search::Settled { .. })
    }
}

impl Seen {
    fn judge(self) -> Judgement {
        let time = self.time.as_secs_f64();
        Judgement { wait: self.waited.as_secs_f64() / time, rate: self.batches as f64 / time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SampleRng;

    /// A run: what training takes for each batch and what loading it takes, in seconds, and how many batches can be
    /// loaded at the same time without being in each other's way.
    #[derive(Clone, Copy)]
    struct Run {
        training: f64,
        loading: f64,
        lanes: usize,
    }

    impl Run {
        /// Delivers `batches`, with all times off by up to `noise`, and gives the number of batches after which the
        /// tuner was last unsettled.
        fn go(self, tuner: &mut Tuner, batches: usize, noise: f64, rng: &mut SampleRng) -> usize {
            let mut settled_at = 0;
            for batch in 0..batches {
                let rate = tuner.num_workers.min(self.lanes) as f64 / self.loading;
                let time = self.training.max(1.0 / rate) * rng.uniform_range(1.0 - noise, 1.0 + noise);
                let waited = (time - self.training).max(0.0);
                tuner.delivered(Duration::from_secs_f64(time), Duration::from_secs_f64(waited), tuner.num_workers + 1);
                if !tuner.is_settled() {
                    settled_at = batch + 1;
                }
            }
            settled_at
        }
    }

    #[test]
    fn every_situation_settles_on_the_fewest_workers_that_are_as_good_within_a_few_hundred_batches() {
        let bound_by_trainer = Run { training: 0.02, loading: 0.01, lanes: 4 };
        let bound_by_decoding = |lanes| Run { training: 0.001, loading: 0.01, lanes };
        let bound_by_latency = |workers: f64| Run { training: 0.01, loading: 0.0099 * workers, lanes: 1000 };
        for noise in [0.0, 0.02] {
            for (run, expected) in [
                (bound_by_trainer, 1),
                (bound_by_decoding(1), 1),
                (bound_by_decoding(2), 2),
                (bound_by_decoding(8), 8),
                (bound_by_latency(2.0), 2),
                (bound_by_latency(5.0), 5),
                (bound_by_latency(16.0), 16),
                (bound_by_latency(23.0), 23),
                (bound_by_latency(500.0), 64),
            ] {
                let mut tuner = Tuner::new(64);
                let settled_at = run.go(&mut tuner, 600, noise, &mut SampleRng::new(1, 0, expected));
                let found = tuner.num_workers;
                // Of 64 that are still not enough, a few less are as fast.
                let is_exact = noise == 0.0 && expected < 64;
                let near = if is_exact { expected..=expected } else { expected * 9 / 10..=expected + 2 };
                assert!(near.contains(&found), "{found} instead of {expected}, noise {noise}");
                assert!(settled_at <= 450, "{settled_at} batches for {expected}");
            }
        }
    }

    #[test]
    fn what_cannot_be_fed_by_any_number_keeps_the_fewest_that_are_as_fast() {
        let mut tuner = Tuner::new(64);
        // A disk that serves six at a time.
        let run = Run { training: 0.0, loading: 0.05, lanes: 6 };
        run.go(&mut tuner, 600, 0.0, &mut SampleRng::new(1, 0, 0));
        assert_eq!(tuner.num_workers, 6);
    }

    #[test]
    fn things_change_and_the_number_follows() {
        let mut tuner = Tuner::new(64);
        let mut rng = SampleRng::new(2, 0, 0);
        let mut after = |tuner: &mut Tuner, run: Run, batches| {
            run.go(tuner, batches, 0.01, &mut rng);
            tuner.num_workers
        };
        let busy = Run { training: 0.01, loading: 0.0395, lanes: 1000 };
        assert_eq!(after(&mut tuner, busy, 300), 4);
        // Training became twice as fast.
        assert_eq!(after(&mut tuner, Run { training: 0.005, ..busy }, 400), 8);
        // And slow: a number that is too large is no harm, and is looked at now and then.
        assert_eq!(after(&mut tuner, Run { training: 0.02, ..busy }, 3000), 2);
        // Storage became slow, and cannot keep up any more.
        assert!(after(&mut tuner, Run { training: 0.02, loading: 4.0, ..busy }, 600) > 32);
    }

    #[test]
    fn batches_that_were_on_their_way_do_not_count_for_another_number() {
        let mut tuner = Tuner::new(8);
        let ms = Duration::from_millis;
        let changes: Vec<usize> = (0..200)
            .filter(|batch| tuner.delivered(ms(10), ms(if batch % 2 == 0 { 10 } else { 9 }), 20).is_some())
            .collect();
        // Judged by twelve, then 20 ahead and those in the hands of the workers do not count.
        assert_eq!(changes[..2], [11, 11 + 20 + 2 + 12]);
    }
}
