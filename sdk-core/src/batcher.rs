//! When a batch is due, and which events go in it (pure). Promises order, and batches within their bounds; knows nothing
//! of requests, failures or storage.

use crate::config::Config;
use crate::queue::Held;

/// What waits to be sent, as far as its being due is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// How many events.
    pub(crate) events: u32,
    /// Bytes of their texts.
    pub(crate) bytes: u64,
    /// Since when something waits, monotonic milliseconds.
    pub(crate) since_ms: u64,
}

/// When the next batch should leave, monotonic milliseconds: when the last request is an interval ago and the first event has
/// waited for company, unless the batch is full. The first event after a quiet time leaves at once, but for the gathering; a
/// trickle leaves in steps, and what makes more than a batch in a step leaves in batches that grow (`transport`).
pub(crate) fn due_at_ms(waiting: Waiting, last_sent_ms: Option<u64>, config: &Config) -> u64 {
    let spaced = last_sent_ms.map_or(0, |sent| sent.saturating_add(config.interval_ms));
    if waiting.events >= config.max_batch_events
        || waiting.bytes >= u64::from(config.max_batch_bytes)
    {
        return spaced;
    }
    let gathered = waiting.since_ms.saturating_add(config.gather_ms);
    gathered.max(spaced)
}

/// The events of the next batch: from the front, in order, until a bound. Never none if there is one; the first goes
/// even if it is larger than the bound.
pub(crate) fn pick<'a>(
    queue: impl Iterator<Item = &'a Held>,
    max_events: u32,
    max_bytes: u32,
) -> impl Iterator<Item = &'a Held> {
    let mut events = 0u32;
    let mut bytes = 0u64;
    queue.take_while(move |held| {
        events += 1;
        bytes += u64::from(held.entry.bytes);
        events == 1 || (events <= max_events && bytes <= u64::from(max_bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{Entry, Key, Priority};
    use crate::queue::Held;

    fn waiting(events: u32, bytes: u64) -> Waiting {
        Waiting { events, bytes, since_ms: 1_000 }
    }

    #[test]
    fn the_first_event_after_a_quiet_time_waits_for_company_only() {
        let config = Config::default();
        assert_eq!(due_at_ms(waiting(1, 500), None, &config), 1_020);
        assert_eq!(due_at_ms(waiting(1, 500), Some(500), &config), 1_020);
    }

    #[test]
    fn a_trickle_leaves_in_steps() {
        assert_eq!(due_at_ms(waiting(3, 1_500), Some(990), &Config::default()), 1_190);
    }

    #[test]
    fn a_full_batch_does_not_wait_for_company() {
        let config = Config::default();
        assert_eq!(due_at_ms(waiting(100, 500), None, &config), 0);
        assert_eq!(due_at_ms(waiting(2, 48_000), Some(700), &config), 900);
        assert_eq!(due_at_ms(waiting(99, 47_999), Some(700), &config), 1_020);
    }

    #[test]
    fn picks_in_order_within_both_bounds_and_never_none() {
        let held: Vec<Held> = [30, 30, 30, 30]
            .iter()
            .zip(1u64..)
            .map(|(bytes, seq)| {
                let entry = Entry {
                    key: Key(seq),
                    bytes: *bytes,
                    priority: Priority::Normal,
                    at_ms: 0,
                    campaign: 0,
                    category: 0,
                };
                Held::committed(entry, seq)
            })
            .collect();
        let picked =
            |events, bytes| pick(held.iter(), events, bytes).map(|h| h.seq).collect::<Vec<_>>();
        assert_eq!(picked(3, 1_000), [1, 2, 3]);
        assert_eq!(picked(100, 60), [1, 2]);
        assert_eq!(picked(100, 59), [1]);
        assert_eq!(picked(1, 1), [1], "an event larger than the bound still goes");
        assert_eq!(pick([].iter(), 5, 5).count(), 0);
    }
}
