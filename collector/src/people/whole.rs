//! Whoever something is about, as a whole: a person with all its identifiers, or an account with all of its people's.
//! Deliberately reads nothing that was said of them.

use std::{collections::BTreeSet, ops::Range};

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::{
    account::{self, MAX_IDENTIFIERS},
    graph::{self, Node},
    identifier::Kind,
    profile::PersonId,
};
use crate::event_log::{Offset, Timestamp};

/// A person or an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// The person; of an account, who has done something or is named for it.
    pub(crate) person: Node,
    /// The account's number and `groupId`, if it is about one.
    pub(crate) account: Option<(i64, String)>,
    /// All identifiers that belong to it.
    pub(crate) nodes: Vec<Node>,
}

impl Whole {
    /// The person that an identifier belongs to.
    pub(crate) fn person(db: &Connection, node: Node) -> Result<Self> {
        let person = graph::person(db, node)?;
        Ok(Self { person, account: None, nodes: graph::nodes(db, person)? })
    }

    /// Of the person that an identifier belongs to, those that belong to it by proven statements alone.
    pub(crate) fn proven(db: &Connection, node: Node) -> Result<Vec<Node>> {
        Ok(graph::proven(db, node)?.into_iter().collect())
    }

    /// The accounts that this person is of.
    pub(crate) fn accounts(&self, db: &Connection) -> Result<Vec<Self>> {
        let mut found = BTreeSet::new();
        let query = "SELECT account FROM membership WHERE identifier = ?1";
        for node in &self.nodes {
            let mut query = db.prepare_cached(query)?;
            let rows = query.query_map([node], |row| row.get(0))?;
            for account in rows {
                found.insert(account?);
            }
        }
        let accounts = found.into_iter().map(|number| Self::account(db, number, self.person));
        accounts.filter_map(Result::transpose).collect()
    }

    /// An account by its number; `None` if it is gone.
    pub(crate) fn account(db: &Connection, number: i64, person: Node) -> Result<Option<Self>> {
        let query = "SELECT value FROM account WHERE id = ?1";
        let value: Option<String> =
            db.prepare_cached(query)?.query_row([number], |row| row.get(0)).optional()?;
        let Some(value) = value else { return Ok(None) };
        let query =
            "SELECT DISTINCT i.person FROM membership m JOIN identifier i ON i.id = m.identifier
                     WHERE m.account = ?1 LIMIT ?2";
        let mut query = db.prepare_cached(query)?;
        let people = query.query_map([number, MAX_IDENTIFIERS], |row| row.get(0))?;
        let mut nodes = Vec::new();
        for person in people {
            nodes.extend(graph::nodes(db, person?)?);
        }
        nodes.sort_unstable();
        Ok(Some(Self { person, account: Some((number, value)), nodes }))
    }

    /// An account by its id; `None` if there is none.
    pub(crate) fn account_of(db: &Connection, id: &str) -> Result<Option<Self>> {
        let query = "SELECT id FROM account WHERE value = ?1";
        let number: Option<i64> =
            db.prepare_cached(query)?.query_row([id], |row| row.get(0)).optional()?;
        match number {
            Some(number) => Self::account(db, number, 0),
            None => Ok(None),
        }
    }

    /// Of an account the one who is most active, else the person itself.
    pub(crate) fn main_user(&self, db: &Connection, now_ms: i64) -> Result<Node> {
        let Some((_, id)) = &self.account else { return Ok(self.person) };
        let account = account::account(db, id, Timestamp::from_unix_ms(now_ms))?;
        let main = account.and_then(|account| account.members.first().map(|it| it.person.0));
        Ok(main.unwrap_or(self.person))
    }

    pub(crate) fn id(&self) -> PersonId {
        PersonId(self.person)
    }

    /// A person's first user id.
    pub(crate) fn user_id(&self, db: &Connection) -> Result<Option<String>> {
        for (_, identifier) in graph::members(db, self.person)? {
            if identifier.kind == Kind::User {
                return Ok(Some(identifier.value.into_owned()));
            }
        }
        Ok(None)
    }
}

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Did {
    pub(crate) record: Offset,
    /// `track`, `page`, …
    pub(crate) call: String,
    pub(crate) name: String,
}

/// What these identifiers did within a time, in milliseconds of unix time.
pub(crate) fn did(db: &Connection, nodes: &[Node], within: Range<i64>) -> Result<Vec<Did>> {
    let query = "SELECT m.record, m.call, n.text FROM moment m JOIN name n ON n.id = m.name
                 WHERE m.identifier = ?1 AND m.time >= ?2 AND m.time < ?3";
    let mut query = db.prepare_cached(query)?;
    let mut all = Vec::new();
    for node in nodes {
        let rows = query.query_map(params![node, within.start, within.end], |row| {
            let record = Offset::from_number(row.get(0)?);
            Ok(Did { record, call: row.get(1)?, name: row.get(2)? })
        })?;
        for row in rows {
            all.push(row?);
        }
    }
    Ok(all)
}

/// People, by their numbers, after this one: of those that were merged the one that they are now.
pub(crate) fn people_after(db: &Connection, after: Node, limit: usize) -> Result<Vec<Node>> {
    let query = "SELECT id FROM identifier WHERE id > ?1 AND person = id ORDER BY id LIMIT ?2";
    numbers(db, query, after, limit)
}

/// Accounts, by their numbers, after this one.
pub(crate) fn accounts_after(db: &Connection, after: i64, limit: usize) -> Result<Vec<i64>> {
    numbers(db, "SELECT id FROM account WHERE id > ?1 ORDER BY id LIMIT ?2", after, limit)
}

fn numbers(db: &Connection, query: &str, after: i64, limit: usize) -> Result<Vec<i64>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    db.prepare_cached(query)?.query_map(params![after, limit], |row| row.get(0))?.collect()
}

/// The records that belong to these identifiers, in the log's order: the latest, if there are more than `most`; and what was decided
/// about them.
pub(crate) fn records_of(
    db: &Connection,
    nodes: impl Iterator<Item = Node>,
    most: usize,
) -> Result<Vec<Offset>> {
    let mut records = BTreeSet::new();
    let most_rows = i64::try_from(most).unwrap_or(i64::MAX);
    for node in nodes {
        for query in [
            "SELECT record FROM moment WHERE identifier = ?1 ORDER BY time DESC LIMIT ?2",
            "SELECT record FROM decision WHERE identifier = ?1 ORDER BY record DESC LIMIT ?2",
        ] {
            let mut query = db.prepare_cached(query)?;
            let rows = query.query_map(params![node, most_rows], |row| row.get(0))?;
            for record in rows {
                records.insert(Offset::from_number(record?));
            }
        }
    }
    let skipped = records.len().saturating_sub(most);
    Ok(records.into_iter().skip(skipped).collect())
}
