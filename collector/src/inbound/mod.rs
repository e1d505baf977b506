//! Webhooks that come in: whoever has no SDK of ours posts in its own shape, signed in its own way, and it becomes events.
//!
//! ```text
//!  POST /v1/in/NAME ─▶ signature ─▶ mapping (CEL) ─▶ a batch of the source NAME ─▶ ingest, as any other
//! ```
//! Promises that nothing is looked at before its signature holds, and that the same delivery makes events with the same ids.
//! Deliberately knows no HTTP status and no log; vendors only by the way they sign and by their mapping files.

pub mod mapping;
mod signature;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{
    config::{Config, InboundConfig, InboundKind, Name},
    current::Current,
    limits::{INBOUND_AT_ONCE, MAPPING_TIME, MAX_INBOUND_VALUES},
    sources::Source,
};
use mapping::{About, Failure, Mapped, Mapping, MappingFileError, Subject};
pub use signature::{Delivery, Unbelieved};

/// The mappings that come with the collector, by the name that errors call them.
fn ready(kind: &InboundKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        InboundKind::Stripe(_) => {
            ("mappings/stripe.toml", include_str!("../../mappings/stripe.toml"))
        }
        InboundKind::Zendesk(_) => {
            ("mappings/zendesk.toml", include_str!("../../mappings/zendesk.toml"))
        }
        InboundKind::HubSpot { .. } => {
            ("mappings/hubspot.toml", include_str!("../../mappings/hubspot.toml"))
        }
        InboundKind::SendGrid(_) => {
            ("mappings/sendgrid.toml", include_str!("../../mappings/sendgrid.toml"))
        }
        InboundKind::Slack(_) => ("mappings/slack.toml", include_str!("../../mappings/slack.toml")),
        InboundKind::Generic(_) => return None,
    })
}

/// Why a webhook cannot be taken in as configured.
#[derive(Debug, thiserror::Error)]
#[error("inbound `{name}`: {cause}")]
pub struct InboundError {
    /// Its name.
    pub name: Name,
    /// What is wrong with its mapping.
    pub cause: MappingFileError,
}

/// One sender of webhooks.
#[derive(Debug)]
pub struct Inbound {
    kind: InboundKind,
    tolerance: Duration,
    mapping: Mapping,
    /// What its events are of.
    pub source: Arc<Source>,
}

impl Inbound {
    /// Reads its mapping.
    pub fn open(name: &Name, config: &InboundConfig) -> Result<Self, MappingFileError> {
        let mapping = match (&config.map, ready(&config.kind)) {
            (Some(path), _) => Mapping::open(path, Subject::Request)?,
            (None, Some((file, text))) => Mapping::parse(text, file, Subject::Request)?,
            // The configuration demands one; without, it is as good as an empty one.
            (None, None) => Mapping::parse("", "the mapping", Subject::Request)?,
        };
        let source = Arc::new(Source::posted(name, config.test));
        Ok(Self { kind: config.kind.clone(), tolerance: config.tolerance, mapping, source })
    }

    /// Whether it is from whom it says, and of now.
    pub fn verify(&self, delivery: &Delivery<'_>) -> Result<(), Unbelieved> {
        delivery.verify(&self.kind, self.tolerance)
    }

    /// The events that a body becomes. Takes [`MAPPING_TIME`] at most, and one expression.
    pub fn map(&self, headers: &HeaderMap, body: &Value) -> Mapped {
        let texts: Vec<_> = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        self.mapping.map(&About {
            subject: body,
            headers: &texts,
            id: signature::signed_id(&self.kind, headers),
            until: Some(Instant::now() + MAPPING_TIME),
        })
    }

    /// The failure that an event is which the mapping made and `ingest` refused.
    pub fn not_taken(&self, made: &mapping::Made, why: &str) -> Failure {
        self.mapping.not_taken(made, why)
    }
}

/// All of them, as configured now. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Inbounds {
    all: Arc<Current<BTreeMap<Name, Arc<Inbound>>>>,
    /// Leave to map a body: expressions take a processor from those who bring events.
    turns: Arc<Semaphore>,
}

impl Inbounds {
    /// Reads all mappings. Blocks.
    pub fn open(config: &Config) -> Result<Self, InboundError> {
        let all = Arc::new(Current::new(read(config)?));
        Ok(Self { all, turns: Arc::new(Semaphore::new(INBOUND_AT_ONCE)) })
    }

    /// From now on those of this configuration; what cannot be read changes nothing. Blocks.
    pub(crate) fn replace(&self, read: BTreeMap<Name, Arc<Inbound>>) {
        self.all.set(read);
    }

    /// Whether none is configured.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.get().is_empty()
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Inbound>> {
        let all = self.all.get();
        all.iter().find(|(known, _)| known.as_str() == name).map(|(_, inbound)| Arc::clone(inbound))
    }

    /// Reads and maps a body when it is its turn, on a thread that may block.
    pub async fn map(
        &self,
        inbound: &Arc<Inbound>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Mapped, Unreadable> {
        let turn = self.turns.acquire().await;
        let inbound = Arc::clone(inbound);
        let mapping = move || {
            let body = match inbound.kind {
                InboundKind::Slack(_) => payload(&body),
                _ => body,
            };
            Ok(inbound.map(&headers, &read_json(&body)?))
        };
        let mapped = tokio::task::spawn_blocking(mapping).await;
        drop(turn);
        mapped.unwrap_or_else(|panic| Err(Unreadable::Lost(panic.to_string())))
    }
}

/// Why a body is not looked at.
#[derive(Debug)]
pub enum Unreadable {
    /// It is no JSON, and this is where.
    NoJson(String),
    /// It has more than [`MAX_INBOUND_VALUES`].
    TooMany,
    /// The thread that mapped it came to an end.
    Lost(String),
}

/// Slack sends JSON as a form's field.
fn payload(body: &[u8]) -> Bytes {
    let mut fields = form_urlencoded::parse(body);
    let payload = fields.find(|(name, _)| name == "payload").map(|(_, value)| value.into_owned());
    payload.unwrap_or_default().into()
}

/// What takes a byte or two there takes some hundred here: once as JSON, and twice as CEL has it.
fn read_json(body: &[u8]) -> Result<Value, Unreadable> {
    let values = body.iter().filter(|byte| b",[{".contains(byte)).count();
    if values > MAX_INBOUND_VALUES {
        return Err(Unreadable::TooMany);
    }
    serde_json::from_slice(body).map_err(|error| Unreadable::NoJson(error.to_string()))
}

/// All that are configured.
pub(crate) fn read(config: &Config) -> Result<BTreeMap<Name, Arc<Inbound>>, InboundError> {
    let open = |(name, config): (&Name, &InboundConfig)| match Inbound::open(name, config) {
        Ok(inbound) => Ok((name.clone(), Arc::new(inbound))),
        Err(cause) => Err(InboundError { name: name.clone(), cause }),
    };
    config.inbound.iter().map(open).collect()
}
