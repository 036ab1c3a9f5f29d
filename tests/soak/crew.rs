//! `Crew`: the loaders of a leg, one for each rank, and what must hold of them whenever nobody takes batches.

use std::collections::HashSet;
use std::mem::take;

use sutler::{Ledger, LoaderState, WorkerPool};

use crate::books::{Books, check_cause, named};
use crate::consume::Kept;
use crate::data::{Data, Name};
use crate::footprint::eventually;
use crate::kinds::Kind;
use crate::loading::{Loading, build};
use crate::oracle::Oracle;
use crate::plan::{Consumer, Leg, Plan, Workers};
use crate::tally::Tally;
use crate::{Check, ensure};

pub struct Crew<K: Kind> {
    pub leg: Leg,
    pub ranks: Vec<Rank<K>>,
}

pub struct Rank<K: Kind> {
    pub loader: Box<dyn Loading<K::Batch>>,
    pub books: Books,
    pub kept: Vec<Kept<K>>,
}

impl<K: Kind> Crew<K> {
    pub fn hire(plan: &Plan, leg: &Leg, data: &Data<K>) -> Check<Self> {
        let pool = match leg.workers {
            Workers::Shared(num_workers) => Some(WorkerPool::new(num_workers).map_err(|error| error.to_string())?),
            _ => None,
        };
        let hire = |rank| {
            let loader = build(plan, leg, rank, pool.as_ref(), data).map_err(|error| error.to_string())?;
            Ok(Rank { loader, books: Books::default(), kept: Vec::new() })
        };
        Ok(Crew { leg: *leg, ranks: (0..leg.ranks.unwrap_or(1)).map(hire).collect::<Check<_>>()? })
    }

    /// What its ranks have accounted for since the last time.
    pub fn ledger(&mut self) -> Ledger {
        self.ranks.iter_mut().map(|rank| take(&mut rank.books.ledger)).sum()
    }

    /// Nobody takes batches any more: what the loaders count is what came, and buffers are only in batches that are kept.
    pub fn settle(&self) -> Check {
        for Rank { loader, books, kept } in &self.ranks {
            books.check_stats(&loader.stats())?;
            let entries = loader.quarantine().len() as u64;
            ensure!(loader.stats().bad_samples == entries, "{entries} are in quarantine: {:?}", loader.stats());
            // Workers may still have a sample in hand, and the beginning of a batch.
            let live = (kept.len() * K::BUFFERS) as u64;
            let is_settled = eventually(|| loader.stats().buffers_live == live);
            ensure!(is_settled, "{} buffers are in use, in {} batches", loader.stats().buffers_live, kept.len());
        }
        Ok(())
    }

    /// Between two epochs, states are of the beginning of the next.
    pub fn check_states(&self, next: u64) -> Check {
        for Rank { loader, .. } in &self.ranks {
            let state = through_text(&loader.state().map_err(|error| error.to_string())?)?;
            ensure!((state.epoch(), state.position()) == (next, 0), "before epoch {next}: {state}");
            ensure!(*state.quarantine() == loader.quarantine(), "the state has another quarantine: {state}");
        }
        Ok(())
    }

    /// Lets go of the batches that are kept.
    pub fn release(&mut self) -> Check {
        for Rank { loader, kept, .. } in &mut self.ranks {
            kept.drain(..).try_for_each(Kept::release)?;
            let is_empty = eventually(|| loader.stats().buffers_live == 0 && loader.stats().buffer_bytes_live == 0);
            ensure!(is_empty, "all batches are gone, and not all buffers are back: {:?}", loader.stats());
        }
        Ok(())
    }

    /// Ends the loaders. Batches may outlive them.
    pub fn dismiss(mut self, plan: &Plan) -> Check<Tally> {
        if !matches!(plan.consumer, Consumer::Keeping { outlive: true, .. }) {
            self.release()?;
        }
        let mut tally = Tally::default();
        for Rank { loader, books, kept } in self.ranks {
            tally += books.tally;
            drop(loader);
            kept.into_iter().try_for_each(Kept::release)?;
        }
        Ok(tally)
    }
}

impl<K: Kind> Rank<K> {
    /// What several epochs have met is in quarantine, each sample once, in whatever order.
    pub fn check_quarantine(&self, oracle: &Oracle<'_, K>) -> Check {
        let quarantine = self.loader.quarantine();
        let found: HashSet<Name> = quarantine.iter().map(named).collect();
        ensure!(found.len() == quarantine.len(), "a sample is twice in quarantine: {quarantine}");
        let Books { met, perhaps_met, .. } = &self.books;
        let missing = met.iter().find(|name| !found.contains(name));
        ensure!(missing.is_none(), "{} is bad, and not in quarantine", missing.expect("one"));
        for entry in &quarantine {
            let name = named(entry);
            ensure!(met.contains(&name) || perhaps_met.contains(&name), "{entry} is in quarantine, and did not come");
            ensure!(entry.path.as_ref() == Some(&Data::<K>::path(name)), "{entry} has another path");
            check_cause(oracle, name, &entry.cause)?;
        }
        Ok(())
    }
}

/// A state, written and read.
pub fn through_text(state: &LoaderState) -> Check<LoaderState> {
    let text = state.to_string();
    let parsed: LoaderState = text.parse().map_err(|error| format!("{error}: {text}"))?;
    ensure!(parsed == *state, "written and read, {state} is {parsed}");
    Ok(parsed)
}
