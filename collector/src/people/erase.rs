//! Taking people out of the state, and where in the log they are. Promises that nothing under these identifiers is left in any
//! table. Deliberately does not touch the log: whoever orders this has erased them there.

use rusqlite::{Connection, Result};

use super::{
    graph::{self, Node},
    identifier::Identifier,
    profile::PersonId,
};
use crate::event_log::Offset;

const TABLES: [&str; 8] = [
    "DELETE FROM decision WHERE identifier = ?1",
    "DELETE FROM moment WHERE identifier = ?1",
    "DELETE FROM trait_text WHERE identifier = ?1",
    "DELETE FROM membership WHERE identifier = ?1",
    "DELETE FROM seen WHERE id = ?1",
    "DELETE FROM edge WHERE a = ?1",
    "DELETE FROM edge WHERE b = ?1",
    "DELETE FROM identifier WHERE id = ?1",
];

/// Where a person is found.
pub(crate) struct Traces {
    pub(crate) members: Vec<(Node, Identifier<'static>)>,
    pub(crate) records: Vec<Offset>,
}

/// A person's identifiers, and all records of the log that are about it.
pub(crate) fn traces(db: &Connection, person: PersonId) -> Result<Traces> {
    let members = graph::members(db, person.node())?;
    let mut records = Vec::new();
    let mut query = db.prepare_cached(
        "SELECT record FROM moment WHERE identifier = ?1 UNION SELECT record FROM decision WHERE identifier = ?1",
    )?;
    for (node, _) in &members {
        for record in query.query_map([node], |row| row.get(0))? {
            records.push(Offset::from_number(record?));
        }
    }
    records.sort_unstable();
    records.dedup();
    Ok(Traces { members, records })
}

/// Takes all of a person's identifiers out, within a transaction of the caller's.
pub(crate) fn forget(db: &Connection, nodes: &[Node]) -> Result<()> {
    for table in TABLES {
        let mut delete = db.prepare_cached(table)?;
        for node in nodes {
            delete.execute([node])?;
        }
    }
    Ok(())
}
