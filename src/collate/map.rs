//! Maps: the values of each key are collated by themselves, and the batch is a map of their batches.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::hash::{BuildHasher, Hash};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::mapping::Mapping;
use super::{Collate, Stack};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{BatchPlan, BufferPool};
use crate::rng::SampleRng;

type PartOf<V> = <Stack as Collate<V>>::Part;
type BatchOf<V> = <Stack as Collate<V>>::Batch;

/// A run of consecutive samples of a batch of maps.
///
/// Which keys there are is known when the first sample comes, and by then the batch is split and several threads fill
/// it. So the parts of the keys' own batches are made by whoever is first, and lie in the middle until each run takes
/// what it covers: once, with its first sample.
///
/// ```
/// use std::collections::BTreeMap;
/// use sutler::{BatchPlan, BufferPool, Collate, MapPart, SampleRng, Stack};
///
/// type Sample = BTreeMap<char, i64>;
///
/// let plan = BatchPlan { len: 2, capacity: 2, buffers: &BufferPool::new(1), field: 0, rng: &SampleRng::new(0, 0, 0) };
/// let mut first: MapPart<char, i64> = Collate::<Sample>::start(&Stack, plan);
/// let mut second = Collate::<Sample>::split_off(&Stack, &mut first, 1);
/// Stack.push(&mut second, Sample::from([('a', 3), ('b', 4)]))?; // in any order, and on any thread
/// Stack.push(&mut first, Sample::from([('a', 1), ('b', 2)]))?;
/// Collate::<Sample>::unite(&Stack, &mut first, second);
/// let batch = Collate::<Sample>::finish(&Stack, first)?;
/// assert_eq!((&*batch[&'a'], &*batch[&'b']), (&[1, 3][..], &[2, 4][..]));
/// # Ok::<(), sutler::Error>(())
/// ```
pub struct MapPart<K, V>
where
    Stack: Collate<V>,
{
    batch: Arc<MapBatch<K, V>>,
    /// The place of the first sample in the batch.
    start: usize,
    /// The place of the next one.
    next: usize,
    /// One past the place of the last one.
    end: usize,
    /// Whether it may have fewer samples than places.
    may_be_short: bool,
    /// From the first sample on.
    fields: Option<Fields<K, V>>,
}

/// The runs of all keys' values that a run of maps covers.
struct Fields<K, V>
where
    Stack: Collate<V>,
{
    keys: Arc<Keys<K>>,
    /// In the order of the keys.
    parts: Vec<PartOf<V>>,
}

struct Keys<K> {
    sorted: Vec<K>,
    /// The place of the sample that came first.
    decided_by: usize,
}

/// What the runs of one batch share.
struct MapBatch<K, V>
where
    Stack: Collate<V>,
{
    len: usize,
    capacity: usize,
    field: usize,
    buffers: BufferPool,
    rng: SampleRng,
    /// `None` before the first sample. Locked once for each run, to cut a few parts.
    unclaimed: Mutex<Option<Unclaimed<K, V>>>,
}

struct Unclaimed<K, V>
where
    Stack: Collate<V>,
{
    keys: Arc<Keys<K>>,
    /// What no run has taken yet, in order; none is empty.
    pieces: Vec<(Range<usize>, Vec<PartOf<V>>)>,
}

impl<K, V> MapBatch<K, V>
where
    K: Ord + Clone,
    Stack: Collate<V>,
{
    /// The parts that cover `places`; `sample` is the first that was loaded for them.
    fn claim<M: Mapping<K, V>>(&self, places: Range<usize>, sample: &M) -> Result<Fields<K, V>> {
        let Ok(mut unclaimed) = self.unclaimed.lock() else {
            // A collate of the user's panicked while a part was made or cut: there is no telling what is left.
            return Err(Error::new(ErrorKind::Collate, "the batch is lost: another part of it panicked"));
        };
        let unclaimed = unclaimed.get_or_insert_with(|| {
            let sorted: Vec<K> = sample.sorted_keys().into_iter().cloned().collect();
            let MapBatch { len, capacity, field, buffers, rng, .. } = self;
            let plan = BatchPlan { len: *len, capacity: *capacity, field: *field, buffers, rng };
            let parts = (0..sorted.len()).map(|rank| Collate::<V>::start(&Stack, plan.field(rank))).collect();
            let keys = Arc::new(Keys { sorted, decided_by: places.start });
            Unclaimed { keys, pieces: vec![(0..self.len, parts)] }
        });
        Ok(unclaimed.claim(places))
    }

    /// The parts that cover `places`, of which no sample is left, if others have told the keys.
    fn claim_empty(&self, places: Range<usize>) -> Option<Fields<K, V>> {
        let mut unclaimed = self.unclaimed.lock().ok()?;
        let mut fields = unclaimed.as_mut()?.claim(places);
        fields.rewind(0).ok()?;
        Some(fields)
    }
}

impl<K, V> Unclaimed<K, V>
where
    Stack: Collate<V>,
{
    fn claim(&mut self, places: Range<usize>) -> Fields<K, V> {
        let Unclaimed { keys, pieces } = self;
        let place = pieces.partition_point(|(covers, _)| covers.end <= places.start);
        let (covers, mut parts) = pieces.remove(place);
        assert!(
            covers.start <= places.start && places.end <= covers.end,
            "the runs of a batch do not overlap, so {places:?} is whole in {covers:?}"
        );
        let cut = |parts: &mut Vec<PartOf<V>>, at| -> Vec<PartOf<V>> {
            parts.iter_mut().map(|part| Stack.split_off(part, at - covers.start)).collect()
        };
        // From the back, so that every cut is as far from the piece's beginning as its place says.
        if places.end < covers.end {
            let behind = cut(&mut parts, places.end);
            pieces.insert(place, (places.end..covers.end, behind));
        }
        if covers.start < places.start {
            let own = cut(&mut parts, places.start);
            pieces.insert(place, (covers.start..places.start, std::mem::replace(&mut parts, own)));
        }
        Fields { keys: Arc::clone(keys), parts }
    }
}

impl<K, V> MapPart<K, V>
where
    K: Ord + Clone + Debug,
    Stack: Collate<V>,
{
    fn new(plan: BatchPlan<'_>) -> Self {
        let BatchPlan { len, capacity, buffers, field, rng } = plan;
        let (buffers, rng) = (buffers.clone(), rng.clone());
        let batch = MapBatch { len, capacity, field, buffers, rng, unclaimed: Mutex::new(None) };
        MapPart { batch: Arc::new(batch), start: 0, next: 0, end: len, may_be_short: false, fields: None }
    }

    fn split_off(&mut self, at: usize) -> Self {
        let middle = self.start + at;
        assert!(self.fields.is_none() && middle <= self.end, "a part is split before it has samples, and inside");
        let batch = Arc::clone(&self.batch);
        let tail = MapPart { batch, start: middle, next: middle, end: self.end, may_be_short: false, fields: None };
        self.end = middle;
        tail
    }

    fn push<M: Mapping<K, V>>(&mut self, sample: M) -> Result<()> {
        assert!(self.next < self.end, "all samples of this part are there");
        let Fields { keys, parts } = match &mut self.fields {
            Some(fields) => fields,
            none => {
                let mut fields = self.batch.claim(self.start..self.end, &sample)?;
                if self.may_be_short {
                    fields.rewind(0)?;
                }
                none.insert(fields)
            }
        };
        if !sample.has_exactly(&keys.sorted) {
            return Err(keys.clash(&sample, self.batch.len));
        }
        for ((key, part), value) in keys.sorted.iter().zip(parts).zip(sample.values_by(&keys.sorted)) {
            Stack.push(part, value).map_err(|error| at_key(error, key))?;
        }
        self.next += 1;
        Ok(())
    }

    fn rewind(&mut self, len: usize) -> Result<()> {
        self.next = self.start + len;
        self.may_be_short = true;
        match &mut self.fields {
            Some(fields) => fields.rewind(len),
            None => Ok(()),
        }
    }

    fn unite(&mut self, mut next: Self) {
        assert!(
            Arc::ptr_eq(&self.batch, &next.batch) && self.end == next.start && self.is_complete(),
            "only neighbours can be united, and only once the first is full"
        );
        self.claim_if_empty();
        next.claim_if_empty();
        self.next += next.next - next.start;
        self.end = next.end;
        self.may_be_short |= next.may_be_short;
        match (&mut self.fields, next.fields) {
            (Some(fields), Some(next)) => {
                for (part, next) in fields.parts.iter_mut().zip(next.parts) {
                    Collate::<V>::unite(&Stack, part, next);
                }
            }
            // A run of no places has nothing to add.
            (Some(_), None) => {}
            (fields, next) => *fields = next,
        }
    }

    /// The runs of the values of a run that has places and no sample are there all the same.
    fn claim_if_empty(&mut self) {
        if self.fields.is_none() && self.start < self.end {
            self.fields = self.batch.claim_empty(self.start..self.end);
        }
    }

    fn is_complete(&self) -> bool {
        self.next == self.end || self.may_be_short
    }

    fn finish<B: FromIterator<(K, BatchOf<V>)>>(self) -> Result<B> {
        assert!(
            self.start == 0 && self.end == self.batch.len && self.is_complete(),
            "a batch is finished once, whole and full"
        );
        let Fields { keys, parts } = self.fields.expect("a full batch has samples");
        let finish = |(key, part): (&K, PartOf<V>)| match Collate::<V>::finish(&Stack, part) {
            Ok(batch) => Ok((key.clone(), batch)),
            Err(error) => Err(at_key(error, key)),
        };
        keys.sorted.iter().zip(parts).map(finish).collect()
    }
}

impl<K, V> Fields<K, V>
where
    Stack: Collate<V>,
{
    fn rewind(&mut self, len: usize) -> Result<()> {
        self.parts.iter_mut().try_for_each(|part| Collate::<V>::rewind(&Stack, part, len))
    }
}

#[cold]
fn at_key<K: Debug>(error: Error, key: &K) -> Error {
    error.within(&format!("at key {key:?}"))
}

impl<K: Ord + Debug> Keys<K> {
    /// Why `sample` does not fit: a key that it lacks, or else one that the others lack.
    #[cold]
    fn clash<V, M: Mapping<K, V>>(&self, sample: &M, len: usize) -> Error {
        let found = sample.sorted_keys();
        let missing = self.sorted.iter().find(|key| found.binary_search(key).is_err());
        let mut extra = found.into_iter().filter(|key| self.sorted.binary_search(key).is_err());
        let (verb, key, opposite) = match missing {
            Some(key) => ("lacks", key, "has"),
            None => ("has", extra.next().expect("sets that differ differ in an element"), "lacks"),
        };
        let before = format!("it {verb} the key {key:?}, and ");
        let after = format!(
            " {opposite} it: the maps of a batch must all have the same keys \
             (fill in a default, or take the key out of all)"
        );
        Error::clash(before, self.decided_by, len, after)
    }
}

impl<K, V> Debug for MapPart<K, V>
where
    Stack: Collate<V>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapPart").field("covers", &(self.start..self.end)).field("next", &self.next).finish()
    }
}

macro_rules! maps {
    ($([$($parameter:tt)*] $map:ty => $batch:ty;)*) => {$(
        /// A map of the keys to the batches of their values, as in torch's `default_collate`.
        ///
        /// All samples of a batch must have the same keys. A key that one of them lacks is an error that names the key
        /// and both samples; torch raises `KeyError` if the first sample of the batch has it, and drops it otherwise.
        impl<$($parameter)*> Collate<$map> for Stack
        where
            Stack: Collate<V>,
        {
            type Batch = $batch;
            type Part = MapPart<K, V>;

            fn start(&self, plan: BatchPlan<'_>) -> Self::Part {
                MapPart::new(plan)
            }

            fn split_off(&self, part: &mut Self::Part, at: usize) -> Self::Part {
                part.split_off(at)
            }

            fn push(&self, part: &mut Self::Part, sample: $map) -> Result<()> {
                part.push(sample)
            }

            fn rewind(&self, part: &mut Self::Part, len: usize) -> Result<()> {
                part.rewind(len)
            }

            fn unite(&self, part: &mut Self::Part, next: Self::Part) {
                part.unite(next);
            }

            fn finish(&self, part: Self::Part) -> Result<Self::Batch> {
                part.finish()
            }
        }
    )*};
}

maps! {
    [K: Ord + Clone + Debug + Send + Sync, V] BTreeMap<K, V> => BTreeMap<K, BatchOf<V>>;
    // Ordered, so that a key has the same buffers in every batch.
    [K: Hash + Ord + Clone + Debug + Send + Sync, V, H: BuildHasher + Default + Send]
        HashMap<K, V, H> => HashMap<K, BatchOf<V>, H>;
}
