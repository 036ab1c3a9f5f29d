//! Work for the device whose length is known, and the clock for it.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

/// Waits until the device has done all that it was given, on every stream.
pub(super) fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

/// The seconds from an idle device until it is idle again.
pub(super) fn seconds<E>(device: Device, work: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    synchronize(device);
    let started = Instant::now();
    work()?;
    synchronize(device);
    Ok(started.elapsed().as_secs_f64())
}

/// Of an odd number of measurements.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Products of matrices, one after another.
pub(super) struct Matmuls {
    ones: Tensor,
    /// Each product with it is as large as what was multiplied: nothing overflows, or becomes so small that it is slow.
    mean: Tensor,
    side: i64,
    /// What one takes.
    seconds: f64,
}

impl Matmuls {
    pub(super) fn new(device: Device, side: i64) -> Self {
        let ones = Tensor::ones([side, side], (Kind::Float, device));
        let mut matmuls = Matmuls { mean: &ones / side as f64, ones, side, seconds: 0.0 };
        matmuls.queue(10); // finds its kernel, and the clock of the GPU goes up
        let runs = (0..5).map(|_| matmuls.time(20) / 20.0).collect();
        matmuls.seconds = median(runs);
        matmuls
    }

    fn time(&self, times: usize) -> f64 {
        let run = || -> Result<(), std::convert::Infallible> {
            self.queue(times);
            Ok(())
        };
        match seconds(self.mean.device(), run) {
            Ok(seconds) => seconds,
        }
    }

    /// How many take about `seconds`.
    pub(super) fn lasting(&self, seconds: f64) -> usize {
        ((seconds / self.seconds).round() as usize).max(1)
    }

    /// Gives the device this many; does not wait.
    pub(super) fn queue(&self, times: usize) {
        self.queue_on(&self.ones, times);
    }

    /// The same, the first one of values of `batch`, which has enough of them: they have to be there when it begins.
    pub(super) fn queue_on(&self, batch: &Tensor, times: usize) {
        let mut product = batch.view([-1]).narrow(0, 0, self.side * self.side).view([self.side, self.side]);
        for _ in 0..times {
            product = product.matmul(&self.mean);
        }
    }
}
