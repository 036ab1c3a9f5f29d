//! Is every batch on the device what it was on the host, however late the device looks at it?
//!
//! Before each batch is looked at, the device is given long work, so that it is far behind the host: by then the host has
//! dropped the batch, its device memory waits to be used again, and its host memory holds another batch already. Epochs are
//! left at any point, and the next one begins while the device is still at the last.

use std::time::Instant;

use serde_json::json;
use sutler::{Generator, HostTensor, Loader, Transfer};
use tch::Tensor;

use super::Error;
use super::machine::nvidia_smi;
use super::outcome::Outcome;
use super::pattern::{Checksums, Mismatches, Patterns};
use super::settings::Settings;
use super::work::{Matmuls, synchronize};

const BATCH_SIZE: usize = 32;
/// Also how far the device may fall behind, and so how many batches have their memory there at a time.
const BATCHES_PER_EPOCH: usize = 50;
/// Of the long work before a batch, on average: more than it takes to make and copy one, or the device would not fall behind.
const BEHIND: f64 = 0.002;

type OnHost = (HostTensor<f32>, HostTensor<i64>, Vec<String>);
type OnDevice = (Tensor, Tensor, Vec<String>);

/// What was done, and what was found.
pub(super) struct Run {
    pub(super) batches: usize,
    pub(super) mismatches: Mismatches,
    epochs: usize,
    left_early: usize,
    seconds: f64,
}

pub(super) fn check<T>(settings: &Settings, transfer: impl Fn() -> T) -> Result<Outcome, Error>
where
    T: Transfer<OnHost, Batch = OnDevice>,
{
    let notices = notices_what_is_wrong(settings, transfer())?;
    let memory = || nvidia_smi("memory.used");
    let before = memory();
    let Run { batches, mismatches, epochs, left_early, seconds } = run(settings, settings.batches, transfer)?;
    let blind = if notices { "" } else { "; but faults that were planted are not noticed" };
    Ok(Outcome::judged(
        mismatches.total() == 0 && notices,
        format!(
            "{} mismatches in {batches} batches; {epochs} epochs, {left_early} left early{blind}",
            mismatches.total()
        ),
        json!({
            "batches": batches, "epochs": epochs, "left_early": left_early, "seconds": seconds,
            "wrong_floats": mismatches.floats, "wrong_labels": mismatches.labels, "wrong_names": mismatches.names,
            "planted_faults_are_noticed": notices, "device_memory_before": before, "device_memory_after": memory(),
        }),
    ))
}

fn patterns(settings: &Settings) -> Patterns {
    Patterns { elements: 3 * settings.pick(64 * 64, 16 * 16), len: BATCHES_PER_EPOCH * BATCH_SIZE }
}

fn loader(settings: &Settings) -> Result<Loader<Patterns>, Error> {
    let loader = Loader::builder(patterns(settings))
        .batch_size(BATCH_SIZE)
        .shuffle(true)
        .seed(0)
        .num_workers(settings.workers)
        .prefetch_batches(3)
        .pin_memory(settings.pin_memory())
        .build()?;
    Ok(loader)
}

/// Whether the sums are right for a right batch, and wrong for each way to spoil it.
fn notices_what_is_wrong<T>(settings: &Settings, transfer: T) -> Result<bool, Error>
where
    T: Transfer<OnHost, Batch = OnDevice>,
{
    let mut checksums = Checksums::new(&patterns(settings), BATCH_SIZE, settings.device);
    let loader = loader(settings)?;
    let mut epoch = loader.epoch().prefetch_to(transfer);
    let (floats, labels, names) = epoch.next().ok_or("the epoch is empty")??;
    let indices: Vec<usize> = epoch.indices().collect();

    let one_more = |tensor: &Tensor| {
        let spoilt = tensor.copy();
        let _ = spoilt.view([-1]).narrow(0, 7, 1).g_add_scalar_(1);
        spoilt
    };
    let rolled = |tensor: &Tensor| tensor.roll([1_i64].as_slice(), [0_i64].as_slice());
    let mut other_names = names.clone();
    other_names.swap(0, 1);
    let (floats_more, floats_rolled) = (one_more(&floats), rolled(&floats));
    let (labels_more, labels_rolled) = (one_more(&labels), rolled(&labels));
    for batch in [
        (&floats, &labels, &*names),
        (&floats_more, &labels, &names),
        (&floats_rolled, &labels, &names),
        (&floats, &labels_more, &names),
        (&floats, &labels_rolled, &names),
        (&floats, &labels, &other_names),
    ] {
        checksums.compare(batch, &indices);
    }
    Ok(checksums.mismatches() == Mismatches { floats: 2, labels: 2, names: 1 })
}

pub(super) fn run<T>(settings: &Settings, batches: usize, transfer: impl Fn() -> T) -> Result<Run, Error>
where
    T: Transfer<OnHost, Batch = OnDevice>,
{
    let device = settings.device;
    let mut checksums = Checksums::new(&patterns(settings), BATCH_SIZE, device);
    let work = Matmuls::new(device, settings.pick(2048, 64));
    let most_work = work.lasting(2.0 * settings.pick(BEHIND, 50e-6));
    let loader = loader(settings)?;

    let started = Instant::now();
    let mut chance = Generator::manual_seed(0);
    let (mut done, mut epochs, mut left_early) = (0, 0, 0);
    while done < batches {
        let is_to_leave = chance.randint(2) == 0;
        let most = if is_to_leave { 1 + chance.randint(BATCHES_PER_EPOCH - 1) } else { BATCHES_PER_EPOCH };
        let mut epoch = loader.epoch().prefetch_to(transfer()).depth(1 + epochs % 2);
        for _ in 0..most.min(batches - done) {
            let (floats, labels, names) = epoch.next().ok_or("an epoch is too short")??;
            let indices: Vec<usize> = epoch.indices().collect();
            work.queue(chance.randint(most_work + 1));
            checksums.compare((&floats, &labels, &names), &indices);
            done += 1;
            // Here the tensors are dropped, while the device has not come to them.
        }
        left_early += usize::from(is_to_leave);
        epochs += 1;
        drop(epoch);
        if !is_to_leave {
            checksums.mismatches(); // waits; elsewhere the next epoch begins while the device is at this one
        }
    }
    synchronize(device);
    let mismatches = checksums.mismatches();
    Ok(Run { batches: done, mismatches, epochs, left_early, seconds: started.elapsed().as_secs_f64() })
}
