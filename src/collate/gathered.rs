//! `Gathered`: the samples of a part as they are, for collates that need all of them at once.

/// Samples of a part, gathered in order: moved here, not copied.
#[derive(Debug)]
pub struct Gathered<S> {
    samples: Vec<S>,
    /// How many there will be at most. Room is made for them when the first one comes.
    len: usize,
}

impl<S> Gathered<S> {
    pub(super) fn new(len: usize) -> Self {
        Gathered { samples: Vec::new(), len }
    }

    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let rest = self.len - at;
        self.len = at;
        Gathered::new(rest)
    }

    pub(super) fn push(&mut self, sample: S) {
        if self.samples.capacity() == 0 {
            self.samples.reserve_exact(self.len);
        }
        self.samples.push(sample);
    }

    pub(super) fn rewind(&mut self, len: usize) {
        self.samples.truncate(len);
    }

    pub(super) fn unite(&mut self, mut next: Self) {
        self.samples.append(&mut next.samples);
        self.len += next.len;
    }

    pub(super) fn into_samples(self) -> Vec<S> {
        self.samples
    }
}
