//! What features have kept, by identifier: a table, and in front of it what a busy hour needs; and what models have said of accounts.
//! Promises that what was changed is in the table before the transaction ends. Deliberately knows no feature: one is its place in the
//! set, and a table of another set's is never read.

use lru::LruCache;
use rusqlite::{Connection, OptionalExtension as _, Result, ffi, params};
use serde::{Deserialize, Serialize};

use super::aggregate::Aggregate;
use crate::people::Node;

/// What features keep. What a model says of an account is of no one identifier: it is kept by account, and with whose event it came,
/// so that of who is erased it goes, as from the log, and what was said before stands again.
pub(super) const SCHEMA: &str = "
    CREATE TABLE feature (node INTEGER PRIMARY KEY, kept BLOB NOT NULL) STRICT;
    CREATE TABLE answer (
        account INTEGER NOT NULL,
        feature INTEGER NOT NULL,
        node INTEGER NOT NULL,
        time INTEGER NOT NULL,
        kept TEXT NOT NULL,
        PRIMARY KEY (account, feature, node)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX answer_time ON answer (account, feature, time);
    CREATE INDEX answer_node ON answer (node);
";

/// Identifiers that are remembered: some 10 MB when full.
const REMEMBERED: usize = 1 << 13;

/// What is kept of one identifier, by the features' places in the set, in that order. A row is read and written at every event: in
/// bytes (postcard's), without names, it is a third of what it is as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Features(Vec<(usize, Option<Aggregate>)>);

impl Features {
    pub(super) fn of(&self, feature: usize) -> Option<&Aggregate> {
        let at = self.0.binary_search_by_key(&feature, |(feature, _)| *feature).ok()?;
        self.0[at].1.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn change(&mut self, feature: usize) -> &mut Option<Aggregate> {
        let at = self.0.binary_search_by_key(&feature, |(feature, _)| *feature);
        let at = at.unwrap_or_else(|at| {
            self.0.insert(at, (feature, None));
            at
        });
        &mut self.0[at].1
    }
}

#[derive(Debug)]
pub(super) struct Kept {
    known: LruCache<Node, Features>,
    changed: Vec<Node>,
    /// Where a row is made.
    row: Vec<u8>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { known: LruCache::unbounded(), changed: Vec::new(), row: Vec::new() }
    }
}

impl Kept {
    /// Of one identifier.
    pub(super) fn of(&mut self, db: &Connection, node: Node) -> Result<&Features> {
        self.read(db, node).map(|features| &*features)
    }

    /// The same, to be changed.
    pub(super) fn change(&mut self, db: &Connection, node: Node) -> Result<&mut Features> {
        if self.changed.last() != Some(&node) {
            self.changed.push(node);
        }
        self.read(db, node)
    }

    fn read(&mut self, db: &Connection, node: Node) -> Result<&mut Features> {
        if !self.known.contains(&node) {
            let mut query = db.prepare_cached("SELECT kept FROM feature WHERE node = ?1")?;
            let kept = query.query_row([node], |row| features(row.get_ref(0)?.as_blob()?));
            self.known.put(node, kept.optional()?.unwrap_or_default());
        }
        Ok(self.known.get_mut(&node).expect("it was put there if it was not"))
    }

    /// Writes what has changed.
    pub(super) fn flush(&mut self, db: &Connection) -> Result<()> {
        self.changed.sort_unstable();
        self.changed.dedup();
        let mut write = db.prepare_cached("INSERT OR REPLACE INTO feature VALUES (?1, ?2)")?;
        for node in self.changed.drain(..) {
            let Some(kept) = self.known.peek(&node) else { continue };
            self.row.clear();
            self.row = postcard::to_extend(kept, std::mem::take(&mut self.row))
                .expect("a list of numbers and texts has its lengths, and memory has no end");
            write.execute(params![node, self.row])?;
        }
        while self.known.len() > REMEMBERED {
            self.known.pop_lru();
        }
        Ok(())
    }
}

/// Keeps what a model has said of an account, by its number and the feature's place, with the identifier whose event it came with; whether
/// it is later than what that one's event brought before. Of two at the same moment always the same one counts.
pub(super) fn keep_answer(
    db: &Connection,
    (account, feature): (i64, usize),
    node: Node,
    (time_ms, kept): (i64, &str),
) -> Result<bool> {
    let upsert = "INSERT INTO answer VALUES (?1, ?2, ?3, ?4, ?5)
                  ON CONFLICT DO UPDATE SET time = excluded.time, kept = excluded.kept
                  WHERE (excluded.time, excluded.kept) > (time, kept)";
    let feature = i64::try_from(feature).unwrap_or(i64::MAX);
    let values = params![account, feature, node, time_ms, kept];
    Ok(db.prepare_cached(upsert)?.execute(values)? > 0)
}

/// What a model has said of an account last, and as of when.
pub(super) fn answer(
    db: &Connection,
    (account, feature): (i64, usize),
) -> Result<Option<(i64, String)>> {
    let query = "SELECT time, kept FROM answer WHERE account = ?1 AND feature = ?2
                 ORDER BY time DESC, kept DESC LIMIT 1";
    let feature = i64::try_from(feature).unwrap_or(i64::MAX);
    let mut query = db.prepare_cached(query)?;
    query.query_row(params![account, feature], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Back from a row. One that nobody wrote like this is damage: the whole is made anew from the log.
fn features(row: &[u8]) -> Result<Features> {
    let damaged = |why: String| {
        let why = format!("what features have kept cannot be read: {why}");
        rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(why))
    };
    match postcard::take_from_bytes(row) {
        Ok((features, [])) => Ok(features),
        Ok((_, more)) => Err(damaged(format!("{} bytes more than there should be", more.len()))),
        Err(error) => Err(damaged(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_written() {
        let db = database();
        let all = [
            Aggregate::Total { count: 3, sum: -1.25 },
            Aggregate::Moments(vec![(-5, 1, 0.5), (1_795_449_600_000, 7, f64::MAX)]),
            Aggregate::Extreme(-0.0),
            Aggregate::One(9, json!({"a": [1, 2.5, null, "é"]})),
            Aggregate::One(9, json!(u64::MAX)),
            Aggregate::Stays(vec![(1, 2)]),
            Aggregate::Values(BTreeMap::from([("\"x\"".to_owned(), (4, 2))])),
        ];
        let node = 7;
        let mut kept = Kept::default();
        for (at, one) in all.iter().enumerate().rev() {
            *kept.change(&db, node).unwrap().change(2 * at) = Some(one.clone());
        }
        kept.flush(&db).unwrap();
        let mut kept = Kept::default();
        let read = kept.of(&db, node).unwrap();
        for (at, one) in all.iter().enumerate() {
            assert_eq!(read.of(2 * at), Some(one));
            assert_eq!(read.of(2 * at + 1), None);
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_is_damage_and_not_nothing() {
        // Cut off, and overwritten with zeros: those would read as an empty list with something behind it.
        for row in ["x'FF'", "zeroblob(40)"] {
            let db = database();
            db.execute(&format!("INSERT INTO feature VALUES (7, {row})"), []).unwrap();
            let error = Kept::default().of(&db, 7).unwrap_err();
            assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt));
        }
    }
}
