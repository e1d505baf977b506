//! Taking people out of the state. Promises that nothing under these identifiers is left in any table. Deliberately does not
//! touch the log, where the events are: whoever orders this has erased them there.

use rusqlite::{Connection, Result};

use super::graph::Node;

const TABLES: [&str; 7] = [
    "DELETE FROM moment WHERE identifier = ?1",
    "DELETE FROM trait_text WHERE identifier = ?1",
    "DELETE FROM membership WHERE identifier = ?1",
    "DELETE FROM seen WHERE id = ?1",
    "DELETE FROM edge WHERE a = ?1",
    "DELETE FROM edge WHERE b = ?1",
    "DELETE FROM identifier WHERE id = ?1",
];

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
