//! A wire batch becomes events that the log can take, and refusals that say why.
//! Promises that each event of the batch ends in exactly one of the two, that one bad event costs no
//! other, and that no value is parsed that is only carried. Deliberately has no clock, no randomness
//! and no I/O: the time of receipt and fresh ids are handed in.

use std::{borrow::Cow, collections::HashSet, ops::Range};

use serde_json::value::RawValue;

use crate::{
    config::EventFilter,
    decode::{EventType, Member, Shape, WireBatch},
    event_log::{Flags, NewEvent, Origin, SourceName, Timestamp, Trust, body_hash},
    event_time,
    limits::{MAX_BATCH_BYTES, MAX_DEPTH, MAX_MESSAGE_ID_BYTES},
    stamp::Stamp,
};

/// What is known about a request besides its body.
#[derive(Clone, Debug)]
pub struct Sender<'a> {
    /// Whose key it was.
    pub source: SourceName,
    /// How far that source is believed.
    pub trust: Trust,
    /// What that source may send; `None` is anything.
    pub may_send: Option<&'a EventFilter>,
    /// What its events are marked with.
    pub flags: Flags,
    /// Most bytes of one of its events.
    pub max_event_bytes: usize,
    /// Now, by our own clock.
    pub received_at: Timestamp,
}

/// A batch, sorted.
#[derive(Debug, Default)]
pub struct Validated {
    /// The good ones, in order …
    pub events: Vec<NewEvent>,
    /// … and where each stood in the batch.
    pub indexes: Vec<usize>,
    /// The others, in order.
    pub refused: Vec<Refused>,
}

/// An event that is not taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// The word for why.
    pub reason: Reason,
    /// For a human: which field, which limit.
    pub detail: Cow<'static, str>,
}

/// Why an event is refused. The words are the receipt's and the metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is not a JSON object.
    NotAnObject,
    /// `type` is missing or none of the six.
    UnknownType,
    /// A track event without a name.
    MissingEvent,
    /// Neither `userId` nor `anonymousId`.
    MissingUserId,
    /// A group call without `groupId`.
    MissingGroupId,
    /// An alias call without `previousId`.
    MissingPreviousId,
    /// More than [`Sender::max_event_bytes`].
    TooLarge,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// More than [`MAX_MESSAGE_ID_BYTES`].
    MessageIdTooLong,
    /// A field of the wrong JSON type.
    InvalidField,
    /// The source's list does not have it.
    TypeNotAllowed,
}

impl Reason {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::UnknownType => "unknown_type",
            Self::MissingEvent => "missing_event",
            Self::MissingUserId => "missing_user_id",
            Self::MissingGroupId => "missing_group_id",
            Self::MissingPreviousId => "missing_previous_id",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::MessageIdTooLong => "message_id_too_long",
            Self::InvalidField => "invalid_field",
            Self::TypeNotAllowed => "type_not_allowed",
        }
    }
}

/// Bytes by which what a batch says once may make its events grow, all together: several times what clients send, and a bound
/// on what a small request can make of itself.
const MAX_SHARED_BYTES: usize = 4 * MAX_BATCH_BYTES;

/// Sorts a batch. `fresh_id` makes a message id for an event that has none.
pub fn validate(
    batch: &WireBatch<'_>,
    shape: Shape,
    sender: &Sender<'_>,
    mut fresh_id: impl FnMut() -> Box<str>,
) -> Validated {
    let context = batch.context.filter(|value| kind(value) == Kind::Object);
    let integrations = batch.integrations.filter(|value| kind(value) == Kind::Object);
    let mut envelope = Envelope {
        shape,
        sent_at: batch.sent_at.and_then(time),
        context: context.and_then(members_of),
        unreadable: context.is_some_and(|value| members_of(value).is_none()),
        integrations,
        bytes: [context, integrations].into_iter().flatten().map(|value| value.get().len()).sum(),
        bytes_left: MAX_SHARED_BYTES,
    };
    let mut sorted = Validated { events: Vec::with_capacity(batch.len()), ..Validated::default() };
    sorted.indexes.reserve(batch.len());
    for (index, members) in batch.events().enumerate() {
        let event = match members {
            Some(members) => Fields::find(members).into_event(&envelope, sender, &mut fresh_id),
            None => Err((Reason::NotAnObject, "an event is a JSON object".into())),
        };
        envelope.bytes_left = envelope.bytes_left.saturating_sub(envelope.bytes);
        match event {
            Ok(event) => {
                sorted.events.push(event);
                sorted.indexes.push(index);
            }
            Err((reason, detail)) => sorted.refused.push(Refused { index, reason, detail }),
        }
    }
    sorted
}

type Refusal = (Reason, Cow<'static, str>);

/// What the batch says for all of its events.
struct Envelope<'a> {
    shape: Shape,
    sent_at: Option<Timestamp>,
    context: Option<Vec<Member<'a>>>,
    /// It has a context that cannot be taken apart.
    unreadable: bool,
    integrations: Option<&'a RawValue>,
    /// Of context and integrations: what each event grows by.
    bytes: usize,
    /// How much the events may still grow by, all together.
    bytes_left: usize,
}

/// The fields that mean something to the collector: `FIELDS[i]` is in `Fields::at[i]`.
const FIELDS: [(&str, Keep); 24] = [
    ("type", Keep::Text),
    ("event", Keep::Text),
    ("messageId", Keep::Text),
    ("anonymousId", Keep::Text),
    ("userId", Keep::Text),
    ("groupId", Keep::Text),
    ("previousId", Keep::Text),
    ("name", Keep::Text),
    ("category", Keep::Text),
    ("properties", Keep::Object),
    ("traits", Keep::Object),
    ("context", Keep::Object),
    ("integrations", Keep::Object),
    // The record holds these itself, so that nobody can forge them, or they are nobody's business.
    ("timestamp", Keep::Nothing),
    ("originalTimestamp", Keep::Nothing),
    ("sentAt", Keep::Nothing),
    ("receivedAt", Keep::Nothing),
    ("offset", Keep::Nothing),
    ("source", Keep::Nothing),
    ("trust", Keep::Nothing),
    ("orderKey", Keep::Nothing),
    ("origin", Keep::Nothing),
    ("derivedBy", Keep::Nothing),
    ("derivedDepth", Keep::Nothing),
];
/// The positions in [`FIELDS`] that code below asks for.
const TYPE: usize = 0;
const EVENT: usize = 1;
const MESSAGE_ID: usize = 2;
const ANONYMOUS_ID: usize = 3;
const USER_ID: usize = 4;
const GROUP_ID: usize = 5;
const PREVIOUS_ID: usize = 6;
const CONTEXT: usize = 11;
const INTEGRATIONS: usize = 12;
const TIMESTAMP: usize = 13;
const ORIGINAL_TIMESTAMP: usize = 14;
const SENT_AT: usize = 15;

/// What a known field has to be, and whether the stored JSON has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Text,
    Object,
    Nothing,
}

/// An event's members, the known ones found.
struct Fields<'e, 'a> {
    members: &'e [Member<'a>],
    /// Where each of [`FIELDS`] is: the last of its name, as JavaScript reads repeated names.
    at: [Option<usize>; FIELDS.len()],
}

impl<'e, 'a> Fields<'e, 'a> {
    fn find(members: &'e [Member<'a>]) -> Self {
        let mut at = [None; FIELDS.len()];
        for (position, (name, _)) in members.iter().enumerate() {
            if let Some(field) = field_named(name) {
                at[field] = Some(position);
            }
        }
        Self { members, at }
    }

    fn raw(&self, field: usize) -> Option<&'a RawValue> {
        self.at[field].map(|position| self.members[position].1)
    }

    /// A text that is there and not empty. `null` is as good as absent: several clients write it.
    fn text(&self, field: usize) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(raw) = self.raw(field) else { return Ok(None) };
        match unquoted(raw) {
            Some(text) => Ok((!text.is_empty()).then_some(text)),
            None if kind(raw) == Kind::Null => Ok(None),
            None => Err(wrong_type(field, "a string")),
        }
    }

    fn into_event(
        self,
        envelope: &Envelope<'_>,
        sender: &Sender<'_>,
        fresh_id: &mut impl FnMut() -> Box<str>,
    ) -> Result<NewEvent, Refusal> {
        let size = self.check_size_and_depth(sender.max_event_bytes, envelope)?;
        for (field, (_, keep)) in FIELDS.iter().enumerate() {
            let Some(raw) = self.raw(field) else { continue };
            match (keep, kind(raw)) {
                (Keep::Nothing, _) | (_, Kind::Null) => {}
                (Keep::Text, Kind::Text) | (Keep::Object, Kind::Object) => {}
                (Keep::Text, _) => return Err(wrong_type(field, "a string")),
                (Keep::Object, _) => return Err(wrong_type(field, "an object")),
            }
        }

        let event_type = self.event_type(envelope.shape)?;
        let name = self.text(EVENT)?;
        if event_type == EventType::Track && name.is_none() {
            return Err((Reason::MissingEvent, "a track event has a name: `event`".into()));
        }
        let (user_id, anonymous_id) = (self.text(USER_ID)?, self.text(ANONYMOUS_ID)?);
        if user_id.is_none() && anonymous_id.is_none() {
            let detail = "an event has a `userId` or an `anonymousId`, not empty";
            return Err((Reason::MissingUserId, detail.into()));
        }
        if event_type == EventType::Group && self.text(GROUP_ID)?.is_none() {
            return Err((Reason::MissingGroupId, "a group call has a `groupId`".into()));
        }
        if event_type == EventType::Alias && self.text(PREVIOUS_ID)?.is_none() {
            return Err((Reason::MissingPreviousId, "an alias call has a `previousId`".into()));
        }
        let track_name = name.as_deref().filter(|_| event_type == EventType::Track);
        if !sender.may_send.is_none_or(|list| list.admits(event_type.as_str(), track_name)) {
            let detail = format!("source `{}` may not send this event", sender.source);
            return Err((Reason::TypeNotAllowed, detail.into()));
        }

        let given_id = self.text(MESSAGE_ID)?;
        if given_id.as_ref().is_some_and(|id| id.len() > MAX_MESSAGE_ID_BYTES) {
            let detail = format!("a `messageId` has at most {MAX_MESSAGE_ID_BYTES} bytes");
            return Err((Reason::MessageIdTooLong, detail.into()));
        }
        let message_id = given_id.as_deref().map_or_else(fresh_id, Into::into);
        let stamp = match self.raw(CONTEXT) {
            Some(context) => {
                Stamp::find(context.get()).map_err(|why| (Reason::InvalidField, why.into()))?
            }
            None => Stamp::default(),
        };
        // RudderStack's clients write when it happened into the other one, and leave the first to the server.
        let mut times = [TIMESTAMP, ORIGINAL_TIMESTAMP].into_iter().filter_map(|at| self.raw(at));
        let claimed_time = times.find_map(time);
        let sent_at = envelope.sent_at.or_else(|| self.raw(SENT_AT).and_then(time));
        let fresh = given_id.is_none().then_some(&*message_id);

        Ok(NewEvent {
            source: sender.source.clone(),
            trust: sender.trust,
            origin: Origin::Sent,
            order_key: anonymous_id.or(user_id).map_or_else(|| message_id.clone(), Into::into),
            sequence: stamp.sequence,
            dropped: stamp.dropped,
            event_time: claimed_time
                .map(|claimed| event_time::corrected(Some(claimed), sent_at, sender.received_at)),
            claimed_time,
            schema_version: 0,
            flags: sender.flags,
            body_hash: self.body_hash(),
            json: self.json(size, event_type, fresh, envelope),
            message_id,
        })
    }

    /// The size in bytes, without space between members.
    /// As it will be stored: with what the batch says for all of its events.
    fn check_size_and_depth(
        &self,
        max_event_bytes: usize,
        envelope: &Envelope<'_>,
    ) -> Result<usize, Refusal> {
        let own: usize =
            self.members.iter().map(|(name, raw)| name.len() + raw.get().len() + 4).sum();
        let size = own + envelope.bytes;
        if size > max_event_bytes {
            let detail = format!("{size} bytes; an event has at most {max_event_bytes}");
            return Err((Reason::TooLarge, detail.into()));
        }
        if envelope.bytes > envelope.bytes_left {
            let detail = "the batch's `context` and `integrations`, repeated in each of its events, are too \
                          large for so many: send fewer events, or less for all";
            return Err((Reason::TooLarge, detail.into()));
        }
        if envelope.unreadable {
            let detail = "the batch's `context` has a name that is no text";
            return Err((Reason::InvalidField, detail.into()));
        }
        if envelope.context.is_some()
            && let Some(own) = self.raw(CONTEXT).filter(|raw| kind(raw) == Kind::Object)
            && members_of(own).is_none()
        {
            return Err((Reason::InvalidField, "`context` has a name that is no text".into()));
        }
        if self.members.iter().any(|(_, raw)| deeper_than(raw.get(), MAX_DEPTH - 1)) {
            let detail = format!("objects and arrays nest at most {MAX_DEPTH} deep");
            return Err((Reason::TooDeep, detail.into()));
        }
        Ok(size)
    }

    fn event_type(&self, shape: Shape) -> Result<EventType, Refusal> {
        if let Shape::Single(event_type) = shape {
            return Ok(event_type);
        }
        let word = self.text(TYPE)?;
        word.as_deref().and_then(EventType::from_word).ok_or_else(|| {
            let known = EventType::ALL.map(EventType::as_str).join(", ");
            (Reason::UnknownType, format!("`type` is one of {known}").into())
        })
    }

    /// Over what the event says. Not its context: a retry may carry another stamp.
    fn body_hash(&self) -> u32 {
        let said = self.kept().filter(|(field, _)| *field != Some(CONTEXT));
        body_hash(said.flat_map(|(_, (name, raw))| [name.as_bytes(), raw.get().as_bytes()]))
    }

    /// The members that are stored, in their order, each with its place in [`FIELDS`].
    fn kept(&self) -> impl Iterator<Item = (Option<usize>, &'e Member<'a>)> {
        self.members.iter().enumerate().filter_map(|(position, member)| {
            let field = field_named(&member.0);
            let keep = match field {
                Some(field) => FIELDS[field].1 != Keep::Nothing && self.at[field] == Some(position),
                // A write key is not part of what happened.
                None => member.0 != "writeKey",
            };
            keep.then_some((field, member))
        })
    }

    /// The JSON that is stored: on one line, without what the record holds, with what the batch says
    /// for all.
    fn json(
        &self,
        size: usize,
        event_type: EventType,
        fresh_id: Option<&str>,
        envelope: &Envelope<'_>,
    ) -> Box<str> {
        let mut json = ObjectText::with_capacity(size + 64);
        json.member("type", &quoted(event_type.as_str()));
        if let Some(id) = fresh_id {
            json.member("messageId", &quoted(id));
        }
        let mut has_context = false;
        for (field, (name, raw)) in self.kept() {
            match (field, &envelope.context, kind(raw)) {
                (Some(TYPE), ..) => {}
                (Some(MESSAGE_ID), ..) if fresh_id.is_some() => {}
                (Some(INTEGRATIONS), _, Kind::Null) if envelope.integrations.is_some() => {}
                (Some(CONTEXT), Some(shared), Kind::Object) => {
                    has_context = true;
                    json.member("context", &merged(shared, raw));
                }
                (Some(CONTEXT), Some(_), _) => {}
                _ => json.member(name, raw.get()),
            }
        }
        if let (Some(shared), false) = (&envelope.context, has_context) {
            json.member("context", &merged(shared, RawValue::NULL));
        }
        let own = self.raw(INTEGRATIONS).is_some_and(|raw| kind(raw) == Kind::Object);
        if let (Some(shared), false) = (envelope.integrations, own) {
            json.member("integrations", shared.get());
        }
        json.finish()
    }
}

/// The shared members that the event's own context does not have, then its own: the stamp stays last.
fn merged(shared: &[Member<'_>], own: &RawValue) -> String {
    // That it has members was checked; without any it is the absence of a context.
    let own = members_of(own).unwrap_or_default();
    let names: HashSet<&str> = own.iter().map(|(name, _)| name.as_ref()).collect();
    let mut text = ObjectText::with_capacity(256);
    let theirs = shared.iter().filter(|(name, _)| !names.contains(name.as_ref()));
    for (name, raw) in theirs.chain(&own) {
        text.member(name, raw.get());
    }
    text.finish().into()
}

/// Writes a JSON object from texts that are JSON already.
struct ObjectText(String);

impl ObjectText {
    fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self(text)
    }

    fn member(&mut self, name: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        if name.bytes().any(|b| b < b' ' || b == b'"' || b == b'\\') {
            self.0.push_str(&serde_json::Value::from(name).to_string());
        } else {
            self.0.push('"');
            self.0.push_str(name);
            self.0.push('"');
        }
        self.0.push(':');
        self.0.push_str(value);
    }

    /// A record is one line. A line break in JSON is only ever space between tokens.
    fn finish(mut self) -> Box<str> {
        self.0.push('}');
        if memchr::memchr2(b'\n', b'\r', self.0.as_bytes()).is_some() {
            self.0 = self.0.replace(['\n', '\r'], " ");
        }
        self.0.into()
    }
}

/// A text without anything to escape, in quotes.
fn quoted(plain: &str) -> String {
    format!("\"{plain}\"")
}

fn field_named(name: &str) -> Option<usize> {
    FIELDS.iter().position(|(known, _)| *known == name)
}

fn wrong_type(field: usize, expected: &str) -> Refusal {
    (Reason::InvalidField, format!("`{}` is {expected}", FIELDS[field].0).into())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Text,
    Object,
    Other,
}

fn kind(raw: &RawValue) -> Kind {
    match raw.get().as_bytes() {
        [b'n', ..] => Kind::Null,
        [b'"', ..] => Kind::Text,
        [b'{', ..] => Kind::Object,
        _ => Kind::Other,
    }
}

/// A JSON string's text; `None` for another kind of value, and for what no text is (half a pair of
/// surrogates).
fn unquoted(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    match memchr::memchr(b'\\', inside.as_bytes()) {
        None => Some(Cow::Borrowed(inside)),
        Some(_) => serde_json::from_str(text).ok().map(Cow::Owned),
    }
}

fn time(raw: &RawValue) -> Option<Timestamp> {
    event_time::parse(&unquoted(raw)?)
}

fn members_of(raw: &RawValue) -> Option<Vec<Member<'_>>> {
    WireBatch::members_of(raw.get())
}

/// Whether objects and arrays nest deeper than `most`.
fn deeper_than(json: &str, most: usize) -> bool {
    let bytes = json.as_bytes();
    // As many opening brackets as that are needed, and nearly no event has them: counting them is
    // several times cheaper than telling text from structure.
    if bytes.iter().filter(|b| matches!(b, b'{' | b'[')).count() <= most {
        return false;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(bytes, at + 1),
            _ => {}
        }
        if depth > most {
            return true;
        }
        at += 1;
    }
    false
}

fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut rest: Range<usize> = from..bytes.len();
    while let Some(at) = rest.next() {
        match bytes[at] {
            b'\\' => drop(rest.next()),
            b'"' => return at,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
