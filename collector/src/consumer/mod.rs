//! One loop per consumer: read from its cursor, deliver in order per order key, retry, park, advance.
//! Promises that each event it wants is delivered at least once or parked with its reason, and that a
//! destination that is down stops nobody else. Deliberately knows neither how a sink delivers nor how
//! the log stores: it is only told that the log now ends at an offset.

mod backoff;
mod lanes;

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    config::{EventFilter, Name},
    event_log::{Clock, EventLog, Offset, ReadError, Reader, Record},
    limits::{
        CONSUMER_WINDOW, CURSOR_PAUSE, DELIVERIES_IN_FLIGHT, DRAIN, READ_CHUNK, REFUSAL_PAUSE,
        REFUSALS_BEFORE_PARKING,
    },
    metrics::Metrics,
    sinks::{Parcel, Sink, Verdict},
    state::{Parked, State, StateError},
};
use lanes::{Lanes, Ticket};

/// What every consumer works with.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) log: Arc<EventLog>,
    pub(crate) state: State,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
}

/// A named reader of the log that delivers to a sink.
pub(crate) struct Consumer<S> {
    name: Name,
    wants: Option<EventFilter>,
    sink: Arc<S>,
    around: Surroundings,
    /// How far it has got, for whoever measures its lag.
    cursor: watch::Sender<Offset>,
}

/// The loop's state.
struct Loop {
    lanes: Lanes<Arc<Record>>,
    reader: Reader,
    read_all: bool,
    work: JoinSet<Ended>,
    in_flight: usize,
    destination: Destination,
    refusals: HashMap<Ticket, u32>,
    saved: Offset,
    save_at: Instant,
}

/// What is known about the other side.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Destination {
    /// It takes events, or nothing else is known.
    Healthy,
    /// It failed this often in a row and is left alone until then.
    BackingOff { failures: u32, until: Instant },
    /// It failed this often in a row, and gets one event to show that it is back.
    Probed { failures: u32 },
}

/// A task of the loop's ended.
enum Ended {
    Delivery(Ticket, Verdict),
    Rest(Ticket),
}

impl<S: Sink> Consumer<S> {
    /// Starts at its cursor; a new one starts at the beginning of the log.
    pub(crate) fn open(
        name: Name,
        wants: Option<EventFilter>,
        sink: S,
        around: Surroundings,
    ) -> Result<Self, StateError> {
        let end = *around.log.end().borrow();
        let mut cursor = around.state.cursor(&name)?.unwrap_or(Offset::START);
        if cursor > end {
            // The log was replaced by an older or an empty one. To wait for it to grow would skip events.
            tracing::error!(consumer = %name, %cursor, %end,
                "the cursor is beyond the end of the log; starting over from its beginning");
            cursor = Offset::START;
        }
        around.metrics.parked(name.as_str(), around.state.parked(&name)?.len() as u64);
        let cursor = watch::Sender::new(cursor);
        Ok(Self { name, wants, sink: Arc::new(sink), around, cursor })
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Where its cursor stands, now and later.
    pub(crate) fn cursor(&self) -> watch::Receiver<Offset> {
        self.cursor.subscribe()
    }

    /// Delivers until `stop`, then finishes what is in flight and saves the cursor.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut end = self.around.log.end();
        let start = *self.cursor.borrow();
        let mut state = Loop {
            lanes: Lanes::new(start),
            reader: self.around.log.reader(Some(start)),
            read_all: false,
            work: JoinSet::new(),
            in_flight: 0,
            destination: Destination::Healthy,
            refusals: HashMap::new(),
            saved: start,
            save_at: Instant::now(),
        };
        loop {
            if !state.read_all {
                state = self.read(state).await;
            }
            self.send(&mut state);
            let unsaved = state.lanes.watermark() != state.saved;
            if unsaved && Instant::now() >= state.save_at {
                self.save_cursor(&mut state).await;
                continue;
            }
            // Records that nobody wants leave the window at once: then there is room for more.
            let room = !state.read_all && state.lanes.len() <= CONSUMER_WINDOW - READ_CHUNK;
            let backing_off = match state.destination {
                Destination::BackingOff { failures, until } => Some((failures, until)),
                _ => None,
            };
            tokio::select! {
                () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
                Some(ended) = state.work.join_next() => self.ended(&mut state, ended).await,
                changed = end.changed(), if state.read_all => match changed {
                    Ok(()) => state.read_all = false,
                    Err(_closed) => break,
                },
                () = wait_until(backing_off.map(|(_, until)| until)) => {
                    let failures = backing_off.map_or(0, |(failures, _)| failures);
                    state.destination = Destination::Probed { failures };
                }
                () = sleep_until(state.save_at), if unsaved => {}
                () = std::future::ready(()), if room => {}
            }
        }
        let finish = timeout(DRAIN, async {
            while state.in_flight > 0
                && let Some(ended) = state.work.join_next().await
            {
                self.ended(&mut state, ended).await;
            }
        });
        // What did not end in time is delivered again after the next start.
        drop(finish.await);
        self.save_cursor(&mut state).await;
    }

    /// Fills the window from the log.
    async fn read(&self, mut state: Loop) -> Loop {
        // Not for a few free places: reading costs a trip to another thread.
        if state.lanes.len() > CONSUMER_WINDOW - READ_CHUNK {
            return state;
        }
        let Loop { mut reader, .. } = state;
        let read = spawn_blocking(move || {
            let records = reader.next_chunk(READ_CHUNK);
            (reader, records)
        });
        let records;
        (reader, records) = match read.await {
            Ok(read) => read,
            Err(panic) => {
                tracing::error!(consumer = %self.name, %panic, "reading the log failed");
                (self.around.log.reader(Some(state.lanes.watermark())), Ok(Vec::new()))
            }
        };
        state.reader = reader;
        match records {
            Ok(records) => {
                state.read_all = records.is_empty();
                for record in records {
                    if self.wants(&record) {
                        let (offset, lane) = (record.offset, record.order_key.clone());
                        state.lanes.add(offset, lane, Arc::new(record));
                    } else {
                        state.lanes.skip(record.offset);
                    }
                }
            }
            Err(ReadError::Io(error)) => {
                tracing::warn!(consumer = %self.name, %error, "cannot read the event log");
                sleep(CURSOR_PAUSE).await;
            }
            Err(damage) => {
                tracing::error!(consumer = %self.name, %damage, "stored events will not be delivered");
            }
        }
        state
    }

    fn wants(&self, record: &Record) -> bool {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            r#type: std::borrow::Cow<'a, str>,
            #[serde(borrow, default)]
            event: Option<std::borrow::Cow<'a, str>>,
        }
        let Some(wants) = &self.wants else { return true };
        match serde_json::from_str::<Named<'_>>(&record.json) {
            Ok(named) => {
                let name = named.event.as_deref().filter(|_| named.r#type == "track");
                wants.admits(&named.r#type, name)
            }
            // Validation let it in, so this does not happen; rather one too many than one too few.
            Err(_) => true,
        }
    }

    /// Sends what may go out now.
    fn send(&self, state: &mut Loop) {
        let most = match state.destination {
            Destination::Healthy => DELIVERIES_IN_FLIGHT,
            Destination::Probed { .. } => 1,
            Destination::BackingOff { .. } => 0,
        };
        while state.in_flight < most {
            let Some((ticket, record)) = state.lanes.next() else { return };
            let (sink, id) = (Arc::clone(&self.sink), self.delivery_id(&record));
            state.in_flight += 1;
            state.work.spawn(async move {
                let mut line = Vec::with_capacity(record.json.len() + 256);
                record.write_line(&mut line);
                let parcel = Parcel { id, order_key: record.order_key.clone(), line: line.into() };
                Ended::Delivery(ticket, sink.deliver(&[parcel]).await)
            });
        }
    }

    async fn ended(&self, state: &mut Loop, ended: Result<Ended, tokio::task::JoinError>) {
        let (ticket, verdict) = match ended {
            Ok(Ended::Rest(ticket)) => return state.lanes.put_back(ticket),
            Ok(Ended::Delivery(ticket, verdict)) => (ticket, verdict),
            Err(panic) => {
                // Which event it was is lost with the task; a fresh start from the watermark has it.
                tracing::error!(consumer = %self.name, %panic, "a delivery failed; starting over");
                let watermark = state.lanes.watermark();
                state.work.abort_all();
                while state.work.join_next().await.is_some() {}
                state.lanes = Lanes::new(watermark);
                state.reader.seek(watermark);
                state.refusals.clear();
                (state.in_flight, state.read_all) = (0, false);
                return self.back_off(state, "a delivery panicked", None);
            }
        };
        state.in_flight -= 1;
        self.around.metrics.delivery(self.name.as_str(), verdict.as_str());
        match verdict {
            Verdict::Delivered => {
                self.healthy(state);
                state.refusals.remove(&ticket);
                state.lanes.done(ticket);
            }
            Verdict::Refused { reason } => {
                self.healthy(state);
                let refusals = state.refusals.entry(ticket).or_default();
                *refusals += 1;
                if *refusals < REFUSALS_BEFORE_PARKING {
                    let rest = REFUSAL_PAUSE * *refusals;
                    state.work.spawn(async move {
                        sleep(rest).await;
                        Ended::Rest(ticket)
                    });
                } else {
                    self.park(state, ticket, reason).await;
                }
            }
            Verdict::Gone { reason } => {
                state.lanes.put_back(ticket);
                self.back_off(state, &reason, None);
            }
            Verdict::Unavailable { reason, retry_after } => {
                state.lanes.put_back(ticket);
                self.back_off(state, &reason, retry_after);
            }
        }
    }

    fn healthy(&self, state: &mut Loop) {
        if state.destination != Destination::Healthy {
            tracing::info!(consumer = %self.name, "the destination answers again");
            state.destination = Destination::Healthy;
        }
    }

    fn back_off(&self, state: &mut Loop, reason: &str, retry_after: Option<Duration>) {
        let failures = match state.destination {
            Destination::Healthy => 1,
            Destination::Probed { failures } => failures.saturating_add(1),
            // Others that were under way when the first failed: one outage counts once.
            Destination::BackingOff { failures, .. } => failures,
        };
        let pause = backoff::pause(failures, retry_after, random());
        let mut until = Instant::now() + pause;
        match state.destination {
            Destination::BackingOff { until: earlier, .. } => until = until.max(earlier),
            _ => tracing::warn!(consumer = %self.name, reason, failures, ?pause,
                "the destination is unavailable; its events wait in the log"),
        }
        state.destination = Destination::BackingOff { failures, until };
    }

    /// Sets an event aside, so that those behind it can go on.
    async fn park(&self, state: &mut Loop, ticket: Ticket, reason: String) {
        let Some(record) = state.lanes.get(ticket) else { return };
        tracing::warn!(consumer = %self.name, offset = %record.offset, reason,
            "the destination refuses an event; it is parked");
        let parked = Parked {
            record: record.offset,
            source: record.source.to_string(),
            message_id: record.message_id.to_string(),
            reason,
            parked_at: (self.around.clock)(),
        };
        let (database, name) = (self.around.state.clone(), self.name.clone());
        let count = spawn_blocking(move || {
            database.park(&name, &parked)?;
            Ok::<_, StateError>(database.parked(&name)?.len())
        });
        match count.await {
            Ok(Ok(count)) => {
                self.around.metrics.parked(self.name.as_str(), count as u64);
                state.refusals.remove(&ticket);
                state.lanes.done(ticket);
            }
            Ok(Err(error)) => {
                state.lanes.put_back(ticket);
                self.back_off(state, &error.to_string(), None);
            }
            Err(panic) => {
                state.lanes.put_back(ticket);
                self.back_off(state, &panic.to_string(), None);
            }
        }
    }

    async fn save_cursor(&self, state: &mut Loop) {
        let watermark = state.lanes.watermark();
        let (database, name) = (self.around.state.clone(), self.name.clone());
        let saved = spawn_blocking(move || database.save_cursor(&name, watermark)).await;
        match saved {
            Ok(Ok(())) => {
                state.saved = watermark;
                self.cursor.send_replace(watermark);
            }
            Ok(Err(error)) => {
                tracing::warn!(consumer = %self.name, %error, "cannot save the cursor");
            }
            Err(panic) => tracing::error!(consumer = %self.name, %panic, "cannot save the cursor"),
        }
        state.save_at = Instant::now() + CURSOR_PAUSE;
    }

    /// The same for every attempt, also after a restart, and different for every consumer: what a
    /// receiver deduplicates on. Not the offset: a log that is begun anew counts from 1 again.
    fn delivery_id(&self, record: &Record) -> String {
        let mut hash = Sha256::new();
        for part in [self.name.as_str(), &record.source, &record.message_id] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize()[..16].iter().fold("msg_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
    }
}

async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// In 0..1. Without randomness every pause is as long as it can be.
fn random() -> f64 {
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}
