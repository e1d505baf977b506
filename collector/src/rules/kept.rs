//! What features have kept, by identifier: a table, and in front of it what a busy hour needs.
//! Promises that what was changed is in the table before the transaction ends. Deliberately knows no feature.

use std::collections::BTreeMap;

use lru::LruCache;
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::aggregate::Aggregate;
use crate::people::Node;

/// Identifiers that are remembered: some 10 MB when full.
const REMEMBERED: usize = 1 << 13;

/// By a feature's name.
pub(super) type Features = BTreeMap<String, Aggregate>;

#[derive(Debug)]
pub(super) struct Kept {
    known: LruCache<Node, Features>,
    changed: Vec<Node>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { known: LruCache::unbounded(), changed: Vec::new() }
    }
}

impl Kept {
    /// Of one identifier.
    pub(super) fn of(&mut self, db: &Connection, node: Node) -> Result<&Features> {
        self.read(db, node).map(|features| &*features)
    }

    /// The same, to be changed.
    pub(super) fn change(&mut self, db: &Connection, node: Node) -> Result<&mut Features> {
        if self.changed.last() != Some(&node) {
            self.changed.push(node);
        }
        self.read(db, node)
    }

    fn read(&mut self, db: &Connection, node: Node) -> Result<&mut Features> {
        if !self.known.contains(&node) {
            let query = "SELECT kept FROM feature WHERE node = ?1";
            let kept: Option<String> =
                db.prepare_cached(query)?.query_row([node], |row| row.get(0)).optional()?;
            let kept = kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default();
            self.known.put(node, kept);
        }
        Ok(self.known.get_mut(&node).expect("it was put there if it was not"))
    }

    /// Writes what has changed.
    pub(super) fn flush(&mut self, db: &Connection) -> Result<()> {
        self.changed.sort_unstable();
        self.changed.dedup();
        let mut write = db.prepare_cached("INSERT OR REPLACE INTO feature VALUES (?1, ?2)")?;
        for node in self.changed.drain(..) {
            let Some(kept) = self.known.peek(&node) else { continue };
            let kept = serde_json::to_string(kept).expect("names and numbers are JSON");
            write.execute(params![node, kept])?;
        }
        while self.known.len() > REMEMBERED {
            self.known.pop_lru();
        }
        Ok(())
    }
}
