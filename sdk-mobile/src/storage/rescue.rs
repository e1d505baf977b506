//! Events out of a file that is damaged or gone into another one. Promises that the damaged file is set aside and not deleted, and that what
//! cannot be read keeps nothing else from being saved. Knows nothing of when a file counts as damaged.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

use headwater_core::platform::Stamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::{
    COLUMNS, Door, Durability, Failure, FileId, Found, IDENTITY, KEEP, PATIENCE, Storage, TOKEN,
    add, execute, memory, open_file, record, text, with_suffix,
};

impl Storage {
    /// Opens the file anew, where it was deleted, or could not be opened before, and takes along what the old one holds: the events, and
    /// (in a new file) everything else as well. Says whether the file has a past of its own, which is then in force.
    pub(crate) fn reopen(&mut self) -> Result<bool, Failure> {
        let door = Door::enter(&self.path, PATIENCE);
        if self.file.is_some() && self.file == FileId::of(&self.path) {
            // Only the log is gone. Nobody may open the file with another one beside it: what that lacks would be missing in its midst.
            self.write_anew(&door)?;
            return Ok(false);
        }
        let fresh = open_file(&self.path, self.durability, self.max_bytes)?;
        let others =
            fresh.query_row("SELECT count(*) FROM state", [], |row| row.get::<_, i64>(0))?;
        copy(&self.connection, &fresh, others == 0)?;
        self.take(fresh);
        Ok(others > 0)
    }

    /// Everything into another file, which then takes the name of this one.
    fn write_anew(&mut self, door: &Door) -> Result<(), Failure> {
        if !door.alone {
            return Err(Failure::Refused("another process is opening it".into()));
        }
        let refused = |error: std::io::Error| Failure::Refused(error.to_string());
        let whole = with_suffix(&self.path, ".whole");
        let remove = |path: &Path| match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(refused(error)),
            _ => Ok(()),
        };
        remove(&whole)?;
        let fresh = open_file(&whole, self.durability, self.max_bytes)?;
        copy(&self.connection, &fresh, true)?;
        fresh.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        drop(fresh);
        // Before the new file has its name: a log beside it would be taken for its own.
        remove(&self.log_path)?;
        remove(&with_suffix(&self.path, "-shm"))?;
        fs::rename(&whole, &self.path).map_err(refused)?;
        self.take(open_file(&self.path, self.durability, self.max_bytes)?);
        Ok(())
    }

    /// Sets the file aside, which was found to be damaged, and goes on with a new one that holds what can still be read of it.
    pub(crate) fn replace(&mut self, why: &str) -> Found {
        let mut found = Found::default();
        let door = Door::enter(&self.path, PATIENCE);
        // Closed first: a checkpoint of what is damaged must not land in the new file.
        self.connection = memory();
        let ours = self.file.take();
        let replaced = if ours.is_some() && ours != FileId::of(&self.path) {
            // Another process has set it aside already.
            open_file(&self.path, self.durability, self.max_bytes)
        } else {
            replace_damaged(&door, &self.path, self.durability, self.max_bytes, why, &mut found)
        };
        match replaced {
            Ok(connection) => self.take(connection),
            Err(failure) => found.memory = Some(failure.to_string()),
        }
        found
    }
}

/// Renames a damaged file, and makes a new one that holds what can still be read.
pub(super) fn replace_damaged(
    door: &Door,
    path: &Path,
    durability: Durability,
    max_bytes: u64,
    why: &str,
    found: &mut Found,
) -> Result<Connection, Failure> {
    if !door.alone {
        return Err(Failure::Refused("another process is opening it".into()));
    }
    let refused = |error: std::io::Error| Failure::Refused(error.to_string());
    let aside = (1..)
        .map(|n| with_suffix(path, &format!(".damaged-{n}")))
        .find(|name| !name.exists())
        .expect("some number is free");
    fs::rename(path, &aside).map_err(refused)?;
    for part in ["-wal", "-shm"] {
        let (from, to) = (with_suffix(path, part), with_suffix(&aside, part));
        if from.exists() {
            fs::rename(from, to).map_err(refused)?;
        }
    }
    found.set_aside = Some(format!("{why}; it is now {}", aside.display()));
    let fresh = open_file(path, durability, max_bytes)?;
    if let Ok(damaged) = Connection::open_with_flags(&aside, OpenFlags::SQLITE_OPEN_READ_WRITE) {
        found.saved_from_it = save_what_can_be_read(&damaged, &fresh);
    }
    // One is enough to look at, and none that takes more room than the events may.
    let small = fs::metadata(&aside).is_ok_and(|file| file.len() <= max_bytes);
    remove_set_aside(path, small.then_some(aside.as_path()));
    Ok(fresh)
}

/// Deletes every file that was set aside, but for this one.
pub(super) fn remove_set_aside(path: &Path, but: Option<&Path>) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let Ok(files) = fs::read_dir(folder) else { return };
    let start = format!("{}.damaged-", name.display());
    let kept = but.and_then(Path::file_name).map(|kept| kept.display().to_string());
    for file in files.flatten() {
        let name = file.file_name().display().to_string();
        let beside = name.trim_end_matches("-wal").trim_end_matches("-shm");
        if name.starts_with(&start) && kept.as_deref() != Some(beside) {
            drop(fs::remove_file(file.path()));
        }
    }
}

/// From the front until nothing can be read any more, then from the back.
fn save_what_can_be_read(damaged: &Connection, fresh: &Connection) -> u64 {
    let mut saved = BTreeMap::new();
    for order in ["ASC", "DESC"] {
        let every = format!("SELECT {COLUMNS}, id FROM event ORDER BY id {order}");
        let Ok(mut select) = damaged.prepare(&every) else { continue };
        let Ok(mut rows) = select.query([]) else { continue };
        while let Ok(Some(row)) = rows.next() {
            let (Ok(id), Ok(record)) = (row.get::<_, i64>(5), record(row)) else { continue };
            if saved.insert(id, record).is_some() && order == "DESC" {
                break;
            }
        }
    }
    let Ok(whole) = fresh.unchecked_transaction() else { return 0 };
    let mut count = 0;
    for record in saved.values() {
        // What damage made of an event's text must not poison a batch.
        let sound = headwater_core::event::Json::object(record.text.as_str()).is_ok();
        if sound && add(&whole, None, &record.text, &record.entry, None).is_ok() {
            count += 1;
        }
    }
    // Who the person is, and what was answered about consent: without it a no would be forgotten.
    if let Ok(Some(identity)) = damaged
        .query_row("SELECT value FROM state WHERE name = ?", [IDENTITY], |row| {
            row.get::<_, Vec<u8>>(0)
        })
        .optional()
    {
        drop(execute(&whole, KEEP, params![IDENTITY, identity]));
    }
    // Told where the next one fails.
    drop(copy_device(damaged, &whole));
    if whole.commit().is_ok() { count } else { 0 }
}

/// Every event of one database into another, without its number unless everything else comes along. What cannot be read stays behind.
pub(super) fn copy(from: &Connection, into: &Connection, with_state: bool) -> Result<(), Failure> {
    let whole = into.unchecked_transaction()?;
    let every =
        format!("SELECT {COLUMNS}, seq, session_ms, session_start, id FROM event ORDER BY id");
    if let Ok(mut select) = from.prepare(&every)
        && let Ok(mut rows) = select.query([])
    {
        while let Ok(Some(row)) = rows.next() {
            let (Ok(record), Ok(id)) = (record(row), row.get(8)) else { continue };
            // Another process that had the same file open has saved it already.
            if !with_state && text(&whole, id)?.as_ref() == Some(&record.text) {
                continue;
            }
            let stamp = if with_state { stamp(row).ok().flatten() } else { None };
            add(&whole, with_state.then_some(id), &record.text, &record.entry, stamp)?;
        }
    }
    if with_state
        && let Ok(mut select) = from.prepare("SELECT name, value FROM state WHERE name <> 'count'")
        && let Ok(mut rows) = select.query([])
    {
        while let Ok(Some(row)) = rows.next() {
            let (Ok(name), Ok(value)) = (row.get::<_, String>(0), row.get::<_, Vec<u8>>(1)) else {
                continue;
            };
            execute(&whole, KEEP, params![name, value])?;
        }
        copy_device(from, &whole)?;
    }
    Ok(whole.commit()?)
}

/// The device's secret, without which it is told no messages any more, and what was shown on it.
fn copy_device(from: &Connection, into: &Connection) -> Result<(), Failure> {
    for (every, keep) in [
        ("SELECT anonymous_id, token FROM device", TOKEN),
        (
            "SELECT id, '' FROM shown ORDER BY at",
            "INSERT OR IGNORE INTO shown (id) SELECT ?1 WHERE ?2 = ''",
        ),
    ] {
        // An earlier format has none.
        let Ok(mut select) = from.prepare(every) else { continue };
        let Ok(mut rows) = select.query([]) else { continue };
        while let Ok(Some(row)) = rows.next() {
            let (Ok(first), Ok(second)) = (row.get::<_, String>(0), row.get::<_, String>(1)) else {
                continue;
            };
            execute(into, keep, params![first, second])?;
        }
    }
    Ok(())
}

fn stamp(row: &rusqlite::Row<'_>) -> Result<Option<Stamp>, rusqlite::Error> {
    let Some(seq) = row.get::<_, Option<i64>>(5)? else { return Ok(None) };
    Ok(Some(Stamp {
        seq: seq.cast_unsigned(),
        session_ms: row.get::<_, i64>(6)?.cast_unsigned(),
        session_start: row.get(7)?,
    }))
}
