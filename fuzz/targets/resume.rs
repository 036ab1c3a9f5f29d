//! What a state does to a loader.

use sutler::{
    BucketBatchSampler, Dataset, Distributed, Error, ErrorKind, InMemory, IterableDataset, IterableLoader, Loader,
    LoaderBuilder, LoaderState, OnError, Result, SampleRng,
};

use super::{measured, of_kind};

/// A state that parses is refused by a loader or goes on in it, to an end, and no sample comes twice.
pub fn resume(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(state) = text.parse::<LoaderState>() else { return };
    let data: InMemory<i64> = (0..11).collect();
    let builder = || Loader::builder(data.clone()).seed(7);
    let ranks = Distributed::new(1, 3).expect("1 is below 3");
    let buckets = BucketBatchSampler::new([3, 9, 1, 1, 2, 8, 8, 8, 1, 2, 5], 2).expect("lengths").pool_batches(2);
    resumed(builder().batch_size(3), &state, text);
    resumed(builder().batch_size(2).shuffle(true).drop_last(true), &state, text);
    resumed(builder().batch_size(3).shuffle(true).distributed(ranks), &state, text);
    resumed(builder().batch_size(1).distributed(ranks.drop_last(true)), &state, text);
    resumed(builder().batch_sampler(buckets), &state, text);
    let bad = data
        .clone()
        .map(|sample: i64, _: &mut SampleRng| if sample == 4 { Err(Error::msg("four")) } else { Ok(sample) });
    resumed(Loader::builder(bad).seed(7).batch_size(2).shuffle(true).on_error(OnError::Skip), &state, text);
    resumed_iterable(Shards(&[3, 0, 4, 1, 2]), &state, text);
}

/// How a state may be refused: by what it says, or because its epoch is too far away to be drawn.
const OF_A_STATE: [ErrorKind; 2] = [ErrorKind::State, ErrorKind::Limit];

fn resumed<D: Dataset<Sample = i64> + 'static>(builder: LoaderBuilder<D>, state: &LoaderState, text: &str) {
    let loader = builder.build().expect("a loader");
    if let Err(error) = loader.resume(state) {
        of_kind(&error, &OF_A_STATE);
    }
    // No guess is a fingerprint: the position as the text has it, in a state that otherwise fits.
    let own = loader.epoch_at(state.epoch()).state().to_string();
    let Ok(grafted) = graft(&own, text).parse::<LoaderState>() else { return };
    let (epoch, asked) = measured(|| loader.resume(&grafted));
    assert!(asked <= 64 << 10, "{asked} bytes to resume");
    match epoch {
        Ok(mut epoch) => {
            let (batches, mut had) = (epoch.len(), 0);
            let mut seen = [0; 11];
            while let Some(batch) = epoch.next() {
                had += 1;
                let batch = batch.expect("a batch");
                let own = batch.len() - epoch.padding();
                batch[..own].iter().for_each(|&index| seen[index as usize] += 1);
                let state = epoch.state();
                assert_eq!(state.to_string().parse::<LoaderState>().expect("of an epoch"), state);
            }
            assert!(had <= batches && seen.iter().all(|&count| count <= 1), "{had} of {batches}: {seen:?}");
            loader.epoch().for_each(|batch| drop(batch.expect("a batch of the next epoch")));
        }
        Err(error) => of_kind(&error, &OF_A_STATE),
    }
}

/// Shards of so many records each.
struct Shards(&'static [usize]);

impl IterableDataset for Shards {
    type Record = usize;
    type Records = std::iter::Map<std::iter::Skip<std::ops::Range<usize>>, fn(usize) -> Result<usize>>;
    type Sample = i64;

    fn num_shards(&self) -> usize {
        self.0.len()
    }

    fn records(&self, shard: usize, _epoch: u64, skip: usize) -> Result<Self::Records> {
        let first = self.0[..shard].iter().sum::<usize>();
        Ok((first..first + self.0[shard]).skip(skip).map(Ok))
    }

    fn decode(&self, record: usize, _rng: &mut SampleRng) -> Result<i64> {
        Ok(record as i64)
    }
}

fn resumed_iterable(shards: Shards, state: &LoaderState, text: &str) {
    let records = shards.0.iter().sum::<usize>();
    let loader = IterableLoader::builder(shards).batch_size(2).seed(7).interleave(3).build().expect("a loader");
    if let Err(error) = loader.resume(state) {
        of_kind(&error, &OF_A_STATE);
    }
    let own = loader.epoch_at(state.epoch()).state().to_string();
    let Ok(grafted) = graft(&own, text).parse::<LoaderState>() else { return };
    let (epoch, asked) = measured(|| loader.resume(&grafted));
    assert!(asked <= 64 << 10, "{asked} bytes to resume");
    match epoch {
        Ok(mut epoch) => {
            let mut seen = vec![0; records];
            while let Some(batch) = epoch.next() {
                batch.expect("a batch").iter().for_each(|&record| seen[record as usize] += 1);
                let state = epoch.state();
                assert_eq!(state.to_string().parse::<LoaderState>().expect("of an epoch"), state);
            }
            assert!(seen.iter().all(|&count| count <= 1), "{seen:?}");
        }
        Err(error) => of_kind(&error, &OF_A_STATE),
    }
}

/// `own`, a state as it is written, standing where `theirs` says.
fn graft(own: &str, theirs: &str) -> String {
    let word = |key: &str| theirs.split(' ').find(|word| word.starts_with(key));
    let words = own.split(' ').map(|word_of_own| {
        let key = word_of_own.split_inclusive('=').next().unwrap_or_default();
        match key {
            "position=" | "shards=" => word(key).unwrap_or(word_of_own).to_string(),
            "sampler=" => {
                let theirs = ["had=", "bad="].into_iter().filter_map(word).flat_map(|word| [word, " "]);
                theirs.chain([word_of_own]).collect()
            }
            _ => word_of_own.to_string(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
