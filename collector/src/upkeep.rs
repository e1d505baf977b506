//! What the event log needs done now and then: old segments deleted, if the operator wants that, and a fresh checkpoint.
//! Promises that what a consumer has not read stays, unless the configuration says otherwise, and then says so loudly.
//! Deliberately decides nothing about files: the log does.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{
    config::{LogConfig, Name},
    event_log::{EventLog, Offset, Retention},
    limits::{CLOCK_TRUSTED_AFTER, UPKEEP_PAUSE},
    state::{State, StateError},
};

/// The consumers' cursors.
pub(crate) type Cursors = Vec<(Name, watch::Receiver<Offset>)>;

/// Keeps the log in order until `stop`.
pub(crate) async fn run(
    log: Arc<EventLog>,
    (config, state): (LogConfig, State),
    cursors: Cursors,
    mut stop: watch::Receiver<bool>,
) {
    let (mut waiting_for, mut jumped) = (None, false);
    let started = (Instant::now(), SystemTime::now());
    loop {
        let mut retention = config.retention();
        let clock = trust(started, (Instant::now(), SystemTime::now()));
        if clock != Clock::Trusted {
            retention.max_age = None;
        }
        let before = std::mem::replace(&mut jumped, clock == Clock::Jumped);
        match (before, jumped) {
            (false, true) => tracing::error!(
                "the clock has jumped by more than an hour: events are stored with its time, and nothing is deleted by age; if it \
                 is wrong, correct it at once (no event is stored with an earlier time than the one before it); if it is right \
                 now, restart"
            ),
            (true, false) => tracing::info!("the clock is where it was before it jumped"),
            _ => {}
        }
        let round_and_rest = async {
            round(&log, (&config, retention), (&cursors, &state), &mut waiting_for).await;
            tokio::time::sleep(UPKEEP_PAUSE).await;
        };
        tokio::select! {
            () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                log.interrupt_upkeep();
                return;
            }
            () = round_and_rest => {}
        }
    }
}

/// Whether the wall clock is to be believed when it says that events are old: what is deleted does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// A machine that just started may not have asked anyone for the time yet.
    Unknown,
    Jumped,
    Trusted,
}

fn trust(started: (Instant, SystemTime), now: (Instant, SystemTime)) -> Clock {
    let passed = now.0.saturating_duration_since(started.0);
    let claimed = now.1.duration_since(started.1).unwrap_or(Duration::ZERO);
    match passed.abs_diff(claimed) {
        apart if apart > CLOCK_TRUSTED_AFTER => Clock::Jumped,
        _ if passed < CLOCK_TRUSTED_AFTER => Clock::Unknown,
        _ => Clock::Trusted,
    }
}

async fn round(
    log: &EventLog,
    (config, retention): (&LogConfig, Retention),
    (cursors, state): (&Cursors, &State),
    waiting_for: &mut Option<Name>,
) {
    let end = *log.end().borrow();
    let mut needed: Vec<_> =
        cursors.iter().map(|(name, cursor)| (*cursor.borrow(), name.clone())).collect();
    let asked = state.clone();
    let names: Vec<_> = cursors.iter().map(|(name, _)| name.clone()).collect();
    let parked = tokio::task::spawn_blocking(move || {
        let oldest = |name: &Name| Ok(asked.oldest_parked(name)?.map(|at| (at, name.clone())));
        names
            .iter()
            .filter_map(|name| oldest(name).transpose())
            .collect::<Result<Vec<_>, StateError>>()
    });
    match parked.await {
        // What is parked can be delivered again as long as it is there.
        Ok(Ok(parked)) => needed.extend(parked.into_iter().map(|(at, name)| (at.before(), name))),
        Ok(Err(error)) => return tracing::warn!(%error, "no upkeep: what is parked is not known"),
        Err(panic) => return tracing::error!(%panic, "no upkeep: what is parked is not known"),
    }
    let slowest = needed.iter().map(|(at, name)| (*at, name)).min();
    let (read, slowest) = slowest.map_or((end, None), |(read, name)| (read, Some(name)));
    let may_go = if config.delete_unread { end } else { read };
    let done = match log.upkeep(retention, may_go).await {
        Ok(done) => done,
        Err(error) => {
            tracing::warn!(%error, "the event log's upkeep failed; it is tried again in a minute");
            return;
        }
    };
    if done.segments > 0 {
        tracing::info!(segments = done.segments, bytes = done.bytes, first = %done.first, "deleted old events");
        if done.first > read && read < end {
            let consumer = slowest.as_ref().map_or("", |name| name.as_str());
            tracing::error!(
                consumer,
                lost = done.first.since(read),
                "deleted events that a consumer had not read, as `log.delete_unread` says"
            );
        }
    }
    // Said when it begins and when it ends, not every minute.
    let now_waiting = slowest.filter(|_| done.unread_bytes > 0).cloned();
    if now_waiting != *waiting_for {
        match &now_waiting {
            Some(consumer) => tracing::error!(%consumer, bytes = done.unread_bytes,
                "old events are kept beyond their limit because a consumer has not read them, or has parked some of them: let it catch \
                 up, redrive or drop what is parked, remove it, or set `log.delete_unread`"),
            None => tracing::info!("no consumer keeps old events any more"),
        }
        *waiting_for = now_waiting;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_believed_after_an_hour_in_which_it_did_not_jump() {
        let started = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        let after = |passed: u64, claimed: u64| {
            let (passed, claimed) = (Duration::from_secs(passed), Duration::from_secs(claimed));
            trust(started, (started.0 + passed, started.1 + claimed))
        };
        assert_eq!(after(3_599, 3_599), Clock::Unknown);
        assert_eq!(after(3_600, 3_605), Clock::Trusted);
        assert_eq!(after(60, 400 * 86_400), Clock::Jumped);
        assert_eq!(after(90_000, 86_000), Clock::Jumped);
        let back = (started.0 + Duration::from_secs(9_000), SystemTime::UNIX_EPOCH);
        assert_eq!(trust(started, back), Clock::Jumped);
    }
}
