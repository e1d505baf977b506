//! What must outlive a restart and is kept by key: the write key and admin token made at the first
//! start, each consumer's cursor, and what it parked. One SQLite database in the data folder.
//! Promises that what a call returned for is on disk. Deliberately holds no events: the log does, and
//! this names them by offset.

mod consumers;
mod devices;
mod erased;
mod rules;
mod suppression_list;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rusqlite::{Connection, OpenFlags, params};
use sha2::{Digest as _, Sha256};

use crate::{
    config::{Name, Secret},
    event_log::{Offset, Timestamp},
};

pub use consumers::{Pause, Reached, Replay};
pub use erased::{Audited, Erasure, HASH_BYTES};
pub use rules::{Since, Stopped, Switches};
pub use suppression_list::{NotAnAddress, NotSentTo, Place, SuppressionReason, address};

/// The database. Cheap to clone; calls may block on the disk for a few milliseconds.
#[derive(Clone, Debug)]
pub struct State(Arc<Mutex<Connection>>);

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite says no: look at the disk, and at who owns the file.
    #[error("the state database: {0}")]
    Database(#[from] rusqlite::Error),
    /// A newer release wrote the file: go back to it.
    #[error("the state database has version {found}; this release knows versions up to {known}")]
    Newer {
        /// Of the file.
        found: u32,
        /// Of this program.
        known: u32,
    },
    /// The file says something that this program never writes.
    #[error("the state database holds a cursor that is no offset: {0}")]
    BadCursor(String),
    /// The file holds a write key that this program never makes.
    #[error("the state database holds an unusable write key: {0}")]
    BadKey(String),
    /// The system gives no random bytes.
    #[error("no randomness for a new key: {0}")]
    NoRandomness(getrandom::Error),
}

/// Each entry takes the database from its index's version to the next. A released one is never edited.
const MIGRATIONS: [&str; 11] = [
    "
    CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE cursor (consumer TEXT PRIMARY KEY, after TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE parked (
        consumer TEXT NOT NULL,
        record TEXT NOT NULL,      -- the offset's token
        source TEXT NOT NULL,
        message_id TEXT NOT NULL,
        reason TEXT NOT NULL,
        parked_at_ms INTEGER NOT NULL,
        PRIMARY KEY (consumer, record)
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE parked ADD COLUMN redrive INTEGER NOT NULL DEFAULT 0;  -- 1: is to be delivered again
    CREATE TABLE pause (
        consumer TEXT PRIMARY KEY,
        by TEXT NOT NULL,
        reason TEXT NOT NULL,
        paused_at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE replay (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        consumer TEXT NOT NULL,
        after TEXT NOT NULL,       -- done up to here
        upto TEXT NOT NULL
    ) STRICT;
    -- In the order of the log: tokens are canonical decimals, so the longer one is the later.
    CREATE INDEX parked_in_order ON parked (consumer, length(record), record);
    CREATE INDEX parked_redrive ON parked (consumer, length(record), record) WHERE redrive = 1;
",
    "
    -- What is done above `after`: `first-last` of each range, in order, a space between two.
    ALTER TABLE cursor ADD COLUMN done_above TEXT NOT NULL DEFAULT '';
",
    "
    -- Who was erased: what still arrives from them is not stored. Hashed, so that nobody can be named by it.
    CREATE TABLE suppressed (hash BLOB PRIMARY KEY, since_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        events INTEGER NOT NULL
    ) STRICT;
",
    "
    -- Erasures that have begun: with names, for as long as they are under way.
    CREATE TABLE erasure (
        id TEXT PRIMARY KEY,
        person TEXT NOT NULL,
        by TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        identifiers TEXT NOT NULL, -- a JSON list
        events INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Since where in the log each revision of a rule counts.
    CREATE TABLE rule (
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        since INTEGER NOT NULL,
        since_ms INTEGER NOT NULL,
        PRIMARY KEY (name, revision)
    ) STRICT, WITHOUT ROWID;
    -- Rules that an operator has stopped; the empty name is all of them.
    CREATE TABLE stopped_rule (name TEXT PRIMARY KEY, by TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    -- Actions that were begun and whose destination takes no key: after a crash nobody knows whether they were done.
    CREATE TABLE attempt (action TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
",
    "
    -- Devices that read what is meant for them, and the token that each brought first; both hashed.
    CREATE TABLE device (id BLOB PRIMARY KEY, token BLOB NOT NULL) STRICT, WITHOUT ROWID;
",
    "
    -- A name for what the rule decides by: with another it counts anew.
    ALTER TABLE rule ADD COLUMN decides_by TEXT NOT NULL DEFAULT '';
",
    "
    -- Addresses that no action sends to. Found by the hash; the address goes with its person's erasure.
    CREATE TABLE suppression_list (
        hash BLOB PRIMARY KEY,
        address TEXT,              -- `email:…` or `phone:…`
        reason TEXT NOT NULL,
        by TEXT NOT NULL,
        since_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX suppression_list_latest ON suppression_list (since_ms, hash);
    CREATE INDEX suppression_list_reason ON suppression_list (reason, since_ms, hash);
",
    "
    -- From when to when rules were stopped that go on by now; the empty name is all of them.
    CREATE TABLE past_stop (number INTEGER PRIMARY KEY, name TEXT NOT NULL, since_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL) STRICT;
",
    "
    -- How far the log was listened to for what mail services report: one row.
    CREATE TABLE heard (one INTEGER PRIMARY KEY CHECK (one = 1), up_to INTEGER NOT NULL) STRICT;
",
];

/// An event that a consumer set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Where it is in the log.
    pub record: Offset,
    /// Whose event it is.
    pub source: String,
    /// Its id within the source.
    pub message_id: String,
    /// What the destination said.
    pub reason: String,
    /// When it was given up.
    pub parked_at: Timestamp,
    /// Whether it waits to be delivered again.
    pub redrive: bool,
}

impl State {
    /// Refuses a database of a later release, without changing it or making one.
    pub fn refuse_later(path: &Path) -> Result<(), StateError> {
        // What cannot be read at all is said by whoever needs it.
        let version = || -> Result<u32, rusqlite::Error> {
            let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            database.busy_timeout(Duration::from_secs(5))?;
            database.query_row("PRAGMA user_version", [], |row| row.get(0))
        };
        let Ok(found) = version() else { return Ok(()) };
        let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
        if found > known { Err(StateError::Newer { found, known }) } else { Ok(()) }
    }

    /// Opens or makes the database, and brings it to this release's version.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let mut database = Connection::open(path)?;
        database.busy_timeout(Duration::from_secs(5))?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        // A parked event must not be forgotten while the cursor has passed it, nor a key that was printed.
        database.pragma_update(None, "synchronous", "FULL")?;
        // What is deleted is overwritten, and so is a row that moved: who was erased is in neither.
        database.pragma_update(None, "secure_delete", true)?;
        let found: u32 = database.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let mut known = 0;
        for (version, migration) in (1_u32..).zip(MIGRATIONS) {
            known = version;
            if version <= found {
                continue;
            }
            let change = database.transaction()?;
            change.execute_batch(migration)?;
            change.pragma_update(None, "user_version", version)?;
            change.commit()?;
        }
        if found > known {
            return Err(StateError::Newer { found, known });
        }
        Ok(Self(Arc::new(Mutex::new(database))))
    }

    /// The write key of the source that exists without configuration; made once.
    pub fn default_write_key(&self) -> Result<Secret<String>, StateError> {
        let fresh = random_text("wk_", 18)?;
        self.with(|database| {
            database.execute(
                "INSERT INTO secret VALUES ('default_write_key', ?1) ON CONFLICT DO NOTHING",
                [fresh.as_bytes()],
            )?;
            let key: Vec<u8> = database.query_row(
                "SELECT value FROM secret WHERE name = 'default_write_key'",
                [],
                |row| row.get(0),
            )?;
            Ok(Secret::new(String::from_utf8_lossy(&key).into_owned()))
        })
    }

    /// Whether it was made just now, before its first admin token.
    pub(crate) fn is_new(&self) -> Result<bool, StateError> {
        self.with(|database| {
            let any = "SELECT 1 FROM secret WHERE name = ?1";
            Ok(!database.prepare_cached(any)?.exists([ADMIN_TOKEN])?)
        })
    }

    /// Once in the life of the data folder: its first admin token, to be shown.
    pub fn first_admin_token(&self) -> Result<Option<Secret<String>>, StateError> {
        let name = Name::try_from(FIRST.to_owned()).map_err(StateError::BadKey)?;
        self.put_admin_token(&name, "INSERT INTO secret VALUES (?1, ?2) ON CONFLICT DO NOTHING")
    }

    /// Sets an event aside. Parking it again, after a crash, changes nothing but the reason and time. Whether it is new.
    pub fn park(&self, consumer: &Name, parked: &Parked) -> Result<bool, StateError> {
        self.with(|database| {
            let change = database.unchecked_transaction()?;
            let record = parked.record.to_string();
            let there = "SELECT 1 FROM parked WHERE consumer = ?1 AND record = ?2";
            let known = change.prepare_cached(there)?.exists(params![consumer.as_str(), record])?;
            change
                .prepare_cached(
                    "INSERT OR REPLACE INTO parked
                     (consumer, record, source, message_id, reason, parked_at_ms, redrive)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    consumer.as_str(),
                    record,
                    parked.source,
                    parked.message_id,
                    parked.reason,
                    parked.parked_at.unix_ms(),
                    parked.redrive,
                ])?;
            change.commit()?;
            Ok(!known)
        })
    }

    /// The first record of the log that the consumer has set aside.
    pub fn oldest_parked(&self, consumer: &Name) -> Result<Option<Offset>, StateError> {
        let first = "ORDER BY length(record), record LIMIT 1";
        let parked = self.parked_where(first, params![consumer.as_str()])?;
        Ok(parked.first().map(|parked| parked.record))
    }

    /// What the consumer has set aside, oldest first.
    pub fn parked(&self, consumer: &Name) -> Result<Vec<Parked>, StateError> {
        let oldest_first = "ORDER BY parked_at_ms, length(record), record";
        self.parked_where(oldest_first, params![consumer.as_str()])
    }

    fn parked_where(
        &self,
        rest: &str,
        parameters: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<Parked>, StateError> {
        let rows = self.with(|database| {
            let mut query = database.prepare_cached(&format!(
                "SELECT record, source, message_id, reason, parked_at_ms, redrive FROM parked
                 WHERE consumer = ?1 {rest}"
            ))?;
            let rows = query.query_map(parameters, |row| {
                let parked = Parked {
                    record: Offset::START,
                    source: row.get(1)?,
                    message_id: row.get(2)?,
                    reason: row.get(3)?,
                    parked_at: Timestamp::from_unix_ms(row.get(4)?),
                    redrive: row.get(5)?,
                };
                Ok((row.get::<_, String>(0)?, parked))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        rows.into_iter()
            .map(|(record, parked)| {
                let record = record.parse().map_err(|_| StateError::BadCursor(record))?;
                Ok(Parked { record, ..parked })
            })
            .collect()
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StateError> {
        // SQLite keeps its own consistency: a panic elsewhere leaves nothing half done here.
        Ok(work(&self.0.lock().unwrap_or_else(PoisonError::into_inner))?)
    }
}

/// A token that opens what only the operator may see. Only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// What the operator calls it.
    pub name: String,
    /// When it was made; `None` for one of a release that did not note it.
    pub made_at: Option<Timestamp>,
    pub(crate) hash: [u8; 32],
}

/// The row of the token that the first start makes, and which is called `first`. Others have `/` and their name behind it.
const ADMIN_TOKEN: &str = "admin_token_sha256";
const FIRST: &str = "first";

impl State {
    /// The admin tokens in force, by name.
    pub fn admin_tokens(&self) -> Result<Vec<AdminToken>, StateError> {
        let rows = self.with(|database| {
            let mut query = database.prepare_cached(
                "SELECT name, value FROM secret WHERE name = ?1 OR name LIKE ?1 || '/%' ORDER BY name",
            )?;
            let rows = query.query_map([ADMIN_TOKEN], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        let token = |(row, value): (String, Vec<u8>)| {
            // Revoked: empty.
            let (hash, made_at) = value.split_first_chunk()?;
            let made_at =
                made_at.first_chunk().map(|ms| Timestamp::from_unix_ms(i64::from_le_bytes(*ms)));
            let name = row.split_once('/').map_or(FIRST, |(_, name)| name).to_owned();
            Some(AdminToken { name, made_at, hash: *hash })
        };
        Ok(rows.into_iter().filter_map(token).collect())
    }

    /// A new token of this name, to be shown once; `None` if there is one already.
    pub fn add_admin_token(&self, name: &Name) -> Result<Option<Secret<String>>, StateError> {
        let sql = "INSERT INTO secret VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE length(value) = 0";
        self.put_admin_token(name, sql)
    }

    /// A new token in the place of the one of this name, which ends; `None` if there is none.
    pub fn rotate_admin_token(&self, name: &Name) -> Result<Option<Secret<String>>, StateError> {
        self.put_admin_token(
            name,
            "UPDATE secret SET value = ?2 WHERE name = ?1 AND length(value) > 0",
        )
    }

    /// Ends the token of this name; false if there is none.
    pub fn revoke_admin_token(&self, name: &Name) -> Result<bool, StateError> {
        // The row stays: without it the next start would make the first token anew.
        let sql = "UPDATE secret SET value = x'' WHERE name = ?1 AND length(value) > 0";
        Ok(self.with(|database| database.execute(sql, [admin_row(name)]))? == 1)
    }

    fn put_admin_token(
        &self,
        name: &Name,
        sql: &str,
    ) -> Result<Option<Secret<String>>, StateError> {
        let fresh = random_text("admin_", 32)?;
        let value = [
            &Sha256::digest(&fresh)[..],
            &crate::event_log::system_clock()().unix_ms().to_le_bytes(),
        ]
        .concat();
        let put = self.with(|database| database.execute(sql, params![admin_row(name), value]))?;
        Ok((put == 1).then(|| Secret::new(fresh)))
    }
}

fn admin_row(name: &Name) -> String {
    match name.as_str() {
        FIRST => ADMIN_TOKEN.to_owned(),
        name => format!("{ADMIN_TOKEN}/{name}"),
    }
}

/// `bytes` random bytes as text that needs no quoting anywhere.
fn random_text(prefix: &str, bytes: usize) -> Result<String, StateError> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(StateError::NoRandomness)?;
    Ok(format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn keys_are_made_once_and_the_token_is_shown_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let key = {
            let state = State::open(&path).unwrap();
            let token = state.first_admin_token().unwrap().unwrap();
            let [kept] = &state.admin_tokens().unwrap()[..] else { panic!("one token") };
            assert_eq!(
                (kept.name.as_str(), &kept.hash[..]),
                ("first", &Sha256::digest(token.expose())[..])
            );
            state.default_write_key().unwrap()
        };
        let state = State::open(&path).unwrap();
        assert_eq!(state.default_write_key().unwrap(), key);
        assert_eq!(state.first_admin_token().unwrap(), None);
    }

    #[test]
    fn admin_tokens_are_added_rotated_and_revoked_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.db")).unwrap();
        let names = || -> Vec<String> {
            state.admin_tokens().unwrap().into_iter().map(|token| token.name).collect()
        };
        state.first_admin_token().unwrap().unwrap();
        let (first, ci) = (name("first"), name("ci"));
        state.add_admin_token(&ci).unwrap().unwrap();
        assert_eq!(state.add_admin_token(&ci).unwrap(), None);
        assert_eq!(state.rotate_admin_token(&name("other")).unwrap(), None);
        assert_eq!(names(), ["first", "ci"]);
        let before = state.admin_tokens().unwrap();
        let new = state.rotate_admin_token(&ci).unwrap().unwrap();
        let after = state.admin_tokens().unwrap();
        assert_eq!(before[0], after[0]);
        assert_eq!(after[1].hash[..], Sha256::digest(new.expose())[..]);
        assert_ne!(before[1].hash, after[1].hash);

        assert!(state.revoke_admin_token(&first).unwrap());
        assert!(!state.revoke_admin_token(&first).unwrap());
        assert_eq!(state.first_admin_token().unwrap(), None, "the next start makes none");
        assert_eq!(names(), ["ci"]);
        state.add_admin_token(&first).unwrap().unwrap();
        assert_eq!(names(), ["first", "ci"]);
    }

    #[test]
    fn the_token_of_an_older_release_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.db")).unwrap();
        let hash = Sha256::digest("token");
        state
            .with(|db| {
                db.execute("INSERT INTO secret VALUES ('admin_token_sha256', ?1)", [&hash[..]])
            })
            .unwrap();
        let tokens = state.admin_tokens().unwrap();
        assert_eq!((&tokens[0].hash[..], tokens[0].made_at), (&hash[..], None));
    }

    #[test]
    fn cursors_and_parked_events_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let (crm, record) = (name("crm"), "7".parse().unwrap());
        let parked = Parked {
            record,
            source: "web".into(),
            message_id: "m".into(),
            reason: "400: no".into(),
            parked_at: Timestamp::from_unix_ms(5),
            redrive: false,
        };
        {
            let state = State::open(&path).unwrap();
            assert_eq!(state.cursor(&crm).unwrap(), None);
            state.save_cursor(&crm, record).unwrap();
            state.park(&crm, &parked).unwrap();
            state.park(&crm, &parked).unwrap();
        }
        let state = State::open(&path).unwrap();
        assert_eq!(state.cursor(&crm).unwrap(), Some(record));
        assert_eq!(state.parked(&crm).unwrap(), [parked]);
        assert_eq!(state.cursor(&name("other")).unwrap(), None);
    }

    #[test]
    fn a_database_of_the_first_version_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute("INSERT INTO parked VALUES ('crm', '7', 'web', 'm', 'no', 5)", []).unwrap();
        old.execute("INSERT INTO cursor VALUES ('crm', '9')", []).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let state = State::open(&path).unwrap();
        let reached = Reached { after: "9".parse().unwrap(), done_above: Vec::new() };
        assert_eq!(state.reached(&name("crm")).unwrap(), Some(reached));
        let parked = state.parked(&name("crm")).unwrap();
        assert_eq!((&*parked[0].message_id, parked[0].redrive), ("m", false));
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(State::open(&path), Err(StateError::Newer { found: 99, .. })));
    }
}
