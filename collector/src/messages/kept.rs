//! Which messages wait, and for whom: a table that is folded from the log. What they say stands in the log.
//! Promises the same rows for the same log. Deliberately has no clock: a message that is of no use any more goes when the next one comes.

use rusqlite::{Connection, OptionalExtension as _, Result, params};
use serde_json::Value;

use crate::{
    event_log::{Offset, Origin, Record},
    people::{Folded, Node, SOURCE, Whole},
};

/// What the collector says when a message waits for somebody's page or app.
pub(crate) const MESSAGE: &str = "In-App Message";
/// What devices say of messages: each means that it was shown.
pub(crate) const DEVICE_EVENTS: [&str; 3] =
    ["Message Shown", "Message Clicked", "Message Dismissed"];

/// Messages, by their place in the log.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE message (
        record INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        node INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        shown INTEGER
    ) STRICT;
    CREATE INDEX message_node ON message (node) WHERE shown IS NULL;
    CREATE INDEX message_expires ON message (expires);
";

/// Folds one record in that people have folded already.
pub(crate) fn record(db: &Connection, record: &Record, folded: &Folded) -> Result<()> {
    let Folded::Event { main, call: "track", name, .. } = folded else { return Ok(()) };
    if name == MESSAGE {
        return arrived(db, record, *main);
    }
    if DEVICE_EVENTS.contains(&name.as_str()) {
        return shown(db, record, *main, name);
    }
    Ok(())
}

fn arrived(db: &Connection, record: &Record, node: Node) -> Result<()> {
    // Who sends an event of this name has said nothing to anybody.
    if !matches!(record.origin, Origin::Derived { .. }) || *record.source != *SOURCE {
        return Ok(());
    }
    let properties = properties(record);
    let (Some(id), Some(expires)) =
        (properties["message_id"].as_str(), properties["expires_ms"].as_i64())
    else {
        return Ok(());
    };
    let now = record.received_at.unix_ms();
    db.prepare_cached("DELETE FROM message WHERE expires <= ?1")?.execute([now])?;
    db.prepare_cached("INSERT OR IGNORE INTO message VALUES (?1, ?2, ?3, ?4, NULL)")?
        .execute(params![record.offset.to_number(), id, node, expires])?;
    Ok(())
}

/// A device has shown one. What it says of somebody else's is not believed.
fn shown(db: &Connection, record: &Record, main: Node, name: &str) -> Result<()> {
    let properties = properties(record);
    let Some(id) = properties["message_id"].as_str() else { return Ok(()) };
    let query = "SELECT node FROM message WHERE id = ?1";
    let node: Option<Node> =
        db.prepare_cached(query)?.query_row([id], |row| row.get(0)).optional()?;
    let Some(node) = node else { return Ok(()) };
    if !Whole::person(db, main)?.nodes.contains(&node) {
        return Ok(());
    }
    let now = record.received_at.unix_ms();
    db.prepare_cached("UPDATE message SET shown = ?2 WHERE id = ?1 AND shown IS NULL")?
        .execute(params![id, now])?;
    // Whoever looks at the firing wants to know it.
    let word = name.strip_prefix("Message ").unwrap_or(name).to_lowercase();
    db.prepare_cached("UPDATE action SET detail = ?2 WHERE id = ?1")?.execute(params![id, word])?;
    Ok(())
}

fn properties(record: &Record) -> Value {
    let event: Option<Value> = serde_json::from_str(&record.json).ok();
    event.map(|mut event| event["properties"].take()).unwrap_or_default()
}

/// Messages for these identifiers that nobody has seen and that are still of use, the earliest first.
pub(super) fn waiting(
    db: &Connection,
    nodes: &[Node],
    now_ms: i64,
    most: usize,
) -> Result<Vec<(Offset, String)>> {
    let mut query = db.prepare_cached(
        "SELECT record, id FROM message WHERE node = ?1 AND shown IS NULL AND expires > ?2",
    )?;
    let mut found = Vec::new();
    for node in nodes {
        let rows = query.query_map(params![node, now_ms], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for row in rows {
            let (record, id) = row?;
            found.push((Offset::from_number(record), id));
        }
    }
    found.sort_unstable();
    found.truncate(most);
    Ok(found)
}

/// For whom there is something new after this place in the log: where it stands, and everybody's identifiers.
pub(super) fn arrivals(
    db: &Connection,
    after: Offset,
    most: usize,
) -> Result<Vec<(Offset, Vec<Node>)>> {
    let mut query = db.prepare_cached(
        "SELECT record, node FROM message WHERE record > ?1 ORDER BY record LIMIT ?2",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = query.query_map(params![after.to_number(), most], |row| {
        Ok((Offset::from_number(row.get(0)?), row.get(1)?))
    })?;
    let rows = rows.collect::<Result<Vec<(Offset, Node)>>>()?;
    rows.into_iter().map(|(at, node)| Ok((at, Whole::person(db, node)?.nodes))).collect()
}

/// Forgets what waits for identifiers that were erased.
pub(crate) fn forget(db: &Connection, nodes: &[Node]) -> Result<()> {
    let mut delete = db.prepare_cached("DELETE FROM message WHERE node = ?1")?;
    for node in nodes {
        delete.execute([node])?;
    }
    Ok(())
}
