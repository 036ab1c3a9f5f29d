//! The worker threads: they take a batch, decode it, ask the model, and write down how each job ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use sutler::image::ImageTensor;

use crate::app::App;
use crate::job::{self, JobId, Label, Outcome, Status};
use crate::queue::Batch;
use crate::say::complain;
use crate::store::{Begun, Error};

/// How often a job may be begun. One that never ends, in so many processes, ended them.
const MAX_STARTS: u32 = 3;

pub struct Workers {
    /// How many there are that have not ended.
    running: Arc<(Mutex<usize>, Condvar)>,
}

impl Workers {
    pub fn start(app: &Arc<App>, count: usize) -> io::Result<Self> {
        let running = Arc::new((Mutex::new(0), Condvar::new()));
        for number in 0..count {
            let (app, guard) = (Arc::clone(app), Running::new(&running));
            thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let _guard = guard;
                work(&app);
            })?;
        }
        Ok(Workers { running })
    }

    /// Waits until all have ended, for so long; false if some have not.
    pub fn wait(&self, time: Duration) -> bool {
        let (running, changed) = &*self.running;
        let running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let still = |running: &mut usize| *running > 0;
        *changed.wait_timeout_while(running, time, still).unwrap_or_else(PoisonError::into_inner).0 == 0
    }
}

/// Counts a worker until it is dropped, however the worker ends.
struct Running(Arc<(Mutex<usize>, Condvar)>);

impl Running {
    fn new(running: &Arc<(Mutex<usize>, Condvar)>) -> Self {
        *running.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Running(Arc::clone(running))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (running, changed) = &*self.0;
        *running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        changed.notify_all();
    }
}

fn work(app: &App) {
    let mut numbers = Vec::new();
    while let Some(batch) = app.queue.take(app.settings.max_batch, app.settings.max_wait) {
        let begun = Instant::now();
        let outcomes = catch_unwind(AssertUnwindSafe(|| outcomes(app, &batch, &mut numbers)));
        // A mistake of the service's own. It is said to be one: a worker that ended here would leave its jobs running.
        let broken = |_| Some(batch.ids.iter().map(|&id| (id, Outcome::failed("the service failed"))).collect());
        let Some(outcomes) = outcomes.unwrap_or_else(broken) else { return };
        // However long the store is away: what was found out is kept, and nothing new is begun.
        if insist(app, "write results", || app.store.finish(&outcomes)).is_none() {
            return;
        }
        app.pace.add(begun.elapsed(), batch.ids.len());
        outcomes.into_iter().for_each(|(id, outcome)| app.board.end(id, outcome));
    }
}

/// How the jobs of a batch end. `None` if the service stops before that is known.
fn outcomes(app: &App, batch: &Batch, numbers: &mut Vec<f32>) -> Option<Vec<(JobId, Outcome)>> {
    let start = insist(app, "draw a number", || Ok(job::random()?))?;
    let begun = insist(app, "begin jobs", || app.store.begin(&batch.ids, start))?;
    batch.ids.iter().for_each(|&id| app.board.run(id, start));
    let (mut outcomes, mut decoded) = (Vec::new(), Vec::new());
    for (&id, begun) in batch.ids.iter().zip(begun) {
        match begun {
            Begun::Image { starts, .. } if starts > MAX_STARTS => {
                let reason =
                    format!("the job was begun {MAX_STARTS} times, and each time the service ended before it did");
                outcomes.push((id, Outcome::failed(reason)));
            }
            Begun::Image { image, .. } => match app.decoder.decode(image) {
                Ok(image) => decoded.push((id, image)),
                Err(refusal) => outcomes.push((id, Outcome::failed(refusal.reason))),
            },
            Begun::Lost => outcomes.push((id, Outcome::failed("the store has lost the image"))),
            Begun::Ended => match insist(app, "read a result", || app.store.status(id))? {
                Some(Status::Ended(outcome)) => app.board.end(id, outcome),
                // It was accepted, and is not there: a server without a disk was started again, say.
                _ => outcomes.push((id, Outcome::failed("the store has lost the job"))),
            },
        }
    }
    let labels = labels(app, &decoded, numbers);
    outcomes.extend(decoded.iter().zip(labels).map(|((id, _), outcome)| (*id, outcome)));
    Some(outcomes)
}

/// What the model says of each image, or why it says nothing.
fn labels(app: &App, decoded: &[(JobId, ImageTensor<f32>)], numbers: &mut Vec<f32>) -> Vec<Outcome> {
    if decoded.is_empty() {
        return Vec::new();
    }
    numbers.resize(decoded.len() * app.decoder.numbers(), 0.0);
    for ((_, image), numbers) in decoded.iter().zip(numbers.chunks_mut(app.decoder.numbers())) {
        image.write_to(numbers);
    }
    let run = || app.model.run(numbers, app.decoder.side);
    let failed = |reason: &str| vec![Outcome::failed(reason); decoded.len()];
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(labels)) if labels.len() == decoded.len() => {
            let outcome = |labels: Vec<Label>| match labels.iter().all(|label| label.score.is_finite()) {
                true => Outcome::Done { model: app.model.name().into(), labels },
                false => Outcome::failed("the model gave no number for this image"), // nor has JSON one for it
            };
            labels.into_iter().map(outcome).collect()
        }
        Ok(Ok(labels)) => {
            complain(format_args!("the model gave {} answers for {} images", labels.len(), decoded.len()));
            failed("the model gave no answer for this image")
        }
        Ok(Err(error)) => {
            complain(format_args!("the model failed: {error}"));
            failed("the model failed on the batch that this image was in")
        }
        // The message is on stderr already.
        Err(_) => failed("the model panicked on the batch that this image was in"),
    }
}

/// Asks the store again and again until it does what it is asked: jobs that were accepted depend on it. `None` if the
/// service stops first; the store has them still.
fn insist<T>(app: &App, what: &str, ask: impl Fn() -> Result<T, Error>) -> Option<T> {
    let mut pause = Duration::from_millis(50);
    let mut has_failed = false;
    loop {
        match ask() {
            Ok(value) => {
                if has_failed {
                    complain(format_args!("the store is back: it could {what}"));
                }
                return Some(value);
            }
            Err(error) => {
                if !has_failed {
                    complain(format_args!("the store cannot {what}, which is tried again until it can: {error}"));
                }
                has_failed = true;
            }
        }
        if !app.queue.pause(pause) {
            return None;
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
