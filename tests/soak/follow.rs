//! `Follower`: compares what an epoch gives with what the oracle says, batch by batch.

use std::collections::{HashSet, VecDeque};

use sutler::chaos::Fault;
use sutler::{Error, ErrorKind, OnError, Quarantine, Quarantined};

use crate::books::{Books, Entries, Passed, named};
use crate::data::Name;
use crate::explain::Met;
use crate::kinds::Kind;
use crate::oracle::{Batch, Oracle};
use crate::{Check, ensure};

/// What the consumer got: a digest of each sample of a batch, or an error; and the `indices()` and the `padding()` of the
/// epoch, if it has some.
pub struct Item<'a> {
    pub rows: Result<Vec<u64>, &'a Error>,
    pub indices: Option<(Vec<usize>, usize)>,
}

pub struct Follower<'a, K> {
    oracle: &'a Oracle<'a, K>,
    epoch: u64,
    in_order: bool,
    /// Whether it is the only epoch of its loader at this time, and so the only one to fill the quarantine.
    is_alone: bool,
    /// The batches that did not come yet.
    left: VecDeque<Batch>,
    /// How many are over: they came, or nothing was left of them.
    had: usize,
    pub books: Books,
}

impl<'a, K: Kind> Follower<'a, K> {
    pub fn new(oracle: &'a Oracle<'a, K>, epoch: u64, left: VecDeque<Batch>, in_order: bool, books: Books) -> Self {
        Follower { oracle, epoch, in_order, is_alone: true, left, had: 0, books }
    }

    /// Other epochs of the loader run at the same time.
    pub fn one_of_several(self) -> Self {
        Follower { is_alone: false, ..self }
    }

    pub fn had(&self) -> usize {
        self.had
    }

    /// Whether the epoch says how many batches are left. (Out of order, it may have left out some as a whole.)
    pub fn check_left(&self, left: Option<usize>) -> Check {
        let Some(left) = left.filter(|_| self.in_order && !self.books.is_vague) else { return Ok(()) };
        ensure!(left == self.left.len(), "{left} batches are left, and should be {}", self.left.len());
        Ok(())
    }

    pub fn timed_out(&mut self) {
        self.books.errors += 1;
        self.books.tally.add("timeouts", 1);
    }

    /// The consumer got this.
    pub fn took(&mut self, item: &Item<'_>, quarantine: &Quarantine) -> Check {
        let (place, met) = self.find(item)?;
        if let Some((indices, padding)) = &item.indices {
            let (expected, expected_padding) = (&met.indices, met.padding);
            ensure!(indices == expected, "indices() are {indices:?}, and should be {expected:?}");
            ensure!(*padding == expected_padding, "padding() is {padding}, and should be {expected_padding}");
        }
        let (passed, batch) = self.remove(place);
        self.count(&batch, &met);
        let error = item.rows.as_ref().err().copied();
        let tally = &mut self.books.tally;
        match &item.rows {
            Ok(rows) => {
                self.books.batches += 1;
                tally.add("batches", 1);
                tally.add("samples", rows.len());
            }
            Err(error) => {
                self.books.errors += 1;
                tally.add("failed batches", 1);
                tally.add("failed batches: beyond the budget", usize::from(error.kind() == ErrorKind::Budget));
            }
        }
        self.enter(Entries { passed, own: &met.bad, error }, quarantine)
    }

    /// The consumer has given up the batch that was due.
    pub fn gave_up(&mut self, indices: &[usize], quarantine: &Quarantine) -> Check {
        let is_it = |batch: &Batch| batch.names().map(|name| name.index).eq(indices.iter().copied());
        let Some(place) = self.left.iter().position(is_it) else {
            return Err(format!("a batch was given up that is not there: {indices:?}"));
        };
        let due = self.left.iter().position(|batch| !self.oracle.may_be_empty(batch)).unwrap_or(usize::MAX);
        ensure!(place <= due, "{indices:?} were given up before their turn");
        let (passed, batch) = self.remove(place);
        self.count(&batch, &Met::default());
        self.books.tally.add("batches given up", 1);
        // The samples that were being loaded come last. In the place of a bad one it may have been any other.
        let may_stand_in = self.oracle.plan.on_error == OnError::Substitute;
        let is_of_it = |index: usize| indices.contains(&index) || may_stand_in;
        let is_stuck =
            |entry: &Quarantined| is_of_it(entry.index) && entry.cause.starts_with("it did not return within");
        let known = self.books.known.len().min(quarantine.len());
        let stuck: Vec<_> = quarantine[known..].iter().filter(|entry| is_stuck(entry)).cloned().collect();
        ensure!(quarantine.ends_with(&stuck), "{stuck:?} did not enter the quarantine behind the others");
        let others = quarantine[..quarantine.len() - stuck.len()].iter().cloned().collect();
        self.books.met.extend(stuck.iter().map(named));
        self.enter(Entries { passed, own: &[], error: None }, &others)?;
        self.books.known = quarantine.clone();
        Ok(())
    }

    /// There are no more batches.
    pub fn ended(&mut self, quarantine: &Quarantine) -> Check {
        let missing = self.left.iter().find(|batch| !self.oracle.may_be_empty(batch));
        ensure!(missing.is_none(), "the epoch is over, and this batch did not come: {}", listed(missing.expect("one")));
        let mut passed = Vec::new();
        while let Some(batch) = self.left.pop_front() {
            passed.extend(self.pass(&batch));
        }
        let passed = match self.in_order {
            true => Passed::All(passed),
            false => Passed::Some(passed.into_iter().collect()),
        };
        self.enter(Entries { passed, own: &[], error: None }, quarantine)?;
        let found: HashSet<Name> = quarantine.iter().map(named).collect();
        let lost = self.books.met.iter().find(|name| !found.contains(name));
        ensure!(lost.is_none(), "{} is bad, and not in quarantine", lost.expect("one"));
        Ok(())
    }

    /// The consumer has left; gives the batches that did not come, and what the loader should say of itself.
    pub fn into_left(mut self) -> (VecDeque<Batch>, Books) {
        // Of what was left out as a whole and out of order, nobody can say whether it is over.
        if !self.in_order {
            let perhaps: Vec<Name> =
                self.left.iter().filter(|batch| self.oracle.may_be_empty(batch)).flat_map(Batch::names).collect();
            self.books.is_vague |= !perhaps.is_empty();
            self.books.perhaps_met.extend(perhaps);
        }
        (self.left, self.books)
    }

    /// Which of the batches that are left this is. In order it is the first, but for those of which nothing may be left.
    fn find(&self, item: &Item<'_>) -> Check<(usize, Met)> {
        let mut why_not = "it comes behind the last batch".to_string();
        for (place, batch) in self.left.iter().enumerate() {
            match self.oracle.explain(self.epoch, batch, item) {
                Ok(met) => return Ok((place, met)),
                Err(why) if place == 0 || self.in_order => why_not = format!("{why}\ndue is {}", listed(batch)),
                Err(_) => {}
            }
            if self.in_order && !self.oracle.may_be_empty(batch) {
                break;
            }
        }
        let what = match &item.rows {
            Ok(rows) => format!("a batch of {} samples", rows.len()),
            Err(error) => format!("an error ({error})"),
        };
        let others = if self.in_order { "" } else { ", nor is it one of the others that are left" };
        Err(format!("{what}, {:?}, is wrong: {why_not}{others}", item.indices))
    }

    /// Takes a batch from those that are left. In order, those before it are over as well.
    fn remove(&mut self, place: usize) -> (Passed, Batch) {
        let mut passed = Vec::new();
        if self.in_order {
            for _ in 0..place {
                let batch = self.left.pop_front().expect("it was found behind this one");
                passed.extend(self.pass(&batch));
            }
        }
        let place = if self.in_order { 0 } else { place };
        let batch = self.left.remove(place).expect("it was found");
        let passed = match self.in_order {
            true => Passed::All(passed),
            false => Passed::Some(
                self.left.iter().filter(|batch| self.oracle.may_be_empty(batch)).flat_map(Batch::names).collect(),
            ),
        };
        (passed, batch)
    }

    /// A batch is over of which nothing was left.
    fn pass(&mut self, batch: &Batch) -> Vec<Name> {
        let met = Met { bad: batch.names().collect(), left_out: batch.places.len(), ..Met::default() };
        self.count(batch, &met);
        self.books.met.extend(&met.bad);
        met.bad
    }

    fn enter(&mut self, entries: Entries<'_>, quarantine: &Quarantine) -> Check {
        self.books.met.extend(entries.own);
        match self.is_alone {
            true => self.books.enter(self.oracle, entries, quarantine),
            false => Ok(()),
        }
    }

    fn count(&mut self, batch: &Batch, met: &Met) {
        self.had += 1;
        let Books { ledger, tally, left_out, replaced, .. } = &mut self.books;
        ledger.extend(batch.places.iter().filter(|place| !place.is_padding).map(|place| place.name.id()));
        *left_out += met.left_out as u64;
        *replaced += met.replaced as u64;
        tally.add("samples left out", met.left_out);
        tally.add("samples replaced", met.replaced);
        for place in &batch.places {
            let fate = self.oracle.fate(place.name);
            tally.add("late samples", usize::from(fate.delay.is_some()));
            match fate.fault {
                None => {}
                Some(Fault::Error) => tally.add("bad samples: errors", 1),
                Some(Fault::Panic) => tally.add("bad samples: panics", 1),
                Some(Fault::Truncation) => tally.add("bad samples: truncations", 1),
                Some(_) => tally.add("bad samples: transients", usize::from(met.bad.contains(&place.name))),
            }
        }
    }
}

fn listed(batch: &Batch) -> String {
    batch.names().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}
