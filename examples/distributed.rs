//! One of several processes that share an epoch: each writes down which samples it had.
//!
//! ```sh
//! torchrun --no-python --nproc-per-node 3 distributed --out DIR --stop-after 10
//! torchrun --no-python --nproc-per-node 2 distributed --out DIR     # goes on with two
//! distributed --out DIR --verify                                   # every sample exactly once?
//! ```
//!
//! `scripts/torchrun.sh` does all of it. Any launcher that `Distributed::from_env` knows will do.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use sutler::{Distributed, Error, InMemory, Ledger, Loader, Result};

struct Options {
    samples: usize,
    batch_size: usize,
    out: PathBuf,
    stop_after: usize,
    verify: bool,
}

fn main() -> Result<()> {
    let options = options().map_err(Error::other)?;
    if options.verify { verify(&options) } else { run(&options) }
}

fn options() -> std::result::Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options =
        Options { samples: 1003, batch_size: 8, out: PathBuf::from("."), stop_after: usize::MAX, verify: false };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("samples") => options.samples = arguments.value()?.parse()?,
            Long("batch-size") => options.batch_size = arguments.value()?.parse()?,
            Long("out") => options.out = arguments.value()?.into(),
            Long("stop-after") => options.stop_after = arguments.value()?.parse()?,
            Long("verify") => options.verify = true,
            Long("help") | Short('h') => {
                println!("distributed [--samples N] [--batch-size N] [--out DIR] [--stop-after BATCHES] [--verify]");
                std::process::exit(0);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

/// Takes this rank's batches and appends their samples, padding left out, to a file of its own.
fn run(options: &Options) -> Result<()> {
    let distributed = Distributed::from_env()?;
    let (rank, world_size) = (distributed.rank(), distributed.world_size());
    let samples: InMemory<i64> = (0..options.samples as i64).collect();
    let loader = Loader::builder(samples)
        .batch_size(options.batch_size)
        .shuffle(true)
        .seed(0)
        .num_workers(2)
        .distributed(distributed)
        .build()?;

    // What any rank saved is the state of all of them.
    let saved = fs::read_to_string(options.out.join("state.txt")).ok();
    let mut epoch = match &saved {
        Some(text) => loader.resume(&text.trim_end().parse()?)?,
        None => loader.epoch(),
    };
    let mut ledger = Ledger::default();
    let mut had = OpenOptions::new().create(true).append(true).open(options.out.join(format!("rank-{rank}.txt")))?;
    for _ in 0..options.stop_after {
        let Some(batch) = epoch.next() else { break };
        let samples = batch?.to_vec();
        let real = samples.len() - epoch.padding();
        ledger.extend(epoch.indices().take(real));
        for sample in &samples[..real] {
            writeln!(had, "{sample}")?;
        }
    }
    fs::write(options.out.join(format!("state-{rank}.txt")), format!("{}\n", epoch.state()))?;
    println!("rank {rank} of {world_size}: {} samples, {ledger}", ledger.count());
    Ok(())
}

/// Adds up what all ranks wrote.
fn verify(options: &Options) -> Result<()> {
    let mut all = Vec::new();
    for entry in fs::read_dir(&options.out)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rank-")) {
            let numbers = fs::read_to_string(&path)?;
            all.extend(
                numbers.lines().map(|line| line.parse::<usize>().map_err(Error::other)).collect::<Result<Vec<_>>>()?,
            );
        }
    }
    all.iter().copied().collect::<Ledger>().verify(options.samples)?;
    // The ledger is a proof by hashes; here all are at hand.
    all.sort_unstable();
    if all != (0..options.samples).collect::<Vec<_>>() {
        return Err(Error::msg("the ledger is right and the samples are wrong"));
    }
    println!("{} samples, each exactly once", all.len());
    Ok(())
}
