//! `Follower`: compares what an epoch gives with what the oracle says, batch by batch.

use std::collections::{HashSet, VecDeque};

use sutler::chaos::Fault;
use sutler::{Error, ErrorKind, OnError, Quarantine};

use crate::books::{Books, Entries, Passed, check_cause, named};
use crate::data::{Data, Name};
use crate::kinds::Kind;
use crate::oracle::{Batch, Fortune, Oracle, Place};
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

/// How a batch of the order became what it is.
#[derive(Default)]
struct Met {
    /// Its bad samples, in the order in which they enter the quarantine.
    bad: Vec<Name>,
    left_out: usize,
    replaced: usize,
    /// What `indices()` and `padding()` should be.
    indices: Vec<usize>,
    padding: usize,
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
        let expected = self.left.len();
        ensure!(
            !self.in_order || left.is_none_or(|left| left == expected),
            "{left:?} are left, and should be {expected}"
        );
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
        let is_it = |batch: &Batch| names(batch).map(|name| name.index).eq(indices.iter().copied());
        let Some(place) = self.left.iter().position(is_it) else {
            return Err(format!("a batch was given up that is not there: {indices:?}"));
        };
        let due = self.left.iter().position(|batch| !self.may_be_empty(batch)).unwrap_or(usize::MAX);
        ensure!(place <= due, "{indices:?} were given up before their turn");
        let (passed, batch) = self.remove(place);
        self.count(&batch, &Met::default());
        self.books.tally.add("batches given up", 1);
        // The samples that are stuck come last.
        let is_stuck =
            |name: &Name, cause: &str| indices.contains(&name.index) && cause.starts_with("it did not return within");
        let (stuck, others): (Vec<_>, Vec<_>) =
            quarantine.iter().cloned().partition(|entry| is_stuck(&named(entry), &entry.cause));
        ensure!(quarantine.ends_with(&stuck), "{stuck:?} did not enter the quarantine behind the others");
        self.books.met.extend(stuck.iter().map(named));
        self.enter(Entries { passed, own: &[], error: None }, &others.into_iter().collect())?;
        self.books.known = quarantine.clone();
        Ok(())
    }

    /// There are no more batches.
    pub fn ended(&mut self, quarantine: &Quarantine) -> Check {
        let missing = self.left.iter().find(|batch| !self.may_be_empty(batch));
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
                self.left.iter().filter(|batch| self.may_be_empty(batch)).flat_map(names).collect();
            self.books.is_vague |= !perhaps.is_empty();
            self.books.perhaps_met.extend(perhaps);
        }
        (self.left, self.books)
    }

    /// Which of the batches that are left this is. In order it is the first, but for those of which nothing may be left.
    fn find(&self, item: &Item<'_>) -> Check<(usize, Met)> {
        let mut why_not = "it comes behind the last batch".to_string();
        for (place, batch) in self.left.iter().enumerate() {
            match self.explain(batch, item) {
                Ok(met) => return Ok((place, met)),
                Err(why) if place == 0 || self.in_order => why_not = format!("{why}\ndue is {}", listed(batch)),
                Err(_) => {}
            }
            if self.in_order && !self.may_be_empty(batch) {
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
            false => Passed::Some(self.left.iter().filter(|batch| self.may_be_empty(batch)).flat_map(names).collect()),
        };
        (passed, batch)
    }

    /// A batch is over of which nothing was left.
    fn pass(&mut self, batch: &Batch) -> Vec<Name> {
        let met = Met { bad: names(batch).collect(), left_out: batch.places.len(), ..Met::default() };
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

    /// How this batch of the order can have become what came; or why it cannot.
    fn explain(&self, batch: &Batch, item: &Item<'_>) -> Check<Met> {
        match (&item.rows, self.oracle.plan.on_error) {
            (Ok(rows), OnError::Fail) => self.explain_whole(batch, rows),
            (Ok(rows), OnError::Skip) => self.explain_shorter(batch, rows),
            (Ok(rows), _) => self.explain_replaced(batch, rows),
            (Err(error), on_error) => {
                let indices: Vec<usize> = names(batch).map(|name| name.index).collect();
                let differ = item.indices.as_ref().is_some_and(|(had, _)| *had != indices);
                ensure!(!differ, "an error of another batch");
                let met = match (error.kind(), on_error) {
                    (_, OnError::Fail) => self.explain_failed(batch, error),
                    (ErrorKind::Budget, _) => self.explain_beyond(batch, error),
                    (_, OnError::Skip) => Err("what should be left out is an error".into()),
                    _ => self.explain_hopeless(batch, error),
                }?;
                // All of them, whatever became of each.
                let padding = batch.places.iter().filter(|place| place.is_padding).count();
                Ok(Met { indices, padding, ..met })
            }
        }
    }

    fn explain_whole(&self, batch: &Batch, rows: &[u64]) -> Check<Met> {
        ensure!(rows.len() == batch.places.len(), "it should have {} samples", batch.places.len());
        let mut met = Met::default();
        for (place, row) in batch.places.iter().zip(rows) {
            ensure!(self.fortune(place) != Fortune::Bad, "{} is bad, and the batch no error", place.name);
            self.keep(place, *row, &mut met)?;
        }
        Ok(met)
    }

    fn explain_shorter(&self, batch: &Batch, rows: &[u64]) -> Check<Met> {
        let (mut met, mut rows) = (Met::default(), rows.iter().copied().peekable());
        for place in &batch.places {
            let fortune = self.fortune(place);
            let row = rows.peek().copied();
            match row {
                Some(row) if fortune != Fortune::Bad && self.digest(place)? == row => {
                    rows.next();
                    self.keep(place, row, &mut met)?;
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

    fn explain_replaced(&self, batch: &Batch, rows: &[u64]) -> Check<Met> {
        ensure!(rows.len() == batch.places.len(), "it should have {} samples", batch.places.len());
        let mut met = Met::default();
        for (place, row) in batch.places.iter().zip(rows) {
            if self.fortune(place) == Fortune::Good {
                self.keep(place, *row, &mut met)?;
                continue;
            }
            let stand_in = self.oracle.stand_in(self.epoch, place)?;
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

    fn keep(&self, place: &Place, row: u64, met: &mut Met) -> Check {
        ensure!(
            self.digest(place)? == row,
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
        for place in batch.places.iter().filter(|place| self.fortune(place) != Fortune::Good) {
            if is_of(error, place.name) {
                self.check_error(place.name, error)?;
                return Ok(Met::default());
            }
            ensure!(self.fortune(place) == Fortune::Moody, "the first bad sample is {}", place.name);
        }
        Err("no sample of it is bad".into())
    }

    /// The error is of the first sample that nothing can stand in for; those before it are in quarantine.
    fn explain_hopeless(&self, batch: &Batch, error: &Error) -> Check<Met> {
        let mut met = Met::default();
        for place in batch.places.iter().filter(|place| self.fortune(place) != Fortune::Good) {
            let stand_in = self.oracle.stand_in(self.epoch, place)?;
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
    fn explain_beyond(&self, batch: &Batch, error: &Error) -> Check<Met> {
        let mut met = Met::default();
        for place in batch.places.iter().filter(|place| self.fortune(place) != Fortune::Good) {
            if self.oracle.plan.on_error == OnError::Skip {
                met.left_out += 1;
                met.bad.push(place.name);
                continue;
            }
            let stand_in = self.oracle.stand_in(self.epoch, place)?;
            if stand_in.found.is_none() {
                // It would have been an error in any case.
                met.replaced = 0;
                break;
            }
            met.replaced += 1;
            met.bad.push(place.name);
            met.bad.extend(&stand_in.tried);
        }
        ensure!(met.bad.iter().any(|name| is_of(error, *name)), "the error is of another sample");
        Ok(met)
    }

    /// Whether an error says what befell a sample.
    fn check_error(&self, name: Name, error: &Error) -> Check {
        let (fault, kind) = (self.oracle.fate(name).fault, error.kind());
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
        let hopeless = "nor could 16 others be loaded in its place: ";
        match self.oracle.plan.on_error {
            OnError::Substitute => match cause.strip_prefix(hopeless) {
                Some(cause) => check_cause(self.oracle, name, cause),
                None => Err(format!("it does not say {hopeless:?}")),
            },
            _ => check_cause(self.oracle, name, cause),
        }
    }

    /// Whether nothing of it may be left.
    fn may_be_empty(&self, batch: &Batch) -> bool {
        let is_good = |place| self.fortune(place) == Fortune::Good;
        self.oracle.plan.on_error == OnError::Skip && !batch.places.iter().any(is_good)
    }

    fn fortune(&self, place: &Place) -> Fortune {
        self.oracle.fortune(place.name)
    }

    fn digest(&self, place: &Place) -> Check<u64> {
        self.oracle.digest(self.epoch, place)
    }
}

fn names(batch: &Batch) -> impl Iterator<Item = Name> + '_ {
    batch.places.iter().map(|place| place.name)
}

fn listed(batch: &Batch) -> String {
    names(batch).map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

fn is_of(error: &Error, name: Name) -> bool {
    (error.shard(), error.index()) == (name.shard, Some(name.index))
}
