//! What features stood at, at moments of the past: rows that a model is trained on, each with nothing in it that came later.
//! Promises that a row is made of what the log had by then and what had happened before its moment; where nothing has overtaken
//! anything, that is what a rule saw there. May run beside a server. Deliberately holds one person in memory at a time.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Result;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::{
    file::one_of,
    fold::brings,
    part::{On, Per},
    set::RuleSet,
    trial::{Seen, Trial},
};
use crate::{
    config::did_you_mean,
    event_log::{Check, Offset, ReadError, ReadOnly, Record, Snapshot, Timestamp},
    expression::value,
    people::{self, Folded, Gone, Whole},
    state::{State, StateError},
    suppressed::Suppressed,
};

/// Records read at a time, and people of one moment.
const CHUNK: usize = 1024;
/// Names of events that are remembered, for who has misspelled one: some make them up without end.
const MOST_NAMED: usize = 10_000;

/// Which rows.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// One for each of these events, as a rule names them in `on`.
    pub on: Vec<String>,
    /// One for everybody known at each of these moments.
    pub at: Vec<Timestamp>,
    /// Of whom.
    pub per: Per,
    /// Only these features; all without any.
    pub features: Vec<String>,
    /// Only moments from then on.
    pub from: Option<Timestamp>,
    /// Only moments before then.
    pub to: Option<Timestamp>,
}

/// What features stood at.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Who, as the people were known then; of an account's row who has done it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// By the first user id that was known for them then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Of a row about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The moment.
    pub at: String,
    /// The event that it is the moment of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Which event that is, as `on` names it: `Report Built`, `page:Pricing`, `identify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By name, in the order of the names; null where there was nothing to go by.
    pub features: Map<String, Json>,
}

/// What was gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows.
    pub rows: u64,
    /// Events.
    pub events: u64,
    /// Stretches of the log that could not be read.
    pub unreadable: u64,
    /// Where the log begins, if retention has deleted what was before.
    pub begins: Option<Offset>,
    /// Events that had happened before the last of the moments and came only after it: they are not in its rows.
    pub came_later: u64,
}

/// Why there are no rows.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// It cannot be told what is wanted.
    #[error("{0}")]
    Asked(String),
    /// The log cannot be read.
    #[error(
        "the event log in {0} cannot be read: {1}; name the data folder, the one that `log` is in"
    )]
    Log(PathBuf, io::Error),
    /// There is no room for the state, or no memory.
    #[error("the temporary database cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
    /// Who was erased is not known.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nobody takes the rows.
    #[error("the rows cannot be written: {0}")]
    Out(#[from] io::Error),
}

/// Goes through the log of a data folder and hands over one row after the other; `told` hears how many events are done. Beside what was
/// gone through, what was asked for in vain: an event that the log does not have.
pub fn rows(
    data: &Path,
    (set, limits): (RuleSet, people::Limits),
    asked: &Asked,
    mut told: impl FnMut(u64),
    mut out: impl FnMut(Row) -> io::Result<()>,
) -> std::result::Result<(Exported, Option<String>), RowsError> {
    let failed = |error| RowsError::Log(data.to_owned(), error);
    let snapshot = Snapshot::take(Arc::new(ReadOnly), &data.join("log"), Check::Headers);
    let snapshot = Arc::new(snapshot.map_err(failed)?);
    let state = data.join("state.db");
    let gone: Gone = match state.exists() {
        true => Suppressed::read(&State::open(&state)?)?.gone(&[]),
        false => Arc::new(|_, _| false),
    };
    let seen = Seen::Log(Arc::clone(&snapshot));
    let mut rows = Rows::new(set, (limits, gone), asked, seen)?;
    let first = snapshot.survey().first;
    rows.done.begins = (first > Offset::from_number(1)).then_some(first);
    let mut reader = snapshot.reader(None);
    loop {
        let records = match reader.next_chunk(CHUNK) {
            Ok(records) if records.is_empty() => break,
            Ok(records) => records,
            Err(ReadError::Io(error)) => return Err(failed(error)),
            Err(ReadError::Damaged { .. }) => {
                rows.done.unreadable += 1;
                continue;
            }
        };
        for record in records {
            rows.record(&record, &mut out)?;
        }
        rows.trial.flush()?;
        told(rows.done.events);
    }
    rows.end(&mut out)?;
    Ok((rows.done, rows.in_vain()))
}

/// Rows over one record after the other.
pub(super) struct Rows {
    trial: Trial,
    set: Arc<RuleSet>,
    /// Places of the features that are wanted, by name.
    wanted: Vec<usize>,
    /// Events as [`On`] writes them, and whether the log has one.
    on: Vec<(String, bool)>,
    /// The events that the log has, as `--on` names them, while they can be counted.
    named: BTreeSet<String>,
    /// Moments that are still to come, the earliest last.
    at: Vec<i64>,
    last_moment: Option<i64>,
    per: Per,
    between: (i64, i64),
    done: Exported,
}

impl Rows {
    pub(super) fn new(
        set: RuleSet,
        (limits, gone): (people::Limits, Gone),
        asked: &Asked,
        seen: Seen,
    ) -> std::result::Result<Self, RowsError> {
        let wrong = |message: String| Err(RowsError::Asked(message));
        let set = Arc::new(set.without_rules());
        let known = set.names_of_features(asked.per, &[]);
        if known.is_empty() {
            return wrong(format!(
                "there is no feature of {}: name the folder of the rules, or set `per`",
                if asked.per == Per::Person { "a person" } else { "an account" }
            ));
        }
        if let Some(feature) = asked.features.iter().find(|feature| !known.contains(feature)) {
            // It may be there, of the others.
            let (other, is_of, with) = match asked.per {
                Per::Person => (Per::Account, "an account", "add `--per account`"),
                Per::Account => (Per::Person, "a person", "leave out `--per account`"),
            };
            if set.names_of_features(other, &[]).contains(feature) {
                return wrong(format!("the feature `{feature}` is of {is_of}: {with}"));
            }
            return wrong(one_of("feature", feature, known.iter().map(String::as_str)));
        }
        let wanted = set.names_of_features(asked.per, &asked.features);
        let wanted = wanted.iter().filter_map(|name| set.feature(name)).collect();
        if asked.on.is_empty() == asked.at.is_empty() {
            return wrong("name events, or moments, and not both".to_owned());
        }
        let on = asked.on.iter().map(|text| On::read(text).map(|on| (on.0, false)));
        let on = on.collect::<std::result::Result<_, _>>().map_err(RowsError::Asked)?;
        let mut at: Vec<i64> = asked.at.iter().map(|at| at.unix_ms()).collect();
        at.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        at.dedup();
        Ok(Self {
            trial: Trial::unwatched(Arc::clone(&set), (limits, gone), seen)?,
            last_moment: at.first().copied(),
            set,
            wanted,
            on,
            named: BTreeSet::new(),
            at,
            per: asked.per,
            between: (
                asked.from.map_or(i64::MIN, Timestamp::unix_ms),
                asked.to.map_or(i64::MAX, Timestamp::unix_ms),
            ),
            done: Exported::default(),
        })
    }

    /// Folds a record in, and hands over the rows that it is the moment of, or that are of a moment before it.
    pub(super) fn record(
        &mut self,
        record: &Record,
        out: &mut impl FnMut(Row) -> io::Result<()>,
    ) -> std::result::Result<(), RowsError> {
        let received = record.received_at.unix_ms();
        while let Some(moment) = self.at.pop_if(|moment| *moment <= received) {
            self.everybody(moment, out)?;
        }
        let folded = self.trial.tell(record)?;
        self.done.events += 1;
        if let Folded::Event { main, call, name, .. } = &folded {
            if !self.on.is_empty() {
                let of = On::of(call, name);
                let mut wanted = false;
                for (_, is_there) in self.on.iter_mut().filter(|(on, _)| of.contains(on)) {
                    (*is_there, wanted) = (true, true);
                }
                let [named, ..] = of;
                if self.named.len() < MOST_NAMED {
                    self.named.insert(named);
                }
                if wanted {
                    self.of_event(record, (*main, call, name), out)?;
                }
            }
            let happened = record.event_time.unix_ms();
            let missed = self.last_moment.is_some_and(|last| happened < last && last <= received);
            self.done.came_later += u64::from(missed);
        }
        self.trial.count(record, &folded)?;
        Ok(())
    }

    /// Moments after all that the log has.
    pub(super) fn end(
        &mut self,
        out: &mut impl FnMut(Row) -> io::Result<()>,
    ) -> std::result::Result<(), RowsError> {
        while let Some(moment) = self.at.pop() {
            self.everybody(moment, out)?;
        }
        Ok(())
    }

    /// The first event that was asked for, and that the log does not have at any time: nothing is a row of it.
    pub(super) fn in_vain(&self) -> Option<String> {
        let (on, _) = self.on.iter().find(|(_, is_there)| !is_there)?;
        let name = On(on.clone()).in_words();
        let named: Vec<_> = self.named.iter().map(|on| On(on.clone()).in_words()).collect();
        let meant = did_you_mean(&name, named.iter().map(String::as_str));
        Some(format!("the log has no event `{name}`{meant}"))
    }

    fn of_event(
        &mut self,
        record: &Record,
        (main, call, name): (people::Node, &str, &str),
        out: &mut impl FnMut(Row) -> io::Result<()>,
    ) -> std::result::Result<(), RowsError> {
        let moment = record.event_time.unix_ms();
        if moment < self.between.0 || moment >= self.between.1 {
            return Ok(());
        }
        let person = Whole::person(self.trial.db(), main)?;
        let of = match self.per {
            Per::Person => vec![person],
            Per::Account => person.accounts(self.trial.db())?,
        };
        for whose in of {
            // Of one moment the log's order is what came first, as it is to rules: a batch without times is of one.
            let mut row = self.row(&whose, (moment, moment + 1), record.offset)?;
            row.event = Some(record.offset.to_string());
            row.message_id = Some(record.message_id.to_string());
            row.name = Some(match call {
                "track" => name.to_owned(),
                "page" | "screen" => format!("{call}:{name}"),
                _ => call.to_owned(),
            });
            self.done.rows += 1;
            out(row)?;
        }
        Ok(())
    }

    /// A row for everybody who is known, or for every account.
    fn everybody(
        &mut self,
        moment: i64,
        out: &mut impl FnMut(Row) -> io::Result<()>,
    ) -> std::result::Result<(), RowsError> {
        if moment < self.between.0 || moment >= self.between.1 {
            return Ok(());
        }
        let mut after = 0;
        loop {
            let some = match self.per {
                Per::Person => people::people_after(self.trial.db(), after, CHUNK)?,
                Per::Account => people::accounts_after(self.trial.db(), after, CHUNK)?,
            };
            let Some(last) = some.last().copied() else { return Ok(()) };
            for number in some {
                let whose = match self.per {
                    Per::Person => Some(Whole::person(self.trial.db(), number)?),
                    Per::Account => Whole::account(self.trial.db(), number, 0)?,
                };
                let Some(whose) = whose else { continue };
                let row = self.row(&whose, (moment, moment), Offset::from_number(i64::MAX))?;
                self.done.rows += 1;
                out(row)?;
            }
            after = last;
        }
    }

    /// What is known of somebody at a moment, from the records before this one and from what happened before `until`.
    fn row(&self, whose: &Whole, (moment, until): (i64, i64), before: Offset) -> Result<Row> {
        let db = self.trial.db();
        let scope = self.trial.scope(whose, moment);
        let values = self.wanted.iter().map(|at| scope.feature(*at));
        let mut values = values.collect::<Result<Vec<_>>>()?;
        // What came earlier and happened later: what it has moved is counted again without it.
        let overtaken = |at: &usize, did: &people::Did| {
            did.record < before && self.set.heard(&did.call, &did.name).features.contains(at)
        };
        let later = people::did(db, &whose.nodes, until..i64::MAX)?;
        for (at, value) in self.wanted.iter().zip(&mut values) {
            if later.iter().any(|did| overtaken(at, did)) {
                *value = self.counted_again(whose, *at, (moment, until), before)?;
            }
        }
        let named = self.wanted.iter().zip(values).map(|(at, value)| {
            let json = value::to_json(&value).unwrap_or_default();
            (self.set.features[*at].name.clone(), json)
        });
        let is_person = whose.account.is_none();
        Ok(Row {
            person: (whose.person != 0).then(|| whose.id().to_string()),
            user_id: if is_person { whose.user_id(db)? } else { None },
            account: whose.account.as_ref().map(|(_, id)| id.clone()),
            at: Timestamp::from_unix_ms(moment).to_string(),
            event: None,
            message_id: None,
            name: None,
            features: named.collect(),
        })
    }

    /// One feature, from the records themselves.
    fn counted_again(
        &self,
        whose: &Whole,
        at: usize,
        (moment, until): (i64, i64),
        before: Offset,
    ) -> Result<cel::Value> {
        let feature = &self.set.features[at];
        let mut did = people::did(self.trial.db(), &whose.nodes, i64::MIN..until)?;
        did.retain(|did| did.record < before);
        did.sort_by_key(|did| did.record);
        let mut kept = None;
        for did in did {
            if !self.set.heard(&did.call, &did.name).features.contains(&at) {
                continue;
            }
            // One that was erased since counts for nobody.
            let Some(record) = self.trial.at(did.record) else { continue };
            if let Some(sample) = brings(&self.trial.scope(whose, moment), feature, &record)? {
                feature.operation.take(feature.window.is_some(), &mut kept, &sample);
            }
        }
        Ok(feature.operation.value(kept.as_ref(), feature.span(moment)))
    }
}
