//! Samples that can be told from each other by a sum.

use sutler::{Dataset, Result, SampleRng, Shape, Stackable};
use tch::{Device, Kind, Tensor};

/// A prime above the number of samples. All numbers are whole and below it, and so are the weights: products are below
/// 2^24 and exact as `f32`, and sums of them are exact as `f64`, in whatever order they are added.
const MODULUS: usize = 4093;

/// Image-like floats, a label, and a name, all made of the index.
pub(super) struct Patterns {
    pub(super) elements: usize,
    pub(super) len: usize,
}

impl Dataset for Patterns {
    type Sample = (Grid, i64, String);

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<Self::Sample> {
        Ok((Grid { index, elements: self.elements }, label(index), name(index)))
    }
}

pub(super) struct Grid {
    pub(super) index: usize,
    pub(super) elements: usize,
}

impl Stackable for Grid {
    type Element = f32;

    fn shape(&self) -> Shape {
        [self.elements].into()
    }

    fn write(&self, slot: &mut [f32]) -> Result<()> {
        let mut value = element(self.index, 0);
        for out in slot {
            *out = value as f32;
            value = (value + 7) % MODULUS;
        }
        Ok(())
    }
}

fn element(index: usize, position: usize) -> usize {
    (index * 1021 + position * 7) % MODULUS
}

fn label(index: usize) -> i64 {
    index as i64 * 1_000_003 + 17
}

fn name(index: usize) -> String {
    format!("sample {index}")
}

/// Weighted sums of a batch: what they should be, and on a device what they are. Every number's weight follows from its place,
/// so that a number in another's place is noticed as well.
pub(super) struct Checksums {
    /// Of the floats of each sample.
    of_samples: Vec<u64>,
    weights: Tensor,
    rows: Tensor,
    whole_rows: Tensor,
    /// How many batches had wrong floats, and how many wrong labels; on the device, so that nobody has to wait for it.
    wrong: [Tensor; 2],
    wrong_names: i64,
}

/// How many batches were wrong.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Mismatches {
    pub(super) floats: i64,
    pub(super) labels: i64,
    pub(super) names: i64,
}

impl Mismatches {
    pub(super) fn total(self) -> i64 {
        self.floats + self.labels + self.names
    }
}

impl Checksums {
    pub(super) fn new(patterns: &Patterns, batch_size: usize, device: Device) -> Self {
        let weight = |position: usize| 1 + position % MODULUS;
        let of_sample = |index| (0..patterns.elements).map(|at| (weight(at) * element(index, at)) as u64).sum();
        let weights: Vec<f32> = (0..patterns.elements).map(|at| weight(at) as f32).collect();
        let zero = || Tensor::zeros([], (Kind::Int64, device));
        Checksums {
            of_samples: (0..patterns.len).map(of_sample).collect(),
            weights: Tensor::from_slice(&weights).to_device(device),
            rows: Tensor::arange_start(1, batch_size as i64 + 1, (Kind::Double, device)),
            whole_rows: Tensor::arange_start(1, batch_size as i64 + 1, (Kind::Int64, device)),
            wrong: [zero(), zero()],
            wrong_names: 0,
        }
    }

    /// Has the device compare a batch with what it should be, when it comes to that; does not wait.
    pub(super) fn compare(&mut self, (floats, labels, names): (&Tensor, &Tensor, &[String]), indices: &[usize]) {
        let rows = || indices.iter().zip(1_u64..);
        let expected: u64 = rows().map(|(&index, row)| self.of_samples[index] * row).sum();
        let sums = (floats * &self.weights).sum_dim_intlist([1_i64].as_slice(), false, Kind::Double);
        // The numbers that are expected travel with the kernels, as arguments, and cannot be wrong as a batch can be.
        let _ = self.wrong[0].g_add_(&(sums * &self.rows).sum(Kind::Double).ne(expected as f64));

        let expected: i64 = rows().map(|(&index, row)| label(index) * row as i64).sum();
        let _ = self.wrong[1].g_add_(&(labels * &self.whole_rows).sum(Kind::Int64).ne(expected));

        let names_are_right = names.len() == indices.len() && names.iter().zip(indices).all(|(a, &b)| *a == name(b));
        self.wrong_names += i64::from(!names_are_right);
    }

    /// Waits for the device, and says what it has found so far.
    pub(super) fn mismatches(&self) -> Mismatches {
        let [floats, labels] = self.wrong.each_ref().map(|count| count.int64_value(&[]));
        Mismatches { floats, labels, names: self.wrong_names }
    }
}
