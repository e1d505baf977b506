//! Old rules and new ones over what is stored: who would have been reached, and who not any more.
//! Promises to send nothing and to change nothing; may run beside a server. Deliberately keeps its state in a temporary database.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::Path,
    sync::Arc,
};

use serde::Serialize;

use super::{set::RuleSet, trial::Trial};
use crate::{
    event_log::{Check, ReadError, ReadOnly, Snapshot, Timestamp},
    people,
};

/// Rule, who, and when.
type Firing = (String, String, String);

/// Rule, whose, and when its timer rings, in milliseconds of unix time.
type Waits = (String, String, i64);

/// Records read at a time.
const CHUNK: usize = 1024;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The log cannot be read.
    #[error("the event log cannot be read: {0}")]
    Log(#[from] io::Error),
    /// There is no room for the state, or no memory.
    #[error("the temporary database cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
}

/// What is different.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compared {
    /// Events that were gone through.
    pub events: u64,
    /// By rule: firings of the old rules and of the new ones, within the time that was asked for.
    pub rules: BTreeMap<String, (u64, u64)>,
    /// Firings that both have, at another moment: rule, who, when before and when now.
    pub moved: Vec<(String, String, String, String)>,
    /// Of one the firing, of the other a timer that has not rung by the end: rule, who, when before and when now.
    pub not_due: Vec<(String, String, String, String)>,
    /// Firings of the new rules alone: rule, who, when.
    pub only_new: Vec<(String, String, String)>,
    /// Firings of the old rules alone.
    pub only_old: Vec<(String, String, String)>,
    /// Stretches of the log that could not be read.
    pub unreadable: u64,
}

/// Goes through the log of a data folder with both; `told` hears how many events are done.
pub fn backtest(
    data: &Path,
    (old, new): (Arc<RuleSet>, Arc<RuleSet>),
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    mut told: impl FnMut(u64),
) -> Result<Compared, BacktestError> {
    let snapshot = Arc::new(Snapshot::take(Arc::new(ReadOnly), &data.join("log"), Check::Headers)?);
    let trial = |set| Trial::over(set, people::Limits::default(), Arc::clone(&snapshot));
    let (mut old, mut new) = (trial(old)?, trial(new)?);
    let (mut compared, mut reader) = (Compared::default(), snapshot.reader(None));
    let mut last = None;
    'log: loop {
        let records = match reader.next_chunk(CHUNK) {
            Ok(records) if records.is_empty() => break,
            Ok(records) => records,
            Err(ReadError::Io(error)) => return Err(error.into()),
            Err(ReadError::Damaged { .. }) => {
                compared.unreadable += 1;
                continue;
            }
        };
        for record in records {
            if to.is_some_and(|to| record.received_at > to) {
                break 'log;
            }
            last = Some(record.received_at);
            old.record(&record)?;
            new.record(&record)?;
            compared.events += 1;
        }
        told(compared.events);
    }
    if let Some(end) = to.or(last) {
        old.pass(end.unix_ms())?;
        new.pass(end.unix_ms())?;
    }
    // By the identifier that every log has them under: who is who is the same for both.
    let all = |trial: &Trial| -> rusqlite::Result<BTreeSet<Firing>> {
        let from = from.map(|from| from.to_string()).unwrap_or_default();
        let fired = trial.fired()?.into_iter().filter(|fired| fired.at >= from);
        let who = |fired: &super::Fired| match &fired.account {
            Some(account) => format!("{account} ({})", fired.name),
            None => format!("{} ({})", fired.person, fired.name),
        };
        Ok(fired.map(|fired| (fired.rule.clone(), who(&fired), fired.at)).collect())
    };
    let waits = (old.waits()?, new.waits()?);
    let (old, new) = (all(&old)?, all(&new)?);
    for (rule, ..) in &old {
        compared.rules.entry(rule.clone()).or_default().0 += 1;
    }
    for (rule, ..) in &new {
        compared.rules.entry(rule.clone()).or_default().1 += 1;
    }
    compared.tell_apart(&old, &new);
    compared.set_apart(waits);
    Ok(compared)
}

impl Compared {
    /// Of what one has and the other has not: of the same rule and of somebody, as many as both have have only moved in time, the first of
    /// one being the first of the other.
    fn tell_apart(&mut self, old: &BTreeSet<Firing>, new: &BTreeSet<Firing>) {
        let mut by_whom: BTreeMap<(&str, &str), VecDeque<&str>> = BTreeMap::new();
        for (rule, who, at) in old.difference(new) {
            by_whom.entry((rule, who)).or_default().push_back(at);
        }
        for (rule, who, at) in new.difference(old) {
            let before = by_whom.get_mut(&(rule.as_str(), who.as_str()));
            match before.and_then(VecDeque::pop_front) {
                Some(before) => {
                    self.moved.push((rule.clone(), who.clone(), before.to_owned(), at.clone()));
                }
                None => self.only_new.push((rule.clone(), who.clone(), at.clone())),
            }
        }
        for ((rule, who), left) in by_whom {
            let left = left.into_iter().map(|at| (rule.to_owned(), who.to_owned(), at.to_owned()));
            self.only_old.extend(left);
        }
    }

    /// What one has and the other still waits for is neither new nor gone: the log ends too early to tell.
    fn set_apart(&mut self, (old, new): (Vec<Waits>, Vec<Waits>)) {
        let not_due = &mut self.not_due;
        let mut sort = |fired: &mut Vec<Firing>, mut waits: Vec<Waits>, is_old: bool| {
            fired.retain(|(rule, who, at)| {
                let is_it = |(of, whose, due): &Waits| {
                    let is_later = Timestamp::from_unix_ms(*due).to_string() > *at;
                    let named = who.strip_prefix(whose.as_str());
                    of == rule && is_later && named.is_some_and(|it| it.starts_with(" ("))
                };
                let Some(found) = waits.iter().position(is_it) else { return true };
                let due = Timestamp::from_unix_ms(waits.remove(found).2).to_string();
                let (before, now) = if is_old { (at.clone(), due) } else { (due, at.clone()) };
                not_due.push((rule.clone(), who.clone(), before, now));
                false
            });
        };
        sort(&mut self.only_old, new, true);
        sort(&mut self.only_new, old, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_at_another_moment_has_moved_and_is_neither_new_nor_gone() {
        let all = |of: &[(&str, &str, &str)]| -> BTreeSet<Firing> {
            of.iter().map(|(a, b, c)| ((*a).into(), (*b).into(), (*c).into())).collect()
        };
        let old =
            all(&[("a", "ann", "1"), ("a", "ann", "4"), ("a", "ben", "2"), ("b", "ann", "1")]);
        let new =
            all(&[("a", "ann", "2"), ("a", "ann", "4"), ("a", "ben", "2"), ("a", "ben", "9")]);
        let mut compared = Compared::default();
        compared.tell_apart(&old, &new);
        let moved = compared.moved.iter().map(|(rule, who, old, new)| [rule, who, old, new]);
        assert_eq!(moved.collect::<Vec<_>>(), [["a", "ann", "1", "2"]]);
        assert_eq!(compared.only_new, [("a".into(), "ben".into(), "9".into())]);
        assert_eq!(compared.only_old, [("b".into(), "ann".into(), "1".into())]);
    }
    #[test]
    fn what_the_other_still_waits_for_is_neither_new_nor_gone() {
        let fired = |rule: &str, who: &str, at: &str| (rule.into(), who.into(), at.into());
        let at = |hour: i64| 1_767_225_600_000 + hour * 3_600_000;
        let mut compared = Compared {
            only_old: vec![
                fired("a", "p_1 (ann)", "2026-01-01T01:00:00.000Z"),
                fired("a", "p_1 (ann)", "2026-01-01T01:30:00.000Z"),
                fired("a", "p_12 (ben)", "2026-01-01T01:00:00.000Z"),
            ],
            only_new: vec![fired("b", "acme (ann)", "2026-01-01T02:00:00.000Z")],
            ..Compared::default()
        };
        let new =
            vec![("a".to_owned(), "p_1".to_owned(), at(3)), ("b".into(), "p_12".into(), at(3))];
        compared.set_apart((vec![("b".to_owned(), "acme".to_owned(), at(9))], new));
        let left: Vec<_> =
            compared.only_old.iter().map(|(_, who, at)| (&**who, &at[11..16])).collect();
        assert_eq!(left, [("p_1 (ann)", "01:30"), ("p_12 (ben)", "01:00")]);
        assert!(compared.only_new.is_empty());
        let not_due =
            compared.not_due.iter().map(|(_, who, a, b)| (&**who, &a[11..16], &b[11..16]));
        let expected = [("p_1 (ann)", "01:00", "03:00"), ("acme (ann)", "09:00", "02:00")];
        assert_eq!(not_due.collect::<Vec<_>>(), expected);
    }
}
