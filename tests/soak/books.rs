//! `Books`: what a loader should say of itself, its quarantine above all.

use std::collections::HashSet;
use std::ops::AddAssign;

use sutler::chaos::Fault;
use sutler::{Error, ErrorKind, Ledger, Quarantine, Quarantined, Stats};

use crate::data::{Data, Name};
use crate::kinds::Kind;
use crate::oracle::Oracle;
use crate::tally::Tally;
use crate::{Check, ensure};

#[derive(Default)]
pub struct Books {
    /// What is in the quarantine.
    pub known: Quarantine,
    /// All bad samples that its batches have met,
    pub met: HashSet<Name>,
    /// and those of which it cannot be told: of batches out of order, of which nothing is left.
    pub perhaps_met: HashSet<Name>,
    /// Every place of the order that is over, padding left out.
    pub ledger: Ledger,
    pub batches: u64,
    pub errors: u64,
    pub left_out: u64,
    pub replaced: u64,
    /// Whether it is known for sure how many were left out.
    pub is_vague: bool,
    pub tally: Tally,
}

/// The bad samples that entered the quarantine.
pub struct Entries<'a> {
    /// Those of batches of which nothing was left: these, in this order, or some of these.
    pub passed: Passed,
    /// Those of the batch that came,
    pub own: &'a [Name],
    /// if one came, and as this error if it was one.
    pub error: Option<&'a Error>,
}

pub enum Passed {
    All(Vec<Name>),
    Some(HashSet<Name>),
}

impl Books {
    /// Checks what has entered the quarantine, and writes it down.
    pub fn enter<K: Kind>(&mut self, oracle: &Oracle<'_, K>, entries: Entries<'_>, quarantine: &Quarantine) -> Check {
        let Entries { passed, own, error } = entries;
        let before = self.known.len();
        ensure!(quarantine.get(..before) == Some(&self.known[..]), "the quarantine has lost something: {quarantine}");
        let new = &quarantine[before..];
        for entry in new {
            let path = Data::<K>::path(named(entry));
            ensure!(entry.path.as_ref() == Some(&path), "{entry}: its path should be {path:?}");
            check_cause(oracle, named(entry), &entry.cause)?;
        }
        let new: Vec<Name> = new.iter().map(named).collect();
        let mut known: HashSet<Name> = self.known.iter().map(named).collect();
        match passed {
            Passed::All(passed) => {
                let met = passed.iter().chain(own).copied();
                let expected: Vec<Name> = met.filter(|name| known.insert(*name)).collect();
                let differ = (0..new.len().max(expected.len())).find(|&place| new.get(place) != expected.get(place));
                if let Some(place) = differ {
                    let (entry, expected) = (new.get(place), expected.get(place));
                    return Err(format!("{entry:?} entered the quarantine, and should be {expected:?}"));
                }
            }
            Passed::Some(passed) => {
                let early = new.iter().find(|name| !own.contains(name) && !passed.contains(name));
                ensure!(early.is_none(), "{early:?} is in quarantine, and its batch did not come");
                known.extend(&new);
                let missing = own.iter().find(|name| !known.contains(name));
                ensure!(missing.is_none(), "{missing:?} is bad, and did not enter the quarantine");
            }
        }
        self.known = quarantine.clone();
        check_budget(oracle.plan.limit(), quarantine, own, error)
    }

    /// Whether the loader has counted the same.
    pub fn check_stats(&self, stats: &Stats) -> Check {
        let counted = (stats.batches, stats.errors, stats.substituted);
        let expected = (self.batches, self.errors, self.replaced);
        ensure!(counted == expected, "batches, errors, replaced: {expected:?} came, and the loader counts {counted:?}");
        let (skipped, left_out) = (stats.skipped, self.left_out);
        ensure!(skipped == left_out || self.is_vague, "{left_out} were left out, and the loader counts {skipped}");
        Ok(())
    }
}

/// What several epochs of one loader have met. What they know of the quarantine is not kept.
impl AddAssign for Books {
    fn add_assign(&mut self, other: Books) {
        self.met.extend(other.met);
        self.perhaps_met.extend(other.perhaps_met);
        self.ledger += other.ledger;
        self.batches += other.batches;
        self.errors += other.errors;
        self.left_out += other.left_out;
        self.replaced += other.replaced;
        self.is_vague |= other.is_vague;
        self.tally += other.tally;
    }
}

pub fn named(entry: &Quarantined) -> Name {
    Name { shard: entry.shard, index: entry.index }
}

/// Whether what is said of a sample is what befell it.
pub fn check_cause<K: Kind>(oracle: &Oracle<'_, K>, name: Name, cause: &str) -> Check {
    let doing = if oracle.plan.faults.reading { "reading the shard" } else { "loading the sample" };
    let fault = oracle.fate(name).fault;
    let is_expected = match fault {
        Some(Fault::Error) => cause == "injected by chaos: the sample cannot be read",
        Some(Fault::Panic) => cause == format!("{doing} panicked: injected by chaos: a panic"),
        Some(Fault::Transient { failures }) => (1..=failures).any(|n| {
            cause == format!("injected by chaos: the sample cannot be read this time (failure {n} of {failures})")
        }),
        // What the decoder says.
        Some(Fault::Truncation) => !cause.is_empty() && !cause.starts_with("injected by chaos"),
        _ => false,
    };
    ensure!(is_expected, "{fault:?} befell {name}, and this is reported: {cause:?}");
    Ok(())
}

/// What came is an error exactly if one of its `own` bad samples is beyond those that may be.
fn check_budget(limit: usize, quarantine: &Quarantine, own: &[Name], error: Option<&Error>) -> Check {
    let count = quarantine.len();
    let allowed: HashSet<Name> = quarantine.iter().take(limit).map(named).collect();
    let beyond = own.iter().find(|name| !allowed.contains(name));
    match (beyond, error.filter(|error| error.kind() == ErrorKind::Budget)) {
        (None, None) => Ok(()),
        (Some(name), None) => Err(format!("{name} is one more than the budget of {limit}, and nobody heard of it")),
        (None, Some(error)) => Err(format!("{count} bad samples do not exceed a budget of {limit}: {error}")),
        (Some(name), Some(error)) => {
            let is_of = Name { shard: error.shard(), index: error.index().unwrap_or(usize::MAX) };
            ensure!(is_of == *name, "the first beyond the budget is {name}: {error}");
            let text = error.to_string();
            let parts = [format!("{count} samples could not be loaded"), format!("allows {limit};")];
            ensure!(parts.iter().all(|part| text.contains(part)), "{text}: should say {parts:?}");
            Ok(())
        }
    }
}
