//! One slow sample costs what it takes, and does not hold up the rest.

use std::time::{Duration, Instant};

use sutler::{Dataset, Loader, LoaderBuilder, Result, SampleRng};

/// Samples that sleep: all for as long, or one in a thousand for a hundred times as long as the others.
struct Sleepy {
    len: usize,
    total: Duration,
    has_stragglers: bool,
}

impl Sleepy {
    fn cost(&self, index: usize) -> Duration {
        let mean = self.total / self.len as u32;
        // 999 at one part and one at a hundred are 1,099 parts.
        match (self.has_stragglers, index % 1000 == 371) {
            (false, _) => mean,
            (true, false) => mean * 1000 / 1099,
            (true, true) => mean * 1000 / 1099 * 100,
        }
    }
}

impl Dataset for Sleepy {
    type Sample = i64;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        std::thread::sleep(self.cost(index));
        Ok(index as i64)
    }
}

/// How long an epoch takes, the middle one of three behind a first that warms the loader up.
fn seconds(has_stragglers: bool, builder: impl Fn(LoaderBuilder<Sleepy>) -> LoaderBuilder<Sleepy>) -> f64 {
    let dataset = Sleepy { len: 8000, total: Duration::from_secs(4), has_stragglers };
    let loader = builder(Loader::builder(dataset)).build().unwrap();
    let mut times: Vec<f64> = (0..4)
        .map(|_| {
            let started = Instant::now();
            for (number, batch) in loader.epoch().enumerate() {
                let batch = batch.unwrap();
                assert_eq!(batch[0] as usize, number * batch.len());
            }
            started.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    times.sort_by(f64::total_cmp);
    times[1]
}

/// The throughput with stragglers as a share of that without, at the same total cost.
fn ratio(builder: impl Fn(LoaderBuilder<Sleepy>) -> LoaderBuilder<Sleepy>) -> f64 {
    seconds(false, &builder) / seconds(true, &builder)
}

#[test]
fn one_sample_in_a_thousand_that_takes_a_hundred_times_as_long_costs_no_more_than_its_own_time() {
    for (num_workers, batch_size) in [(4, 16), (16, 8), (16, 64)] {
        let builder = |builder: LoaderBuilder<Sleepy>| builder.batch_size(batch_size).num_workers(num_workers);
        let mut ratios = vec![];
        // Once is enough: other programs on the machine can only make it worse.
        while ratios.iter().all(|&ratio| ratio < 0.9) {
            ratios.push(ratio(builder));
            println!("{num_workers} workers, batches of {batch_size}: {ratios:.3?}");
            assert!(ratios.len() < 5, "{num_workers} workers, batches of {batch_size}: {ratios:.3?}");
        }
    }
}

#[test]
fn whoever_sets_how_far_to_run_ahead_is_held_to_it_by_a_slow_sample() {
    let ahead = |builder: LoaderBuilder<Sleepy>| builder.batch_size(8).num_workers(16).prefetch_batches(17);
    let ratio = ratio(ahead);
    println!("16 workers, batches of 8, prefetch_batches(17): {ratio:.3}");
    assert!(ratio < 0.85, "{ratio}: as good as without a bound, so the other test shows nothing");
}
