//! Strings and what else no tensor can hold: the batch is a list of them.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Collate, Gathered, Stack};
use crate::error::{Error, Result};
use crate::memory::BatchPlan;

/// What `Collate` asks for beside `finish`, for a part that gathers.
macro_rules! gather {
    ($sample:ty) => {
        type Part = Gathered<$sample>;

        fn start(&self, plan: BatchPlan<'_>) -> Self::Part {
            Gathered::new(plan.len)
        }

        fn split_off(&self, part: &mut Self::Part, at: usize) -> Self::Part {
            part.split_off(at)
        }

        fn push(&self, part: &mut Self::Part, sample: $sample) -> Result<()> {
            part.push(sample);
            Ok(())
        }

        fn rewind(&self, part: &mut Self::Part, len: usize) -> Result<()> {
            part.rewind(len);
            Ok(())
        }

        fn unite(&self, part: &mut Self::Part, next: Self::Part) {
            part.unite(next);
        }
    };
}

macro_rules! lists {
    ($($sample:ty),*) => {$(
        /// Stays a list of the samples, as `str` does in torch's `default_collate`.
        impl Collate<$sample> for Stack {
            type Batch = Vec<$sample>;
            gather! { $sample }

            fn finish(&self, part: Self::Part) -> Result<Self::Batch> {
                Ok(part.into_samples())
            }
        }
    )*};
}

macro_rules! sequences {
    ($($item:ty),*) => {$(
        /// A sequence is transposed, as in torch's `default_collate`: one list for each position, of the strings that
        /// the samples have there. A sample of another length than the first is an error that names both.
        impl Collate<Vec<$item>> for Stack {
            type Batch = Vec<Vec<$item>>;
            gather! { Vec<$item> }

            fn finish(&self, part: Self::Part) -> Result<Self::Batch> {
                transposed(part.into_samples())
            }
        }
    )*};
}

lists! { String, &'static str, Arc<str>, PathBuf, () }
sequences! { String, &'static str, Arc<str>, PathBuf }

/// `[N][L]` to `[L][N]`.
fn transposed<T>(samples: Vec<Vec<T>>) -> Result<Vec<Vec<T>>> {
    let (len, count) = (samples.first().map_or(0, Vec::len), samples.len());
    if let Some(slot) = samples.iter().position(|sample| sample.len() != len) {
        let before = format!("it is a sequence of {}, but ", samples[slot].len());
        let after = format!(
            " is one of {len}: sequences of strings are transposed, so all must have one length \
             (cut or fill them, or use a collate function)"
        );
        return Err(Error::clash(before, 0, count, after).with_slot(slot));
    }
    let mut positions: Vec<Vec<T>> = (0..len).map(|_| Vec::with_capacity(count)).collect();
    for sample in samples {
        for (position, item) in positions.iter_mut().zip(sample) {
            position.push(item);
        }
    }
    Ok(positions)
}
