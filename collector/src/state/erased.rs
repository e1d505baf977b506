//! Who was erased, so that what still arrives from their devices is not stored; and who ordered what.
//! Promises that nobody can be named by what is kept: identifiers are hashed with a key that is only here. Deliberately does not
//! erase anything.

use rusqlite::{Connection, params};

use super::{State, StateError};
use crate::event_log::Timestamp;

/// The row of the key in the table of secrets.
const KEY: &str = "suppression_key";
/// Bytes of a hash that are kept: that two of a billion are alike by chance is one in 10^20.
pub const HASH_BYTES: usize = 16;

/// What someone ordered, without a word about whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// When.
    pub at: Timestamp,
    /// What: `erase`.
    pub action: String,
    /// The person's id, which names nobody once it is erased.
    pub subject: String,
    /// How many events it was about.
    pub events: u64,
}

/// Somebody who is to be erased. It outlives a crash, so that what was begun is finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Of this order.
    pub id: String,
    /// The person's id.
    pub person: String,
    /// The name of the token of who ordered it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// All that the person is known by, as `kind:value`.
    pub identifiers: Vec<String>,
    /// Events that are gone from the log already.
    pub events: u64,
}

/// The key that identifiers are hashed with.
pub(super) fn key(database: &Connection) -> rusqlite::Result<[u8; 32]> {
    let sql = "SELECT value FROM secret WHERE name = ?1";
    database.prepare_cached(sql)?.query_row([KEY], |row| row.get(0))
}

/// Notes that something was ordered and done.
fn audit(database: &Connection, audited: &Audited) -> rusqlite::Result<()> {
    database.execute(
        "INSERT INTO audit (at_ms, action, subject, events) VALUES (?1, ?2, ?3, ?4)",
        params![
            audited.at.unix_ms(),
            audited.action,
            audited.subject,
            audited.events.cast_signed()
        ],
    )?;
    Ok(())
}

impl State {
    /// The key that identifiers are hashed with; made once.
    pub fn suppression_key(&self) -> Result<[u8; 32], StateError> {
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh).map_err(StateError::NoRandomness)?;
        self.with(|database| {
            database.execute(
                "INSERT INTO secret VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![KEY, &fresh[..]],
            )?;
            key(database)
        })
    }

    /// The hashes of those who are not to be stored, and since when.
    pub fn suppressed(&self) -> Result<Vec<([u8; HASH_BYTES], Timestamp)>, StateError> {
        self.with(|database| {
            let mut query = database.prepare_cached("SELECT hash, since_ms FROM suppressed")?;
            let rows = query
                .query_map([], |row| Ok((row.get(0)?, Timestamp::from_unix_ms(row.get(1)?))))?;
            rows.collect()
        })
    }

    /// Notes that somebody is to be erased, before anything is.
    pub fn begin_erasure(&self, erasure: &Erasure) -> Result<(), StateError> {
        let identifiers = serde_json::to_string(&erasure.identifiers).expect("texts are JSON");
        self.with(|database| {
            database.execute(
                "INSERT INTO erasure VALUES (?1, ?2, ?3, ?4, ?5, 0)",
                params![erasure.id, erasure.person, erasure.by, erasure.at.unix_ms(), identifiers],
            )?;
            Ok(())
        })
    }

    /// Those that have begun and did not come to their end.
    pub fn erasures(&self) -> Result<Vec<Erasure>, StateError> {
        self.with(|database| {
            let mut query = database
                .prepare_cached("SELECT id, person, by, at_ms, identifiers, events FROM erasure")?;
            let rows = query.query_map([], |row| {
                let identifiers: String = row.get(4)?;
                Ok(Erasure {
                    id: row.get(0)?,
                    person: row.get(1)?,
                    by: row.get(2)?,
                    at: Timestamp::from_unix_ms(row.get(3)?),
                    identifiers: serde_json::from_str(&identifiers).unwrap_or_default(),
                    events: row.get::<_, i64>(5)?.cast_unsigned(),
                })
            })?;
            rows.collect()
        })
    }

    /// Notes how many events an erasure has taken out of the log; what it comes to by now.
    pub fn note_erased(&self, id: &str, events: u64) -> Result<u64, StateError> {
        self.with(|database| {
            let events: i64 = database.query_row(
                "UPDATE erasure SET events = events + ?2 WHERE id = ?1 RETURNING events",
                params![id, events.cast_signed()],
                |row| row.get(0),
            )?;
            Ok(events.cast_unsigned())
        })
    }

    /// An erasure has come to its end: what remains names nobody.
    pub fn end_erasure(&self, id: &str, audited: &Audited) -> Result<(), StateError> {
        self.with(|database| {
            let change = database.unchecked_transaction()?;
            change.execute("DELETE FROM erasure WHERE id = ?1", [id])?;
            audit(&change, audited)?;
            change.commit()?;
            // Who it was stands in the log of changes until that is moved into the file.
            database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        })
    }

    /// Adds some, for good.
    pub fn suppress(&self, hashes: &[[u8; HASH_BYTES]], now: Timestamp) -> Result<(), StateError> {
        self.with(|database| {
            let change = database.unchecked_transaction()?;
            for hash in hashes {
                change
                    .prepare_cached(
                        "INSERT INTO suppressed VALUES (?1, ?2) ON CONFLICT DO UPDATE SET since_ms = max(since_ms, excluded.since_ms)",
                    )?
                    .execute(params![&hash[..], now.unix_ms()])?;
            }
            change.commit()
        })
    }

    /// All that was noted, the latest first.
    pub fn audited(&self) -> Result<Vec<Audited>, StateError> {
        self.with(|database| {
            let mut query = database.prepare_cached(
                "SELECT at_ms, action, subject, events FROM audit ORDER BY number DESC",
            )?;
            let rows = query.query_map([], |row| {
                Ok(Audited {
                    at: Timestamp::from_unix_ms(row.get(0)?),
                    action: row.get(1)?,
                    subject: row.get(2)?,
                    events: row.get::<_, i64>(3)?.cast_unsigned(),
                })
            })?;
            rows.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn nothing_of_who_was_erased_is_left_in_the_file_nor_in_its_log_of_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let state = State::open(&path).unwrap();
        let at = Timestamp::from_unix_ms(5);
        let (device, token) = ("device-goes", "token-goes");
        let hash = |text: &str| Sha256::digest(text.as_bytes()).to_vec();
        // One that goes over several pages, and one that stays, beside it.
        let long = "x".repeat(20_000);
        let identifiers = ["email:goes@shop.example", "anonymous:device-goes", &long];
        let mut traces: Vec<Vec<u8>> = vec![hash(device), hash(token), b"x".repeat(40)];
        traces.extend(["goes@shop.example", device, token].map(|it| it.as_bytes().to_vec()));
        let is_found = |trace: &[u8]| {
            ["state.db", "state.db-wal"].iter().any(|file| {
                let bytes = std::fs::read(folder.path().join(file)).unwrap();
                bytes.windows(trace.len()).any(|part| part == trace)
            })
        };

        for (device, token) in [(device, token), ("device-stays", "token-stays")] {
            assert!(state.admit_device(device, token, true).unwrap());
        }
        let begun = |id: &str, identifiers: &[&str]| {
            let erasure = Erasure {
                id: id.to_owned(),
                person: format!("person-{id}"),
                by: "first".to_owned(),
                at,
                identifiers: identifiers.iter().map(ToString::to_string).collect(),
                events: 0,
            };
            state.begin_erasure(&erasure).unwrap();
        };
        begun("1", &identifiers);
        begun("2", &["email:next@shop.example"]);
        for trace in [&traces[0], &traces[3]] {
            assert!(is_found(trace), "this test can see what is stored");
        }
        // A number that grows moves its row.
        for events in [1, 300, 100_000] {
            state.note_erased("1", events).unwrap();
        }
        state.suppress(&[[7; HASH_BYTES]], at).unwrap();
        state.forget_devices([device].into_iter()).unwrap();
        let audited =
            Audited { at, action: "erase".into(), subject: "person-1".into(), events: 100_301 };
        state.end_erasure("1", &audited).unwrap();
        for trace in &traces {
            assert!(!is_found(trace), "{} is left", String::from_utf8_lossy(trace));
        }
        assert!(is_found(&hash("device-stays")) && is_found(b"next@shop.example"));
    }
}
