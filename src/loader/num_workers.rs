//! `NumWorkers`: how many threads load samples.

/// How many threads load samples; set by [`LoaderBuilder::num_workers`](crate::LoaderBuilder::num_workers), which takes
/// a number as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NumWorkers {
    /// This many; 0 is the caller's own thread.
    Fixed(usize),
    /// The fewest that keep the training loop fed, or where it cannot be fed, the fewest that load about as fast as
    /// any number does.
    ///
    /// The loader starts with one, watches how long `next()` waits and how many batches come, doubles the number for as
    /// long as that helps, and then closes in on the fewest that are as good; that takes a few hundred batches. Later
    /// it does so again when things have changed. It may be more than there are cores, up to four times as many (and
    /// sixteen at least), where samples wait for storage. [`Stats::num_workers`](crate::Stats::num_workers) tells how
    /// many they are.
    Auto,
    /// A number below zero, to be refused when the loader is built.
    #[doc(hidden)]
    Negative,
}

impl NumWorkers {
    pub(super) fn is_negative(self) -> bool {
        self == NumWorkers::Negative
    }

    /// Whether there are any.
    pub(super) fn is_some(self) -> bool {
        self != NumWorkers::Fixed(0)
    }
}

impl From<usize> for NumWorkers {
    fn from(number: usize) -> Self {
        NumWorkers::Fixed(number)
    }
}

/// For a number in the code, which is an `i32` where nothing else is said.
impl From<i32> for NumWorkers {
    fn from(number: i32) -> Self {
        usize::try_from(number).map_or(NumWorkers::Negative, NumWorkers::Fixed)
    }
}
