//! The events of one device in a SQLite file: appended, numbered, read back, deleted. Promises that what [`Storage::write`] said yes to
//! outlives the process (and with [`Durability::Power`] the device's power), that a file nobody can read is set aside with what can
//! still be read saved from it, and that a file that was deleted is written again. Knows no request, no rule about events, and no clock.

mod count;
mod opening;
mod rescue;

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use self::{
    count::{Counted, MAX_UNCOUNTED},
    opening::{Door, FIRST_PATIENCE, memory, open_file},
    rescue::replace_damaged,
};
use crate::file_id::FileId;
use headwater_core::platform::{Entry, Key, Priority, Stamp};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, ToSql, params};

/// What a commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The death of the process (SQLite's `synchronous=NORMAL`): the operating system has it.
    #[default]
    Process,
    /// The loss of power as well (`synchronous=FULL`): the disk has it. A commit then takes as long as the disk's sync.
    Power,
}

/// Why the storage did not do what it was asked. Events go on from memory meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The bytes in the file are not a database, or not whole.
    Damaged(String),
    /// Another process holds the file.
    Busy(String),
    /// Anything else that may pass: the disk is full, the folder is read-only.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(why) => write!(out, "the file of events is damaged: {why}"),
            Self::Busy(why) | Self::Refused(why) => {
                write!(out, "the file of events cannot be used now: {why}")
            }
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(error.to_string())
            }
            // A text that is none, a number that is too large: nobody else writes this file.
            None if !matches!(error, rusqlite::Error::QueryReturnedNoRows) => {
                Self::Damaged(error.to_string())
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Busy(error.to_string())
            }
            // SQLite's general error is no damage: a table that is not there is looked for as the file is opened, where nobody else is.
            _ => Self::Refused(error.to_string()),
        }
    }
}

/// One event to be stored, or as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its JSON, without its stamp.
    pub(crate) text: String,
    /// Its measures; the key is the caller's.
    pub(crate) entry: Entry,
    /// Its number and session, once it has them.
    pub(crate) stamp: Option<Stamp>,
}

/// One change within a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// A new event. Its row is part of what [`Storage::write`] gives back.
    Add {
        /// Its JSON, without its stamp.
        text: &'a str,
        /// Its measures.
        entry: &'a Entry,
        /// Its number and session, if it has them.
        stamp: Option<Stamp>,
    },
    /// The stamp of an event that lies there already.
    Mark(i64, Stamp),
    /// An event that is done with.
    Remove(i64),
    /// What the core wants back at its next start.
    Save(&'a [u8]),
    /// The host has these events now: the request's id, unix milliseconds, the events' rows in its order (0: in memory).
    Uploading(u64, u64, &'a [i64]),
    /// And has done with them.
    Uploaded(u64),
    /// Who the person is.
    Identify(&'a str),
    /// The device's secret, with its anonymous id, if it has none.
    Token(&'a str, &'a str),
    /// No device but the one with this anonymous id is known any more; without an id none, nor what was shown on it.
    OnlyDevice(&'a str),
    /// A message that was shown.
    Shown(&'a str),
}

/// An event in storage by its measures: its text stays there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its row: a number that is never used again.
    pub(crate) id: i64,
    /// Its measures, without a key.
    pub(crate) entry: Entry,
    /// Its stamp, if it has one.
    pub(crate) stamp: Option<Stamp>,
}

/// The open file; where it cannot be opened, an empty database in memory that takes nothing.
#[derive(Debug)]
pub(crate) struct Storage {
    connection: Connection,
    path: PathBuf,
    durability: Durability,
    max_bytes: u64,
    /// Which file is open: another one in its place means that ours was deleted. Nothing for a database in memory.
    file: Option<FileId>,
    /// The same of the log beside it, which has the latest commits, and its name.
    log: Option<FileId>,
    log_path: PathBuf,
    /// Whether the next change waits for a process that holds the file: one wait is enough for a while.
    patient: bool,
    /// Events added since they were last counted.
    uncounted: u32,
    /// Whether what is in force now was not written by this process's core: it has to begin anew. Taken back by whoever does.
    pub(crate) anew: bool,
}

/// What was found as the file was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Why it was set aside, and under which name, if it was.
    pub(crate) set_aside: Option<String>,
    /// Events that were read from a file that was set aside, and stored in the new one, without their numbers.
    pub(crate) saved_from_it: u64,
    /// Why there is no file at all, and everything is in memory.
    pub(crate) memory: Option<String>,
}

impl Storage {
    /// Opens the file, or makes it. Never fails: without a file, nothing is taken until [`Storage::reopen`] has found one.
    pub(crate) fn open(path: &Path, durability: Durability, max_bytes: u64) -> (Self, Found) {
        let mut found = Found::default();
        let door = Door::enter(path, FIRST_PATIENCE);
        let opened = match open_file(path, durability, max_bytes) {
            Err(Failure::Damaged(why)) => {
                replace_damaged(&door, path, durability, max_bytes, &why, &mut found)
            }
            opened => opened,
        };
        let mut storage = Self {
            connection: memory(),
            path: path.to_owned(),
            durability,
            max_bytes,
            file: None,
            log: None,
            log_path: with_suffix(path, "-wal"),
            patient: true,
            uncounted: 0,
            anew: false,
        };
        match opened {
            Ok(connection) => storage.take(connection),
            Err(failure) => found.memory = Some(failure.to_string()),
        }
        (storage, found)
    }

    /// Goes on with this file, which was just opened.
    fn take(&mut self, connection: Connection) {
        self.connection = connection;
        self.patient = true;
        self.file = FileId::of(&self.path);
        // SQLite makes it as the file is first read, and no other process of ours deletes it as long as somebody has it open.
        self.log = FileId::of(&self.log_path);
    }

    /// Whether a file, the one that others will open, takes what is written.
    pub(crate) fn is_durable(&self) -> bool {
        self.file.is_some()
            && self.file == FileId::of(&self.path)
            && self.log == FileId::of(&self.log_path)
    }

    /// Who the person is, says a file that cannot be opened to write; nothing if there is none, or if it cannot be read.
    pub(crate) fn identity_in(path: &Path) -> Option<String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).ok()?;
        connection.busy_timeout(PATIENCE).ok()?;
        let kept =
            connection.query_row("SELECT value FROM state WHERE name = ?", [IDENTITY], |row| {
                row.get::<_, Vec<u8>>(0)
            });
        String::from_utf8(kept.ok()?).ok()
    }

    /// Whether there is no file at all.
    pub(crate) fn in_memory(&self) -> bool {
        self.file.is_none()
    }

    /// Bytes of the file that are in use.
    pub(crate) fn bytes(&self) -> Result<u64, Failure> {
        let ask = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let pages = ask("page_count")? - ask("freelist_count")?;
        Ok((pages * ask("page_size")?).cast_unsigned())
    }

    /// One transaction: all changes, or none; refused where there is no file. Gives back the rows of what was added, in order.
    pub(crate) fn write(&mut self, changes: &[Change<'_>]) -> Result<Vec<i64>, Failure> {
        let removes = changes.iter().any(|change| matches!(change, Change::Remove(_)));
        let added = changes.iter().filter(|change| matches!(change, Change::Add { .. })).count();
        let uncounted = self.uncounted.saturating_add(u32::try_from(added).unwrap_or(u32::MAX));
        let counts = removes || uncounted > MAX_UNCOUNTED;
        let rows = self.transaction(|this| {
            let mut counted = if counts { this.counted()? } else { Counted::default() };
            let mut rows = Vec::new();
            let removed = this.apply(changes, &mut rows)?;
            if counts {
                counted.events = counted.events.saturating_sub(removed);
                this.keep_count(counted)?;
            }
            Ok(rows)
        })?;
        self.uncounted = if counts { 0 } else { uncounted };
        Ok(rows)
    }

    /// All of it, or nothing.
    fn transaction<T>(
        &mut self,
        change: impl FnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if !self.is_durable() {
            return Err(Failure::Refused("it could not be opened, or is gone".into()));
        }
        let begun = self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]);
        if let Err(error) = begun {
            let failure = Failure::from(error);
            if matches!(failure, Failure::Busy(_)) {
                self.wait_for_others(false)?;
            }
            return Err(failure);
        }
        let done = change(self).and_then(|changed| {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(changed)
        });
        match &done {
            Ok(_) => self.wait_for_others(true)?,
            // Nothing to be done if that fails as well: SQLite rolls back by itself then.
            Err(_) => drop(self.connection.execute_batch("ROLLBACK")),
        }
        done
    }

    /// Whether a change waits for a process that holds the file. After one wait in vain none does, until a change has succeeded or
    /// somebody says so: a call makes several, and waits once.
    pub(crate) fn wait_for_others(&mut self, patient: bool) -> Result<(), Failure> {
        if std::mem::replace(&mut self.patient, patient) != patient {
            self.connection.busy_timeout(if patient { PATIENCE } else { Duration::ZERO })?;
        }
        Ok(())
    }

    /// Says how many events it has removed.
    fn apply(&self, changes: &[Change<'_>], rows: &mut Vec<i64>) -> Result<u64, Failure> {
        let connection = &self.connection;
        let mut removed = 0;
        for change in changes {
            match change {
                Change::Add { text, entry, stamp } => {
                    rows.push(add(connection, None, text, entry, *stamp)?);
                }
                Change::Mark(row, stamp) => {
                    execute(
                        connection,
                        MARK,
                        params![
                            row,
                            signed(stamp.seq),
                            signed(stamp.session_ms),
                            stamp.session_start
                        ],
                    )?;
                }
                Change::Remove(row) => {
                    let delete = "DELETE FROM event WHERE id = ?";
                    removed += execute(connection, delete, params![row])?;
                }
                Change::Save(state) => {
                    execute(connection, KEEP, params![CORE, state])?;
                }
                Change::Uploading(id, at_ms, rows) => {
                    let rows: Vec<u8> = rows.iter().flat_map(|row| row.to_le_bytes()).collect();
                    execute(connection, UPLOADING, params![signed(*id), signed(*at_ms), rows])?;
                }
                Change::Uploaded(id) => {
                    let delete = "DELETE FROM upload WHERE id = ?";
                    execute(connection, delete, params![signed(*id)])?;
                }
                Change::Identify(text) => {
                    execute(connection, KEEP, params![IDENTITY, text.as_bytes()])?;
                }
                Change::Token(device, token) => {
                    execute(connection, TOKEN, params![device, token])?;
                }
                Change::OnlyDevice(device) => {
                    let others = "DELETE FROM device WHERE anonymous_id <> ?";
                    execute(connection, others, params![device])?;
                    if device.is_empty() {
                        execute(connection, "DELETE FROM shown", params![])?;
                    }
                }
                Change::Shown(id) => {
                    execute(connection, SHOWN, params![id])?;
                    execute(connection, FORGET_SHOWN, params![])?;
                }
            }
        }
        Ok(removed)
    }

    /// Deletes some of the events up to this row: of all, or of those without a number that are of these categories, a bit for each. In a
    /// short transaction of its own; gives back how many, and 0 once none is left.
    pub(crate) fn delete(&mut self, upto: i64, which: Option<u8>) -> Result<u64, Failure> {
        self.transaction(|this| {
            let mut counted = this.counted()?;
            let deleted = match which {
                None => execute(&this.connection, PURGE, params![upto])?,
                Some(denied) => execute(&this.connection, DENY, params![upto, denied])?,
            };
            counted.events = counted.events.saturating_sub(deleted);
            this.keep_count(counted)?;
            Ok(deleted)
        })
    }

    /// Makes what was deleted unreadable: no log has it any more, and no file that was set aside. Says whether that is done.
    pub(crate) fn scrub(&mut self) -> Result<bool, Failure> {
        rescue::remove_set_aside(&self.path, None);
        let pragma = "PRAGMA wal_checkpoint(TRUNCATE)";
        // Calls wait meanwhile, and there is another time.
        self.wait_for_others(false)?;
        let busy = self.connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
        self.wait_for_others(true)?;
        Ok(busy? == 0)
    }

    /// Events behind this row, oldest first, but for those without a number that are of these categories, a bit for each.
    pub(crate) fn read(&self, after: i64, limit: usize, but: u8) -> Result<Vec<Row>, Failure> {
        let mut select = self.connection.prepare_cached(READ)?;
        let rows = select.query_map(params![after, but, signed(limit as u64)], |row| {
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            let seq: Option<i64> = row.get(1)?;
            Ok(Row {
                id: row.get(0)?,
                stamp: match seq {
                    Some(seq) => Some(Stamp {
                        seq: seq.cast_unsigned(),
                        session_ms: number(2)?,
                        session_start: row.get(3)?,
                    }),
                    None => None,
                },
                entry: Entry {
                    key: Key(0),
                    bytes: row.get(4)?,
                    priority: priority(row.get(5)?),
                    at_ms: number(6)?,
                    campaign: row.get(7)?,
                    category: row.get(8)?,
                },
            })
        })?;
        rows.collect::<Result<_, _>>().map_err(Failure::from)
    }

    /// The text of an event; nothing if it is not there any more.
    pub(crate) fn text(&self, row: i64) -> Result<Option<String>, Failure> {
        text(&self.connection, row)
    }

    /// The latest row; 0 if there is none.
    pub(crate) fn last_row(&self) -> Result<i64, Failure> {
        let mut select = self.connection.prepare_cached("SELECT ifnull(max(id), 0) FROM event")?;
        Ok(select.query_row([], |row| row.get(0))?)
    }

    /// The oldest of the least important events without a number, but for these: so many, and as many as are needed for so many bytes. With
    /// their texts.
    pub(crate) fn least_important(
        &self,
        but: &BTreeSet<i64>,
        events: u64,
        bytes: u64,
    ) -> Result<Vec<(i64, String)>, Failure> {
        let mut select = self
            .connection
            .prepare_cached("SELECT id, text FROM event WHERE seq IS NULL ORDER BY priority, id")?;
        let mut rows = select.query([])?;
        let (mut least, mut weight) = (Vec::new(), 0);
        // A transaction of a bounded length: whoever needs more asks again.
        let events = events.min(MAX_GIVEN_UP);
        while ((least.len() as u64) < events || weight < bytes)
            && (least.len() as u64) < MAX_GIVEN_UP
            && let Some(row) = rows.next()?
        {
            let (id, text): (i64, String) = (row.get(0)?, row.get(1)?);
            if !but.contains(&id) {
                weight += text.len() as u64;
                least.push((id, text));
            }
        }
        Ok(least)
    }

    /// What the host was given and has not answered for: each request's id, when it was, and its events' rows.
    pub(crate) fn uploads(&self) -> Result<Vec<Given>, Failure> {
        let mut select = self.connection.prepare_cached("SELECT id, at_ms, rows FROM upload")?;
        let uploads = select.query_map([], |row| {
            let rows: Vec<u8> = row.get(2)?;
            let (rows, _) = rows.as_chunks::<8>();
            Ok(Given {
                id: row.get::<_, i64>(0)?.cast_unsigned(),
                at_ms: row.get::<_, i64>(1)?.cast_unsigned(),
                rows: rows.iter().map(|row| i64::from_le_bytes(*row)).collect(),
            })
        })?;
        uploads.collect::<Result<_, _>>().map_err(Failure::from)
    }

    /// What the core saved last.
    pub(crate) fn saved(&self) -> Result<Option<Vec<u8>>, Failure> {
        self.state(CORE)
    }

    /// Who the person is, as last kept.
    pub(crate) fn identity(&self) -> Result<Option<String>, Failure> {
        // Ours is always text: anything else is damage, and read as such.
        Ok(self.state(IDENTITY)?.map(|bytes| String::from_utf8(bytes).unwrap_or_default()))
    }

    /// The secret of the device with this anonymous id.
    pub(crate) fn token(&self, device: &str) -> Result<Option<String>, Failure> {
        let select = "SELECT token FROM device WHERE anonymous_id = ?";
        let mut select = self.connection.prepare_cached(select)?;
        Ok(select.query_row(params![device], |row| row.get(0)).optional()?)
    }

    /// Whether this message was shown.
    pub(crate) fn was_shown(&self, id: &str) -> Result<bool, Failure> {
        let select = "SELECT count(*) FROM shown WHERE id = ?";
        let mut select = self.connection.prepare_cached(select)?;
        Ok(select.query_row(params![id], |row| row.get::<_, i64>(0))? > 0)
    }

    /// A number that differs once another process, or another connection, has written.
    pub(crate) fn version(&self) -> Result<i64, Failure> {
        let mut pragma = self.connection.prepare_cached("PRAGMA data_version")?;
        Ok(pragma.query_row([], |row| row.get(0))?)
    }

    /// A second connection to the same file, for a thread of its own; nothing if there is no file.
    pub(crate) fn beside(&self) -> Option<Connection> {
        self.file?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).ok()?;
        connection.busy_timeout(PATIENCE).ok()?;
        Some(connection)
    }

    /// Begins the log beside the file anew, while nobody writes.
    pub(crate) fn restart_log(&mut self) -> Result<(), Failure> {
        self.wait_for_others(false)?;
        let restarted = self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        self.wait_for_others(true)?;
        Ok(restarted?)
    }

    /// SQLite's word for what a commit survives: 1 is NORMAL, 2 is FULL.
    #[cfg(test)]
    pub(crate) fn synchronous(&self) -> i64 {
        self.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).expect("a number")
    }

    fn state(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let mut select =
            self.connection.prepare_cached("SELECT value FROM state WHERE name = ?")?;
        Ok(select.query_row([name], |row| row.get(0)).optional()?)
    }
}

/// Carries out a statement that is met often; says how many rows it has changed. Compiled once, not in each place.
#[inline(never)]
fn execute(
    connection: &Connection,
    statement: &str,
    values: &[&dyn ToSql],
) -> Result<u64, rusqlite::Error> {
    Ok(connection.prepare_cached(statement)?.execute(values)? as u64)
}

/// The text of an event, by any connection.
pub(crate) fn text(connection: &Connection, row: i64) -> Result<Option<String>, Failure> {
    let mut select = connection.prepare_cached("SELECT text FROM event WHERE id = ?")?;
    Ok(select.query_row([row], |row| row.get(0)).optional()?)
}

/// A request that the host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) id: u64,
    /// Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Of its events, in its order; 0 for one in memory.
    pub(crate) rows: Vec<i64>,
}

/// Moves what was committed from the log beside the file into the file. On a connection of its own, so that who writes does not wait for
/// the disk: see [`Storage::beside`]. Says whether the log has grown all the same, since whoever writes all the time leaves no moment to
/// begin it anew: then [`Storage::restart_log`] is due.
pub(crate) fn checkpoint(connection: &Connection) -> Result<bool, Failure> {
    let pages =
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1))?;
    Ok(pages > MAX_LOG_PAGES)
}

fn record(row: &rusqlite::Row<'_>) -> Result<Record, rusqlite::Error> {
    let text: String = row.get(0)?;
    let entry = Entry {
        key: Key(0),
        bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
        priority: priority(row.get(1)?),
        at_ms: row.get::<_, i64>(2)?.cast_unsigned(),
        campaign: row.get(3)?,
        category: row.get(4)?,
    };
    Ok(Record { text, entry, stamp: None })
}

fn add(
    connection: &Connection,
    row: Option<i64>,
    text: &str,
    entry: &Entry,
    stamp: Option<Stamp>,
) -> Result<i64, Failure> {
    execute(
        connection,
        ADD,
        params![
            row,
            text,
            stamp.map(|stamp| signed(stamp.seq)),
            stamp.map(|stamp| signed(stamp.session_ms)),
            stamp.map(|stamp| stamp.session_start),
            entry.priority as u8,
            signed(entry.at_ms),
            entry.campaign,
            entry.category,
        ],
    )?;
    Ok(connection.last_insert_rowid())
}

fn priority(number: u8) -> Priority {
    match number {
        0 => Priority::Low,
        1 => Priority::Normal,
        _ => Priority::High,
    }
}

/// SQLite's numbers have a sign; what is beyond it comes from a clock that is broken anyway.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How long a call waits for another process that writes: a transaction of ours takes microseconds, so that more is a tool that holds
/// the file, and a main thread must not wait for it.
const PATIENCE: Duration = Duration::from_millis(50);

/// Events given up at once.
const MAX_GIVEN_UP: u64 = 1_000;

/// 32 MiB of pages of 1 KiB.
const MAX_LOG_PAGES: i64 = 32_768;

const CORE: &str = "core";
const IDENTITY: &str = "identity";
const COLUMNS: &str = "text, priority, at_ms, campaign, category";
const ADD: &str = "INSERT INTO event (id, text, seq, session_ms, session_start, priority, at_ms, campaign, category)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
const MARK: &str = "UPDATE event SET seq = ?2, session_ms = ?3, session_start = ?4 WHERE id = ?1";
// A thousand at a time: another process that calls meanwhile waits no longer than for its turn.
const PURGE: &str =
    "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE id <= ? ORDER BY id LIMIT 1000)";
const DENY: &str = "DELETE FROM event WHERE id IN (SELECT id FROM event
    WHERE id <= ? AND seq IS NULL AND ? >> category & 1 ORDER BY id LIMIT 1000)";
const TOKEN: &str = "INSERT OR IGNORE INTO device (anonymous_id, token) VALUES (?, ?)";
const SHOWN: &str = "INSERT OR IGNORE INTO shown (id) VALUES (?)";
// Those of the last hundred are enough: the collector hears of each, and most are of no use any more after hours.
const FORGET_SHOWN: &str = "DELETE FROM shown WHERE at <= (SELECT max(at) FROM shown) - 100";
const UPLOADING: &str = "INSERT OR REPLACE INTO upload (id, at_ms, rows) VALUES (?, ?, ?)";
const KEEP: &str = "INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)";
const READ: &str = "SELECT id, seq, session_ms, session_start, octet_length(text), priority, at_ms, campaign, category
    FROM event WHERE id > ? AND (seq IS NOT NULL OR NOT ? >> category & 1) ORDER BY id LIMIT ?";
