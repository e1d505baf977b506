//! The kinds of destination: one file each.
//! Promises that every attempt ends in one verdict. Deliberately knows nothing of the log,
//! of cursors or of retries: what to do about a verdict is the consumer's business.

mod webhook;

use std::time::Duration;

use bytes::Bytes;

use crate::limits::DELIVERIES_IN_FLIGHT;
pub(crate) use webhook::Webhook;

/// Delivers events to one destination.
pub trait Sink: Send + Sync + 'static {
    /// Events of one delivery, at most. A consumer hands over as many as there are, and waits for no more.
    fn most_at_once(&self) -> usize {
        1
    }

    /// Deliveries under way at once, at most.
    fn most_in_flight(&self) -> usize {
        DELIVERIES_IN_FLIGHT
    }

    /// Tries once, with at least one event, in the order of the log. The verdict is on all of them: a sink that had
    /// a part accepted says what is true of the rest, and gets all of them again. Must end by itself, within a bounded time.
    fn deliver(&self, parcels: &[Parcel]) -> impl Future<Output = Verdict> + Send;
}

/// An event on its way out.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The same at every attempt, and different for every consumer: what a receiver deduplicates on.
    pub id: String,
    /// Events with the same one keep their order.
    pub order_key: Box<str>,
    /// The record as a line of JSON, without the line's end.
    pub line: Bytes,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The destination has it.
    Delivered,
    /// The destination works and does not want this event.
    Refused {
        /// What it said.
        reason: String,
    },
    /// The destination does not work now, for any event.
    Unavailable {
        /// What happened.
        reason: String,
        /// When it wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
    /// The destination wants nothing more, ever: until a human says otherwise.
    Gone {
        /// What it said.
        reason: String,
    },
}

impl Verdict {
    /// The word for it, as metrics carry it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused { .. } => "refused",
            Self::Unavailable { .. } => "unavailable",
            Self::Gone { .. } => "gone",
        }
    }
}
