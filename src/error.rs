//! The one error type: what went wrong, with which sample, and what to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// `std::result::Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the loader, or of user code that the loader called.
///
/// The text names the sample's index and its absolute path where they are known, then the cause, and what to do where
/// that is not plain:
///
/// ```text
/// sample 17 (/data/train/cat/0017.jpg): cannot read the file: Too many open files (os error 24): raise `ulimit -n`, or
/// use fewer workers
/// ```
///
/// Where two samples of a batch do not fit together, the text names the index of the other one as well.
///
/// The facts about the sample are there as values: [`kind`](Error::kind), [`index`](Error::index),
/// [`path`](Error::path), [`worker`](Error::worker), and the cause itself as [`source`](StdError::source). The text
/// already holds the source's text, so a report that walks the chain would print it twice.
pub struct Error(Box<Inner>);

// Boxed, because `Result<Sample>` is returned once a sample and should not grow by an error's size.
struct Inner {
    kind: ErrorKind,
    message: String,
    index: Option<usize>,
    shard: Option<usize>,
    batch: Vec<usize>,
    /// The shard that each of the batch is in, if it is in one.
    shards: Vec<usize>,
    path: Option<PathBuf>,
    worker: Option<usize>,
    slot: Option<usize>,
    rival: Option<Rival>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    is_shortage: bool,
}

/// The sample of the same batch that the one concerned does not fit. A collate knows its place in the batch only, and
/// the loader the index. The text around its name is kept until then: text and no function, because what may be the
/// user's (the `Debug` of a key) must not run where errors are reported.
struct Rival {
    slot: usize,
    /// How many slots the collate counts. A collate of the user's may use more than one for a sample.
    slots: usize,
    before: String,
    after: String,
}

// What `io::ErrorKind` does not name; every unix has had these numbers since the seventh edition.
const EIO: i32 = 5;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is missing, out of range, or contradicts another one.
    Config,
    /// A file or directory could not be read.
    Io,
    /// A file was read, but what it holds is not what it should be.
    Decode,
    /// The input is larger than the limits allow; nothing was allocated for it.
    Limit,
    /// A sampler gave an order that the dataset cannot serve.
    Sampler,
    /// The samples of a batch do not fit together.
    Collate,
    /// A batch did not come in the time that was set; it is not lost.
    Timeout,
    /// More samples could not be loaded than [`max_bad_samples`](crate::LoaderBuilder::max_bad_samples) or
    /// [`max_bad_share`](crate::LoaderBuilder::max_bad_share) allow to go on without.
    Budget,
    /// A saved state does not fit, or is none.
    State,
    /// User code (a dataset, a transform, a collate function) panicked.
    Panic,
    /// libtorch refused.
    Torch,
    /// An error of user code, made by [`Error::other`] or [`Error::msg`].
    Other,
}

impl Error {
    /// An error of the given kind with a message of its own.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            index: None,
            shard: None,
            batch: Vec::new(),
            shards: Vec::new(),
            path: None,
            worker: None,
            slot: None,
            rival: None,
            source: None,
            is_shortage: false,
        }))
    }

    /// There is no memory for something.
    pub(crate) fn no_memory(message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::Limit, message);
        error.0.is_shortage = true;
        error
    }

    /// An error about a sample that does not fit the one in slot `rival` of the same batch of `slots` slots. The text
    /// is `before`, what the rival is called, and `after`.
    pub(crate) fn clash(before: String, rival: usize, slots: usize, after: String) -> Self {
        let mut error =
            Self::new(ErrorKind::Collate, format!("{before}the sample in place {rival} of the batch{after}"));
        error.0.rival = Some(Rival { slot: rival, slots, before, after });
        error
    }

    /// An error that user code reports: `Err(Error::msg("no such label"))`.
    pub fn msg(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Other, message)
    }

    /// Wraps any error of user code; it stays reachable as [`source`](StdError::source).
    pub fn other(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Other, String::new()).with_source(source)
    }

    /// Adds the cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the path of the file concerned, unless one is there already: the innermost knows best.
    pub fn with_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.path.get_or_insert_with(|| path.into());
        self
    }

    /// Adds the index of the sample concerned, replacing one that is there: the outermost dataset's index is the
    /// one its user knows.
    pub fn with_index(mut self, index: usize) -> Self {
        self.0.index = Some(index);
        self
    }

    /// Adds the shard that the index counts in.
    pub(crate) fn with_shard(mut self, shard: Option<usize>) -> Self {
        self.0.shard = shard;
        self
    }

    /// Adds the samples of the batch concerned, where no single one is to blame: their indices, and shards if they are in any.
    pub(crate) fn with_batch(mut self, samples: impl Iterator<Item = (Option<usize>, usize)> + Clone) -> Self {
        self.0.batch = samples.clone().map(|(_, index)| index).collect();
        self.0.shards = samples.filter_map(|(shard, _)| shard).collect();
        self
    }

    /// Says where in the sample it happened, before what is said of it.
    pub(crate) fn within(mut self, place: &str) -> Self {
        let separator = if self.0.message.is_empty() { "" } else { ": " };
        self.0.message.insert_str(0, &format!("{place}{separator}"));
        if let Some(rival) = &mut self.0.rival {
            rival.before.insert_str(0, &format!("{place}: "));
        }
        self
    }

    /// Adds the place in the batch of the sample concerned, for a collate that finds out only when all are there.
    pub(crate) fn with_slot(mut self, slot: usize) -> Self {
        self.0.slot = Some(slot);
        self
    }

    /// The place in the batch of the rival of a [`clash`](Error::clash).
    pub(crate) fn rival(&self) -> Option<usize> {
        self.0.rival.as_ref().map(|rival| rival.slot)
    }

    /// Calls the rival of a [`clash`](Error::clash) by its name, if the batch's `samples` are what the collate counts.
    pub(crate) fn name_rival(mut self, samples: usize, name: impl fmt::Display) -> Self {
        if let Some(rival) = self.0.rival.take_if(|rival| rival.slots == samples) {
            let Rival { before, after, .. } = rival;
            self.0.message = format!("{before}{name} in the same batch{after}");
        }
        self
    }

    /// This error, of a sample more than may be bad, with the reason why it is not passed over.
    pub(crate) fn over_budget(mut self, reason: &str) -> Self {
        self.0.kind = ErrorKind::Budget;
        self.within(reason)
    }

    /// Adds the worker, unless one is there already: the one that met the error.
    pub(crate) fn with_worker(mut self, worker: Option<usize>) -> Self {
        self.0.worker = self.0.worker.or(worker);
        self
    }

    /// The place in the batch of the sample concerned, if that is all that is known of it.
    pub(crate) fn slot(&self) -> Option<usize> {
        self.0.slot
    }

    /// What went wrong, without the name of the sample.
    pub(crate) fn cause(&self) -> impl fmt::Display + '_ {
        Cause(self)
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The index of the sample, if the error is about one.
    pub fn index(&self) -> Option<usize> {
        self.0.index
    }

    /// The shard that the sample is in, where [`index`](Error::index) counts within one
    /// ([`IterableDataset`](crate::IterableDataset)).
    pub fn shard(&self) -> Option<usize> {
        self.0.shard
    }

    /// The indices of the batch's samples, if the error is about the batch as a whole; else empty. Of an
    /// [`IterableDataset`](crate::IterableDataset) they count within shards, which the text names.
    pub fn batch(&self) -> &[usize] {
        &self.0.batch
    }

    /// The absolute path of the file, if the error is about one.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The number of the worker thread it happened on; `None` in the caller's own thread.
    pub fn worker(&self) -> Option<usize> {
        self.0.worker
    }

    /// Whether it is no fault of the file: the system has run out of something, and another file would have failed as well.
    pub(crate) fn is_shortage(&self) -> bool {
        let of_system = |error: &io::Error| {
            error.kind() == io::ErrorKind::OutOfMemory
                || matches!(error.raw_os_error().filter(|_| cfg!(unix)), Some(ENFILE | EMFILE))
        };
        self.0.is_shortage || self.of_system().is_some_and(of_system)
    }

    /// The error of the system that it comes from, however far down: a dataset of the user's may have errors of its own.
    fn of_system(&self) -> Option<&io::Error> {
        const DEEPEST: usize = 16;
        let causes = std::iter::successors(self.source(), |&cause| cause.source());
        causes.take(DEEPEST).find_map(|cause| cause.downcast_ref::<io::Error>())
    }

    /// What to do about an error of the system, whoever met it: the crate, or a dataset of the user's.
    fn advice(&self) -> Option<&'static str> {
        let source = self.of_system()?;
        let code = source.raw_os_error().filter(|_| cfg!(unix))?;
        let is_of_file = self.0.path.is_some();
        match (code, source.kind()) {
            (EMFILE, _) => Some("raise `ulimit -n`, or use fewer workers"),
            (ENFILE, _) => Some("raise the system's limit (on Linux fs.file-max)"),
            (EIO, _) => Some("the system's log may say which disk failed, and how"),
            (_, io::ErrorKind::PermissionDenied) if is_of_file => {
                Some("give this user the right to read it, and to enter the directories above it")
            }
            (_, io::ErrorKind::InvalidFilename) if is_of_file => Some("move it to where its path is shorter"),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.0.index {
            write!(f, "sample {index}")?;
        }
        if let Some(shard) = self.0.shard {
            write!(f, " of shard {shard}")?;
        }
        match (self.0.index, &self.0.path) {
            (Some(_), Some(path)) => write!(f, " ({}): ", path.display())?,
            (Some(_), None) => f.write_str(": ")?,
            (None, None) if !self.0.batch.is_empty() => write!(f, "batch of {}: ", Samples(&self.0))?,
            (None, Some(path)) if !self.0.batch.is_empty() => {
                write!(f, "batch of {} ({}): ", Samples(&self.0), path.display())?;
            }
            (None, Some(path)) => write!(f, "{}: ", path.display())?,
            (None, None) => {}
        }
        write!(f, "{}", self.cause())
    }
}

struct Cause<'a>(&'a Error);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0.0;
        match (inner.message.as_str(), &inner.source) {
            ("", Some(source)) => write!(f, "{source}"),
            (message, Some(source)) => write!(f, "{message}: {source}"),
            (message, None) => f.write_str(message),
        }?;
        match self.0.advice() {
            Some(advice) => write!(f, ": {advice}"),
            None => Ok(()),
        }
    }
}

/// The samples of a batch, short enough for a message.
struct Samples<'a>(&'a Inner);

impl fmt::Display for Samples<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        let Inner { batch, shards, .. } = self.0;
        match batch[..] {
            [index] => write!(f, "sample {index}")?,
            _ if batch.len() <= SHOWN => write!(f, "samples {batch:?}")?,
            _ => write!(f, "{} samples, the first {:?}", batch.len(), &batch[..SHOWN])?,
        }
        match shards[..] {
            [] => Ok(()),
            [shard, ..] if shards.iter().all(|&other| other == shard) => write!(f, " of shard {shard}"),
            _ => write!(f, " of shards {:?}", &shards[..shards.len().min(SHOWN)]),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `unwrap()` and `main() -> Result` print this: the sentence serves better than the struct.
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Error::new(ErrorKind::Io, String::new()).with_source(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_index_path_and_cause_once() {
        let error = Error::new(ErrorKind::Io, "cannot read the file")
            .with_source(io::Error::new(io::ErrorKind::NotFound, "gone"))
            .with_path("/data/a.jpg")
            .with_index(17);
        assert_eq!(error.to_string(), "sample 17 (/data/a.jpg): cannot read the file: gone");
        assert_eq!(error.source().unwrap().to_string(), "gone");
        assert_eq!((error.kind(), error.index(), error.worker()), (ErrorKind::Io, Some(17), None));
    }

    #[test]
    fn the_innermost_path_and_the_outermost_index_win() {
        let error = Error::msg("no").with_path("/inner").with_path("/outer").with_index(3).with_index(9);
        assert_eq!(error.to_string(), "sample 9 (/inner): no");
    }

    #[test]
    fn a_rival_is_named_once_its_name_is_known() {
        let clash = || Error::clash("it is taller than ".into(), 2, 4, ": cut it".into()).with_index(7);
        let by_place = "sample 7: it is taller than the sample in place 2 of the batch: cut it";
        assert_eq!(clash().to_string(), by_place);
        let by_index = "sample 7: it is taller than sample 12 in the same batch: cut it";
        assert_eq!(clash().rival(), Some(2));
        assert_eq!(clash().name_rival(4, "sample 12").to_string(), by_index);
        assert_eq!(clash().name_rival(4, "sample 12").name_rival(4, 99).to_string(), by_index);
        // Slots that are not samples have no index.
        assert_eq!(clash().name_rival(2, 99).to_string(), by_place);
    }

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn a_system_that_has_run_out_of_something_is_found_below_errors_of_the_users() {
        #[derive(Debug)]
        struct Theirs(io::Error);
        impl fmt::Display for Theirs {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cannot open the archive")
            }
        }
        impl StdError for Theirs {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        let theirs = |error| Error::other(Theirs(error));
        assert!(Error::no_memory("no memory for an image").is_shortage());
        assert!(theirs(io::ErrorKind::OutOfMemory.into()).is_shortage());
        assert!(!theirs(io::ErrorKind::NotFound.into()).is_shortage() && !Error::msg("no").is_shortage());
        #[cfg(unix)]
        {
            let error = theirs(io::Error::from_raw_os_error(EMFILE));
            assert!(error.is_shortage());
            assert_eq!(error.to_string(), "cannot open the archive: raise `ulimit -n`, or use fewer workers");
        }
    }

    #[test]
    fn text_of_a_batch_names_its_first_samples_and_the_shards_that_they_are_in() {
        let text =
            |samples: &[(Option<usize>, usize)]| Error::msg("no").with_batch(samples.iter().copied()).to_string();
        assert_eq!(text(&[(None, 4)]), "batch of sample 4: no");
        assert_eq!(text(&[(None, 4), (None, 0)]), "batch of samples [4, 0]: no");
        assert_eq!(text(&[(Some(2), 4), (Some(2), 5)]), "batch of samples [4, 5] of shard 2: no");
        assert_eq!(text(&[(Some(2), 4), (Some(3), 0)]), "batch of samples [4, 0] of shards [2, 3]: no");
        let many: Vec<_> = (0..17).map(|index| (Some(index % 2), index)).collect();
        assert_eq!(
            text(&many),
            "batch of 17 samples, the first [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] of shards \
             [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]: no"
        );
    }

    #[cfg(unix)]
    #[test]
    fn text_says_what_to_do_behind_the_cause_where_there_is_something() {
        let text = |code| Error::from(io::Error::from_raw_os_error(code)).with_path("/data/a.jpg").to_string();
        for (code, advice) in [
            (24, "(os error 24): raise `ulimit -n`, or use fewer workers"),
            (23, "(os error 23): raise the system's limit (on Linux fs.file-max)"),
            (5, "(os error 5): the system's log may say which disk failed, and how"),
            (13, "(os error 13): give this user the right to read it, and to enter the directories above it"),
            (2, "(os error 2)"),
        ] {
            assert!(text(code).starts_with("/data/a.jpg: ") && text(code).ends_with(advice), "{}", text(code));
        }
        // What may not be read is not known to be a file.
        let other = Error::other(io::Error::from_raw_os_error(13)).to_string();
        assert!(other.ends_with("(os error 13)"), "{other}");
        // A dataset of the user's runs out of files as well.
        let other = Error::other(io::Error::from_raw_os_error(24)).to_string();
        assert!(other.ends_with("use fewer workers"), "{other}");
    }
}
