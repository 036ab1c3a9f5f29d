//! Models with something the matter with them.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::job::Label;
use crate::model::{MeanColour, Model};
use crate::store::Error;

/// Images of this colour do it.
pub const POISON: [u8; 3] = [255, 0, 255];

/// What [`MeanColour`] calls it.
const POISONOUS: &str = "fuchsia";

fn is_poison(labels: &[Label]) -> bool {
    labels[0].name == POISONOUS && labels[0].score > 0.98
}

/// Takes a while for each batch, and calls a function where there is poison in it.
pub struct Poisoned {
    pub effect: fn(),
    pub time: Duration,
}

impl Model for Poisoned {
    fn name(&self) -> &str {
        "poisoned"
    }

    fn run(&self, images: &[f32], side: usize) -> Result<Vec<Vec<Label>>, Error> {
        let labels = MeanColour.run(images, side)?;
        thread::sleep(self.time);
        if labels.iter().any(|labels| is_poison(labels)) {
            (self.effect)();
        }
        Ok(labels)
    }
}

/// Holds every batch until it is opened, and remembers how many images each had.
#[derive(Clone, Default)]
pub struct Gate {
    is_open: Arc<(Mutex<bool>, Condvar)>,
    pub batches: Arc<Mutex<Vec<usize>>>,
    pub fails: Arc<AtomicBool>,
}

impl Gate {
    pub fn open(&self) {
        *self.is_open.0.lock().unwrap() = true;
        self.is_open.1.notify_all();
    }

    /// Waits until it is open.
    pub fn pass(&self) -> Result<(), Error> {
        let is_open = self.is_open.0.lock().unwrap();
        drop(self.is_open.1.wait_while(is_open, |is_open| !*is_open).unwrap());
        Ok(())
    }
}

impl Model for Gate {
    fn name(&self) -> &str {
        "gate"
    }

    fn run(&self, images: &[f32], side: usize) -> Result<Vec<Vec<Label>>, Error> {
        self.batches.lock().unwrap().push(images.len() / (3 * side * side));
        self.pass()?;
        match self.fails.load(SeqCst) {
            true => Err("secret: /etc/model".into()),
            false => MeanColour.run(images, side),
        }
    }
}
