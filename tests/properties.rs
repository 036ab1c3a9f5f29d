//! What must hold for all settings, beside the naive way to get the same.

use proptest::prelude::*;
use sutler::{Generator, HostTensor, InMemory, Loader, RandomSampler, Sampler};

/// The batches as one would write them down.
fn naive(order: &[usize], batch_size: usize, drop_last: bool) -> Vec<Vec<i64>> {
    let batches = order.chunks(batch_size).filter(|batch| !drop_last || batch.len() == batch_size);
    batches.map(|batch| batch.iter().map(|&index| index as i64).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_loader_gives_what_cutting_the_order_into_pieces_gives(
        len in 1_usize..300,
        batch_size in 1_usize..40,
        num_workers in 0_usize..5,
        prefetch in 1_usize..8,
        chunk in prop::option::of(1_usize..60),
        drop_last: bool,
        replacement: bool,
        num_samples in 1_usize..400,
        seed: u64,
    ) {
        let sampler =
            || RandomSampler::new(Generator::manual_seed(seed)).num_samples(num_samples).replacement(replacement);
        let mut builder = Loader::builder((0..len as i64).collect::<InMemory<i64>>())
            .batch_size(batch_size)
            .num_workers(num_workers)
            .drop_last(drop_last)
            .sampler(sampler());
        if num_workers > 0 {
            builder = builder.prefetch_batches(prefetch);
        }
        if let Some(chunk) = chunk {
            builder = builder.chunk_size(chunk);
        }
        let loader = builder.build().unwrap();
        for epoch in 0..2 {
            let order: Vec<usize> = sampler().order(epoch, len).unwrap().iter().collect();
            prop_assert_eq!(order.len(), num_samples);
            let batches: Vec<Vec<i64>> =
                loader.epoch().map(|batch: Result<HostTensor<i64>, _>| batch.unwrap().to_vec()).collect();
            prop_assert_eq!(batches, naive(&order, batch_size, drop_last));
        }
    }

    #[test]
    fn a_random_order_is_whole_permutations_and_the_beginning_of_one(
        len in 1_usize..200,
        num_samples in 1_usize..700,
        epoch in 0_u64..4,
        seed: u64,
    ) {
        let sampler = RandomSampler::new(Generator::manual_seed(seed)).num_samples(num_samples);
        let order: Vec<usize> = sampler.order(epoch, len).unwrap().iter().collect();
        prop_assert_eq!(order.len(), num_samples);
        for piece in order.chunks(len) {
            let mut seen = vec![false; len];
            for &index in piece {
                prop_assert!(!std::mem::replace(&mut seen[index], true), "{} twice in one permutation", index);
            }
        }
    }
}
