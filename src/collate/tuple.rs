//! Tuples: each field of the sample is collated by itself.

use super::{Collate, Stack};
use crate::error::Result;
use crate::memory::BatchPlan;

/// For `(A, B, …)`: once with a collate for each field, once with `Stack` for all.
macro_rules! tuples {
    ($(($($sample:ident $collate:ident $field:tt),+))*) => {$(
        /// A tuple of collates makes a tuple of batches: each field of the sample by its own.
        impl<$($sample,)+ $($collate: Collate<$sample>),+> Collate<($($sample,)+)> for ($($collate,)+) {
            tuple_collate! { ($($sample $collate $field),+) self => $(&self.$field),+ }
        }

        /// `Stack` stacks each field of a tuple.
        impl<$($sample),+> Collate<($($sample,)+)> for Stack
        where
            $(Stack: Collate<$sample>),+
        {
            tuple_collate! { ($($sample Stack $field),+) self => $(stack!(self, $sample)),+ }
        }
    )*};
}

/// The same collate for every field.
macro_rules! stack {
    ($this:ident, $sample:ident) => {
        $this
    };
}

macro_rules! tuple_collate {
    (($($sample:ident $collate:ident $field:tt),+) $this:ident => $($by:expr),+) => {
        type Batch = ($(<$collate as Collate<$sample>>::Batch,)+);
        type Part = ($(<$collate as Collate<$sample>>::Part,)+);

        fn start(&$this, plan: BatchPlan<'_>) -> Self::Part {
            ($(Collate::<$sample>::start($by, plan.field($field)),)+)
        }

        fn split_off(&$this, part: &mut Self::Part, at: usize) -> Self::Part {
            ($(Collate::<$sample>::split_off($by, &mut part.$field, at),)+)
        }

        #[inline(always)]
        fn push(&$this, part: &mut Self::Part, sample: ($($sample,)+)) -> Result<()> {
            $(Collate::<$sample>::push($by, &mut part.$field, sample.$field)?;)+
            Ok(())
        }

        fn rewind(&$this, part: &mut Self::Part, len: usize) -> Result<()> {
            $(Collate::<$sample>::rewind($by, &mut part.$field, len)?;)+
            Ok(())
        }

        fn unite(&$this, part: &mut Self::Part, next: Self::Part) {
            $(Collate::<$sample>::unite($by, &mut part.$field, next.$field);)+
        }

        fn finish(&$this, part: Self::Part) -> Result<Self::Batch> {
            Ok(($(Collate::<$sample>::finish($by, part.$field)?,)+))
        }
    };
}

tuples! {
    (A CA 0)
    (A CA 0, B CB 1)
    (A CA 0, B CB 1, C CC 2)
    (A CA 0, B CB 1, C CC 2, D CD 3)
    (A CA 0, B CB 1, C CC 2, D CD 3, E CE 4)
    (A CA 0, B CB 1, C CC 2, D CD 3, E CE 4, F CF 5)
    (A CA 0, B CB 1, C CC 2, D CD 3, E CE 4, F CF 5, G CG 6)
    (A CA 0, B CB 1, C CC 2, D CD 3, E CE 4, F CF 5, G CG 6, H CH 7)
}
