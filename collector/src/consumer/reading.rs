//! Where a consumer's events come from: the log, and what is to be delivered again.
//! Promises that it reads in another thread, so that what is there already goes out meanwhile, and never beyond its window.
//! Deliberately delivers nothing.

use std::sync::Arc;

use super::{
    Consumer, Ended, Job, Loop, Purpose, Reading,
    again::{Again, AgainError, Shelf},
};
use crate::{
    event_log::ReadError,
    limits::{CONSUMER_WINDOW_BYTES, CURSOR_PAUSE},
    sinks::Sink,
};

impl<S: Sink> Consumer<S> {
    /// Fills the window from the log, in another thread: what is there already goes out meanwhile.
    pub(super) fn read(&self, state: &mut Loop) {
        let room = state.room();
        if room == 0 || state.is_read(&self.around.log) {
            return;
        }
        let Some(mut reader) = state.reader.take() else { return };
        let wants = Arc::clone(&self.wants);
        state.work.spawn_blocking(move || {
            let (mut found, mut bytes, mut error) = (Vec::new(), 0, None);
            while found.len() < room && bytes < CONSUMER_WINDOW_BYTES {
                match reader.next_chunk(room - found.len()) {
                    Ok(records) if records.is_empty() => break,
                    Ok(records) => found.extend(records.into_iter().map(|record| {
                        bytes += record.json.len();
                        let (offset, wanted) = (record.offset, wants.admit(&record));
                        let job = wanted.then(|| Arc::new(Job { record, purpose: Purpose::Live }));
                        (offset, job)
                    })),
                    Err(failed) => {
                        if let ReadError::Io(_) = failed {
                            std::thread::sleep(CURSOR_PAUSE);
                        }
                        error = Some(failed);
                        break;
                    }
                }
            }
            Ended::Read(Box::new(Reading { reader, found, error }))
        });
    }

    pub(super) fn was_read(&self, state: &mut Loop, reading: Reading) {
        let Reading { reader, found, error } = reading;
        for (offset, job) in found {
            match job {
                Some(job) => {
                    let (lane, bytes) = (job.record.order_key.clone(), job.record.json.len());
                    state.lanes.add(offset, &lane, bytes, job);
                }
                None => state.lanes.skip(offset),
            }
            state.read_to = offset;
        }
        match error {
            None => {}
            Some(ReadError::Io(error)) => {
                tracing::warn!(consumer = %self.name, %error, "cannot read the event log");
            }
            Some(damage) => {
                tracing::error!(consumer = %self.name, %damage, "stored events will not be delivered");
            }
        }
        // What the log passed over, erased or damaged, is done.
        let position = reader.position();
        if position > state.read_to {
            state.lanes.skip(position);
            state.read_to = position;
        }
        state.reader = Some(reader);
    }

    /// Looks for what is to be delivered again, once what was found is done.
    pub(super) fn look_again(&self, state: &mut Loop) {
        if !state.look_again || state.looking || state.lanes.again() > 0 {
            return;
        }
        (state.look_again, state.looking, state.looks_stale) = (false, true, false);
        let shelf = Shelf {
            name: self.name.clone(),
            log: Arc::clone(&self.around.log),
            state: self.around.state.clone(),
            clock: Arc::clone(&self.around.clock),
            wants: Arc::clone(&self.wants),
        };
        let progress = state.progress.take();
        state.work.spawn_blocking(move || {
            let again = shelf.take(progress);
            if again.is_err() {
                std::thread::sleep(CURSOR_PAUSE);
            }
            Ended::Again(again)
        });
    }

    pub(super) fn is_again(&self, state: &mut Loop, again: Result<Again, AgainError>) {
        state.looking = false;
        match again {
            // Some of them may have been dropped since: those that are left are found again.
            Ok(Again { jobs, .. })
                if state.looks_stale && jobs.iter().any(|job| job.purpose == Purpose::Redrive) =>
            {
                state.look_again = true;
            }
            Ok(Again { jobs, progress }) => {
                state.progress = progress;
                for job in jobs {
                    let (lane, bytes) = (job.record.order_key.clone(), job.record.json.len());
                    state.lanes.add_again(&lane, bytes, Arc::new(job));
                }
            }
            Err(error) => {
                tracing::warn!(consumer = %self.name, %error, "cannot deliver events again yet");
                state.look_again = true;
            }
        }
    }
}
