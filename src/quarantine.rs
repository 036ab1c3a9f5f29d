//! `Quarantine`: the samples that could not be loaded, and why.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::guard::guarded;

/// The samples that a loader went on without ([`on_error`](crate::LoaderBuilder::on_error)), each once, in the order in
/// which the training loop came to them. Dereferences to a slice.
///
/// It is part of the [`LoaderState`](crate::LoaderState), so a run that goes on still knows them. Printed, it is a report:
///
/// ```text
/// 2 samples could not be loaded:
///   sample 17 (/data/train/cat/0017.jpg): the file is empty
///   sample 41 (/data/train/dog/0003.jpg): not an image of a known format
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine(Arc<Vec<Quarantined>>);

/// One sample that could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Quarantined {
    /// Its index in the dataset.
    pub index: usize,
    /// The shard that the index counts in, of an [`IterableDataset`](crate::IterableDataset).
    pub shard: Option<usize>,
    /// The absolute path of its file, if it has one.
    pub path: Option<PathBuf>,
    /// What went wrong.
    pub cause: String,
}

impl Quarantine {
    pub(crate) fn add(&mut self, sample: Quarantined) {
        Arc::make_mut(&mut self.0).push(sample);
    }
}

impl Deref for Quarantine {
    type Target = [Quarantined];

    fn deref(&self) -> &[Quarantined] {
        &self.0
    }
}

impl FromIterator<Quarantined> for Quarantine {
    fn from_iter<I: IntoIterator<Item = Quarantined>>(samples: I) -> Self {
        Quarantine(Arc::new(samples.into_iter().collect()))
    }
}

impl<'a> IntoIterator for &'a Quarantine {
    type Item = &'a Quarantined;
    type IntoIter = std::slice::Iter<'a, Quarantined>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Quarantined {
    pub(crate) fn of(error: &Error) -> Self {
        Quarantined {
            index: error.index().unwrap_or_default(),
            shard: error.shard(),
            path: error.path().map(PathBuf::from),
            cause: guarded("writing the error's text", || Ok(error.cause().to_string()))
                .unwrap_or_else(|panic| panic.cause().to_string()),
        }
    }
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            0 => return f.write_str("all samples could be loaded"),
            1 => f.write_str("1 sample could not be loaded:")?,
            count => write!(f, "{count} samples could not be loaded:")?,
        }
        self.iter().try_for_each(|sample| write!(f, "\n  {sample}"))
    }
}

/// As an [`Error`] is printed.
impl fmt::Display for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sample {}", self.index)?;
        if let Some(shard) = self.shard {
            write!(f, " of shard {shard}")?;
        }
        if let Some(path) = &self.path {
            write!(f, " ({})", path.display())?;
        }
        write!(f, ": {}", self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_report_names_every_sample_as_its_error_did() {
        let io = std::io::Error::other("gone");
        let error = Error::new(ErrorKind::Io, "cannot read the file").with_source(io).with_path("/a.jpg").with_index(3);
        let alone = Error::msg("no").with_index(7).with_shard(Some(2));
        let quarantine: Quarantine = [&error, &alone].map(Quarantined::of).into_iter().collect();
        assert_eq!(quarantine.to_string(), format!("2 samples could not be loaded:\n  {error}\n  {alone}"));
        assert_eq!(quarantine[0].cause, "cannot read the file: gone");
        assert_eq!(Quarantine::default().to_string(), "all samples could be loaded");
    }

    #[test]
    fn a_copy_is_of_the_time_when_it_was_taken() {
        let entry = Quarantined::of(&Error::msg("no").with_index(1));
        let mut quarantine = Quarantine::default();
        quarantine.add(entry.clone());
        let before = quarantine.clone();
        quarantine.add(Quarantined { index: 2, ..entry });
        assert_eq!((before.len(), quarantine.len()), (1, 2));
    }
}
