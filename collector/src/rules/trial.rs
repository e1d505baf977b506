//! Rules over records, in memory: what they would come to, for a fixture, for one person's history, or for a whole log.
//! Promises what the projection would have come to, and that nothing is sent. Deliberately keeps nothing.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, Result};

use super::{
    SCHEMAS,
    firing::{Fired, Listed, list},
    fold::{Fold, InForce, Looked, Records},
    set::RuleSet,
};
use crate::{
    event_log::{Offset, Record, Snapshot},
    people,
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
enum Seen {
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
        let records = Seen::Here(BTreeMap::new());
        let mut trial = Self::on(Connection::open_in_memory()?, set, limits, records)?;
        trial.rules.watch();
        Ok(trial)
    }

    /// Over a whole log, in a temporary file.
    pub(crate) fn over(
        set: Arc<RuleSet>,
        limits: people::Limits,
        log: Arc<Snapshot>,
    ) -> Result<Self> {
        let db = Connection::open("")?;
        db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN")?;
        Self::on(db, set, limits, Seen::Log(log))
    }

    fn on(
        db: Connection,
        set: Arc<RuleSet>,
        limits: people::Limits,
        records: Seen,
    ) -> Result<Self> {
        for tables in people::SCHEMAS.iter().chain(&SCHEMAS) {
            db.execute_batch(tables)?;
        }
        db.set_prepared_statement_cache_capacity(128);
        Ok(Self {
            db,
            people: people::Fold::new(limits, Arc::new(|_, _| false)),
            rules: Fold::new(set, InForce::default()),
            records,
            last: Offset::START,
        })
    }

    /// Folds a record in, after whatever was due before it.
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        self.pass(record.received_at.unix_ms())?;
        let folded = self.people.record(&self.db, record)?;
        self.last = record.offset;
        if let Seen::Here(records) = &mut self.records {
            records.insert(record.offset, record.clone());
        }
        self.rules.record((&self.db, &mut self.people), &self.records, record, &folded)?;
        self.people.flush(&self.db)?;
        self.rules.flush(&self.db)
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

    /// All that rules were looked at for.
    pub(crate) fn looked(&mut self) -> Vec<Looked> {
        self.rules.take_looked()
    }

    pub(crate) fn db(&self) -> &Connection {
        &self.db
    }
}
