//! An account: an organisation of which people are members, by `group`. Promises that it is read together from its members as
//! they are now. Deliberately keeps nothing of its own but what was said of it.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension as _, Result};
use serde::Serialize;

use super::{
    graph,
    profile::{Membership, PersonId, Said, moment, name_of, said},
    seen::About,
};
use crate::event_log::Timestamp;

/// Who was most active is asked for the last 30 days: a month has everybody's rhythm in it.
const WINDOW_MS: i64 = 30 * 24 * 3600 * 1000;
/// Identifiers of an account that are looked at. Larger ones are shown in part.
pub(super) const MAX_IDENTIFIERS: i64 = 2_000;

/// What is known of an organisation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The `groupId`.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What was said of it.
    pub traits: BTreeMap<String, Said>,
    /// The most active in the last 30 days first: that is the main user.
    pub members: Vec<Member>,
    /// Whether it has more members than are listed.
    pub partial: bool,
    /// Of its members' events; absent without any.
    pub first_seen: Option<String>,
    /// Of its members' events; absent without any.
    pub last_seen: Option<String>,
    /// Its members', in the last 30 days.
    pub recent_events: u64,
}

/// A person of an account.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The person.
    pub person: PersonId,
    /// What people call it.
    pub name: String,
    /// Since when.
    pub since: String,
    /// Its latest event.
    pub last_seen: Option<String>,
    /// Its events in the last 30 days.
    pub recent_events: u64,
}

/// What is known of an account; `now` ends the window.
pub(crate) fn account(db: &Connection, id: &str, now: Timestamp) -> Result<Option<Account>> {
    let find = "SELECT id, about FROM account WHERE value = ?1";
    let found: Option<(i64, String)> = db
        .prepare_cached(find)?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((number, about)) = found else { return Ok(None) };
    let about: About = serde_json::from_str(&about).unwrap_or_default();
    let (traits, _) = said(&about);

    let mut query = db.prepare_cached(
        "SELECT identifier, time FROM membership WHERE account = ?1 ORDER BY identifier LIMIT ?2",
    )?;
    let rows = query.query_map([number, MAX_IDENTIFIERS], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let joined: Vec<(graph::Node, i64)> = rows.collect::<Result<_>>()?;
    let partial = i64::try_from(joined.len()).unwrap_or(i64::MAX) >= MAX_IDENTIFIERS;
    let mut since: BTreeMap<PersonId, i64> = BTreeMap::new();
    for (node, time) in joined {
        let person = PersonId(graph::person(db, node)?);
        let earliest = since.entry(person).or_insert(time);
        *earliest = (*earliest).min(time);
    }
    let from = now.unix_ms() - WINDOW_MS;
    let (mut members, mut first, mut last) = (Vec::new(), None::<i64>, None::<i64>);
    for (person, time) in since {
        let activity = activity(db, person, from)?;
        let min = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).min();
        (first, last) = (min(first, activity.first), last.max(activity.last));
        members.push(Member {
            person,
            name: name_of(db, person)?,
            since: moment(time),
            last_seen: activity.last.map(moment),
            recent_events: activity.recent,
        });
    }
    members.sort_by(|a, b| {
        (b.recent_events, &b.last_seen, &a.person).cmp(&(a.recent_events, &a.last_seen, &b.person))
    });
    Ok(Some(Account {
        id: id.to_owned(),
        name: account_name(id, &traits),
        traits,
        recent_events: members.iter().map(|member| member.recent_events).sum(),
        members,
        partial,
        first_seen: first.map(moment),
        last_seen: last.map(moment),
    }))
}

/// The people of an account.
pub(super) fn people_of(db: &Connection, id: &str) -> Result<Option<BTreeSet<PersonId>>> {
    let find = "SELECT id FROM account WHERE value = ?1";
    let number: Option<i64> =
        db.prepare_cached(find)?.query_row([id], |row| row.get(0)).optional()?;
    let Some(number) = number else { return Ok(None) };
    let mut query = db.prepare_cached(
        "SELECT DISTINCT i.person FROM membership m JOIN identifier i ON i.id = m.identifier
         WHERE m.account = ?1 ORDER BY m.identifier LIMIT ?2",
    )?;
    let rows = query.query_map([number, MAX_IDENTIFIERS], |row| row.get(0).map(PersonId))?;
    rows.collect::<Result<_>>().map(Some)
}

struct Activity {
    first: Option<i64>,
    last: Option<i64>,
    recent: u64,
}

fn activity(db: &Connection, person: PersonId, from: i64) -> Result<Activity> {
    let mut all = Activity { first: None, last: None, recent: 0 };
    for (node, _) in graph::members(db, person.0)? {
        let mut span =
            db.prepare_cached("SELECT first, last FROM seen WHERE id = ?1 AND events > 0")?;
        let span: Option<(i64, i64)> =
            span.query_row([node], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((first, last)) = span {
            all.first = Some(all.first.map_or(first, |known| known.min(first)));
            all.last = all.last.max(Some(last));
        }
        let mut recent = db.prepare_cached(
            "SELECT count(*) FROM moment WHERE identifier = ?1 AND time >= ?2 AND own",
        )?;
        let recent: i64 = recent.query_row([node, from], |row| row.get(0))?;
        all.recent += recent.cast_unsigned();
    }
    Ok(all)
}

/// The accounts of an identifier.
pub(super) fn memberships(db: &Connection, node: graph::Node) -> Result<Vec<Membership>> {
    let mut query = db.prepare_cached(
        "SELECT a.value, a.about, m.time FROM membership m JOIN account a ON a.id = m.account
         WHERE m.identifier = ?1",
    )?;
    let rows = query.query_map([node], |row| {
        let (account, about): (String, String) = (row.get(0)?, row.get(1)?);
        let about: About = serde_json::from_str(&about).unwrap_or_default();
        let name = account_name(&account, &said(&about).0);
        Ok(Membership { account, name, since: moment(row.get(2)?) })
    })?;
    rows.collect()
}

pub(super) fn account_name(id: &str, traits: &BTreeMap<String, Said>) -> String {
    traits.get("name").and_then(Said::text).unwrap_or_else(|| id.to_owned())
}
