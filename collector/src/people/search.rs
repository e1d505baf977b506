//! Finding people and accounts by how an identifier or a trait begins.
//! Promises few steps whatever is asked. Deliberately ranks nothing: identifiers first, then names and other traits.

use rusqlite::{Connection, Result, params};
use serde::Serialize;

use super::{
    account::account_name,
    graph,
    profile::{PersonId, name_of, person_of, said},
    seen::About,
};

/// Somebody, or an organisation, and why it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Found {
    /// A person.
    Person {
        /// Its id.
        id: PersonId,
        /// What people call it.
        name: String,
        /// What begins with what was asked for, as `email:…` or `company: …`.
        because: String,
    },
    /// An account.
    Account {
        /// The `groupId`.
        id: String,
        /// What people call it.
        name: String,
        /// What begins with what was asked for.
        because: String,
    },
}

/// Rows looked at of each table for each one wanted: several can be of one person.
const ROWS_FOR_ONE: usize = 4;

/// At most `limit`, of whom something begins with `text`. While the fold is behind the log, those who came up last are not yet
/// found by their traits (see [`super::texts`]), but by their identifiers.
pub(crate) fn search(db: &Connection, text: &str, limit: usize) -> Result<Vec<Found>> {
    let text = text.trim();
    let mut found: Vec<(PersonId, String)> = Vec::new();
    let mut add = |person: PersonId, because: String| {
        if !found.iter().any(|(known, _)| *known == person) {
            found.push((person, because));
        }
    };
    if text.is_empty() || limit == 0 {
        return Ok(Vec::new());
    }
    if let Some(person) = person_of(db, text)? {
        add(person, text.to_owned());
    }
    let value = text
        .split_once(':')
        .filter(|(kind, _)| super::Kind::ALL.iter().any(|known| known.as_str() == *kind));
    let value = value.map_or(text, |(_, value)| value);
    let rows = i64::try_from(limit * ROWS_FOR_ONE).unwrap_or(i64::MAX);
    let mut cases = vec![value.to_owned(), value.to_lowercase()];
    cases.dedup();
    for case in &cases {
        let mut query = db.prepare_cached(
            "SELECT id, person FROM identifier WHERE value >= ?1 AND value < ?2 ORDER BY value LIMIT ?3",
        )?;
        let rows = query.query_map(params![case, after(case), rows], |row| {
            Ok((row.get(0)?, PersonId(row.get(1)?)))
        })?;
        for row in rows {
            let (node, person): (graph::Node, PersonId) = row?;
            add(person, graph::identifier(db, node)?.to_string());
        }
    }
    let mut query = db.prepare_cached(
        "SELECT id, person FROM identifier WHERE kind = 2 AND substr(value, instr(value, ':') + 1) >= ?1
         AND substr(value, instr(value, ':') + 1) < ?2 ORDER BY substr(value, instr(value, ':') + 1) LIMIT ?3",
    )?;
    let elsewhere = query.query_map(params![text, after(text), rows], |row| {
        Ok((row.get(0)?, PersonId(row.get(1)?)))
    })?;
    for row in elsewhere {
        let (node, person): (graph::Node, PersonId) = row?;
        add(person, graph::identifier(db, node)?.to_string());
    }
    let lower = text.to_lowercase();
    let mut query = db.prepare_cached(
        "SELECT t.text, t.name, i.person FROM trait_text t JOIN identifier i ON i.id = t.identifier
         WHERE t.text >= ?1 AND t.text < ?2 ORDER BY t.text LIMIT ?3",
    )?;
    let traits = query.query_map(params![lower, after(&lower), rows], |row| {
        let (text, name): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((PersonId(row.get(2)?), format!("{name}: {text}")))
    })?;
    for row in traits {
        let (person, because) = row?;
        add(person, because);
    }
    found.truncate(limit);
    let mut all = Vec::new();
    for (id, because) in found {
        all.push(Found::Person { id, name: name_of(db, id)?, because });
    }
    let mut accounts: Vec<(String, Found)> = Vec::new();
    for (column, text) in [("value", text), ("name", &*lower)] {
        let mut query = db.prepare_cached(&format!(
            "SELECT value, about FROM account WHERE {column} >= ?1 AND {column} < ?2 ORDER BY {column} LIMIT ?3"
        ))?;
        let found = query.query_map(params![text, after(text), rows], |row| {
            let (id, about): (String, String) = (row.get(0)?, row.get(1)?);
            let about: About = serde_json::from_str(&about).unwrap_or_default();
            let name = account_name(&id, &said(&about).0);
            let because = match column {
                "value" => format!("account: {id}"),
                _ => format!("name: {name}"),
            };
            Ok((id.clone(), Found::Account { because, id, name }))
        })?;
        for account in found {
            let account = account?;
            if !accounts.iter().any(|(known, _)| *known == account.0) {
                accounts.push(account);
            }
        }
    }
    let room = limit - all.len();
    all.extend(accounts.into_iter().map(|(_, found)| found).take(room));
    Ok(all)
}

/// The least text behind all that begin with this one.
fn after(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}
