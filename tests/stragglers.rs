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

/// How long an epoch takes.
fn seconds(loader: &Loader<Sleepy>) -> f64 {
    let started = Instant::now();
    for (number, batch) in loader.epoch().enumerate() {
        let batch = batch.unwrap();
        assert_eq!(batch[0] as usize, number * batch.len());
    }
    started.elapsed().as_secs_f64()
}

/// The throughput with stragglers as a share of that without, at the same total cost: after two epochs of each, after
/// three, and so on.
///
/// Other programs make some epochs slower, with stragglers or without, and none faster. So the fastest of each are
/// compared; and the two take turns, to meet the same company.
fn ratios(builder: impl Fn(LoaderBuilder<Sleepy>) -> LoaderBuilder<Sleepy>) -> impl Iterator<Item = f64> {
    let loaders = [false, true].map(|has_stragglers| {
        let dataset = Sleepy { len: 8000, total: Duration::from_secs(4), has_stragglers };
        builder(Loader::builder(dataset)).build().unwrap()
    });
    for loader in &loaders {
        seconds(loader); // to warm up
    }
    let mut fastest = [f64::INFINITY; 2];
    let ratio = move || {
        fastest.iter_mut().zip(&loaders).for_each(|(fastest, loader)| *fastest = fastest.min(seconds(loader)));
        fastest[0] / fastest[1]
    };
    std::iter::repeat_with(ratio).skip(1)
}

#[test]
fn one_sample_in_a_thousand_that_takes_a_hundred_times_as_long_costs_no_more_than_its_own_time() {
    for (num_workers, batch_size) in [(4, 16), (16, 8), (16, 64)] {
        let builder = |builder: LoaderBuilder<Sleepy>| builder.batch_size(batch_size).num_workers(num_workers);
        let mut seen = vec![];
        let is_enough = ratios(builder).take(10).any(|ratio| {
            seen.push(ratio);
            ratio >= 0.9
        });
        println!("{num_workers} workers, batches of {batch_size}: {seen:.3?}");
        assert!(is_enough, "{num_workers} workers, batches of {batch_size}: {seen:.3?}");
    }
}

#[test]
fn whoever_sets_how_far_to_run_ahead_is_held_to_it_by_a_slow_sample() {
    let ahead = |builder: LoaderBuilder<Sleepy>| builder.batch_size(8).num_workers(16).prefetch_batches(17);
    let ratio = ratios(ahead).nth(1).unwrap();
    println!("16 workers, batches of 8, prefetch_batches(17): {ratio:.3}");
    assert!(ratio < 0.85, "{ratio}: as good as without a bound, so the other test shows nothing");
}
