//! A state, and the step from one to the next: records in, one transaction, the offset with it.
//! Promises that a step is taken whole or not at all. Deliberately knows no thread: who steps decides when.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Rules,
    database::{self, Database},
    looked::Looking,
};
use crate::{
    event_log::{EventLog, ReadError, Reader},
    messages, people, rules,
};

/// Records of one transaction: at a busy log's end they are as many as came meanwhile, in a replay enough that committing does
/// not count.
const RECORDS: usize = 8_192;
/// How often texts are written that people are found by, while more come in: each is on a page of its own.
const GATHER: Duration = Duration::from_millis(250);

/// A state, and where in the log it is.
pub(super) struct Place {
    pub(super) database: Database,
    reader: Reader,
    log: Arc<EventLog>,
    people: people::Fold,
    /// None where the state was made by others, until one that is made by these takes its place.
    rules: Option<rules::Fold>,
    /// When the texts were last written that people are found by.
    gathered: Option<Instant>,
}

impl Place {
    pub(super) fn new(
        log: &Arc<EventLog>,
        database: Database,
        limits: people::Limits,
        gone: people::Gone,
        rules: &Rules,
    ) -> Self {
        let reader = log.reader(Some(database.applied));
        let is_theirs = database.rules == rules.set.hash() && !rules.set.is_empty();
        let fold = || {
            let mut fold = rules::Fold::new(Arc::clone(&rules.set), Arc::clone(&rules.in_force));
            fold.tell(rules.tally.clone(), Arc::clone(&rules.lately));
            fold
        };
        Self {
            database,
            reader,
            log: Arc::clone(log),
            people: people::Fold::new(limits, gone),
            rules: is_theirs.then(fold),
            gathered: None,
        }
    }

    /// Whether it is folded by rules: not where others than these have made it, until one that these make takes its place.
    pub(super) fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// Folds in what follows, up to a transaction's worth, for at most this long. Whether anything did. Whoever waits for what rules
    /// say is told how far they have looked, before that is committed: the same log comes to the same, also after a crash.
    pub(super) fn step(
        &mut self,
        at_most: Duration,
        looked: Option<&Looking>,
    ) -> Result<bool, StepError> {
        let stepped = self.try_step(at_most, looked.filter(|_| self.rules.is_some()));
        if stepped.is_err() {
            // What was folded was rolled back with the transaction.
            self.forget();
            self.reader.seek(self.database.applied);
        }
        stepped
    }

    pub(super) fn forget(&mut self) {
        self.people.forget();
        if let Some(rules) = &mut self.rules {
            rules.forget();
        }
    }

    /// How long until texts are to be written that people are found by, if some wait.
    pub(super) fn gather_in(&self) -> Option<Duration> {
        let since = self.gathered.map_or(GATHER, |at| at.elapsed());
        self.people.waits().then(|| GATHER.saturating_sub(since))
    }

    /// When something is due first, whatever comes.
    pub(super) fn next_due(&mut self) -> Result<Option<i64>, StepError> {
        let Some(rules) = &mut self.rules else { return Ok(None) };
        Ok(rules.next_due(&self.database.connection)?)
    }

    /// Does what is due by `now_ms`, when the log has been read up to then: all that it takes later it takes after that. Whether
    /// anything was.
    pub(super) fn ring(&mut self, now_ms: i64) -> Result<bool, StepError> {
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
        rules.committed(applied, Some(now_ms));
        self.database.committed();
        Ok(any)
    }

    fn try_step(&mut self, at_most: Duration, looked: Option<&Looking>) -> Result<bool, StepError> {
        let (begun, from) = (Instant::now(), self.database.applied);
        let change = self.database.begin()?;
        let (mut folded, mut last, mut at_end, mut is_awaited) = (0, None, false, false);
        while folded < RECORDS && begun.elapsed() < at_most && !is_awaited {
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
                    if let Some(looked) = looked {
                        looked.reached(self.reader.position());
                        // Who asked is not answered before that can be read.
                        is_awaited = self.rules.as_ref().is_some_and(rules::Fold::has_decided);
                    }
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
        if let Some(rules) = &mut self.rules {
            rules.committed(applied, None);
        }
        self.database.applied = applied;
        self.database.committed();
        Ok(true)
    }
}

/// Why a step was not taken. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("the database of people cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the event log could not be read: {0}")]
    Log(std::io::Error),
}

impl StepError {
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Database(error) if database::is_damage(error))
    }

    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Database(error) if database::is_full(error))
    }
}
