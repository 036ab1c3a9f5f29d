//! torch's CPU generator, so that an order is the one torch draws.
//!
//! The engine is mt19937 (Matsumoto and Nishimura, 1998) as in `aten/src/ATen/core/MT19937RNGEngine.h`; what is
//! made of its words follows `CPUGeneratorImpl.cpp` and `randperm_cpu` in `TensorFactories.cpp` (torch 2.11).

use crate::error::{Error, ErrorKind, Result};

const N: usize = 624;
const M: usize = 397;

/// From this length on, torch's permutation draws 64 bits an element: `randperm_cpu` asks whether `n < u32::MAX / 20`.
const WIDE_PERMUTATION: usize = (u32::MAX / 20) as usize;

/// torch's CPU random generator (`torch.Generator()`), bit for bit.
///
/// ```
/// use sutler::Generator;
///
/// // torch.randperm(10, generator=torch.Generator().manual_seed(0))
/// assert_eq!(Generator::manual_seed(0).randperm(10), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
/// ```
///
/// A Python run is continued by way of its bytes: [`state`](Generator::state) is `g.get_state()` there, and
/// [`from_state`](Generator::from_state) is `g.set_state(…)`.
#[derive(Clone, PartialEq)]
pub struct Generator {
    state: [u32; N],
    /// How many words of `state` are drawn; all of them means that the next draw twists first.
    drawn: usize,
    /// What torch keeps beside the engine. Nothing here draws from it, but it must survive a round trip.
    kept: Kept,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Kept {
    /// The seed as it was given, all 64 bits.
    seed: u64,
    /// Whether the words are still the seed's own. torch counts them as none drawn, although it twists first.
    seeded: bool,
    /// The second half of a pair of normally distributed doubles, and of floats.
    normal: Option<f64>,
    normal_f32: Option<f32>,
}

impl Generator {
    /// `torch.Generator().manual_seed(seed)`. A negative seed of Python's is `-3i64 as u64` here. As in torch, only
    /// the low 32 bits count.
    pub fn manual_seed(seed: u64) -> Self {
        let mut state = [0; N];
        state[0] = seed as u32;
        for i in 1..N {
            let previous = state[i - 1];
            state[i] = (previous ^ (previous >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Generator { state, drawn: N, kept: Kept { seed, seeded: true, normal: None, normal_f32: None } }
    }

    /// The seed it was made with (`g.initial_seed()`).
    pub fn initial_seed(&self) -> u64 {
        self.kept.seed
    }

    /// The state as torch writes it: the 5,056 bytes of `g.get_state()`.
    pub fn state(&self) -> Vec<u8> {
        let Kept { seed, seeded, normal, normal_f32 } = self.kept;
        let next = if seeded { 0 } else { self.drawn };
        let left = if seeded { 1 } else { N + 1 - self.drawn };
        let mut bytes = Vec::with_capacity(layout::BYTES);
        bytes.extend(seed.to_ne_bytes());
        bytes.extend((left as i32).to_ne_bytes());
        bytes.extend(1_i32.to_ne_bytes()); // "seeded"
        bytes.extend((next as u64).to_ne_bytes());
        self.state.iter().for_each(|&word| bytes.extend(u64::from(word).to_ne_bytes()));
        bytes.extend(0_f64.to_ne_bytes()); // normal_x, out of use
        bytes.extend(normal.unwrap_or(0.0).to_ne_bytes());
        bytes.extend(0_f64.to_ne_bytes()); // normal_rho, out of use
        bytes.extend(i32::from(normal.is_some()).to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(normal_f32.unwrap_or(0.0).to_ne_bytes());
        bytes.extend([u8::from(normal_f32.is_some()), 0, 0, 0]);
        bytes
    }

    /// The generator that is in the state that torch wrote: `g.set_state(…)`, from `g.get_state().numpy().tobytes()`.
    ///
    /// # Errors
    ///
    /// If the bytes are not the state of torch's CPU generator.
    pub fn from_state(bytes: &[u8]) -> Result<Self> {
        let refuse = |why: String| {
            Err(Error::new(
                ErrorKind::Decode,
                format!("not a state of torch's CPU generator: {why}. Give it the bytes of g.get_state()"),
            ))
        };
        if bytes.len() != layout::BYTES {
            return refuse(format!("{} bytes instead of {}", bytes.len(), layout::BYTES));
        }
        fn at<const L: usize>(bytes: &[u8], offset: usize) -> [u8; L] {
            bytes[offset..offset + L].try_into().expect("the slice has this length")
        }
        let u64_at = |offset| u64::from_ne_bytes(at(bytes, offset));
        let i32_at = |offset| i32::from_ne_bytes(at(bytes, offset));
        let (left, next) = (i32_at(layout::LEFT), u64_at(layout::NEXT));
        let seeded = (left, next) == (1, 0);
        let mid_block = (1..=N as u64).contains(&next) && left == (N as u64 + 1 - next) as i32;
        if !(seeded || mid_block) {
            return refuse(format!("{left} words left and {next} drawn of {N}"));
        }
        if i32_at(layout::SEEDED) != 1 {
            return refuse("it was never seeded".into());
        }
        let mut state = [0; N];
        for (i, word) in state.iter_mut().enumerate() {
            let wide = u64_at(layout::WORDS + 8 * i);
            *word = match u32::try_from(wide) {
                Ok(narrow) => narrow,
                Err(_) => return refuse(format!("word {i} is {wide:#x}, which is more than 32 bits")),
            };
        }
        let normal = (i32_at(layout::HAS_NORMAL) != 0).then(|| f64::from_ne_bytes(at(bytes, layout::NORMAL)));
        let normal_f32 =
            (bytes[layout::HAS_NORMAL_F32] != 0).then(|| f32::from_ne_bytes(at(bytes, layout::NORMAL_F32)));
        let kept = Kept { seed: u64_at(0), seeded, normal, normal_f32 };
        Ok(Generator { state, drawn: if seeded { N } else { next as usize }, kept })
    }

    /// The next 32 random bits.
    pub fn random32(&mut self) -> u32 {
        if self.drawn == N {
            self.twist();
        }
        let word = self.state[self.drawn];
        self.drawn += 1;
        temper(word)
    }

    /// The next 64 random bits: two draws, the first in the high half.
    pub fn random64(&mut self) -> u64 {
        let high = u64::from(self.random32());
        high << 32 | u64::from(self.random32())
    }

    /// `torch.empty((), dtype=torch.int64).random_()`: uniform over `0..2^63`.
    pub fn random(&mut self) -> i64 {
        (self.random64() % (1 << 63)) as i64
    }

    /// A double in `[0, 1)` with 53 random bits: `torch.rand((), dtype=torch.float64)`.
    pub fn uniform(&mut self) -> f64 {
        (self.random64() % (1 << 53)) as f64 / (1_u64 << 53) as f64
    }

    /// One element of `torch.randint(bound, …)`: uniform over `0..bound`, by torch's own (slightly biased) modulo.
    ///
    /// # Panics
    ///
    /// If `bound` is 0.
    pub fn randint(&mut self, bound: usize) -> usize {
        // `random_from_to` in DistributionTemplates.h takes 64 bits from 2^28 on.
        if bound as u64 >= 1 << 28 {
            (self.random64() % bound as u64) as usize
        } else {
            self.random32() as usize % bound
        }
    }

    /// `torch.randperm(n)`: a uniformly random permutation of `0..n`.
    pub fn randperm(&mut self, n: usize) -> Vec<usize> {
        self.permutation(n)
    }

    /// [`randperm`](Self::randperm) in the integer that suffices: half the memory traffic is half the time.
    pub(crate) fn permutation<I: PermutationIndex>(&mut self, n: usize) -> Vec<I> {
        self.permutation_in(Vec::with_capacity(n), n)
    }

    /// [`permutation`](Self::permutation) in an empty list, whose memory is the caller's concern.
    pub(crate) fn permutation_in<I: PermutationIndex>(&mut self, items: Vec<I>, n: usize) -> Vec<I> {
        if n < WIDE_PERMUTATION { self.narrow_permutation(items, n) } else { self.wide_permutation(items, n) }
    }

    /// Fisher and Yates forward, a 32-bit draw each. Drawing, reducing and swapping a block at a time lets the
    /// first two run as vector code beside each other instead of one latency after another.
    fn narrow_permutation<I: PermutationIndex>(&mut self, mut items: Vec<I>, n: usize) -> Vec<I> {
        items.extend((0..n).map(I::from_usize));
        let mut offsets = [0_u32; N];
        let mut start = 0;
        while start + 1 < n {
            let block = &mut offsets[..N.min(n - 1 - start)];
            self.fill(block);
            let rest = (n - start) as u32;
            for (i, offset) in block.iter_mut().enumerate() {
                *offset = remainder(*offset, rest - i as u32);
            }
            let (tail, _) = items[start..].split_at_mut(n - start);
            for (i, &offset) in block.iter().enumerate() {
                tail.swap(i, i + offset as usize);
            }
            start += block.len();
        }
        items
    }

    /// Inside out, a 64-bit draw each; also for the first, which has nowhere else to go.
    fn wide_permutation<I: PermutationIndex>(&mut self, mut items: Vec<I>, n: usize) -> Vec<I> {
        for i in 0..n {
            let from = (self.random64() % (i as u64 + 1)) as usize;
            items.push(I::from_usize(i));
            items.swap(i, from);
        }
        items
    }

    /// Draws what a permutation of `n` would draw, and forgets it.
    pub(crate) fn skip_permutation(&mut self, n: usize) {
        self.skip(Self::permutation_draws(n));
    }

    /// How many 32-bit draws a permutation of `n` takes.
    fn permutation_draws(n: usize) -> usize {
        if n < WIDE_PERMUTATION { n.saturating_sub(1) } else { 2 * n }
    }

    /// Draws what `count` calls of [`randint`](Self::randint) would draw, and forgets it.
    pub(crate) fn skip_randint(&mut self, bound: usize, count: usize) {
        self.skip(if bound as u64 >= 1 << 28 { 2 * count } else { count });
    }

    /// Passes over `count` 32-bit draws.
    pub(super) fn skip(&mut self, mut count: usize) {
        while count > N - self.drawn {
            count -= N - self.drawn;
            self.twist();
        }
        self.drawn += count;
    }

    /// The next `out.len()` draws.
    fn fill(&mut self, mut out: &mut [u32]) {
        while !out.is_empty() {
            if self.drawn == N {
                self.twist();
            }
            let ready = &self.state[self.drawn..];
            let (now, later) = out.split_at_mut(ready.len().min(out.len()));
            for (out, &word) in now.iter_mut().zip(ready) {
                *out = temper(word);
            }
            self.drawn += now.len();
            out = later;
        }
    }

    /// Replaces the state by the next 624 words.
    fn twist(&mut self) {
        fn next(high: u32, low: u32, far: u32) -> u32 {
            let word = (high & 0x8000_0000) | (low & 0x7fff_ffff);
            far ^ (word >> 1) ^ (0x9908_b0df & (low & 1).wrapping_neg())
        }
        let s = &mut self.state;
        for i in 0..N - M {
            s[i] = next(s[i], s[i + 1], s[i + M]);
        }
        for i in N - M..N - 1 {
            s[i] = next(s[i], s[i + 1], s[i + M - N]);
        }
        s[N - 1] = next(s[N - 1], s[0], s[M - 1]);
        self.drawn = 0;
        self.kept.seeded = false;
    }
}

/// Where things are in torch's bytes (`CPUGeneratorImplStateLegacy` and what follows it, in `CPUGeneratorImpl.cpp`).
/// Numbers are in the machine's own byte order, as torch copies its structs.
mod layout {
    pub(super) const LEFT: usize = 8;
    pub(super) const SEEDED: usize = 12;
    pub(super) const NEXT: usize = 16;
    pub(super) const WORDS: usize = 24;
    pub(super) const NORMAL: usize = WORDS + 8 * super::N + 8;
    pub(super) const HAS_NORMAL: usize = NORMAL + 16;
    pub(super) const NORMAL_F32: usize = HAS_NORMAL + 8;
    pub(super) const HAS_NORMAL_F32: usize = NORMAL_F32 + 4;
    pub(super) const BYTES: usize = HAS_NORMAL_F32 + 4;
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generator").field("seed", &self.kept.seed).field("drawn", &self.drawn).finish_non_exhaustive()
    }
}

fn temper(mut word: u32) -> u32 {
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c_5680;
    word ^= (word << 15) & 0xefc6_0000;
    word ^ (word >> 18)
}

/// `dividend % divisor` for `2 <= divisor < 2^31`, by way of doubles: they divide in vectors, where integers cannot,
/// which makes this twice as fast.
///
/// Adding 2^52 leaves the quotient, rounded to the nearest whole number, in the low bits. That is the true one or one
/// more; in the second case the remainder comes out negative, and not below `-divisor / 2`.
#[inline]
fn remainder(dividend: u32, divisor: u32) -> u32 {
    const ROUND: f64 = (1_u64 << 52) as f64;
    let quotient = (f64::from(dividend) / f64::from(divisor) + ROUND).to_bits() as u32;
    let rest = dividend.wrapping_sub(quotient.wrapping_mul(divisor));
    rest.wrapping_add(divisor & ((rest as i32) >> 31) as u32)
}

/// The integers a permutation is kept in.
pub(crate) trait PermutationIndex: Copy {
    fn from_usize(value: usize) -> Self;
}

impl PermutationIndex for u32 {
    fn from_usize(value: usize) -> Self {
        value as u32
    }
}

impl PermutationIndex for usize {
    fn from_usize(value: usize) -> Self {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The permutation as torch writes it: one draw, one swap.
    fn naive_randperm(generator: &mut Generator, n: usize) -> Vec<usize> {
        let mut items: Vec<usize> = (0..n).collect();
        for i in 0..n.saturating_sub(1) {
            let offset = generator.random32() as usize % (n - i);
            items.swap(i, i + offset);
        }
        items
    }

    #[test]
    fn permutation_by_blocks_equals_one_draw_at_a_time() {
        for n in [0, 1, 2, 3, 623, 624, 625, 626, 1248, 1249, 5000] {
            for drawn_before in [0, 1, 311, 623, 624] {
                let mut blocks = Generator::manual_seed(n as u64);
                blocks.skip(drawn_before);
                let mut single = blocks.clone();
                assert_eq!(blocks.randperm(n), naive_randperm(&mut single, n), "n = {n} after {drawn_before}");
                assert_eq!(blocks.random64(), single.random64(), "state after n = {n}");
            }
        }
    }

    #[test]
    fn skipping_a_permutation_leaves_the_state_that_drawing_it_leaves() {
        for n in [0, 1, 2, 624, 625, 1249, 3000] {
            let mut drawn = Generator::manual_seed(7);
            drawn.randperm(n);
            let mut skipped = Generator::manual_seed(7);
            skipped.skip_permutation(n);
            assert_eq!(drawn.random64(), skipped.random64(), "n = {n}");
        }
    }

    #[test]
    fn permutations_are_wide_from_the_length_on_from_which_torchs_are() {
        assert_eq!(Generator::permutation_draws(214_748_363), 214_748_362);
        assert_eq!(Generator::permutation_draws(214_748_364), 429_496_728);
        // What the second case skips is what a wide permutation draws.
        for n in [0, 1, 2, 700] {
            let mut drawn = Generator::manual_seed(7);
            drawn.wide_permutation::<usize>(vec![], n);
            let mut skipped = Generator::manual_seed(7);
            skipped.skip(2 * n);
            assert_eq!(drawn.random64(), skipped.random64(), "n = {n}");
        }
    }

    #[test]
    fn remainder_by_doubles_equals_the_integer_remainder() {
        let mut generator = Generator::manual_seed(1);
        let edges = [0, 1, 2, 3, 5, 7, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, u32::MAX - 1, u32::MAX];
        for dividend in edges.into_iter().chain((0..2000).map(|_| generator.random32()).collect::<Vec<_>>()) {
            for divisor in [2, 3, 4, 5, 10, 641, 65_535, 65_537, 214_748_363, 0x7fff_ffff] {
                assert_eq!(remainder(dividend, divisor), dividend % divisor, "{dividend} % {divisor}");
                // Multiples of the divisor, and their neighbours, are where a rounded quotient would show.
                for near in [dividend / divisor * divisor, (dividend / divisor * divisor).wrapping_sub(1)] {
                    assert_eq!(remainder(near, divisor), near % divisor, "{near} % {divisor}");
                }
            }
        }
    }

    #[test]
    fn a_state_brings_back_the_generator_whatever_was_drawn() {
        for drawn in [0, 1, 2, 623, 624, 625, 1248, 2000] {
            let mut generator = Generator::manual_seed(u64::MAX - 4);
            generator.skip(drawn);
            generator.kept.normal = Some(0.25).filter(|_| drawn % 2 == 1);
            generator.kept.normal_f32 = Some(-1.5).filter(|_| drawn > 600);
            let state = generator.state();
            assert_eq!(state.len(), 5056);
            let mut again = Generator::from_state(&state).unwrap();
            assert!(again == generator, "after {drawn}");
            assert_eq!(again.state(), state);
            assert_eq!(again.random64(), generator.random64());
        }
    }

    #[test]
    fn bytes_that_are_no_state_are_refused_with_the_reason() {
        let state = Generator::manual_seed(0).state();
        let with = |offset: usize, value: u8| {
            let mut state = state.clone();
            state[offset] = value;
            Generator::from_state(&state).unwrap_err().to_string()
        };
        assert_eq!(
            Generator::from_state(&state[1..]).unwrap_err().to_string(),
            "not a state of torch's CPU generator: 5055 bytes instead of 5056. Give it the bytes of g.get_state()"
        );
        assert!(with(layout::LEFT, 9).contains("9 words left and 0 drawn of 624"));
        assert!(with(layout::NEXT, 3).contains("1 words left and 3 drawn of 624"));
        assert!(with(layout::SEEDED, 0).contains("it was never seeded"));
        assert!(with(layout::WORDS + 8 * 5 + 4, 1).contains("word 5 is 0x1"));
    }

    #[test]
    fn the_engine_is_mt19937() {
        // The 10,000th word after seed 5489 is 4123659995: ISO C++, [rand.predef].
        let mut generator = Generator::manual_seed(5489);
        generator.skip(9999);
        assert_eq!(generator.random32(), 4_123_659_995);
    }
}
