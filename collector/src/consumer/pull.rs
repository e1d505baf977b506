//! Readers that fetch events themselves: leases, their ends, and readers that wait.
//! Promises that an event is leased to one reader at a time, in order per order key, until it is acknowledged; that the number
//! of leases and of waiting readers is bounded; and that a reader that lost the answer may ask again. Deliberately forgets its
//! leases at a restart: the cursor has not passed them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    Consumer, Job, Loop, Outlet,
    control::OrderError,
    delivering::Aside,
    lanes::{Ticket, Turn},
};
use crate::{event_log::Offset, limits::MAX_LEASES, sinks::Sink};

/// Events that a reader has until it acknowledges them, or its time is up.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Names it.
    pub(crate) id: String,
    pub(crate) time: std::time::Duration,
    pub(crate) jobs: Vec<std::sync::Arc<Job>>,
}

/// What became of a lease's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) acknowledged: usize,
    pub(crate) parked: usize,
    pub(crate) returned: usize,
}

/// Who has what, and who waits.
#[derive(Debug, Default)]
pub(super) struct Leases {
    given: HashMap<String, Given>,
    /// The last that were acknowledged, with what was said and answered: an answer can get lost.
    settled: VecDeque<(String, u64, Settled)>,
    said: RandomState,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Given {
    tickets: Vec<(Ticket, Offset)>,
    until: Instant,
}

#[derive(Debug)]
struct Waiting {
    most: usize,
    until: Instant,
    taken: oneshot::Sender<Result<Option<Lease>, OrderError>>,
}

impl Leases {
    /// How many are given out.
    pub(super) fn len(&self) -> usize {
        self.given.len()
    }

    /// When a lease ends next.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.given.values().map(|given| given.until).min()
    }

    /// When a reader has waited long enough.
    pub(super) fn waited_until(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }

    /// Takes back everything that was given out; nobody can acknowledge it any more.
    pub(super) fn forget(&mut self) {
        self.given.clear();
        self.settled.clear();
    }

    /// Which of these a reader has.
    pub(super) fn given_of(&self, tickets: &[Ticket]) -> Vec<Ticket> {
        let given = self.given.values().flat_map(|given| &given.tickets);
        given.map(|(ticket, _)| *ticket).filter(|ticket| tickets.contains(ticket)).collect()
    }

    /// What was answered when the same was said of this lease.
    fn settled_before(&self, lease: &str, said: u64) -> Option<Settled> {
        let mut settled = self.settled.iter();
        let same = settled.find(|(id, before, _)| id == lease && *before == said);
        same.map(|(_, _, settled)| *settled)
    }

    fn ended(&mut self, now: Instant) -> Vec<Ticket> {
        let ended = self.given.extract_if(|_, given| given.until <= now);
        ended.flat_map(|(_, given)| given.tickets).map(|(ticket, _)| ticket).collect()
    }
}

impl<S: Sink> Consumer<S> {
    /// Lets a reader wait for events.
    pub(super) fn wait(
        &self,
        state: &mut Loop,
        most: usize,
        until: Instant,
        taken: oneshot::Sender<Result<Option<Lease>, OrderError>>,
    ) {
        let refused = if !matches!(self.outlet, Outlet::Pull { .. }) {
            Some(OrderError::NotForReaders)
        } else if let Some(pause) = &state.paused {
            Some(OrderError::Paused(pause.reason.clone()))
        } else {
            state.leases.waiting.retain(|waiting| !waiting.taken.is_closed());
            let full = state.leases.waiting.len() >= MAX_LEASES || state.leases.len() >= MAX_LEASES;
            full.then_some(OrderError::Busy(
                "too many readers at once; acknowledge, or wait for leases to end",
            ))
        };
        match refused {
            // Who no longer listens need not be told.
            Some(error) => drop(taken.send(Err(error))),
            None => state.leases.waiting.push_back(Waiting { most, until, taken }),
        }
    }

    /// Takes back what has ended, and gives out what may go now.
    pub(super) fn hand_out(&self, state: &mut Loop) {
        let Outlet::Pull { lease: time } = self.outlet else { return };
        let now = Instant::now();
        let ended = state.leases.ended(now);
        if !ended.is_empty() {
            tracing::info!(consumer = %self.name, events = ended.len(),
                "a reader did not acknowledge in time; its events are given out again");
            state.lanes.put_back(&ended, Turn::First);
        }
        while let Some(waiting) = state.leases.waiting.pop_front() {
            if waiting.taken.is_closed() {
                continue;
            }
            let mut batch = match state.paused {
                Some(_) => Vec::new(),
                None => state.lanes.next(waiting.most, |_| false),
            };
            if self.leave_out_dropped(state, &mut batch) {
                state.leases.waiting.push_front(waiting);
                continue;
            }
            if batch.is_empty() {
                let nothing_more =
                    state.paused.is_some() || state.is_read(&self.around.log) || state.room() == 0;
                if now < waiting.until || !nothing_more {
                    state.leases.waiting.push_front(waiting);
                    return self.answer_late(state, now);
                }
                drop(waiting.taken.send(Ok(None)));
                continue;
            }
            batch.sort_by_key(|(_, job)| job.record.offset);
            let tickets: Vec<_> = batch.iter().map(|(ticket, _)| *ticket).collect();
            let Some(id) = lease_id() else {
                state.lanes.put_back(&tickets, Turn::First);
                drop(
                    waiting
                        .taken
                        .send(Err(OrderError::Busy("no randomness for a lease; ask again"))),
                );
                continue;
            };
            let given = Given {
                tickets: batch.iter().map(|(ticket, job)| (*ticket, job.record.offset)).collect(),
                until: now + time,
            };
            let jobs = batch.into_iter().map(|(_, job)| job).collect();
            let lease = Lease { id: id.clone(), time, jobs };
            match waiting.taken.send(Ok(Some(lease))) {
                Ok(()) => drop(state.leases.given.insert(id, given)),
                Err(_) => state.lanes.put_back(&tickets, Turn::First),
            }
        }
    }

    /// Readers behind the first that have waited long enough get nothing.
    fn answer_late(&self, state: &mut Loop, now: Instant) {
        if !state.is_read(&self.around.log) {
            return;
        }
        let waiting = std::mem::take(&mut state.leases.waiting);
        for waiting in waiting {
            if now < waiting.until {
                state.leases.waiting.push_back(waiting);
            } else {
                drop(waiting.taken.send(Ok(None)));
            }
        }
    }

    /// A reader says what became of its events.
    pub(super) async fn settle(
        &self,
        state: &mut Loop,
        lease: &str,
        upto: Option<Offset>,
        mut failed: BTreeMap<Offset, String>,
    ) -> Result<Settled, OrderError> {
        if !matches!(self.outlet, Outlet::Pull { .. }) {
            return Err(OrderError::NotForReaders);
        }
        let said = state.leases.said.hash_one((upto, &failed));
        if let Some(settled) = state.leases.settled_before(lease, said) {
            if !state.is_saved() {
                self.save_cursor(state).await?;
            }
            return Ok(settled);
        }
        let given = state.leases.given.get(lease).ok_or(OrderError::NoLease)?;
        // Before anything is settled: an event that is taken for another would be lost.
        let has = |offset: &Offset| given.tickets.iter().any(|(_, given)| given == offset);
        if let Some(foreign) = failed.keys().find(|offset| !has(offset)) {
            return Err(OrderError::Invalid(format!("the lease has no event at offset {foreign}")));
        }
        let given = state.leases.given.remove(lease).ok_or(OrderError::NoLease)?;
        let mut settled = Settled::default();
        let mut acknowledged = Vec::new();
        for (ticket, offset) in given.tickets {
            if state.lanes.get(ticket).is_none() {
                // It was dropped meanwhile: whatever the reader says, that is the end of it.
            } else if let Some(reason) = failed.remove(&offset) {
                match self.park(state, ticket, reason).await {
                    Aside::Parked => settled.parked += 1,
                    Aside::Waits => settled.returned += 1,
                    Aside::Dropped => {}
                }
            } else if upto.is_none_or(|upto| offset <= upto) {
                acknowledged.push(ticket);
                settled.acknowledged += 1;
            } else {
                state.lanes.put_back(&[ticket], Turn::First);
                settled.returned += 1;
            }
        }
        self.finish(state, &acknowledged).await;
        state.leases.settled.truncate(MAX_LEASES - 1);
        state.leases.settled.push_front((lease.to_owned(), said, settled));
        // What a reader was told is acknowledged does not come again after a crash.
        self.save_cursor(state).await?;
        Ok(settled)
    }
}

fn lease_id() -> Option<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).ok()?;
    Some(random.iter().fold("lease_".to_owned(), |id, byte| format!("{id}{byte:02x}")))
}
