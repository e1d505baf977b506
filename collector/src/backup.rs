//! `headwater backup`: everything that is stored, as it is at one moment, copied while the server goes on.
//! Promises a copy that a server can start on: no cursor in it is ahead of its log, and it is whole, synced and read back to
//! the last byte, or not there. What is damaged is copied as it is, and named: a copy of the rest is better than none.
//! Deliberately copies nothing that is configured: the configuration is the operator's file.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::event_log::{Check, Damage, Disk as _, FileSystem, Offset, ReadOnly, Snapshot, Survey};

/// What is in the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// Events that can be read.
    pub events: u64,
    /// The last one.
    pub end: Offset,
    /// Events in it that cannot be read. The folder that was copied has the same damage, unless the copy's disk is bad.
    pub damaged: Vec<Damage>,
    /// Segments whose header is damaged; their events can be read.
    pub headless: Vec<String>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Name another folder.
    #[error("{} is not empty; a backup makes a folder of its own", .0.display())]
    NotEmpty(PathBuf),
    /// Name a folder elsewhere, best on another disk.
    #[error("{} is in the folder that is copied; name one elsewhere, best on another disk", .0.display())]
    Inside(PathBuf),
    /// Name the data folder, the one that `log` is in.
    #[error("cannot read {}: {cause}; name the data folder, the one that `log` is in", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The state database cannot be copied.
    #[error("cannot copy the state database: {0}")]
    State(#[from] rusqlite::Error),
    /// What was copied so far is in `incomplete` there, and of no use.
    #[error("cannot write to {}: {cause}", path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Where the copy is until it is whole.
const INCOMPLETE: &str = "incomplete";
const LOG: &str = "log";
/// The state, and people: where retention has deleted the log's beginning they cannot be made anew.
const DATABASES: [&str; 2] = ["state.db", "people.db"];
/// A server holds the database for milliseconds.
const BUSY: Duration = Duration::from_secs(5);

/// Copies the data folder to `dest`. Blocks.
pub fn backup(data: &Path, dest: &Path) -> Result<BackedUp, BackupError> {
    let unreadable = |cause| BackupError::Unreadable { path: data.to_owned(), cause };
    let unwritable = |cause| BackupError::Unwritable { path: dest.to_owned(), cause };
    ReadOnly.list(&data.join(LOG)).map_err(unreadable)?;
    if is_within(dest, data).map_err(unreadable)? {
        return Err(BackupError::Inside(dest.to_owned()));
    }
    crate::create_private(dest).map_err(unwritable)?;
    if !ReadOnly.list(dest).map_err(unwritable)?.is_empty() {
        return Err(BackupError::NotEmpty(dest.to_owned()));
    }
    let incomplete = dest.join(INCOMPLETE);
    crate::create_private(&incomplete.join(LOG)).map_err(unwritable)?;

    // These first: a cursor ahead of the log that is copied with it would make its consumer skip events.
    let there = DATABASES.iter().filter(|database| data.join(database).exists());
    let there: Vec<_> = there.collect();
    for database in &there {
        copy_database(&data.join(database), &incomplete.join(database))?;
        let copied = std::fs::File::open(incomplete.join(database));
        copied.and_then(|file| file.sync_all()).map_err(unwritable)?;
    }
    let snapshot = Snapshot::take(Arc::new(ReadOnly), &data.join(LOG), Check::Headers);
    let snapshot = snapshot.map_err(unreadable)?;
    let finish = || {
        snapshot.copy_to(&FileSystem, &incomplete.join(LOG))?;
        FileSystem.sync_dir(&incomplete)?;
        // Of the copy, not of what was copied: this finds what went wrong on the way as well.
        let copy = Snapshot::take(Arc::new(ReadOnly), &incomplete.join(LOG), Check::Everything)?;
        let copied = copy.survey().clone();
        if (copied.end, copied.segments) != (snapshot.survey().end, snapshot.survey().segments) {
            return Err(io::Error::other("what was written there reads back differently"));
        }
        // The log first: a log without its state is delivered again, the other way round events would be skipped.
        std::fs::rename(incomplete.join(LOG), dest.join(LOG))?;
        FileSystem.sync_dir(dest)?;
        for database in &there {
            std::fs::rename(incomplete.join(database), dest.join(database))?;
        }
        std::fs::remove_dir(&incomplete)?;
        FileSystem.sync_dir(dest)?;
        match dest.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => FileSystem.sync_dir(parent)?,
            _ => FileSystem.sync_dir(Path::new("."))?,
        }
        Ok(copied)
    };
    let Survey { events, end, damaged, headless, .. } = finish().map_err(unwritable)?;
    Ok(BackedUp { events, end, damaged, headless })
}

/// Whether the folder `dest`, which may not be there yet, is `data` or in it.
fn is_within(dest: &Path, data: &Path) -> io::Result<bool> {
    let data = data.canonicalize()?;
    let dest = std::path::absolute(dest)?;
    let there = dest.ancestors().find_map(|folder| folder.canonicalize().ok());
    Ok(there.is_some_and(|there| there.starts_with(data)))
}

/// One transaction's view of the database, also while others write to it.
fn copy_database(from: &Path, to: &Path) -> rusqlite::Result<()> {
    let database = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.busy_timeout(BUSY)?;
    database.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
    Ok(())
}
