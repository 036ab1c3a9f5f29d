//! `Oracle`: what has to come, written down without threads, buffers or jobs.

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use sutler::chaos::{Fate, Fault};
use sutler::{Distributed, InMemory, Ledger, Loader, SampleRng};

use crate::Check;
use crate::data::{Data, Name};
use crate::kinds::Kind;
use crate::loading::{ordered, subset};
use crate::plan::{Content, Leg, Ordering, Plan};

pub struct Oracle<'a, K> {
    pub plan: &'a Plan,
    data: &'a Data<K>,
    /// Those of the epochs, once somebody has asked.
    orders: Mutex<HashMap<u64, Arc<Order>>>,
}

/// A batch, as the order has it.
#[derive(Clone, Debug)]
pub struct Batch {
    pub places: Vec<Place>,
}

impl Batch {
    pub fn names(&self) -> impl Iterator<Item = Name> + '_ {
        self.places.iter().map(|place| place.name)
    }
}

/// A place of the order, and the sample that belongs there.
#[derive(Clone, Debug)]
pub struct Place {
    pub name: Name,
    pub is_padding: bool,
    /// What is drawn at this place is keyed by it.
    pub key: usize,
    /// Whether its shard ends here with an error.
    pub is_unreadable: bool,
    digest: OnceCell<u64>,
    stand_in: OnceCell<StandIn>,
}

/// What is in the place of a bad sample.
#[derive(Clone, Debug)]
pub struct StandIn {
    /// The bad samples that were tried before.
    pub tried: Vec<Name>,
    /// What was put there, and its digest; nothing, if too many were bad.
    pub found: Option<(Name, u64)>,
}

/// How loading a sample ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fortune {
    Good,
    Bad,
    /// Bad the first times.
    Moody,
}

/// Which part of an epoch: what is left when all ranks stand at `start`, for one of them.
#[derive(Clone, Copy, Debug)]
pub struct Deal {
    pub start: usize,
    pub rank: usize,
    pub ranks: usize,
    pub batch_size: usize,
}

impl Deal {
    pub fn of(leg: &Leg, rank: usize, start: usize) -> Self {
        Deal { start, rank, ranks: leg.ranks.unwrap_or(1), batch_size: leg.batch_size }
    }
}

impl Place {
    fn new(name: Name, key: usize, is_padding: bool) -> Self {
        let (digest, stand_in) = Default::default();
        Place { name, is_padding, key, is_unreadable: false, digest, stand_in }
    }
}

impl<'a, K: Kind> Oracle<'a, K> {
    pub fn new(plan: &'a Plan, data: &'a Data<K>) -> Self {
        Oracle { plan, data, orders: Mutex::default() }
    }

    pub fn fate(&self, name: Name) -> Fate {
        self.data.fate(name)
    }

    pub fn fortune(&self, name: Name) -> Fortune {
        let fate = self.fate(name);
        match fate.fault {
            None => Fortune::Good,
            Some(Fault::Transient { .. }) => Fortune::Moody,
            _ => Fortune::Bad,
        }
    }

    /// The batches that are left of an epoch.
    pub fn batches(&self, epoch: u64, deal: &Deal) -> Check<VecDeque<Batch>> {
        let batches = match &self.plan.content {
            Content::Indexed { len, order } => {
                let order = self.order(epoch, *len, *order)?;
                let (units, dealt) = (order.len(), self.dealt(order.len(), deal));
                match &*order {
                    Order::Samples(indices) => {
                        let place = |place| Place::new(indexed(indices[place % units]), place, place >= units);
                        self.cut(dealt.map(place).collect(), deal.batch_size)
                    }
                    Order::Batches(batches) => dealt.map(|unit| whole(batches, unit)).collect(),
                }
            }
            Content::Streamed { shards, interleave } => {
                let places = self.rotation(shards, *interleave, deal);
                self.cut(places.into_iter().skip(deal.start).collect(), deal.batch_size)
            }
        };
        Ok(batches)
    }

    /// Where all ranks stand when this one has had its first `batches` of so many that it has.
    pub fn reached(&self, epoch: u64, deal: &Deal, had: usize) -> Check<usize> {
        let all = self.batches(epoch, deal)?;
        let Content::Indexed { len, order } = self.plan.content else {
            return Ok(deal.start + all.iter().take(had).map(|batch| batch.places.len()).sum::<usize>());
        };
        let units = self.order(epoch, len, order)?.len();
        let each = if order.has_own_batches() { 1 } else { deal.batch_size };
        Ok(if had >= all.len() { units } else { deal.start + had * each * deal.ranks })
    }

    /// What a sample of the epoch is; asked for good ones.
    pub fn digest(&self, epoch: u64, place: &Place) -> Check<u64> {
        if let Some(digest) = place.digest.get() {
            return Ok(*digest);
        }
        let digest = self.digest_of(epoch, place.key, place.name)?;
        Ok(*place.digest.get_or_init(|| digest))
    }

    fn digest_of(&self, epoch: u64, key: usize, name: Name) -> Check<u64> {
        let mut rng = SampleRng::new(self.plan.seed, epoch, key);
        let sample = K::raw(name.id()).and_then(|raw| K::sample(raw, &mut rng));
        let digest = sample.and_then(|sample| K::digest(&sample));
        digest.map_err(|error| format!("{name} cannot be loaded without faults: {error}"))
    }

    /// What is in a place whose sample is bad, with `OnError::Substitute`.
    pub fn stand_in<'p>(&self, epoch: u64, place: &'p Place) -> Check<&'p StandIn> {
        if let Some(stand_in) = place.stand_in.get() {
            return Ok(stand_in);
        }
        let Content::Indexed { len, order } = self.plan.content else { return Err("no stand-ins of a stream".into()) };
        let order = self.order(epoch, len, order)?;
        let mut tried = Vec::new();
        let mut found = None;
        for number in stand_ins(self.plan.seed, epoch, place.key) {
            let name = indexed(order.at(((u128::from(number) * order.places() as u128) >> 64) as usize));
            if self.fortune(name) == Fortune::Good {
                found = Some((name, self.digest_of(epoch, place.key, name)?));
                break;
            }
            tried.push(name);
        }
        Ok(place.stand_in.get_or_init(|| StandIn { tried, found }))
    }

    /// What a whole epoch consists of, of all ranks; `None` if some come twice, or not at all.
    pub fn ledger(&self) -> Option<Ledger> {
        if self.plan.drop_last || (self.plan.ranks_drop_last && self.plan.legs.iter().any(|leg| leg.ranks.is_some())) {
            return None;
        }
        match &self.plan.content {
            Content::Indexed {
                order: Ordering::Weighted { .. } | Ordering::Buckets { drop_last: true, .. }, ..
            } => None,
            Content::Indexed { len, order: Ordering::Subset { without_every } } => {
                Some(subset(*len, *without_every).into_iter().collect())
            }
            Content::Indexed { len, .. } => Some((0..*len).collect()),
            Content::Streamed { .. } if self.plan.faults.reading => None,
            Content::Streamed { shards, .. } => Some(
                shards
                    .iter()
                    .enumerate()
                    .flat_map(|(shard, &len)| (0..len).map(move |index| Name { shard: Some(shard), index }.id()))
                    .collect(),
            ),
        }
    }

    fn order(&self, epoch: u64, len: usize, order: Ordering) -> Check<Arc<Order>> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = orders.get(&epoch) {
            return Ok(Arc::clone(known));
        }
        let drawn = self.draw(epoch, len, order).map_err(|error| format!("the oracle has no order: {error}"))?;
        Ok(Arc::clone(orders.entry(epoch).or_insert(Arc::new(drawn))))
    }

    /// The order of all ranks, by a loader of nothing, without workers and faults.
    fn draw(&self, epoch: u64, len: usize, order: Ordering) -> sutler::Result<Order> {
        let nothing: InMemory<()> = (0..len).map(|_| ()).collect();
        let mut builder = ordered(Loader::builder(nothing), self.plan, len, order)?;
        if self.plan.legs[0].ranks.is_some() {
            builder = builder.distributed(Distributed::new(0, 1)?);
        }
        let loader = builder.build()?;
        let mut running = loader.epoch_at(epoch);
        let mut batches: Vec<Vec<usize>> = Vec::new();
        while let Some(batch) = running.next() {
            batch?;
            batches.push(running.indices().collect());
        }
        Ok(match order.has_own_batches() {
            true => Order::Batches(batches),
            false => Order::Samples(batches.concat()),
        })
    }

    /// Which units are a rank's: every so-manieth, on at the front where they do not go round.
    fn dealt(&self, units: usize, deal: &Deal) -> impl Iterator<Item = usize> + use<K> {
        let Deal { start, rank, ranks, .. } = *deal;
        let left = units.saturating_sub(start);
        let drops = self.plan.ranks_drop_last && self.plan.legs[0].ranks.is_some();
        let count = if drops { left / ranks } else { left.div_ceil(ranks) };
        (0..count).map(move |number| start + rank + number * ranks)
    }

    fn cut(&self, places: Vec<Place>, batch_size: usize) -> VecDeque<Batch> {
        let batches = places.chunks(batch_size).filter(|batch| batch.len() == batch_size || !self.plan.drop_last);
        batches.map(|places| Batch { places: places.to_vec() }).collect()
    }

    /// The records of a rank's shards: one of each open shard in turn; where one ends, the next has its place.
    fn rotation(&self, shards: &[usize], interleave: usize, deal: &Deal) -> Vec<Place> {
        let mine = (deal.rank..shards.len()).step_by(deal.ranks);
        let mut closed: VecDeque<VecDeque<Place>> = mine.map(|shard| self.shard(shard, shards[shard])).collect();
        let mut open: Vec<VecDeque<Place>> = closed.drain(..interleave.min(closed.len())).collect();
        let (mut turn, mut places) = (0, Vec::new());
        while !open.is_empty() {
            turn %= open.len();
            let place = open[turn].pop_front();
            let has_ended = place.as_ref().is_none_or(|place| place.is_unreadable);
            // A shard that is through is only found so at its next turn; one that is broken, at once.
            let had_its_turn = place.is_some();
            places.extend(place);
            if !has_ended {
                turn += 1;
            } else if let Some(next) = closed.pop_front() {
                open[turn] = next;
                turn += usize::from(had_its_turn);
            } else {
                open.remove(turn);
            }
        }
        places
    }

    fn shard(&self, shard: usize, len: usize) -> VecDeque<Place> {
        let mut places = VecDeque::new();
        for index in 0..len {
            let mut place = Place::new(Name { shard: Some(shard), index }, shard << 40 | index, false);
            let fault = self.fate(place.name).fault;
            place.is_unreadable = self.plan.faults.reading && matches!(fault, Some(Fault::Error | Fault::Panic));
            let is_last = place.is_unreadable;
            places.push_back(place);
            if is_last {
                break;
            }
        }
        places
    }
}

enum Order {
    Samples(Vec<usize>),
    Batches(Vec<Vec<usize>>),
}

impl Order {
    /// How much there is to be dealt out.
    fn len(&self) -> usize {
        match self {
            Order::Samples(samples) => samples.len(),
            Order::Batches(batches) => batches.len(),
        }
    }

    /// How many samples it has.
    fn places(&self) -> usize {
        match self {
            Order::Samples(samples) => samples.len(),
            Order::Batches(batches) => batches.iter().map(Vec::len).sum(),
        }
    }

    fn at(&self, place: usize) -> usize {
        match self {
            Order::Samples(samples) => samples[place],
            Order::Batches(batches) => *batches.iter().flatten().nth(place).expect("it has as many places"),
        }
    }
}

fn indexed(index: usize) -> Name {
    Name { shard: None, index }
}

/// A batch of a batch sampler; behind the last one it goes on at the front.
fn whole(batches: &[Vec<usize>], unit: usize) -> Batch {
    let number = unit % batches.len();
    let first: usize = batches[..number].iter().map(Vec::len).sum();
    let place = |(slot, &index)| Place::new(indexed(index), first + slot, unit >= batches.len());
    Batch { places: batches[number].iter().enumerate().map(place).collect() }
}

/// The numbers that stand-ins for the sample at a place are drawn by, as many as are tried. A second implementation: Philox4x32-10
/// (Salmon and others, SC 2011), with the sample's key, from block 3 << 30 on.
fn stand_ins(seed: u64, epoch: u64, place: usize) -> impl Iterator<Item = u64> {
    let block = move |block: u32| {
        let mut key = [seed as u32, (seed >> 32) as u32];
        let mut counter = [(3 << 30) + block, epoch as u32, place as u32, (place as u64 >> 32) as u32];
        for _ in 0..10 {
            let product =
                |factor: u64, word: u32| ((factor * u64::from(word)) >> 32, (factor * u64::from(word)) as u32);
            let ((high_0, low_0), (high_2, low_2)) =
                (product(0xD251_1F53, counter[0]), product(0xCD9E_8D57, counter[2]));
            counter = [high_2 as u32 ^ counter[1] ^ key[0], low_2, high_0 as u32 ^ counter[3] ^ key[1], low_0];
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        [(counter[0], counter[1]), (counter[2], counter[3])].map(|(low, high)| u64::from(low) | u64::from(high) << 32)
    };
    (0..8).flat_map(block)
}
