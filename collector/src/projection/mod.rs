//! The one fold over the log: a thread that reads it record by record and keeps what it comes to in one SQLite database.
//! Promises that state and offset change in one transaction, so that a crash neither skips a record nor counts one twice; that
//! the state is the same however the log is cut; that a rebuild is made beside the state in use and put in its place whole.
//! Deliberately holds nothing up: what appends to the log does not know of it.
//!
//! ```text
//! log ─▶ Reader ─▶ Fold::record × many ─▶ flush, offset, COMMIT ─▶ "applied up to N" ─▶ whoever waits
//!                     └ people (rules come here, into the same transaction)
//! ```

mod database;
mod readers;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use crate::{
    event_log::{EventLog, Offset, ReadError, Reader},
    people,
};
pub use database::DatabaseError;
use database::{Database, FORMAT};
pub(crate) use readers::Readers;

/// Records of one transaction: at a busy log's end they are as many as came meanwhile, in a replay enough that committing does
/// not count.
const RECORDS: usize = 8_192;
/// A transaction is not kept open for longer, so that what was read is seen.
const AT_MOST: Duration = Duration::from_millis(250);
/// Of a rebuild's, beside which what comes in is still to be seen in time.
const SHADOW_AT_MOST: Duration = Duration::from_millis(15);
/// After the database failed: short for who waits for a profile, long for a full disk.
const RETRY: Duration = Duration::from_millis(500);
/// How often a rebuild says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// The file of the state in use, in the data folder.
const FILE: &str = "people.db";
/// The file that a rebuild fills.
const SHADOW: &str = "people.rebuild.db";

/// How far a rebuild is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuild {
    /// Up to here.
    pub applied: Offset,
    /// Of so much, as the log was when it was last looked at.
    pub end: Offset,
}

/// Who was erased, as of when it is asked.
pub(crate) type Erasures = Arc<dyn Fn() -> people::Gone + Send + Sync>;

/// Whether retention has deleted what people were made of: made anew, those who were not seen since would be gone.
fn lost_its_beginning(log: &EventLog) -> bool {
    log.stats().first > Offset::from_number(1)
}

/// What runs beside the collector. Dropping it stops the thread.
pub(crate) struct Projection {
    handle: Handle,
    orders: Sender<Order>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// How others see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    /// Where to read.
    pub(crate) readers: Readers,
    /// Up to here the state has everything.
    pub(crate) applied: watch::Receiver<Offset>,
    /// The rebuild under way.
    pub(crate) rebuild: watch::Receiver<Option<Rebuild>>,
    orders: Arc<Mutex<Sender<Order>>>,
}

enum Order {
    /// The log is longer, or someone wants to see that it is not.
    Look,
    Rebuild(oneshot::Sender<Result<(), DatabaseError>>),
    /// The erased: nothing of it may stay in any memory.
    Forget(Vec<people::Node>, oneshot::Sender<rusqlite::Result<()>>),
    Stop,
}

impl Projection {
    /// Opens the state in `data`, or begins it, and goes on from there in a thread of its own.
    pub(crate) fn open(
        data: &Path,
        log: &Arc<EventLog>,
        limits: people::Limits,
        gone: Erasures,
    ) -> Result<Self, DatabaseError> {
        let path = data.join(FILE);
        Database::remove(&data.join(SHADOW))?;
        let format = format!("{FORMAT} {limits:?}");
        let database = match Database::open(&path, &format, log)? {
            Some(database) => database,
            None => {
                if lost_its_beginning(log) {
                    if !Database::is_damaged(&path) {
                        return Err(DatabaseError::BeginningGone(path));
                    }
                    tracing::error!(
                        "the log has lost its beginning to retention: people who were not seen since are not known any more"
                    );
                }
                tracing::info!("people are made anew from the log: {}", path.display());
                Database::remove(&path)?;
                let made = Database::open(&path, &format, log)?;
                made.ok_or(DatabaseError::Unusable(path.clone()))?
            }
        };
        let (applied, seen) = watch::channel(database.applied);
        let (rebuilding, rebuild) = watch::channel(None);
        let (orders, ordered) = channel();
        let handle = Handle {
            readers: Readers::new(path),
            applied: seen,
            rebuild,
            orders: Arc::new(Mutex::new(orders.clone())),
        };
        let runner = Runner {
            data: data.to_owned(),
            format,
            limits: limits.clone(),
            log: Arc::clone(log),
            readers: handle.readers.clone(),
            at: Place::new(log, database, limits, gone()),
            gone,
            applied,
            rebuilding,
            ordered,
            shadow: None,
        };
        let thread = std::thread::Builder::new()
            .name("projection".into())
            .spawn(move || runner.run())
            .map_err(DatabaseError::Thread)?;
        Ok(Self { handle, orders, thread: Some(thread) })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Wakes the thread whenever the log has grown, until `stop`.
    pub(crate) fn follow(
        &self,
        mut end: watch::Receiver<Offset>,
        mut stop: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + use<> {
        let orders = self.orders.clone();
        async move {
            loop {
                tokio::select! {
                    changed = end.changed() => {
                        if changed.is_err() || orders.send(Order::Look).is_err() {
                            return;
                        }
                    }
                    () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
                }
            }
        }
    }
}

impl Drop for Projection {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        if let Some(Err(_)) = self.thread.take().map(std::thread::JoinHandle::join) {
            tracing::error!("the projection's thread had panicked");
        }
    }
}

impl Handle {
    /// Makes the state anew from the log; the one in use goes on meanwhile. Returns when that has begun.
    pub(crate) async fn rebuild(&self) -> Result<(), DatabaseError> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Rebuild(answer));
        answered.await.unwrap_or(Err(DatabaseError::Stopping))
    }

    /// Takes identifiers out of the state, with all that hangs on them.
    pub(crate) async fn forget(&self, nodes: Vec<people::Node>) -> rusqlite::Result<()> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Forget(nodes, answer));
        answered.await.unwrap_or(Err(rusqlite::Error::InvalidQuery))
    }

    /// Waits until the state has everything up to `offset`.
    pub(crate) async fn wait_for(&self, offset: Offset) {
        let _ = self.applied.clone().wait_for(|applied| *applied >= offset).await;
    }

    fn order(&self, order: Order) {
        // The thread ends only with the collector.
        let _ = self.orders.lock().unwrap_or_else(PoisonError::into_inner).send(order);
    }
}

/// A state, and where in the log it is.
struct Place {
    database: Database,
    reader: Reader,
    people: people::Fold,
}

impl Place {
    fn new(
        log: &Arc<EventLog>,
        database: Database,
        limits: people::Limits,
        gone: people::Gone,
    ) -> Self {
        let reader = log.reader(Some(database.applied));
        Self { database, reader, people: people::Fold::new(limits, gone) }
    }

    /// Folds in what follows, up to a transaction's worth, for at most this long. Whether anything did.
    fn step(&mut self, at_most: Duration) -> Result<bool, StepError> {
        let stepped = self.try_step(at_most);
        if stepped.is_err() {
            // What was folded was rolled back with the transaction.
            self.people.forget();
            self.reader.seek(self.database.applied);
        }
        stepped
    }

    fn try_step(&mut self, at_most: Duration) -> Result<bool, StepError> {
        let (begun, from) = (Instant::now(), self.database.applied);
        let change = self.database.begin()?;
        let (mut folded, mut last) = (0, None);
        while folded < RECORDS && begun.elapsed() < at_most {
            match self.reader.next_chunk(RECORDS - folded) {
                Ok(records) if records.is_empty() => break,
                Ok(records) => {
                    for record in &records {
                        self.people.record(&change, record)?;
                    }
                    folded += records.len();
                    last = records.last().map(|record| (record.offset, record.received_at));
                }
                Err(error @ ReadError::Damaged { .. }) => {
                    tracing::error!(%error, "people are folded without these events");
                }
                Err(ReadError::Io(error)) => return Err(StepError::Log(error)),
            }
        }
        let applied = self.reader.position();
        if applied == from {
            return Ok(false);
        }
        self.people.flush(&change)?;
        let received = last.filter(|(offset, _)| *offset == applied).map(|(_, at)| at);
        Database::save(&change, applied, received)?;
        change.commit()?;
        self.database.applied = applied;
        Ok(true)
    }
}

/// Why a step was not taken. It is tried again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("the database of people cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the event log could not be read: {0}")]
    Log(std::io::Error),
}

impl StepError {
    fn is_damage(&self) -> bool {
        matches!(self, Self::Database(error) if database::is_damage(error))
    }
}

/// The thread.
struct Runner {
    gone: Erasures,
    data: PathBuf,
    format: String,
    limits: people::Limits,
    log: Arc<EventLog>,
    readers: Readers,
    at: Place,
    applied: watch::Sender<Offset>,
    rebuilding: watch::Sender<Option<Rebuild>>,
    ordered: Receiver<Order>,
    shadow: Option<(Place, Instant)>,
}

impl Runner {
    fn run(mut self) {
        let mut failing = false;
        loop {
            let moved = match self.at.step(AT_MOST) {
                Ok(moved) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("the projection goes on");
                    }
                    if moved {
                        self.applied.send_replace(self.at.database.applied);
                    }
                    moved
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "people are not kept up to date; trying again");
                        if error.is_damage() {
                            self.mend();
                        }
                    }
                    false
                }
            };
            // However much comes in, a rebuild goes on beside it.
            let rebuilding = self.shadow_step();
            let pause = match (moved || rebuilding, failing) {
                (true, _) => Duration::ZERO,
                (false, true) => RETRY,
                (false, false) => Duration::from_secs(3600),
            };
            // All that was ordered meanwhile: looks are many, and one is as good as all.
            let mut ordered = self.ordered.recv_timeout(pause);
            loop {
                match ordered {
                    Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                    Ok(Order::Rebuild(answer)) => {
                        let begun = self.begin_rebuild();
                        let _ = answer.send(begun);
                    }
                    Ok(Order::Forget(nodes, answer)) => {
                        let forgotten = self.forget(&nodes);
                        let _ = answer.send(forgotten);
                    }
                    Ok(Order::Look) => {}
                    Err(RecvTimeoutError::Timeout) => break,
                }
                ordered = self.ordered.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                });
            }
        }
    }

    /// The file in use is damaged: another is made from the log, and takes its place.
    fn mend(&mut self) {
        match self.begin_rebuild() {
            Ok(()) => tracing::warn!("the database of people is damaged, and made anew"),
            Err(error) => tracing::error!(%error, "the damaged people cannot be made anew"),
        }
    }

    fn forget(&mut self, nodes: &[people::Node]) -> rusqlite::Result<()> {
        let shadow = self.shadow.as_mut().map(|(place, _)| place);
        for place in [Some(&mut self.at), shadow].into_iter().flatten() {
            // Not in a free page either, nor in the log of changes.
            place.database.connection.pragma_update(None, "secure_delete", true)?;
            let change = place.database.begin()?;
            people::forget(&change, nodes)?;
            change.commit()?;
            place.people.forget();
            place.database.connection.pragma_update(None, "secure_delete", false)?;
            place.database.truncate_changes()?;
        }
        self.applied.send_modify(|_| {});
        Ok(())
    }

    fn begin_rebuild(&mut self) -> Result<(), DatabaseError> {
        if self.shadow.is_some() {
            return Ok(());
        }
        if lost_its_beginning(&self.log) {
            return Err(DatabaseError::BeginningGone(self.data.join(FILE)));
        }
        let path = self.data.join(SHADOW);
        let end = *self.log.end().borrow();
        Database::remove(&path)?;
        let database = Database::open(&path, &self.format, &self.log)?;
        let database = database.ok_or(DatabaseError::Unusable(path))?;
        tracing::info!("people are rebuilt from the log, beside those in use");
        let place = Place::new(&self.log, database, self.limits.clone(), (self.gone)());
        self.rebuilding.send_replace(Some(Rebuild { applied: Offset::START, end }));
        self.shadow = Some((place, Instant::now()));
        Ok(())
    }

    /// One step of the rebuild, if there is one; whether there is more to do.
    fn shadow_step(&mut self) -> bool {
        let Some((shadow, said)) = &mut self.shadow else { return false };
        let moved = match shadow.step(SHADOW_AT_MOST) {
            Ok(moved) => moved,
            Err(error) => {
                tracing::error!(%error, "the rebuild of people is given up; those in use stay");
                return self.end_rebuild();
            }
        };
        let progress = Rebuild { applied: shadow.database.applied, end: *self.log.end().borrow() };
        self.rebuilding.send_replace(Some(progress));
        if said.elapsed() > PROGRESS {
            *said = Instant::now();
            tracing::info!(applied = %progress.applied, end = %progress.end, "rebuilding people");
        }
        if moved || shadow.database.applied < self.at.database.applied {
            return true;
        }
        if let Err(error) = self.swap() {
            tracing::error!(%error, "the rebuilt people cannot be put in place");
        }
        self.end_rebuild()
    }

    /// Puts the rebuilt state in the place of the one in use, while readers wait for a moment.
    fn swap(&mut self) -> Result<(), DatabaseError> {
        let Some((shadow, _)) = self.shadow.take() else { return Ok(()) };
        let (path, format) = (self.data.join(FILE), self.format.clone());
        let log = Arc::clone(&self.log);
        let Place { database, .. } = shadow;
        database.close()?;
        let swapped = self.readers.while_closed(|| -> Result<Database, DatabaseError> {
            // Its own connection has to be closed before its file goes.
            self.at.database.connection = Connection::open_in_memory()?;
            Database::replace(&path, &self.data.join(SHADOW))?;
            Database::open(&path, &format, &log)?.ok_or(DatabaseError::Unusable(path.clone()))
        });
        self.at = Place::new(&self.log, swapped?, self.limits.clone(), (self.gone)());
        self.applied.send_replace(self.at.database.applied);
        tracing::info!("the rebuilt people are in use");
        Ok(())
    }

    fn end_rebuild(&mut self) -> bool {
        self.shadow = None;
        self.rebuilding.send_replace(None);
        if let Err(error) = Database::remove(&self.data.join(SHADOW)) {
            tracing::warn!(%error, "a file of the rebuild is left");
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::{FileSystem, NewEvent, Options, Retention, system_clock};

    fn open(folder: &Path, log: &Arc<EventLog>, email: u32) -> Result<Projection, DatabaseError> {
        let limits = people::Limits { email, ..people::Limits::default() };
        Projection::open(folder, log, limits, Arc::new(|| Arc::new(|_, _| false)))
    }

    #[tokio::test]
    async fn nobody_is_forgotten_because_the_log_has_lost_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let options = Options { segment_bytes: 64 << 10, ..Options::default() };
        let disk = Arc::new(FileSystem);
        let (log, _) = EventLog::open(&folder.join("log"), options, disk, system_clock()).unwrap();
        let log = Arc::new(log);
        // What does not compress.
        for n in 0..200_u64 {
            let noise: String = (n * 100..n * 100 + 100)
                .map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                .collect();
            let json = format!(
                r#"{{"type":"track","event":"Seen","messageId":"{n}","userId":"u-{n}","properties":{{"n":"{noise}"}}}}"#
            );
            let event = NewEvent::new("web".parse().unwrap(), n.to_string(), "d", json);
            log.append([event]).await.unwrap();
        }
        let end = *log.end().borrow();
        let all = open(folder, &log, 5).unwrap();
        all.handle().wait_for(end).await;
        drop(all);

        let retention = Retention { max_age: None, max_bytes: Some(1) };
        log.upkeep(retention, end).await.unwrap();
        assert!(lost_its_beginning(&log));
        // As they are they go on; made anew they would be fewer.
        let gone = |opened: Result<Projection, _>| {
            matches!(opened.map(drop), Err(DatabaseError::BeginningGone(_)))
        };
        assert!(gone(open(folder, &log, 6)));
        let all = open(folder, &log, 5).unwrap();
        let rebuilt = all.handle().rebuild().await;
        assert!(matches!(rebuilt, Err(DatabaseError::BeginningGone(_))), "{rebuilt:?}");
        let first = |db: &Connection| people::person_of(db, "u-0");
        assert!(all.handle().readers.read(first).unwrap().is_some());
        drop(all);
        // Whoever moves the file away has decided.
        Database::remove(&folder.join(FILE)).unwrap();
        let fewer = open(folder, &log, 6).unwrap();
        fewer.handle().wait_for(end).await;
        assert!(fewer.handle().readers.read(first).unwrap().is_none());
    }
}
