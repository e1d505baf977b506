//! A wire batch becomes events that the log can take, and refusals that say why.
//! Promises that each event of the batch ends in exactly one of the two, that one bad event costs no
//! other, and that no value is parsed that is only carried. Deliberately has no clock, no randomness
//! and no I/O: the time of receipt and fresh ids are handed in.

mod context;
mod fields;
mod text;

use std::{borrow::Cow, net::IpAddr};

use serde_json::value::RawValue;
use subtle::ConstantTimeEq as _;

use crate::{
    config::{EventFilter, IdentitySecret, Ip, Secret},
    countries::Countries,
    decode::{EventType, Member, Shape, WireBatch},
    event_log::{Flags, Identity, NewEvent, Origin, SourceName, Timestamp, Trust, body_hash},
    event_time,
    limits::{MAX_BATCH_BYTES, MAX_DEPTH, MAX_EVENT_BYTES, MAX_MESSAGE_ID_BYTES},
    stamp::Stamp,
    suppressed::{Named, Suppressed},
};
use context::{Additions, SIGNATURE};
use fields::{
    ANONYMOUS_ID, CONTEXT, EVENT, Fields, GROUP_ID, INTEGRATIONS, MESSAGE_ID, ORIGINAL_TIMESTAMP,
    PREVIOUS_ID, SENT_AT, TIMESTAMP, TYPE, USER_ID,
};
use text::{Kind, ObjectText, deeper_than, kind, unquoted};

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
    /// The address it came from, if that is the device's own.
    pub client: Option<IpAddr>,
    /// What of addresses is stored.
    pub ip: Ip,
    /// Where addresses are; `None` leaves what the events say of it as it is.
    pub countries: Option<&'a Countries>,
    /// The id in the cookie that the server had set, if it came with the request.
    pub cookie: Option<&'a str>,
    /// Who a person is must be signed with one of these; none if it need not be.
    pub identity_secrets: &'a [Secret<IdentitySecret>],
    /// Whether who has a public key only claims to be who he says, unless that is signed.
    pub asks_proof: bool,
    /// The events are a collector's own, come back: what only it says of them stays.
    pub is_ours: bool,
    /// Who was erased.
    pub suppressed: Option<&'a Suppressed>,
}

impl Sender<'_> {
    /// A source that may send anything, and is believed nothing.
    pub fn new(source: SourceName, received_at: Timestamp) -> Self {
        Self {
            source,
            trust: Trust::Client,
            may_send: None,
            flags: Flags::default(),
            max_event_bytes: MAX_EVENT_BYTES,
            received_at,
            client: None,
            ip: Ip::Keep,
            countries: None,
            cookie: None,
            identity_secrets: &[],
            asks_proof: false,
            is_ours: false,
            suppressed: None,
        }
    }
}

/// A batch, sorted.
#[derive(Debug, Default)]
pub struct Validated<'a> {
    /// The good ones, in order …
    pub events: Vec<NewEvent<'a>>,
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
    /// It says who a person is without the proof that its source demands.
    BadSignature,
    /// It is of somebody who was erased.
    Suppressed,
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
            Self::BadSignature => "bad_signature",
            Self::Suppressed => "suppressed",
        }
    }
}

/// Bytes by which what a batch says once may make its events grow, all together: several times what clients send, and a bound
/// on what a small request can make of itself.
const MAX_SHARED_BYTES: usize = 4 * MAX_BATCH_BYTES;

/// Where texts that a batch's events need, and its body does not have, are put together: one allocation for all of them.
pub type Memory = bumpalo::Bump;

/// Sorts a batch. `fresh_id` makes a message id for an event that has none. The events' texts are the batch's own, or lie in
/// `memory`.
pub fn validate<'a>(
    batch: &WireBatch<'a>,
    shape: Shape,
    sender: &Sender<'_>,
    memory: &'a Memory,
    mut fresh_id: impl FnMut() -> String,
) -> Validated<'a> {
    let context = batch.context.filter(|value| kind(value) == Kind::Object);
    let integrations = batch.integrations.filter(|value| kind(value) == Kind::Object);
    let mut envelope = Envelope {
        shape,
        sent_at: batch.sent_at.and_then(time),
        additions: Additions::new(context.and_then(|value| members_of(value.get())), sender),
        unreadable: context.is_some_and(|value| members_of(value.get()).is_none()),
        integrations,
        bytes: [context, integrations].into_iter().flatten().map(|value| value.get().len()).sum(),
        bytes_left: MAX_SHARED_BYTES,
    };
    let mut sorted = Validated { events: Vec::with_capacity(batch.len()), ..Validated::default() };
    sorted.indexes.reserve(batch.len());
    let mut names = Vec::new();
    for (index, members) in batch.events().enumerate() {
        let event = match members {
            Some(members) => {
                let fields = Fields::find(members, &mut names);
                fields.into_event(&envelope, sender, memory, &mut fresh_id)
            }
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
struct Envelope<'a, 's> {
    shape: Shape,
    sent_at: Option<Timestamp>,
    additions: Additions<'a, 's>,
    /// It has a context that cannot be taken apart.
    unreadable: bool,
    integrations: Option<&'a RawValue>,
    /// Of context and integrations: what each event grows by.
    bytes: usize,
    /// How much the events may still grow by, all together.
    bytes_left: usize,
}

impl<'a> Fields<'_, 'a> {
    fn into_event(
        self,
        envelope: &Envelope<'a, '_>,
        sender: &Sender<'_>,
        memory: &'a Memory,
        fresh_id: &mut impl FnMut() -> String,
    ) -> Result<NewEvent<'a>, Refusal> {
        let size = self.check_size_and_depth(sender.max_event_bytes, envelope)?;
        self.check_kinds()?;

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
        let previous_id = self.text(PREVIOUS_ID)?;
        let named = Named {
            user_id: user_id.as_deref(),
            anonymous_id: anonymous_id.as_deref(),
            previous_id: previous_id.as_deref(),
            context: self.raw(CONTEXT).map(RawValue::get),
        };
        let is_erased = |all: &Suppressed| all.has(named);
        if sender.suppressed.is_some_and(is_erased) {
            let detail = "this person was erased; nothing more is stored of them";
            return Err((Reason::Suppressed, detail.into()));
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
        let previous = previous_id.as_deref().filter(|_| event_type == EventType::Alias);
        let identity = self.identity(sender, event_type, user_id.as_deref(), previous)?;

        let given_id = self.text(MESSAGE_ID)?;
        if given_id.as_ref().is_some_and(|id| id.len() > MAX_MESSAGE_ID_BYTES) {
            let detail = format!("a `messageId` has at most {MAX_MESSAGE_ID_BYTES} bytes");
            return Err((Reason::MessageIdTooLong, detail.into()));
        }
        let is_fresh = given_id.is_none();
        let message_id = given_id.unwrap_or_else(|| fresh_id().into());
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
        let fresh = is_fresh.then_some(&*message_id);
        let context = envelope.additions.context(self.raw(CONTEXT), memory)?;
        let json = ObjectText::with_capacity(size + 128, memory);
        let (json, body_hash) =
            self.json(json, event_type, (fresh, claimed_time), context, envelope);

        Ok(NewEvent {
            source: sender.source.clone(),
            trust: sender.trust,
            origin: Origin::Sent,
            order_key: anonymous_id.or(user_id).unwrap_or_else(|| message_id.clone()),
            sequence: stamp.sequence,
            dropped: stamp.dropped,
            event_time: claimed_time
                .map(|claimed| event_time::corrected(Some(claimed), sent_at, sender.received_at)),
            claimed_time,
            schema_version: 0,
            flags: Flags { identity, ..sender.flags },
            body_hash,
            json: json.into(),
            message_id,
        })
    }

    /// The size in bytes, without space between members. As it will be stored: with what the batch says for all of its events.
    fn check_size_and_depth(
        &self,
        max_event_bytes: usize,
        envelope: &Envelope<'_, '_>,
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

    /// Who says that a person is `user_id` shows that the customer's own backend says so too, where the source demands it.
    /// Who says that two ids are one person shows it for both of them. What merely names a user, as each `track` of a browser does,
    /// is taken without it, and marked.
    fn identity(
        &self,
        sender: &Sender<'_>,
        event_type: EventType,
        user_id: Option<&str>,
        previous: Option<&str>,
    ) -> Result<Identity, Refusal> {
        let unsigned = match sender.asks_proof && sender.trust == Trust::Client {
            true => Identity::Claimed,
            false => Identity::Unasked,
        };
        if sender.identity_secrets.is_empty() || user_id.is_none() && previous.is_none() {
            return Ok(unsigned);
        }
        let user_id = user_id.unwrap_or_default();
        let signed = previous.map_or_else(|| user_id.to_owned(), |p| format!("{p}\n{user_id}"));
        let context = self.raw(CONTEXT).filter(|context| context.get().contains(SIGNATURE));
        let context = context.and_then(|context| members_of(context.get()));
        let given = context.iter().flatten().rev().find(|(name, _)| name == SIGNATURE);
        let given = given.and_then(|(_, raw)| unquoted(raw)).unwrap_or_default();
        let mut holds = subtle::Choice::from(0);
        for secret in sender.identity_secrets {
            let expected = hmac_sha256::HMAC::mac(&signed, secret.expose().as_bytes());
            let expected = expected.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            holds |= expected.as_bytes().ct_eq(given.as_bytes());
        }
        // What is signed of two ids has a line feed between them: with one inside, it would be signed for another pair, or for one id.
        let no_control = |id: &&str| !id.contains(char::is_control);
        let holds = bool::from(holds) && [Some(user_id), previous].iter().flatten().all(no_control);
        // Of an id with spaces around it another is meant than was signed: see `people::Identifier`.
        let is_meant = [Some(user_id), previous].iter().flatten().all(|id| id.trim() == *id);
        match event_type {
            _ if holds && is_meant => return Ok(Identity::Proven),
            EventType::Identify | EventType::Alias | EventType::Group if !holds => {}
            _ => return Ok(unsigned),
        }
        let detail = "`context.signature` is the lowercase hexadecimal HMAC-SHA256 of the `userId` (of an alias: the \
                      `previousId`, a line feed, the `userId`), made by your backend with the source's `identify_secret`; no \
                      id that is signed has a control character";
        Err((Reason::BadSignature, detail.into()))
    }

    /// The JSON that is stored: on one line, without what the record holds, with what the batch says for all. And the hash of
    /// all of it but the context: a retry may carry another stamp.
    fn json<'m>(
        &self,
        mut json: ObjectText<'m>,
        event_type: EventType,
        (fresh_id, claimed_time): (Option<&str>, Option<Timestamp>),
        context: Option<&str>,
        envelope: &Envelope<'_, '_>,
    ) -> (&'m str, u32) {
        json.plain_text("type", event_type.as_str());
        if let Some(id) = fresh_id {
            json.plain_text("messageId", id);
        }
        let mut blind = 0..0;
        let mut put_context = |json: &mut ObjectText<'_>| {
            if let Some(context) = context {
                let from = json.len();
                json.member("context", context);
                blind = from..json.len();
            }
        };
        for (field, (name, raw)) in self.kept() {
            match (field, kind(raw)) {
                (Some(TYPE), _) => {}
                (Some(MESSAGE_ID), _) if fresh_id.is_some() => {}
                (Some(INTEGRATIONS), Kind::Null) if envelope.integrations.is_some() => {}
                (Some(CONTEXT), Kind::Object) => put_context(&mut json),
                (Some(CONTEXT), _) if context.is_some() => {}
                _ => json.member(name, raw.get()),
            }
        }
        if self.raw(CONTEXT).is_none_or(|raw| kind(raw) != Kind::Object) {
            put_context(&mut json);
        }
        let own = self.raw(INTEGRATIONS).is_some_and(|raw| kind(raw) == Kind::Object);
        if let (Some(shared), false) = (envelope.integrations, own) {
            json.member("integrations", shared.get());
        }
        // A time that cannot be read is kept as it was claimed.
        if let (None, Some(claim)) = (claimed_time, self.raw(TIMESTAMP))
            && kind(claim) != Kind::Null
        {
            json.member("originalTimestamp", claim.get());
        }
        let json = json.finish();
        let (before, after) = (&json.as_bytes()[..blind.start], &json.as_bytes()[blind.end..]);
        let hash = body_hash([before, after]);
        (json, hash)
    }
}

/// A time as clients write it: a text, or a number of seconds or milliseconds.
fn time(raw: &RawValue) -> Option<Timestamp> {
    match kind(raw) {
        Kind::Text => event_time::parse(&unquoted(raw)?),
        Kind::Other => event_time::from_unix(raw.get().parse().ok()?),
        Kind::Null | Kind::Object => None,
    }
}

fn members_of(object: &str) -> Option<Vec<Member<'_>>> {
    WireBatch::members_of(object)
}

#[cfg(test)]
mod tests;
