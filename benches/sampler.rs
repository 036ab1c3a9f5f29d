//! What an order costs: drawn, looked up, and beside `torch.randperm` with feature `tch` (`make bench-sampler`).

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sutler::{Distributed, Generator, KeyedSampler, Order, RandomSampler, Sampler};

/// As many as ImageNet has.
const IMAGENET: usize = 1_281_167;

fn permutations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a permutation of 1,281,167");
    group.throughput(Throughput::Elements(IMAGENET as u64));

    let mut generator = Generator::manual_seed(0);
    #[cfg(feature = "tch")]
    {
        tch::manual_seed(0);
        let torch = || tch::Tensor::randperm(IMAGENET as i64, (tch::Kind::Int64, tch::Device::Cpu));
        let expected: Vec<usize> = Generator::manual_seed(0).randperm(IMAGENET);
        let drawn = Vec::<i64>::try_from(torch()).expect("a vector of integers");
        assert!(drawn.iter().zip(&expected).all(|(&torch, &ours)| torch as usize == ours), "the same permutation");
        group.bench_function("torch.randperm", |bencher| bencher.iter(|| black_box(torch())));
    }
    group.bench_function("Generator::randperm", |bencher| bencher.iter(|| black_box(generator.randperm(IMAGENET))));
    // One epoch after another: each draws its permutation, and the one that torch draws and drops at the end.
    let sampler = RandomSampler::new(Generator::manual_seed(0));
    let mut epoch = 0;
    group.bench_function("RandomSampler::order", |bencher| {
        bencher.iter(|| {
            epoch += 1;
            black_box(sampler.order(epoch, IMAGENET).expect("an order"))
        });
    });
    group.bench_function("KeyedSampler::order, all of it", |bencher| {
        bencher.iter(|| KeyedSampler::new(0).order(0, IMAGENET).expect("an order").iter().fold(0, usize::wrapping_add));
    });
    group.finish();
}

/// A thousand ranks: what one of them pays to find its k-th sample.
fn lookups(criterion: &mut Criterion) {
    const WORLD: usize = 1024;
    const LOOKUPS: usize = 10_000;
    let mut group = criterion.benchmark_group("one rank's samples, of 1,024 ranks");
    group.throughput(Throughput::Elements(LOOKUPS as u64));
    for len in [1_000_000_000, 10_000_000_000] {
        let ranks = Distributed::new(517, WORLD).expect("a rank below the world size");
        let start = || KeyedSampler::new(1).order(3, len).and_then(|order| order.shard(&ranks)).expect("an order");
        group.bench_function(format!("KeyedSampler over {len}: start"), |bencher| bencher.iter(|| black_box(start())));
        let order = start();
        assert!((0..LOOKUPS).all(|k| order.get(k) < len));
        let mut look_up = |order: &Order, what: &str, k: fn(usize, usize) -> usize| {
            let last = order.len() - 1;
            group.bench_function(format!("KeyedSampler over {len}: {what}"), |bencher| {
                bencher.iter(|| (0..LOOKUPS).fold(0, |sum, i| black_box(sum ^ order.get(k(i, last)))));
            });
        };
        look_up(&order, "in turn", |i, _| i);
        look_up(&order, "anywhere", |i, last| i * 7_919_337 % last);
    }
    group.finish();
}

criterion_group!(benches, permutations, lookups);
criterion_main!(benches);
