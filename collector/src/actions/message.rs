//! One thing to be done because of a rule, and what came of an attempt at it.
//! Promises words for outcomes that metrics and the outbox can keep. Deliberately knows no destination.

use std::time::Duration;

use super::Rendered;
use crate::state::SuppressionReason;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// The same at every attempt, and of no other action: what a destination that takes keys deduplicates on. 1 to 255 visible ASCII
    /// characters.
    pub key: String,
    /// The rule's name.
    pub rule: String,
    /// An address, a number, or a channel. Slack and webhooks have one of their own.
    pub to: Option<String>,
    /// What is to be read.
    pub rendered: Rendered,
    /// Everything that is known of the firing: what a webhook posts, and what `unsubscribe` and Slack's reasons are taken from.
    pub context: serde_json::Value,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Accepted {
        /// What the destination calls it.
        reference: Option<String>,
    },
    /// It is not done and never will be: another attempt would fare the same.
    Refused {
        /// What was said.
        reason: String,
    },
    /// It is refused because of the address, and so would be all that is sent there: it belongs on the suppression list.
    NeverAgain {
        /// What was said.
        reason: String,
        /// Why nothing is to be sent there any more.
        because: SuppressionReason,
    },
    /// It is not done because it is not wanted: by the person, or by who runs the collector. Nothing is broken.
    Withheld {
        /// What stands in the way.
        reason: String,
    },
    /// It is certainly not done; later it may be.
    Failed {
        /// What was said, or what happened.
        reason: String,
        /// When the destination wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
    /// It may be done: the answer was lost, or says neither. Only a destination that takes keys can be asked again.
    Unknown {
        /// What happened.
        reason: String,
    },
}

impl Outcome {
    /// The word for it, as metrics and the outbox carry it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } | Self::NeverAgain { .. } => "refused",
            Self::Withheld { .. } => "withheld",
            Self::Failed { .. } => "failed",
            Self::Unknown { .. } => "unknown",
        }
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    pub(crate) fn withheld(reason: impl Into<String>) -> Self {
        Self::Withheld { reason: reason.into() }
    }

    /// Not now, for a reason of its own.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), retry_after: None }
    }

    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { reason: reason.into() }
    }
}
