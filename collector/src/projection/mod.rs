//! The one fold over the log: a thread that reads it record by record and keeps what it comes to in one SQLite database.
//! Promises that state and offset change in one transaction, so that a crash neither skips a record nor counts one twice; that
//! the state is the same however the log is cut; that a rebuild is made beside the state in use and put in its place whole.
//! Deliberately holds nothing up: what appends to the log does not know of it.
//!
//! ```text
//! log ─▶ Reader ─▶ Fold::record × many ─▶ flush, offset, COMMIT ─▶ "applied up to N" ─▶ whoever waits
//!                     └ people, then rules, then messages: in the same transaction
//! ```

mod checkpointer;
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

use tokio::sync::{oneshot, watch};

use crate::{
    event_log::{Clock, EventLog, Offset, ReadError, Reader, Record},
    messages, people, rules,
};
pub use database::DatabaseError;
use database::{Database, FORMAT};
pub(crate) use readers::Readers;

/// Records of one transaction: at a busy log's end they are as many as came meanwhile, in a replay enough that committing does
/// not count.
const RECORDS: usize = 8_192;
/// From one transaction's beginning to the next: what comes in meanwhile shares it, and the pages that it writes. Measured at 10,000
/// events/s: 10 % less of the thread's time than one right after the other.
const PACE: Duration = Duration::from_millis(4);
/// How often texts are written that people are found by, while more come in: each is on a page of its own.
const GATHER: Duration = Duration::from_millis(250);
/// A transaction is not kept open for longer, so that what was read is seen.
const AT_MOST: Duration = Duration::from_millis(250);
/// Of a rebuild's, beside which what comes in is still to be seen in time.
const SHADOW_AT_MOST: Duration = Duration::from_millis(15);
/// With more records than these to fold, a step may take seconds: nobody sees what came last for as long anyway.
const FAR_BEHIND: u64 = 50_000;
/// After the database failed: short for who waits for a profile, long for a full disk.
const RETRY: Duration = Duration::from_millis(500);
/// Without anything to do: whoever has something says so.
const IDLE: Duration = Duration::from_secs(3600);
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

/// The rules of a state, and since where in the log each counts.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) set: Arc<rules::RuleSet>,
    pub(crate) in_force: rules::InForce,
    pub(crate) clock: Clock,
}

#[cfg(test)]
impl Rules {
    /// None at all.
    pub(crate) fn none() -> Self {
        let clock = crate::event_log::system_clock();
        Self { set: Arc::default(), in_force: rules::InForce::default(), clock }
    }
}

impl rules::Records for EventLog {
    fn at(&self, offset: Offset) -> Option<Record> {
        let mut reader = self.reader(Some(offset.before()));
        let found = reader.next_chunk(1).ok()?.into_iter().next();
        found.filter(|record| record.offset == offset && !record.flags.erased)
    }
}

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
        rules: Rules,
    ) -> Result<Self, DatabaseError> {
        let path = data.join(FILE);
        Database::remove(&data.join(SHADOW))?;
        let format = format!("{FORMAT} {limits:?}");
        let made_by = (format.as_str(), rules.set.hash());
        let mut database = match Database::open(&path, made_by, log)? {
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
                let made = Database::open(&path, made_by, log)?;
                made.ok_or(DatabaseError::Unusable(path.clone()))?
            }
        };
        // Features of other rules are made from the whole log, beside the state in use, which goes on without rules meanwhile.
        let are_others = database.rules != rules.set.hash();
        let from_here = are_others && (rules.set.is_empty() || lost_its_beginning(log));
        if from_here {
            if !rules.set.is_empty() {
                tracing::warn!(
                    "rules have changed, and the log has lost its beginning to retention: features count from here on"
                );
            }
            database.begin_rules(&rules.set)?;
        }
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
            at: Place::new(log, database, limits, gone(), &rules),
            rules,
            gone,
            applied,
            rebuilding,
            ordered,
            shadow: None,
        };
        let thread = std::thread::Builder::new()
            .name("projection".into())
            .spawn(move || runner.run(are_others && !from_here))
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
    log: Arc<EventLog>,
    people: people::Fold,
    /// None where the state was made by others, until one that is made by these takes its place.
    rules: Option<rules::Fold>,
    /// When the texts were last written that people are found by.
    gathered: Option<Instant>,
}

impl Place {
    fn new(
        log: &Arc<EventLog>,
        database: Database,
        limits: people::Limits,
        gone: people::Gone,
        rules: &Rules,
    ) -> Self {
        let reader = log.reader(Some(database.applied));
        let is_theirs = database.rules == rules.set.hash() && !rules.set.is_empty();
        let fold = || rules::Fold::new(Arc::clone(&rules.set), Arc::clone(&rules.in_force));
        Self {
            database,
            reader,
            log: Arc::clone(log),
            people: people::Fold::new(limits, gone),
            rules: is_theirs.then(fold),
            gathered: None,
        }
    }

    /// Folds in what follows, up to a transaction's worth, for at most this long. Whether anything did.
    fn step(&mut self, at_most: Duration) -> Result<bool, StepError> {
        let stepped = self.try_step(at_most);
        if stepped.is_err() {
            // What was folded was rolled back with the transaction.
            self.forget();
            self.reader.seek(self.database.applied);
        }
        stepped
    }

    fn forget(&mut self) {
        self.people.forget();
        if let Some(rules) = &mut self.rules {
            rules.forget();
        }
    }

    /// How long until texts are to be written that people are found by, if some wait.
    fn gather_in(&self) -> Option<Duration> {
        let since = self.gathered.map_or(GATHER, |at| at.elapsed());
        self.people.waits().then(|| GATHER.saturating_sub(since))
    }

    /// When something is due first, whatever comes.
    fn next_due(&mut self) -> Result<Option<i64>, StepError> {
        let Some(rules) = &mut self.rules else { return Ok(None) };
        Ok(rules.next_due(&self.database.connection)?)
    }

    /// Does what is due by `now_ms`, when the log has been read up to then: all that it takes later it takes after that. Whether
    /// anything was.
    fn ring(&mut self, now_ms: i64) -> Result<bool, StepError> {
        let rung = self.try_ring(now_ms);
        if rung.is_err() {
            self.forget();
        }
        rung
    }

    fn try_ring(&mut self, now_ms: i64) -> Result<bool, StepError> {
        let Some(rules) = &mut self.rules else { return Ok(false) };
        let change = self.database.begin()?;
        let applied = self.database.applied;
        let any = rules.until((&change, &mut self.people), &*self.log, now_ms, applied)?;
        rules.flush(&change)?;
        change.commit()?;
        self.database.committed();
        Ok(any)
    }

    fn try_step(&mut self, at_most: Duration) -> Result<bool, StepError> {
        let (begun, from) = (Instant::now(), self.database.applied);
        let change = self.database.begin()?;
        let (mut folded, mut last, mut at_end) = (0, None, false);
        while folded < RECORDS && begun.elapsed() < at_most {
            match self.reader.next_chunk(RECORDS - folded) {
                Ok(records) if records.is_empty() => {
                    at_end = true;
                    break;
                }
                Ok(records) => {
                    for record in &records {
                        if let Some(rules) = &mut self.rules {
                            let (now, before) =
                                (record.received_at.unix_ms(), record.offset.before());
                            rules.until((&change, &mut self.people), &*self.log, now, before)?;
                        }
                        let folded = self.people.record(&change, record)?;
                        if let Some(rules) = &mut self.rules {
                            rules.record(
                                (&change, &mut self.people),
                                &*self.log,
                                record,
                                &folded,
                            )?;
                        }
                        messages::record(&change, record, &folded)?;
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
        let gathered = at_end
            && self.gather_in() == Some(Duration::ZERO)
            && self.people.gather(&change, applied)?;
        if gathered {
            self.gathered = Some(begun);
        }
        if applied == from && !gathered {
            return Ok(false);
        }
        self.people.flush(&change)?;
        if let Some(rules) = &mut self.rules {
            rules.flush(&change)?;
        }
        if applied > from {
            let received = last.filter(|(offset, _)| *offset == applied).map(|(_, at)| at);
            Database::save(&change, applied, received)?;
        }
        change.commit()?;
        self.database.applied = applied;
        self.database.committed();
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
    rules: Rules,
    log: Arc<EventLog>,
    readers: Readers,
    at: Place,
    applied: watch::Sender<Offset>,
    rebuilding: watch::Sender<Option<Rebuild>>,
    ordered: Receiver<Order>,
    shadow: Option<(Place, Instant)>,
}

impl Runner {
    fn run(mut self, rules_changed: bool) {
        let mut failing = false;
        if rules_changed {
            tracing::info!(
                "the rules are others than before: what they come to is made from the log"
            );
            if let Err(error) = self.begin_rebuild() {
                tracing::error!(%error, "rules do not run: what they come to cannot be made from the log");
            }
        }
        loop {
            let begun = Instant::now();
            let moved = match self.step() {
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
                (false, false) => self.ring(&mut failing),
            };
            let pause = match self.at.gather_in() {
                Some(gather_in) if !failing => pause.min(gather_in),
                _ => pause,
            };
            if moved {
                std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
            }
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

    fn step(&mut self) -> Result<bool, StepError> {
        let Place { database, .. } = &mut self.at;
        let behind = self.log.end().borrow().since(database.applied);
        database.is_behind = behind > FAR_BEHIND;
        self.at.step(AT_MOST)
    }

    /// Does what is due, once all is read that the log has taken until now; how long until there may be something to do.
    fn ring(&mut self, failing: &mut bool) -> Duration {
        let now = (self.rules.clock)().unix_ms();
        let due = match self.at.next_due() {
            Ok(None) => return IDLE,
            Ok(Some(due)) => due,
            Err(_) => return RETRY,
        };
        if due > now {
            let wait = Duration::from_millis((due - now).unsigned_abs());
            return wait.min(IDLE);
        }
        // What is on its way was received before, and comes first.
        if self.log.settle().is_err() {
            return RETRY;
        }
        if *self.log.end().borrow() > self.at.database.applied {
            return Duration::ZERO;
        }
        match self.at.ring(now) {
            Ok(_) => {
                self.applied.send_modify(|_| {});
                Duration::ZERO
            }
            Err(error) => {
                tracing::error!(%error, "what is due is not done; trying again");
                *failing = true;
                RETRY
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
            rules::forget(&change, nodes)?;
            messages::forget(&change, nodes)?;
            change.commit()?;
            place.forget();
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
        let made_by = (self.format.as_str(), self.rules.set.hash());
        let database = Database::open(&path, made_by, &self.log)?;
        let database = database.ok_or(DatabaseError::Unusable(path))?;
        tracing::info!("people are rebuilt from the log, beside those in use");
        let (limits, gone) = (self.limits.clone(), (self.gone)());
        let place = Place::new(&self.log, database, limits, gone, &self.rules);
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
        let (log, rules) = (Arc::clone(&self.log), Arc::clone(&self.rules.set));
        let Place { database, .. } = shadow;
        if let Err(error) = rules::carry(&database.connection, &path, &rules) {
            tracing::error!(%error, "what rules had still to do is lost: the state in use cannot be read");
        }
        database.close()?;
        let swapped = self.readers.while_closed(|| -> Result<Database, DatabaseError> {
            // Its own connection has to be closed before its file goes.
            self.at.database.let_go()?;
            Database::replace(&path, &self.data.join(SHADOW))?;
            Database::open(&path, (&format, rules.hash()), &log)?
                .ok_or(DatabaseError::Unusable(path.clone()))
        });
        let (limits, gone) = (self.limits.clone(), (self.gone)());
        self.at = Place::new(&self.log, swapped?, limits, gone, &self.rules);
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
    use rusqlite::Connection;

    use super::*;
    use crate::event_log::{FileSystem, NewEvent, Options, Retention, system_clock};

    fn open(folder: &Path, log: &Arc<EventLog>, email: u32) -> Result<Projection, DatabaseError> {
        let limits = people::Limits { email, ..people::Limits::default() };
        Projection::open(folder, log, limits, Arc::new(|| Arc::new(|_, _| false)), Rules::none())
    }

    /// Who is found by how a trait begins.
    fn found(of: &Projection, text: &str) -> usize {
        let search = |db: &Connection| people::search(db, text, 10);
        of.handle().readers.read(search).unwrap().len()
    }

    async fn identified(log: &EventLog, users: std::ops::Range<u64>) -> Offset {
        for n in users {
            let json = format!(
                r#"{{"type":"identify","messageId":"{n}","userId":"u-{n}","traits":{{"name":"Shopper {n}"}}}}"#
            );
            let event = NewEvent::new("web".parse().unwrap(), n.to_string(), "d", json);
            log.append([event]).await.unwrap();
        }
        *log.end().borrow()
    }

    #[tokio::test]
    async fn who_is_folded_is_found_after_a_crash_too() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let disk = Arc::new(FileSystem);
        let options = Options::default();
        let (log, _) = EventLog::open(&folder.join("log"), options, disk, system_clock()).unwrap();
        let log = Arc::new(log);
        let end = identified(&log, 0..3).await;
        let all = open(folder, &log, 5).unwrap();
        all.handle().wait_for(end).await;
        assert_eq!(found(&all, "shopper"), 3);
        drop(all);

        // As a crash leaves it that comes before the log's end: one was found already, the others' texts wait.
        let crashed = || {
            let db = Connection::open(folder.join(FILE)).unwrap();
            db.execute_batch(
                "DELETE FROM trait_text WHERE identifier > 16; UPDATE gathered SET below = 17;",
            )
            .unwrap();
        };
        crashed();
        let all = open(folder, &log, 5).unwrap();
        // Nothing else is new.
        let begun = Instant::now();
        while found(&all, "shopper") < 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "they are not found");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(all);

        crashed();
        let end = identified(&log, 3..5).await;
        let all = open(folder, &log, 5).unwrap();
        all.handle().wait_for(end).await;
        assert_eq!(found(&all, "shopper"), 5);
        drop(all);
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
