//! What sources for tests said of somebody. Promises that whoever exports or erases a person finds it. Deliberately makes nobody of
//! it: it counts for no profile, no timeline and no edge.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result, params};
use serde_json::value::RawValue;

use super::{
    graph,
    identifier::Identifier,
    profile::PersonId,
    timeline::{as_read, read_records},
};
use crate::event_log::{EventLog, Offset};

/// The table: by the identifier itself, which need not be anybody's yet.
pub(super) const SCHEMA: &str = "
    CREATE TABLE trial (
        value TEXT NOT NULL,
        kind INTEGER NOT NULL,
        record INTEGER NOT NULL,
        PRIMARY KEY (value, kind, record)
    ) STRICT, WITHOUT ROWID;
";

/// Takes out what one identifier's number stands for.
pub(super) const FORGET: &str =
    "DELETE FROM trial WHERE (value, kind) IN (SELECT value, kind FROM identifier WHERE id = ?1)";

/// A person's test events, some of them.
pub(crate) struct Trials {
    /// As readers of the log get them, the earliest first.
    pub(crate) events: Vec<Box<RawValue>>,
    /// How many of them cannot be read: the log is damaged where they are.
    pub(crate) unreadable: u64,
    /// Where to go on, if there is more.
    pub(crate) next: Option<Offset>,
}

/// Notes that a record names an identifier.
pub(super) fn note(db: &Connection, identifier: &Identifier<'_>, record: Offset) -> Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO trial VALUES (?1, ?2, ?3)")?.execute(params![
        identifier.value,
        identifier.kind.number(),
        record.to_number()
    ])?;
    Ok(())
}

/// Takes out what was said in these records: what is claimed where a proof is asked for is no identifier of anybody's.
pub(super) fn forget(db: &Connection, records: &BTreeSet<i64>) -> Result<()> {
    let records = serde_json::to_string(records).expect("numbers are JSON");
    let delete = "DELETE FROM trial WHERE record IN (SELECT value FROM json_each(?1))";
    db.prepare_cached(delete)?.execute([records]).map(drop)
}

/// The records that name it, those after an offset.
pub(super) fn records(
    db: &Connection,
    identifier: &Identifier<'_>,
    after: Offset,
    limit: usize,
) -> Result<Vec<Offset>> {
    let mut query = db.prepare_cached(
        "SELECT record FROM trial WHERE value = ?1 AND kind = ?2 AND record > ?3 ORDER BY record LIMIT ?4",
    )?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let (kind, after) = (identifier.kind.number(), after.to_number());
    let rows = query.query_map(params![identifier.value, kind, after, most], |row| row.get(0))?;
    rows.map(|row| row.map(Offset::from_number)).collect()
}

/// What test sources said of a person after an offset, up to so many events. Blocks: reads the log.
pub(crate) fn trials(
    db: &Connection,
    log: &EventLog,
    person: PersonId,
    after: Offset,
    limit: usize,
) -> Result<Trials> {
    let mut offsets = BTreeSet::new();
    for (_, identifier) in graph::members(db, person.node())? {
        offsets.extend(records(db, &identifier, after, limit + 1)?);
    }
    let some: Vec<Offset> = offsets.iter().copied().take(limit).collect();
    let next = some.last().copied().filter(|_| offsets.len() > limit);
    let (found, unreadable) = read_records(log, &some);
    let events = found.iter().flatten().filter_map(as_read).collect();
    Ok(Trials { events, unreadable, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_claimed_goes_with_their_records_though_it_is_nobodys_identifier() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(SCHEMA).unwrap();
        let claimed =
            Identifier::new(super::super::identifier::Kind::Email, "a@b.example").unwrap();
        for record in [3, 4] {
            note(&db, &claimed, Offset::from_number(record)).unwrap();
        }
        forget(&db, &BTreeSet::from([3, 9])).unwrap();
        let left = records(&db, &claimed, Offset::START, 10).unwrap();
        assert_eq!(left, [Offset::from_number(4)]);
    }
}
