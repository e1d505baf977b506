//! Consumers as the templates want them: how far each has got, how it stands, and why, in the words of `headwater consumers list`.
//! Promises that one which does not deliver says since when or until when, and why. Deliberately asks nobody: it is given everything.

use super::{
    told::moment,
    words::{count, soon},
};
use crate::{
    consumer::{Listed, Standing},
    state::Pause,
};

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerView {
    pub(crate) name: String,
    /// Of which kind its sink is.
    pub(crate) kind: &'static str,
    /// `backing off`.
    pub(crate) state: String,
    /// `on`, `part`, `stopped`, as of rules.
    pub(crate) class: &'static str,
    /// How far it is behind the log, in events and by the time since it got the oldest of them.
    pub(crate) behind: String,
    pub(crate) cursor: String,
    pub(crate) under_way: usize,
    /// In words; nothing where there is none.
    pub(crate) parked: Option<String>,
    /// Why it does not deliver.
    pub(crate) why: Option<String>,
    /// What is delivered once more beside the rest.
    pub(crate) replays: Vec<String>,
}

impl ConsumerView {
    pub(crate) fn of(listed: &Listed) -> Self {
        let status = &listed.status;
        let events = listed.end.since(listed.cursor);
        let lag_ms = u64::try_from(listed.lag.as_millis()).unwrap_or(u64::MAX);
        let (class, why) = match &status.standing {
            Standing::Running => ("on", None),
            Standing::BackingOff { failures, reason, next_attempt, .. } => {
                ("part", Some(backs_off(*failures, reason, &next_attempt.to_string())))
            }
            Standing::Paused(pause) => ("stopped", Some(paused(pause))),
        };
        let replays = listed.replays.iter();
        Self {
            name: listed.name.to_string(),
            kind: listed.kind,
            state: listed.state().replace('_', " "),
            class,
            behind: match (events, lag_ms) {
                (0, 0) => "nothing".to_owned(),
                (_, 0) => count(events, "event", "events"),
                _ => {
                    let events = count(events, "event", "events");
                    format!("{events}, the oldest for {}", soon(lag_ms))
                }
            },
            cursor: listed.cursor.to_string(),
            under_way: status.under_way,
            parked: (status.parked > 0).then(|| count(status.parked, "event", "events")),
            why,
            replays: replays
                .map(|it| format!("behind offset {} up to {}", it.after, it.upto))
                .collect(),
        }
    }
}

fn backs_off(failures: u32, reason: &str, next: &str) -> String {
    let times = count(failures.into(), "time", "times");
    format!("Failed {times} in a row, the last time: {reason}. Next attempt {}.", moment(next))
}

fn paused(pause: &Pause) -> String {
    let since = moment(&pause.since.to_string());
    format!("Paused by the {} since {since}: {}.", pause.by, pause.reason.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::Name,
        consumer::Status,
        event_log::{Offset, Timestamp},
    };

    fn listed(standing: Standing, events: i64) -> Listed {
        Listed {
            name: Name::try_from("crm".to_owned()).unwrap(),
            kind: "webhook",
            cursor: Offset::from_number(10),
            end: Offset::from_number(10 + events),
            lag: Duration::from_millis(if events > 0 { 3_250 } else { 0 }),
            status: Status { standing, oldest_unread: None, under_way: 0, parked: 1 },
            replays: Vec::new(),
        }
    }

    #[test]
    fn a_consumer_that_does_not_deliver_says_why_and_until_or_since_when() {
        let at = Timestamp::from_unix_ms(0);
        let view = ConsumerView::of(&listed(Standing::Running, 0));
        let told = (view.state.as_str(), view.class, view.behind.as_str(), view.why);
        assert_eq!(told, ("drained", "on", "nothing", None));
        assert_eq!(view.parked.as_deref(), Some("1 event"));
        let backing_off = Standing::BackingOff {
            failures: 3,
            reason: "500: no".to_owned(),
            next_attempt: at,
            until: tokio::time::Instant::now(),
        };
        let view = ConsumerView::of(&listed(backing_off, 1_200));
        assert_eq!((view.state.as_str(), view.class), ("backing off", "part"));
        assert_eq!(view.behind, "1,200 events, the oldest for 3.2 s");
        let said = "Failed 3 times in a row, the last time: 500: no. Next attempt \u{2}1970-01-01T00:00:00.000Z\u{2}.";
        assert_eq!(view.why.as_deref(), Some(said));
        let pause = Pause { by: "operator".into(), reason: "a move.".into(), since: at };
        let view = ConsumerView::of(&listed(Standing::Paused(pause), 0));
        assert_eq!((view.state.as_str(), view.class), ("paused", "stopped"));
        let said = "Paused by the operator since \u{2}1970-01-01T00:00:00.000Z\u{2}: a move.";
        assert_eq!(view.why.as_deref(), Some(said));
    }
}
