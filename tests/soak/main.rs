//! Loaders of every configuration over data with faults in it, round after round, for as long as is asked for. What comes
//! is compared with what one would write down by hand, and nothing may be left behind.
//!
//! `cargo test --test soak` goes on for 20 seconds, `make soak` for ten minutes. Each round draws a [`Plan`] from the seed
//! and its number. A failure prints both, and the plan; `make soak SEED=… ROUND=…` runs that round again and again, since
//! what depends on threads need not fail each time. (`SUTLER_SOAK_SECONDS`, `SUTLER_SOAK_SEED` and `SUTLER_SOAK_ROUND` are
//! what the Makefile sets.)
//!
//! [`plan`] says what can be drawn, [`oracle`] what then has to come, [`follow`] and [`explain`] compare, and
//! [`round`] runs it.

mod books;
mod consume;
mod crew;
mod data;
mod draw;
mod explain;
mod follow;
mod footprint;
mod kinds;
mod loading;
mod oracle;
mod plan;
mod quiet;
mod round;
mod tally;
mod watchdog;

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use footprint::Footprint;
use plan::{Kind, Plan};
use tally::Tally;
use watchdog::Watchdog;

/// What a check gives: what is wrong, as text.
type Check<T = ()> = Result<T, String>;

/// Fails a [`Check`] with a text, unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
use ensure;

/// How long it goes on, where nobody says.
const SECONDS: u64 = 20;
/// After so many rounds memory is what it will be: every kind of data has been there, and every size of a pool.
const WARM_UP: u64 = 40;
/// How much more memory there may be at the end than after the warm-up. Between rounds there are 10 to 30 MB, since the heap
/// keeps some hundred KB in an arena for each of up to 70 threads, and how much wanders. Ten minutes are 20,000 rounds: what
/// loses 1.6 KB in each of them is found.
const GROWTH: usize = 32 << 20;
/// After so many rounds everything should have happened at least once.
const ENOUGH: u64 = 300;

#[test]
fn every_sample_is_accounted_for_and_nothing_is_left_behind_whatever_is_drawn() {
    let seconds = number("SUTLER_SOAK_SECONDS").unwrap_or(SECONDS);
    let seed = number("SUTLER_SOAK_SEED").unwrap_or_else(|| RandomState::new().hash_one("soak") >> 32);
    let only = number("SUTLER_SOAK_ROUND");
    println!("{seconds} s of soak with SUTLER_SOAK_SEED={seed}");
    quiet::hide_injected_panics();
    let watchdog = Watchdog::start();
    let before = Footprint::now();
    let (started, mut total, mut warm) = (Instant::now(), Tally::default(), 0);
    for round in 0.. {
        if started.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        let plan = Plan::draw(seed, only.unwrap_or(round));
        let place = format!("SUTLER_SOAK_SEED={seed} SUTLER_SOAK_ROUND={}\n{plan}", only.unwrap_or(round));
        watchdog.expect(&place);
        let result = run(&plan).and_then(|tally| Footprint::is_again(before).map(|()| tally));
        match result {
            Ok(tally) => total += tally,
            Err(what) => panic!("{what}\nin {place}"),
        }
        if round == WARM_UP {
            warm = footprint::resident();
        }
    }
    drop(watchdog);
    let (rounds, resident) = (total.get("rounds"), footprint::resident());
    println!("{total}resident memory: {} KB after {WARM_UP} rounds, {} KB at the end", warm >> 10, resident >> 10);
    assert!(warm == 0 || resident < warm + GROWTH, "memory has grown from {warm} to {resident} bytes");
    let missed = total.missing(tally::EXPECTED);
    assert!(only.is_some() || rounds < ENOUGH || missed.is_empty(), "not once in {rounds} rounds: {missed:?}");
}

fn run(plan: &Plan) -> Check<Tally> {
    match plan.kind {
        Kind::Numbers => round::run::<kinds::Numbers>(plan),
        Kind::Tuples => round::run::<kinds::Tuples>(plan),
        Kind::Sequences => round::run::<kinds::Sequences>(plan),
        Kind::Maps => round::run::<kinds::Maps>(plan),
        Kind::Texts => round::run::<kinds::Texts>(plan),
        #[cfg(feature = "vision")]
        Kind::Pictures => round::run::<kinds::Pictures>(plan),
        #[cfg(feature = "vision")]
        Kind::Files => round::run::<kinds::Files>(plan),
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is {value:?}, and should be a number")))
}
