//! Moves what SQLite's log of changes holds into the file, in a thread of its own: writing and syncing thousands of pages takes
//! tens of milliseconds, for which nothing would be folded.
//! Promises that the log of changes stays bounded however much comes in: it can only begin anew once nothing is left to be moved, so
//! the thread moves all but the last pages, which come in meanwhile, and the folding thread moves these. Deliberately knows no table.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Result, hooks::Wal, wal::CheckpointMode};

/// Pages that are moved at a time: 8 MiB. Of more at a time fewer would be written, since some change again meanwhile; but the disk
/// would be busy with them for longer, and whoever else syncs waits for it.
const FROM: u32 = 2_048;
/// The same far behind the log, where moving holds nobody up: 256 MiB. With a million people 15 GiB are written in all; with 64 MiB
/// it is 19.
const FROM_BEHIND: u32 = 65_536;
/// So long does the log of changes get before it begins anew while more comes in: 512 MiB. The last pages of it are the folding
/// thread's, whose two syncs take it 8 to 25 ms, and what came in meanwhile takes it three times as long: at 10,000 events/s once in
/// four seconds, where it was 60 times with 8 MiB. In a quiet moment it begins anew long before that.
pub(super) const ANEW: u32 = 131_072;
/// So many more are waited for; then the thread cannot keep up, or has failed.
const TOO_MANY: u32 = 8 * FROM;
/// So few are left when the thread is done: those of two or three commits.
const LEFT: u32 = 512;
/// With fewer than these the folding thread has the log of changes begin anew: each is somewhere else in the file, and of a thousand
/// the disk has 30 ms, for which nothing is folded. The thread goes after them until there are a third as many.
const LAST: u32 = 384;
/// How long whoever holds the file is waited for: what rusqlite waits by itself.
const BUSY: Duration = Duration::from_secs(5);
/// How often the thread goes after what came in meanwhile. Of that there is half as much each time.
const ROUNDS: u32 = 8;

/// What of that log's file stays when it begins anew while more comes in: all, since cutting off 100 MiB takes tens of milliseconds.
pub(super) const CHANGES_BYTES: i64 = (ANEW + TOO_MANY) as i64 * 4_120;

/// Stops its thread when dropped, once the round under way is over.
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    anew: u32,
    /// How many pages may be left.
    orders: Option<SyncSender<u32>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    path: PathBuf,
    /// Pages that the log of changes has, as of the last commit, and how many of them are in the file. More than it has are those of
    /// the one before it began anew.
    pages: AtomicU32,
    moved: AtomicU32,
    /// Whether the thread moves pages.
    is_moving: AtomicBool,
    /// Held while pages are moved: SQLite lets one do so at a time, and turns others away.
    turn: Mutex<()>,
}

impl Checkpointer {
    /// For the file that this connection writes, which does not move pages by itself any more; its log of changes begins anew at so
    /// many pages.
    pub(super) fn start(path: &Path, writer: &mut Connection, anew: u32) -> Result<Self> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            pages: AtomicU32::new(0),
            moved: AtomicU32::new(0),
            is_moving: AtomicBool::new(false),
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
            while let Ok(left) = ordered.recv() {
                if let Err(error) = moving.move_all_but(left) {
                    tracing::warn!(%error, "changes of people are not moved into their file yet");
                }
                moving.is_moving.store(false, Ordering::Release);
            }
        });
        // Without it the folding thread does it all.
        let thread = thread
            .inspect_err(|error| tracing::warn!(%error, "there is no thread for checkpoints"));
        let orders = thread.is_ok().then_some(orders);
        Ok(Self { shared, anew, orders, thread: thread.ok() })
    }

    /// After each commit of the writer's: sees to it that the log of changes does not grow on.
    pub(super) fn look(&self, writer: &Connection, is_behind: bool) {
        let from = if is_behind { FROM_BEHIND } else { FROM };
        let anew = from.max(self.anew);
        let (pages, left) = self.shared.pages();
        if pages < anew + TOO_MANY {
            let is_moving = self.shared.is_moving.load(Ordering::Acquire);
            let (from, to) = if pages < anew { (from, LEFT) } else { (LAST, LAST / 3) };
            if is_moving || (left < from && pages < anew) || (left >= from && self.order(to)) {
                return;
            }
        }
        if let Err(error) = self.shared.round(writer) {
            // What was committed is committed; a full disk is told of by who writes to it.
            tracing::debug!(%error, "changes are not moved yet");
        }
    }

    /// In a quiet moment: lets go of a log of changes that has grown.
    pub(super) fn tidy(&self, writer: &Connection) {
        if self.shared.pages().0 < FROM {
            return;
        }
        if let Err(error) = self.truncate_at_once(writer) {
            tracing::debug!(%error, "the log of changes stays as long as it is");
        }
    }

    /// As `truncate` does, but whoever still reads from it is not waited for: something may come in meanwhile.
    pub(super) fn truncate_at_once(&self, writer: &Connection) -> Result<()> {
        let truncated = writer.busy_timeout(Duration::ZERO).and_then(|()| self.truncate(writer));
        writer.busy_timeout(BUSY).and(truncated)
    }

    /// Whether the thread moves pages now, until so few are left.
    fn order(&self, left: u32) -> bool {
        self.shared.is_moving.store(true, Ordering::Relaxed);
        let ordered = self.orders.as_ref().is_some_and(|orders| orders.try_send(left).is_ok());
        if !ordered {
            self.shared.is_moving.store(false, Ordering::Relaxed);
        }
        ordered
    }

    /// Moves all pages, and leaves nothing of them in the log of changes.
    pub(super) fn truncate(&self, writer: &Connection) -> Result<()> {
        let _turn = self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
        writer.wal_checkpoint_v2(None::<&str>, CheckpointMode::TRUNCATE)?;
        self.shared.pages.store(0, Ordering::Relaxed);
        Ok(())
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
    /// How many pages there are, and how many of them are not in the file.
    fn pages(&self) -> (u32, u32) {
        let pages = self.pages.load(Ordering::Relaxed);
        let moved = self.moved.load(Ordering::Relaxed);
        (pages, pages.checked_sub(moved).unwrap_or(pages))
    }

    /// Moves pages until so few are left.
    fn move_all_but(&self, left: u32) -> Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        // A connection that has read nothing knows of no log of changes, and moves nothing, without an error.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        for _ in 0..ROUNDS {
            self.round(&connection)?;
            if self.pages().1 < left {
                break;
            }
        }
        Ok(())
    }

    /// Moves what was committed until now.
    fn round(&self, connection: &Connection) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, moved) = connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE)?;
        self.moved.store(u32::try_from(moved).unwrap_or_default(), Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in use, but sooner.
    const ANEW: u32 = 16_384;

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
        let checkpointer = Checkpointer::start(&path, &mut connection, ANEW).unwrap();
        let (mut written, mut most) = (0, 0);
        while written < 2 * (ANEW + TOO_MANY) {
            fill(&connection, 64);
            written += 64;
            checkpointer.look(&connection, false);
            most = most.max(changes(&path));
        }
        let limit = u64::from(ANEW + TOO_MANY + 256) * 4_200;
        assert!(most < limit, "{most} bytes, at most {limit}");
        drop(checkpointer);
        // And all of it is there.
        let count: u32 =
            open(&path).query_row("SELECT count(*) FROM page", [], |row| row.get(0)).unwrap();
        assert_eq!(count, written);
    }

    #[test]
    fn the_thread_moves_pages_while_the_log_of_changes_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.db");
        let mut connection = open(&path);
        let checkpointer = Checkpointer::start(&path, &mut connection, ANEW).unwrap();
        let shared = &checkpointer.shared;
        fill(&connection, FROM + 1);
        checkpointer.look(&connection, false);
        while shared.is_moving.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        assert_eq!(shared.pages().1, 0, "none is left");
        assert!(path.metadata().unwrap().len() > u64::from(FROM) * 4_096, "they are in the file");
        fill(&connection, 1);
        checkpointer.look(&connection, false);
        assert!(!shared.is_moving.load(Ordering::Acquire), "a few are not worth it");
        // And the log of changes begins anew, since none is.
        assert!(shared.pages().0 < LEFT);
    }

    #[test]
    fn a_long_log_begins_anew_when_the_thread_has_left_little_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.db");
        let mut connection = open(&path);
        let checkpointer = Checkpointer::start(&path, &mut connection, FROM).unwrap();
        let shared = &checkpointer.shared;
        let moved = || {
            while shared.is_moving.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        };
        fill(&connection, FROM + 1);
        // Somebody reads from it: it goes on for now.
        let reader = open(&path);
        let reading = reader.unchecked_transaction().unwrap();
        reading.query_row("SELECT count(*) FROM page", [], |_| Ok(())).unwrap();
        checkpointer.look(&connection, false);
        moved();
        fill(&connection, LAST);
        // More than the folding thread should have to move: it only says so, and waits for nobody who does.
        std::thread::scope(|scope| {
            let (held, is_held) = std::sync::mpsc::channel();
            let (done, is_done) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                let _turn = shared.turn.lock().unwrap();
                held.send(()).unwrap();
                let _ = is_done.recv_timeout(BUSY);
            });
            is_held.recv().unwrap();
            checkpointer.look(&connection, false);
            assert!(shared.is_moving.load(Ordering::Acquire));
            assert!(shared.pages().1 >= LAST, "they are not moved yet");
            // Beyond what somebody reads nothing is moved.
            drop(reading);
            drop(done);
        });
        moved();
        fill(&connection, 1);
        assert!(shared.pages().0 < LAST, "it has begun anew");
    }

    #[test]
    fn nothing_is_left_of_what_is_truncated_while_the_thread_moves_pages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.db");
        let mut connection = open(&path);
        let checkpointer = Checkpointer::start(&path, &mut connection, ANEW).unwrap();
        for _ in 0..20 {
            fill(&connection, FROM + 1);
            checkpointer.look(&connection, false);
            checkpointer.truncate(&connection).unwrap();
            assert_eq!(changes(&path), 0);
        }
    }

    #[test]
    fn a_quiet_moment_lets_go_of_a_log_that_has_grown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.db");
        let mut connection = open(&path);
        let checkpointer = Checkpointer::start(&path, &mut connection, ANEW).unwrap();
        fill(&connection, 8);
        let few = changes(&path);
        checkpointer.tidy(&connection);
        assert_eq!(changes(&path), few, "a few pages are not worth it");
        fill(&connection, FROM);
        checkpointer.tidy(&connection);
        assert_eq!(changes(&path), 0);
        fill(&connection, 8);
        let again = changes(&path);
        checkpointer.tidy(&connection);
        assert_eq!(changes(&path), again);
        // Nor is somebody waited for who reads from it.
        let reader = open(&path);
        let reading = reader.unchecked_transaction().unwrap();
        reading.query_row("SELECT count(*) FROM page", [], |_| Ok(())).unwrap();
        fill(&connection, FROM);
        let begun = std::time::Instant::now();
        checkpointer.tidy(&connection);
        assert!(begun.elapsed() < BUSY, "{:?}", begun.elapsed());
        assert!(changes(&path) > again);
        drop(reading);
        checkpointer.tidy(&connection);
        assert_eq!(changes(&path), 0);
    }

    #[test]
    fn without_its_thread_the_writer_moves_pages_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.db");
        let mut connection = open(&path);
        let mut checkpointer = Checkpointer::start(&path, &mut connection, ANEW).unwrap();
        drop(checkpointer.orders.take());
        fill(&connection, FROM + 1);
        checkpointer.look(&connection, false);
        fill(&connection, 1);
        // It began anew.
        assert!(checkpointer.shared.pages.load(Ordering::Relaxed) < 10);
    }
}
