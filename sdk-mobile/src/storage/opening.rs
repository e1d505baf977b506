//! The file as it is opened: made, brought to this format, checked. Promises that of several processes that come
//! at once one makes it and the others find it made. Knows no event.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{Durability, Failure, PATIENCE, signed, with_suffix};

/// Through which one process at a time opens the file, or sets it aside; for as long as this lives.
#[derive(Debug)]
pub(super) struct Door {
    _lock: Option<File>,
    /// Whether nobody else is in it, as far as that can be known.
    pub(super) alone: bool,
}

impl Door {
    /// Waits for others a little. Whoever was suspended in the door keeps nobody from opening the file, only from setting it aside.
    pub(super) fn enter(path: &Path, patience: Duration) -> Self {
        if let Some(folder) = path.parent() {
            drop(fs::create_dir_all(folder));
        }
        let door = with_suffix(path, ".opening");
        let Ok(lock) = File::options().create(true).truncate(false).write(true).open(door) else {
            // Where nothing can be made, nothing can be set aside either.
            return Self { _lock: None, alone: true };
        };
        let since = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) | Err(TryLockError::Error(_)) => {
                    return Self { _lock: Some(lock), alone: true };
                }
                Err(TryLockError::WouldBlock) if since.elapsed() < patience => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => return Self { _lock: None, alone: false },
            }
        }
    }
}

pub(super) fn open_file(
    path: &Path,
    durability: Durability,
    max_bytes: u64,
) -> Result<Connection, Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::Refused(error.to_string()))?;
    }
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // SQLite opens what it may not write as well, and never looks again whether it may.
    if connection.is_readonly("main")? {
        return Err(Failure::Refused(format!("{} is read-only", path.display())));
    }
    prepare(&connection, durability, max_bytes)?;
    Ok(connection)
}

pub(super) fn memory() -> Connection {
    let connection = Connection::open_in_memory().expect("SQLite opens a database in memory");
    prepare(&connection, Durability::Process, u64::MAX).expect("a new database takes its tables");
    connection
}

fn prepare(connection: &Connection, durability: Durability, max_bytes: u64) -> Result<(), Failure> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(32);
    if version(connection)? > VERSION {
        return Err(later(version(connection)?));
    }
    // Of no effect on a file that has one already.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    let synchronous = match durability {
        Durability::Process => "NORMAL",
        Durability::Power => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // What is deleted is overwritten: after a no nothing of it may be read from the file.
    connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
    // Checkpoints run elsewhere: see `checkpoint`.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    let page: u64 =
        connection.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?.into();
    let pages = (max_bytes / page).saturating_mul(2).clamp(256, u32::MAX.into());
    connection.pragma_update(None, "max_page_count", signed(pages))?;
    if version(connection)? < VERSION {
        migrate(connection)?;
    }
    // Damage at the front of the file is seen here, and not by the first caller. So is a table that is not there.
    for look in [
        "SELECT count(*) FROM (SELECT id, text FROM event ORDER BY id DESC LIMIT 1)",
        "SELECT count(*), max(length(value)) FROM state",
    ] {
        connection.query_row(look, [], |_| Ok(())).map_err(not_ours)?;
    }
    Ok(())
}

/// A table that is missing, or there before its time: this file was not made here.
fn not_ours(error: rusqlite::Error) -> Failure {
    match error.sqlite_error_code() {
        Some(ErrorCode::Unknown) => Failure::Damaged(error.to_string()),
        _ => error.into(),
    }
}

fn version(connection: &Connection) -> Result<i64, Failure> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn later(version: i64) -> Failure {
    Failure::Refused(format!(
        "a later version of Headwater wrote it (format {version}, this one reads up to {VERSION}): update the app, or delete the file to begin anew"
    ))
}

/// From whatever format it has to this one, in one transaction: another process may be about to do the same.
fn migrate(connection: &Connection) -> Result<(), Failure> {
    let whole = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let seen = version(&whole)?;
    if seen > VERSION {
        return Err(later(seen));
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(seen).unwrap_or(0)) {
        whole.execute_batch(step).map_err(not_ours)?;
    }
    if seen < VERSION {
        whole.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(whole.commit()?)
}
/// How long the first opening waits for another one, which takes milliseconds unless what can be read of a damaged file is being saved.
pub(super) const FIRST_PATIENCE: Duration = Duration::from_millis(500);

/// Three pages go to the log with each event, the event's, the core's and that of the last row: of 4 KiB, SQLite's default, they cost a call several
/// microseconds more.
const PAGE_BYTES: i64 = 1_024;

/// The format of the file: how many of [`MIGRATIONS`] it has seen.
const VERSION: i64 = MIGRATIONS.len() as i64;

/// From each format to the next. A released one is never edited, only added to.
const MIGRATIONS: [&str; 3] = [
    // AUTOINCREMENT: a row's number is never used again, so that who deletes by it deletes what he means, and "behind this row" is what was
    // not seen yet. It costs each event one page more of the log.
    "CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        text TEXT NOT NULL,
        seq INTEGER,
        session_ms INTEGER,
        session_start INTEGER,
        priority INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        campaign INTEGER NOT NULL,
        category INTEGER NOT NULL
    ) STRICT;
    -- What waits behind the core's window, by what is given up first. Numbered events are not in it, and cost nothing.
    CREATE INDEX waiting ON event (priority, id) WHERE seq IS NULL;
    CREATE TABLE state (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    // What the host was given to send, and may have an answer for when this process is no more: the events' rows, eight bytes each.
    "CREATE TABLE upload (id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, rows BLOB NOT NULL) STRICT",
    // The secret by which the collector tells a device its messages, and which of them were shown on it, in their order.
    "CREATE TABLE device (anonymous_id TEXT PRIMARY KEY, token TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE shown (at INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT",
];
