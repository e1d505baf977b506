//! For tests, of this crate and of others: all that is known of people, as lines that can be compared.
//! Promises that two databases with the same lines say the same of everybody. Deliberately leaves out numbers that nobody sees.
#![allow(clippy::missing_panics_doc, reason = "a test wants to hear of it")]

use rusqlite::{Connection, types::Value};

const TABLES: [&str; 10] = [
    "SELECT * FROM identifier",
    "SELECT * FROM edge",
    "SELECT * FROM seen",
    // The names' own numbers depend on what was asked first.
    "SELECT m.identifier, m.time, m.record, m.call, n.text FROM moment m JOIN name n ON n.id = m.name",
    "SELECT text FROM name",
    "SELECT * FROM trait_text",
    "SELECT * FROM account",
    "SELECT * FROM membership",
    "SELECT * FROM decision",
    "SELECT * FROM trial",
];

/// Everything, sorted; each line begins with its query.
pub fn everything(db: &Connection) -> Vec<String> {
    let mut all = Vec::new();
    for table in TABLES {
        let mut query = db.prepare(table).expect("the tables are there");
        let columns = query.column_count();
        let mut rows = query.query([]).expect("it has no parameters");
        while let Some(row) = rows.next().expect("the database can be read") {
            let value = |at| format!("{:?}", row.get::<_, Value>(at).expect("it is a column"));
            all.push(format!(
                "{table}: {}",
                (0..columns).map(value).collect::<Vec<_>>().join(" | ")
            ));
        }
    }
    all.sort();
    all
}
