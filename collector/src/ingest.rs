//! The write path on one screen: decode → validate → append → receipt.
//! Promises that a receipt exists only once its events are on disk, and that each event of a batch is
//! in it exactly once. Deliberately knows nothing of HTTP, and nothing of who reads the log.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    config::Ip,
    countries::Countries,
    decode::{DecodeError, Encoding, Shape, WireBatch, inflate},
    event_log::{AppendError, Appended, Appending, Clock, EventLog, Offset},
    limits::{ENVELOPE_BYTES, MAX_BODY_BYTES},
    metrics::Metrics,
    sources::{Source, Sources},
    suppressed::Suppressed,
    validate::{Memory, Reason, Refused, Sender, Validated, validate},
};

/// Most events grow by what the collector adds to their context, a tenth of their size or so; more costs one more allocation.
const ROOM: usize = 4;
/// Of a single small event.
const ROOM_AT_LEAST: usize = 512;

/// What the write path needs, for all requests.
pub struct Ingest {
    /// Where events go.
    pub log: Arc<EventLog>,
    /// Who may send.
    pub sources: Sources,
    /// Where outcomes are counted.
    pub metrics: Arc<Metrics>,
    /// Tells when a batch was received.
    pub clock: Clock,
    /// What of addresses is stored.
    pub ip: Ip,
    /// Where addresses are.
    pub countries: Arc<Countries>,
    /// Whose events are not.
    pub suppressed: Suppressed,
}

/// A request, without its HTTP.
#[derive(Debug)]
pub struct Incoming {
    /// As received.
    pub body: Bytes,
    /// What the body is compressed with, if at all.
    pub encoding: Option<Encoding>,
    /// A batch or a single event.
    pub shape: Shape,
    /// The source whose key the head has; wins over the one in the body.
    pub source: Option<Arc<Source>>,
    /// The page it comes from, if a browser says so.
    pub origin: Option<String>,
    /// The address it comes from, if that is known: through proxies only as far as they are believed.
    pub client: Option<IpAddr>,
    /// The id of the first-party cookie that came with it.
    pub cookie: Option<Box<str>>,
}

/// What became of a batch's events.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// How many were stored by this request.
    pub accepted: u64,
    /// Where the first of these is in the log, if there is one.
    pub(crate) first: Option<Offset>,
    /// How many had been stored before.
    pub duplicate: u64,
    /// How many of these have another body than what is stored under their ids, as far as that is known.
    pub(crate) other_bodies: u64,
    /// All that were not accepted, by index.
    pub not_accepted: Vec<NotAccepted>,
}

/// An event that was not stored by this request.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAccepted {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Why, and in words for a human; `None` if it is a duplicate.
    pub refused: Option<(Reason, Cow<'static, str>)>,
}

/// Why no event of a request was taken. The sender still has all of them.
#[derive(Debug)]
pub enum NotTaken {
    /// Neither the header nor the body has a write key.
    NoKey,
    /// No source has it.
    UnknownKey,
    /// The source does not take what pages of that origin send.
    OriginNotAllowed,
    /// The source has sent more than it may: come back later.
    TooFast {
        /// Not before this.
        retry_after: Duration,
    },
    /// The request cannot be read: correct it.
    Undecodable(DecodeError),
    /// The log has more to write than it may hold: come back later.
    Overloaded {
        /// Not before this.
        retry_after: Duration,
    },
    /// The disk refused. Nothing is known about this batch; sending it again stores it once.
    StorageFailed,
    /// The collector is shutting down.
    Closing,
}

impl Ingest {
    /// Takes a request's events. Returns once the good ones are on disk.
    pub async fn take(&self, incoming: Incoming) -> Result<Receipt, NotTaken> {
        let Begun { source, appending, indexes, refused } = self.begin(incoming)?;
        let handed_over = Instant::now();
        let placed = appending.placed().await?;
        self.metrics.append_took(handed_over.elapsed());

        let mut receipt = Receipt::default();
        for (index, outcome) in indexes.into_iter().zip(placed.verdicts) {
            match outcome {
                Appended::Accepted => receipt.accepted += 1,
                Appended::Duplicate => {
                    receipt.duplicate += 1;
                    receipt.not_accepted.push(NotAccepted { index, refused: None });
                }
            }
        }
        receipt.first = (receipt.accepted > 0).then_some(placed.first);
        receipt.other_bodies = placed.other_bodies;
        self.metrics.events(&source.name, "accepted", "", receipt.accepted);
        self.metrics.events(&source.name, "duplicate", "", receipt.duplicate);
        for event in refused {
            self.metrics.events(&source.name, "refused", event.reason.as_str(), 1);
            let refused = Some((event.reason, event.detail));
            receipt.not_accepted.push(NotAccepted { index: event.index, refused });
        }
        receipt.not_accepted.sort_unstable_by_key(|event| event.index);
        Ok(receipt)
    }

    /// The source that a request is from, if that may send it.
    pub(crate) fn admit<'k>(
        &self,
        known: Option<Arc<Source>>,
        key: impl FnOnce() -> Option<Cow<'k, str>>,
        sent: &Sent<'_>,
    ) -> Result<Arc<Source>, NotTaken> {
        let source = match known {
            Some(source) => source,
            None => {
                let key = key().ok_or(NotTaken::NoKey)?;
                self.sources.with_key(&key).ok_or(NotTaken::UnknownKey)?
            }
        };
        if !source.admits_origin(sent.origin) {
            return Err(NotTaken::OriginNotAllowed);
        }
        if sent.bytes > source.max_batch_bytes + ENVELOPE_BYTES {
            return Err(DecodeError::BodyTooLarge { limit: source.max_batch_bytes }.into());
        }
        let too_fast = |retry_after| NotTaken::TooFast { retry_after };
        source.take(sent.events, Instant::now()).map_err(too_fast)?;
        Ok(source)
    }

    /// Decodes, validates, and hands the good events to the log.
    fn begin(&self, incoming: Incoming) -> Result<Begun, NotTaken> {
        let begun = Instant::now();
        let text = inflate(incoming.body, incoming.encoding, MAX_BODY_BYTES)?;
        let batch = WireBatch::parse(&text, incoming.shape)?;
        let sent =
            Sent { origin: incoming.origin.as_deref(), bytes: text.len(), events: batch.len() };
        let source = self.admit(incoming.source, || batch.key(), &sent)?;
        let sender = Sender {
            source: source.name.clone(),
            trust: source.trust,
            may_send: source.may_send.as_ref(),
            flags: source.flags,
            max_event_bytes: source.max_event_bytes,
            received_at: (self.clock)(),
            client: incoming.client,
            ip: self.ip,
            countries: Some(&self.countries),
            cookie: incoming.cookie.as_deref(),
            is_ours: false,
            identity_secrets: &source.identity_secrets,
            asks_proof: self.sources.ask_proof(),
            suppressed: Some(&self.suppressed),
        };
        let _asking = self.suppressed.asking();
        let memory = Memory::with_capacity(text.len() + text.len() / ROOM + ROOM_AT_LEAST);
        let Validated { events, indexes, refused } =
            validate(&batch, incoming.shape, &sender, &memory, fresh_id);
        let appending = self.log.append(&events);
        self.metrics.decode_took(begun.elapsed());
        Ok(Begun { source, appending, indexes, refused })
    }
}

/// What a source is held to.
pub(crate) struct Sent<'a> {
    /// See [`Incoming::origin`].
    pub(crate) origin: Option<&'a str>,
    /// Of the request, inflated.
    pub(crate) bytes: usize,
    /// What counts against its rate.
    pub(crate) events: usize,
}

/// A request whose good events are with the log.
struct Begun {
    source: Arc<Source>,
    appending: Appending,
    /// Where each of those stood in the batch.
    indexes: Vec<usize>,
    refused: Vec<Refused>,
}

impl From<AppendError> for NotTaken {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Overloaded { retry_after } => Self::Overloaded { retry_after },
            AppendError::Failed { .. } => Self::StorageFailed,
            // Not a body of ours: they are bounded far below what a commit can be.
            AppendError::TooLarge => DecodeError::BodyTooLarge { limit: MAX_BODY_BYTES }.into(),
            AppendError::Closed => Self::Closing,
        }
    }
}

impl From<DecodeError> for NotTaken {
    fn from(error: DecodeError) -> Self {
        Self::Undecodable(error)
    }
}

fn fresh_id() -> String {
    uuid::Uuid::now_v7().hyphenated().to_string()
}
