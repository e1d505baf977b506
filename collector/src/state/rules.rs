//! Of rules: since when each revision counts, which an operator has stopped, and which actions were begun.
//! Promises that a revision that was seen before counts since then. Deliberately knows no rule's text.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{State, StateError};
use crate::event_log::{Offset, Timestamp};

/// That an operator has stopped a rule, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The rule; `None` for all of them.
    pub rule: Option<String>,
    /// The name of the token of who did it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Stopped {
    /// Whether it holds for this rule.
    pub fn is_of(&self, rule: &str) -> bool {
        self.rule.as_deref().is_none_or(|name| name == rule)
    }
}

/// Which rules are stopped, and which were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// All that are stopped.
    pub stopped: Vec<Stopped>,
    /// Of those that go on by now, from when to when they were not to.
    past: Vec<(Option<String>, Timestamp, Timestamp)>,
}

impl Switches {
    /// Whether a rule is stopped.
    pub fn is_stopped(&self, rule: &str) -> bool {
        self.stopped.iter().any(|it| it.is_of(rule))
    }

    /// Whether it was at that time.
    pub fn was_stopped(&self, rule: &str, at: Timestamp) -> bool {
        let is_of = |name: &Option<String>| name.as_deref().is_none_or(|name| name == rule);
        self.stopped.iter().any(|it| it.is_of(rule) && it.at <= at)
            || self
                .past
                .iter()
                .any(|(of, since, until)| is_of(of) && (*since..*until).contains(&at))
    }
}

/// So many past stops are remembered: a thousand are a year of three a day.
const PAST_STOPS: u32 = 1000;

/// By name and revision: since where in the log, and since when in milliseconds of unix time.
pub type Since = BTreeMap<(String, u32), (Offset, i64)>;

impl State {
    /// Since where in the log, and since when in milliseconds of unix time, each of these rules counts, by name, revision and a name for
    /// what it decides by: those that are new, or decide by something else than before, do from `end` and `now` on.
    pub fn in_force<'a>(
        &self,
        rules: impl Iterator<Item = (&'a str, u32, &'a str)>,
        (end, now): (Offset, Timestamp),
    ) -> Result<Since, StateError> {
        self.with(|database| {
            let change = database.unchecked_transaction()?;
            let mut known = BTreeMap::new();
            for (name, revision, decides_by) in rules {
                // What an earlier release has noted says nothing of what it decided by.
                let upsert = "INSERT INTO rule VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
                              since = iif(decides_by IN (excluded.decides_by, ''), since, excluded.since),
                              since_ms = iif(decides_by IN (excluded.decides_by, ''), since_ms, excluded.since_ms),
                              decides_by = excluded.decides_by";
                change.prepare_cached(upsert)?.execute(params![
                    name,
                    revision,
                    end.to_number(),
                    now.unix_ms(),
                    decides_by
                ])?;
                let since = "SELECT since, since_ms FROM rule WHERE name = ?1 AND revision = ?2";
                let since =
                    change.prepare_cached(since)?.query_row(params![name, revision], |row| {
                        Ok((Offset::from_number(row.get(0)?), row.get(1)?))
                    })?;
                known.insert((name.to_owned(), revision), since);
            }
            // One that is taken out and put back counts anew: what came meanwhile was nobody's business.
            let noted: Vec<(String, u32)> = change
                .prepare_cached("SELECT name, revision FROM rule")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            for (name, revision) in noted.into_iter().filter(|it| !known.contains_key(it)) {
                change
                    .prepare_cached("DELETE FROM rule WHERE name = ?1 AND revision = ?2")?
                    .execute(params![name, revision])?;
            }
            change.commit()?;
            Ok(known)
        })
    }

    /// Stops a rule, or all of them: what it has set off waits. Whether it was not stopped yet. The clock is read once nobody else reads
    /// the switches: whoever asks at that time or later finds it stopped, and whoever asked before finds that it was not.
    pub fn stop_rule(
        &self,
        rule: Option<&str>,
        by: &str,
        clock: impl FnOnce() -> Timestamp,
    ) -> Result<bool, StateError> {
        self.with(|database| {
            let at = clock();
            let inserted = database
                .prepare_cached("INSERT OR IGNORE INTO stopped_rule VALUES (?1, ?2, ?3)")?
                .execute(params![rule.unwrap_or_default(), by, at.unix_ms()])?;
            Ok(inserted > 0)
        })
    }

    /// Lets it go on, or lifts the stop of all: a rule that was stopped singly, for a reason of its own, stays so. Whether it was stopped.
    pub fn resume_rule(
        &self,
        rule: Option<&str>,
        clock: impl FnOnce() -> Timestamp,
    ) -> Result<bool, StateError> {
        self.with(|database| {
            let at = clock();
            let change = database.unchecked_transaction()?;
            let name = rule.unwrap_or_default();
            let insert = "INSERT INTO past_stop (name, since_ms, until_ms)
                          SELECT name, at_ms, ?2 FROM stopped_rule WHERE name = ?1";
            change.prepare_cached(insert)?.execute(params![name, at.unix_ms()])?;
            let forget =
                "DELETE FROM past_stop WHERE number <= (SELECT max(number) FROM past_stop) - ?1";
            change.prepare_cached(forget)?.execute([PAST_STOPS])?;
            let delete = "DELETE FROM stopped_rule WHERE name = ?1";
            let deleted = change.prepare_cached(delete)?.execute([name])?;
            change.commit()?;
            Ok(deleted > 0)
        })
    }

    /// What is stopped, and was.
    pub fn switches(&self) -> Result<Switches, StateError> {
        let stopped = self.stopped_rules()?;
        self.with(|database| {
            let query = "SELECT name, since_ms, until_ms FROM past_stop ORDER BY number";
            let mut query = database.prepare_cached(query)?;
            let past = query.query_map([], |row| {
                let of = Some(row.get::<_, String>(0)?).filter(|name| !name.is_empty());
                let at = |column| row.get(column).map(Timestamp::from_unix_ms);
                Ok((of, at(1)?, at(2)?))
            })?;
            Ok(Switches { stopped, past: past.collect::<Result<_, _>>()? })
        })
    }

    /// All that are stopped.
    pub fn stopped_rules(&self) -> Result<Vec<Stopped>, StateError> {
        self.with(|database| {
            let mut query = database
                .prepare_cached("SELECT name, by, at_ms FROM stopped_rule ORDER BY name")?;
            let rows = query.query_map([], |row| {
                Ok(Stopped {
                    rule: Some(row.get::<_, String>(0)?).filter(|name| !name.is_empty()),
                    by: row.get(1)?,
                    at: Timestamp::from_unix_ms(row.get(2)?),
                })
            })?;
            rows.collect()
        })
    }

    /// Notes that an action is begun; false if it was before, and nobody knows what became of it.
    pub fn begin_action(&self, action: &str) -> Result<bool, StateError> {
        self.with(|database| {
            let inserted = database
                .prepare_cached("INSERT OR IGNORE INTO attempt VALUES (?1)")?
                .execute([action])?;
            Ok(inserted > 0)
        })
    }

    /// It is known what became of it, or it was certainly not done.
    pub fn end_action(&self, action: &str) -> Result<(), StateError> {
        self.with(|database| {
            database
                .prepare_cached("DELETE FROM attempt WHERE action = ?1")?
                .execute([action])
                .map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_counts_since_it_was_first_seen() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.db")).unwrap();
        let at = |number: i64| (Offset::from_number(number), Timestamp::from_unix_ms(number * 10));
        let first = state.in_force([("churn", 1, "0.7")].into_iter(), at(7)).unwrap();
        assert_eq!(first[&("churn".to_owned(), 1)], (Offset::from_number(7), 70));
        let both = [("churn", 1, "0.7"), ("churn", 2, "0.7")];
        let later = state.in_force(both.into_iter(), at(9)).unwrap();
        let since: Vec<_> = later.into_values().map(|(_, ms)| ms).collect();
        assert_eq!(since, [70, 90]);
        // Another line under the same revision counts from then on; the same again changes nothing.
        for number in [12, 15] {
            let moved = state.in_force([("churn", 1, "0.6")].into_iter(), at(number)).unwrap();
            assert_eq!(moved[&("churn".to_owned(), 1)], (Offset::from_number(12), 120));
        }
        // Taken out for a while, it counts anew; so does a revision that another was in force after.
        state.in_force([("other", 1, "")].into_iter(), at(17)).unwrap();
        let back = state.in_force([("churn", 1, "0.6")].into_iter(), at(20)).unwrap();
        assert_eq!(back[&("churn".to_owned(), 1)], (Offset::from_number(20), 200));
    }

    #[test]
    fn an_action_is_begun_once_until_it_is_known_what_became_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        assert!(State::open(&path).unwrap().begin_action("a.0").unwrap());
        let state = State::open(&path).unwrap();
        assert!(!state.begin_action("a.0").unwrap());
        state.end_action("a.0").unwrap();
        assert!(state.begin_action("a.0").unwrap());
    }

    #[test]
    fn what_is_stopped_says_by_whom_and_goes_on_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.db")).unwrap();
        let now = Timestamp::from_unix_ms(1000);
        assert!(state.stop_rule(Some("churn"), "first", || now).unwrap());
        assert!(state.stop_rule(None, "second", || now).unwrap());
        assert!(!state.stop_rule(None, "third", || now).unwrap());
        let rules: Vec<_> =
            state.stopped_rules().unwrap().into_iter().map(|it| (it.rule, it.by)).collect();
        let churn = (Some("churn".to_owned()), "first".to_owned());
        assert_eq!(rules, [(None, "second".to_owned()), churn]);
        assert!(
            state.resume_rule(None, || now).unwrap() && !state.resume_rule(None, || now).unwrap()
        );
    }

    #[test]
    fn what_was_stopped_is_known_when_it_goes_on_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let at = Timestamp::from_unix_ms;
        let was = |state: &State, rule: &str| {
            let switches = state.switches().unwrap();
            [9, 10, 19, 20, 29, 30, 39, 40].map(|ms| u8::from(switches.was_stopped(rule, at(ms))))
        };
        let state = State::open(&path).unwrap();
        state.stop_rule(Some("freeze"), "first", || at(10)).unwrap();
        state.resume_rule(Some("freeze"), || at(20)).unwrap();
        state.stop_rule(None, "first", || at(30)).unwrap();
        assert_eq!(was(&state, "freeze"), [0, 1, 1, 0, 0, 1, 1, 1]);
        state.resume_rule(None, || at(40)).unwrap();
        // Nobody had stopped it.
        state.resume_rule(Some("other"), || at(45)).unwrap();
        let state = State::open(&path).unwrap();
        assert_eq!(was(&state, "freeze"), [0, 1, 1, 0, 0, 1, 1, 0]);
        assert_eq!(was(&state, "other"), [0, 0, 0, 0, 0, 1, 1, 0]);
        assert!(!state.switches().unwrap().is_stopped("freeze"));
        // However often that happens, it does not grow on.
        for ms in 0..1_005 {
            state.stop_rule(Some("freeze"), "first", || at(100 + ms)).unwrap();
            state.resume_rule(Some("freeze"), || at(100 + ms)).unwrap();
        }
        assert_eq!(state.switches().unwrap().past.len(), 1000);
    }
}
