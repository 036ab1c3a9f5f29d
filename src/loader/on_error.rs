//! `OnError`: what becomes of a batch with a sample that cannot be loaded.

/// What becomes of a batch with a sample that cannot be loaded: whose file is damaged, say, or whose transform fails or
/// panics. Set by [`LoaderBuilder::on_error`](crate::LoaderBuilder::on_error).
///
/// This is about single samples. A batch whose samples do not fit together, that cannot be finished, or whose order has
/// indices that the dataset has not, is an `Err` in any case: no sample is to blame. A panic while a sample is put into the batch counts as that sample's, since it may write
/// itself there; a collate of your own that panics over every sample would so leave out every one. So would a transform that
/// is wrong: set a budget ([`max_bad_share`](crate::LoaderBuilder::max_bad_share)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnError {
    /// The batch is an `Err`, and the next one comes behind it.
    #[default]
    Fail,
    /// The batch comes without it, shorter by one. No other sample moves: which samples a batch has depends on none but its
    /// own. A batch of which nothing is left is left out, so an epoch may have fewer batches than its `len()`; ranks that
    /// must stay in step want `Substitute`.
    Skip,
    /// Another sample is in its place, drawn from the epoch's order by the sample's own generator: the same in every run
    /// with this seed and data, on any number of workers and ranks. If that one is bad as well, the next, up to sixteen.
    /// Needs a [`Dataset`](crate::Dataset): an iterable one has no other samples at hand.
    Substitute,
}
