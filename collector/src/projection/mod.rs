//! The one fold over the log: a thread that reads it record by record and keeps what it comes to in one SQLite database.
//! Promises that state and offset change in one transaction, so that a crash neither skips a record nor counts one twice; that
//! the state is the same however the log is cut; that a rebuild is made beside the state in use and put in its place whole.
//! Deliberately holds nothing up: what appends to the log does not know of it.
//!
//! ```text
//! log ─▶ Reader ─▶ Fold::record × many ─▶ flush, offset, COMMIT ─▶ "applied up to N" ─▶ whoever waits
//!                     │                                          (rules have seen it, and the state has it)
//!                     ├ people, then rules, then messages: in the same transaction
//!                     └─▶ "looked at up to N" ─▶ whoever waits to hear that an event sets off nothing
//! ```

mod checkpointer;
mod database;
mod looked;
mod place;
mod readers;
mod runner;

use std::{
    panic::AssertUnwindSafe,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use crate::{
    event_log::{Clock, EventLog, Offset, Record},
    people, rules,
};
pub use database::DatabaseError;
use database::{Database, FORMAT};
use looked::Looked;
use place::Place;
pub(crate) use readers::Readers;
use runner::Runner;

/// The file of the state in use, in the data folder.
const FILE: &str = "people.db";
/// The file that a rebuild fills.
const SHADOW: &str = "people.rebuild.db";

/// So long is waited for those who read what an erasure takes away, and so often looked whether they have ended.
const READERS: Duration = Duration::from_secs(5);
const READ_AGAIN: Duration = Duration::from_millis(50);

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
    /// Where firings are counted.
    pub(crate) tally: Option<Arc<rules::Tally>>,
    /// Where it is told which events set something off.
    pub(crate) lately: Arc<rules::Lately>,
}

#[cfg(test)]
impl Rules {
    /// None at all.
    pub(crate) fn none() -> Self {
        let clock = crate::event_log::system_clock();
        let (in_force, lately) = (rules::InForce::default(), Arc::default());
        Self { set: Arc::default(), in_force, clock, tally: None, lately }
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
    /// Up to here its rules have seen everything: nothing, while what changed rules come to is still made from the log.
    judged: watch::Receiver<Offset>,
    /// Up to here its rules have looked at everything, and what they came to may still be on its way into the state.
    looked: Looked,
    /// Which events set something off lately.
    pub(crate) lately: Arc<rules::Lately>,
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
        let mut is_new = false;
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
                is_new = true;
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
            let gone = database.begin_rules(&rules.set)?;
            rules.tally.iter().for_each(|tally| tally.let_go(&gone));
        }
        if let Some(tally) = &rules.tally {
            // Where the past is folded again, nothing of it counts.
            match is_new || are_others && !from_here {
                true => tally.begin(*log.end().borrow(), Some((rules.clock)().unix_ms())),
                false => tally.begin(database.applied, None),
            }
        }
        rules.lately.begin(database.applied);
        let (applied, seen) = watch::channel(database.applied);
        // What other rules have come to is not these rules' word.
        let by_these = !are_others || from_here;
        let judged_until = if by_these { database.applied } else { Offset::START };
        let (judged, judged_seen) = watch::channel(judged_until);
        let (looked, looked_seen) = looked::channel(judged_until);
        let (rebuilding, rebuild) = watch::channel(None);
        let (orders, ordered) = channel();
        let handle = Handle {
            readers: Readers::new(path),
            applied: seen,
            judged: judged_seen,
            looked: looked_seen,
            lately: Arc::clone(&rules.lately),
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
            judged,
            looked,
            rebuilding,
            ordered,
            shadow: None,
        };
        let thread = std::thread::Builder::new()
            .name("projection".into())
            .spawn(move || {
                let run = AssertUnwindSafe(|| runner.run(are_others && !from_here));
                if std::panic::catch_unwind(run).is_err() {
                    tracing::error!(
                        "the thread that folds events has panicked: people and rules stand still until the collector is started again; please report what it said"
                    );
                }
            })
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
        // What ended it was said when it did.
        drop(self.thread.take().map(std::thread::JoinHandle::join));
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
        let begun = Instant::now();
        loop {
            let (answer, answered) = oneshot::channel();
            self.order(Order::Forget(nodes.clone(), answer));
            match answered.await.unwrap_or(Err(rusqlite::Error::InvalidQuery)) {
                // Somebody reads what was. Who folds does not wait for that; this does.
                Err(error) if database::is_busy(&error) && begun.elapsed() < READERS => {
                    tokio::time::sleep(READ_AGAIN).await;
                }
                forgotten => return forgotten,
            }
        }
    }

    /// Waits until the state has everything up to `offset`.
    pub(crate) async fn wait_for(&self, offset: Offset) {
        let _ = self.applied.clone().wait_for(|applied| *applied >= offset).await;
    }

    /// Waits until its rules have looked at everything up to `offset`, which the state need not have yet; false if they never will.
    pub(crate) async fn wait_for_a_look(&self, offset: Offset) -> bool {
        self.looked.wait_for(offset).await
    }

    /// Waits until its rules have seen everything up to `offset`, and the state has what they came to; false if they never will.
    pub(crate) async fn wait_for_rules(&self, offset: Offset) -> bool {
        self.judged.clone().wait_for(|judged| *judged >= offset).await.is_ok()
    }

    /// Whether anything is folded. Not after the thread has panicked: then only a restart helps.
    pub(crate) fn is_running(&self) -> bool {
        self.applied.has_changed().is_ok()
    }

    fn order(&self, order: Order) {
        // The thread ends only with the collector.
        let _ = self.orders.lock().unwrap_or_else(PoisonError::into_inner).send(order);
    }
}

#[cfg(test)]
mod tests;
