//! `[consumers.NAME]`: what a consumer wants, and where it goes.
//! Promises that a secret or an address that cannot work is refused here, and that neither is printed.
//! Deliberately does not know how anything is delivered.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::{EventFilter, Period, Pick, RetrySchedule, Secret, Types};

/// `[consumers.NAME]`: what it wants, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerConfig {
    /// The kind of destination.
    pub kind: SinkKind,
    /// Where events are posted. `http` or `https`. Needed by a webhook.
    #[serde(default)]
    pub url: Option<HttpUrl>,
    /// Signs every delivery, in the form of Standard Webhooks: `whsec_` and base64 of 24–64 bytes. Needed by a webhook.
    #[serde(default)]
    pub secret: Option<Secret<WebhookSecret>>,
    /// Which events it wants: event types and names of track events. Default: all.
    #[serde(default)]
    pub events: Option<EventFilter>,
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
    /// How long a reader that pulls may take to acknowledge, before others get the same events. Default 30 s.
    #[serde(default = "lease")]
    pub lease: Period,
}

fn lease() -> Period {
    Period::try_from("30s".to_owned()).expect("thirty seconds are a period")
}

/// The kinds of destination that can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    /// An HTTP POST per event, signed as Standard Webhooks says.
    Webhook,
    /// None: readers fetch events with `GET /v1/consumers/NAME/events` and acknowledge them.
    Pull,
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
