//! Random numbers of two kinds: torch's generator for the order of an epoch, a keyed one for what a sample draws.

mod distributions;
mod generator;
mod multinomial;
mod sample_rng;
mod topk;

pub use generator::Generator;
pub(crate) use generator::PermutationIndex;
pub(crate) use multinomial::check as check_weights;
pub use sample_rng::SampleRng;
