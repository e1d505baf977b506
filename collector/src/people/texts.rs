//! What people are found by: how the texts of their traits begin. Their order has nothing to do with that of events, and written
//! one by one each is on a page of its own; so those of whom the log brings up wait, and are written many at a time, sorted.
//! Promises that each change of the table has all of it when it is asked to gather, at the log's end. Deliberately writes nothing down
//! of what waits: after a crash it is read again from what is known of these identifiers.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result, params};

use super::{
    graph::{Node, PER_RECORD},
    seen::{About, TRAIT},
};
use crate::event_log::Offset;

/// The table, and below which identifier it has all texts.
pub(super) const SCHEMA: &str = "
    CREATE TABLE trait_text (
        text TEXT NOT NULL,
        name TEXT NOT NULL,
        identifier INTEGER NOT NULL,
        PRIMARY KEY (text, name, identifier)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE gathered (below INTEGER NOT NULL) STRICT;
    INSERT INTO gathered VALUES (0);
";

/// Longest text of a trait that can be searched for, in bytes: names, addresses and companies are shorter.
const SEARCHABLE_BYTES: usize = 100;
/// Texts that wait at most, some 8 MB. A million people's are on 22,000 pages: then each page that is touched gets three.
const WAITING: usize = 1 << 16;
/// Records whose texts wait at most: so many are looked through after a crash.
const RECORDS: i64 = 1 << 18;

/// The texts that wait.
#[derive(Default)]
pub(super) struct Texts {
    /// Below this identifier all are in the table; once it was looked up.
    below: Option<Node>,
    /// Of the others.
    waiting: BTreeSet<(String, Box<str>, Node)>,
}

impl Texts {
    /// Before a record is folded: what a fold before this one left waiting, and room for what the record brings up.
    pub(super) fn make_room(&mut self, db: &Connection, record: Offset) -> Result<()> {
        let next = record.to_number().saturating_mul(PER_RECORD);
        let below = match self.below {
            Some(below) => below,
            None => self.look_up(db)?,
        };
        if self.waiting.len() >= WAITING || next - below >= RECORDS * PER_RECORD {
            self.write(db, next)?;
        }
        Ok(())
    }

    /// What a trait could be found by, and now can.
    pub(super) fn change(
        &mut self,
        db: &Connection,
        (node, name): (Node, &str),
        before: &[String],
        now: Vec<String>,
    ) -> Result<()> {
        let gone: Vec<_> = before.iter().filter(|text| !now.contains(text)).collect();
        let new = now.into_iter().filter(|text| !before.contains(text));
        if self.below.is_none_or(|below| node < below) {
            for text in gone {
                db.prepare_cached(
                    "DELETE FROM trait_text WHERE text = ?1 AND name = ?2 AND identifier = ?3",
                )?
                .execute(params![text, name, node])?;
            }
            for text in new {
                insert(db, &text, name, node)?;
            }
        } else {
            for text in gone {
                self.waiting.remove(&(text.clone(), name.into(), node));
            }
            self.waiting.extend(new.map(|text| (text, name.into(), node)));
        }
        Ok(())
    }

    /// Whether any waits, or it is not known yet.
    pub(super) fn wait(&self) -> bool {
        self.below.is_none() || !self.waiting.is_empty()
    }

    /// Writes what waits, once records are folded up to here; whether anything did.
    pub(super) fn gather(&mut self, db: &Connection, applied: Offset) -> Result<bool> {
        if self.below.is_none() {
            self.look_up(db)?;
        }
        let waited = !self.waiting.is_empty();
        if waited {
            self.write(db, (applied.to_number() + 1).saturating_mul(PER_RECORD))?;
        }
        Ok(waited)
    }

    fn look_up(&mut self, db: &Connection) -> Result<Node> {
        let below = db.query_row("SELECT below FROM gathered", [], |row| row.get(0))?;
        let mut query = db.prepare_cached("SELECT id, about FROM seen WHERE id >= ?1")?;
        let mut rows = query.query([below])?;
        while let Some(row) = rows.next()? {
            let (node, about): (Node, String) = (row.get(0)?, row.get(1)?);
            let about: About = serde_json::from_str(&about).unwrap_or_default();
            for (name, fact) in &about.facts {
                let Some(name) = name.strip_prefix(TRAIT) else { continue };
                let texts = searchable(fact.json()).into_iter();
                self.waiting.extend(texts.map(|text| (text, name.into(), node)));
            }
        }
        self.below = Some(below);
        Ok(below)
    }

    fn write(&mut self, db: &Connection, below: Node) -> Result<()> {
        for (text, name, node) in std::mem::take(&mut self.waiting) {
            insert(db, &text, &name, node)?;
        }
        db.prepare_cached("UPDATE gathered SET below = ?1")?.execute([below])?;
        self.below = Some(below);
        Ok(())
    }
}

fn insert(db: &Connection, text: &str, name: &str, node: Node) -> Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO trait_text VALUES (?1, ?2, ?3)")?
        .execute(params![text, name, node])?;
    Ok(())
}

/// What a trait, of which this is the JSON, can be found by: itself, and what begins at its second, third and fourth word, as a surname does.
pub(super) fn searchable(json: &str) -> Vec<String> {
    let Ok(text) = serde_json::from_str::<String>(json) else { return Vec::new() };
    let text = text.trim().to_lowercase();
    if text.is_empty() || text.len() > SEARCHABLE_BYTES {
        return Vec::new();
    }
    let words = text.match_indices(' ').map(|(at, _)| text[at..].trim_start());
    let mut all: Vec<String> = words.take(3).map(str::to_owned).collect();
    all.insert(0, text);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(db: &Connection) -> i64 {
        db.query_row("SELECT count(*) FROM trait_text", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn texts_wait_until_they_are_many_or_the_log_ends() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db.execute_batch("CREATE TABLE seen (id INTEGER PRIMARY KEY, about TEXT)").unwrap();
        let mut texts = Texts::default();
        let mut say = |record: i64, before: &[String], now: &str| {
            let offset = Offset::from_number(record);
            texts.make_room(&db, offset).unwrap();
            let of = (PER_RECORD, "plan");
            texts.change(&db, of, before, vec![now.to_owned()]).unwrap();
            if record == 3 {
                assert!(texts.gather(&db, offset).unwrap());
                assert!(!texts.gather(&db, offset).unwrap());
            }
            assert!(texts.waiting.len() <= WAITING);
            table(&db)
        };
        assert_eq!(say(1, &[], "free"), 0);
        assert_eq!(say(2, &["free".to_owned()], "pro"), 0, "what waits is replaced");
        assert_eq!(say(3, &[], "gold"), 2);
        assert_eq!(say(4, &["gold".to_owned()], "pro"), 1, "of whom all is there, it stays so");
        // Of new ones.
        let many = i64::try_from(WAITING).unwrap();
        for record in 5..5 + many {
            texts.make_room(&db, Offset::from_number(record)).unwrap();
            let of = (record * PER_RECORD, "name");
            texts.change(&db, of, &[], vec![record.to_string()]).unwrap();
        }
        assert_eq!(table(&db), 1);
        texts.make_room(&db, Offset::from_number(5 + many)).unwrap();
        assert_eq!(table(&db), 1 + many);
        // Few texts of many records.
        let record = 5 + many;
        let of = (record * PER_RECORD, "name");
        texts.change(&db, of, &[], vec!["last".to_owned()]).unwrap();
        texts.make_room(&db, Offset::from_number(record + RECORDS - 1)).unwrap();
        assert_eq!(table(&db), 1 + many);
        texts.make_room(&db, Offset::from_number(record + RECORDS)).unwrap();
        assert_eq!(table(&db), 2 + many);
    }
}
