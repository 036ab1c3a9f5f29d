//! What an error is told of the samples that it is about.

use std::path::PathBuf;

use super::OnError;
use super::bad::Bad;
use super::line::Line;
use super::source::Source;
use super::watch::SampleName;
use crate::collate::Collate;
use crate::error::Error;
use crate::guard::guarded;

impl<S, C> Line<S, C>
where
    S: Source,
    C: Collate<S::Sample> + 'static,
{
    /// Adds what is known of the sample in `slot`.
    #[cold]
    pub(super) fn with_sample(&self, error: Error, work: &S::Work, slot: usize) -> Error {
        let error = error.with_worker(self.worker());
        // The order may be the user's.
        let Ok(name) = guarded("the order", || Ok(self.source.name(work, slot))) else { return error };
        // What counts the samples that are there does not count slots.
        let counts_slots = self.shared.bad_samples.on_error == OnError::Fail;
        let rival = error.rival().filter(|&rival| counts_slots && rival < self.source.len(work));
        let rival = rival.and_then(|rival| guarded("the order", || Ok(self.source.name(work, rival))).ok());
        let error = match rival {
            Some(rival) => error.name_rival(self.source.len(work), rival),
            None => error,
        };
        self.named(error, name)
    }

    /// Adds the name of the sample concerned.
    pub(super) fn named(&self, error: Error, name: SampleName) -> Error {
        let error = error.with_worker(self.worker()).with_index(name.index).with_shard(name.shard);
        match self.path(name) {
            Some(path) => error.with_path(path),
            None => error,
        }
    }

    /// The path of a sample, as far as the dataset knows it. It has just failed, or is stuck; asking it for a path may
    /// fail as well.
    pub(super) fn path(&self, name: SampleName) -> Option<PathBuf> {
        guarded("the path", || Ok(self.source.path(name))).ok().flatten()
    }

    /// Adds the names of a batch's samples.
    #[cold]
    pub(super) fn with_batch(&self, error: Error, work: &S::Work) -> Error {
        let names = guarded("the order", || Ok(self.names(work, &[])));
        error.with_batch(names.unwrap_or_default().iter().map(SampleName::parts)).with_worker(self.worker())
    }

    /// The samples of a batch, as it was made.
    pub(super) fn names(&self, work: &S::Work, bad: &[Bad]) -> Vec<SampleName> {
        let name = |slot| {
            let name = self.source.name(work, slot);
            match bad.iter().find(|bad| bad.slot == slot) {
                Some(bad) => bad.substitute.map(|index| SampleName { index, ..name }),
                None => Some(name),
            }
        };
        (0..self.source.len(work)).filter_map(name).collect()
    }
}
