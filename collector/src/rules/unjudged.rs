//! Conditions of rules, and of what they look at, that could not be worked out: a text where a number was to be, a member that is
//! missing. They do not hold, and a rule that was to stop something lets it pass; so it is said, to who asks for a decision, to who looks
//! at the rule, and in the log.
//! Promises that no value of an event is in what is said. Deliberately forgets: the oldest events, and all at a stop.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::part::Part;
use crate::{
    event_log::{Offset, Timestamp},
    expression,
};

/// Of so many events it is known: some 2 MB.
const MOST: usize = 4_096;
/// The log says no more of a rule than once in this time.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// A condition that could not be worked out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Unjudged {
    pub(crate) rule: String,
    /// Where it stands, unless the rule begins with it: `match`, or `features.NAME` of a feature that the rule looks at.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// As it is written.
    pub(crate) condition: String,
    pub(crate) why: String,
}

/// How often that was so of a rule since the start, and of what the last time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OfRule {
    pub(crate) times: u64,
    /// As above.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    pub(crate) condition: String,
    pub(crate) why: String,
    /// When it was so, by the log's time.
    pub(crate) at: String,
}

/// All that is known of it.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    of_events: BTreeMap<Offset, Vec<Unjudged>>,
    of_rules: BTreeMap<String, OfRule>,
    said: BTreeMap<String, Instant>,
}

/// Whether nothing is wrong but that something is not known of somebody yet: a feature without a value, a trait that nobody has told.
pub(super) fn is_not_known_yet(part: &Part, why: &str) -> bool {
    let looks_at_what_is_kept = !part.features.is_empty() || part.looks_at_people();
    looks_at_what_is_kept && expression::is_of_nothing(why)
}

impl Known {
    /// Of an event, for who waits for what it comes to. It is noted before that is committed, and once, whoever comes to it again.
    pub(super) fn note(&self, record: Offset, unjudged: &Unjudged) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_event = all.of_events.entry(record).or_default();
        if !of_event.contains(unjudged) {
            of_event.push(unjudged.clone());
        }
        if all.of_events.len() > MOST {
            all.of_events.pop_first();
        }
    }

    /// One that counts.
    pub(super) fn count(&self, of: Unjudged, at_ms: i64) {
        let Unjudged { rule, place, condition, why } = of;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = all.of_rules.get(&rule).map_or(0, |it| it.times) + 1;
        let (now, said) = (Instant::now(), all.said.get(&rule));
        if said.is_none_or(|said| now.duration_since(*said) >= SAID_EVERY) {
            tracing::warn!(
                rule,
                r#where = place,
                condition,
                why,
                times,
                "a condition could not be worked out, and does not hold"
            );
            all.said.insert(rule.clone(), now);
        }
        let at = Timestamp::from_unix_ms(at_ms).to_string();
        all.of_rules.insert(rule, OfRule { times, place, condition, why, at });
    }

    /// What could not be worked out because of these events.
    pub(crate) fn of_events(&self, records: &[Offset]) -> Vec<Unjudged> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter_map(|record| all.of_events.get(record)).flatten().cloned().collect()
    }

    /// The same of a rule.
    pub(crate) fn of_rule(&self, rule: &str) -> Option<OfRule> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).of_rules.get(rule).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rule: &str, why: &str) -> Unjudged {
        Unjudged {
            rule: rule.to_owned(),
            place: None,
            condition: "x > 1".to_owned(),
            why: why.to_owned(),
        }
    }

    #[test]
    fn of_an_event_each_is_told_once_and_the_oldest_events_are_forgotten() {
        let (known, at) = (Known::default(), Offset::from_number);
        for _ in 0..2 {
            known.note(at(1), &one("a", "w"));
        }
        known.note(at(1), &one("b", "w"));
        assert_eq!(known.of_events(&[at(1), at(2)]), [one("a", "w"), one("b", "w")]);
        for number in 2..=i64::try_from(MOST).unwrap() + 1 {
            known.note(at(number), &one("a", "w"));
        }
        assert_eq!(known.of_events(&[at(1)]), []);
        assert_eq!(known.of_events(&[at(2)]), [one("a", "w")]);
    }

    #[test]
    fn of_a_rule_it_is_counted_and_the_last_is_told() {
        let known = Known::default();
        known.count(one("a", "first"), 0);
        known.count(one("a", "then"), 1_000);
        let of = known.of_rule("a").unwrap();
        assert_eq!((of.times, of.why.as_str()), (2, "then"));
        assert_eq!(of.at, "1970-01-01T00:00:01.000Z");
        assert_eq!(known.of_rule("b"), None);
    }
}
