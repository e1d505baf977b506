//! Who was erased, so that what still arrives from their devices is not stored; and who ordered what.
//! Promises that nobody can be named by what is kept: identifiers are hashed with a key that is only here. Deliberately does not
//! erase anything.

use rusqlite::params;

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
            database.query_row("SELECT value FROM secret WHERE name = ?1", [KEY], |row| row.get(0))
        })
    }

    /// The hashes of those who are not to be stored.
    pub fn suppressed(&self) -> Result<Vec<[u8; HASH_BYTES]>, StateError> {
        self.with(|database| {
            let mut query = database.prepare_cached("SELECT hash FROM suppressed")?;
            query.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Adds some, for good.
    pub fn suppress(&self, hashes: &[[u8; HASH_BYTES]], now: Timestamp) -> Result<(), StateError> {
        self.with(|database| {
            let change = database.unchecked_transaction()?;
            for hash in hashes {
                change
                    .prepare_cached(
                        "INSERT INTO suppressed VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![&hash[..], now.unix_ms()])?;
            }
            change.commit()
        })
    }

    /// Notes that something was ordered and done.
    pub fn audit(&self, audited: &Audited) -> Result<(), StateError> {
        self.with(|database| {
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
