//! How fast is a copy from page-locked memory, and how fast from other?

use std::time::Instant;

use serde_json::{Map, json};
use tch::{Device, Kind, Tensor};

use super::Error;
use super::constant;
use super::outcome::Outcome;
use super::overlap::bytes;
use super::settings::Settings;
use super::work::{median, synchronize};

pub(super) fn check(settings: &Settings) -> Result<Outcome, Error> {
    let device = settings.device;
    let loader = constant::loader(settings, 1)?;
    let of_loader = loader.epoch().to_device(Device::Cpu).next().ok_or("the epoch is empty")??;
    // Written once: memory that nobody has touched is one page of zeros, which the cache holds.
    let of_heap = Tensor::ones(of_loader.size(), (Kind::Float, Device::Cpu));

    // Not blocking, from the heap: the driver copies it to page-locked memory of its own first, so the call blocks all the
    // same.
    let ways =
        [("pinned", &of_loader, false), ("pinned_non_blocking", &of_loader, true), ("pageable", &of_heap, false)];
    let mut details = Map::new();
    let mut summary = Vec::new();
    for (name, tensor, non_blocking) in ways {
        let (mut returned, mut over) = (Vec::new(), Vec::new());
        for _ in 0..settings.pick(25, 5) {
            synchronize(device);
            let started = Instant::now();
            let copy = tensor.to_device_(device, Kind::Float, non_blocking, true);
            returned.push(started.elapsed().as_secs_f64());
            synchronize(device);
            over.push(started.elapsed().as_secs_f64());
            drop(copy);
        }
        let (returned, over) = (median(returned), median(over));
        let gigabytes = bytes(tensor) / over / 1e9;
        summary.push(format!("{name} {gigabytes:.1} GB/s"));
        details.insert(
            name.into(),
            json!({ "gb_per_second": gigabytes, "call_ms": returned * 1e3, "copy_ms": over * 1e3 }),
        );
    }
    details.insert("mb".into(), json!(bytes(&of_heap) / 1e6));
    Ok(Outcome::information(summary.join(", "), details.into()))
}
