//! Would the check of checksums notice? The same with transfers that leave out what keeps memory safe.
//!
//! Whether a fault shows is a matter of timing, so this passes or fails nothing. But where neither fault shows, the other
//! check proves little.

use serde_json::json;
use sutler::torch::{SideStream, ToDevice};
use sutler::{HostTensor, Result as SutlerResult, Transfer};
use tch::{Device, Tensor};

use super::Error;
use super::outcome::Outcome;
use super::settings::Settings;
use super::stress;

/// Enough for a fault that shows at all.
const BATCHES: usize = 1000;

pub(super) fn check<T>(settings: &Settings, transfer: impl Fn() -> T) -> Result<Outcome, Error>
where
    T: Transfer<(HostTensor<f32>, HostTensor<i64>, Vec<String>), Batch = (Tensor, Tensor, Vec<String>)>,
{
    let run = stress::run(settings, settings.batches.min(BATCHES), transfer)?;
    let (batches, mismatches) = (run.batches, run.mismatches.total());
    let summary = match mismatches {
        0 => format!("not reproduced in {batches} batches"),
        found => format!("caught: {found} mismatches in {batches} batches"),
    };
    Ok(Outcome::information(summary, json!({ "batches": batches, "mismatches": mismatches })))
}

/// Does not tell torch on which stream a batch is used: once that is dropped, the next copy may go to the same device memory,
/// before the kernels that were queued have read it.
pub(super) struct NoRecordStream(SideStream);

impl NoRecordStream {
    pub(super) fn new(device: Device) -> Self {
        NoRecordStream(SideStream::new(device))
    }
}

impl<B> Transfer<B> for NoRecordStream
where
    B: ToDevice,
    B::Output: Send + 'static,
{
    type Landed = <SideStream as Transfer<B>>::Landed;
    type Batch = B::Output;
    type Host = Vec<Tensor>;

    fn start(&mut self, batch: B, host: &mut Vec<Tensor>) -> SutlerResult<Self::Landed> {
        self.0.start(batch, host)
    }

    fn finish(&mut self) -> SutlerResult<()> {
        Transfer::<B>::finish(&mut self.0)
    }

    fn receive(landed: Self::Landed) -> SutlerResult<B::Output> {
        Ok(landed.without_record_stream())
    }
}

/// Gives host memory back as soon as the copy was asked for, and does not wait for the copy: workers write the next batch there
/// while the device reads, and the consumer's kernels may begin before the batch is there.
pub(super) struct EarlyRelease(SideStream);

impl EarlyRelease {
    pub(super) fn new(device: Device) -> Self {
        EarlyRelease(SideStream::new(device))
    }
}

impl<B> Transfer<B> for EarlyRelease
where
    B: ToDevice,
    B::Output: Send + 'static,
{
    type Landed = <SideStream as Transfer<B>>::Landed;
    type Batch = B::Output;
    type Host = ();

    fn start(&mut self, batch: B, _host: &mut ()) -> SutlerResult<Self::Landed> {
        let mut dropped_on_return = Vec::new();
        self.0.start(batch, &mut dropped_on_return)
    }

    fn finish(&mut self) -> SutlerResult<()> {
        Ok(())
    }

    fn receive(landed: Self::Landed) -> SutlerResult<B::Output> {
        <SideStream as Transfer<B>>::receive(landed)
    }
}
