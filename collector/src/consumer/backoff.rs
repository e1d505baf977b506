//! How long a consumer leaves a failing destination alone.
//! Promises a pause that doubles, never exceeds its cap, and differs from consumer to consumer.
//! Deliberately has no clock and no randomness: both are handed in.

use std::time::Duration;

use crate::limits::{BACKOFF_FIRST, BACKOFF_LONGEST, RETRY_AFTER_LONGEST};

/// The pause after `failures` in a row (from 1). `random` is in 0..1: the pause is between half of
/// its length and all of it, so that consumers that failed together do not come back together.
pub(super) fn pause(failures: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << (failures.saturating_sub(1)).min(20));
    let pause = doubled.min(BACKOFF_LONGEST).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
    // What the destination asks for counts, also if it is longer than we would wait.
    pause.max(retry_after.unwrap_or_default().min(RETRY_AFTER_LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        assert_eq!(pause(1, None, 1.0), BACKOFF_FIRST);
        assert_eq!(pause(1, None, 0.0), BACKOFF_FIRST / 2);
        assert_eq!(pause(3, None, 1.0), BACKOFF_FIRST * 4);
        for failures in [12, 40, u32::MAX] {
            assert_eq!(pause(failures, None, 1.0), BACKOFF_LONGEST);
        }
        assert_eq!(pause(0, None, 7.0), BACKOFF_FIRST);
    }

    #[test]
    fn the_destination_s_wish_is_granted_within_reason() {
        let asked = Duration::from_secs(120);
        assert_eq!(pause(1, Some(asked), 0.3), asked);
        assert_eq!(pause(1, Some(Duration::MAX), 0.3), RETRY_AFTER_LONGEST);
        assert_eq!(pause(3, Some(Duration::ZERO), 1.0), BACKOFF_FIRST * 4);
    }
}
