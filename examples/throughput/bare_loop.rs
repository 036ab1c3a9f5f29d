//! The same work without a loader: what no loader can be faster than.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use sutler::image::{Image, ImageTensor, LazyImage};
use sutler::transform::{ToTensor, Transform};
use sutler::{Dataset, Element, Generator, ImageFolder, RandomSampler, SampleRng, Sampler};

use super::settings::Settings;
use super::{Epoch, Error, SEED};

/// Threads that take the next file from a counter, and transform it into a tensor of their own.
pub(super) struct BareLoop<'a, A, T> {
    pub(super) folder: &'a ImageFolder,
    pub(super) augment: A,
    pub(super) to_tensor: ToTensor<T>,
}

impl<A, T> BareLoop<'_, A, T>
where
    A: Transform<LazyImage, Output = Image>,
    T: Element + Default,
{
    pub(super) fn epoch(&self, epoch: u64, settings: &Settings, bar: &ProgressBar) -> Result<Epoch, Error> {
        let images = self.folder.len();
        let order = RandomSampler::new(Generator::manual_seed(SEED)).order(epoch, images)?;
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let started = Instant::now();
        let first_batch = std::thread::scope(|scope| {
            let thread = || -> Result<Option<Duration>, Error> {
                let mut first_batch = None;
                let mut tensor = vec![T::default(); 3 * settings.size * settings.size];
                loop {
                    let position = next.fetch_add(1, Relaxed);
                    if position >= images {
                        return Ok(first_batch);
                    }
                    self.load(order.get(position), epoch, position)?.write_to(&mut tensor);
                    let done = done.fetch_add(1, Relaxed) + 1;
                    if done % settings.batch_size == 0 || done == images {
                        bar.set_position((epoch as usize * images + done) as u64);
                    }
                    if done == settings.batch_size.min(images) {
                        first_batch = Some(started.elapsed());
                    }
                }
            };
            let threads: Vec<_> = (0..settings.workers).map(|_| scope.spawn(thread)).collect();
            let mut first_batch = Duration::ZERO;
            for thread in threads {
                let found = thread.join().map_err(|_| "a thread of the bare loop panicked")??;
                first_batch = first_batch.max(found.unwrap_or_default());
            }
            Ok::<_, Error>(first_batch)
        })?;
        Ok(Epoch { images, time: started.elapsed(), first_batch, stats: None })
    }

    /// As the loader does, whose sample at `position` draws the same.
    fn load(&self, index: usize, epoch: u64, position: usize) -> sutler::Result<ImageTensor<T>> {
        let rng = &mut SampleRng::new(SEED, epoch, position);
        let (image, _) = self.folder.get(index, rng)?;
        self.to_tensor.apply(self.augment.apply(image, rng)?, rng)
    }
}
