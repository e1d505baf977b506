//! Taking people out of the state, and where in the log they are. Promises that nothing under these identifiers is left in any
//! table. Deliberately does not touch the log: whoever orders this has erased them there.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result};

use super::{
    fold::save_account,
    graph::{self, Node},
    identifier::Identifier,
    profile::PersonId,
    seen::About,
    trial,
};
use crate::event_log::Offset;

const TABLES: [&str; 9] = [
    "DELETE FROM decision WHERE identifier = ?1",
    "DELETE FROM moment WHERE identifier = ?1",
    "DELETE FROM trait_text WHERE identifier = ?1",
    "DELETE FROM membership WHERE identifier = ?1",
    "DELETE FROM seen WHERE id = ?1",
    "DELETE FROM edge WHERE a = ?1",
    "DELETE FROM edge WHERE b = ?1",
    trial::FORGET,
    "DELETE FROM identifier WHERE id = ?1",
];

/// Where a person is found.
pub(crate) struct Traces {
    pub(crate) nodes: Vec<Node>,
    pub(crate) records: Vec<Offset>,
}

/// A person's identifiers.
pub(crate) fn identifiers(db: &Connection, person: PersonId) -> Result<Vec<Identifier<'static>>> {
    let members = graph::members(db, person.node())?;
    Ok(members.into_iter().map(|(_, identifier)| identifier).collect())
}

/// Those of these identifiers that are known, and all records of the log that are about them.
pub(crate) fn traces(db: &Connection, identifiers: &[Identifier<'static>]) -> Result<Traces> {
    let mut nodes = Vec::new();
    for identifier in identifiers {
        nodes.extend(graph::find(db, identifier)?);
    }
    let mut records = Vec::new();
    let mut query = db.prepare_cached(
        "SELECT record FROM moment WHERE identifier = ?1 UNION SELECT record FROM decision WHERE identifier = ?1",
    )?;
    for node in &nodes {
        for record in query.query_map([node], |row| row.get(0))? {
            records.push(Offset::from_number(record?));
        }
    }
    for identifier in identifiers {
        records.extend(trial::records(db, identifier, Offset::START, usize::MAX)?);
    }
    records.sort_unstable();
    records.dedup();
    Ok(Traces { nodes, records })
}

/// Takes all of a person's identifiers out, within a transaction of the caller's.
pub(crate) fn forget(db: &Connection, nodes: &[Node]) -> Result<()> {
    let names = their(db, "SELECT DISTINCT name FROM moment WHERE identifier = ?1", nodes)?;
    let accounts = their(db, "SELECT account FROM membership WHERE identifier = ?1", nodes)?;
    let records = their(db, "SELECT record FROM moment WHERE identifier = ?1", nodes)?;
    for account in &accounts {
        forget_account(db, *account, &records, nodes)?;
    }
    trial::forget(db, &records)?;
    for table in TABLES {
        let mut delete = db.prepare_cached(table)?;
        for node in nodes {
            delete.execute([node])?;
        }
    }
    forget_names(db, names)
}

/// What a query finds of these identifiers, each once.
fn their(db: &Connection, query: &str, nodes: &[Node]) -> Result<BTreeSet<i64>> {
    let mut query = db.prepare_cached(query)?;
    let mut found = BTreeSet::new();
    for node in nodes {
        for one in query.query_map([node], |row| row.get(0))? {
            found.insert(one?);
        }
    }
    Ok(found)
}

/// An account whose only people these are goes; of another, what they said of it.
fn forget_account(
    db: &Connection,
    account: i64,
    records: &BTreeSet<i64>,
    nodes: &[Node],
) -> Result<()> {
    let mut members = db.prepare_cached("SELECT identifier FROM membership WHERE account = ?1")?;
    let members = members.query_map([account], |row| row.get(0))?;
    let members: Vec<Node> = members.collect::<Result<_>>()?;
    if members.iter().all(|member| nodes.contains(member)) {
        db.prepare_cached("DELETE FROM account WHERE id = ?1")?.execute([account])?;
        return Ok(());
    }
    let about = "SELECT about FROM account WHERE id = ?1";
    let about: String = db.prepare_cached(about)?.query_row([account], |row| row.get(0))?;
    let mut about: About = serde_json::from_str(&about).unwrap_or_default();
    about.facts.retain(|_, fact| !records.contains(&fact.record().to_number()));
    save_account(db, account, &about)
}

/// Names of events that nobody else has an event of: they can have somebody in them.
fn forget_names(db: &Connection, mut names: BTreeSet<i64>) -> Result<()> {
    // Nearly all are others' too, and are soon met with; the rest costs one look at everything.
    for some in ["SELECT name FROM moment LIMIT 20000", "SELECT DISTINCT name FROM moment"] {
        if names.is_empty() {
            break;
        }
        let mut others = db.prepare_cached(some)?;
        for name in others.query_map([], |row| row.get::<_, i64>(0))? {
            names.remove(&name?);
        }
    }
    for name in names {
        db.prepare_cached("DELETE FROM name WHERE id = ?1")?.execute([name])?;
    }
    Ok(())
}
