//! One loop per consumer: read from its cursor, deliver in order per order key, retry, park, advance.
//! Promises that each event it wants is delivered at least once or parked with its reason, and that a
//! destination that is down stops nobody else. Deliberately knows neither how a sink delivers nor how
//! the log stores: it is only told that the log now ends at an offset.
//!
//! ```text
//!  log ─▶ wants ─▶ lanes ─▶ delivering ─▶ sink        control: what operators order
//!                    ▲         │ verdict  (or pull: a reader)
//!  again ────────────┘         ▼
//!  parked, replays          destination: who is to blame?
//! ```

mod again;
mod control;
mod delivering;
mod destination;
mod lanes;
mod orders;
mod pull;
mod reading;
mod seek;
#[cfg(test)]
mod tests;
mod wants;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep_until, timeout},
};

pub(crate) use control::{Consumers, Handle, Listed, OrderError, Standing, Status};
pub(crate) use pull::Lease;
pub(crate) use seek::Place;

use crate::{
    config::{ConsumerConfig, Name, RetrySchedule},
    event_log::{Clock, EventLog, Offset, ReadError, Reader, Record},
    limits::{
        CONSUMER_ORDERS, CONSUMER_READ, CONSUMER_SPAN, CONSUMER_WINDOW, CONSUMER_WINDOW_BYTES,
        CURSOR_PAUSE, DRAIN, MAX_PAGE, RECENTLY_ALIVE,
    },
    metrics::Metrics,
    sinks::{Sink, Verdict},
    state::{Pause, Reached, State, StateError},
};
use again::{Again, AgainError, Progress};
use control::Order;
use destination::Destination;
use lanes::{Lanes, Ticket, Turn};
use wants::Wants;

/// What every consumer works with.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) log: Arc<EventLog>,
    pub(crate) state: State,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
}

/// A named reader of the log.
pub(crate) struct Consumer<S> {
    name: Name,
    wants: Arc<Wants>,
    retry: RetrySchedule,
    outlet: Outlet<S>,
    around: Surroundings,
    paused: Option<Pause>,
    /// Where it goes on.
    start: Reached,
    /// How far it has got, for whoever measures its lag.
    cursor: watch::Sender<Offset>,
    status: watch::Sender<Status>,
    orders: mpsc::Receiver<Order>,
    handle: Handle,
}

/// Where its events go.
pub(crate) enum Outlet<S> {
    /// To a destination.
    Push(Arc<S>),
    /// To whoever fetches them, for so long.
    Pull { lease: Duration },
}

/// An event on its way, and why.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) record: Record,
    pub(crate) purpose: Purpose,
}

/// Why an event is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The consumer has come to it.
    Live,
    /// An operator wants this range once more.
    Replay,
    /// It was parked, and an operator wants it tried again.
    Redrive,
}

/// The loop's state.
struct Loop {
    lanes: Lanes<Arc<Job>>,
    /// `None` while it is read from.
    reader: Option<Reader>,
    /// Read, or passed over, up to here.
    read_to: Offset,
    work: JoinSet<Ended>,
    in_flight: usize,
    destination: Destination,
    paused: Option<Pause>,
    trouble: HashMap<Ticket, Trouble>,
    /// Most events of a delivery: halved by each that fails, doubled by each that passes. One event that always fails would
    /// otherwise hold up all that go with it.
    at_once: usize,
    /// When the destination last took something.
    took_at: Option<Instant>,
    /// How many events were refused for the first time since one was delivered.
    refused_in_a_row: u32,
    /// Events that wait until then before they may go again.
    resting: Vec<(Instant, Vec<Ticket>)>,
    leases: pull::Leases,
    /// Whether something may be there to deliver again.
    look_again: bool,
    looking: bool,
    /// What is looked for was dropped in part since it was begun.
    looks_stale: bool,
    progress: Option<Progress>,
    /// Redriven events that were dropped meanwhile: they are done as soon as nobody has them.
    dropped: HashSet<Ticket>,
    parked: u64,
    window: usize,
    /// What was done when it was saved; `None` if nobody knows.
    saved: Option<(Offset, u64)>,
    save_at: Instant,
}

/// How an event has failed.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    /// How often a healthy destination refused it.
    refusals: u32,
    /// How often it could not be taken, for whatever reason.
    attempts: u32,
    /// How often others were taken then.
    failures: u32,
}

/// A task of the loop's ended.
enum Ended {
    Delivery(Vec<Ticket>, Verdict),
    Read(Box<Reading>),
    Again(Result<Again, AgainError>),
}

/// What one trip to the log brought.
struct Reading {
    reader: Reader,
    found: Vec<(Offset, Option<Arc<Job>>)>,
    error: Option<ReadError>,
}

impl Loop {
    fn new(start: Reached, log: &EventLog) -> Self {
        let after = start.after;
        Self {
            lanes: Lanes::new(start),
            reader: Some(log.reader(Some(after))),
            read_to: after,
            work: JoinSet::new(),
            in_flight: 0,
            destination: Destination::Healthy,
            paused: None,
            trouble: HashMap::new(),
            at_once: usize::MAX,
            took_at: None,
            refused_in_a_row: 0,
            resting: Vec::new(),
            leases: pull::Leases::default(),
            look_again: true,
            looking: false,
            looks_stale: false,
            progress: None,
            dropped: HashSet::new(),
            parked: 0,
            window: CONSUMER_WINDOW,
            saved: Some((after, 0)),
            save_at: Instant::now(),
        }
    }

    /// Whether everything that is in the log was read.
    fn is_read(&self, log: &EventLog) -> bool {
        self.read_to >= *log.end().borrow()
    }

    /// How many records may be read now.
    fn room(&self) -> usize {
        let span = self.window * CONSUMER_SPAN;
        let room = self.window.saturating_sub(self.lanes.unfinished());
        let room = room.min(span.saturating_sub(self.lanes.len())).min(CONSUMER_READ);
        // Not for a few free places: reading costs a trip to another thread. But where something fails, every event that
        // can be compared with it counts.
        let enough = room == CONSUMER_READ || self.destination != Destination::Healthy;
        if enough && self.lanes.bytes() <= CONSUMER_WINDOW_BYTES { room } else { 0 }
    }

    /// Whether events above suspicion are kept for comparison: without any, nobody could be blamed, and those that fail
    /// would hold up everything for ever.
    fn holds_back(&self) -> bool {
        self.destination == Destination::Healthy
            && self.trouble.values().any(|trouble| trouble.attempts > 0)
            && (self.lanes.len() > self.window * (CONSUMER_SPAN - 1)
                || self.trouble.len() > self.window / 2)
    }

    /// Changes with what is done.
    fn progress_made(&self) -> (Offset, u64) {
        (self.lanes.watermark(), self.lanes.settled())
    }

    fn is_saved(&self) -> bool {
        self.saved == Some(self.progress_made())
    }

    /// Whether it has failed before, so that a failure now may be its own.
    fn suspects(&self, ticket: Ticket) -> bool {
        self.trouble.get(&ticket).is_some_and(|trouble| trouble.attempts > 0)
    }

    /// Whether the destination took something not long ago.
    fn is_alive(&self) -> bool {
        self.took_at.is_some_and(|at| at.elapsed() < RECENTLY_ALIVE)
    }

    /// When the destination may be tried again.
    fn probed_at(&self) -> Option<Instant> {
        let untried = || self.is_alive() || self.lanes.has_ready(|ticket| self.suspects(ticket));
        matches!(self.destination, Destination::BackingOff { .. })
            .then(|| self.destination.probed_at(untried()))?
    }

    /// When it has something to do without anything happening.
    fn wake_at(&self) -> Option<Instant> {
        let resting = self.resting.iter().map(|(until, _)| *until);
        let probe = self.probed_at();
        let save = (!self.is_saved()).then_some(self.save_at);
        // While the log is read nobody is told that there is nothing: the end of the reading wakes it.
        let readers = self.reader.as_ref().and_then(|_| self.leases.waited_until());
        resting.chain(probe).chain(save).chain(self.leases.next_end()).chain(readers).min()
    }

    /// These rest no longer; which of them did.
    fn end_rest(&mut self, tickets: &[Ticket]) -> Vec<Ticket> {
        let rested = |ticket: &Ticket| self.resting.iter().any(|(_, all)| all.contains(ticket));
        let ended: Vec<_> = tickets.iter().copied().filter(rested).collect();
        for (_, resting) in &mut self.resting {
            resting.retain(|ticket| !ended.contains(ticket));
        }
        self.resting.retain(|(_, resting)| !resting.is_empty());
        ended
    }
}

impl<S: Sink> Consumer<S> {
    /// Starts at its cursor; a new one starts at the beginning of the log.
    pub(crate) fn open(
        name: Name,
        config: &ConsumerConfig,
        kind: &'static str,
        outlet: Outlet<S>,
        around: Surroundings,
    ) -> Result<Self, StateError> {
        let end = *around.log.end().borrow();
        let mut start = around.state.reached(&name)?.unwrap_or_default();
        // What is found wrong here is put right in the database too: a consumer that gets on with nothing does not save, and by
        // the next start the log may have grown past the old cursor.
        if start.after > end {
            // The log was replaced by an older or an empty one. To wait for it to grow would skip events.
            tracing::error!(consumer = %name, cursor = %start.after, %end,
                "the cursor is beyond the end of the log; starting over from its beginning");
            start = Reached::default();
            around.state.save_reached(&name, &start)?;
        }
        if start.done_above.last().is_some_and(|range| *range.end() > end) {
            // For the same reason: what will stand there is not what was done.
            tracing::error!(consumer = %name, cursor = %start.after, %end,
                "events were delivered that are beyond the end of the log; all behind the cursor are delivered again");
            start.done_above.clear();
            around.state.save_reached(&name, &start)?;
        }
        let (parked, paused) = (around.state.parked_count(&name)?, around.state.paused(&name)?);
        around.metrics.parked(name.as_str(), parked);
        let standing = paused.clone().map_or(Standing::Running, Standing::Paused);
        let cursor = watch::Sender::new(start.after);
        let status = Status { standing, oldest_unread: None, under_way: 0, parked };
        let status = watch::Sender::new(status);
        let (give, orders) = mpsc::channel(CONSUMER_ORDERS);
        let handle = Handle {
            name: name.clone(),
            kind,
            orders: give,
            cursor: cursor.subscribe(),
            status: status.subscribe(),
            around: around.clone(),
        };
        let (wants, retry) = (Arc::new(Wants::new(config)), config.retry.clone());
        Ok(Self {
            name,
            wants,
            retry,
            outlet,
            around,
            paused,
            start,
            cursor,
            status,
            orders,
            handle,
        })
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Where its cursor stands, now and later.
    pub(crate) fn cursor(&self) -> watch::Receiver<Offset> {
        self.cursor.subscribe()
    }

    /// What is known of the destination before anything was delivered: one that cannot be used is tried at once, and says why.
    fn unproven(&self) -> Destination {
        let unusable = match &self.outlet {
            Outlet::Push(sink) => sink.unusable(),
            Outlet::Pull { .. } => None,
        };
        match unusable {
            Some(reason) => Destination::Probed { failure: self.failure(1, reason), tried: 0 },
            None => Destination::Healthy,
        }
    }

    /// How to reach it while it runs.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Delivers until `stop`, then finishes what is in flight and saves the cursor.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut end = self.around.log.end();
        let mut state = Loop::new(std::mem::take(&mut self.start), &self.around.log);
        state.paused = self.paused.take();
        state.parked = self.status.borrow().parked;
        state.destination = self.unproven();
        if let Some(failure) = state.destination.failure() {
            tracing::error!(consumer = %self.name, error = failure.reason,
                "the destination cannot be used; its events wait in the log");
        }
        state.window = match &self.outlet {
            Outlet::Push(sink) => {
                CONSUMER_WINDOW.max(2 * sink.most_at_once() * sink.most_in_flight())
            }
            Outlet::Pull { .. } => CONSUMER_WINDOW.max(2 * MAX_PAGE),
        };
        loop {
            self.read(&mut state);
            self.look_again(&mut state);
            self.send(&mut state);
            self.hand_out(&mut state);
            self.publish(&state);
            if !state.is_saved() && Instant::now() >= state.save_at {
                drop(self.save_cursor(&mut state).await);
                continue;
            }
            let wake_at = state.wake_at();
            tokio::select! {
                () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
                Some(order) = self.orders.recv() => self.obey(&mut state, order).await,
                Some(ended) = state.work.join_next() => self.ended(&mut state, ended).await,
                changed = end.changed() => if changed.is_err() { break },
                () = wait_until(wake_at) => self.wake(&mut state),
            }
        }
        // Readers that wait get nothing, rather than no answer.
        self.orders.close();
        state.leases = pull::Leases::default();
        let finish = timeout(DRAIN, async {
            while state.in_flight > 0
                && let Some(ended) = state.work.join_next().await
            {
                self.ended(&mut state, ended).await;
            }
        });
        // What did not end in time is delivered again after the next start.
        drop(finish.await);
        drop(self.save_cursor(&mut state).await);
    }

    async fn ended(&self, state: &mut Loop, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(Ended::Delivery(tickets, verdict)) => self.delivered(state, tickets, verdict).await,
            Ok(Ended::Read(reading)) => self.was_read(state, *reading),
            Ok(Ended::Again(again)) => self.is_again(state, again),
            Err(panic) => {
                // Which events it was about is lost with the task; a fresh start from what is done has them.
                tracing::error!(consumer = %self.name, %panic, "a delivery failed; starting over");
                let reached = state.lanes.reached();
                self.start_over(state, reached).await;
                let reason = "a delivery panicked".to_owned();
                let failure = self.failure(1, reason);
                state.destination = Destination::BackingOff { failure, asked: false };
            }
        }
    }

    /// Forgets what is under way, and goes on from `start`.
    async fn start_over(&self, state: &mut Loop, start: Reached) {
        state.work.abort_all();
        while state.work.join_next().await.is_some() {}
        state.reader = Some(self.around.log.reader(Some(start.after)));
        state.read_to = start.after;
        state.lanes = Lanes::new(start);
        state.saved = None;
        state.in_flight = 0;
        state.trouble.clear();
        state.resting.clear();
        state.leases.forget();
        state.dropped.clear();
        (state.look_again, state.looking, state.progress) = (true, false, None);
        if let Destination::Doubtful { .. } = state.destination {
            state.destination = Destination::Healthy;
        }
    }

    /// The time has come for something.
    fn wake(&self, state: &mut Loop) {
        let now = Instant::now();
        let rested: Vec<_> = state.resting.extract_if(.., |(until, _)| *until <= now).collect();
        for (_, tickets) in rested {
            state.lanes.put_back(&tickets, Turn::Last);
        }
        if state.probed_at().is_some_and(|at| at <= now) {
            state.destination.probe();
        }
    }

    async fn save_cursor(&self, state: &mut Loop) -> Result<(), OrderError> {
        let (progress, reached) = (state.progress_made(), state.lanes.reached());
        let saved =
            self.in_state(move |database, name| database.save_reached(name, &reached)).await;
        state.save_at = Instant::now() + CURSOR_PAUSE;
        match &saved {
            Ok(()) => {
                state.saved = Some(progress);
                self.cursor.send_replace(progress.0);
            }
            Err(error) => tracing::warn!(consumer = %self.name, %error, "cannot save the cursor"),
        }
        saved
    }

    /// Works in the state database, where the disk may be waited for.
    async fn in_state<T: Send + 'static>(
        &self,
        work: impl FnOnce(&State, &Name) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, OrderError> {
        let (database, name) = (self.around.state.clone(), self.name.clone());
        let done = spawn_blocking(move || work(&database, &name)).await;
        Ok(done.map_err(std::io::Error::other)??)
    }
}

async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
