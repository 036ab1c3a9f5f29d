//! How a batch of the order can have become what came, if it can.

use sutler::chaos::Fault;
use sutler::{Error, ErrorKind, OnError};

use crate::books::check_cause;
use crate::data::{Data, Name};
use crate::follow::Item;
use crate::kinds::Kind;
use crate::oracle::{Batch, Fortune, Oracle, Place};
use crate::{Check, ensure};

/// What became of a batch.
#[derive(Default)]
pub struct Met {
    /// Its bad samples, in the order in which they enter the quarantine.
    pub bad: Vec<Name>,
    pub left_out: usize,
    pub replaced: usize,
    /// What `indices()` and `padding()` should be.
    pub indices: Vec<usize>,
    pub padding: usize,
}

impl<K: Kind> Oracle<'_, K> {
    /// How this batch of the order can have become what came; or why it cannot.
    pub fn explain(&self, epoch: u64, batch: &Batch, item: &Item<'_>) -> Check<Met> {
        match (&item.rows, self.plan.on_error) {
            (Ok(rows), OnError::Fail) => self.explain_whole(epoch, batch, rows),
            (Ok(rows), OnError::Skip) => self.explain_shorter(epoch, batch, rows),
            (Ok(rows), _) => self.explain_replaced(epoch, batch, rows),
            (Err(error), on_error) => {
                let indices: Vec<usize> = batch.names().map(|name| name.index).collect();
                let differ = item.indices.as_ref().is_some_and(|(had, _)| *had != indices);
                ensure!(!differ, "an error of another batch");
                let met = match (error.kind(), on_error) {
                    (_, OnError::Fail) => self.explain_failed(batch, error),
                    (ErrorKind::Budget, _) => self.explain_beyond(epoch, batch, error),
                    (_, OnError::Skip) => Err("what should be left out is an error".into()),
                    _ => self.explain_hopeless(epoch, batch, error),
                }?;
                // All of them, whatever became of each.
                let padding = batch.places.iter().filter(|place| place.is_padding).count();
                Ok(Met { indices, padding, ..met })
            }
        }
    }

    fn explain_whole(&self, epoch: u64, batch: &Batch, rows: &[u64]) -> Check<Met> {
        ensure!(rows.len() == batch.places.len(), "it should have {} samples", batch.places.len());
        let mut met = Met::default();
        for (place, row) in batch.places.iter().zip(rows) {
            ensure!(self.fortune(place.name) != Fortune::Bad, "{} is bad, and the batch no error", place.name);
            self.keep(epoch, place, *row, &mut met)?;
        }
        Ok(met)
    }

    fn explain_shorter(&self, epoch: u64, batch: &Batch, rows: &[u64]) -> Check<Met> {
        let (mut met, mut rows) = (Met::default(), rows.iter().copied().peekable());
        for place in &batch.places {
            let fortune = self.fortune(place.name);
            let row = rows.peek().copied();
            match row {
                Some(row) if fortune != Fortune::Bad && self.digest(epoch, place)? == row => {
                    rows.next();
                    self.keep(epoch, place, row, &mut met)?;
                }
                _ => {
                    ensure!(fortune != Fortune::Good, "{} is not in slot {}", place.name, met.indices.len());
                    met.left_out += 1;
                    met.bad.push(place.name);
                }
            }
        }
        ensure!(rows.len() == 0, "{} samples too many", rows.len());
        ensure!(!met.indices.is_empty(), "a batch without samples");
        Ok(met)
    }

    fn explain_replaced(&self, epoch: u64, batch: &Batch, rows: &[u64]) -> Check<Met> {
        ensure!(rows.len() == batch.places.len(), "it should have {} samples", batch.places.len());
        let mut met = Met::default();
        for (place, row) in batch.places.iter().zip(rows) {
            if self.fortune(place.name) == Fortune::Good {
                self.keep(epoch, place, *row, &mut met)?;
                continue;
            }
            let stand_in = self.stand_in(epoch, place)?;
            let Some((name, digest)) = stand_in.found else {
                return Err(format!("nothing can stand in for {}, and the batch is no error", place.name));
            };
            ensure!(*row == digest, "{name} does not stand in for {} in slot {}", place.name, met.indices.len());
            met.replaced += 1;
            met.bad.push(place.name);
            met.bad.extend(&stand_in.tried);
            met.indices.push(name.index);
            met.padding += usize::from(place.is_padding);
        }
        Ok(met)
    }

    fn keep(&self, epoch: u64, place: &Place, row: u64, met: &mut Met) -> Check {
        ensure!(
            self.digest(epoch, place)? == row,
            "{} is not in slot {}, or is not what it was",
            place.name,
            met.indices.len()
        );
        met.indices.push(place.name.index);
        met.padding += usize::from(place.is_padding);
        Ok(())
    }

    /// The error is of the first bad sample; of those that fail at first, any may have failed or not.
    fn explain_failed(&self, batch: &Batch, error: &Error) -> Check<Met> {
        for place in batch.places.iter().filter(|place| self.fortune(place.name) != Fortune::Good) {
            if is_of(error, place.name) {
                self.check_error(place.name, error)?;
                return Ok(Met::default());
            }
            ensure!(self.fortune(place.name) == Fortune::Moody, "the first bad sample is {}", place.name);
        }
        Err("no sample of it is bad".into())
    }

    /// The error is of the first sample that nothing can stand in for; those before it are in quarantine.
    fn explain_hopeless(&self, epoch: u64, batch: &Batch, error: &Error) -> Check<Met> {
        let mut met = Met::default();
        for place in batch.places.iter().filter(|place| self.fortune(place.name) != Fortune::Good) {
            let stand_in = self.stand_in(epoch, place)?;
            if stand_in.found.is_none() {
                ensure!(is_of(error, place.name), "the first that nothing can stand in for is {}", place.name);
                self.check_error(place.name, error)?;
                return Ok(met);
            }
            met.bad.push(place.name);
            met.bad.extend(&stand_in.tried);
        }
        Err("there is something to stand in for every bad sample".into())
    }

    /// Its bad samples are beyond the budget, which the books check. (None of them fails only at first.)
    fn explain_beyond(&self, epoch: u64, batch: &Batch, error: &Error) -> Check<Met> {
        let mut met = Met::default();
        for place in batch.places.iter().filter(|place| self.fortune(place.name) != Fortune::Good) {
            if self.plan.on_error == OnError::Skip {
                met.bad.push(place.name);
                continue;
            }
            let stand_in = self.stand_in(epoch, place)?;
            if stand_in.found.is_none() {
                // It would have been an error in any case.
                break;
            }
            met.bad.push(place.name);
            met.bad.extend(&stand_in.tried);
        }
        ensure!(met.bad.iter().any(|name| is_of(error, *name)), "the error is of another sample");
        Ok(met)
    }

    /// Whether an error says what befell a sample.
    fn check_error(&self, name: Name, error: &Error) -> Check {
        let (fault, kind) = (self.fate(name).fault, error.kind());
        let is_expected = match fault {
            Some(Fault::Panic) => kind == ErrorKind::Panic,
            // Found by a decoder, or by a write that panics.
            Some(Fault::Truncation) => matches!(kind, ErrorKind::Decode | ErrorKind::Panic),
            _ => kind == ErrorKind::Io,
        };
        ensure!(is_expected, "it is of kind {kind:?}, and should be of {fault:?}");
        let (text, path) = (error.to_string(), Data::<K>::path(name));
        let Some(cause) = text.strip_prefix(&format!("{name} ({}): ", path.display())) else {
            return Err(format!("it does not begin with {name} and {}", path.display()));
        };
        let hopeless = "none of 16 others could be loaded in its place either: ";
        match self.plan.on_error {
            OnError::Substitute => match cause.strip_prefix(hopeless) {
                Some(cause) => check_cause(self, name, cause),
                None => Err(format!("it does not say {hopeless:?}")),
            },
            _ => check_cause(self, name, cause),
        }
    }

    /// Whether nothing of it may be left.
    pub fn may_be_empty(&self, batch: &Batch) -> bool {
        let is_good = |place: &Place| self.fortune(place.name) == Fortune::Good;
        self.plan.on_error == OnError::Skip && !batch.places.iter().any(is_good)
    }
}

fn is_of(error: &Error, name: Name) -> bool {
    (error.shard(), error.index()) == (name.shard, Some(name.index))
}
