//! Whoever something is about, as a whole: a person with all its identifiers, or an account with all of its people's.
//! Deliberately reads nothing that was said of them.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::{
    account::{self, MAX_IDENTIFIERS},
    graph::{self, Node},
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
