//! Deliveries: what goes out together, and what follows from the verdict on it.
//! Promises that an event leaves its lane only once it is delivered, or parked and on disk.
//! Deliberately leaves to `destination` who is to blame, and to the sink how it is done.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Consumer, Ended, Job, Loop, Outlet, Purpose,
    destination::{AfterPass, Destination, Failed, Failure},
    lanes::{Ticket, Turn},
};
use crate::{
    event_log::Record,
    limits::{
        CURSOR_PAUSE, EVENT_REST_LONGEST, FAILURES_BEFORE_PARKING, REFUSAL_PAUSE,
        REFUSALS_BEFORE_PARKING, REFUSALS_OF_EVERYTHING, RETRY_AFTER_LONGEST, UNTRIED_PAUSE,
    },
    sinks::{Parcel, Sink, Verdict, message_id},
    state::Parked,
};

/// What became of an event that was to be parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aside {
    Parked,
    /// Someone dropped it while it was redriven.
    Dropped,
    /// The disk did not take it: it goes out again.
    Waits,
}

impl<S: Sink> Consumer<S> {
    /// Sends what may go out now.
    pub(super) fn send(&self, state: &mut Loop) {
        let Outlet::Push(sink) = &self.outlet else { return };
        if state.paused.is_some() {
            return;
        }
        while state.in_flight < state.destination.most(sink.most_in_flight().max(1)) {
            let (healthy, holds_back) =
                (state.destination == Destination::Healthy, state.holds_back());
            let (lanes, trouble) = (&mut state.lanes, &state.trouble);
            let suspected = |ticket| trouble.get(&ticket).is_some_and(|t| t.attempts > 0);
            let most = sink.most_at_once().min(state.at_once).max(1);
            let mut batch = if holds_back {
                let batch = lanes.next(most, |ticket| !suspected(ticket));
                if !batch.iter().any(|(ticket, _)| suspected(*ticket)) {
                    let tickets: Vec<_> = batch.iter().map(|(ticket, _)| *ticket).collect();
                    return lanes.put_back(&tickets, Turn::First);
                }
                batch
            } else if healthy {
                lanes.next(most, |_| false)
            } else {
                if let Destination::Probed { tried, .. } = state.destination {
                    if tried > 0 && !lanes.has_ready(suspected) {
                        let pause = |failures| self.jittered(failures);
                        return state.destination.leave_alone(Instant::now(), pause);
                    }
                    // Events that fail often came together: those beside them say less than any other.
                    lanes.turn(getrandom::u32().unwrap_or(0) as usize);
                }
                // Who shows whether the destination works should be above suspicion, and one of many would hide the others.
                lanes.next(1, suspected)
            };
            if self.leave_out_dropped(state, &mut batch) {
                continue;
            }
            if batch.is_empty() {
                // Without an event to try it with, it would look unusable for ever.
                let untried = matches!(state.destination, Destination::Probed { tried: 0, .. });
                if untried && sink.unusable().is_some() {
                    let sink = Arc::clone(sink);
                    state.in_flight += 1;
                    let ready = async move { Ended::Delivery(Vec::new(), sink.make_ready().await) };
                    state.work.spawn(ready);
                }
                return;
            }
            batch.sort_by_key(|(_, job)| job.record.offset);
            let tickets = batch.iter().map(|(ticket, _)| *ticket).collect();
            let ids: Vec<_> = batch.iter().map(|(_, job)| self.delivery_id(&job.record)).collect();
            let sink = Arc::clone(sink);
            state.in_flight += 1;
            state.work.spawn(async move {
                let jobs = batch.iter().map(|(_, job)| job).zip(ids);
                let parcels: Vec<_> = jobs.map(|(job, id)| parcel(job, id)).collect();
                Ended::Delivery(tickets, sink.deliver(&parcels).await)
            });
        }
    }

    pub(super) async fn delivered(&self, state: &mut Loop, tickets: Vec<Ticket>, verdict: Verdict) {
        state.in_flight -= 1;
        if !tickets.is_empty() {
            self.around.metrics.delivery(self.name.as_str(), verdict.as_str());
        }
        match verdict {
            Verdict::Delivered => {
                if !tickets.is_empty() {
                    state.refused_in_a_row = 0;
                    state.took_at = Some(Instant::now());
                    state.at_once = state.at_once.saturating_mul(2);
                }
                let suspected = tickets.iter().all(|ticket| state.suspects(*ticket));
                let after = state.destination.passed(&tickets, suspected);
                self.finish(state, &tickets).await;
                match after {
                    AfterPass::Nothing => {}
                    AfterPass::Back(cleared) => {
                        self.release(state, &cleared);
                        tracing::info!(consumer = %self.name, "the destination answers again");
                    }
                    AfterPass::Blame(accused, reason) => {
                        for delivery in accused {
                            self.blame(state, &delivery, &reason).await;
                        }
                    }
                }
            }
            // Whoever refuses everything says nothing of any event: a wrong URL, a schema that was changed over there.
            Verdict::Refused { reason } if self.refuses_everything(state, &tickets) => {
                self.failed(state, &tickets, &reason, None);
            }
            Verdict::Refused { reason } => {
                let cleared = state.destination.answered();
                self.release(state, &cleared);
                self.refused(state, &tickets, reason).await;
            }
            Verdict::Unavailable { reason, retry_after } => {
                self.failed(state, &tickets, &reason, retry_after);
            }
            Verdict::Gone { reason } => {
                state.lanes.put_back(&tickets, Turn::First);
                // It counts until someone resumes it, also after a restart; if even that cannot be kept, try again.
                if let Err(error) = self.pause(state, "destination", reason).await {
                    state.destination = Destination::BackingOff {
                        failure: self.failure(1, error.to_string()),
                        asked: false,
                    };
                }
            }
        }
    }

    fn failed(
        &self,
        state: &mut Loop,
        tickets: &[Ticket],
        reason: &str,
        retry_after: Option<Duration>,
    ) {
        let retry_after = retry_after.map(|asked| asked.min(RETRY_AFTER_LONGEST));
        state.at_once = state.at_once.min(tickets.len() / 2).max(1);
        let was_healthy = state.destination == Destination::Healthy;
        if was_healthy {
            tracing::warn!(consumer = %self.name, reason, "a delivery failed; its events wait in the log");
        }
        for ticket in tickets {
            let trouble = state.trouble.entry(*ticket).or_default();
            trouble.attempts = trouble.attempts.saturating_add(1);
        }
        let attempts = tickets.iter().filter_map(|ticket| state.trouble.get(ticket));
        // A delivery with one event in it that did not fail before is none that did.
        let attempts = attempts.map(|trouble| trouble.attempts).min().unwrap_or(1);
        let failed = Failed { tickets, attempts, reason, retry_after, now: Instant::now() };
        let after = state.destination.failed(&failed, |failures| self.jittered(failures));
        match state.destination.failure() {
            Some(failure) if after.rest => {
                let soon = Instant::now() + UNTRIED_PAUSE;
                let until = if state.is_alive() { failure.until.min(soon) } else { failure.until };
                state.resting.push((until, tickets.to_vec()));
            }
            _ => state.lanes.put_back(tickets, Turn::Last),
        }
        self.release(state, &after.cleared);
    }

    /// These need not rest any longer.
    fn release(&self, state: &mut Loop, tickets: &[Ticket]) {
        let rested = state.end_rest(tickets);
        state.lanes.put_back(&rested, Turn::Last);
    }

    /// They failed, and the destination takes others.
    async fn blame(&self, state: &mut Loop, accused: &[Ticket], reason: &str) {
        let rested = state.end_rest(accused);
        let [ticket] = accused else {
            // One of them is to blame at most: they go one by one to find which.
            accused.iter().for_each(|ticket| state.lanes.set_alone(*ticket));
            return state.lanes.put_back(&rested, Turn::Last);
        };
        let trouble = state.trouble.entry(*ticket).or_default();
        trouble.failures = trouble.failures.saturating_add(1);
        let failures = trouble.failures;
        if rested.is_empty() {
            // Its rest is over and it waits for its turn, which will show.
        } else if failures >= FAILURES_BEFORE_PARKING {
            let reason = format!("{reason} (failed {failures} times while others were delivered)");
            self.park(state, *ticket, reason).await;
        } else {
            let rest = self.jittered(failures).min(EVENT_REST_LONGEST);
            state.resting.push((Instant::now() + rest, rested));
        }
    }

    /// Counts events that are refused for the first time. Whether so many were that it is not they.
    fn refuses_everything(&self, state: &mut Loop, tickets: &[Ticket]) -> bool {
        // Of several that were refused together nobody knows which was meant.
        let [ticket] = tickets else { return false };
        let first = state.trouble.get(ticket).is_none_or(|trouble| trouble.refusals == 0);
        if first && state.refused_in_a_row < REFUSALS_OF_EVERYTHING {
            state.refused_in_a_row += 1;
        }
        state.refused_in_a_row >= REFUSALS_OF_EVERYTHING
    }

    async fn refused(&self, state: &mut Loop, tickets: &[Ticket], reason: String) {
        let [ticket] = tickets else {
            tickets.iter().for_each(|ticket| state.lanes.set_alone(*ticket));
            return state.lanes.put_back(tickets, Turn::First);
        };
        let trouble = state.trouble.entry(*ticket).or_default();
        trouble.refusals += 1;
        if trouble.refusals < REFUSALS_BEFORE_PARKING {
            let rest = REFUSAL_PAUSE * trouble.refusals;
            state.resting.push((Instant::now() + rest, vec![*ticket]));
        } else {
            self.park(state, *ticket, reason).await;
        }
    }

    /// They are delivered, or acknowledged.
    pub(super) async fn finish(&self, state: &mut Loop, tickets: &[Ticket]) {
        let redriven = |ticket: &&Ticket| {
            state.lanes.get(**ticket).is_some_and(|job| job.purpose == Purpose::Redrive)
        };
        let redriven: Vec<_> = tickets.iter().filter(redriven).copied().collect();
        let parked: Vec<_> = redriven
            .iter()
            .filter_map(|ticket| Some(state.lanes.get(*ticket)?.record.offset))
            .collect();
        if !parked.is_empty() {
            let drop =
                self.in_state(move |database, name| database.drop_parked(name, Some(&parked)));
            if let Err(error) = drop.await {
                tracing::warn!(consumer = %self.name, %error,
                    "cannot take delivered events off the parked ones; they are delivered again");
            }
            self.count_parked(state).await;
        }
        for ticket in tickets {
            self.done(state, *ticket);
        }
    }

    /// What was dropped since it was redriven does not go out. Whether that was all.
    pub(super) fn leave_out_dropped(
        &self,
        state: &mut Loop,
        batch: &mut Vec<(Ticket, Arc<Job>)>,
    ) -> bool {
        if state.dropped.is_empty() {
            return false;
        }
        let dropped = batch.extract_if(.., |(ticket, _)| state.dropped.contains(ticket));
        let dropped: Vec<_> = dropped.map(|(ticket, _)| ticket).collect();
        for ticket in &dropped {
            self.done(state, *ticket);
        }
        batch.is_empty() && !dropped.is_empty()
    }

    pub(super) fn done(&self, state: &mut Loop, ticket: Ticket) {
        state.trouble.remove(&ticket);
        state.dropped.remove(&ticket);
        state.lanes.done(ticket);
        if matches!(ticket, Ticket::Again(_)) && state.lanes.again() == 0 {
            state.look_again = true;
        }
    }

    /// Sets an event aside, so that those behind it can go on. What became of it.
    pub(super) async fn park(&self, state: &mut Loop, ticket: Ticket, reason: String) -> Aside {
        let Some(job) = state.lanes.get(ticket).map(Arc::clone) else { return Aside::Dropped };
        let record = &job.record;
        let said = reason.clone();
        let parked = Parked {
            record: record.offset,
            source: record.source.to_string(),
            message_id: record.message_id.to_string(),
            reason,
            parked_at: (self.around.clock)(),
            redrive: false,
        };
        let again = job.purpose == Purpose::Redrive;
        let kept = self.in_state(move |database, name| match again {
            // Unless someone has dropped it meanwhile.
            true => {
                let Parked { record, reason, parked_at, .. } = parked;
                let stays = database.stay_parked(name, record, &reason, parked_at)?;
                Ok((false, if stays { Aside::Parked } else { Aside::Dropped }))
            }
            // One that is there already, since it was sought again, stays as it is.
            false => Ok((database.park(name, &parked)?, Aside::Parked)),
        });
        match kept.await {
            Ok((new, aside)) => {
                if aside == Aside::Parked {
                    tracing::warn!(consumer = %self.name, offset = %record.offset, reason = said,
                        "an event is parked");
                }
                state.parked += u64::from(new);
                self.around.metrics.parked(self.name.as_str(), state.parked);
                self.done(state, ticket);
                aside
            }
            Err(error) => {
                tracing::warn!(consumer = %self.name, %error, "cannot park an event; trying again");
                state.resting.push((Instant::now() + CURSOR_PAUSE, vec![ticket]));
                Aside::Waits
            }
        }
    }

    pub(super) fn failure(&self, count: u32, reason: String) -> Failure {
        let at = Instant::now();
        Failure { count, reason, at, until: at + self.jittered(count) }
    }

    /// Between half of the pause and all of it: consumers that failed together do not come back together.
    fn jittered(&self, failures: u32) -> Duration {
        // Without randomness every pause is as long as it can be.
        let random = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
        self.retry.pause(failures).mul_f64(0.5 + random / 2.0)
    }

    /// The same for every attempt, also after a restart, and different for every consumer: what a
    /// receiver deduplicates on. Not the offset: a log that is begun anew counts from 1 again.
    fn delivery_id(&self, record: &Record) -> String {
        message_id([self.name.as_str(), &record.source, &record.message_id])
    }
}

fn parcel(job: &Job, id: String) -> Parcel {
    Parcel { id, order_key: job.record.order_key.clone(), line: job.line().into() }
}

impl Job {
    /// The record as a line of JSON. One that is replayed says so.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(self.record.json.len() + 256);
        self.record.write_line(&mut line);
        if self.purpose == Purpose::Replay {
            line.splice(..1, *b"{\"replay\":true,");
        }
        line
    }
}
