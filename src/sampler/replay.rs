//! `Replay`: a generator that goes on from epoch to epoch, as torch's samplers draw, behind a function of the epoch.

use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::rng::Generator;

/// A generator that several epochs draw from in turn.
///
/// An epoch's draws are defined by replaying all epochs before it. Where the last call began and where it left the
/// generator is kept, which spares the replay to whoever goes through them one by one, or asks for the same one again.
#[derive(Debug)]
pub(super) struct Replay {
    generator: Generator,
    sharing: Sharing,
    reached: Mutex<[Option<Reached>; 2]>,
}

/// Who else draws from the generator at each epoch, before the sampler does (`torch/utils/data/dataloader.py`).
#[derive(Clone, Copy, Debug)]
pub(super) enum Sharing {
    /// Nobody.
    Own,
    /// A `DataLoader` takes one int64, its base seed, whenever an iterator is made.
    Loader,
    /// With persistent workers, one iterator serves all epochs.
    PersistentLoader,
}

#[derive(Clone, Debug)]
struct Reached {
    epoch: u64,
    len: usize,
    /// The generator as it is when `epoch` begins.
    generator: Generator,
}

impl Replay {
    pub(super) fn new(generator: Generator, sharing: Sharing) -> Self {
        Replay { generator, sharing, reached: Mutex::new([None, None]) }
    }

    pub(super) fn share(&mut self, sharing: Sharing) {
        *self = Replay::new(self.generator.clone(), sharing);
    }

    /// Draws epoch `epoch`. `skip` passes over what an epoch draws; `len` is all that both depend on.
    ///
    /// # Errors
    ///
    /// If it is too many epochs away.
    pub(super) fn draw<T>(
        &self,
        epoch: u64,
        len: usize,
        skip: impl Fn(&mut Generator),
        draw: impl FnOnce(&mut Generator) -> Result<T>,
    ) -> Result<T> {
        /// More epochs than anybody has trained, and minutes of work where one is a million samples: a damaged state.
        const FARTHEST: u64 = 1 << 20;
        // Not locked while drawing, which can take long.
        let nearest = {
            let reached = self.reached();
            let usable = reached.iter().flatten().filter(|reached| reached.len == len && reached.epoch <= epoch);
            usable.max_by_key(|reached| reached.epoch).cloned()
        };
        let start = || Reached { epoch: 0, len, generator: self.generator.clone() };
        let Reached { epoch: mut at, mut generator, .. } = nearest.unwrap_or_else(start);
        if epoch - at > FARTHEST {
            return Err(Error::new(
                ErrorKind::Limit,
                format!(
                    "the order of epoch {epoch} is drawn after those of the {} epochs before it, which would take too \
                     long: use a sampler that draws each epoch by itself (KeyedSampler, DistributedSampler)",
                    epoch - at
                ),
            ));
        }
        while at < epoch {
            self.begin(at, &mut generator);
            skip(&mut generator);
            at += 1;
        }
        let began = Reached { epoch, len, generator: generator.clone() };
        self.begin(epoch, &mut generator);
        let drawn = draw(&mut generator)?;
        *self.reached() = [Some(began), epoch.checked_add(1).map(|epoch| Reached { epoch, len, generator })];
        Ok(drawn)
    }

    /// What others draw before the sampler does.
    fn begin(&self, epoch: u64, generator: &mut Generator) {
        match self.sharing {
            Sharing::Loader => drop(generator.random()),
            Sharing::PersistentLoader if epoch == 0 => drop(generator.random()),
            Sharing::PersistentLoader | Sharing::Own => {}
        }
    }

    fn reached(&self) -> std::sync::MutexGuard<'_, [Option<Reached>; 2]> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The method that every sampler with a generator has.
macro_rules! shared_with_loader {
    ($replay:ident) => {
        /// The generator is also the loader's: `DataLoader(sampler=…(generator=g), generator=g)`. The loader then draws an
        /// int64 from it before each epoch, or with `persistent_workers` once.
        pub fn shared_with_loader(mut self, persistent_workers: bool) -> Self {
            self.$replay.share(match persistent_workers {
                false => $crate::sampler::replay::Sharing::Loader,
                true => $crate::sampler::replay::Sharing::PersistentLoader,
            });
            self
        }
    };
}

pub(super) use shared_with_loader;
