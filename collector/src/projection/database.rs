//! The file of a projection: its tables, how far it has got, and what it was made by.
//! Promises that a file which another release or other limits have made is told from one that can be gone on with.
//! Deliberately knows no record.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior,
    config::DbConfig, params,
};

use super::checkpointer::{ANEW, CHANGES_BYTES, Checkpointer};
use crate::{
    event_log::{EventLog, Offset, Timestamp},
    messages, people, rules,
};

/// Of the tables and of what is folded into them. A file of another is made anew from the log.
pub(super) const FORMAT: u32 = 10;

/// Pages kept in memory, in KiB: what is touched again and again is in the folds' own memory.
const CACHE_KIB: i64 = 16 * 1024;

/// Why the database of people cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite says so.
    #[error("the database of people cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The folder does.
    #[error("{path}: {cause}")]
    File {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A new file is not as it was made.
    #[error("{0} is in use by another program; close it")]
    Unusable(PathBuf),
    /// Another file would know less.
    #[error(
        "{0} cannot be made anew from the log, whose beginning retention has deleted: who was not seen since would be gone. Put `[people]` back \
         as it was, or go back to the release that made it; to go on without them, move the file away"
    )]
    BeginningGone(PathBuf),
    /// The collector is ending.
    #[error("the collector is stopping")]
    Stopping,
    /// The machine is out of threads.
    #[error("no thread for the projection: {0}")]
    Thread(io::Error),
}

/// An open file.
pub(super) struct Database {
    pub(super) connection: Connection,
    /// None once the file is let go.
    checkpointer: Option<Checkpointer>,
    /// Up to here it has everything.
    pub(super) applied: Offset,
    /// When the record there was received, by which another log is known.
    received: Option<i64>,
    /// The rules that features and firings in it were made by.
    pub(super) rules: String,
    /// Whether there is so much of the log to be folded that nobody waits for it.
    pub(super) is_behind: bool,
}

impl Database {
    /// Opens the file, or makes it; `None` if it cannot be gone on with: of another format, damaged, or of another
    /// log, as one is that is ahead.
    pub(super) fn open(
        path: &Path,
        (format, rules): (&str, &str),
        log: &EventLog,
    ) -> Result<Option<Self>, DatabaseError> {
        // One thread has it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        match Self::prepare(path, connection, format, rules) {
            Ok(Some(database)) if database.is_of(log) => Ok(Some(database)),
            Ok(_) => Ok(None),
            Err(error) if is_damage(&error) => {
                tracing::warn!(%error, "the database of people is damaged");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is no file to be kept: none at all, or one that cannot be read.
    pub(super) fn is_damaged(path: &Path) -> bool {
        let readable = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            connection.query_row("SELECT format FROM projection", [], |_| Ok(()))
        };
        readable().is_err()
    }

    fn prepare(
        path: &Path,
        mut connection: Connection,
        format: &str,
        rules: &str,
    ) -> rusqlite::Result<Option<Self>> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What a power cut takes is folded again.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        // What a row said before it was changed would stay in the page, and outlive the erasure of whom it was about.
        connection.pragma_update(None, "secure_delete", true)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "journal_size_limit", CHANGES_BYTES)?;
        connection.set_prepared_statement_cache_capacity(64);
        keep_plans(&connection)?;
        let checkpointer = Some(Checkpointer::start(path, &mut connection, ANEW)?);
        let made: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'projection'",
            [],
            |row| row.get(0),
        )?;
        if made == 0 {
            let tables: i64 =
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables > 0 {
                return Ok(None);
            }
            let change = connection.unchecked_transaction()?;
            change.execute_batch(
                "CREATE TABLE projection (only INTEGER PRIMARY KEY CHECK (only = 1), format TEXT NOT NULL, applied INTEGER NOT NULL, received INTEGER, rules TEXT NOT NULL) STRICT;",
            )?;
            for tables in people::SCHEMAS.iter().chain(&rules::SCHEMAS).chain([&messages::SCHEMA]) {
                change.execute_batch(tables)?;
            }
            change
                .execute("INSERT INTO projection VALUES (1, ?1, 0, NULL, ?2)", [format, rules])?;
            change.commit()?;
            let rules = rules.to_owned();
            return Ok(Some(Self {
                connection,
                checkpointer,
                applied: Offset::START,
                received: None,
                rules,
                is_behind: false,
            }));
        }
        // Of another format it need not have the other columns.
        let known: Option<String> = connection
            .query_row("SELECT format FROM projection", [], |row| row.get(0))
            .optional()?;
        if known.is_none_or(|known| known != format) {
            return Ok(None);
        }
        let (applied, received, rules) =
            connection.query_row("SELECT applied, received, rules FROM projection", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let applied = Offset::from_number(applied);
        Ok(Some(Self { connection, checkpointer, applied, received, rules, is_behind: false }))
    }

    /// Whether it can have been made from this log: a folder may have been put together from two.
    fn is_of(&self, log: &EventLog) -> bool {
        if self.applied > *log.end().borrow() {
            return false;
        }
        let Some(received) = self.received else { return true };
        // What retention has deleted, an erasure has emptied or a disk has damaged says nothing.
        let found = log.reader(Some(self.applied.before())).next_chunk(1);
        let record = found.ok().and_then(|records| records.into_iter().next());
        record.is_none_or(|record| {
            record.offset != self.applied || record.received_at.unix_ms() == received
        })
    }

    pub(super) fn begin(&self) -> rusqlite::Result<Transaction<'_>> {
        Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
    }

    /// How far it has got, and when the record there was received, if it could be read.
    pub(super) fn save(
        change: &Transaction<'_>,
        applied: Offset,
        received: Option<Timestamp>,
    ) -> rusqlite::Result<()> {
        change
            .prepare_cached("UPDATE projection SET applied = ?1, received = ?2")?
            .execute(params![applied.to_number(), received.map(Timestamp::unix_ms)])?;
        Ok(())
    }

    /// From here on it is folded by other rules: what earlier ones have kept is let go. The actions among it.
    pub(super) fn begin_rules(&mut self, rules: &rules::RuleSet) -> rusqlite::Result<rules::LetGo> {
        let change = self.begin()?;
        rules::clear(&change)?;
        let gone = rules::let_go(&change, rules)?;
        change.execute("UPDATE projection SET rules = ?1", [rules.hash()])?;
        change.commit()?;
        self.rules = rules.hash().to_owned();
        Ok(gone)
    }

    /// After a commit: keeps the log of changes from growing on.
    pub(super) fn committed(&self) {
        if let Some(checkpointer) = &self.checkpointer {
            checkpointer.look(&self.connection, self.is_behind);
        }
    }

    /// While nothing comes in: lets go of a log of changes that has grown.
    pub(super) fn tidy(&self) {
        if let Some(checkpointer) = &self.checkpointer {
            checkpointer.tidy(&self.connection);
        }
    }

    /// Moves all changes into the file, and empties the log of them. An error if a reader holds on to it for seconds.
    pub(super) fn truncate_changes(&self) -> rusqlite::Result<()> {
        let checkpointer = self.checkpointer.as_ref();
        checkpointer.map_or(Ok(()), |it| it.truncate(&self.connection))
    }

    /// The same, waiting for no reader.
    pub(super) fn truncate_changes_at_once(&self) -> rusqlite::Result<()> {
        let checkpointer = self.checkpointer.as_ref();
        checkpointer.map_or(Ok(()), |it| it.truncate_at_once(&self.connection))
    }

    /// Moves all changes into the file and lets it go.
    pub(super) fn close(mut self) -> Result<(), DatabaseError> {
        self.connection.execute_batch("PRAGMA synchronous = FULL")?;
        self.truncate_changes()?;
        drop(self.checkpointer.take());
        self.connection.close().map_err(|(_, error)| error.into())
    }

    /// Lets the file go as it is, so that another can take its place.
    pub(super) fn let_go(&mut self) -> rusqlite::Result<()> {
        drop(self.checkpointer.take());
        self.connection = Connection::open_in_memory()?;
        Ok(())
    }

    /// Deletes a file and what belongs to it, if it is there.
    pub(super) fn remove(path: &Path) -> Result<(), DatabaseError> {
        for path in [with(path, "-wal"), with(path, "-shm"), path.to_owned()] {
            match std::fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(DatabaseError::File { path, cause });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts a closed file in the place of another closed one.
    pub(super) fn replace(old: &Path, new: &Path) -> Result<(), DatabaseError> {
        for beside in [with(old, "-wal"), with(old, "-shm")] {
            Self::remove(&beside)?;
        }
        std::fs::rename(new, old)
            .map_err(|cause| DatabaseError::File { path: new.to_owned(), cause })
    }
}

/// A prepared query stays as it is planned, whatever is looked for: where an index is of a part of a table only, SQLite would make
/// the plan anew for every value, which takes longer than reading what it finds.
pub(super) fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}
