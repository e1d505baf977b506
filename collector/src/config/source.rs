//! `[sources.NAME]`: who may send, with which key, and how far it is believed.
//! Promises that what was read is within its limits. Deliberately does not judge a request: see `sources`.

use std::{fmt, marker::PhantomData, num::NonZeroU32};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IntoDeserializer as _, SeqAccess, Visitor},
};

use super::Secret;
use crate::{
    event_log::Trust,
    limits::{MAX_BATCH_BYTES, MAX_EVENT_BYTES},
};

/// `[sources.NAME]`: who may send, with which key, and how far it is believed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The keys its clients send: `write_key = "…"`, or two as `write_keys = ["new", "old"]` while a key is
    /// being replaced. Public when they sit in a page or an app.
    #[serde(rename = "write_key", alias = "write_keys", deserialize_with = "one_or_two")]
    pub write_keys: Vec<Secret<WriteKey>>,
    /// `client` or `server`. Default `client`: a key in a page or an app is public, and anyone can
    /// forge its events.
    #[serde(default = "client", deserialize_with = "trust")]
    pub trust: Trust,
    /// What it may send: event types (`identify`) and names of track events (`Order Completed`).
    /// Default: anything.
    #[serde(default)]
    pub events: Option<EventFilter>,
    /// The origins of pages that may send, as browsers name them: `https://shop.example`. What is no page
    /// names none, and is not asked. Default: any.
    #[serde(default)]
    pub origins: Option<Vec<Origin>>,
    /// Events a second, on average; beyond them 429. Default: no limit.
    #[serde(default)]
    pub events_per_second: Option<NonZeroU32>,
    /// Events at once, after a pause, where there is such a limit. Default: one second's.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
    /// Demands that `identify`, `alias` and `group` prove who the person is: `context.signature` is the lowercase hexadecimal
    /// HMAC-SHA256 of the `userId` (alias: `previousId`, line feed, `userId`), made by your backend with this secret of 16 bytes or more. One, or two as
    /// `identify_secrets = ["new", "old"]` while it is being replaced. Default: no proof.
    #[serde(default, alias = "identify_secret", deserialize_with = "one_or_two")]
    pub identify_secrets: Vec<Secret<IdentitySecret>>,
    /// Marks its events as tests. Default `false`.
    #[serde(default)]
    pub test: bool,
    /// Most bytes of an event, 1 to 512,000. Default 32,768: Segment's limit, which clients keep.
    #[serde(default = "max_event_bytes", deserialize_with = "bytes_of_a_batch")]
    pub max_event_bytes: usize,
    /// Most bytes of a batch, inflated, 1 to 512,000. Default 512,000: Segment's limit, and the most that
    /// the collector reads before it knows the source.
    #[serde(default = "max_batch_bytes", deserialize_with = "bytes_of_a_batch")]
    pub max_batch_bytes: usize,
}

impl SourceConfig {
    /// A source with this key, and the default of everything else.
    pub fn new(write_key: Secret<WriteKey>) -> Self {
        Self {
            write_keys: vec![write_key],
            trust: client(),
            events: None,
            origins: None,
            events_per_second: None,
            burst: None,
            identify_secrets: Vec::new(),
            test: false,
            max_event_bytes: max_event_bytes(),
            max_batch_bytes: max_batch_bytes(),
        }
    }
}

/// A list of event types (`page`) and names of track events (`Product Added`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct EventFilter(Vec<String>);

impl EventFilter {
    /// Whether an event of this type, and, for `track`, of this name, is on the list.
    pub fn admits(&self, event_type: &str, name: Option<&str>) -> bool {
        self.0.iter().any(|listed| listed == event_type || Some(listed.as_str()) == name)
    }
}

/// A write key: 1–256 visible ASCII characters without `:`, which ends it in Basic authorization.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WriteKey(String);

impl WriteKey {
    /// The key as clients send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WriteKey {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        let fits = (1..=256).contains(&key.len());
        if fits && key.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
            Ok(Self(key))
        } else {
            Err("a write_key is 1 to 256 visible ASCII characters without `:`".to_owned())
        }
    }
}

/// An origin as browsers name it: scheme, host, and the port unless it is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin(String);

impl Origin {
    /// Whether a browser's `Origin` header means this one.
    pub fn is(&self, header: &str) -> bool {
        self.0.eq_ignore_ascii_case(header)
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let origin = reqwest::Url::parse(&text).map(|url| url.origin().ascii_serialization());
        match origin {
            Ok(origin) if origin.eq_ignore_ascii_case(&text) => Ok(Self(origin)),
            Ok(origin) if origin != "null" => Err(format!(
                "`{text}` is no origin; did you mean `{origin}`? An origin has no path"
            )),
            _ => Err(format!("`{text}` is no origin; expected `https://shop.example`")),
        }
    }
}

fn client() -> Trust {
    Trust::Client
}

fn max_event_bytes() -> usize {
    MAX_EVENT_BYTES
}

fn max_batch_bytes() -> usize {
    MAX_BATCH_BYTES
}

fn bytes_of_a_batch<'de, D: Deserializer<'de>>(number: D) -> Result<usize, D::Error> {
    match usize::deserialize(number)? {
        bytes @ 1..=MAX_BATCH_BYTES => Ok(bytes),
        bytes => Err(D::Error::custom(format!("{bytes} is not 1 to {MAX_BATCH_BYTES} bytes"))),
    }
}

/// `"…"`, or `["new", "old"]`.
pub(super) fn one_or_two<'de, D, T>(keys: D) -> Result<Vec<Secret<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Keys<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Keys<T> {
        type Value = Vec<Secret<T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text, or a list of one or two")
        }

        fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
            Ok(vec![Secret::deserialize(key.into_deserializer())?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut keys = Vec::new();
            while let Some(key) = list.next_element()? {
                keys.push(key);
            }
            if (1..=2).contains(&keys.len()) {
                Ok(keys)
            } else {
                Err(A::Error::custom(
                    "a source has one of these, or two while one replaces the other",
                ))
            }
        }
    }
    keys.deserialize_any(Keys(PhantomData))
}

fn trust<'de, D: Deserializer<'de>>(word: D) -> Result<Trust, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Client,
        Server,
    }
    Ok(match Word::deserialize(word)? {
        Word::Client => Trust::Client,
        Word::Server => Trust::Server,
    })
}

/// What signs who a person is: 16 bytes or more, as they are.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IdentitySecret(String);

impl IdentitySecret {
    /// The key itself.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl TryFrom<String> for IdentitySecret {
    type Error = String;

    fn try_from(secret: String) -> Result<Self, String> {
        // Guessed ones are found by whoever has seen one signature.
        if (16..=256).contains(&secret.len()) {
            Ok(Self(secret))
        } else {
            let how = "make one with: head -c 32 /dev/urandom | base64";
            Err(format!("an identify_secret has 16 to 256 bytes; {how}"))
        }
    }
}
