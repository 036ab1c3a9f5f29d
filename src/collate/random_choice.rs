//! A `RandomChoice` of collates: one of them for each batch.

use super::Collate;
use crate::error::Result;
use crate::memory::BatchPlan;
use crate::transform::RandomChoice;

/// What there is a part of, there is exactly one of.
const CHOSEN: &str = "a batch has the part of the collate that was drawn for it";

macro_rules! choices {
    ($($len:literal: ($first:ident $($other:ident)*) [$($place:tt)+];)*) => {$(
        /// One of several collates, drawn for each batch from the batch's own generator
        /// ([`BatchPlan::rng`]). All must make batches of one type.
        impl<S, $first: Collate<S>, $($other: Collate<S, Batch = $first::Batch>),*> Collate<S>
            for RandomChoice<($first, $($other,)*)>
        {
            type Batch = $first::Batch;
            /// A part of the one that was drawn.
            type Part = (Option<$first::Part>, $(Option<$other::Part>,)*);

            fn start(&self, plan: BatchPlan<'_>) -> Self::Part {
                let mut rng = plan.rng.clone();
                let drawn = self.draw($len, &mut rng);
                // What the one drawn draws comes after that.
                let plan = BatchPlan { rng: &rng, ..plan };
                ($((drawn == $place).then(|| self.choices.$place.start(plan)),)+)
            }

            fn split_off(&self, part: &mut Self::Part, at: usize) -> Self::Part {
                ($(part.$place.as_mut().map(|part| self.choices.$place.split_off(part, at)),)+)
            }

            fn push(&self, part: &mut Self::Part, sample: S) -> Result<()> {
                $(if let Some(part) = &mut part.$place {
                    return self.choices.$place.push(part, sample);
                })+
                unreachable!("{CHOSEN}")
            }

            fn rewind(&self, part: &mut Self::Part, len: usize) -> Result<()> {
                $(if let Some(part) = &mut part.$place {
                    return self.choices.$place.rewind(part, len);
                })+
                unreachable!("{CHOSEN}")
            }

            fn unite(&self, part: &mut Self::Part, next: Self::Part) {
                $(if let (Some(part), Some(next)) = (&mut part.$place, next.$place) {
                    self.choices.$place.unite(part, next);
                })+
            }

            fn finish(&self, part: Self::Part) -> Result<Self::Batch> {
                $(if let Some(part) = part.$place {
                    return self.choices.$place.finish(part);
                })+
                unreachable!("{CHOSEN}")
            }
        }
    )*};
}

choices! {
    1: (A) [0];
    2: (A B) [0 1];
    3: (A B C) [0 1 2];
    4: (A B C D) [0 1 2 3];
    5: (A B C D E) [0 1 2 3 4];
    6: (A B C D E F) [0 1 2 3 4 5];
    7: (A B C D E F G) [0 1 2 3 4 5 6];
    8: (A B C D E F G H) [0 1 2 3 4 5 6 7];
}
