//! What is delivered once more because an operator asked for it: parked events, and ranges of the log.
//! Promises that a redriven event stays parked until it is delivered, and that a replay goes on where it was after a restart.
//! Deliberately leaves the cursor alone: these go out beside the events of the log, a bounded number at a time.

use std::io;

use super::{Job, Purpose, seek, wants::Wants};
use crate::{
    config::Name,
    event_log::{Clock, EventLog, Offset, ReadError, Record},
    limits::{AGAIN_AT_ONCE, CONSUMER_WINDOW_BYTES},
    state::{Replay, State, StateError},
};

/// What goes out next, beside the log.
#[derive(Debug, Default)]
pub(super) struct Again {
    pub(super) jobs: Vec<Job>,
    /// Said once all of `jobs` are done.
    pub(super) progress: Option<Progress>,
}

/// A replay is done up to here; `None`: all of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    number: i64,
    after: Option<Offset>,
}

/// Why it cannot be found out.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgainError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the event log could not be read: {0}")]
    Log(#[from] io::Error),
}

/// Where it is found.
pub(super) struct Shelf {
    pub(super) name: Name,
    pub(super) log: std::sync::Arc<EventLog>,
    pub(super) state: State,
    pub(super) clock: Clock,
    pub(super) wants: std::sync::Arc<Wants>,
}

impl Shelf {
    /// Remembers how far a replay is, and takes what comes next. Blocks.
    pub(super) fn take(&self, progress: Option<Progress>) -> Result<Again, AgainError> {
        if let Some(Progress { number, after }) = progress {
            self.state.replayed(number, after)?;
        }
        // Parked events first: there are fewer of them, and they are older.
        loop {
            let parked = self.state.to_redrive(&self.name, AGAIN_AT_ONCE)?;
            if parked.is_empty() {
                break;
            }
            let mut jobs = Vec::with_capacity(parked.len());
            let mut bytes = 0;
            for parked in parked {
                if bytes > CONSUMER_WINDOW_BYTES {
                    break;
                }
                let found = seek::record_at(&self.log, parked.record)?;
                // A log that was begun anew has another event there.
                let same = |record: &Record| {
                    *record.source == *parked.source && *record.message_id == *parked.message_id
                };
                match found.filter(same) {
                    Some(record) => {
                        bytes += record.json.len();
                        jobs.push(Job { record, purpose: Purpose::Redrive });
                    }
                    None => {
                        let reason = "it is not in the log any more; drop it";
                        let now = (self.clock)();
                        self.state.stay_parked(&self.name, parked.record, reason, now)?;
                    }
                }
            }
            if !jobs.is_empty() {
                return Ok(Again { jobs, progress: None });
            }
        }
        while let Some(replay) = self.state.replays(&self.name)?.into_iter().next() {
            let again = self.next_of(&replay)?;
            if !again.jobs.is_empty() {
                return Ok(again);
            }
            if let Some(Progress { number, after }) = again.progress {
                self.state.replayed(number, after)?;
            }
        }
        Ok(Again::default())
    }

    fn next_of(&self, replay: &Replay) -> io::Result<Again> {
        let mut reader = self.log.reader(Some(replay.after));
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        // A log that ends before the range does will not grow into it: what comes new is delivered anyway.
        let mut all = true;
        while reader.position() < replay.upto {
            if jobs.len() >= AGAIN_AT_ONCE || bytes > CONSUMER_WINDOW_BYTES {
                all = false;
                break;
            }
            match reader.next_chunk(AGAIN_AT_ONCE - jobs.len()) {
                Ok(records) if records.is_empty() => break,
                Ok(records) => {
                    bytes += records.iter().map(|record| record.json.len()).sum::<usize>();
                    let wanted = records
                        .into_iter()
                        .filter(|record| record.offset <= replay.upto && self.wants.admit(record));
                    jobs.extend(wanted.map(|record| Job { record, purpose: Purpose::Replay }));
                }
                Err(ReadError::Io(error)) => return Err(error),
                Err(damage) => {
                    tracing::error!(consumer = %self.name, %damage, "stored events will not be replayed");
                }
            }
        }
        let after = (!all).then(|| reader.position());
        Ok(Again { jobs, progress: Some(Progress { number: replay.number, after }) })
    }
}
