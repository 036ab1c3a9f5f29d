//! `LoaderState`: how far a run has come, as small plain data.

use std::fmt;
use std::str::FromStr;

use super::indexed::Data;
use super::intake::Progress;
use super::orders::Orders;
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::sampler::Batches;
pub(super) use crate::sampler::Unit;

/// How far a run has come: enough to go on from there, in another process, on other hardware, on another number of ranks.
///
/// Taken by [`Epoch::state`](crate::Epoch::state) between two batches, or by [`Loader::state`](crate::Loader::state) between two
/// epochs; [`Loader::resume`](crate::Loader::resume) goes on. It counts what the consumer got, not what was loaded ahead.
///
/// The position is that of all ranks together, which take the same number of batches: the state of any of them serves
/// all, and also another number of them or another batch size. Written as text it is a line that starts with its
/// version; with feature `serde` it is that text as well.
///
/// ```
/// use sutler::{InMemory, Loader, LoaderState};
///
/// let loader = || {
///     let samples: InMemory<i64> = (0..10).collect();
///     Loader::builder(samples).batch_size(3).shuffle(true).seed(7).build()
/// };
/// let whole: Vec<Vec<i64>> = loader()?.epoch().map(|batch| Ok(batch?.to_vec())).collect::<sutler::Result<_>>()?;
///
/// let before = loader()?;
/// let mut epoch = before.epoch();
/// epoch.next();
/// epoch.next();
/// let saved: String = epoch.state().to_string();
///
/// let after = loader()?;
/// let rest: Vec<Vec<i64>> =
///     after.resume(&saved.parse::<LoaderState>()?)?.map(|batch| Ok(batch?.to_vec())).collect::<sutler::Result<_>>()?;
/// assert_eq!(rest, whole[2..]);
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderState {
    pub(super) seed: u64,
    pub(super) epoch: u64,
    /// How many units of the whole order all ranks together have had,
    pub(super) position: usize,
    /// of how many,
    pub(super) units: usize,
    /// and what they are: samples, or batches of a batch sampler.
    pub(super) unit: Unit,
    pub(super) out_of_order: Option<OutOfOrder>,
    /// Where an iterable dataset stands.
    pub(super) progress: Option<Progress>,
    /// How many samples the dataset has, and its fingerprint.
    pub(super) samples: usize,
    pub(super) dataset: u64,
    pub(super) order: u64,
    pub(super) sampler: String,
}

/// Batches beyond the position that were had before others, without `in_order`. They are numbered from the position on,
/// which means something only where batches are dealt out in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutOfOrder {
    pub(super) batches: Vec<usize>,
    /// Batch size (0 for a batch sampler's), rank, world size.
    pub(super) dealt: (usize, usize, usize),
}

impl LoaderState {
    /// The beginning of epoch `epoch` of a loader.
    pub(super) fn new<D: Dataset>(data: &Data<D>, orders: &Orders, epoch: u64, batches: &Batches) -> Self {
        LoaderState {
            seed: data.seed,
            epoch,
            position: 0,
            units: batches.units(),
            unit: batches.unit(),
            out_of_order: None,
            progress: None,
            samples: data.len,
            dataset: *data.fingerprint.get_or_init(|| data.dataset.fingerprint()),
            order: batches.fingerprint(),
            sampler: orders.name(),
        }
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The epoch that goes on.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How far the epoch has come, all ranks together: in samples, or in batches if a batch sampler makes them. Of an
    /// iterable dataset, how many records this rank has had.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Whether `other` can go on from here: the same data, seed and order.
    ///
    /// # Errors
    ///
    /// The first difference, named.
    pub(super) fn check(&self, other: &LoaderState, dealt: (usize, usize, usize)) -> Result<()> {
        let refuse = |difference: String| {
            Err(Error::new(ErrorKind::State, format!("the state does not fit this loader: {difference}")))
        };
        let (state, loader) = (self, other);
        if state.samples != loader.samples {
            return refuse(format!(
                "it is of a dataset of {} samples, and this one has {}",
                state.samples, loader.samples
            ));
        }
        if state.dataset != loader.dataset {
            return refuse(format!(
                "it is of another dataset, also of {} samples (fingerprint {:016x}, here {:016x})",
                state.samples, state.dataset, loader.dataset
            ));
        }
        if state.seed != loader.seed {
            return refuse(format!(
                "its seed is {}, the loader's {}: build it with that seed",
                state.seed, loader.seed
            ));
        }
        if state.sampler != loader.sampler {
            return refuse(format!("its order is of a {}, the loader's of a {}", state.sampler, loader.sampler));
        }
        if state.unit != loader.unit {
            return refuse(format!("it counts {}, the loader counts {}", state.unit, loader.unit));
        }
        if state.units != loader.units {
            return refuse(format!(
                "its epoch has {} {}, the loader's epoch {} has {}",
                state.units, state.unit, state.epoch, loader.units
            ));
        }
        if state.order != loader.order && state.unit == Unit::Records {
            return refuse(
                "its shards are dealt out in another way: the number of shards, interleave, the rank, or the number of \
                 ranks differ"
                    .into(),
            );
        }
        if state.order != loader.order {
            return refuse(format!(
                "the {} gives another order for epoch {}: its own settings or its generator differ",
                state.sampler, state.epoch
            ));
        }
        match &state.out_of_order {
            Some(out) if out.dealt != dealt => {
                let ((batch_size, rank, world), (batch_size_here, rank_here, world_here)) = (out.dealt, dealt);
                refuse(format!(
                    "it was taken with in_order(false) while later batches had come before earlier ones, which counts \
                     batches of {batch_size} samples on rank {rank} of {world}, and here they have {batch_size_here} on \
                     rank {rank_here} of {world_here}. Take it with in_order(true), or at the end of an epoch"
                ))
            }
            _ => Ok(()),
        }
    }

    /// As [`check`](LoaderState::check), for an iterable dataset; gives the place where it goes on.
    pub(super) fn check_stream(&self, other: &LoaderState) -> Result<Progress> {
        self.check(other, (0, 0, 0))?;
        Ok(self.progress.clone().unwrap_or_default())
    }
}

const VERSION: &str = "sutler-state-1";

/// `sutler-state-1 seed=7 epoch=0 position=6 of=10 unit=samples data=10:09af… order=55b1… sampler=RandomSampler`
impl fmt::Display for LoaderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoaderState { seed, epoch, position, units, unit, samples, dataset, order, sampler, .. } = self;
        write!(f, "{VERSION} seed={seed} epoch={epoch} position={position} of={units} unit={unit} ")?;
        write!(f, "data={samples}:{dataset:016x} order={order:016x} ")?;
        if let Some(OutOfOrder { batches, dealt: (batch_size, rank, world) }) = &self.out_of_order {
            let batches: Vec<String> = batches.iter().map(usize::to_string).collect();
            write!(f, "had={}@{batch_size}/{rank}/{world} ", batches.join(","))?;
        }
        if let Some(Progress { opened, turn, open, .. }) = &self.progress {
            let open: Vec<String> = open.iter().map(|(shard, dealt)| format!("{shard}:{dealt}")).collect();
            write!(f, "shards={opened}/{turn}/{} ", open.join(","))?;
        }
        // Last, because a name may have spaces.
        write!(f, "sampler={sampler}")
    }
}

impl FromStr for LoaderState {
    type Err = Error;

    /// # Errors
    ///
    /// If the text is not a state, or one of a version that this one does not know.
    fn from_str(text: &str) -> Result<Self> {
        let mut fields = Fields { text, rest: text };
        match fields.word() {
            VERSION => {}
            version if version.starts_with("sutler-state-") => {
                return Err(Error::new(
                    ErrorKind::State,
                    format!("the state is of version {version}, and this version of sutler reads {VERSION}"),
                ));
            }
            _ => return Err(fields.wrong(VERSION)),
        }
        let state = LoaderState {
            seed: fields.parsed("seed")?,
            epoch: fields.parsed("epoch")?,
            position: fields.parsed("position")?,
            units: fields.parsed("of")?,
            unit: match fields.value("unit")? {
                "samples" => Unit::Samples,
                "batches" => Unit::Batches,
                "records" => Unit::Records,
                _ => return Err(fields.wrong("unit")),
            },
            samples: 0,
            dataset: 0,
            order: 0,
            out_of_order: None,
            progress: None,
            sampler: String::new(),
        };
        let (samples, dataset) = fields.value("data")?.split_once(':').ok_or_else(|| fields.wrong("data"))?;
        let state = LoaderState {
            samples: samples.parse().map_err(|_| fields.wrong("data"))?,
            dataset: hexadecimal(dataset).ok_or_else(|| fields.wrong("data"))?,
            order: hexadecimal(fields.value("order")?).ok_or_else(|| fields.wrong("order"))?,
            out_of_order: match fields.rest.starts_with("had=") {
                true => Some(out_of_order(fields.value("had")?).ok_or_else(|| fields.wrong("had"))?),
                false => None,
            },
            progress: match fields.rest.starts_with("shards=") {
                true => Some(progress(fields.value("shards")?, state.position).ok_or_else(|| fields.wrong("shards"))?),
                false => None,
            },
            sampler: fields.rest.strip_prefix("sampler=").ok_or_else(|| fields.wrong("sampler"))?.to_string(),
            ..state
        };
        if (state.unit == Unit::Records) != state.progress.is_some() {
            return Err(fields.wrong("shards"));
        }
        if state.unit != Unit::Records && state.position > state.units {
            return Err(fields.wrong("position"));
        }
        Ok(state)
    }
}

fn hexadecimal(digits: &str) -> Option<u64> {
    let plain = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// `2,5@64/0/1`
fn out_of_order(text: &str) -> Option<OutOfOrder> {
    let (batches, dealt) = text.split_once('@')?;
    let batches: Vec<usize> = batches.split(',').map(|batch| batch.parse().ok()).collect::<Option<_>>()?;
    let dealt: Vec<usize> = dealt.split('/').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let &[batch_size, rank, world] = &dealt[..] else { return None };
    // The first batch is never among them, and they are sorted.
    let sound = batches[0] > 0 && batches.is_sorted_by(|a, b| a < b) && rank < world;
    sound.then_some(OutOfOrder { batches, dealt: (batch_size, rank, world) })
}

/// `7/1/3:17,6:16`
fn progress(text: &str, records: usize) -> Option<Progress> {
    let (opened, rest) = text.split_once('/')?;
    let (turn, open) = rest.split_once('/')?;
    let (opened, turn) = (opened.parse().ok()?, turn.parse().ok()?);
    let pair = |pair: &str| pair.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let open: Vec<(usize, usize)> = match open {
        "" => Vec::new(),
        open => open.split(',').map(pair).collect::<Option<_>>()?,
    };
    let sound = open.len() <= opened && (turn < open.len() || turn == 0);
    sound.then_some(Progress { records, opened, turn, open })
}

/// The words of a state, one after another.
struct Fields<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Fields<'a> {
    fn word(&mut self) -> &'a str {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    fn value(&mut self, key: &str) -> Result<&'a str> {
        self.word().strip_prefix(key).and_then(|word| word.strip_prefix('=')).ok_or_else(|| self.wrong(key))
    }

    fn parsed<T: FromStr>(&mut self, key: &str) -> Result<T> {
        self.value(key)?.parse().map_err(|_| self.wrong(key))
    }

    fn wrong(&self, key: &str) -> Error {
        const SHOWN: usize = 200;
        let shown: String = self.text.chars().take(SHOWN).collect();
        let more = if shown.len() < self.text.len() { "…" } else { "" };
        Error::new(ErrorKind::State, format!("not the state of a loader ({key} is missing or wrong): {shown:?}{more}"))
    }
}

/// As the text that [`Display`](fmt::Display) writes.
#[cfg(feature = "serde")]
impl serde::Serialize for LoaderState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From the text that [`Display`](fmt::Display) writes.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for LoaderState {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> LoaderState {
        LoaderState {
            seed: 7,
            epoch: 3,
            position: 640,
            units: 1000,
            unit: Unit::Samples,
            out_of_order: None,
            progress: None,
            samples: 1000,
            dataset: 0x09af,
            order: u64::MAX,
            sampler: "RandomSampler".into(),
        }
    }

    #[test]
    fn text_gives_the_state_back() {
        let text = "sutler-state-1 seed=7 epoch=3 position=640 of=1000 unit=samples data=1000:00000000000009af \
                    order=ffffffffffffffff sampler=RandomSampler";
        assert_eq!(state().to_string(), text);
        let had = OutOfOrder { batches: vec![2, 5], dealt: (64, 1, 2) };
        let odd = LoaderState {
            out_of_order: Some(had),
            unit: Unit::Batches,
            sampler: "My <a, b> sampler= \n".into(),
            ..state()
        };
        for state in [state(), odd] {
            assert_eq!(state.to_string().parse::<LoaderState>().unwrap(), state);
        }
    }

    #[test]
    fn what_is_not_a_state_is_refused_and_shown() {
        let text = state().to_string();
        let refused = |text: String| text.parse::<LoaderState>().unwrap_err().to_string();
        assert_eq!(
            refused("rubbish".into()),
            r#"not the state of a loader (sutler-state-1 is missing or wrong): "rubbish""#
        );
        assert_eq!(
            refused(text.replace("state-1", "state-9")),
            "the state is of version sutler-state-9, and this version of sutler reads sutler-state-1"
        );
        for (from, to, key) in [
            ("seed=7", "seed=-7", "seed"),
            ("seed=7 ", "", "seed"),
            ("position=640", "position=1001", "position"),
            ("unit=samples", "unit=bytes", "unit"),
            ("data=1000:", "data=1000", "data"),
            ("order=f", "order=+", "order"),
            ("sampler=", "", "sampler"),
            ("sampler=", "had=0@4/0/1 sampler=", "had"),
            ("sampler=", "had=2,1@4/0/1 sampler=", "had"),
            ("sampler=", "had=@4/0/1 sampler=", "had"),
            ("sampler=", "had=1@4/1/1 sampler=", "had"),
        ] {
            let damaged = text.replace(from, to);
            assert_ne!(damaged, text);
            assert!(refused(damaged).contains(&format!("({key} is missing or wrong)")), "{from} -> {to}");
        }
        assert!(refused("x".repeat(10_000)).len() < 400);
    }

    #[test]
    fn every_cut_of_the_text_is_refused_or_another_name() {
        let text = state().to_string();
        for end in 0..text.len() {
            match text[..end].parse::<LoaderState>() {
                Err(error) => assert_eq!(error.kind(), ErrorKind::State),
                Ok(cut) => assert!("RandomSampler".starts_with(&cut.sampler)),
            }
        }
    }
}
