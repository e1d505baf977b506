//! Old rules and new ones over what is stored: what would have been done, and what not any more.
//! Promises to send nothing and to change nothing; may run beside a server. Deliberately keeps its state in a temporary database, and
//! judges no delivery: see [`NOT_JUDGED`].

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use super::{
    fired::{Acted, Fired},
    firing::CAPPED,
    fold::cap_alone,
    set::RuleSet,
    trial::Trial,
};
use crate::{
    event_log::{Check, ReadError, ReadOnly, Snapshot, Timestamp},
    people,
};

/// What stands between a firing that acts and somebody who is reached, and is not looked at here.
pub const NOT_JUDGED: &str = "not judged: consent, addresses, the ceiling, a rule that is stopped, and whether anything is delivered; caps count \
    as if all of it were, and quiet hours only put off";

/// Rule, whose, and when its timer rings, in milliseconds of unix time.
type Waits = (String, String, i64);

/// Records read at a time.
const CHUNK: usize = 1024;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The log cannot be read.
    #[error(
        "the event log in {0} cannot be read: {1}; name the data folder, the one that `log` is in"
    )]
    Log(PathBuf, io::Error),
    /// There is no room for the state, or no memory.
    #[error("the temporary database cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
}

/// What is different.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// Events that were gone through.
    pub events: u64,
    /// By rule: firings within the time that was asked for.
    pub rules: BTreeMap<String, BeforeAndNow>,
    /// Firings that act now, and did not before: they were held, or were not there.
    pub acts_now: Vec<Once>,
    /// Firings that acted before, and do not now.
    pub acts_no_more: Vec<Once>,
    /// Firings that both have, at another moment.
    pub moved: Vec<Moved>,
    /// Of one the firing, of the other a timer that has not rung by the end.
    pub not_due: Vec<Moved>,
    /// Firings of the new rules alone.
    pub only_new: Vec<Once>,
    /// Firings of the old rules alone.
    pub only_old: Vec<Once>,
    /// Stretches of the log that could not be read.
    pub unreadable: u64,
    /// What is not looked at, in words.
    pub not_judged: &'static str,
}

/// How often a rule fired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BeforeAndNow {
    /// Under the old rules.
    pub before: Counted,
    /// Under the new ones.
    pub now: Counted,
}

/// How often a rule fired, and how often something is done because of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// All firings.
    pub fired: u64,
    /// Those that nothing holds.
    pub acts: u64,
    /// The others, by what holds them.
    pub held: BTreeMap<String, u64>,
}

/// One firing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Once {
    /// The rule.
    pub rule: String,
    /// Who.
    pub person: String,
    /// What people call it.
    pub name: String,
    /// The account, of a rule about accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// When.
    pub at: String,
    /// Why nothing is done because of it; of what acts under the other rules alone, under these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// One firing at two moments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The rule.
    pub rule: String,
    /// Who.
    pub person: String,
    /// What people call it.
    pub name: String,
    /// The account, of a rule about accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// When under the old rules.
    pub before: String,
    /// When under the new ones.
    pub now: String,
}

/// Goes through the log of a data folder with both; `told` hears how many events are done.
pub fn backtest(
    data: &Path,
    (old, new): (Arc<RuleSet>, Arc<RuleSet>),
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    mut told: impl FnMut(u64),
) -> Result<Compared, BacktestError> {
    let failed = |error| BacktestError::Log(data.to_owned(), error);
    let snapshot = Snapshot::take(Arc::new(ReadOnly), &data.join("log"), Check::Headers);
    let snapshot = Arc::new(snapshot.map_err(failed)?);
    let trial = |set| Trial::over(set, people::Limits::default(), Arc::clone(&snapshot));
    let (mut old, mut new) = (trial(old)?, trial(new)?);
    let (mut compared, mut reader) = (Compared::default(), snapshot.reader(None));
    let mut last = None;
    'log: loop {
        let records = match reader.next_chunk(CHUNK) {
            Ok(records) if records.is_empty() => break,
            Ok(records) => records,
            Err(ReadError::Io(error)) => return Err(failed(error)),
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
    compared.compare((&old, &new), from)?;
    Ok(compared)
}

impl Once {
    fn of(fired: Fired) -> Self {
        // Of what a rule does nothing is left where caps are in the way of all of it. What else was withheld when it was to be sent is
        // not judged.
        let cap_of = |it: &Acted| it.detail.clone().filter(|detail| detail.starts_with(CAPPED));
        let capped: Option<Vec<_>> = fired.actions.iter().map(cap_of).collect();
        let by_cap = capped.iter().flatten().next().map(|cap| cap_alone(cap).to_owned());
        let held = fired.held.or(by_cap);
        let Fired { rule, person, name, account, at, .. } = fired;
        Self { rule, person, name, account, at, held }
    }

    /// The rule, and whom it is about with who did it.
    fn key(&self) -> (String, Option<String>, String, String) {
        let Self { rule, account, person, name, .. } = self.clone();
        (rule, account, person, name)
    }

    fn moved(&self, before: &str, now: &str) -> Moved {
        let Self { rule, person, name, account, .. } = self.clone();
        Moved { rule, person, name, account, before: before.to_owned(), now: now.to_owned() }
    }
}

impl Counted {
    fn add(&mut self, once: &Once) {
        self.fired += 1;
        match &once.held {
            None => self.acts += 1,
            Some(held) => *self.held.entry(held.clone()).or_default() += 1,
        }
    }
}

impl Compared {
    /// Of both, what fired from then on. Who is who is the same for both.
    fn compare(
        &mut self,
        (old, new): (&Trial, &Trial),
        from: Option<Timestamp>,
    ) -> rusqlite::Result<()> {
        self.not_judged = NOT_JUDGED;
        let from = from.map(|from| from.to_string()).unwrap_or_default();
        let all = |trial: &Trial| -> rusqlite::Result<Vec<Once>> {
            let fired = trial.fired()?.into_iter().filter(|fired| fired.at >= from);
            Ok(fired.map(Once::of).collect())
        };
        let waits = (old.waits()?, new.waits()?);
        let (old, new) = (all(old)?, all(new)?);
        for once in &old {
            self.rules.entry(once.rule.clone()).or_default().before.add(once);
        }
        for once in &new {
            self.rules.entry(once.rule.clone()).or_default().now.add(once);
        }
        self.tell_apart(old, new);
        self.set_apart(waits);
        // What the other has not at all it does not do either.
        let acting = |all: &[Once]| all.iter().filter(|it| it.held.is_none()).cloned().collect();
        let (now, no_more): (Vec<_>, Vec<_>) = (acting(&self.only_new), acting(&self.only_old));
        self.acts_now.extend(now);
        self.acts_no_more.extend(no_more);
        Ok(())
    }

    /// Of what one has and the other has not: of the same rule and of somebody, as many as both have have only moved in time, the first of
    /// one being the first of the other.
    fn tell_apart(&mut self, old: Vec<Once>, mut new: Vec<Once>) {
        let mut by_whom: BTreeMap<_, VecDeque<Once>> = BTreeMap::new();
        for once in old {
            by_whom.entry(once.key()).or_default().push_back(once);
        }
        let mut pairs = Vec::new();
        new.retain(|once| {
            let Some(before) = by_whom.get_mut(&once.key()) else { return true };
            let same = before.iter().position(|it| it.at == once.at);
            pairs.extend(same.and_then(|at| before.remove(at)).map(|it| (it, once.clone())));
            same.is_none()
        });
        for once in new {
            let before = by_whom.get_mut(&once.key()).and_then(VecDeque::pop_front);
            match before {
                Some(before) => {
                    self.moved.push(once.moved(&before.at, &once.at));
                    pairs.push((before, once));
                }
                None => self.only_new.push(once),
            }
        }
        self.only_old.extend(by_whom.into_values().flatten());
        for (before, now) in pairs {
            match (&before.held, &now.held) {
                (Some(_), None) => self.acts_now.push(Once { held: before.held, ..now }),
                (None, Some(_)) => self.acts_no_more.push(Once { held: now.held, ..before }),
                _ => {}
            }
        }
    }

    /// What one has and the other still waits for is neither new nor gone: the log ends too early to tell.
    fn set_apart(&mut self, (old, new): (Vec<Waits>, Vec<Waits>)) {
        let not_due = &mut self.not_due;
        let mut sort = |fired: &mut Vec<Once>, mut waits: Vec<Waits>, is_old: bool| {
            fired.retain(|once| {
                let is_it = |(of, whose, due): &Waits| {
                    let is_later = Timestamp::from_unix_ms(*due).to_string() > once.at;
                    let about = once.account.as_ref().unwrap_or(&once.person);
                    *of == once.rule && is_later && whose == about
                };
                let Some(found) = waits.iter().position(is_it) else { return true };
                let due = Timestamp::from_unix_ms(waits.remove(found).2).to_string();
                let (before, now) = if is_old { (&once.at, &due) } else { (&due, &once.at) };
                not_due.push(once.moved(before, now));
                false
            });
        };
        sort(&mut self.only_old, new, true);
        sort(&mut self.only_new, old, false);
    }
}
