//! The only conductor: an [`Input`] goes in, [`Effect`]s come out. Promises that every event it was given is sent until the
//! collector answers for it, or is reported dropped; does no I/O, and leaves each decision to the module it belongs to. What each
//! input leads to stands in three files: events arrive, are sent, are answered for.

mod answers;
mod arrivals;
mod sending;

use alloc::vec::Vec;
use core::borrow::Borrow;

use crate::batcher::{self, Waiting};
use crate::config::Config;
use crate::drops::Drops;
use crate::platform::{Answer, Consent, Effect, Input, Now, Report, Request, Turn};
use crate::queue::Queue;
use crate::random::Random;
use crate::saved::{Backoff, Left, Saved};
use crate::transport::{State, Transport};

/// One queue of events and all decisions about it. See the crate's documentation for how a platform drives it.
///
/// `C` lends the configuration: a [`Config`] itself, or a type that always lends the same constant, which is then compiled in.
#[derive(Debug)]
pub struct Client<C = Config> {
    config: C,
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
    /// The event that tells of numbers given up.
    telling: Option<u32>,
    started_ms: u64,
    asking: bool,
}

impl<C: Borrow<Config>> Client<C> {
    /// A client at the start of a life.
    ///
    /// `seed` is 128 bits from the platform's source of entropy, fresh at every start: the queue's id is made of it.
    /// `saved` is what [`Effect::Save`] last kept, if anything. The first effect is [`Effect::Load`]. A configuration that is not the
    /// default has to be [`Config::checked`]: a page, which has no other, is spared those 340 bytes.
    #[must_use]
    pub fn new(config: C, seed: [u64; 2], saved: Option<&[u8]>, now: Now) -> Self {
        let mut random = Random::new(seed);
        let known = saved.and_then(Saved::decode);
        let lost = saved.is_some() && known.is_none();
        let fresh = known.is_none();
        let saved = known.unwrap_or_else(|| Saved {
            queue_id: random.id(),
            next_seq: 1,
            session: None,
            consent: Consent::GRANTED,
            backoff: Backoff::default(),
            drops: Drops::default(),
            left: Left::default(),
        });
        let mut client = Self {
            transport: Transport::new(
                saved.backoff,
                config.borrow(),
                now.monotonic_ms,
                now.unix_ms,
            ),
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
        client.effects.push(Effect::Load { limit: client.config.borrow().load_limit });
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
        self.keep_consent();
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

    /// Which events may be kept and sent.
    #[must_use]
    pub fn consent(&self) -> Consent {
        self.saved.consent
    }

    fn woke(&mut self, now: Now) {
        self.wake_at_ms = None;
        self.transport.woke(now.monotonic_ms);
        let patience_ms = self.config.borrow().request_timeout_ms + GRACE_MS;
        while let Some(late) = self
            .requests
            .iter()
            .find(|carrying| carrying.started_ms.saturating_add(patience_ms) <= now.monotonic_ms)
            .map(|carrying| carrying.request)
        {
            self.answered(late, Answer::Unreachable, now);
        }
    }

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
        let patience_ms = self.config.borrow().request_timeout_ms + GRACE_MS;
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
                batcher::due_at_ms(waiting, self.transport.last_sent_ms, self.config.borrow())
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

/// How much longer than its time-out a request may take before the core goes on without its answer: the platform aborts it
/// first, unless it was frozen.
const GRACE_MS: u64 = 5_000;
