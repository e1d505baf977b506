//! `[consumers.NAME]`: what a consumer wants, and where it goes.
//! Promises that a secret or an address that cannot work is refused here, and that neither is printed.
//! Deliberately does not know how anything is delivered.

use std::{
    fmt,
    ops::{Range, RangeInclusive},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, de, forward_to_deserialize_any};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Period, Pick, RetrySchedule, Types};
use crate::sinks::SinkConfig;

/// `[consumers.NAME]`: what it wants, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerConfig {
    /// Which events it wants: event types and names of track events, or with `!` before each, which not. Default: all.
    #[serde(default)]
    pub events: Option<Pick>,
    /// Which event types it wants, or with `!` before each, which not. Default: all.
    #[serde(default)]
    pub types: Option<Types>,
    /// The sources it wants events of, or with `!` before each, the ones it does not. Default: all.
    #[serde(default)]
    pub sources: Option<Pick>,
    /// How long a failing destination is left alone after the first, second, … failure in a row; the last one
    /// counts from then on. Default: 250 ms to 30 s within the first minute, then 5 min to 24 h.
    #[serde(default)]
    pub retry: RetrySchedule,
    /// Where they go. In a file it is `kind`, and that kind's keys beside it. None with `kind = "pull"`: readers fetch events with
    /// `GET /v1/consumers/NAME/events` and acknowledge them.
    #[serde(default)]
    pub sink: Option<SinkConfig>,
    /// How long a reader that pulls may take to acknowledge, before others get the same events. Default 30 s.
    #[serde(default = "lease")]
    pub lease: Period,
}

fn lease() -> Period {
    Period::try_from("30s".to_owned()).expect("thirty seconds are a period")
}

/// The kind of a consumer that has no sink.
const PULL: &str = "pull";

/// Where a mistake is in the text of a file, and what it is.
pub(super) type Mistake = (Range<usize>, String);

/// Puts what a file says about each consumer into the shape of [`ConsumerConfig`]: `kind = "webhook"` and that kind's keys
/// become `sink = { webhook = { … } }`. Serde's own ways to spread a struct over its parent (`flatten`, `tag`) forget the lines,
/// and take unknown keys.
pub(super) fn nest_sinks(document: &mut DeTable<'_>) -> Result<(), Mistake> {
    let Some(consumers) = document.get_mut("consumers") else { return Ok(()) };
    let DeValue::Table(consumers) = consumers.get_mut() else { return Ok(()) };
    for (name, consumer) in consumers.iter_mut() {
        if let DeValue::Table(keys) = consumer.get_mut() {
            nest_sink(name.span(), keys)?;
        }
    }
    Ok(())
}

fn nest_sink(at: Range<usize>, keys: &mut DeTable<'_>) -> Result<(), Mistake> {
    let mut kinds = SinkConfig::kinds();
    kinds.push((PULL, &["lease"]));
    let Some((mut word, kind)) = keys.remove_entry("kind") else {
        let kinds: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
        return Err((at, format!("missing field `kind`: {}", one_of(&kinds))));
    };
    let value = kind.get_ref().as_str().unwrap_or_default();
    let Some((known, its_keys)) = kinds.iter().find(|(known, _)| *known == value) else {
        let kinds: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
        return Err((kind.span(), format!("unknown kind `{value}`, {}", one_of(&kinds))));
    };
    let of_any_kind =
        || keys_of::<ConsumerConfig>().iter().filter(|key| !["sink", "lease"].contains(key));
    let mut its_own = DeTable::new();
    for key in keys.keys().cloned().collect::<Vec<_>>() {
        if its_keys.contains(&key.get_ref().as_ref()) {
            its_own.extend(keys.remove_entry(&key));
        } else if !of_any_kind().any(|known| known == key.get_ref()) {
            let known: Vec<_> =
                ["kind"].iter().chain(of_any_kind()).chain(*its_keys).copied().collect();
            return Err((key.span(), format!("unknown field `{key}`, {}", one_of(&known))));
        }
    }
    if value == PULL {
        keys.extend(its_own);
        return Ok(());
    }
    // What is missing is said to be missing at the line that says the kind.
    let place = kind.span();
    let table = |table| Spanned::new(place.clone(), DeValue::Table(table));
    let named = Spanned::new(place.clone(), (*known).into());
    *word.get_mut() = "sink".into();
    keys.insert(word, table([(named, table(its_own))].into_iter().collect()));
    Ok(())
}

/// In the words of serde.
pub(super) fn one_of(known: &[&str]) -> String {
    format!("expected one of `{}`", known.join("`, `"))
}

/// A number of the configuration, within bounds.
pub(crate) fn within<'de, D, N>(number: D, bounds: RangeInclusive<N>) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: Deserialize<'de> + PartialOrd + fmt::Display,
{
    let number = N::deserialize(number)?;
    if bounds.contains(&number) {
        return Ok(number);
    }
    let (least, most) = bounds.into_inner();
    Err(de::Error::custom(format!("{number} is not within {least} to {most}")))
}

/// The keys that a part of the configuration has, as serde's derived code tells whom it asks for them.
pub(crate) fn keys_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    struct Asked<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = de::value::Error;

        fn deserialize_struct<V: de::Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(de::Error::custom("only the names were asked for"))
        }

        fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(de::Error::custom("no struct, so no names"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut keys: &'static [&'static str] = &[];
    drop(T::deserialize(Asked(&mut keys)));
    keys
}

/// The bytes that sign webhooks, read from `whsec_` and base64.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// The key itself, decoded.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for WebhookSecret {
    type Error = String;

    // The errors never repeat the value: it is a secret even when it is malformed.
    fn try_from(secret: String) -> Result<Self, String> {
        let how = "make one with: echo whsec_$(head -c 32 /dev/urandom | base64)";
        let Some(encoded) = secret.strip_prefix("whsec_") else {
            return Err(format!("a webhook secret starts with `whsec_`; {how}"));
        };
        let bytes = BASE64_STANDARD
            .decode(encoded)
            .map_err(|_| format!("a webhook secret is `whsec_` and base64; {how}"))?;
        // 24 to 64 bytes: standard-webhooks/spec, "Signature scheme".
        if (24..=64).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(format!("a webhook secret has 24 to 64 bytes, this has {}; {how}", bytes.len()))
        }
    }
}

/// An absolute `http://` or `https://` address.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpUrl(reqwest::Url);

impl HttpUrl {
    /// The address, parsed.
    pub fn as_url(&self) -> &reqwest::Url {
        &self.0
    }
}

/// Without user, password and query: people put credentials there.
impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0;
        write!(f, "{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        match reqwest::Url::parse(&url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self(url)),
            Ok(_) => Err("expected a URL that starts with http:// or https://".to_owned()),
            Err(error) => Err(format!("expected an absolute http(s) URL: {error}")),
        }
    }
}
