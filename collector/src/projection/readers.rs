//! Connections for those who read the projection's state while it changes.
//! Promises that each reads one moment of it, that none can write, and that none holds a file that was replaced.
//! Deliberately knows no table.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Result};

use super::database::keep_plans;

/// Connections kept for the next reader: pages of each are a few hundred KiB.
const KEPT: usize = 4;
const CACHE_KIB: i64 = 1024;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Readers(Arc<Pool>);

struct Pool {
    path: PathBuf,
    /// Held by readers; exclusively while the file is replaced.
    file: RwLock<()>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(Pool { path, file: RwLock::default(), idle: Mutex::default() }))
    }

    /// Reads one moment of the state. Blocks.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let _open = self.0.file.read().unwrap_or_else(PoisonError::into_inner);
        let connection = match self.idle().pop() {
            Some(connection) => connection,
            None => self.open()?,
        };
        let moment = connection.unchecked_transaction()?;
        let found = read(&moment);
        moment.rollback()?;
        let mut idle = self.idle();
        if idle.len() < KEPT {
            idle.push(connection);
        }
        found
    }

    /// Runs `change` while no reader has the file open.
    pub(super) fn while_closed<T>(&self, change: impl FnOnce() -> T) -> T {
        let _closed = self.0.file.write().unwrap_or_else(PoisonError::into_inner);
        self.idle().clear();
        change()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.0.path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(64);
        keep_plans(&connection)?;
        Ok(connection)
    }
}
