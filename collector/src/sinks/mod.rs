//! The kinds of destination: one file each.
//! Promises that every attempt ends in one of three verdicts. Deliberately knows nothing of the log,
//! of cursors or of retries: what to do about a verdict is the consumer's business.

mod webhook;

use std::time::Duration;

use bytes::Bytes;

pub(crate) use webhook::{Webhook, WebhookError};

/// Delivers one event at a time.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Tries once. Must end by itself, within a bounded time.
    fn deliver(&self, parcel: &Parcel) -> impl Future<Output = Verdict> + Send;
}

/// An event on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    /// The same at every attempt.
    pub(crate) id: String,
    /// The record as a line of JSON.
    pub(crate) line: Bytes,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
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
}

impl Verdict {
    /// The word for it, as metrics carry it.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused { .. } => "refused",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}
