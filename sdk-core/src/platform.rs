//! The vocabulary shared with a platform: what it tells the core ([`Input`]) and what the core asks of it ([`Effect`]).
//! Types only. Promises that every combination that can be written means something; knows no rule of any kind.
//!
//! A platform (a browser page, a phone, a test) owns texts, storage, network and clocks. The core owns every
//! decision. Nothing here blocks, and nothing here is asked twice: each effect is carried out once, in order.

use alloc::vec::Vec;

/// Both clocks, read together by the platform at the moment of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back and means nothing outside this life of the client.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970 by the device's clock. It may jump both ways; only what outlives a life uses it.
    pub unix_ms: u64,
}

/// A platform's name for one event it holds. Unique within one life of the client; what it means in storage is
/// the platform's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// Which events are evicted first when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Evicted first: what can be missed (page views, scroll depth).
    Low = 0,
    /// Most events.
    Normal = 1,
    /// Evicted last: identify, group, alias, revenue.
    High = 2,
}

/// What the core adds to an event: its place in the queue and its session. Committed with the event's text, or
/// beside it, and spliced into the text when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Gapless number within the queue, from 1. Handed over by a platform, 0 says that the event has none yet, but was sent as
    /// its page was left before a core was there.
    pub seq: u64,
    /// The session's start, unix milliseconds: it is the session's id as well.
    pub session_ms: u64,
    /// Whether this event began the session.
    pub session_start: bool,
}

/// One event that the platform holds, by its measures alone: the core never sees a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The platform's name for it.
    pub key: Key,
    /// Bytes of its text without the stamp.
    pub bytes: u32,
    /// Which events it outlives when the queue is full.
    pub priority: Priority,
    /// When it happened, unix milliseconds, by the device's clock at that time.
    pub at_ms: u64,
    /// A number that differs when the visit's campaign differs; 0 for none. A change begins a new session.
    pub campaign: u32,
    /// What it is collected for, below 8: each category has its own answer about consent.
    pub category: u8,
}

impl Entry {
    /// Whether its category is among these, a bit for each.
    #[must_use]
    pub const fn is_in(&self, categories: u8) -> bool {
        categories >> (self.category & 7) & 1 != 0
    }
}

/// What the person answered, for each category of events: a bit of both numbers. With neither bit set, events are kept and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// Keep, but send nothing until the person has answered.
    pub pending: u8,
    /// Keep nothing; what was kept is deleted. Counts before `pending`.
    pub denied: u8,
}

impl Consent {
    /// Every category may be kept and sent.
    pub const GRANTED: Self = Self { pending: 0, denied: 0 };
    /// No category was answered for yet.
    pub const PENDING: Self = Self { pending: u8::MAX, denied: 0 };
    /// Nothing may be kept.
    pub const DENIED: Self = Self { pending: 0, denied: u8::MAX };
}

/// One request of this life of the client. Numbers are never used twice in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request(pub u32);

/// One storage transaction of this life of the client, in order from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn(pub u32);

/// What the platform tells the core.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// New events, in order, whose texts the platform holds but has not committed. The core answers with
    /// [`Effect::Store`] for each one to keep and [`Effect::Forget`] for each one it will not.
    Tracked(&'a [Entry]),
    /// The answer to [`Effect::Load`]: events found in storage, oldest first, each with its committed stamp if it
    /// has one.
    Loaded {
        /// At most as many as were asked for.
        entries: &'a [(Entry, Option<Stamp>)],
        /// Whether storage holds more.
        more: bool,
    },
    /// Somebody else (another tab) has put events into the storage.
    Changed,
    /// What became of a [`Effect::Commit`]. Turns are answered in order, and a turn that fails takes with it the ones
    /// that were asked for before its answer: what they save was decided without knowing of the failure.
    Committed {
        /// The turn that the commit named.
        turn: Turn,
        /// Whether it is durable. `false` also when the platform has no storage at all.
        durable: bool,
    },
    /// What became of a request.
    Answered {
        /// The request that [`Effect::Send`] named. One that is not (or no longer) in flight is ignored.
        request: Request,
        /// What came of it.
        answer: Answer<'a>,
    },
    /// The time asked for by [`Effect::WakeAt`] has come (early or late does no harm).
    Woke,
    /// Send what there is, without waiting for a batch to fill or a back-off to end; only a wait that the
    /// collector demanded is kept.
    Flush,
    /// The network came back, says the platform. Like [`Input::Flush`], and as little to be trusted.
    Online,
    /// The page is being left, the app suspended: send now what is not acknowledged.
    Leaving,
    /// The person's answers about consent, all of them, after one of them changed.
    Consent(Consent),
    /// The person signed out: the next event begins a new session.
    Reset,
}

/// What became of one request, as the platform saw it.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// A 2xx with a receipt that lists every event that was *not* plainly accepted. An empty list says that all were,
    /// which is also what a 2xx without a receipt means.
    Delivered(&'a [Listed]),
    /// Any other status.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The wait that the collector asked for, milliseconds; 0 for none.
        retry_after_ms: u64,
    },
    /// Certainly not delivered, or not known to be: no connection, a time-out, an aborted request, an unreadable answer.
    Unreachable,
}

/// One line of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Position in the request's events.
    pub index: u32,
    /// What became of that event.
    pub outcome: Outcome,
}

/// What became of one event at the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In the log, once.
    Accepted,
    /// It was there already.
    Duplicate,
    /// Kept apart, for a human to look at.
    Quarantined,
    /// Not kept, and never will be.
    Refused,
}

/// What the core asks of the platform. Polled until there is none, and carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Commit this event with this stamp (or, for an event that is in storage already, the stamp beside it).
    Store {
        /// Which event.
        key: Key,
        /// What to keep with it. A number of 0 and no session: it is kept without one until its category is answered for.
        stamp: Stamp,
    },
    /// Delete this event, text and stamp; it may be one that was never stored.
    Forget {
        /// Which event.
        key: Key,
    },
    /// Keep these bytes in place of the ones saved before; they come back in [`crate::Client::new`].
    Save {
        /// Opaque: words of eight bytes, at most [`crate::config::MAX_STATE_BYTES`] in all.
        state: Vec<u8>,
    },
    /// Delete every event and everything that identifies the person.
    Purge,
    /// Everything since the last `Commit` is one transaction: all or nothing. Answer with [`Input::Committed`].
    Commit {
        /// To be named in the answer.
        turn: Turn,
    },
    /// Hand over up to `limit` events that are in storage and were not yet handed over in this life, oldest first.
    Load {
        /// Most entries in the answer.
        limit: u32,
    },
    /// Send these events as one batch, in this order. Answer with [`Input::Answered`].
    Send(Sending),
    /// Call [`Input::Woke`] at this time of the monotonic clock; replaces the one before.
    WakeAt {
        /// Monotonic milliseconds.
        monotonic_ms: u64,
    },
    /// Something that the application, or a human, may want to know. Nothing need be done.
    Report(Report),
}

/// One request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// To be named in the answer.
    pub request: Request,
    /// The events, in order.
    pub events: Vec<Outgoing>,
    /// Numbers that will never be delivered, to be told with the event at `dropped_at`.
    pub dropped: Vec<Dropped>,
    /// Which of `events` carries `dropped`; meaningless while that is empty.
    pub dropped_at: u32,
    /// Sent while the page is being left: the request must outlive the page, beside the one that may be under way.
    pub leaving: bool,
    /// Not the events are to be sent but a question: which of them does the collector have? They were sent as a page was left,
    /// and nobody saw the answer. The answer's receipt lists as [`Outcome::Duplicate`] those that it has.
    pub asking: bool,
}

/// One event of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Which event.
    pub key: Key,
    /// Whether its stamp is committed. If not, it goes without a number: a number that a crash could give to
    /// another event must never be seen by the collector.
    pub numbered: bool,
}

/// Consecutive numbers that will never be delivered, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// First number, inclusive.
    pub first: u64,
    /// Last number, inclusive.
    pub last: u64,
    /// Why.
    pub reason: DropReason,
}

/// Why an event, or its number, was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was at its bound, and this was the least important of the oldest.
    QueueFull = 0,
    /// It waited longer than the queue keeps events.
    TooOld = 1,
    /// Its text is larger than any collector takes.
    TooLarge = 2,
    /// The collector refused it for good.
    Refused = 3,
    /// The number alone was given up: storage failed, so the event travels without one; or its category waits for an answer about
    /// consent again, and it gets another one then.
    Unnumbered = 4,
    /// The person said no to its category.
    Denied = 5,
}

impl DropReason {
    /// The word on the wire, in metrics and in the documentation.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooOld => "too_old",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Unnumbered => "unnumbered",
            Self::Denied => "denied",
        }
    }
}

/// Something worth knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// An event was given up.
    Dropped {
        /// Which one.
        key: Key,
        /// Why.
        reason: DropReason,
    },
    /// The collector does not know this key (401, 403): nothing more is sent in this life but on [`Input::Flush`].
    Stopped {
        /// The HTTP status.
        status: u16,
    },
    /// A transaction failed: its events are sent from memory, and are lost if the page or app ends before.
    NotDurable,
    /// What was saved could not be read: a new queue has begun.
    StateLost,
}
