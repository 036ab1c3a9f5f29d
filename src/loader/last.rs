//! `Last`: which samples the batch has that was delivered last.

use super::bad::Bad;
use crate::sampler::{Batches, Run};

/// The samples of a batch, as it was made.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    run: Run,
    /// The slots whose samples were left out, in order.
    left_out: Vec<usize>,
    /// The slots whose samples were replaced, in order, and the indices of those in their place.
    replaced: Vec<(usize, usize)>,
}

impl Last {
    pub(super) fn new(run: Run, bad: &[Bad]) -> Self {
        Last {
            run,
            left_out: bad.iter().filter(|bad| bad.is_left_out()).map(|bad| bad.slot).collect(),
            replaced: bad.iter().filter_map(|bad| Some((bad.slot, bad.substitute?))).collect(),
        }
    }

    /// How many samples it has.
    pub(super) fn len(&self) -> usize {
        self.run.len - self.left_out.len()
    }

    /// How many samples at its end are padding.
    pub(super) fn padding(&self) -> usize {
        self.run.padding() - self.left_out.iter().filter(|&&slot| slot >= self.run.valid).count()
    }

    /// The index of its `number`-th sample.
    pub(super) fn index(&self, number: usize, batches: &Batches) -> usize {
        let slot = self.left_out.iter().fold(number, |slot, &left_out| slot + usize::from(left_out <= slot));
        match self.replaced.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(place) => self.replaced[place].1,
            Err(_) => batches.index_at(self.run.place(slot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Order;

    #[test]
    fn what_was_left_out_or_replaced_is_not_counted_as_delivered() {
        let batches = Batches::every(8, Order::sequential(16), false).unwrap();
        let bad = |slot, substitute| Bad { slot, errors: vec![], substitute };
        let all = [bad(0, None), bad(2, Some(3)), bad(3, None), bad(4, None), bad(7, None)];
        let mut run = batches.run(1);
        run.valid = 5;
        let last = Last::new(run, &all);
        let indices: Vec<usize> = (0..last.len()).map(|number| last.index(number, &batches)).collect();
        assert_eq!((indices, last.padding()), (vec![9, 3, 13, 14], 2));
        assert_eq!((Last::default().len(), Last::new(run, &[]).padding()), (0, 3));
    }
}
