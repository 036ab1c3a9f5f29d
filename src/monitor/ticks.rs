//! Which tick is due, and when: arithmetic alone.

use std::time::{Duration, Instant};

/// Ticks at a start and whole intervals after it, in turn.
pub(super) struct Ticks {
    start: Instant,
    /// Not zero.
    interval: Duration,
    next: u64,
    missed: u64,
}

impl Ticks {
    pub(super) fn new(start: Instant, interval: Duration) -> Self {
        Ticks { start, interval, next: 0, missed: 0 }
    }

    /// When the next run is to begin; `None` beyond what a clock can tell.
    pub(super) fn due(&self) -> Option<Instant> {
        // Counted from the start each time: no run's delay is handed on to the next.
        let nanos = self.interval.as_nanos().checked_mul(self.next.into())?;
        let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
        self.start.checked_add(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
    }

    /// A run begins, at `now`; which tick it is. That is the one that was due, unless so much time has passed that a
    /// later one is.
    pub(super) fn begin(&mut self, now: Instant) -> u64 {
        self.skip_to(self.elapsed(now) / self.interval.as_nanos());
        self.next += 1;
        self.next - 1
    }

    /// It ends. Of the ticks that have passed meanwhile none is made up for; how many were left out, in all.
    pub(super) fn end(&mut self, now: Instant) -> u64 {
        self.skip_to(self.elapsed(now).div_ceil(self.interval.as_nanos()));
        self.missed
    }

    fn skip_to(&mut self, tick: u128) {
        let tick = u64::try_from(tick).unwrap_or(u64::MAX - 1).max(self.next);
        self.missed += tick - self.next;
        self.next = tick;
    }

    fn elapsed(&self, now: Instant) -> u128 {
        now.saturating_duration_since(self.start).as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Ticks every ten seconds, and what the clock shows after some.
    fn ticks() -> (Ticks, impl Fn(u32) -> Instant) {
        let start = Instant::now();
        (Ticks::new(start, 10 * SECOND), move |seconds| start + seconds * SECOND)
    }

    #[test]
    fn ticks_do_not_drift_whenever_runs_begin_and_end() {
        let (mut ticks, at) = ticks();
        for tick in 0..1000 {
            assert_eq!(ticks.due(), Some(at(10 * tick)));
            assert_eq!(ticks.begin(at(10 * tick + tick % 7)), u64::from(tick), "up to six seconds late");
            assert_eq!(ticks.end(at(10 * tick + tick % 7 + 3)), 0);
        }
    }

    #[test]
    fn what_passes_during_a_run_is_left_out_and_counted() {
        let (mut ticks, at) = ticks();
        assert_eq!((ticks.begin(at(0)), ticks.end(at(25)), ticks.due()), (0, 2, Some(at(30))));
        // One that ends just when the next is due has missed none.
        assert_eq!((ticks.begin(at(30)), ticks.end(at(40)), ticks.due()), (3, 2, Some(at(40))));
        assert_eq!((ticks.begin(at(40)), ticks.end(at(41)), ticks.due()), (4, 2, Some(at(50))));
        // The thread itself may be late, too.
        assert_eq!((ticks.begin(at(75)), ticks.end(at(76)), ticks.due()), (7, 4, Some(at(80))));
    }

    #[test]
    fn intervals_of_any_length_are_told() {
        let start = Instant::now();
        let mut never = Ticks::new(start, Duration::MAX);
        assert_eq!((never.due(), never.begin(start), never.end(start), never.due()), (Some(start), 0, 0, None));
        let mut always = Ticks::new(start, Duration::from_nanos(1));
        let later = start + 100 * SECOND;
        assert_eq!((always.begin(start), always.end(later)), (0, 99_999_999_999));
        assert_eq!((always.begin(later), always.due()), (100_000_000_000, Some(later + Duration::from_nanos(1))));
    }

    #[test]
    fn a_clock_that_shows_less_than_before_is_borne() {
        let (mut ticks, at) = ticks();
        let before = at(0) - SECOND;
        assert_eq!((ticks.begin(before), ticks.end(before), ticks.due()), (0, 0, Some(at(10))));
    }
}
