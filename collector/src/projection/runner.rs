//! The thread that folds: steps when there is something, does what is due, rebuilds beside the state in use and puts the new one in
//! its place.
//! Promises that what fails is tried again and said once. Deliberately folds nothing itself.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    Erasures, FILE, Order, Readers, Rebuild, Rules, SHADOW,
    database::{Database, DatabaseError},
    looked::Looking,
    lost_its_beginning,
    place::Place,
};
use crate::{
    event_log::{EventLog, Offset},
    messages, people, rules,
};

/// From one transaction's beginning to the next: what comes in meanwhile shares it, and the pages that it writes. Measured at 10,000
/// events/s: 5 to 10 % less of the thread's time than one right after the other.
const PACE: Duration = Duration::from_millis(4);
/// A transaction is not kept open for longer, so that what was read is seen, and what comes in meanwhile does not wait for all that
/// has piled up before it. A rebuild's is not either, beside which what comes in is to be seen in time.
const AT_MOST: Duration = Duration::from_millis(15);
/// The same far behind the log, where committing would take longer than it is worth.
const BEHIND_AT_MOST: Duration = Duration::from_millis(250);
/// With more records than these to fold, a step may take seconds: nobody sees what came last for as long anyway.
const FAR_BEHIND: u64 = 50_000;
/// After the database failed: short for who waits for a profile, long for a full disk.
const RETRY: Duration = Duration::from_millis(500);
/// Without anything to do: whoever has something says so.
const IDLE: Duration = Duration::from_secs(3600);
/// After so long with nothing to fold, what has piled up on the disk is put in order.
const QUIET: Duration = Duration::from_secs(1);
/// How often a rebuild says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// The thread.
pub(super) struct Runner {
    pub(super) gone: Erasures,
    pub(super) data: PathBuf,
    pub(super) format: String,
    pub(super) limits: people::Limits,
    pub(super) rules: Rules,
    pub(super) log: Arc<EventLog>,
    pub(super) readers: Readers,
    pub(super) at: Place,
    pub(super) applied: watch::Sender<Offset>,
    pub(super) judged: watch::Sender<Offset>,
    pub(super) looked: Looking,
    pub(super) rebuilding: watch::Sender<Option<Rebuild>>,
    pub(super) ordered: Receiver<Order>,
    pub(super) shadow: Option<(Place, Instant)>,
}

impl Runner {
    pub(super) fn run(mut self, rules_changed: bool) {
        let mut failing = false;
        // Since when it is quiet, until what has piled up is put in order.
        let mut quiet_since = Some(Instant::now());
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
            let moved = self.step(&mut failing);
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
            match quiet_since {
                _ if pause.is_zero() => quiet_since = Some(Instant::now()),
                Some(since) if since.elapsed() >= QUIET => {
                    self.at.database.tidy();
                    quiet_since = None;
                }
                _ => {}
            }
            let pause =
                quiet_since.map_or(pause, |since| pause.min(QUIET.saturating_sub(since.elapsed())));
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

    /// Folds in what has come, and says what keeps it from that, once. Whether anything had come.
    fn step(&mut self, failing: &mut bool) -> bool {
        let Place { database, .. } = &mut self.at;
        let behind = self.log.end().borrow().since(database.applied);
        database.is_behind = behind > FAR_BEHIND;
        let at_most = if database.is_behind { BEHIND_AT_MOST } else { AT_MOST };
        match self.at.step(at_most, Some(&self.looked)) {
            Ok(moved) => {
                if std::mem::take(failing) {
                    tracing::info!("the projection goes on");
                }
                if moved {
                    self.tell();
                }
                moved
            }
            Err(error) => {
                if !std::mem::replace(failing, true) {
                    tracing::error!(%error, "people are not kept up to date; trying again");
                    if error.is_damage() {
                        self.mend();
                    }
                }
                if error.is_full() {
                    // What the log of changes takes may be all that is missing.
                    if let Err(error) = self.at.database.truncate_changes() {
                        tracing::debug!(%error, "the log of changes cannot be let go");
                    }
                }
                false
            }
        }
    }

    /// Tells whoever waits how far the state in use is, and how far rules have seen it.
    fn tell(&self) {
        let applied = self.at.database.applied;
        if self.at.has_rules() || self.rules.set.is_empty() {
            self.looked.reached(applied);
            self.judged.send_replace(applied);
        }
        self.applied.send_replace(applied);
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
        let mut let_go = Ok(());
        for place in [Some(&mut self.at), shadow].into_iter().flatten() {
            let change = place.database.begin()?;
            people::forget(&change, nodes)?;
            rules::forget(&change, nodes)?;
            messages::forget(&change, nodes)?;
            change.commit()?;
            place.forget();
            // Nor in the log of changes; but nothing would be folded while who reads from it is waited for.
            let_go = let_go.and(place.database.truncate_changes_at_once());
        }
        self.applied.send_modify(|_| {});
        let_go
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
        let moved = match shadow.step(AT_MOST, None) {
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
        let gone = rules::carry(&database.connection, &path, &rules).unwrap_or_else(|error| {
            tracing::error!(%error, "what rules had still to do is lost: the state in use cannot be read");
            rules::LetGo::new()
        });
        database.close()?;
        let swapped = self.readers.while_closed(|| -> Result<Database, DatabaseError> {
            // Its own connection has to be closed before its file goes.
            self.at.database.let_go()?;
            Database::replace(&path, &self.data.join(SHADOW))?;
            Database::open(&path, (&format, rules.hash()), &log)?
                .ok_or(DatabaseError::Unusable(path.clone()))
        });
        let (limits, erased) = (self.limits.clone(), (self.gone)());
        self.at = Place::new(&self.log, swapped?, limits, erased, &self.rules);
        self.rules.tally.iter().for_each(|tally| tally.let_go(&gone));
        self.tell();
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
