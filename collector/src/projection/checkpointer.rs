//! Moves what SQLite's log of changes holds into the file, in a thread of its own: writing and syncing thousands of pages takes
//! tens of milliseconds, for which nothing would be folded.
//! Promises that the log of changes stays bounded however much comes in: it can only begin anew once nothing is left to be moved, so
//! the thread moves all but the last pages, which come in meanwhile, and the folding thread moves these. Deliberately knows no table.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Result, hooks::Wal, wal::CheckpointMode};

/// Pages of the log of changes from which on they are moved: 8 MiB. Of more, fewer would be written, those that change again
/// meanwhile; but the disk is then still busy with them when the folding thread moves the last: with four times as many that took
/// 32 ms, several times a second.
const FROM: u32 = 2_048;
/// The same far behind the log, where moving holds nobody up: 256 MiB. With a million people 15 GiB are written in all; with 64 MiB
/// it is 19.
const FROM_BEHIND: u32 = 65_536;
/// So many that the thread is not waited for any more: it cannot keep up, or has failed.
const TOO_MANY: u32 = 8 * FROM;
/// So few are left to the folding thread: a millisecond's work beside the sync.
const LEFT: u32 = 512;
/// How often the thread goes after what came in meanwhile.
const ROUNDS: u32 = 4;

/// How far the thread is with what it was asked to move.
mod stage {
    pub(super) const IDLE: u8 = 0;
    pub(super) const MOVING: u8 = 1;
    /// All but the last pages are moved.
    pub(super) const MOVED: u8 = 2;
}

/// Stops its thread when dropped, once the round under way is over.
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    orders: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    path: PathBuf,
    /// Pages that the log of changes has, as of the last commit.
    pages: AtomicU32,
    stage: AtomicU8,
    /// Held while pages are moved: SQLite lets one do so at a time, and turns others away.
    turn: Mutex<()>,
}

impl Checkpointer {
    /// For the file that this connection writes, which does not move pages by itself any more.
    pub(super) fn start(path: &Path, writer: &mut Connection) -> Result<Self> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            pages: AtomicU32::new(0),
            stage: AtomicU8::new(stage::IDLE),
            turn: Mutex::default(),
        });
        let counted = Arc::clone(&shared);
        writer.wal_hook(Some(move |_: &mut Wal, pages: i32| {
            counted.pages.store(pages.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        }))?;
        let (orders, ordered) = sync_channel(1);
        let moving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("checkpointer".into()).spawn(move || {
            while ordered.recv().is_ok() {
                if let Err(error) = moving.move_most() {
                    tracing::warn!(%error, "changes of people are not moved into their file yet");
                }
                moving.stage.store(stage::MOVED, Ordering::Release);
            }
        });
        // Without it the folding thread does it all.
        let thread = thread
            .inspect_err(|error| tracing::warn!(%error, "there is no thread for checkpoints"));
        Ok(Self { shared, orders: thread.is_ok().then_some(orders), thread: thread.ok() })
    }

    /// After each commit of the writer's: sees to it that the log of changes does not grow on.
    pub(super) fn look(&self, writer: &Connection, is_behind: bool) {
        let pages = self.shared.pages.load(Ordering::Relaxed);
        let limit = if is_behind { FROM_BEHIND } else { FROM };
        match self.shared.stage.load(Ordering::Acquire) {
            stage::IDLE if pages < limit => return,
            stage::MOVING if pages < TOO_MANY.max(limit) => return,
            stage::IDLE if pages < TOO_MANY && self.order() => return,
            _ => {}
        }
        if let Err(error) = self.shared.round(writer) {
            // What was committed is committed; a full disk is told of by who writes to it.
            tracing::debug!(%error, "changes are not moved yet");
        }
        // While it moves, it says itself when it is through.
        let _ = self.shared.stage.compare_exchange(
            stage::MOVED,
            stage::IDLE,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Whether the thread moves pages now.
    fn order(&self) -> bool {
        self.shared.stage.store(stage::MOVING, Ordering::Relaxed);
        let ordered = self.orders.as_ref().is_some_and(|orders| orders.try_send(()).is_ok());
        if !ordered {
            self.shared.stage.store(stage::IDLE, Ordering::Relaxed);
        }
        ordered
    }

    /// Moves all pages, and leaves nothing of them in the log of changes.
    pub(super) fn truncate(&self, writer: &Connection) -> Result<()> {
        let _turn = self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
        writer.wal_checkpoint_v2(None::<&str>, CheckpointMode::TRUNCATE).map(drop)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread of checkpoints had panicked");
        }
    }
}

impl Shared {
    /// Moves pages until few are left.
    fn move_most(&self) -> Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        for _ in 0..ROUNDS {
            let moved = self.round(&connection)?;
            if self.pages.load(Ordering::Relaxed).saturating_sub(moved) < LEFT {
                break;
            }
        }
        Ok(())
    }

    /// Moves what was committed until now; how many pages of the log of changes are in the file then.
    fn round(&self, connection: &Connection) -> Result<u32> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, moved) = connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE)?;
        Ok(u32::try_from(moved).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        let of = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; \
                  CREATE TABLE IF NOT EXISTS page (number INTEGER PRIMARY KEY, filled BLOB NOT NULL);";
        connection.execute_batch(of).unwrap();
        connection
    }

    fn changes(path: &Path) -> u64 {
        std::fs::metadata(path.with_extension("db-wal")).map_or(0, |file| file.len())
    }

    /// A transaction that fills so many pages.
    fn fill(connection: &Connection, pages: u32) {
        let fill = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1) \
                    INSERT INTO page (filled) SELECT randomblob(3000) FROM n";
        connection.execute(fill, [pages]).unwrap();
    }

    #[test]
    fn the_log_of_changes_stays_bounded_while_more_comes_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.db");
        let mut connection = open(&path);
        let checkpointer = Checkpointer::start(&path, &mut connection).unwrap();
        let (mut written, mut most) = (0, 0);
        while written < 4 * TOO_MANY {
            fill(&connection, 64);
            written += 64;
            checkpointer.look(&connection, false);
            most = most.max(changes(&path));
        }
        let limit = u64::from(TOO_MANY + 256) * 4_200;
        assert!(most < limit, "{most} bytes, at most {limit}");
        drop(checkpointer);
        // And all of it is there.
        let count: u32 =
            open(&path).query_row("SELECT count(*) FROM page", [], |row| row.get(0)).unwrap();
        assert_eq!(count, written);
    }

    #[test]
    fn nothing_is_left_of_what_is_truncated_while_the_thread_moves_pages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.db");
        let mut connection = open(&path);
        let checkpointer = Checkpointer::start(&path, &mut connection).unwrap();
        for _ in 0..20 {
            fill(&connection, FROM + 1);
            checkpointer.look(&connection, false);
            checkpointer.truncate(&connection).unwrap();
            assert_eq!(changes(&path), 0);
        }
    }

    #[test]
    fn without_its_thread_the_writer_moves_pages_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.db");
        let mut connection = open(&path);
        let mut checkpointer = Checkpointer::start(&path, &mut connection).unwrap();
        drop(checkpointer.orders.take());
        fill(&connection, FROM + 1);
        checkpointer.look(&connection, false);
        fill(&connection, 1);
        // It began anew.
        assert!(checkpointer.shared.pages.load(Ordering::Relaxed) < 10);
    }
}
