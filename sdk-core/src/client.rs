//! The only conductor: an [`Input`] goes in, [`Effect`]s come out. Promises that every event it was given is sent until the
//! collector answers for it, or is reported dropped; does no I/O, and leaves each decision to the module it belongs to.

use alloc::vec::Vec;

use crate::batcher::{self, Waiting};
use crate::config::Config;
use crate::drops::Drops;
use crate::platform::{
    Answer, Consent, DropReason, Dropped, Effect, Entry, Input, Key, Listed, Now, Outcome,
    Outgoing, Report, Request, Sending, Stamp, Turn,
};
use crate::queue::{Durability, Held, Queue};
use crate::random::Random;
use crate::saved::{Backoff, Left, Saved};
use crate::session;
use crate::transport::{Failed, Failure, State, Transport};

/// One queue of events and all decisions about it. See the crate's documentation for how a platform drives it.
#[derive(Debug)]
pub struct Client {
    config: Config,
    random: Random,
    /// What outlives this life, as it is now; but for the wait in force and what was sent on leaving, which are looked up.
    saved: Saved,
    /// Whether numbers found in storage are this queue's.
    stamps_known: bool,
    session_ended: bool,
    queue: Queue,
    transport: Transport,
    requests: Vec<Carrying>,
    next_request: u32,
    /// Since when something waits to be sent, monotonic milliseconds.
    waiting_since_ms: Option<u64>,
    /// Everything up to this number goes without waiting for company.
    flush_to_seq: u64,
    loading: bool,
    load_again: bool,
    storage_failing: bool,
    /// Whether the queue may hold events that the collector is to be asked about before they are sent again.
    doubting: bool,
    /// When it is asked for the last time, monotonic milliseconds, once it was asked.
    ask_again_ms: Option<u64>,
    turn: Turn,
    /// Whether the turn being put together has changed anything in storage.
    turn_open: bool,
    /// Whether what is saved is no longer what is so.
    unsaved: bool,
    wake_at_ms: Option<u64>,
    /// Both clocks at the start of this life: ages are measured by the clock that does not jump.
    started: Now,
    effects: Vec<Effect>,
    /// How many of them have been polled.
    polled: usize,
}

/// One request under way.
#[derive(Clone, Debug)]
struct Carrying {
    request: Request,
    /// The numbers of its events, in their order, and whether each travels with its event.
    events: Vec<(u64, bool)>,
    dropped: Vec<Dropped>,
    dropped_at: u32,
    started_ms: u64,
    asking: bool,
}

impl Client {
    /// A client at the start of a life.
    ///
    /// `seed` is 128 bits from the platform's source of entropy, fresh at every start: the queue's id is made of it.
    /// `saved` is what [`Effect::Save`] last kept, if anything. The first effect is [`Effect::Load`]. A configuration that is not the
    /// default has to be [`Config::checked`]: a page, which has no other, is spared those 340 bytes.
    #[must_use]
    pub fn new(config: Config, seed: [u64; 2], saved: Option<&[u8]>, now: Now) -> Self {
        let mut random = Random::new(seed);
        let known = saved.and_then(Saved::decode);
        let lost = saved.is_some() && known.is_none();
        let fresh = known.is_none();
        let saved = known.unwrap_or_else(|| Saved {
            queue_id: random.id(),
            next_seq: 1,
            session: None,
            consent: Consent::Granted,
            backoff: Backoff::default(),
            drops: Drops::default(),
            left: Left::default(),
        });
        let mut client = Self {
            transport: Transport::new(saved.backoff, &config, now.monotonic_ms, now.unix_ms),
            config,
            random,
            saved,
            stamps_known: !fresh,
            session_ended: false,
            queue: Queue::default(),
            requests: Vec::new(),
            next_request: 1,
            waiting_since_ms: None,
            flush_to_seq: 0,
            loading: true,
            load_again: false,
            storage_failing: false,
            doubting: false,
            ask_again_ms: None,
            turn: Turn(1),
            turn_open: false,
            unsaved: fresh,
            wake_at_ms: None,
            started: now,
            effects: Vec::new(),
            polled: 0,
        };
        if lost {
            client.report(Report::StateLost);
        }
        client.effects.push(Effect::Load { limit: client.config.load_limit });
        client
    }

    /// Takes one input at this time. Poll the effects afterwards.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        match input {
            Input::Tracked(entries) => {
                for entry in entries {
                    self.admit(*entry);
                }
            }
            Input::Loaded { entries, more } => self.loaded(entries, more),
            Input::Changed if self.loading => self.load_again = true,
            Input::Changed => self.load(),
            Input::Committed { turn, durable } => self.committed(turn, durable),
            Input::Answered { request, answer } => self.answered(request, answer, now),
            Input::Woke => self.woke(now),
            Input::Flush => {
                self.flush_to_seq = self.saved.next_seq;
                self.transport.hurry(true);
            }
            Input::Online => {
                self.transport.hurry(false);
            }
            Input::Leaving => self.leave(now),
            Input::Consent(consent) => self.consented(consent),
            Input::Reset => self.session_ended = true,
        }
        self.keep_bounds();
        self.send_if_due(now);
        self.end_turn(now);
        self.ask_to_be_woken(now);
    }

    /// The next thing to do, if there is one.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let Some(place) = self.effects.get_mut(self.polled) else {
            self.effects.clear();
            self.polled = 0;
            return None;
        };
        self.polled += 1;
        // Anything that needs no memory may stand in its place.
        Some(core::mem::replace(place, Effect::Purge))
    }

    /// The queue's identity: 16 random bytes, the same for as long as the platform's storage lives.
    #[must_use]
    pub fn queue_id(&self) -> [u8; 16] {
        self.saved.queue_id
    }

    /// Events that are not answered for yet, as far as they are loaded.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    /// Whether events may be kept and sent.
    #[must_use]
    pub fn consent(&self) -> Consent {
        self.saved.consent
    }

    // ---- events come in

    /// Numbers a new event, and keeps it if it may be kept.
    fn admit(&mut self, entry: Entry) {
        if self.saved.consent == Consent::Denied {
            return self.forget(entry.key);
        }
        let (session, session_start) = session::admit(
            self.saved.session,
            self.session_ended,
            entry.at_ms,
            entry.campaign,
            self.config.session_ms,
        );
        self.saved.session = Some(session);
        self.session_ended = false;
        let seq = self.saved.next_seq;
        self.saved.next_seq += 1;
        self.unsaved = true;
        if entry.bytes > self.config.max_event_bytes {
            self.forget(entry.key);
            return self.dropped(entry, seq, DropReason::TooLarge);
        }
        self.turn_open = true;
        let stamp = Stamp { seq, session_ms: session.start_ms, session_start };
        self.effects.push(Effect::Store { key: entry.key, stamp });
        // The number is new, so that the queue has none like it.
        let _ = self.queue.insert(Held::storing(entry, seq, self.turn));
    }

    fn loaded(&mut self, entries: &[(Entry, Option<Stamp>)], more: bool) {
        for (entry, stamp) in entries {
            // A number of a queue whose identity is gone, one that was never given, or one that two events claim, is worth
            // nothing: such an event is numbered anew.
            let known = stamp
                .filter(|stamp| self.stamps_known && (1..self.saved.next_seq).contains(&stamp.seq));
            match known {
                Some(Stamp { seq, .. }) if self.saved.consent != Consent::Denied => {
                    let mut held = Held::committed(*entry, seq);
                    held.doubt = (self.saved.left.first..self.saved.left.end).contains(&seq);
                    // Outside of what was noted nobody knows: a page that was killed may have sent it, and its note is lost.
                    held.bare = !held.doubt || seq >= self.saved.left.bare;
                    self.doubting |= held.doubt;
                    if self.queue.insert(held).is_err() {
                        self.admit(*entry);
                    }
                }
                _ => {
                    self.admit(*entry);
                    if stamp.is_some_and(|stamp| stamp.seq == 0)
                        && let Some(held) = self.queue.get_mut(self.saved.next_seq - 1)
                    {
                        held.doubt = true;
                        held.bare = true;
                        self.doubting = true;
                    }
                }
            }
        }
        self.loading = false;
        if more || core::mem::take(&mut self.load_again) {
            self.load();
        }
    }

    fn load(&mut self) {
        self.loading = true;
        self.effects.push(Effect::Load { limit: self.config.load_limit });
    }

    fn committed(&mut self, turn: Turn, durable: bool) {
        // A turn that fails takes with it the ones asked for since.
        for held in self.queue.iter_mut() {
            match held.durability {
                Durability::Storing(stored_in) if durable && stored_in <= turn => {
                    held.durability = Durability::Committed;
                }
                Durability::Storing(_) if !durable => {
                    held.durability = Durability::Unnumbered;
                    self.saved.drops.add(held.seq, DropReason::Unnumbered);
                    self.turn_open = true;
                }
                _ => {}
            }
        }
        if !durable {
            // What it was to save is still to be saved, by the next turn that there is a reason for.
            self.unsaved = true;
            if !self.storage_failing {
                self.report(Report::NotDurable);
            }
        }
        self.storage_failing = !durable;
    }

    fn consented(&mut self, consent: Consent) {
        self.saved.consent = consent;
        self.unsaved = true;
        self.turn_open = true;
        if consent == Consent::Denied {
            self.queue.clear();
            self.saved.drops.clear();
            self.requests.clear();
            self.saved.session = None;
            // What is purged must not be recognised by what comes after it.
            self.saved.left = Left::default();
            self.saved.queue_id = self.random.id();
            self.saved.next_seq = 1;
            if let State::InFlight(_) = self.transport.state {
                self.transport.state = State::Ready;
            }
            self.effects.push(Effect::Purge);
        }
    }

    // ---- events are given up

    fn keep_bounds(&mut self) {
        while let Some(seq) =
            self.queue.least_important(self.config.max_queue_events, self.config.max_queue_bytes)
        {
            self.give_up(seq, DropReason::QueueFull);
        }
    }

    /// Gives up what is too old. Only after a failure: what can be delivered is, whatever its age and whatever the device's
    /// clock says of it.
    fn drop_too_old(&mut self, now: Now) {
        let since_start = now.monotonic_ms.saturating_sub(self.started.monotonic_ms);
        let unix_ms = self.started.unix_ms.saturating_add(since_start);
        let oldest_ms = unix_ms.saturating_sub(self.config.max_age_ms);
        while let Some(seq) = self.queue.older_than(oldest_ms) {
            self.give_up(seq, DropReason::TooOld);
        }
    }

    fn give_up(&mut self, seq: u64, reason: DropReason) {
        if let Some(held) = self.queue.remove(seq) {
            self.forget(held.entry.key);
            if held.durability == Durability::Unnumbered {
                // Its number was given up before.
                self.report(Report::Dropped { key: held.entry.key, reason });
            } else {
                self.dropped(held.entry, seq, reason);
            }
        }
    }

    fn dropped(&mut self, entry: Entry, seq: u64, reason: DropReason) {
        self.saved.drops.add(seq, reason);
        self.unsaved = true;
        self.report(Report::Dropped { key: entry.key, reason });
    }

    fn forget(&mut self, key: Key) {
        self.turn_open = true;
        self.effects.push(Effect::Forget { key });
    }

    // ---- events go out

    fn send_if_due(&mut self, now: Now) {
        let (events, bytes) = self.queue.ready();
        if events == 0 {
            self.waiting_since_ms = None;
            return;
        }
        let since_ms = *self.waiting_since_ms.get_or_insert(now.monotonic_ms);
        if !self.may_send() {
            return;
        }
        let waiting = Waiting { events, bytes, since_ms };
        let due = batcher::due_at_ms(waiting, self.transport.last_sent_ms, &self.config);
        let mut picked = Vec::new();
        if self.doubting {
            // Nothing overtakes what is in doubt.
            if self.ask_again_ms.is_some_and(|at_ms| at_ms > now.monotonic_ms) {
                return;
            }
            self.doubting = false;
            for held in self.queue.iter().filter(|held| held.doubt).take(MAX_ASKED) {
                self.doubting = true;
                if held.ready() {
                    picked.push(held.seq);
                }
            }
            if self.doubting && picked.is_empty() {
                return;
            }
        }
        if !self.doubting {
            if due > now.monotonic_ms && !self.flushing() {
                return;
            }
            if self.storage_failing {
                // What is in memory alone should go in requests that can outlive the page.
                self.transport.growth = 1;
            }
            let max_bytes = self.config.max_batch_bytes;
            for held in batcher::pick(
                self.queue.ready_events(),
                self.transport.batch_events(),
                max_bytes.saturating_mul(self.transport.growth.max(1)),
            ) {
                picked.push(held.seq);
            }
        }
        let request = self.send(&picked, false, now);
        self.transport.sent(request, now.monotonic_ms);
        if self.queue.ready().0 == 0 {
            self.waiting_since_ms = None;
            self.transport.growth = 0;
        }
    }

    fn may_send(&self) -> bool {
        self.transport.state == State::Ready
            && self.requests.is_empty()
            && !self.loading
            && self.saved.consent == Consent::Granted
    }

    fn flushing(&self) -> bool {
        self.queue.ready_events().next().is_some_and(|first| first.seq < self.flush_to_seq)
    }

    /// Sends all that was not sent yet, as far as the browsers' budget for requests that outlive a page goes, beside the
    /// request under way, and notes both: whoever comes back asks the collector what of it arrived.
    fn leave(&mut self, now: Now) {
        let silent = match self.transport.state {
            State::Ready | State::InFlight(_) => false,
            State::BackingOff { demanded, .. } => demanded,
            State::Stopped => true,
        };
        if silent || self.saved.consent != Consent::Granted {
            return;
        }
        let mut budget = self.config.leaving_bytes;
        for carrying in self.requests.iter().filter(|carrying| !carrying.asking) {
            for (seq, numbered) in &carrying.events {
                if let Some(held) = self.queue.get_mut(*seq) {
                    budget = budget.saturating_sub(held.entry.bytes);
                    held.doubt = true;
                    held.bare |= !numbered;
                }
            }
            self.unsaved = true;
            self.turn_open = true;
        }
        let mut picked = Vec::new();
        for held in self.queue.not_in_flight() {
            if held.doubt {
                continue;
            }
            let Some(left) = budget.checked_sub(held.entry.bytes) else { break };
            budget = left;
            picked.push(held.seq);
        }
        if !picked.is_empty() {
            self.send(&picked, true, now);
        }
    }

    fn send(&mut self, picked: &[u64], leaving: bool, now: Now) -> Request {
        let request = Request(self.next_request);
        self.next_request = self.next_request.wrapping_add(1);
        let asking = self.doubting && !leaving;
        let mut events = Vec::new();
        let mut carried = Vec::new();
        // Drops are told with an event that the collector cannot have seen: only then is it certain to keep them.
        let mut dropped_at = None;
        for (index, seq) in (0u32..).zip(picked) {
            let Some(held) = self.queue.get_mut(*seq) else { continue };
            let mut numbered = held.durability == Durability::Committed;
            if asking {
                numbered = !held.bare;
            } else if leaving {
                held.doubt = true;
                held.bare |= !numbered;
            }
            if numbered
                && !held.maybe_seen
                && dropped_at.is_none()
                && !self.saved.drops.ranges().is_empty()
            {
                dropped_at = Some(index);
            }
            held.in_flight = Some(request);
            held.maybe_seen = true;
            events.push(Outgoing { key: held.entry.key, numbered });
            carried.push((*seq, numbered));
        }
        let dropped = if dropped_at.is_some() { self.saved.drops.to_tell() } else { Vec::new() };
        let dropped_at = dropped_at.unwrap_or(0);
        if leaving {
            self.unsaved = true;
            self.turn_open = true;
        }
        self.requests.push(Carrying {
            request,
            events: carried,
            dropped: dropped.clone(),
            dropped_at,
            started_ms: now.monotonic_ms,
            asking,
        });
        let sending = Sending { request, events, dropped, dropped_at, leaving, asking };
        self.effects.push(Effect::Send(sending));
        request
    }

    // ---- answers come back

    fn answered(&mut self, request: Request, answer: Answer<'_>, now: Now) {
        let Some(at) = self.requests.iter().position(|carrying| carrying.request == request) else {
            return;
        };
        let carrying = self.requests.swap_remove(at);
        match answer {
            Answer::Delivered(listed) => self.delivered(&carrying, listed, now),
            Answer::Refused { status, retry_after_ms } => {
                self.failed(&carrying, status, retry_after_ms, now);
            }
            Answer::Unreachable => self.failed(&carrying, 0, 0, now),
        }
    }

    fn delivered(&mut self, carrying: &Carrying, listed: &[Listed], now: Now) {
        self.transport.delivered(carrying.request, &self.config);
        let known = if carrying.asking { Outcome::Quarantined } else { Outcome::Accepted };
        let outcome_of = |index: u32| {
            listed.iter().find(|line| line.index == index).map_or(known, |line| line.outcome)
        };
        if matches!(outcome_of(carrying.dropped_at), Outcome::Accepted | Outcome::Quarantined)
            && !carrying.dropped.is_empty()
        {
            self.saved.drops.told(&carrying.dropped);
            self.unsaved = true;
        }
        let sure = self.ask_again_ms.is_some();
        for (index, (seq, numbered)) in (0u32..).zip(&carrying.events) {
            let outcome = outcome_of(index);
            if carrying.asking && outcome != Outcome::Duplicate {
                // It did not arrive, or not yet: the second time decides.
                let at_ms = now.monotonic_ms.saturating_add(self.config.doubt_ms);
                self.ask_again_ms.get_or_insert(at_ms);
                self.unsaved = true;
                if let Some(held) = self.queue.get_mut(*seq) {
                    held.in_flight = None;
                    held.doubt = !sure;
                }
                continue;
            }
            if outcome == Outcome::Refused {
                self.give_up(*seq, DropReason::Refused);
                continue;
            }
            let Some(held) = self.queue.remove(*seq) else { continue };
            self.forget(held.entry.key);
            if !numbered && held.durability != Durability::Unnumbered {
                // It went without its number, which was still being stored: nobody will ever see that number.
                self.saved.drops.add(*seq, DropReason::Unnumbered);
                self.unsaved = true;
            }
        }
    }

    fn failed(&mut self, carrying: &Carrying, status: u16, retry_after_ms: u64, now: Now) {
        // A server that does not know the question (a Segment-compatible one, an older collector) says anything, or nothing that a
        // page may read: what was in doubt goes again, unless the collector says that it has no time, or no ear for this key.
        let unasked = carrying.asking && !matches!(status, 401 | 403 | 408 | 425 | 429 | 500..=599);
        self.free(carrying, unasked || (status != 0 && !carrying.asking));
        let status = if unasked { 0 } else { status };
        let events = u32::try_from(carrying.events.len()).unwrap_or(u32::MAX);
        let failed = Failed { request: carrying.request, events, status, retry_after_ms };
        let failure =
            self.transport.failed(failed, now.monotonic_ms, &self.config, &mut self.random);
        self.unsaved = true;
        self.turn_open = true;
        match failure {
            Failure::Again => self.drop_too_old(now),
            Failure::Smaller => {}
            Failure::Stop => self.report(Report::Stopped { status }),
            Failure::Poison => {
                let reason = if status == 413 { DropReason::TooLarge } else { DropReason::Refused };
                for (seq, _) in &carrying.events {
                    self.give_up(*seq, reason);
                }
            }
        }
    }

    /// Its events may go again. Without an answer they may have arrived; one that went without its number is asked for then, since
    /// otherwise nobody would know that its number never comes.
    fn free(&mut self, carrying: &Carrying, sure: bool) {
        for held in self.queue.iter_mut() {
            if held.in_flight == Some(carrying.request) {
                held.in_flight = None;
                held.doubt &= !sure && (carrying.asking || held.bare);
                self.doubting |= held.doubt;
            }
        }
    }

    fn woke(&mut self, now: Now) {
        self.wake_at_ms = None;
        self.transport.woke(now.monotonic_ms);
        let patience_ms = self.config.request_timeout_ms + GRACE_MS;
        while let Some(late) = self
            .requests
            .iter()
            .find(|carrying| carrying.started_ms.saturating_add(patience_ms) <= now.monotonic_ms)
            .map(|carrying| carrying.request)
        {
            self.answered(late, Answer::Unreachable, now);
        }
    }

    // ---- every input ends here

    /// Closes the storage transaction of this input, if it changed anything.
    fn end_turn(&mut self, now: Now) {
        if !self.turn_open {
            return;
        }
        if core::mem::take(&mut self.unsaved) {
            if !self.loading {
                self.saved.left = Left::default();
            }
            let left = &mut self.saved.left;
            for held in self.queue.iter().filter(|held| held.doubt) {
                if left.end == 0 {
                    *left = Left { first: held.seq, bare: u64::MAX, end: 0 };
                }
                left.first = left.first.min(held.seq);
                left.end = left.end.max(held.seq + 1);
                if held.bare {
                    left.bare = left.bare.min(held.seq);
                }
            }
            let backoff = self.transport.backoff(now.monotonic_ms, now.unix_ms);
            self.effects.push(Effect::Save { state: self.saved.encode(backoff) });
        }
        self.effects.push(Effect::Commit { turn: self.turn });
        self.turn = Turn(self.turn.0.wrapping_add(1));
        self.turn_open = false;
    }

    fn ask_to_be_woken(&mut self, now: Now) {
        let patience_ms = self.config.request_timeout_ms + GRACE_MS;
        let overdue = self
            .requests
            .iter()
            .map(|carrying| carrying.started_ms.saturating_add(patience_ms))
            .min();
        let next = match self.transport.state {
            State::BackingOff { until_ms, .. } => Some(until_ms),
            State::Ready if self.may_send() && self.doubting => {
                // What is due already waits for a commit.
                self.ask_again_ms.filter(|at_ms| *at_ms > now.monotonic_ms)
            }
            State::Ready if self.may_send() => self.waiting_since_ms.map(|since_ms| {
                let (events, bytes) = self.queue.ready();
                let waiting = Waiting { events, bytes, since_ms };
                batcher::due_at_ms(waiting, self.transport.last_sent_ms, &self.config)
            }),
            _ => None,
        };
        let Some(monotonic_ms) = [overdue, next].into_iter().flatten().min() else { return };
        if self.wake_at_ms != Some(monotonic_ms) {
            self.wake_at_ms = Some(monotonic_ms);
            self.effects.push(Effect::WakeAt { monotonic_ms });
        }
    }

    fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }
}

/// Events that one question asks about: more than a page can send while it is left.
const MAX_ASKED: usize = 100;

/// How much longer than its time-out a request may take before the core goes on without its answer: the platform aborts it
/// first, unless it was frozen.
const GRACE_MS: u64 = 5_000;
