//! `Order`: the indices of one epoch, with random access.

/// The order of one epoch: which sample stands at which position.
///
/// Random access is what a resume (start at a position) and a rank (every n-th position) need. Made by
/// [`sequential`](Order::sequential), or from any list or iterator of indices.
#[derive(Clone, Debug)]
pub struct Order(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Sequential(usize),
    // Four bytes an index do for all but the largest sets, and halve what a shuffled epoch holds in memory.
    Narrow(Vec<u32>),
    Wide(Vec<usize>),
}

impl Order {
    /// `0, 1, … len - 1`, in no memory.
    pub fn sequential(len: usize) -> Self {
        Order(Repr::Sequential(len))
    }

    pub(crate) fn narrow(indices: Vec<u32>) -> Self {
        Order(Repr::Narrow(indices))
    }

    /// How many samples the epoch has.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Sequential(len) => *len,
            Repr::Narrow(indices) => indices.len(),
            Repr::Wide(indices) => indices.len(),
        }
    }

    /// Whether the epoch has no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index of the sample at `position`.
    ///
    /// # Panics
    ///
    /// If `position` is not below [`len`](Order::len).
    #[inline]
    pub fn get(&self, position: usize) -> usize {
        match &self.0 {
            Repr::Sequential(len) => {
                assert!(position < *len, "position {position} of an order of {len}");
                position
            }
            Repr::Narrow(indices) => indices[position] as usize,
            Repr::Wide(indices) => indices[position],
        }
    }

    /// All indices, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        (0..self.len()).map(|position| self.get(position))
    }
}

impl From<Vec<usize>> for Order {
    fn from(indices: Vec<usize>) -> Self {
        Order(Repr::Wide(indices))
    }
}

impl FromIterator<usize> for Order {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        Order::from(indices.into_iter().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_gives_the_indices_it_was_made_of() {
        for (order, expected) in [
            (Order::sequential(3), vec![0, 1, 2]),
            (Order::narrow(vec![2, 0, 2]), vec![2, 0, 2]),
            (Order::from(vec![7, 9]), vec![7, 9]),
            (Order::sequential(0), vec![]),
        ] {
            assert_eq!(order.iter().collect::<Vec<_>>(), expected);
            assert_eq!((order.len(), order.is_empty()), (expected.len(), expected.is_empty()));
        }
    }

    #[test]
    #[should_panic(expected = "position 3 of an order of 3")]
    fn a_position_past_the_end_panics() {
        Order::sequential(3).get(3);
    }
}
