//! Are batches page-locked, in as much memory as the documentation says, and is none allocated later?

use serde_json::json;
use sutler::torch::PinMemory;
use sutler::{Dataset, Loader, Result as SutlerResult, SampleRng};
use tch::Device;

use super::Error;
use super::outcome::Outcome;
use super::pattern::Grid;
use super::settings::Settings;

const BATCH_SIZE: usize = 64;
const AHEAD: usize = 4;

/// Images and labels.
struct Images {
    elements: usize,
}

impl Dataset for Images {
    type Sample = (Grid, i64);

    fn len(&self) -> usize {
        12 * BATCH_SIZE
    }

    fn get(&self, index: usize, _rng: &mut SampleRng) -> SutlerResult<(Grid, i64)> {
        Ok((Grid { index, elements: self.elements }, index as i64))
    }
}

pub(super) fn check(settings: &Settings) -> Result<Outcome, Error> {
    let elements = 3 * settings.pick(224 * 224, 32 * 32);
    let loader = Loader::builder(Images { elements })
        .batch_size(BATCH_SIZE)
        .num_workers(settings.workers)
        .prefetch_batches(AHEAD)
        .pin_memory(settings.pin_memory())
        .build()?;

    // The batch's own memory, as a tensor of the CPU. The argument is a device of the kind it is page-locked for.
    let pinned = settings.pin_memory() != PinMemory::Off;
    let mut tensors_are_as_asked = true;
    for (number, batch) in loader.epoch().to_device(Device::Cpu).enumerate() {
        let (images, labels) = batch?;
        if number == 0 {
            // Once: torch warns each time that the argument, which tch has no way to leave out, is deprecated.
            let is_pinned = [images.is_pinned(settings.device), labels.is_pinned(settings.device)];
            tensors_are_as_asked = is_pinned == [pinned; 2];
        }
    }

    // The way of a training run: through the prefetcher.
    for batch in loader.epoch().to_device(settings.device) {
        drop(batch?);
    }
    let warm = loader.stats();
    for _ in 0..3 {
        for batch in loader.epoch().to_device(settings.device) {
            drop(batch?);
        }
    }
    let stats = loader.stats();
    let late = stats.buffers_allocated - warm.buffers_allocated;
    let documented: usize =
        [elements * 4, 8].into_iter().map(|sample| field_bytes(sample * BATCH_SIZE, AHEAD + 2, pinned)).sum();

    let (bytes, is_pinned) = (stats.buffer_bytes, loader.is_pinned());
    let passed = is_pinned == pinned && tensors_are_as_asked && bytes == documented as u64 && late == 0;
    let tensors = if tensors_are_as_asked { "as well" } else { "NOT all so" };
    Ok(Outcome::judged(
        passed,
        format!(
            "loader pinned: {is_pinned}, tensors {tensors}; {bytes} bytes of buffers, documented {documented}; {late} allocated late"
        ),
        json!({
            "loader_is_pinned": is_pinned, "tensors_are_as_asked": tensors_are_as_asked, "buffer_bytes": bytes,
            "documented_bytes": documented, "buffers_allocated": stats.buffers_allocated, "allocated_late": late,
        }),
    ))
}

/// What `BufferPool`'s documentation says that a field takes: `buffers` buffers for `bytes` bytes, each rounded up to a
/// sixteenth of the next power of two; of page-locked memory in blocks of powers of two, the cheapest way to have that many, where a block counts 64 KiB
/// besides.
fn field_bytes(bytes: usize, buffers: usize, pinned: bool) -> usize {
    let buffer = bytes.next_multiple_of((bytes.next_power_of_two() / 16).max(64));
    if !pinned {
        return buffers * buffer;
    }
    // Cost and bytes of the cheapest way for each number of buffers.
    let mut cheapest = vec![(0, 0)];
    for count in 1..=buffers {
        let ways = (1..=count).map(|last| {
            let ((cost, bytes), block) = (cheapest[count - last], (buffer * last).next_power_of_two());
            (cost + block + (64 << 10), bytes + block)
        });
        cheapest.push(ways.min().unwrap_or((0, 0)));
    }
    cheapest[buffers].1
}
