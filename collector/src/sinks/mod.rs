//! The kinds of destination: one file each, and one line in the table below.
//! Promises that every attempt ends in one verdict. Deliberately knows nothing of the log,
//! of cursors or of retries: what to do about a verdict is the consumer's business.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod file;
#[cfg(feature = "kafka")]
mod kafka;
mod opening;
mod webhook;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};

use crate::{
    config::{keys_of, within},
    limits::{DELIVERIES_IN_FLIGHT, DELIVERY_TIMEOUT, LONGEST_DELIVERY_TIMEOUT},
};
pub use file::{FileConfig, FileError, Files};
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, KafkaConfig, KafkaError, OptionName, OptionValue};
pub use opening::Opening;
pub use webhook::{AllowPrivate, BodyFormat, NotPublic, Webhook, WebhookConfig, WebhookError};
pub(crate) use webhook::{address, answer};

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

    /// What keeps it from being used, if that is known before anything is delivered.
    fn unusable(&self) -> Option<String> {
        None
    }

    /// Tries to become usable without delivering anything. Asked for only where [`Sink::unusable`] says something.
    fn make_ready(&self) -> impl Future<Output = Verdict> + Send {
        std::future::ready(Verdict::Delivered)
    }

    /// Tries once, with at least one event, in the order of the log. The verdict is on all of them: a sink that had
    /// a part accepted says what is true of the rest, and gets all of them again. Must end by itself, within a bounded time.
    fn deliver(&self, parcels: &[Parcel]) -> impl Future<Output = Verdict> + Send;
}

/// Makes of the table of kinds what is configured, what delivers, and what can be wrong with it.
macro_rules! kinds {
    ($($(#[$when:meta])? $word:literal $Kind:ident($Config:ident, $Error:ident) $about:literal)*) => {
        /// Where a consumer's events go: a kind of destination, with its own keys.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        pub enum SinkConfig {
            $($(#[$when])? #[doc = $about] #[serde(rename = $word)] $Kind($Config),)*
        }

        impl SinkConfig {
            /// The kinds' names, as `kind` has them, each with its keys.
            pub(crate) fn kinds() -> Vec<(&'static str, &'static [&'static str])> {
                [$($(#[$when])? ($word, keys_of::<$Config>()),)*].to_vec()
            }

            /// The kind's name.
            pub fn kind(&self) -> &'static str {
                match self { $($(#[$when])? Self::$Kind(_) => $word,)* }
            }
        }

        /// A destination of any kind.
        #[derive(Debug)]
        pub enum AnySink {
            $($(#[$when])? #[doc = $about] $Kind($Kind),)*
        }

        impl AnySink {
            /// Makes ready to deliver. Says what is wrong as far as it shows before the first delivery.
            pub fn open(config: SinkConfig) -> Result<Self, SinkError> {
                Ok(match config {
                    $($(#[$when])? SinkConfig::$Kind(config) => Self::$Kind($Kind::open(config)?),)*
                })
            }
        }

        impl Sink for AnySink {
            fn most_at_once(&self) -> usize {
                match self { $($(#[$when])? Self::$Kind(sink) => sink.most_at_once(),)* }
            }

            fn most_in_flight(&self) -> usize {
                match self { $($(#[$when])? Self::$Kind(sink) => sink.most_in_flight(),)* }
            }

            async fn deliver(&self, parcels: &[Parcel]) -> Verdict {
                match self { $($(#[$when])? Self::$Kind(sink) => sink.deliver(parcels).await,)* }
            }
        }

        /// Why a destination cannot be delivered to as it is configured.
        #[derive(Debug, thiserror::Error)]
        pub enum SinkError {
            $($(#[$when])? #[doc = $about] #[error(transparent)] $Kind(#[from] $Error),)*
        }
    };
}

kinds! {
    "webhook" Webhook(WebhookConfig, WebhookError) "Posts to a URL, signed as Standard Webhooks says."
    "file" Files(FileConfig, FileError) "Appends to files in a folder."
    #[cfg(feature = "kafka")]
    "kafka" Kafka(KafkaConfig, KafkaError) "Writes to a topic of Kafka."
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

    /// Not now, for a reason of its own.
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: None }
    }
}

/// An id made of these: the same for the same parts, in every release.
pub(crate) fn message_id<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..16].iter().fold("msg_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

/// `timeout_seconds`, unless it is set.
fn timeout() -> Duration {
    DELIVERY_TIMEOUT
}

/// `timeout_seconds`.
fn timeout_seconds<'de, D: Deserializer<'de>>(number: D) -> Result<Duration, D::Error> {
    within(number, 1..=LONGEST_DELIVERY_TIMEOUT.as_secs()).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receivers keep ids for days, over an update of the collector.
    #[test]
    fn an_id_is_the_same_in_every_release() {
        assert_eq!(message_id(["crm", "web", "m-1"]), "msg_01dbae5fcae8466fe21443ed6d8f8e8d");
        assert_ne!(message_id(["crm", "web", "m-1"]), message_id(["crm", "webm", "-1"]));
    }
}
