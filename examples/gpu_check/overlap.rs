//! Are copies made while the device computes?

use serde_json::json;
use tch::{Device, Tensor};

use super::Error;
use super::constant;
use super::outcome::Outcome;
use super::settings::Settings;
use super::work::{Matmuls, median, seconds, synchronize};

/// How much longer a step may take than the longer of its two halves.
const TOLERANCE: f64 = 1.05;
/// Batches before the clock starts: by then buffers are allocated and the prefetcher is ahead.
const WARM_UP: usize = 5;

/// Seconds a batch.
#[derive(Default)]
struct Times {
    /// `to_device` of one resident batch, again and again.
    bare: Vec<f64>,
    /// The prefetcher, when nothing is computed.
    copy: Vec<f64>,
    /// The computation, on one resident batch.
    compute: Vec<f64>,
    /// Both.
    step: Vec<f64>,
    /// Both, where the host waits for the device after each step, as it does to read a loss.
    in_step: Vec<f64>,
}

pub(super) fn check(settings: &Settings) -> Result<Outcome, Error> {
    let device = settings.device;
    let (steps, runs) = settings.pick((100, 5), (10, 3));
    let loader = constant::loader(settings, WARM_UP + steps)?;
    let on_host = loader.epoch().to_device(Device::Cpu).next().ok_or("the epoch is empty")??;
    let resident = on_host.to_device_(device, on_host.kind(), false, true);

    // What a batch takes with the prefetcher, and with it or without.
    let epoch = |compute: &dyn Fn(&Tensor)| -> Result<f64, Error> {
        let mut epoch = loader.epoch().to_device(device);
        for batch in epoch.by_ref().take(WARM_UP) {
            compute(&batch?);
        }
        let time = seconds(device, || epoch.try_for_each(|batch| batch.map(|batch| compute(&batch))))?;
        Ok(time / steps as f64)
    };
    let repeated = |work: &dyn Fn()| -> Result<f64, Error> {
        let time = seconds::<Error>(device, || {
            (0..steps).for_each(|_| work());
            Ok(())
        })?;
        Ok(time / steps as f64)
    };

    let matmuls = Matmuls::new(device, settings.pick(1024, 64));
    epoch(&|_| {})?; // the first copies allocate
    let count = matmuls.lasting(median((0..3).map(|_| epoch(&|_| {})).collect::<Result<_, _>>()?));
    let compute = |batch: &Tensor| matmuls.queue_on(batch, count);
    let mut times = Times::default();
    // In turn, so that a clock that changes changes it for all.
    for _ in 0..runs {
        times.bare.push(repeated(&|| drop(on_host.to_device_(device, on_host.kind(), true, true)))?);
        times.copy.push(epoch(&|_| {})?);
        times.compute.push(repeated(&|| compute(&resident))?);
        times.step.push(epoch(&compute)?);
        times.in_step.push(epoch(&|batch| {
            compute(batch);
            synchronize(device);
        })?);
    }
    let [bare, copy, compute, step, in_step] =
        [times.bare, times.copy, times.compute, times.step, times.in_step].map(median);
    let ratio = step / copy.max(compute);
    let summary = format!(
        "step {:.3} ms, {ratio:.3} of the longer of compute {:.3} and copy {:.3} (bare copy {:.3}; in step {:.3})",
        step * 1e3,
        compute * 1e3,
        copy * 1e3,
        bare * 1e3,
        in_step * 1e3
    );
    let details = json!({
        "bare_copy_ms": bare * 1e3, "copy_ms": copy * 1e3, "compute_ms": compute * 1e3, "step_ms": step * 1e3,
        "step_with_wait_ms": in_step * 1e3, "ratio": ratio, "ratio_with_wait": in_step / copy.max(compute),
        "tolerance": TOLERANCE, "matmuls": count, "batch_mb": bytes(&resident) / 1e6,
    });
    Ok(match settings.dry {
        true => Outcome::information(summary, details), // the CPU does one thing after the other
        false => Outcome::judged(ratio <= TOLERANCE, summary, details),
    })
}

pub(super) fn bytes(tensor: &Tensor) -> f64 {
    (tensor.numel() * tensor.kind().elt_size_in_bytes()) as f64
}
