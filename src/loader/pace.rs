//! How much work goes into one job, and how far to run ahead: both follow what a sample is measured to cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::memory::{BufferPool, Small};
use crate::sync::atomic::AtomicUsize;

/// What a job should take. Queueing one, waking a worker and handing a batch over cost a few microseconds together,
/// which this makes small; and a batch is late by at most about as much.
const JOB: Duration = Duration::from_micros(50);
/// The furthest a loader runs ahead on its own account: this many batches, of this many bytes where they are cheap,
const MOST_AHEAD: usize = 256;
const MOST_AHEAD_BYTES: usize = 8 << 20;
/// and of this many where a slow sample would have the workers idle.
const MOST_STRETCHED_BYTES: usize = 256 << 20;

/// How many parts of a batch there are for each worker, at the most.
const MOST_PARTS: usize = 64;

/// How far to run ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ahead {
    /// A batch more than there are workers, and where batches take microseconds, more.
    #[default]
    ByCost,
    /// This many batches.
    Batches(usize),
    /// As many batches as have this many bytes.
    Bytes(usize),
}

/// The batches on their way.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnTheWay {
    /// How many were made since the epoch began,
    pub(super) made: usize,
    /// and how many of them were delivered.
    pub(super) delivered: usize,
}

pub(super) struct Pace {
    /// How many there are now, how many there may be,
    num_workers: Arc<AtomicUsize>,
    most_workers: usize,
    /// and how many there were at first.
    first_workers: usize,
    ahead: Ahead,
    chunk_size: Option<usize>,
    /// What a sample takes, in 1/1024 ns, a moving average; 0 while nothing is known. Racing updates may lose one
    /// measurement of many, which does not matter.
    sample_cost: AtomicU64,
    /// How many batches more than that, because of slow samples.
    stretched: AtomicUsize,
    /// Whether a batch was ever finished, so that it is known which buffers one has.
    has_finished: AtomicBool,
}

/// The next piece of work to queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// This many whole batches, by one worker.
    Batches(usize),
    /// One batch, in parts of this many samples.
    Parts(usize),
}

impl Job {
    /// How many batches it is.
    pub(super) fn batches(&self) -> usize {
        match *self {
            Job::Batches(batches) => batches,
            Job::Parts(_) => 1,
        }
    }
}

impl Pace {
    pub(super) fn new(
        num_workers: Arc<AtomicUsize>,
        most_workers: usize,
        ahead: Ahead,
        chunk_size: Option<usize>,
    ) -> Self {
        Pace {
            first_workers: num_workers.load(Relaxed),
            num_workers,
            most_workers,
            ahead,
            chunk_size,
            sample_cost: AtomicU64::new(0),
            stretched: AtomicUsize::new(0),
            has_finished: AtomicBool::new(false),
        }
    }

    fn num_workers(&self) -> usize {
        self.num_workers.load(Relaxed)
    }

    /// How many workers there are, for whoever needs to know often.
    pub(super) fn width(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.num_workers)
    }

    /// How many batches may be ahead as long as nothing is known of them.
    pub(super) fn at_first(&self) -> usize {
        match self.ahead {
            Ahead::ByCost => self.num_workers() + 1,
            Ahead::Batches(batches) => batches,
            Ahead::Bytes(_) => 1,
        }
    }

    /// How many batches may ever be ahead.
    pub(super) fn most_ahead(&self) -> usize {
        match self.ahead {
            Ahead::ByCost => MOST_AHEAD.max(self.most_workers + 1),
            Ahead::Batches(batches) => batches,
            Ahead::Bytes(_) => usize::MAX,
        }
    }

    /// Which small buffers should be held ready.
    pub(super) fn small_buffers(&self) -> Small {
        match self.ahead {
            Ahead::ByCost => Small { bytes: MOST_AHEAD_BYTES, buffers: MOST_AHEAD + 2 },
            Ahead::Batches(_) | Ahead::Bytes(_) => Small::default(),
        }
    }

    /// How many batches of `batch_size` samples may be ahead now.
    pub(super) fn window(&self, batch_size: usize, buffers: &BufferPool, on_the_way: OnTheWay) -> usize {
        match self.ahead {
            Ahead::ByCost => self.window_by_cost(batch_size, buffers),
            Ahead::Batches(batches) => batches,
            Ahead::Bytes(budget) => self.window_of(budget, buffers, on_the_way),
        }
    }

    /// As many batches as `budget` bytes allow, and always one.
    ///
    /// A batch that waits counts as much as the largest so far. How large one in the making will be is not known: it counts
    /// twice that, and there are no more of them than keep the workers busy. So the budget is exceeded by no more than a
    /// batch, even if all of them turn out to be twice as large as any before; and where all are of one size, never.
    fn window_of(&self, budget: usize, buffers: &BufferPool, OnTheWay { made, delivered }: OnTheWay) -> usize {
        if !self.has_finished.load(Relaxed) {
            return 1; // nothing is known of how large batches are
        }
        let largest = buffers.batch_bytes();
        if largest == 0 {
            return self.num_workers() + 1; // batches that have no buffers have no bytes to count
        }
        buffers.set_budget(budget);
        let waiting = made.saturating_sub(delivered);
        let left = budget.saturating_add(largest).saturating_sub(waiting.saturating_mul(largest));
        let in_the_making = (left / largest.saturating_mul(2)).min(2 * self.num_workers());
        (waiting + in_the_making).max(1)
    }

    /// Runs further ahead from now on, if the workers run out of work while the consumer waits: a batch that it did not
    /// get yet is there, and fewer are in the making than there are workers. So the one that is due has a sample that takes
    /// long, and all that may be ahead is done. Says whether there is more to do now.
    ///
    /// Only where nobody has set how far to run ahead. One sample in a thousand that takes a hundred times as long as the
    /// others is a tenth of the work, which one worker does while the others go on only as far as this allows. And only
    /// for batches of several jobs: those of less come in any order whenever a worker has lost its core for a moment,
    /// and running further ahead would take their memory out of the caches.
    pub(super) fn stretch(
        &self,
        batch_size: usize,
        queued: usize,
        OnTheWay { made, delivered }: OnTheWay,
        buffers: &BufferPool,
    ) -> bool {
        let has_idle_workers = made > delivered && queued.saturating_sub(made) < self.num_workers();
        if self.ahead != Ahead::ByCost || !has_idle_workers || self.time_of(batch_size) < 5 * JOB {
            return false;
        }
        let most = match buffers.batch_bytes() {
            // How large they are is not known.
            0 => 4 * self.at_first(),
            bytes => (MOST_STRETCHED_BYTES / bytes).min(MOST_AHEAD),
        };
        let stretched = self.stretched.load(Relaxed);
        let more = most.saturating_sub(self.at_first() + stretched).min(self.num_workers());
        self.stretched.store(stretched + more, Relaxed);
        buffers.raise(self.at_first() + stretched + more + 2);
        more > 0
    }

    fn window_by_cost(&self, batch_size: usize, buffers: &BufferPool) -> usize {
        let base = (self.at_first() + self.stretched.load(Relaxed)).min(self.most_ahead());
        if self.most_workers != self.first_workers {
            buffers.raise(base + 2); // for as many as there are by now
        }
        let Some(samples) = self.samples_per_job() else { return base };
        // Sixteen jobs a worker: where the workers fill all cores, a consumer that is due may have to wait most of a
        // millisecond for its turn, and they should not run out of work meanwhile. No further than there are buffers
        // for. For batches that take long, this is less than the base.
        let ahead = (16 * self.num_workers()).saturating_mul(samples) / batch_size;
        let most = buffers.reserve().map_or(MOST_AHEAD, |reserve| reserve.saturating_sub(2)).min(MOST_AHEAD);
        ahead.min(most).max(base)
    }

    /// How to cut the work ahead, batches of `batch_size` samples, given the window.
    pub(super) fn job(&self, batch_size: usize, window: usize) -> Job {
        let samples = match (self.chunk_size, self.samples_per_job()) {
            (Some(chunk_size), _) => chunk_size,
            // Cutting a batch for the sake of less than a job is not worth the hand-over.
            (None, Some(samples)) if 2 * samples > batch_size => samples.max(batch_size),
            (None, Some(samples)) => samples,
            // Nothing is known yet: small parts, because the first batch is being waited for.
            (None, None) => batch_size.div_ceil(8 * self.num_workers().max(1)),
        };
        if samples < batch_size && self.num_workers() > 1 {
            // However large a batch is, more parts than this share the work out no better. (An explicit size is explicit.)
            let fewest = match self.chunk_size {
                Some(_) => 1,
                None => batch_size.div_ceil(MOST_PARTS * self.num_workers()),
            };
            let samples = samples.max(fewest);
            // Parts of equal size rather than one small rest.
            return Job::Parts(batch_size.div_ceil(batch_size.div_ceil(samples)));
        }
        let most = match self.ahead {
            // What a job has made counts as being in the making until all of it is done.
            Ahead::Bytes(_) => 1,
            // Enough jobs in the window that each worker has one in hand and one in the queue.
            Ahead::ByCost | Ahead::Batches(_) => (window / (2 * self.num_workers().max(1))).max(1),
        };
        Job::Batches((samples / batch_size).clamp(1, most))
    }

    /// Takes note that a batch was finished.
    #[inline]
    pub(super) fn finished(&self) {
        // Looked at first, for a store takes the line from the other workers' caches.
        if !self.has_finished.load(Relaxed) {
            self.has_finished.store(true, Relaxed);
        }
    }

    /// Takes note that `samples` samples took `time`.
    pub(super) fn measured(&self, samples: usize, time: Duration) {
        if samples == 0 {
            return;
        }
        let cost = (time.as_nanos() as u64).saturating_mul(1024) / samples as u64;
        let average = match self.sample_cost.load(Relaxed) {
            0 => cost,
            // One sample that takes a hundred times as long as the others is not what they take.
            average => average - average / 8 + cost.min(average.saturating_mul(8)) / 8,
        };
        self.sample_cost.store(average.max(1), Relaxed);
    }

    /// Whether samples take long enough to look at the clock for each. As long as nothing is known, they may.
    pub(super) fn has_costly_samples(&self) -> bool {
        const COSTLY: u64 = 5_000 * 1024;
        !(1..COSTLY).contains(&self.sample_cost.load(Relaxed))
    }

    /// What so many samples take; nothing, as long as it is not known.
    fn time_of(&self, samples: usize) -> Duration {
        Duration::from_nanos(self.sample_cost.load(Relaxed).saturating_mul(samples as u64) / 1024)
    }

    /// How many samples take as long as a job should.
    pub(super) fn samples_per_job(&self) -> Option<usize> {
        match self.sample_cost.load(Relaxed) {
            0 => None,
            cost => Some(((JOB.as_nanos() as u64 * 1024 / cost) as usize).max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: OnTheWay = OnTheWay { made: 0, delivered: 0 };

    fn pace(num_workers: usize) -> Pace {
        Pace::new(Arc::new(num_workers.into()), num_workers, Ahead::ByCost, None)
    }

    #[test]
    fn samples_that_take_long_go_one_by_one() {
        let pace = pace(2);
        pace.measured(1, Duration::from_millis(1));
        assert_eq!(pace.job(64, 3), Job::Parts(1));
        assert_eq!(pace.window(64, &BufferPool::new(5), STARTED), 3);
    }

    #[test]
    fn a_huge_batch_of_costly_samples_is_not_cut_into_as_many_parts() {
        let pace = pace(2);
        pace.measured(1, Duration::from_millis(1));
        assert_eq!((pace.job(128, 3), pace.job(12_800, 3)), (Job::Parts(1), Job::Parts(100)));
    }

    #[test]
    fn an_unknown_batch_is_cut_for_all_workers() {
        assert_eq!(pace(2).job(64, 3), Job::Parts(4));
        assert_eq!(pace(1).job(64, 2), Job::Batches(1));
        assert_eq!(pace(4).job(1, 5), Job::Batches(1));
    }

    #[test]
    fn cheap_samples_go_by_many_batches_and_further_ahead() {
        let pace = pace(2);
        pace.measured(1_000_000, Duration::from_millis(3));
        let buffers = BufferPool::new(5);
        assert_eq!(pace.window(128, &buffers, STARTED), 256);
        assert_eq!(pace.job(128, 256), Job::Batches(64));
    }

    #[test]
    fn what_the_user_sets_holds_whatever_the_cost() {
        let pace = Pace::new(Arc::new(2.into()), 2, Ahead::Batches(4), Some(48));
        pace.measured(1_000_000, Duration::from_millis(3));
        assert_eq!(pace.window(128, &BufferPool::new(6), STARTED), 4);
        assert_eq!(pace.job(128, 4), Job::Parts(43));
    }

    #[test]
    fn a_budget_of_bytes_counts_what_is_in_the_making_twice_and_always_allows_a_batch() {
        /// A pool that a batch of so many bytes was made of.
        fn pool_of(bytes: usize) -> BufferPool {
            let buffers = BufferPool::new(1);
            let rng = &crate::rng::SampleRng::new(0, 0, 0);
            let plan = crate::memory::BatchPlan { len: 1, capacity: 1, buffers: &buffers, field: 0, rng };
            crate::memory::Slots::<u8>::new(plan).push(&[bytes].into()).unwrap();
            buffers
        }
        let window = |budget, made| {
            let pace = Pace::new(Arc::new(4.into()), 4, Ahead::Bytes(budget), None);
            pace.finished();
            pace.window(64, &pool_of(1024), OnTheWay { made, delivered: 0 })
        };
        // With nothing waiting, 2 * making <= 8 + 1, and never more than two for each worker; with all that fit waiting,
        // no more.
        assert_eq!((window(8 << 10, 0), window(8 << 10, 7), window(8 << 10, 8)), (4, 8, 8));
        assert_eq!((window(1 << 20, 0), window(1 << 20, 7)), (8, 15));
        assert_eq!((window(100, 0), window(100, 1), window(1024, 0), window(2047, 0)), (1, 1, 1, 1));
        let pace = Pace::new(Arc::new(4.into()), 4, Ahead::Bytes(1 << 20), None);
        assert_eq!(pace.window(64, &BufferPool::new(1), STARTED), 1); // nothing is known
        assert_eq!(pace.window(64, &pool_of(1024), OnTheWay { made: 1, delivered: 1 }), 1); // that batch has failed
        pace.finished();
        assert_eq!(pace.window(64, &BufferPool::new(1), OnTheWay { made: 1, delivered: 1 }), 5); // nothing to count
    }
}
