//! `Sink`: where records go.

use super::Record;
use crate::error::Result;

/// Writes what was logged, somewhere: [`Csv`](super::Csv), [`TensorBoard`](super::TensorBoard),
/// [`Progress`](super::Progress), or your own.
///
/// A sink has a thread of its own, and may take its time.
///
/// ```
/// use std::sync::mpsc;
/// use sutler::telemetry::{Record, Sink, Telemetry};
///
/// /// Sends the losses to whoever draws them.
/// struct Losses(mpsc::Sender<f64>);
///
/// impl Sink for Losses {
///     fn name(&self) -> &str {
///         "losses"
///     }
///
///     fn write(&mut self, records: &[Record]) -> sutler::Result<()> {
///         let scalars = records.iter().flat_map(|record| record.metrics().scalars());
///         for (_, loss) in scalars.filter(|(name, _)| *name == "loss") {
///             let _ = self.0.send(loss);
///         }
///         Ok(())
///     }
/// }
///
/// let (losses, drawn) = mpsc::channel();
/// let telemetry = Telemetry::builder().sink(Losses(losses)).start()?;
/// telemetry.log(0, [("loss", 0.5)]);
/// drop(telemetry);
/// assert_eq!(drawn.iter().collect::<Vec<_>>(), [0.5]);
/// # Ok::<(), sutler::Error>(())
/// ```
pub trait Sink: Send {
    /// What it is called in reports and warnings; its thread is called `sutler-` and this.
    fn name(&self) -> &str;

    /// Writes records, in the order in which they were logged, to where they are safe from the process's end.
    ///
    /// It is called at every [`flush_interval`](super::TelemetryBuilder::flush_interval) with what was logged since.
    ///
    /// # Errors
    ///
    /// If it cannot now. It is called with the same records again, later and later, and after
    /// [`max_failures`](super::TelemetryBuilder::max_failures) in a row never again. A panic counts as an error.
    /// Records that can never be written are better left out.
    fn write(&mut self, records: &[Record]) -> Result<()>;

    /// Whether it is for [alerts](super::Telemetry::alert) alone: other records are then not queued for it, and push
    /// none of them out.
    fn alerts_only(&self) -> bool {
        false
    }
}
