//! `Mark`: where an epoch stands after a batch.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use super::LoaderState;
use super::delivery::Delivered;
use super::indexed::Indexed;
use super::last::Last;
use super::line::Line;
use super::orders::Orders;
use super::state::OutOfOrder;
use super::streamed::Streamed;
use crate::collate::Collate;
use crate::dataset::{Dataset, IterableDataset};

/// Where an epoch stands: what its consumer has had. Cheap to take; what is asked of it is computed when it is asked.
pub struct Mark<D: Dataset + 'static, C: Collate<D::Sample>> {
    pub(super) line: Arc<Line<Indexed<D>, C>>,
    pub(super) orders: Arc<Orders>,
    pub(super) in_order: bool,
    pub(super) delivered: Delivered,
    /// How many samples were in quarantine.
    pub(super) bad_samples: usize,
    pub(super) last: Last,
}

impl<D: Dataset + 'static, C: Collate<D::Sample>> Mark<D, C> {
    /// The state between the batch that was delivered last and the next one.
    pub(crate) fn state(&self) -> LoaderState {
        let batches = &self.line.source.batches;
        let first = batches.number(self.delivered.first);
        let beyond = self.delivered.beyond.iter().map(|&batch| batches.number(batch));
        let beyond: BTreeSet<usize> = beyond.chain(batches.had_beyond(first)).collect();
        // Out of order, ranks do not stand at the same place: the state is then this rank's alone.
        let dealing = batches.dealing();
        let is_own = !self.in_order && dealing.world_size > 1;
        let out_of_order = (!beyond.is_empty() || is_own)
            .then(|| OutOfOrder { batches: beyond.iter().map(|batch| batch - first).collect(), dealing });
        let state = LoaderState::new(&self.line.source.data, &self.orders, self.line.source.epoch, batches);
        let quarantine = self.line.shared.bad_samples.first(self.bad_samples);
        LoaderState { position: batches.reached(first), out_of_order, quarantine, ..state }
    }

    /// The indices of the samples of the last batch.
    pub(crate) fn indices(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.line.source.indices(&self.last)
    }

    /// How many samples at the end of the last batch are padding.
    pub(crate) fn padding(&self) -> usize {
        self.last.padding()
    }
}

/// Where an iterable epoch stands.
pub struct StreamMark<I: IterableDataset + 'static, C: Collate<I::Sample>> {
    pub(super) line: Arc<Line<Streamed<I>, C>>,
    /// But for the fingerprint of the data and the quarantine.
    pub(super) state: LoaderState,
    pub(super) fingerprint: Arc<OnceLock<u64>>,
    /// How many samples were in quarantine.
    pub(super) bad_samples: usize,
}

impl<I: IterableDataset + 'static, C: Collate<I::Sample>> StreamMark<I, C> {
    /// The state between the batch that was delivered last and the next one. Panics if the dataset does over its fingerprint.
    pub(crate) fn state(&self) -> LoaderState {
        let Line { source, shared, .. } = &*self.line;
        let dataset = *self.fingerprint.get_or_init(|| source.dataset.fingerprint());
        LoaderState { dataset, quarantine: shared.bad_samples.first(self.bad_samples), ..self.state.clone() }
    }
}

impl<I: IterableDataset + 'static, C: Collate<I::Sample>> std::fmt::Debug for StreamMark<I, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamMark").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<D: Dataset + 'static, C: Collate<D::Sample>> std::fmt::Debug for Mark<D, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mark").field("delivered", &self.delivered).finish_non_exhaustive()
    }
}
