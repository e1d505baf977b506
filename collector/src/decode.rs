//! Bytes and headers become a wire batch: inflated, within its limits, its members found but not
//! read. Promises one pass over the text, no copy of it, and that no input makes it panic or hold
//! more than its limit. Deliberately does not know what a valid event is: see `validate`.

mod encoding;

use std::{borrow::Cow, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

pub use encoding::{Encoding, inflate};

use crate::limits::{MAX_BATCH_EVENTS, MAX_BODY_BYTES};

/// What a request's path says its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"batch":[…]}`.
    Batch,
    /// One event, whose type is the path's.
    Single(EventType),
}

/// The types of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the six words of Segment's API are their own documentation")]
pub enum EventType {
    Track,
    Identify,
    Page,
    Screen,
    Group,
    Alias,
}

impl EventType {
    /// Every type.
    pub const ALL: [Self; 6] =
        [Self::Track, Self::Identify, Self::Page, Self::Screen, Self::Group, Self::Alias];

    /// The word for it, in JSON and in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    /// The type of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// Why a request cannot be taken as a whole. What the caller can do: correct the request.
#[derive(Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// More than `limit` bytes, as sent or once inflated: send smaller batches.
    BodyTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// More events than `limit`: send smaller batches.
    TooManyEvents {
        /// Events of one batch.
        limit: usize,
    },
    /// A `Content-Encoding` that is none of [`Encoding`].
    UnknownEncoding(String),
    /// More than one encoding, one around the other: no client does it, and each multiplies a bomb.
    ManyEncodings,
    /// The body is not what its headers say, or not all of it.
    Corrupt(Encoding),
    /// JSON is UTF-8.
    NotUtf8,
    /// Not JSON, or not the JSON that the path asks for. The text says where.
    BadJson(String),
}

/// The parts of a request's body, borrowed from its text.
#[derive(Debug, Default)]
pub struct WireBatch<'a> {
    /// The write key in the body, for clients that cannot set a header.
    pub write_key: Option<&'a RawValue>,
    /// When the client sent this, by its own clock.
    pub sent_at: Option<&'a RawValue>,
    /// Goes into the context of every event that does not say otherwise.
    pub context: Option<&'a RawValue>,
    /// Goes into every event that has none.
    pub integrations: Option<&'a RawValue>,
    events: Vec<WireEvent>,
    /// The members of all events, one after the other: one growing list, not one for each event.
    members: Vec<Member<'a>>,
    one_by_one: bool,
}

/// A member of an event's object: its name without escapes, and its value's text.
pub type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// Where an event's members are.
#[derive(Debug, Clone)]
enum WireEvent {
    Object(Range<usize>),
    NotAnObject,
}

impl<'a> WireBatch<'a> {
    /// Parses a body. The text has been inflated.
    pub fn parse(body: &'a [u8], shape: Shape) -> Result<Self, DecodeError> {
        if body.len() > MAX_BODY_BYTES {
            return Err(DecodeError::BodyTooLarge { limit: MAX_BODY_BYTES });
        }
        let text = std::str::from_utf8(body).map_err(|_| DecodeError::NotUtf8)?;
        let bad = |error: serde_json::Error| DecodeError::BadJson(error.to_string());
        let mut batch = Self::with_room(text.len());
        if let Err(error) = batch.read(text, shape) {
            // JSON can say what no value of ours can be: the number 1e999, half a pair of surrogates. That costs the event
            // that says it, not the others; telling them apart takes a second look.
            batch = Self { one_by_one: true, ..Self::with_room(0) };
            if shape != Shape::Batch || batch.read(text, shape).is_err() {
                return Err(bad(error));
            }
        }

        if batch.events.len() > MAX_BATCH_EVENTS {
            return Err(DecodeError::TooManyEvents { limit: MAX_BATCH_EVENTS });
        }
        if let Shape::Single(_) = shape {
            batch.take_envelope_from_the_event()?;
        }
        Ok(batch)
    }

    /// Room for the events of so many bytes of text, of the usual size.
    fn with_room(bytes: usize) -> Self {
        let (events, members) = (bytes / 512 + 1, bytes / 48 + 8);
        Self {
            events: Vec::with_capacity(events),
            members: Vec::with_capacity(members),
            ..Self::default()
        }
    }

    fn read(&mut self, text: &'a str, shape: Shape) -> serde_json::Result<()> {
        let mut json = serde_json::Deserializer::from_str(text);
        match shape {
            Shape::Batch => json.deserialize_map(Envelope(self)),
            Shape::Single(_) => Event(self).deserialize(&mut json),
        }
        .and_then(|()| json.end())
    }

    /// Reads an event of which only the text is known to be JSON.
    fn read_one(&mut self, event: &'a str) {
        let members = self.members.len();
        if Event(self).deserialize(&mut serde_json::Deserializer::from_str(event)).is_err() {
            self.members.truncate(members);
            self.events.push(WireEvent::NotAnObject);
        }
    }

    /// The write key in the body, if it is a text.
    pub fn key(&self) -> Option<Cow<'a, str>> {
        let raw = self.write_key?.get();
        let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
        match memchr::memchr(b'\\', inside.as_bytes()) {
            None => Some(Cow::Borrowed(inside)),
            Some(_) => serde_json::from_str(raw).ok().map(Cow::Owned),
        }
    }

    /// How many events there are, valid or not.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events in order: the members of each, or `None` where there is no object.
    pub fn events(&self) -> impl Iterator<Item = Option<&[Member<'a>]>> {
        self.events.iter().map(|event| match event {
            WireEvent::Object(members) => Some(&self.members[members.clone()]),
            WireEvent::NotAnObject => None,
        })
    }

    /// The members of an object; `None` if the text is not one.
    pub fn members_of(object: &'a str) -> Option<Vec<Member<'a>>> {
        let mut one = Self::default();
        Event(&mut one).deserialize(&mut serde_json::Deserializer::from_str(object)).ok()?;
        matches!(one.events[..], [WireEvent::Object(_)]).then_some(one.members)
    }

    /// A single event carries `writeKey` and `sentAt` itself.
    fn take_envelope_from_the_event(&mut self) -> Result<(), DecodeError> {
        if !matches!(self.events[..], [WireEvent::Object(_)]) {
            return Err(DecodeError::BadJson("expected an event: a JSON object".to_owned()));
        }
        let named =
            |name| self.members.iter().rev().find(|(key, _)| key == name).map(|member| member.1);
        (self.write_key, self.sent_at) = (named("writeKey"), named("sentAt"));
        Ok(())
    }
}

/// Reads the batch's own object.
struct Envelope<'b, 'a>(&'b mut WireBatch<'a>);

impl<'a> Visitor<'a> for Envelope<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch: an object with an array `batch`")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let mut has_batch = false;
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "batch" => {
                    has_batch = true;
                    map.next_value_seed(Events(self.0))?;
                }
                "writeKey" => self.0.write_key = map.next_value()?,
                "sentAt" => self.0.sent_at = map.next_value()?,
                "context" => self.0.context = map.next_value()?,
                "integrations" => self.0.integrations = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if has_batch { Ok(()) } else { Err(M::Error::missing_field("batch")) }
    }
}

/// Reads the array of events.
struct Events<'b, 'a>(&'b mut WireBatch<'a>);

impl<'a> DeserializeSeed<'a> for Events<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, array: D) -> Result<(), D::Error> {
        array.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for Events<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut array: S) -> Result<(), S::Error> {
        // One above the limit is enough to know; the rest is only skipped.
        while self.0.events.len() <= MAX_BATCH_EVENTS {
            if self.0.one_by_one {
                match array.next_element::<&RawValue>()? {
                    Some(event) => self.0.read_one(event.get()),
                    None => return Ok(()),
                }
                continue;
            }
            if array.next_element_seed(Event(self.0))?.is_none() {
                return Ok(());
            }
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Reads one event, whatever it is: a bad one must not cost the others of its batch.
struct Event<'b, 'a>(&'b mut WireBatch<'a>);

impl<'a> DeserializeSeed<'a> for Event<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'a> Event<'_, 'a> {
    fn not_an_object<E>(self) -> Result<(), E> {
        self.0.events.push(WireEvent::NotAnObject);
        Ok(())
    }
}

impl<'a> Visitor<'a> for Event<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let first = self.0.members.len();
        while let Some(Key(key)) = map.next_key()? {
            self.0.members.push((key, map.next_value()?));
        }
        self.0.events.push(WireEvent::Object(first..self.0.members.len()));
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut array: S) -> Result<(), S::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        self.not_an_object()
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.not_an_object()
    }
}

/// A member's name, borrowed unless it has escapes; serde's own `Cow` always copies.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(name: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        name.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_batch_is_split_without_being_read() {
        let body =
            br#"{"sentAt":"s","batch":[{"a":1,"b\n":{"c":[ ]}},7,null,[1],"x",{}],"writeKey":"k"}"#;
        let batch = WireBatch::parse(body, Shape::Batch).unwrap();
        assert_eq!(batch.write_key.unwrap().get(), r#""k""#);
        let events: Vec<_> = batch.events().collect();
        assert_eq!(events.len(), 6);
        let first = events[0].unwrap();
        assert_eq!((&*first[1].0, first[1].1.get()), ("b\n", r#"{"c":[ ]}"#));
        assert!(events[1..5].iter().all(Option::is_none));
        assert!(events[5].unwrap().is_empty());
    }

    #[test]
    fn a_single_event_carries_its_own_envelope() {
        let body = br#"{"event":"A","writeKey":"k","sentAt":"s"}"#;
        let batch = WireBatch::parse(body, Shape::Single(EventType::Track)).unwrap();
        assert_eq!(batch.write_key.unwrap().get(), r#""k""#);
        assert_eq!((batch.len(), batch.sent_at.unwrap().get()), (1, r#""s""#));
    }

    #[test]
    fn what_is_not_a_batch_says_why() {
        for body in
            [&b""[..], b"{}", b"[]", br#"{"batch":3}"#, b"{\"batch\":[]} x", b"{\"batch\":["]
        {
            let error = WireBatch::parse(body, Shape::Batch).unwrap_err();
            assert!(matches!(error, DecodeError::BadJson(_)), "{error:?}");
        }
        let single = Shape::Single(EventType::Page);
        assert!(matches!(WireBatch::parse(b"[{}]", single), Err(DecodeError::BadJson(_))));
        assert_eq!(WireBatch::parse(b"\"\xff\"", single).unwrap_err(), DecodeError::NotUtf8);
        let many = format!("{{\"batch\":[{}1]}}", "1,".repeat(MAX_BATCH_EVENTS));
        let error = WireBatch::parse(many.as_bytes(), Shape::Batch).unwrap_err();
        assert_eq!(error, DecodeError::TooManyEvents { limit: MAX_BATCH_EVENTS });
    }

    #[test]
    fn what_no_value_can_be_costs_the_event_that_says_it() {
        let body = br#"{"batch":[{"a":1},1e999,"\ud800",{"\ud800":1},{"b":2},[1e999]]}"#;
        let batch = WireBatch::parse(body, Shape::Batch).unwrap();
        let members: Vec<_> = batch.events().map(|event| event.map(<[_]>::len)).collect();
        assert_eq!(members, [Some(1), None, None, None, Some(1), None]);
        let many = format!("{{\"batch\":[{}1]}}", "1e999,".repeat(MAX_BATCH_EVENTS));
        let error = WireBatch::parse(many.as_bytes(), Shape::Batch).unwrap_err();
        assert_eq!(error, DecodeError::TooManyEvents { limit: MAX_BATCH_EVENTS });
    }

    #[test]
    fn nesting_does_not_end_the_stack() {
        let deep =
            format!("{{\"batch\":[{{\"p\":{}{}}}]}}", "[".repeat(200_000), "]".repeat(200_000));
        WireBatch::parse(deep.as_bytes(), Shape::Batch).unwrap();
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
            drop(WireBatch::parse(&body, Shape::Batch));
            drop(WireBatch::parse(&body, Shape::Single(EventType::Track)));
        }
    }
}
