//! How many events a source may send: a token bucket that a batch may overdraw.
//! Promises that a wait it names is enough, and that every batch fits some time, however large.
//! Deliberately has no clock: the time is handed in.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Events of one source over time.
///
/// A batch is taken whole or not at all, and whenever the bucket is not empty: what it takes beyond the
/// bottom has to flow in again before the next one. So a batch larger than the burst needs no case of its own.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    burst: f64,
    level: Mutex<Level>,
}

/// How full the bucket was, and when.
#[derive(Debug)]
struct Level {
    events: f64,
    at: Instant,
}

impl Rate {
    /// A full bucket.
    pub(super) fn new(per_second: NonZeroU32, burst: NonZeroU32, now: Instant) -> Self {
        let burst = f64::from(burst.get());
        let level = Mutex::new(Level { events: burst, at: now });
        Self { per_second: f64::from(per_second.get()), burst, level }
    }

    /// Takes a batch of this many events, or says how long until the next one is taken.
    pub(super) fn take(&self, events: u32, now: Instant) -> Result<(), Duration> {
        // A number is whole whatever became of the thread that had the lock.
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(level.at).as_secs_f64();
        level.events = (level.events + passed * self.per_second).min(self.burst);
        level.at = level.at.max(now);
        if level.events < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - level.events) / self.per_second));
        }
        level.events -= f64::from(events);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(per_second: u32, burst: u32, now: Instant) -> Rate {
        Rate::new(per_second.try_into().unwrap(), burst.try_into().unwrap(), now)
    }

    #[test]
    fn a_burst_is_taken_and_then_what_flows_in() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let rate = bucket(10, 3, start);
        for _ in 0..3 {
            rate.take(1, at(0)).unwrap();
        }
        assert_eq!(rate.take(1, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(rate.take(1, at(50)).unwrap_err().as_millis(), 50);
        rate.take(1, at(100)).unwrap();
        // An hour later there is one burst, not an hour of events.
        for _ in 0..3 {
            rate.take(1, at(3_600_000)).unwrap();
        }
        rate.take(1, at(3_600_000)).unwrap_err();
    }

    #[test]
    fn a_batch_larger_than_the_burst_is_taken_and_paid_for_afterwards() {
        let start = Instant::now();
        let rate = bucket(10, 5, start);
        rate.take(25, start).unwrap();
        let wait = rate.take(1, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(2_100));
        rate.take(1, start + wait).unwrap();
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let start = Instant::now() + Duration::from_secs(60);
        let rate = bucket(1, 1, start);
        rate.take(1, start).unwrap();
        rate.take(1, start.checked_sub(Duration::from_secs(30)).unwrap()).unwrap_err();
        rate.take(1, start + Duration::from_millis(999)).unwrap_err();
        rate.take(1, start + Duration::from_secs(1)).unwrap();
    }
}
