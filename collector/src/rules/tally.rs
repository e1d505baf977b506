//! Counts firings, and what of them caps withhold, for who watches the collector from outside.
//! Promises that each counts once, whichever state comes to it first: one that is made anew beside the one in use folds the same log
//! again; and that what is rolled back counts not at all. Deliberately keeps nothing: a restart begins at zero.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    earlier::LetGo,
    firing::{ActionState, BEFORE},
    unjudged::Unjudged,
};
use crate::{
    event_log::{Clock, Offset, Timestamp},
    metrics::Metrics,
};

/// How far the log was read, and the time in milliseconds up to which what is due was done there.
type Mark = (Offset, i64);

/// Where firings are counted.
pub(crate) struct Tally {
    metrics: Arc<Metrics>,
    clock: Clock,
    /// What came to pass until then is counted, or was before this start.
    mark: Mutex<Mark>,
}

/// Something to be counted once it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Came {
    /// When: what an event sets off comes before anything that time does behind it.
    pub(super) at: Mark,
    pub(super) rule: String,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A rule was so, with what came of that.
    Firing(&'static str),
    /// A rule was so, and does what it is to do. Since when that could be known, in milliseconds of unix time: the receipt of its event, or
    /// what a timer was set to.
    Fired(i64),
    /// An action of a kind that is not wanted.
    Withheld(String),
    /// A condition that could not be worked out, and when, in milliseconds of unix time.
    Unjudged(Unjudged, i64),
}

/// As a place in a log's order, of what an event sets off.
pub(super) const AT_ONCE: i64 = i64::MIN;
/// What a rule came to that has fired as often as its limit allows; nothing is on record of it.
pub(super) const OVER_LIMIT: &str = "over_limit";

/// The label for a firing, by why it is held.
pub(super) fn label(held: Option<&'static str>) -> &'static str {
    match held {
        None => "fired",
        Some("dry run") => "dry_run",
        Some("late") => "late",
        Some("outside the rollout") => "outside_rollout",
        Some("imported") => "imported",
        Some("the event says so") => "no_actions",
        Some(BEFORE) => "before_in_force",
        Some(_) => "held",
    }
}

/// How long ago that was; nothing by a clock that has been put back.
pub(crate) fn since(now: Timestamp, since_ms: i64) -> Duration {
    Duration::from_millis((now.unix_ms() - since_ms).max(0).unsigned_abs())
}

impl Tally {
    /// Counts nothing until it is known where to begin.
    pub(crate) fn new(metrics: Arc<Metrics>, clock: Clock) -> Self {
        let never = (Offset::from_number(i64::MAX), i64::MAX);
        Self { metrics, clock, mark: Mutex::new(never) }
    }

    /// All that is behind this place is new.
    pub(crate) fn begin(&self, applied: Offset, time_ms: Option<i64>) {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        *mark = (applied, time_ms.unwrap_or(AT_ONCE));
    }

    /// Counts what was committed, up to where the state is now. Those conditions that could not be worked out, of what counts.
    pub(super) fn count(&self, came: Vec<Came>, until: Mark) -> Vec<(Unjudged, i64)> {
        let mut unjudged = Vec::new();
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        for came in came.into_iter().filter(|came| came.at > *mark) {
            match came.what {
                What::Firing(outcome) => self.metrics.firing(&came.rule, outcome),
                What::Fired(since_ms) => {
                    self.metrics.firing(&came.rule, label(None));
                    self.metrics.firing_took(&came.rule, since((self.clock)(), since_ms));
                }
                What::Withheld(kind) => {
                    self.metrics.action(&came.rule, &kind, ActionState::Withheld.as_str());
                }
                What::Unjudged(of, at_ms) => {
                    self.metrics.unjudged(&came.rule);
                    unjudged.push((of, at_ms));
                }
            }
        }
        *mark = until.max(*mark);
        unjudged
    }

    /// Counts what a change of the rules has let go, once the state in which that is so is the one in use: it happens once, and no
    /// replay of the log comes to it.
    pub(crate) fn let_go(&self, gone: &LetGo) {
        for (rule, kind) in gone {
            self.metrics.action(rule, kind, ActionState::Withheld.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(offset: i64, at_ms: i64) -> Came {
        let at = (Offset::from_number(offset), at_ms);
        Came { at, rule: "a".to_owned(), what: What::Firing(label(None)) }
    }

    fn counted(tally: &Tally) -> u64 {
        let page = tally.metrics.print();
        let line = "headwater_firings_total{rule=\"a\",outcome=\"fired\"} ";
        page.lines().find_map(|it| it.strip_prefix(line)).map_or(0, |count| count.parse().unwrap())
    }

    #[test]
    fn whoever_comes_second_to_the_same_counts_nothing() {
        let at = Offset::from_number;
        let tally = Tally::new(Arc::default(), Arc::new(|| Timestamp::from_unix_ms(0)));
        tally.count(vec![came(1, AT_ONCE)], (at(1), AT_ONCE));
        assert_eq!(counted(&tally), 0, "nobody has said where it begins");
        tally.begin(at(1), None);
        // An event, what was due before the next one, and what became due while nothing came.
        tally.count(vec![came(2, AT_ONCE), came(2, 50)], (at(3), AT_ONCE));
        tally.count(vec![came(3, 70)], (at(3), 80));
        assert_eq!(counted(&tally), 3);
        // The same log once more, and then further.
        let again = vec![came(1, AT_ONCE), came(2, AT_ONCE), came(2, 50)];
        tally.count(again, (at(2), AT_ONCE));
        tally.count(vec![came(3, 70), came(3, 90), came(4, AT_ONCE)], (at(4), AT_ONCE));
        assert_eq!(counted(&tally), 5);
    }

    #[test]
    fn a_state_that_is_made_anew_at_the_start_counts_from_now_on() {
        let tally = Tally::new(Arc::default(), Arc::new(|| Timestamp::from_unix_ms(0)));
        tally.begin(Offset::from_number(9), Some(100));
        let all = vec![came(8, AT_ONCE), came(9, AT_ONCE), came(9, 100), came(9, 101)];
        tally.count(all, (Offset::from_number(9), 200));
        assert_eq!(counted(&tally), 1);
    }
}
