//! What the crate has to draw for a row of each kind to pass: all that golden files may ask, by the public API alone.

use serde_json::Value;
use sutler::{
    BatchSampler, Dataset, Distributed, DistributedSampler, Generator, InMemory, Loader, RandomSampler, Sampler,
    Subset, SubsetRandomSampler, WeightedRandomSampler,
};

#[path = "row.rs"] // for whoever includes this file from another folder
mod row;

pub use row::Row;
use row::same;

/// Whether a row passes, or why not.
pub type Check = fn(&Row) -> Result<(), String>;

/// The check of each kind of row.
pub const KINDS: [(&str, Check); 14] = [
    ("generator_int64", generator_int64),
    ("generator_uniform_f64", generator_uniform_f64),
    ("generator_state", generator_state),
    ("randperm", randperm),
    ("randperm_tail", randperm_tail),
    ("random_sampler", random_sampler),
    ("weighted_random_sampler", weighted_random_sampler),
    ("multinomial", multinomial),
    ("subset_random_sampler", subset_random_sampler),
    ("batch_sampler", batch_sampler),
    ("random_split_lengths", random_split_lengths),
    ("random_split_fractions", random_split_fractions),
    ("distributed_sampler", distributed_sampler),
    ("data_loader_epochs", data_loader_epochs),
];

/// The check of `kind`, if it is known.
pub fn check_of(kind: &str) -> Option<Check> {
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, check)| *check)
}

fn generator(row: &Row) -> Result<Generator, String> {
    Ok(Generator::manual_seed(row.seed()?))
}

fn told<T>(result: sutler::Result<T>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// As many samples as the row says, each its own index.
fn samples(row: &Row) -> Result<InMemory<i64>, String> {
    Ok((0..row.length("n")? as i64).collect())
}

/// The first epoch of a sampler.
fn order(sampler: &impl Sampler, len: usize) -> Result<Vec<usize>, String> {
    Ok(told(sampler.order(0, len))?.iter().collect())
}

fn next_int64(row: &Row, generator: &mut Generator) -> Result<(), String> {
    same("next_int64", &row.int64("next_int64")?.into(), &generator.random().into())
}

fn generator_int64(row: &Row) -> Result<(), String> {
    let mut generator = generator(row)?;
    row.gives(row.results()?.iter().map(|_| generator.random()).collect::<Vec<_>>())
}

fn generator_uniform_f64(row: &Row) -> Result<(), String> {
    let mut generator = generator(row)?;
    row.gives(row.results()?.iter().map(|_| generator.uniform()).collect::<Vec<_>>())
}

fn generator_state(row: &Row) -> Result<(), String> {
    let how = row.text("how")?;
    let unknown = || format!("how is {how:?}, which this program does not know");
    let mut calls = how.split(" and ");
    if calls.next() != Some("state bytes after manual_seed(seed)") {
        return Err(unknown());
    }
    let mut ours = Some(generator(row)?);
    for call in calls {
        let argument = |name| call.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        match (argument("randperm").and_then(|n| n.parse::<u32>().ok()), argument("randn")) {
            (Some(n), _) => ours.iter_mut().for_each(|generator| drop(generator.randperm(n as usize))),
            // The crate draws no normals, so what is left to check is that it takes torch's bytes and goes on from them.
            (None, Some(_)) => ours = None,
            (None, None) => return Err(unknown()),
        }
    }
    let torchs = row.bytes("result")?;
    let mut imported = told(Generator::from_state(&torchs))?;
    same("the state, imported and exported again,", &torchs.clone().into(), &imported.state().into())?;
    next_int64(row, &mut imported)?;
    match ours {
        None => Ok(()),
        Some(mut ours) => {
            same("the state", &torchs.into(), &ours.state().into())?;
            next_int64(row, &mut ours)
        }
    }
}

fn randperm(row: &Row) -> Result<(), String> {
    row.gives(generator(row)?.randperm(row.length("n")?))
}

fn randperm_tail(row: &Row) -> Result<(), String> {
    let permutation = generator(row)?.randperm(row.length("n")?);
    let before = permutation.len().saturating_sub(row.results()?.len());
    row.gives(&permutation[before..])
}

fn random_sampler(row: &Row) -> Result<(), String> {
    let replacement = row.bool("replacement")?;
    let mut sampler = RandomSampler::new(generator(row)?).replacement(replacement);
    if let Some(num_samples) = row.optional_length("num_samples")? {
        sampler = sampler.num_samples(num_samples);
    }
    // Without replacement, memory has to hold a permutation.
    let n = if replacement { row.number("n")? } else { row.length("n")? };
    row.gives(order(&sampler, n)?)
}

fn weighted_random_sampler(row: &Row) -> Result<(), String> {
    let weights = row.doubles("weights")?;
    let n = weights.len();
    let sampler = told(WeightedRandomSampler::new(weights, row.length("num_samples")?, generator(row)?))?;
    row.gives(order(&told(sampler.replacement(row.bool("replacement")?))?, n)?)
}

fn multinomial(row: &Row) -> Result<(), String> {
    let mut generator = generator(row)?;
    let (num_samples, replacement) = (row.length("num_samples")?, row.bool("replacement")?);
    row.gives(told(generator.multinomial(&row.doubles("weights")?, num_samples, replacement))?)?;
    next_int64(row, &mut generator)
}

fn subset_random_sampler(row: &Row) -> Result<(), String> {
    let indices = row.numbers("indices")?;
    let n = indices.iter().max().map_or(0, |largest| largest.saturating_add(1));
    row.gives(order(&SubsetRandomSampler::new(indices, generator(row)?), n)?)
}

fn batch_sampler(row: &Row) -> Result<(), String> {
    let sampler = RandomSampler::new(generator(row)?).batched(row.count("batch_size")?, row.bool("drop_last")?);
    row.gives(told(sampler.batches(0, row.length("n")?))?.iter().collect::<Vec<_>>())
}

fn random_split_lengths(row: &Row) -> Result<(), String> {
    let parts = samples(row)?.random_split(row.numbers("lengths")?, &mut generator(row)?);
    row.gives(told(parts)?.iter().map(Subset::indices).collect::<Vec<_>>())
}

fn random_split_fractions(row: &Row) -> Result<(), String> {
    let parts = samples(row)?.random_split(row.doubles("fractions")?, &mut generator(row)?);
    row.gives(told(parts)?.iter().map(Subset::indices).collect::<Vec<_>>())
}

fn distributed_sampler(row: &Row) -> Result<(), String> {
    let (n, seed, epoch) = (row.length("n")?, row.seed()?, row.number("epoch")? as u64);
    let (drop_last, shuffle) = (row.bool("drop_last")?, row.bool("shuffle")?);
    let world_size = row.count("world_size")?;
    if row.results()?.len() != world_size {
        return Err(format!("result has {} lists for {world_size} ranks", row.results()?.len()));
    }
    let ranks = || (0..world_size).map(|rank| Ok(told(Distributed::new(rank, world_size))?.drop_last(drop_last)));
    let sampled = |rank: Result<Distributed, String>| -> Result<Vec<usize>, String> {
        let sampler = DistributedSampler::new(rank?).shuffle(shuffle).seed(seed);
        Ok(told(sampler.order(epoch, n))?.iter().collect())
    };
    row.gives(ranks().map(sampled).collect::<Result<Vec<_>, _>>()?)?;
    // A loader shuffles no dataset without samples, and one of many takes long.
    if !(1..=10_000).contains(&n) {
        return Ok(());
    }
    let loaded = |rank: Result<Distributed, String>| -> Result<Vec<i64>, String> {
        let builder = Loader::builder(samples(row)?).batch_size(5).shuffle(shuffle).seed(seed).distributed(rank?);
        let mut indices = Vec::new();
        for batch in told(builder.build())?.epoch_at(epoch) {
            indices.extend_from_slice(&told(batch)?);
        }
        Ok(indices)
    };
    row.gives(ranks().map(loaded).collect::<Result<Vec<_>, _>>()?).map_err(|why| format!("in a loader, {why}"))
}

fn data_loader_epochs(row: &Row) -> Result<(), String> {
    let (seed, batch_size, drop_last) = (row.seed()?, row.count("batch_size")?, row.bool("drop_last")?);
    let how = row.text("how")?;
    let persistent_workers = how.strip_suffix(", persistent_workers=True");
    let builder = Loader::builder(samples(row)?)
        .num_workers(row.number("num_workers")?)
        .persistent_workers(persistent_workers.is_some());
    let sampler = RandomSampler::new(generator(row)?);
    let builder = match persistent_workers.unwrap_or(how) {
        "generator=manual_seed(seed)" => builder.shuffle(true).generator(generator(row)?),
        "global torch.manual_seed(seed), generator=None" => builder.shuffle(true).global_seed(seed),
        "sampler=RandomSampler(generator=manual_seed(seed)); loader generator=None" => builder.sampler(sampler),
        "sampler=RandomSampler(generator=g); loader generator=g, g=manual_seed(seed)" => {
            builder.sampler(sampler.shared_with_loader(persistent_workers.is_some()))
        }
        "batch_sampler=BatchSampler(RandomSampler(generator=manual_seed(seed)), batch_size, drop_last); \
         loader generator=None" => builder.batch_sampler(sampler.batched(batch_size, drop_last)),
        _ => return Err(format!("how is {how:?}, which this program does not know")),
    };
    let builder = match how.starts_with("batch_sampler") {
        true => builder,
        false => builder.batch_size(batch_size).drop_last(drop_last),
    };
    let loader = told(builder.build())?;
    let mut epochs = Vec::new();
    for _ in row.results()? {
        let batches = loader.epoch().map(|batch| Ok(Value::from(told(batch)?.to_vec())));
        epochs.push(Value::Array(batches.collect::<Result<_, String>>()?));
    }
    row.gives(epochs)
}
