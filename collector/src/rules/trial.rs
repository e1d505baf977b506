//! Rules over records, in memory: what they would come to, for a fixture, for one person's history, or for a whole log.
//! Promises what the projection would have come to, and that nothing is sent. Deliberately keeps nothing.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, Result};

use super::{
    SCHEMAS,
    fired::{Fired, Listed, list},
    firing::{self, ActionState, Pending},
    fold::{Fold, InForce, Looked, Records},
    part::Per,
    scope::Scope,
    set::RuleSet,
    waiting::{Timer, timers},
};
use crate::{
    event_log::{Offset, Record, Snapshot, Timestamp},
    people::{self, Folded, Gone, Whole},
};

/// A state of its own.
pub(crate) struct Trial {
    db: Connection,
    people: people::Fold,
    rules: Fold,
    records: Seen,
    last: Offset,
}

/// The records that rules may look back at.
pub(super) enum Seen {
    /// All of them.
    Here(BTreeMap<Offset, Record>),
    /// They are read again.
    Log(Arc<Snapshot>),
}

impl Records for Seen {
    fn at(&self, offset: Offset) -> Option<Record> {
        match self {
            Self::Here(records) => records.get(&offset).cloned(),
            Self::Log(snapshot) => {
                let found = snapshot.reader(Some(offset.before())).next_chunk(1).ok()?;
                found.into_iter().next().filter(|record| record.offset == offset)
            }
        }
    }
}

impl Trial {
    /// Over few records, in memory; all that rules are looked at for is written down.
    pub(crate) fn new(set: Arc<RuleSet>, limits: people::Limits) -> Result<Self> {
        let mut trial = Self::few(set, limits)?;
        trial.rules.watch();
        Ok(trial)
    }

    /// As rules that count since then: what was before is held.
    pub(crate) fn counts_since(mut self, in_force: InForce) -> Self {
        self.rules.counts_since(in_force);
        self
    }

    /// The same, without what they were looked at for.
    pub(super) fn few(set: Arc<RuleSet>, limits: people::Limits) -> Result<Self> {
        let records = Seen::Here(BTreeMap::new());
        Self::on(Connection::open_in_memory()?, set, (limits, nobody()), records)
    }

    /// Over a whole log, in a temporary file.
    pub(crate) fn over(
        set: Arc<RuleSet>,
        limits: people::Limits,
        log: Arc<Snapshot>,
    ) -> Result<Self> {
        Self::unwatched(set, (limits, nobody()), Seen::Log(log))
    }

    /// The same, without those who are gone.
    pub(super) fn unwatched(
        set: Arc<RuleSet>,
        limits: (people::Limits, Gone),
        records: Seen,
    ) -> Result<Self> {
        let db = Connection::open("")?;
        db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN")?;
        Self::on(db, set, limits, records)
    }

    fn on(
        db: Connection,
        set: Arc<RuleSet>,
        (limits, gone): (people::Limits, Gone),
        records: Seen,
    ) -> Result<Self> {
        for tables in people::SCHEMAS.iter().chain(&SCHEMAS) {
            db.execute_batch(tables)?;
        }
        db.set_prepared_statement_cache_capacity(128);
        let mut rules = Fold::new(set, InForce::default());
        rules.alone();
        Ok(Self {
            db,
            people: people::Fold::new(limits, gone),
            rules,
            records,
            last: Offset::START,
        })
    }

    /// Folds a record in, after whatever was due before it.
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        self.pass(record.received_at.unix_ms())?;
        let folded = self.tell(record)?;
        self.count(record, &folded)?;
        self.flush()
    }

    /// Folds a record into people. Features and rules are as they stood before it, until it is counted.
    pub(super) fn tell(&mut self, record: &Record) -> Result<Folded> {
        let folded = self.people.record(&self.db, record)?;
        self.last = record.offset;
        if let Seen::Here(records) = &mut self.records {
            records.insert(record.offset, record.clone());
        }
        Ok(folded)
    }

    /// Folds it into features and rules.
    pub(super) fn count(&mut self, record: &Record, folded: &Folded) -> Result<()> {
        self.rules.record((&self.db, &mut self.people), &self.records, record, folded)
    }

    /// Writes what has changed.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.people.flush(&self.db)?;
        self.rules.flush(&self.db)
    }

    /// What there is to look at of somebody at a moment.
    pub(super) fn scope<'a>(&'a self, whose: &'a Whole, now_ms: i64) -> Scope<'a> {
        self.rules.scope(&self.db, whose, now_ms)
    }

    /// A record that was folded in.
    pub(super) fn at(&self, offset: Offset) -> Option<Record> {
        self.records.at(offset)
    }

    /// Time passes until then.
    pub(crate) fn pass(&mut self, ms: i64) -> Result<()> {
        self.rules.until((&self.db, &mut self.people), &self.records, ms, self.last)?;
        self.rules.flush(&self.db)
    }

    /// All that fired, the earliest first.
    pub(crate) fn fired(&self) -> Result<Vec<Fired>> {
        let mut all = list(&self.db, &Listed { limit: usize::MAX, ..Listed::default() })?;
        all.reverse();
        Ok(all)
    }

    /// What waits for its time, the earliest first: the rule, the account or else the person, and when that is, in milliseconds.
    pub(super) fn waits(&self) -> Result<Vec<(String, String, i64)>> {
        let mut found = Vec::new();
        for Timer { rule, node, due_ms, .. } in timers(&self.db)? {
            let person = Whole::person(&self.db, node)?;
            if self.rules.per_of(&rule) == Some(Per::Account) {
                for account in person.accounts(&self.db)? {
                    let account = account.account.map(|(_, id)| (rule.clone(), id, due_ms));
                    found.extend(account);
                }
            } else {
                found.push((rule, person.id().to_string(), due_ms));
            }
        }
        Ok(found)
    }

    /// What actions come to that are due by then, as somebody says who is told of each in the order of their times; of which nothing is
    /// said, those stay.
    pub(super) fn act(
        &self,
        now_ms: i64,
        mut said: impl FnMut(
            &Connection,
            &dyn Records,
            &Pending,
        ) -> Result<Option<(ActionState, Option<String>)>>,
    ) -> Result<()> {
        for pending in firing::due(&self.db, now_ms)? {
            let Some((state, detail)) = said(&self.db, &self.records, &pending)? else { continue };
            let done = Timestamp::from_unix_ms(pending.at_ms.max(pending.after_ms));
            firing::settle(&self.db, &pending.id, state, detail.as_deref(), done)?;
        }
        Ok(())
    }

    /// What waits is looked at as it stands: nothing rings because of it.
    pub(crate) fn look_at_waiting(&mut self, now_ms: i64) -> Result<()> {
        self.rules.look_at_waiting(&self.db, &self.records, now_ms)
    }

    /// All that rules were looked at for.
    pub(crate) fn looked(&mut self) -> Vec<Looked> {
        self.rules.take_looked()
    }

    pub(crate) fn db(&self) -> &Connection {
        &self.db
    }
}

/// That nobody was erased.
fn nobody() -> Gone {
    Arc::new(|_, _| false)
}
