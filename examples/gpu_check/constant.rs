//! Batches that cost the loader nothing.

use sutler::{Dataset, Loader, Result, SampleRng, Shape, Stackable};

use super::settings::Settings;

/// Samples of the shape of an image, of which one number is written: what is measured is the copy, not the loader.
pub(super) struct Constants {
    side: usize,
    len: usize,
}

pub(super) struct Constant {
    side: usize,
}

impl Dataset for Constants {
    type Sample = Constant;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, _index: usize, _rng: &mut SampleRng) -> Result<Constant> {
        Ok(Constant { side: self.side })
    }
}

impl Stackable for Constant {
    type Element = f32;

    fn shape(&self) -> Shape {
        [3, self.side, self.side].into()
    }

    fn write(&self, slot: &mut [f32]) -> Result<()> {
        if let Some(first) = slot.first_mut() {
            *first = 1.0;
        }
        Ok(())
    }
}

/// A loader of `batches` batches of 64 such images of 224x224 (38.5 MB).
pub(super) fn loader(settings: &Settings, batches: usize) -> Result<Loader<Constants>> {
    let (batch_size, side) = settings.pick((64, 224), (8, 32));
    Loader::builder(Constants { side, len: batches * batch_size })
        .batch_size(batch_size)
        .num_workers(settings.workers)
        .prefetch_batches(4)
        .pin_memory(settings.pin_memory())
        .build()
}
