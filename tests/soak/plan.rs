//! `Plan`: what a round does, drawn from the seed and the number of the round.

use std::fmt;
use std::time::Duration;

use sutler::OnError;

use crate::draw::Draw;

/// One round: data with faults in it, loaders over it, and what those do who take the batches.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: Kind,
    pub content: Content,
    pub faults: Faults,
    pub on_error: OnError,
    pub budget: Option<Budget>,
    /// Of the loaders, and of all that is drawn further on.
    pub seed: u64,
    pub drop_last: bool,
    /// What `Distributed::drop_last` is told.
    pub ranks_drop_last: bool,
    /// For loaders that have workers.
    pub timeout: Option<Duration>,
    pub epochs: u64,
    /// Whether these run at the same time, each on a thread of its own, and not one after another.
    pub at_once: bool,
    pub consumer: Consumer,
    /// How the last epoch is run: each leg goes on where the one before it stopped, with loaders of its own. All other epochs
    /// run on those of the first.
    pub legs: Vec<Leg>,
}

/// What samples are; see [`kinds`](crate::kinds).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Numbers,
    Tuples,
    Sequences,
    Maps,
    Texts,
    #[cfg(feature = "vision")]
    Pictures,
    #[cfg(feature = "vision")]
    Files,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Indexed { len: usize, order: Ordering },
    Streamed { shards: Vec<usize>, interleave: usize },
}

/// The order of a dataset with random access.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ordering {
    InTurn,
    Shuffled,
    Keyed,
    /// Without every n-th.
    Subset {
        without_every: usize,
    },
    Weighted {
        num_samples: usize,
    },
    /// Batches of samples of about one length.
    Buckets {
        pool_batches: usize,
        drop_last: bool,
    },
    /// Batches of one sample, of two, of three, from the last sample to the first.
    Growing,
}

impl Ordering {
    pub fn has_own_batches(self) -> bool {
        matches!(self, Ordering::Buckets { .. } | Ordering::Growing)
    }
}

/// Rates in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    pub seed: u64,
    pub errors: u32,
    pub panics: u32,
    pub truncations: u32,
    pub transients: u32,
    pub failures: u32,
    pub delays: u32,
    pub delay: Duration,
    /// Whether records are befallen while they are read, which ends their shard.
    pub reading: bool,
    pub hang: Option<Hang>,
}

/// A sample that does not come, until the consumer has seen a timeout that names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hang {
    pub shard: Option<usize>,
    pub index: usize,
    /// Whether its batch is then given up.
    pub give_up: bool,
}

/// How many samples may be bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    Samples(usize),
    Percent(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Consumer {
    Brisk,
    Slow {
        pause: Duration,
    },
    /// Keeps up to so many batches, and lets go of them in any order; of the last ones, perhaps, after the loader.
    Keeping {
        most: usize,
        outlive: bool,
    },
}

/// Loaders of one configuration, one for each rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leg {
    pub workers: Workers,
    pub ahead: Ahead,
    pub chunk_size: Option<usize>,
    pub in_order: bool,
    pub batch_size: usize,
    /// `None` is a loader that was told nothing of ranks.
    pub ranks: Option<usize>,
    pub stop: Option<Stop>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Workers {
    None,
    Own(usize),
    Auto,
    /// A pool that all ranks share.
    Shared(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ahead {
    Default,
    Batches(usize),
    Bytes(usize),
}

/// Where the consumer leaves the epoch: when it has taken so many batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stop {
    pub after: usize,
    pub panics: bool,
}

const MILLISECOND: Duration = Duration::from_millis(1);

impl Plan {
    pub fn draw(seed: u64, round: u64) -> Plan {
        let draw = &mut Draw::new(seed, round, 0);
        let kind = kind(draw);
        let content = content(draw, kind);
        let is_indexed = matches!(content, Content::Indexed { .. });
        let on_error = match draw.from(0..=2) {
            0 => OnError::Fail,
            1 if is_indexed => OnError::Substitute,
            _ => OnError::Skip,
        };
        let mut plan = Plan {
            kind,
            faults: faults(draw, is_indexed),
            budget: budget(draw, on_error),
            on_error,
            seed: draw.seed(),
            drop_last: draw.percent(20) && !content.has_own_batches(),
            ranks_drop_last: draw.percent(20),
            timeout: draw.percent(30).then(|| MILLISECOND * draw.one_of(&[2, 10, 50])),
            epochs: draw.from(1..=3) as u64,
            at_once: draw.percent(20),
            consumer: consumer(draw),
            legs: legs(draw, &content),
            content,
        };
        plan.reconcile(draw);
        plan
    }

    /// Takes back what does not go together.
    fn reconcile(&mut self, draw: &mut Draw) {
        let hangs = draw.percent(40);
        // Who enters the quarantine first, of several epochs, is nobody's to say.
        if self.at_once {
            (self.epochs, self.budget) = (self.epochs + 1, None);
            self.legs.truncate(1);
        }
        // What fails at first is good for whoever comes later: a stand-in, or the sample that uses up a budget, would depend
        // on who was first.
        if self.on_error == OnError::Substitute || self.budget.is_some() || self.faults.reading {
            self.faults.transients = 0;
        }
        // Out of order, what is no batch is known by its indices, which two may have in common where samples come twice.
        if matches!(self.content, Content::Indexed { order: Ordering::Weighted { .. }, .. }) {
            self.legs.iter_mut().for_each(|leg| leg.in_order = true);
        }
        let leg = &self.legs[0];
        if hangs && !self.at_once && leg.ranks.is_none() && leg.workers != Workers::None {
            self.timeout = self.timeout.or(Some(10 * MILLISECOND));
            let give_up = draw.percent(50);
            self.faults.hang = match &self.content {
                Content::Indexed { len, .. } => Some(Hang { shard: None, index: draw.from(0..=len - 1), give_up }),
                Content::Streamed { shards, .. } => {
                    let shard = draw.from(0..=shards.len() - 1);
                    let index = draw.from(0..=shards[shard].max(1) - 1);
                    Some(Hang { shard: Some(shard), index, give_up: false })
                }
            };
        }
    }

    /// How many bad samples there may be, and the setting that says so.
    pub fn limit(&self) -> usize {
        match self.budget {
            None => usize::MAX,
            Some(Budget::Samples(samples)) => samples,
            Some(Budget::Percent(percent)) => self.content.len() * percent as usize / 100,
        }
    }
}

/// Each thing on a line.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = format!("{:?}", Plan { legs: Vec::new(), ..self.clone() });
        writeln!(f, "{}", all.trim_end_matches(", legs: [] }"))?;
        self.legs.iter().try_for_each(|leg| writeln!(f, "{leg:?}"))
    }
}

impl Content {
    pub fn len(&self) -> usize {
        match self {
            Content::Indexed { len, .. } => *len,
            Content::Streamed { shards, .. } => shards.iter().sum(),
        }
    }

    fn has_own_batches(&self) -> bool {
        matches!(self, Content::Indexed { order, .. } if order.has_own_batches())
    }
}

fn kind(draw: &mut Draw) -> Kind {
    draw.one_of(&[
        Kind::Numbers,
        Kind::Numbers,
        Kind::Tuples,
        Kind::Tuples,
        Kind::Sequences,
        Kind::Maps,
        Kind::Texts,
        #[cfg(feature = "vision")]
        Kind::Pictures,
        #[cfg(feature = "vision")]
        Kind::Files,
    ])
}

fn content(draw: &mut Draw, kind: Kind) -> Content {
    let most = match kind {
        #[cfg(feature = "vision")]
        Kind::Pictures | Kind::Files => 60,
        _ => 400,
    };
    let len = draw.from(1..=most);
    if draw.percent(30) {
        let shards = (0..draw.from(1..=9)).map(|_| draw.from(0..=most / 5)).collect();
        return Content::Streamed { shards, interleave: draw.one_of(&[1, 2, 3, 16]) };
    }
    let order = match draw.from(0..=9) {
        0 | 1 => Ordering::InTurn,
        2..=4 => Ordering::Shuffled,
        5 => Ordering::Keyed,
        6 => Ordering::Subset { without_every: draw.from(2..=5) },
        7 => Ordering::Weighted { num_samples: draw.from(1..=most) },
        8 => Ordering::Buckets { pool_batches: draw.one_of(&[1, 3, 100]), drop_last: draw.percent(30) },
        _ => Ordering::Growing,
    };
    Content::Indexed { len, order }
}

fn faults(draw: &mut Draw, is_indexed: bool) -> Faults {
    let (errors, panics, truncations, transients) = match draw.from(0..=9) {
        0 => (0, 0, 0, 0),
        1..=4 => (2, 1, 1, 2),
        5 => (10, 0, 0, 0),
        6 => (0, 10, 10, 0),
        7 | 8 => (8, 5, 8, 15),
        // Hardly any sample is good.
        _ => (40, 20, 25, 0),
    };
    let late = [(0, 0), (0, 0), (1, 1), (5, 1), (3, 3), (1, 25)];
    let (delays, milliseconds) = draw.one_of(&late);
    Faults {
        seed: draw.seed(),
        errors,
        panics,
        truncations,
        transients,
        failures: draw.from(1..=3) as u32,
        delays,
        delay: MILLISECOND * milliseconds,
        reading: !is_indexed && draw.percent(30),
        hang: None,
    }
}

fn budget(draw: &mut Draw, on_error: OnError) -> Option<Budget> {
    let budget = match draw.percent(50) {
        true => Budget::Samples(draw.from(0..=20)),
        false => Budget::Percent(draw.from(0..=20) as u32),
    };
    (draw.percent(30) && on_error != OnError::Fail).then_some(budget)
}

fn consumer(draw: &mut Draw) -> Consumer {
    match draw.from(0..=9) {
        0..=3 => Consumer::Brisk,
        4 | 5 => Consumer::Slow { pause: MILLISECOND / 4 },
        _ => Consumer::Keeping { most: draw.from(1..=12), outlive: draw.percent(50) },
    }
}

fn legs(draw: &mut Draw, content: &Content) -> Vec<Leg> {
    let most_ranks = match content {
        Content::Indexed { .. } => 4,
        Content::Streamed { shards, .. } => shards.len().min(4),
    };
    let ranks = draw.percent(40).then(|| draw.from(1..=most_ranks));
    let is_indexed = matches!(content, Content::Indexed { .. });
    let mut legs = vec![leg(draw, ranks, is_indexed)];
    while legs.len() < 4 && draw.percent(50) {
        let last = legs.last_mut().expect("there is a leg");
        last.stop = Some(Stop { after: draw.one_of(&[0, 1, 2, 3, 5, 8, 13, 40]), panics: draw.percent(30) });
        let mut next = Leg { ranks: last.ranks, ..leg(draw, ranks, is_indexed) };
        if !last.in_order || draw.percent(50) {
            // Batches that came out of order are numbered, which the next leg must understand.
            next.batch_size = last.batch_size;
        } else if is_indexed && ranks.is_some() {
            next.ranks = Some(draw.from(1..=most_ranks));
        }
        legs.push(next);
    }
    legs
}

fn leg(draw: &mut Draw, ranks: Option<usize>, is_indexed: bool) -> Leg {
    let workers = match draw.from(0..=9) {
        0 => Workers::None,
        1..=5 => Workers::Own(draw.one_of(&[1, 2, 3, 4, 8, 16])),
        6 => Workers::Auto,
        _ => Workers::Shared(draw.one_of(&[1, 2, 5])),
    };
    let ahead = match draw.from(0..=5) {
        _ if workers == Workers::None => Ahead::Default,
        0..=2 => Ahead::Default,
        3 | 4 => Ahead::Batches(draw.one_of(&[1, 2, 3, 8, 40])),
        _ => Ahead::Bytes(draw.one_of(&[1, 1000, 20_000])),
    };
    Leg {
        workers,
        ahead,
        chunk_size: (is_indexed && draw.percent(50)).then(|| draw.one_of(&[1, 3, 7, 1000])),
        in_order: !is_indexed || draw.percent(70),
        batch_size: draw.one_of(&[1, 2, 3, 5, 8, 16, 40]),
        ranks,
        stop: None,
    }
}
