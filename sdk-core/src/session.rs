//! Which session an event belongs to (pure): a session ends after inactivity, or when the campaign changes.
//! Promises that ids grow, whatever the device's clock does; knows nothing of people or storage.

/// The session of the latest event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// Its start, unix milliseconds, which is its id.
    pub(crate) start_ms: u64,
    /// Its latest event.
    pub(crate) last_ms: u64,
    /// The campaign it came with, 0 for none.
    pub(crate) campaign: u32,
}

/// The session that an event at `at_ms` belongs to, after `latest`, and whether it begins there.
///
/// A clock set back continues the session: nothing says that the person went away. A clock set forward by more than the
/// time-out ends it, since that cannot be told from a pause.
pub(crate) fn admit(
    latest: Option<Session>,
    ended: bool,
    at_ms: u64,
    campaign: u32,
    timeout_ms: u64,
) -> (Session, bool) {
    let Some(latest) = latest else {
        return (Session { start_ms: at_ms, last_ms: at_ms, campaign }, true);
    };
    let idle = at_ms.saturating_sub(latest.last_ms) > timeout_ms;
    let other_campaign = campaign != 0 && campaign != latest.campaign;
    if ended || idle || other_campaign {
        let start_ms = at_ms.max(latest.start_ms.saturating_add(1));
        return (Session { start_ms, last_ms: at_ms, campaign }, true);
    }
    (Session { last_ms: at_ms, ..latest }, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn next(latest: Session, at_ms: u64, campaign: u32) -> (Session, bool) {
        admit(Some(latest), false, at_ms, campaign, 30 * MINUTE)
    }

    #[test]
    fn goes_on_within_thirty_minutes_and_ends_after() {
        let (first, started) = admit(None, false, 1_000, 0, 30 * MINUTE);
        assert!(started);
        let (second, started) = next(first, 1_000 + 30 * MINUTE, 0);
        assert!(!started && second.start_ms == first.start_ms);
        let (third, started) = next(second, second.last_ms + 30 * MINUTE + 1, 0);
        assert!(started && third.start_ms == second.last_ms + 30 * MINUTE + 1);
    }

    #[test]
    fn another_campaign_begins_a_session_but_none_does_not() {
        let (first, _) = admit(None, false, 0, 7, 30 * MINUTE);
        assert!(!next(first, 1, 7).1);
        assert!(!next(first, 1, 0).1, "an inner page has no campaign of its own");
        assert!(next(first, 1, 8).1);
    }

    #[test]
    fn ids_grow_even_when_the_clock_was_set_back() {
        let day = 24 * 60 * MINUTE;
        let (first, _) = admit(None, false, 10 * day, 0, 30 * MINUTE);
        let (same, started) = next(first, 9 * day, 0);
        assert!(!started && same.start_ms == first.start_ms);
        let (other, started) = next(same, 9 * day + 31 * MINUTE, 0);
        assert!(started && other.start_ms > first.start_ms);
    }

    #[test]
    fn signing_out_ends_it() {
        let (first, _) = admit(None, false, 5, 0, 30 * MINUTE);
        let (second, started) = admit(Some(first), true, 5, 0, 30 * MINUTE);
        assert!(started && second.start_ms == 6);
    }
}
