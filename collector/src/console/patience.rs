//! Failed sign-ins, by address: after a few, each makes the next one wait longer.
//! Promises that guessing is slow and that others' sign-ins are not. Deliberately reads no clock: `now` is given.

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;

/// Nobody waits for a slip of the hand.
const FREE: u32 = 3;
/// A minute between two: 1,440 a day, of 2^256.
const LONGEST: Duration = Duration::from_secs(60);
/// Addresses that are remembered, 100 KiB.
const MOST: NonZeroUsize = NonZeroUsize::new(1024).expect("1,024 is not 0");

/// What is remembered. Those whose address is hidden are one.
#[derive(Debug)]
pub(crate) struct Patience(Mutex<LruCache<Option<IpAddr>, Failed>>);

#[derive(Debug)]
struct Failed {
    times: u32,
    last: Instant,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }

    /// How long whoever is there has to wait; `None` if not at all.
    pub(crate) fn wait(&self, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let all = self.failed();
        let failed = all.peek(&address)?;
        let pause = pause(failed.times)?;
        let left = pause.saturating_sub(now.saturating_duration_since(failed.last));
        (!left.is_zero()).then_some(left)
    }

    /// A sign-in failed.
    pub(crate) fn failed_now(&self, address: Option<IpAddr>, now: Instant) {
        let mut all = self.failed();
        let failed = all.get_or_insert_mut(address, || Failed { times: 0, last: now });
        (failed.times, failed.last) = (failed.times.saturating_add(1), now);
    }

    /// One succeeded: what was before was a slip.
    pub(crate) fn succeeded(&self, address: Option<IpAddr>) {
        self.failed().pop(&address);
    }

    fn failed(&self) -> MutexGuard<'_, LruCache<Option<IpAddr>, Failed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 1 s, 2 s, 4 s, …
fn pause(times: u32) -> Option<Duration> {
    let beyond = times.checked_sub(FREE)?;
    Some(Duration::from_secs(1 << beyond.min(6)).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_makes_the_next_wait_longer_and_only_there() {
        let (patience, start) = (Patience::new(), Instant::now());
        let here = Some([127, 0, 0, 1].into());
        for _ in 0..FREE {
            assert_eq!(patience.wait(here, start), None);
            patience.failed_now(here, start);
        }
        assert_eq!(patience.wait(here, start), Some(Duration::from_secs(1)));
        assert_eq!(patience.wait(here, start + Duration::from_secs(1)), None);
        assert_eq!(patience.wait(None, start), None);
        for _ in 0..100 {
            patience.failed_now(here, start);
        }
        assert_eq!(patience.wait(here, start), Some(LONGEST));
        patience.succeeded(here);
        assert_eq!(patience.wait(here, start), None);
    }
}
