//! A [`LoaderState`] as text, and with feature `serde` as that same text in any format.

use std::fmt;
use std::str::FromStr;

use super::LoaderState;
use super::intake::Progress;
use super::quarantine_text::{self, QuarantineText};
use super::state::{OutOfOrder, Unit};
use crate::error::{Error, ErrorKind, Result};
use crate::quarantine::Quarantine;
use crate::sampler::Dealing;

const VERSION: &str = "sutler-state-1";

/// `sutler-state-1 seed=7 epoch=0 position=6 of=10 unit=samples data=10:09af… order=55b1… sampler=RandomSampler`
impl fmt::Display for LoaderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoaderState { seed, epoch, position, units, unit, samples, dataset, order, sampler, .. } = self;
        write!(f, "{VERSION} seed={seed} epoch={epoch} position={position} of={units} unit={unit} ")?;
        write!(f, "data={samples}:{dataset:016x} order={order:016x} ")?;
        if let Some(OutOfOrder { batches, dealing }) = &self.out_of_order {
            let Dealing { batch_size, rank, world_size, drops } = dealing;
            let batches: Vec<String> = batches.iter().map(usize::to_string).collect();
            let rest = if *drops { "drop" } else { "keep" };
            write!(f, "had={}@{batch_size}/{rank}/{world_size}/{rest} ", batches.join(","))?;
        }
        if let Some(Progress { opened, turn, open, .. }) = &self.progress {
            let open: Vec<String> = open.iter().map(|(shard, dealt)| format!("{shard}:{dealt}")).collect();
            write!(f, "shards={opened}/{turn}/{} ", open.join(","))?;
        }
        if !self.quarantine.is_empty() {
            write!(f, "bad={} ", QuarantineText(&self.quarantine))?;
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
        // A line may have been read with its end.
        let text = text.trim_end_matches(['\r', '\n']);
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
            quarantine: Quarantine::default(),
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
            quarantine: match fields.rest.starts_with("bad=") {
                true => quarantine_text::parse(fields.value("bad")?).ok_or_else(|| fields.wrong("bad"))?,
                false => Quarantine::default(),
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

/// `2,5@64/0/1/keep`
fn out_of_order(text: &str) -> Option<OutOfOrder> {
    let (batches, dealing) = text.split_once('@')?;
    let batches: Vec<usize> = match batches {
        "" => Vec::new(),
        batches => batches.split(',').map(|batch| batch.parse().ok()).collect::<Option<_>>()?,
    };
    let (dealing, rest) = dealing.rsplit_once('/')?;
    let dealing: Vec<usize> = dealing.split('/').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let &[batch_size, rank, world_size] = &dealing[..] else { return None };
    let drops = match rest {
        "drop" => true,
        "keep" => false,
        _ => return None,
    };
    // The first batch is never among them, and they are sorted.
    let sound = batches.first() != Some(&0) && batches.is_sorted_by(|a, b| a < b) && rank < world_size;
    sound.then_some(OutOfOrder { batches, dealing: Dealing { batch_size, rank, world_size, drops } })
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
    // Records are counted up from here, each shard's as well as all.
    let countable = |count: usize| count <= isize::MAX as usize;
    let sound =
        (turn < open.len() || turn == 0) && countable(records) && open.iter().all(|(_, dealt)| countable(*dealt));
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
            quarantine: Quarantine::default(),
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
        let dealing = Dealing { batch_size: 64, rank: 1, world_size: 2, drops: true };
        let had = OutOfOrder { batches: vec![2, 5], dealing };
        let none = OutOfOrder { batches: vec![], dealing: Dealing { drops: false, ..dealing } };
        let odd = LoaderState {
            out_of_order: Some(had),
            unit: Unit::Batches,
            sampler: "My <a, b> sampler= ".into(),
            ..state()
        };
        for state in [state(), odd, LoaderState { out_of_order: Some(none), ..state() }] {
            assert_eq!(format!("{state}\r\n").parse::<LoaderState>().unwrap(), state);
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
            ("sampler=", "had=0@4/0/1/keep sampler=", "had"),
            ("sampler=", "had=2,1@4/0/1/keep sampler=", "had"),
            ("sampler=", "had=1@4/0/1 sampler=", "had"),
            ("sampler=", "had=1@4/1/1/keep sampler=", "had"),
            ("sampler=", "had=,@4/0/1/keep sampler=", "had"),
            ("sampler=", "shards=1/0/0:3 sampler=", "shards"),
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
