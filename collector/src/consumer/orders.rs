//! Orders carried out by the consumer's own loop, and what it says of itself.
//! Promises that an order is answered once it is on disk and in force. Deliberately does not know who gives them.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{
    Consumer, Loop, OrderError, Purpose, Standing,
    control::{Order, Status},
    lanes::Turn,
};
use crate::{
    event_log::Offset,
    sinks::Sink,
    state::{Pause, Reached, State},
};

impl<S: Sink> Consumer<S> {
    pub(super) async fn obey(&self, state: &mut Loop, order: Order) {
        match order {
            Order::Pause { reason, done } => {
                drop(done.send(self.pause(state, "operator", reason).await));
            }
            Order::Resume { done } => {
                let resumed = self.save_pause(None).await;
                if resumed.is_ok() {
                    state.paused = None;
                    state.destination = self.unproven();
                    let rested = std::mem::take(&mut state.resting);
                    for (_, tickets) in rested {
                        state.lanes.put_back(&tickets, Turn::Last);
                    }
                    tracing::info!(consumer = %self.name, "resumed");
                }
                drop(done.send(resumed));
            }
            Order::Seek { to, done } => {
                // What was done behind that place is wanted again.
                self.start_over(state, Reached { after: to, done_above: Vec::new() }).await;
                tracing::info!(consumer = %self.name, after = %to, "goes on from another place");
                drop(done.send(self.save_cursor(state).await));
            }
            Order::LookAgain => {
                state.look_again = true;
                self.count_parked(state).await;
            }
            Order::Drop { which, dropped } => {
                drop(dropped.send(self.drop_parked(state, which).await));
            }
            Order::Take { most, until, taken } => self.wait(state, most, until, taken),
            Order::Settle { lease, upto, failed, settled } => {
                drop(settled.send(self.settle(state, &lease, upto, failed).await));
            }
        }
    }

    pub(super) async fn pause(
        &self,
        state: &mut Loop,
        by: &str,
        reason: String,
    ) -> Result<(), OrderError> {
        let pause = Pause { by: by.to_owned(), reason, since: (self.around.clock)() };
        self.save_pause(Some(pause.clone())).await?;
        tracing::warn!(consumer = %self.name, by, reason = pause.reason, "paused, until someone resumes it");
        state.paused = Some(pause);
        Ok(())
    }

    async fn save_pause(&self, pause: Option<Pause>) -> Result<(), OrderError> {
        self.in_state(move |database, name| database.set_paused(name, pause.as_ref())).await
    }

    async fn drop_parked(
        &self,
        state: &mut Loop,
        which: Option<Vec<Offset>>,
    ) -> Result<usize, OrderError> {
        let wanted = which.clone();
        let drop = move |database: &State, name: &_| database.drop_parked(name, wanted.as_deref());
        let count = self.in_state(drop).await?;
        self.count_parked(state).await;
        state.looks_stale = state.looking;
        let dropped = state.lanes.all_again().filter(|(_, job)| {
            let offset = &job.record.offset;
            job.purpose == Purpose::Redrive
                && which.as_ref().is_none_or(|which| which.contains(offset))
        });
        let dropped: Vec<_> = dropped.map(|(ticket, _)| ticket).collect();
        // A reader has some of them, or a delivery: what it does with them is its own affair, and none comes back.
        state.dropped.extend(&dropped);
        for ticket in state.leases.given_of(&dropped) {
            self.done(state, ticket);
        }
        Ok(count)
    }

    pub(super) async fn count_parked(&self, state: &mut Loop) {
        if let Ok(count) = self.in_state(State::parked_count).await {
            state.parked = count;
            self.around.metrics.parked(self.name.as_str(), count);
        }
    }

    /// Says what it is doing to whoever asks.
    pub(super) fn publish(&self, state: &Loop) {
        let shown =
            |standing: &Standing| match (standing, &state.paused, state.destination.failure()) {
                (Standing::Paused(shown), Some(pause), _) => shown == pause,
                (Standing::BackingOff { failures, reason, until, .. }, None, Some(failure)) => {
                    (*failures, *until) == (failure.count, failure.until)
                        && *reason == failure.reason
                }
                (Standing::Running, None, None) => true,
                _ => false,
            };
        let oldest_unread = state.lanes.first().map(|job| job.record.received_at);
        let under_way = state.in_flight + state.leases.len();
        self.status.send_if_modified(|status| {
            let same = shown(&status.standing)
                && status.oldest_unread == oldest_unread
                && (status.under_way, status.parked) == (under_way, state.parked);
            if !same {
                let standing = self.standing(state);
                *status = Status { standing, oldest_unread, under_way, parked: state.parked };
            }
            !same
        });
    }

    fn standing(&self, state: &Loop) -> Standing {
        match (&state.paused, state.destination.failure()) {
            (Some(pause), _) => Standing::Paused(pause.clone()),
            (None, Some(failure)) => {
                let wait = failure.until.saturating_duration_since(Instant::now());
                let now = SystemTime::UNIX_EPOCH
                    + Duration::from_millis(
                        (self.around.clock)().unix_ms().try_into().unwrap_or(0),
                    );
                Standing::BackingOff {
                    failures: failure.count,
                    reason: failure.reason.clone(),
                    next_attempt: (now + wait).into(),
                    until: failure.until,
                }
            }
            (None, None) => Standing::Running,
        }
    }
}
