//! One event as the log keeps it: the types its fields have, its bytes inside a chunk, and its line of JSON for consumers.
//! Promises: what was encoded decodes to the same record; decoding never panics, whatever the bytes.
//! Knows nothing of chunks, files or deduplication, and never looks inside the event's JSON.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::timestamp::Timestamp;
use super::varint;

/// A record's position in the log: logical, so that it survives whatever happens to files. Opaque outside: print it, read it
/// back, compare it. [`Offset::START`] stands before every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub(super) u64);

impl Offset {
    /// Before the first record: "after" this comes everything.
    pub const START: Offset = Offset(0);

    /// The offset that this record comes after.
    #[must_use]
    pub fn before(self) -> Offset {
        Offset(self.0.saturating_sub(1))
    }

    /// For databases that keep many of them: it sorts as they do. Below 2^59, as long as a log can become.
    pub(crate) fn to_number(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Back from [`Offset::to_number`].
    pub(crate) fn from_number(number: i64) -> Offset {
        Offset(u64::try_from(number).unwrap_or_default())
    }

    /// How many records can lie between `earlier` and this, this one included: a consumer's lag. 0 if `earlier` is not earlier.
    pub fn since(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not an offset that this log ever gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an offset: hand back the `offset` of a record, unchanged")]
pub struct InvalidOffset;

impl FromStr for Offset {
    type Err = InvalidOffset;

    fn from_str(text: &str) -> Result<Self, InvalidOffset> {
        // Exactly what Display writes: no sign, no leading zero.
        let canonical = text == "0" || text.starts_with(|c: char| ('1'..='9').contains(&c));
        if canonical {
            text.parse().map(Offset).map_err(|_| InvalidOffset)
        } else {
            Err(InvalidOffset)
        }
    }
}

/// The name of a source: 1 to 64 ASCII letters, digits, `-`, `_` or `.`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(Arc<str>);

/// The text cannot name a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a source's name is 1 to 64 letters, digits, '-', '_' or '.'")]
pub struct InvalidSourceName;

impl FromStr for SourceName {
    type Err = InvalidSourceName;

    fn from_str(name: &str) -> Result<Self, InvalidSourceName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        match name.len() {
            1..=64 if name.bytes().all(allowed) => Ok(Self(name.into())),
            _ => Err(InvalidSourceName),
        }
    }
}

impl Deref for SourceName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Who can have written the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Came in with a public key: anyone can have forged it.
    Client,
    /// Came in with a secret one.
    Server,
}

impl Trust {
    /// The word on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Trust::Client => "client",
            Trust::Server => "server",
        }
    }
}

/// How the event came to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A source sent it as it happened.
    Sent,
    /// It was brought in from elsewhere afterwards; runs no actions unless asked.
    Import,
    /// The collector made it out of other events.
    Derived {
        /// The rule or feature that made it.
        by: Box<str>,
        /// 1 for what was derived from a sent event; loops are cut by it.
        depth: u8,
    },
}

/// A place in a device's queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sequence<'a> {
    /// The queue's identity, as the device gave it.
    pub queue: Cow<'a, str>,
    /// Gapless within the queue, from 1.
    pub seq: u64,
}

/// Sequence numbers that a queue has reported it will never deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedRange {
    /// The first of them.
    pub first: u64,
    /// The last of them, included.
    pub last: u64,
}

/// What consumers must mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Sent to try something out; counts for nobody.
    pub test: bool,
    /// Must set off no actions.
    pub no_actions: bool,
    /// The person was erased; the JSON is what remains.
    pub erased: bool,
    /// How far it is believed who did it.
    pub identity: Identity,
}

/// Whether who did it, as the event says, is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// Nobody has asked for a proof.
    #[default]
    Unasked,
    /// The customer's own backend has signed for the user.
    Proven,
    /// A proof was asked for, and there is none: of what it says of who did it only the device counts.
    Claimed,
}

/// An event on its way into the log. The log adds the offset and `received_at`. Its texts can stay where they came from:
/// what is stored is copied once, into its batch.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent<'a> {
    /// Deduplicated on, together with the source.
    pub message_id: Cow<'a, str>,
    /// See [`Record::source`].
    pub source: SourceName,
    /// See [`Record::trust`].
    pub trust: Trust,
    /// See [`Record::origin`].
    pub origin: Origin,
    /// See [`Record::order_key`].
    pub order_key: Cow<'a, str>,
    /// Where the device numbered it; deduplicated on, without a limit in time.
    pub sequence: Option<Sequence<'a>>,
    /// What the queue of `sequence` reports as never to come. Ignored without `sequence`.
    pub dropped: Vec<DroppedRange>,
    /// When it happened, corrected; `None` means "when it was received".
    pub event_time: Option<Timestamp>,
    /// When it happened, as the device claimed.
    pub claimed_time: Option<Timestamp>,
    /// Version of its schema in the plan; 0 is none.
    pub schema_version: u32,
    /// See [`Flags`].
    pub flags: Flags,
    /// [`body_hash`] of what the event says, so that the same id with another body is noticed; without what a retry may say
    /// differently (the `headwater` stamp). 0 means unknown: never compared.
    pub body_hash: u32,
    /// The event's JSON object, without the members that the record itself holds.
    pub json: Cow<'a, str>,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its position.
    pub offset: Offset,
    /// When the log took it; never decreases from one record to the next.
    pub received_at: Timestamp,
    /// When it happened, corrected by the collector.
    pub event_time: Timestamp,
    /// When it happened, as the device claimed.
    pub claimed_time: Option<Timestamp>,
    /// Who produced it.
    pub source: SourceName,
    /// Who can have written it.
    pub trust: Trust,
    /// How it came to be.
    pub origin: Origin,
    /// Order is kept among the records with the same key.
    pub order_key: Box<str>,
    /// Unique within its source.
    pub message_id: Box<str>,
    /// Its place in a device's queue.
    pub sequence: Option<Sequence<'static>>,
    /// Version of its schema in the plan; 0 is none.
    pub schema_version: u32,
    /// See [`Flags`].
    pub flags: Flags,
    /// The event's JSON object as accepted.
    pub json: Box<str>,
}

/// For [`NewEvent::body_hash`]: CRC32C over the parts, never 0.
pub fn body_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    parts.into_iter().fold(0, crc32c::crc32c_append).max(1)
}

const SERVER: u8 = 1 << 0;
const IMPORT: u8 = 1 << 1;
const DERIVED: u8 = 1 << 2;
const EVENT_TIME: u8 = 1 << 3;
const CLAIMED_TIME: u8 = 1 << 4;
const SEQUENCE: u8 = 1 << 5;
const SCHEMA: u8 = 1 << 6;
const KNOWN: u8 = SERVER | IMPORT | DERIVED | EVENT_TIME | CLAIMED_TIME | SEQUENCE | SCHEMA;

const TEST: u8 = 1 << 0;
const NO_ACTIONS: u8 = 1 << 1;
const ERASED: u8 = 1 << 2;
const PROVEN: u8 = 1 << 3;
const CLAIMED: u8 = 1 << 4;

impl<'a> NewEvent<'a> {
    /// An event of which nothing else is known: sent by a client just now, in no queue, with a body that is not compared.
    pub fn new(
        source: SourceName,
        message_id: impl Into<Cow<'a, str>>,
        order_key: impl Into<Cow<'a, str>>,
        json: impl Into<Cow<'a, str>>,
    ) -> Self {
        Self {
            message_id: message_id.into(),
            source,
            trust: Trust::Client,
            origin: Origin::Sent,
            order_key: order_key.into(),
            sequence: None,
            dropped: Vec::new(),
            event_time: None,
            claimed_time: None,
            schema_version: 0,
            flags: Flags::default(),
            body_hash: 0,
            json: json.into(),
        }
    }

    /// The same with texts of its own.
    pub fn into_owned(self) -> NewEvent<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        NewEvent {
            message_id: owned(self.message_id),
            source: self.source,
            trust: self.trust,
            origin: self.origin,
            order_key: owned(self.order_key),
            sequence: self.sequence.map(|it| Sequence { queue: owned(it.queue), seq: it.seq }),
            dropped: self.dropped,
            event_time: self.event_time,
            claimed_time: self.claimed_time,
            schema_version: self.schema_version,
            flags: self.flags,
            body_hash: self.body_hash,
            json: owned(self.json),
        }
    }

    /// Appends the event's bytes: all of the record but what its chunk holds (offset, `received_at`, source).
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_head(out);
        out.extend_from_slice(self.json.as_bytes());
    }

    /// The same without the JSON, which comes last and is not copied twice.
    pub(super) fn encode_head(&self, out: &mut Vec<u8>) {
        let present = |yes: bool, bit: u8| if yes { bit } else { 0 };
        out.push(
            present(self.trust == Trust::Server, SERVER)
                | present(self.origin == Origin::Import, IMPORT)
                | present(matches!(self.origin, Origin::Derived { .. }), DERIVED)
                | present(self.event_time.is_some(), EVENT_TIME)
                | present(self.claimed_time.is_some(), CLAIMED_TIME)
                | present(self.sequence.is_some(), SEQUENCE)
                | present(self.schema_version != 0, SCHEMA),
        );
        out.push(
            present(self.flags.test, TEST)
                | present(self.flags.no_actions, NO_ACTIONS)
                | present(self.flags.erased, ERASED)
                | present(self.flags.identity == Identity::Proven, PROVEN)
                | present(self.flags.identity == Identity::Claimed, CLAIMED),
        );
        if let Origin::Derived { by, depth } = &self.origin {
            varint::put_bytes(out, by.as_bytes());
            out.push(*depth);
        }
        for time in [self.event_time, self.claimed_time].into_iter().flatten() {
            varint::put_signed(out, time.unix_ms());
        }
        if let Some(Sequence { queue, seq }) = &self.sequence {
            varint::put_bytes(out, queue.as_bytes());
            varint::put(out, *seq);
        }
        if self.schema_version != 0 {
            varint::put(out, u64::from(self.schema_version));
        }
        varint::put_bytes(out, self.order_key.as_bytes());
        varint::put_bytes(out, self.message_id.as_bytes());
        varint::put(out, self.json.len() as u64);
    }
}

impl Record {
    /// Reads what [`NewEvent::encode`] wrote; `None` if these are not such bytes, exactly.
    pub(super) fn decode(
        mut bytes: &[u8],
        offset: Offset,
        received_at: Timestamp,
        source: SourceName,
    ) -> Option<Self> {
        let input = &mut bytes;
        let [present, flags] = varint::take_array::<2>(input)?;
        if present & !KNOWN != 0 {
            return None;
        }
        let origin = match present & (IMPORT | DERIVED) {
            0 => Origin::Sent,
            IMPORT => Origin::Import,
            DERIVED => {
                let by = varint::take_str(input)?.into();
                let [depth] = varint::take_array(input)?;
                Origin::Derived { by, depth }
            }
            _ => return None,
        };
        let time = |input: &mut &[u8], bit: u8| -> Option<Option<Timestamp>> {
            if present & bit == 0 {
                return Some(None);
            }
            varint::take_signed(input).map(|ms| Some(Timestamp::from_unix_ms(ms)))
        };
        let event_time = time(input, EVENT_TIME)?.unwrap_or(received_at);
        let claimed_time = time(input, CLAIMED_TIME)?;
        let sequence = if present & SEQUENCE != 0 {
            let queue = varint::take_str(input)?.to_owned().into();
            Some(Sequence { queue, seq: varint::take(input)? })
        } else {
            None
        };
        let schema_version =
            if present & SCHEMA != 0 { u32::try_from(varint::take(input)?).ok()? } else { 0 };
        let record = Record {
            offset,
            received_at,
            event_time,
            claimed_time,
            source,
            trust: if present & SERVER != 0 { Trust::Server } else { Trust::Client },
            origin,
            sequence,
            schema_version,
            flags: Flags {
                test: flags & TEST != 0,
                no_actions: flags & NO_ACTIONS != 0,
                erased: flags & ERASED != 0,
                identity: match (flags & PROVEN != 0, flags & CLAIMED != 0) {
                    (true, false) => Identity::Proven,
                    (false, true) => Identity::Claimed,
                    _ => Identity::Unasked,
                },
            },
            order_key: varint::take_str(input)?.into(),
            message_id: varint::take_str(input)?.into(),
            json: varint::take_str(input)?.into(),
        };
        input.is_empty().then_some(record)
    }

    /// Appends the record as one flat JSON object, the line that consumers read; no line break at its end.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let text = |out: &mut Vec<u8>, name: &str, value: &dyn fmt::Display| {
            out.extend_from_slice(if name == "offset" { b"{\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            serde_json::to_writer(&mut *out, &format_args!("{value}"))
                .expect("a Vec takes every write and a text is always JSON");
        };
        text(out, "offset", &self.offset);
        text(out, "receivedAt", &self.received_at);
        text(out, "source", &self.source);
        text(out, "trust", &self.trust.as_str());
        match &self.origin {
            Origin::Sent => text(out, "origin", &"sent"),
            Origin::Import => text(out, "origin", &"import"),
            Origin::Derived { by, depth } => {
                text(out, "origin", &"derived");
                text(out, "derivedBy", by);
                out.extend_from_slice(b",\"derivedDepth\":");
                out.extend_from_slice(depth.to_string().as_bytes());
            }
        }
        text(out, "orderKey", &self.order_key);
        text(out, "timestamp", &self.event_time);
        if let Some(claimed) = self.claimed_time {
            text(out, "originalTimestamp", &claimed);
        }
        if self.flags.test {
            out.extend_from_slice(b",\"test\":true");
        }
        match self.json.trim_start().strip_prefix('{') {
            Some(rest) if !rest.trim_start().starts_with('}') => {
                out.push(b',');
                out.extend_from_slice(rest.as_bytes());
            }
            _ => out.push(b'}'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> NewEvent<'static> {
        NewEvent::new(
            "web".parse().unwrap(),
            "m-1",
            "anon \"1\"",
            r#"{"type":"track","event":"Ä","messageId":"m-1"}"#,
        )
    }

    fn rich() -> NewEvent<'static> {
        NewEvent {
            trust: Trust::Server,
            origin: Origin::Derived { by: "cart-left".into(), depth: 3 },
            sequence: Some(Sequence { queue: "q".into(), seq: u64::MAX }),
            event_time: Some(Timestamp::from_unix_ms(-5)),
            claimed_time: Some(Timestamp::MAX),
            schema_version: 7,
            flags: Flags {
                test: true,
                erased: true,
                identity: Identity::Claimed,
                ..Flags::default()
            },
            ..event()
        }
    }

    fn stored(event: &NewEvent<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        event.encode(&mut out);
        out
    }

    fn read(bytes: &[u8]) -> Option<Record> {
        let received_at = Timestamp::from_unix_ms(1_763_769_600_000);
        Record::decode(bytes, Offset(42), received_at, "web".parse().unwrap())
    }

    #[test]
    fn decodes_what_was_encoded_and_nothing_else() {
        let (bytes, event) = (stored(&rich()), rich());
        let record = read(&bytes).unwrap();
        assert_eq!(
            (record.origin, record.sequence, record.flags, record.schema_version),
            (event.origin, event.sequence, event.flags, 7)
        );
        assert_eq!((record.event_time.unix_ms(), record.claimed_time), (-5, event.claimed_time));
        assert_eq!((record.trust, &*record.message_id), (Trust::Server, "m-1"));
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(read(&[&bytes[..], b"x"].concat()), None);
    }

    #[test]
    fn a_line_is_flat_json_with_the_event_spliced_in() {
        let mut line = Vec::new();
        read(&stored(&event())).unwrap().write_line(&mut line);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            r#"{"offset":"42","receivedAt":"2025-11-22T00:00:00.000Z","source":"web","trust":"client","origin":"sent","orderKey":"anon \"1\"","timestamp":"2025-11-22T00:00:00.000Z","type":"track","event":"Ä","messageId":"m-1"}"#
        );
        let mut line = Vec::new();
        read(&stored(&NewEvent { json: "{ }".into(), ..rich() })).unwrap().write_line(&mut line);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["originalTimestamp"], "9999-12-31T23:59:59.999Z");
        assert_eq!((&value["derivedBy"], &value["derivedDepth"]), (&"cart-left".into(), &3.into()));
    }

    #[test]
    fn offsets_and_names_are_read_strictly() {
        assert_eq!("42".parse(), Ok(Offset(42)));
        for bad in ["", "+1", "01", "-1", " 1", "18446744073709551616"] {
            assert_eq!(bad.parse::<Offset>(), Err(InvalidOffset));
        }
        for bad in ["", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(bad.parse::<SourceName>(), Err(InvalidSourceName));
        }
    }
}
