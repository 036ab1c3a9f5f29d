//! A round: the loaders of a plan, epoch after epoch or all at once, and what must hold when they are through.

use std::any::Any;
use std::collections::VecDeque;
use std::mem::take;
use std::thread::{ScopedJoinHandle, scope};

use sutler::chaos::Gate;
use sutler::{Ledger, LoaderState};

use crate::books::Books;
use crate::consume::{Kept, Left, Visit};
use crate::crew::{Crew, Rank, through_text};
use crate::data::Data;
use crate::draw::Draw;
use crate::follow::Follower;
use crate::kinds::Kind;
use crate::loading::Loading;
use crate::oracle::{Batch, Deal, Oracle};
use crate::plan::{Content, Leg, Plan, Stop};
use crate::tally::Tally;
use crate::{Check, ensure};

pub fn run<K: Kind>(plan: &Plan) -> Check<Tally> {
    let gate = Gate::new();
    let data = Data::<K>::new(plan, &gate);
    let round = Round { plan, gate: &gate, data: &data, oracle: &Oracle::new(plan, &data) };
    let mut tally = if plan.at_once { round.at_once()? } else { round.in_turn()? };
    tally.add("rounds", 1);
    Ok(tally)
}

struct Round<'a, K> {
    plan: &'a Plan,
    gate: &'a Gate,
    data: &'a Data<K>,
    oracle: &'a Oracle<'a, K>,
}

/// Where a rank stands in an epoch.
struct Stand {
    deal: Deal,
    left: VecDeque<Batch>,
    /// `None` before the first batch.
    state: Option<LoaderState>,
    is_over: bool,
    /// Whether something of it came out of order: then there is no one place where it stands.
    is_vague: bool,
}

impl<K: Kind> Round<'_, K> {
    /// The epochs one after another, the last of them in legs.
    fn in_turn(&self) -> Check<Tally> {
        let mut tally = Tally::default();
        let mut legs = self.plan.legs.iter();
        let mut crew = self.hire(legs.next().expect("there is a leg"), &[])?;
        for epoch in 0..self.plan.epochs - 1 {
            let stands = self.beginning(&crew.leg, epoch)?;
            let stands = self.run(&mut crew, epoch, stands, None)?;
            self.check_ledger(are_over(&stands), crew.ledger())?;
            crew.release()?;
            crew.check_states(epoch + 1)?;
        }
        let epoch = self.plan.epochs - 1;
        let mut ledger = Ledger::default();
        let mut stands = self.beginning(&crew.leg, epoch)?;
        loop {
            let stop = crew.leg.stop;
            stands = self.run(&mut crew, epoch, stands, stop)?;
            ledger += crew.ledger();
            let Some(next) = legs.next() else { break };
            let leg = self.next_leg(&crew.leg, next, &stands);
            stands = self.hand_over(&leg, epoch, stands)?;
            tally += crew.dismiss(self.plan)?;
            tally.add("epochs gone on with", 1);
            crew = self.hire(&leg, &stands)?;
        }
        self.check_ledger(are_over(&stands), ledger)?;
        crew.release()?;
        crew.check_states(epoch + 1)?;
        // And the epoch behind it is the next one.
        let stands = self.beginning(&crew.leg, epoch + 1)?;
        self.run(&mut crew, epoch + 1, stands, Some(Stop { after: 2, panics: false }))?;
        tally += crew.dismiss(self.plan)?;
        Ok(tally)
    }

    /// All epochs of all ranks at the same time. They share the loaders, and so the quarantine of each.
    fn at_once(&self) -> Check<Tally> {
        let leg = self.plan.legs[0];
        let mut crew = self.hire(&leg, &[])?;
        let epochs = 0..self.plan.epochs;
        let stands = epochs.clone().map(|epoch| self.beginning(&leg, epoch)).collect::<Check<Vec<_>>>()?;
        let last = self.plan.epochs - 1;
        let served = scope(|scope| {
            let mut handles: Vec<Vec<_>> = Vec::new();
            for (epoch, stands) in epochs.zip(stands) {
                let stop = if epoch == last { Some(Stop { after: 4, panics: true }) } else { None };
                let mut of_epoch = Vec::new();
                for (rank, stand) in crew.ranks.iter().zip(stands) {
                    let follower = self.follower(&leg, epoch, stand.left, Books::default()).one_of_several();
                    let loader = &*rank.loader;
                    of_epoch.push(scope.spawn(move || self.serve(loader, epoch, None, follower, stop)));
                }
                handles.push(of_epoch);
            }
            handles.into_iter().map(|of_epoch| of_epoch.into_iter().map(join).collect()).collect::<Check<Vec<Vec<_>>>>()
        })?;
        for served in served {
            let is_over = served.iter().all(|served| served.left.is_over);
            let ledger = served.iter().map(|served| served.books.ledger).sum();
            for (rank, served) in crew.ranks.iter_mut().zip(served) {
                rank.books += served.books;
                rank.kept.extend(served.kept);
            }
            self.check_ledger(is_over, ledger)?;
        }
        crew.ranks.iter().try_for_each(|rank| rank.check_quarantine(self.oracle))?;
        crew.settle()?;
        crew.dismiss(self.plan)
    }

    /// Loaders that go on where the ranks stand, if those stand anywhere.
    fn hire(&self, leg: &Leg, stands: &[Stand]) -> Check<Crew<K>> {
        let mut crew = Crew::hire(self.plan, leg, self.data)?;
        for (Rank { books, .. }, stand) in crew.ranks.iter_mut().zip(stands) {
            books.known = stand.state.as_ref().map(|state| state.quarantine().clone()).unwrap_or_default();
            // Of what is left some may be over already: what was left out as a whole.
            books.is_vague = stand.is_vague;
        }
        Ok(crew)
    }

    fn beginning(&self, leg: &Leg, epoch: u64) -> Check<Vec<Stand>> {
        let beginning = |rank| {
            let deal = Deal::of(leg, rank, 0);
            Ok(Stand { deal, left: self.oracle.batches(epoch, &deal)?, state: None, is_over: false, is_vague: false })
        };
        (0..leg.ranks.unwrap_or(1)).map(beginning).collect()
    }

    /// All ranks run an epoch, each on a thread, from where they stand.
    fn run(&self, crew: &mut Crew<K>, epoch: u64, stands: Vec<Stand>, stop: Option<Stop>) -> Check<Vec<Stand>> {
        let leg = crew.leg;
        let stands = scope(|scope| {
            let mut handles = Vec::new();
            for (Rank { loader, books, kept }, stand) in crew.ranks.iter_mut().zip(stands) {
                let Stand { deal, left, state, is_vague, .. } = stand;
                let is_vague = is_vague || !leg.in_order;
                let follower = self.follower(&leg, epoch, left, take(books));
                let loader = &**loader;
                handles.push(scope.spawn(move || {
                    let served = self.serve(loader, epoch, state.as_ref(), follower, stop)?;
                    (*books, *kept) = (served.books, served.kept);
                    let Left { state, is_over } = served.left;
                    let had = if is_over { usize::MAX } else { served.had };
                    ensure!(state.epoch() == epoch, "a state of epoch {}, not {epoch}: {state}", state.epoch());
                    if is_over || !is_vague {
                        let reached = self.oracle.reached(epoch, &deal, had)?;
                        ensure!(
                            state.position() == reached,
                            "{had} batches reach {reached}, and the state says {state}"
                        );
                    }
                    ensure!(*state.quarantine() == loader.quarantine(), "the state has another quarantine: {state}");
                    Ok(Stand { deal, left: served.batches, state: Some(state), is_over, is_vague })
                }));
            }
            handles.into_iter().map(join).collect::<Check<Vec<_>>>()
        })?;
        self.gate.open();
        crew.settle()?;
        Ok(stands)
    }

    fn follower(&self, leg: &Leg, epoch: u64, left: VecDeque<Batch>, books: Books) -> Follower<'_, K> {
        Follower::new(self.oracle, epoch, left, leg.in_order, books)
    }

    fn serve(
        &self,
        loader: &dyn Loading<K::Batch>,
        epoch: u64,
        state: Option<&LoaderState>,
        mut follower: Follower<'_, K>,
        stop: Option<Stop>,
    ) -> Check<Served<K>> {
        let running = match state {
            None if self.plan.at_once => loader.start(Some(epoch)),
            None => loader.start(None),
            Some(state) => loader.resume(state).map_err(|error| format!("{error}\nby a loader of its own: {state}"))?,
        };
        let is_epoch = running.state().epoch();
        ensure!(is_epoch == epoch, "epoch {is_epoch} came, and {epoch} was next");
        let draw = Draw::new(self.plan.seed, epoch, 0);
        let mut visit = Visit { plan: self.plan, gate: self.gate, loader, stop, draw, kept: Vec::new() };
        let left = visit.consume(running, &mut follower)?;
        let had = follower.had();
        let kept = visit.kept;
        let (batches, books) = follower.into_left();
        Ok(Served { left, had, batches, books, kept })
    }

    /// The leg that was planned; with what the one before it makes impossible left as it was there.
    fn next_leg(&self, last: &Leg, planned: &Leg, stands: &[Stand]) -> Leg {
        let position = |stand: &Stand| stand.state.as_ref().map(LoaderState::position);
        // Ranks that left out whole batches need not stand at the same place; then each goes on by itself.
        let are_level = stands.iter().all(|stand| position(stand) == position(&stands[0]));
        let is_streamed = matches!(self.plan.content, Content::Streamed { .. });
        match !stands[0].is_vague && (are_level || is_streamed) {
            true => *planned,
            false => Leg { ranks: last.ranks, batch_size: last.batch_size, ..*planned },
        }
    }

    /// The state of each rank goes through text, to whoever has that number now.
    fn hand_over(&self, next: &Leg, epoch: u64, stands: Vec<Stand>) -> Check<Vec<Stand>> {
        let hand_over = |rank: usize| {
            let stand = &stands[rank % stands.len()];
            let state = stand.state.as_ref().expect("all ranks have left");
            let parsed = through_text(state)?;
            let deal = Deal::of(next, rank, parsed.position());
            let left = match stand.is_vague {
                false => self.oracle.batches(epoch, &deal)?,
                true => stand.left.clone(),
            };
            Ok(Stand { deal, left, state: Some(parsed), is_over: false, is_vague: stand.is_vague })
        };
        (0..next.ranks.unwrap_or(1)).map(hand_over).collect()
    }

    /// Each sample came once in an epoch that is over, if the order has each once.
    fn check_ledger(&self, is_over: bool, ledger: Ledger) -> Check {
        let expected = self.oracle.ledger().filter(|_| is_over);
        ensure!(expected.is_none_or(|all| all == ledger), "not every sample came exactly once: {ledger}");
        Ok(())
    }
}

/// What came of an epoch.
struct Served<K: Kind> {
    left: Left,
    had: usize,
    batches: VecDeque<Batch>,
    books: Books,
    kept: Vec<Kept<K>>,
}

fn are_over(stands: &[Stand]) -> bool {
    stands.iter().all(|stand| stand.is_over)
}

fn join<T>(thread: ScopedJoinHandle<'_, Check<T>>) -> Check<T> {
    thread.join().unwrap_or_else(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        Err(format!("a consumer panicked: {}", text.unwrap_or("and said nothing")))
    })
}
