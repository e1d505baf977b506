//! Firings and their actions, to be read: by people, over the API, by those who compare.
//! Promises them as people are now, whoever they were when it fired. Deliberately writes nothing: see `firing`.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Result, ToSql, params};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{decision, firing::ActionState};
use crate::{
    event_log::{Offset, Timestamp},
    people::{Node, Whole},
};

/// A firing, to be read.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fired {
    /// Stays the same when people are made anew.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// In which revision.
    pub revision: u32,
    /// Who, by the first identifier's person as it is now.
    pub person: String,
    /// What people call it.
    pub name: String,
    /// The account, of a rule about accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// When it was so.
    pub at: String,
    /// The event that began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Why nothing was done because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Where nothing came of it: when the rule fires for them again, if that is not the next time that it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
    /// What its rule decided for who asks with the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Of one with a decision: why it decides nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecided: Option<String>,
    /// Whether it was a rule as it was before: as it is now it would not have fired then, or has not come into force yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub earlier: bool,
    /// What it was decided by.
    pub why: Box<RawValue>,
    /// What is done because of it.
    pub actions: Vec<Acted>,
    /// Where in the list it is: hand it back as `before`.
    pub number: i64,
}

/// An action, to be read.
#[derive(Clone, Debug, Serialize)]
pub struct Acted {
    /// Unique, and the same at every attempt.
    pub id: String,
    /// `emit`, `slack`, …
    pub kind: String,
    /// What became of it.
    pub state: ActionState,
    /// Why, where it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When the destination had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    /// How it stands with it while it is pending.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// How it stands with an action that is still to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// What it waits for, where that is not the destination: that the rule goes on, that a night ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// How often it was tried since the collector has started.
    pub attempts: u32,
    /// Why the last attempt did not do it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<String>,
    /// When it is of no use any more.
    pub expires: String,
    /// Not before then: somebody's night.
    #[serde(skip)]
    pub(crate) after_ms: i64,
}

/// How many actions of each rule are still to be done.
pub(crate) fn waiting(db: &Connection) -> Result<BTreeMap<String, u64>> {
    let query = "SELECT f.rule, count(*) FROM action a JOIN firing f ON f.number = a.firing
                 WHERE a.state = 'pending' GROUP BY f.rule";
    let mut query = db.prepare_cached(query)?;
    let rows = query.query_map([], |row| {
        let waiting: i64 = row.get(1)?;
        Ok((row.get(0)?, waiting.cast_unsigned()))
    })?;
    rows.collect()
}

/// How often each rule has fired, and how often something was done because of it.
pub(crate) fn counts(db: &Connection) -> Result<BTreeMap<String, (u64, u64)>> {
    let query = "SELECT rule, count(*), sum(EXISTS (SELECT 1 FROM action a WHERE a.firing = f.number AND a.state = 'accepted'))
                 FROM firing f GROUP BY rule";
    let mut query = db.prepare_cached(query)?;
    let rows = query.query_map([], |row| {
        let (fired, acted): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok((row.get(0)?, (fired.cast_unsigned(), acted.cast_unsigned())))
    })?;
    rows.collect()
}

/// How often a rule has fired, and when last: milliseconds of unix time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) fired: u64,
    pub(crate) last_ms: i64,
}

/// The same of each rule that has, for any of these identifiers.
pub(crate) fn times_of_nodes(db: &Connection, nodes: &[Node]) -> Result<BTreeMap<String, Times>> {
    times(db, "node", nodes)
}

/// The same about any of these accounts.
pub(crate) fn times_of_accounts(
    db: &Connection,
    accounts: &[i64],
) -> Result<BTreeMap<String, Times>> {
    times(db, "account <> 0 AND account", accounts)
}

/// Reads an index alone: a firing is one entry of it.
fn times(db: &Connection, of: &str, all: &[i64]) -> Result<BTreeMap<String, Times>> {
    let query = format!("SELECT rule, count(*), max(at) FROM firing WHERE {of} = ?1 GROUP BY rule");
    let mut query = db.prepare_cached(&query)?;
    let mut times: BTreeMap<String, Times> = BTreeMap::new();
    for one in all {
        let mut rows = query.query([one])?;
        while let Some(row) = rows.next()? {
            let (fired, last_ms): (i64, i64) = (row.get(1)?, row.get(2)?);
            let times = times.entry(row.get(0)?).or_default();
            times.fired += fired.cast_unsigned();
            times.last_ms = times.last_ms.max(last_ms);
        }
    }
    Ok(times)
}

/// Which firings to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    /// Of one rule.
    pub(crate) rule: Option<String>,
    /// Of these identifiers.
    pub(crate) nodes: Option<Vec<Node>>,
    /// About the account with this number.
    pub(crate) account: Option<i64>,
    /// Earlier than the one with this number.
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
}

/// Firings, the latest first.
pub(crate) fn list(db: &Connection, wanted: &Listed) -> Result<Vec<Fired>> {
    let before = wanted.before.unwrap_or(i64::MAX);
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let mut numbers: Vec<i64> = Vec::new();
    let mut take = |of: &str, value: &dyn ToSql| -> Result<()> {
        let query = format!(
            "SELECT number FROM firing WHERE {of} = ?1 AND number < ?2 AND (?3 IS NULL OR rule = ?3)
             ORDER BY number DESC LIMIT ?4"
        );
        let mut query = db.prepare_cached(&query)?;
        let rows = query.query_map(params![value, before, wanted.rule, limit], |row| row.get(0))?;
        for row in rows {
            numbers.push(row?);
        }
        Ok(())
    };
    match (&wanted.account, &wanted.nodes) {
        (Some(account), _) => take("account <> 0 AND account", account)?,
        (_, Some(nodes)) => {
            for node in nodes {
                take("node", node)?;
            }
        }
        _ => match &wanted.rule {
            Some(rule) => take("rule", rule)?,
            None => take("1", &1)?,
        },
    }
    numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
    numbers.truncate(wanted.limit);
    let fired = numbers.into_iter().filter_map(|number| fired(db, number).transpose());
    fired.collect()
}

pub(super) fn fired(db: &Connection, number: i64) -> Result<Option<Fired>> {
    let query = "SELECT id, rule, revision, node, account, at, record, held, why, earlier FROM firing WHERE number = ?1";
    let found = db.prepare_cached(query)?.query_row([number], |row| {
        let (record, why): (i64, String) = (row.get(6)?, row.get(8)?);
        let fired = Fired {
            id: row.get(0)?,
            rule: row.get(1)?,
            revision: row.get(2)?,
            person: String::new(),
            name: String::new(),
            account: None,
            at: Timestamp::from_unix_ms(row.get(5)?).to_string(),
            event: (record > 0).then(|| Offset::from_number(record).to_string()),
            held: row.get(7)?,
            again: None,
            decision: decision::noted(&why),
            undecided: None,
            earlier: row.get(9)?,
            why: RawValue::from_string(why).unwrap_or_default(),
            actions: Vec::new(),
            number,
        };
        Ok((fired, row.get::<_, Node>(3)?, row.get::<_, i64>(4)?))
    });
    let Some((mut fired, node, account)) = found.optional()? else { return Ok(None) };
    let whose = Whole::person(db, node)?;
    fired.person = whose.id().to_string();
    fired.name = crate::people::name_of(db, whose.id())?;
    if account != 0 {
        fired.account = Whole::account(db, account, node)?.and_then(|it| it.account).map(|it| it.1);
    }
    let query = "SELECT id, kind, state, detail, done, expires, after FROM action WHERE firing = ?1 ORDER BY id";
    let mut query = db.prepare_cached(query)?;
    let rows = query.query_map([number], |row| {
        let state: String = row.get(2)?;
        let done: Option<i64> = row.get(4)?;
        let detail: Option<String> = row.get(3)?;
        let state = ActionState::read(&state, detail.as_deref()).unwrap_or(ActionState::Unknown);
        let waiting = Waiting {
            expires: Timestamp::from_unix_ms(row.get(5)?).to_string(),
            after_ms: row.get(6)?,
            ..Waiting::default()
        };
        Ok(Acted {
            id: row.get(0)?,
            kind: row.get(1)?,
            state,
            detail,
            done: done.map(|ms| Timestamp::from_unix_ms(ms).to_string()),
            waiting: (state == ActionState::Pending).then_some(waiting),
        })
    })?;
    fired.actions = rows.collect::<Result<_>>()?;
    Ok(Some(fired))
}
