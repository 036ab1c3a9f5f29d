//! The consumer: takes the batches of an epoch, keeps some of them, and leaves when it is told to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::sleep;

use sutler::chaos::Gate;
use sutler::{Error, ErrorKind, LoaderState};

use crate::data::Name;
use crate::draw::Draw;
use crate::follow::{Follower, Item};
use crate::kinds::Kind;
use crate::loading::{Loading, Running};
use crate::plan::{Consumer, Plan, Stop};
use crate::{Check, ensure};

pub struct Visit<'a, K: Kind> {
    pub plan: &'a Plan,
    pub gate: &'a Gate,
    pub loader: &'a dyn Loading<K::Batch>,
    pub stop: Option<Stop>,
    pub draw: Draw,
    pub kept: Vec<Kept<K>>,
}

/// A batch, and what it was when it came.
pub struct Kept<K: Kind> {
    batch: K::Batch,
    rows: Vec<u64>,
}

impl<K: Kind> Kept<K> {
    pub fn release(self) -> Check {
        ensure!(K::rows(&self.batch)? == self.rows, "a batch has changed while it was kept");
        Ok(())
    }
}

/// Where the consumer left the epoch.
pub struct Left {
    pub state: LoaderState,
    pub is_over: bool,
}

impl<K: Kind> Visit<'_, K> {
    pub fn consume(&mut self, mut running: Box<dyn Running<K::Batch>>, follower: &mut Follower<'_, K>) -> Check<Left> {
        let mut taken = 0;
        loop {
            if let Some(stop) = self.stop
                && taken == stop.after
            {
                return Ok(self.leave(running, follower, stop));
            }
            let Some(item) = running.next() else {
                follower.ended(&self.loader.quarantine())?;
                ensure!(running.next().is_none(), "there is something behind the end");
                return Ok(Left { state: running.state(), is_over: true });
            };
            match &item {
                Err(error) if error.kind() == ErrorKind::Timeout => {
                    self.timed_out(error, &mut *running, follower)?;
                    continue;
                }
                _ => taken += 1,
            }
            let rows = match &item {
                Ok(batch) => Ok(K::rows(batch)?),
                Err(error) => Err(error),
            };
            let came = Item { rows, indices: running.indices() };
            follower.took(&came, &self.loader.quarantine())?;
            follower.check_left(running.left())?;
            if let Item { rows: Ok(rows), .. } = came {
                self.use_up(Kept { rows, batch: item.expect("it has rows") }, follower)?;
            }
        }
    }

    fn use_up(&mut self, batch: Kept<K>, follower: &mut Follower<'_, K>) -> Check {
        match self.plan.consumer {
            Consumer::Brisk => {}
            Consumer::Slow { pause } => sleep(pause),
            Consumer::Keeping { most, .. } => {
                follower.books.tally.add("batches kept", 1);
                self.kept.push(batch);
                if self.kept.len() > most {
                    let place = self.draw.from(0..=most);
                    return self.kept.swap_remove(place).release();
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, running: Box<dyn Running<K::Batch>>, follower: &mut Follower<'_, K>, stop: Stop) -> Left {
        let left = Left { state: running.state(), is_over: false };
        follower.books.tally.add("epochs left early", 1);
        if stop.panics {
            follower.books.tally.add("epochs left by a panic", 1);
            // What the consumer has is dropped while its stack is unwound.
            let had = (running, self.kept.pop());
            let _ = catch_unwind(AssertUnwindSafe(move || {
                let _had = had;
                panic!("injected by chaos: the consumer has had enough");
            }));
        }
        left
    }

    fn timed_out(
        &mut self,
        error: &Error,
        running: &mut dyn Running<K::Batch>,
        follower: &mut Follower<'_, K>,
    ) -> Check {
        ensure!(self.plan.timeout.is_some(), "there is no timeout: {error}");
        follower.timed_out();
        let Some(hang) = self.plan.faults.hang else { return Ok(()) };
        let name = Name { shard: hang.shard, index: hang.index };
        if !error.to_string().contains(&format!("{name} (")) {
            return Ok(());
        }
        // Once; the next time it is let go.
        if hang.give_up && follower.books.tally.get("batches given up") == 0 {
            let indices = running.give_up();
            if !indices.is_empty() {
                return follower.gave_up(&indices, &self.loader.quarantine());
            }
        }
        self.gate.open();
        Ok(())
    }
}
