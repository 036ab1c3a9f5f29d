//! The orders are torch's: every row of `fixtures/golden`, which torch 2.11 drew.

use serde_json::Value;
use sutler::{Generator, InMemory, Loader, Order, RandomSampler, Sampler};

fn rows(kind: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/golden/torch-2.11-orders.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rows: Vec<Value> = file["rows"].as_array().unwrap().iter().filter(|row| row["kind"] == kind).cloned().collect();
    assert!(!rows.is_empty(), "no rows of kind {kind}");
    rows
}

fn seed(row: &Value) -> u64 {
    row["seed"].as_i64().unwrap() as u64
}

fn number(row: &Value, key: &str) -> usize {
    row[key].as_u64().unwrap() as usize
}

fn indices(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|index| index.as_u64().unwrap() as usize).collect()
}

fn listed(order: &Order) -> Vec<usize> {
    order.iter().collect()
}

#[test]
fn generator_draws_the_integers_and_doubles_that_torch_draws() {
    for row in rows("generator_int64") {
        let mut generator = Generator::manual_seed(seed(&row));
        for expected in row["result"].as_array().unwrap() {
            assert_eq!(generator.random(), expected.as_i64().unwrap(), "seed {}", row["seed"]);
        }
    }
    for row in rows("generator_uniform_f64") {
        let mut generator = Generator::manual_seed(seed(&row));
        for expected in row["result"].as_array().unwrap() {
            assert_eq!(generator.uniform(), expected.as_f64().unwrap(), "seed {}", row["seed"]);
        }
    }
}

#[test]
fn randperm_is_torchs() {
    for row in rows("randperm") {
        let n = number(&row, "n");
        assert_eq!(
            Generator::manual_seed(seed(&row)).randperm(n),
            indices(&row["result"]),
            "seed {}, n {n}",
            row["seed"]
        );
    }
    for row in rows("randperm_tail") {
        let permutation = Generator::manual_seed(seed(&row)).randperm(number(&row, "n"));
        let tail = indices(&row["result"]);
        assert_eq!(permutation[permutation.len() - tail.len()..], tail, "seed {}", row["seed"]);
    }
}

#[test]
fn random_sampler_is_torchs() {
    for row in rows("random_sampler") {
        let mut sampler =
            RandomSampler::new(Generator::manual_seed(seed(&row))).replacement(row["replacement"].as_bool().unwrap());
        if !row["num_samples"].is_null() {
            sampler = sampler.num_samples(number(&row, "num_samples"));
        }
        let order = sampler.order(0, number(&row, "n")).unwrap();
        assert_eq!(listed(&order), indices(&row["result"]), "{row}");
    }
}

#[test]
fn loader_gives_torchs_batches_epoch_after_epoch() {
    for row in rows("data_loader_epochs") {
        let (n, seed) = (number(&row, "n"), seed(&row));
        let data: InMemory<i64> = (0..n as i64).collect();
        let builder = Loader::builder(data)
            .batch_size(number(&row, "batch_size"))
            .drop_last(row["drop_last"].as_bool().unwrap())
            .num_workers(number(&row, "num_workers"));
        let how = row["how"].as_str().unwrap();
        let builder = match how {
            "generator=manual_seed(seed)" => builder.shuffle(true).seed(seed),
            "global torch.manual_seed(seed), generator=None" => builder.shuffle(true).global_seed(seed),
            "sampler=RandomSampler(generator=manual_seed(seed)); loader generator=None" => {
                builder.sampler(RandomSampler::new(Generator::manual_seed(seed)))
            }
            other => panic!("a way to seed that this test does not know: {other}"),
        };
        let loader = builder.build().unwrap();
        for (epoch, expected) in row["result"].as_array().unwrap().iter().enumerate() {
            let batches: Vec<Vec<usize>> =
                loader.epoch().map(|batch| batch.unwrap().iter().map(|&sample| sample as usize).collect()).collect();
            let expected: Vec<Vec<usize>> = expected.as_array().unwrap().iter().map(indices).collect();
            assert_eq!(batches, expected, "epoch {epoch} of {how}, seed {seed}, n {n}");
        }
    }
}

#[test]
fn an_explicit_generator_and_its_seed_give_the_same_order() {
    let batches = |loader: Loader<InMemory<i64>>| -> Vec<i64> {
        (0..3).flat_map(|_| loader.epoch()).flat_map(|batch| batch.unwrap().to_vec()).collect()
    };
    let builder = || Loader::builder((0..50).collect::<InMemory<i64>>()).batch_size(8).shuffle(true);
    let seeded = builder().seed(9).build().unwrap();
    let generated = builder().generator(Generator::manual_seed(9)).build().unwrap();
    assert_eq!(batches(seeded), batches(generated));
}
