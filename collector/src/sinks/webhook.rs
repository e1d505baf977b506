//! Posts each event to a URL, signed as Standard Webhooks says.
//! Promises an id that is the same at every attempt, a signature over id, time and body, and an end
//! within the time-out. Deliberately follows no redirect: a signed event goes where it was configured
//! to go, and nowhere else.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::{Client, Response, StatusCode, header, redirect};
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde::Deserialize;

use super::{Parcel, Sink, Verdict};
use crate::{
    config::{HttpUrl, Secret, WebhookSecret},
    limits::DELIVERY_TIMEOUT,
};

/// `kind = "webhook"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where events are posted. `http` or `https`.
    pub url: HttpUrl,
    /// Signs every delivery, in the form of Standard Webhooks: `whsec_` and base64 of 24–64 bytes.
    pub secret: Secret<WebhookSecret>,
}

/// A destination that takes webhooks.
pub struct Webhook {
    client: Client,
    url: HttpUrl,
    signer: standardwebhooks::Webhook,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why webhooks cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The system's certificates cannot be used.
    #[error("no TLS for webhooks: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be made.
    #[error("no HTTP client for webhooks: {0}")]
    Client(#[from] reqwest::Error),
    /// The secret was checked when the configuration was read.
    #[error("the webhook's secret cannot sign: {0}")]
    Secret(#[from] standardwebhooks::WebhookError),
}

/// Bytes of an answer that are read: enough for a reason, and to use the connection again.
const ANSWER_READ: usize = 16 * 1024;
/// Characters of it that a parked event keeps.
const REASON_KEPT: usize = 300;

impl Webhook {
    pub(crate) fn open(config: WebhookConfig) -> Result<Self, WebhookError> {
        let WebhookConfig { url, secret } = config;
        // Said here rather than by a process-wide default: a library has no business setting one.
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .timeout(DELIVERY_TIMEOUT)
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let signer = standardwebhooks::Webhook::from_bytes(secret.expose().as_bytes().to_vec())?;
        Ok(Self { client, url, signer })
    }

    async fn post(&self, parcel: &Parcel) -> Result<Response, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let signature = self
            .signer
            .sign(&parcel.id, now, &parcel.line)
            .map_err(|error| format!("cannot sign: {error}"))?;
        self.client
            .post(self.url.as_url().clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(standardwebhooks::HEADER_WEBHOOK_ID, &parcel.id)
            .header(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP, now)
            .header(standardwebhooks::HEADER_WEBHOOK_SIGNATURE, signature)
            .body(parcel.line.clone())
            .send()
            .await
            .map_err(|error| describe(&error))
    }
}

impl Sink for Webhook {
    async fn deliver(&self, parcels: &[Parcel]) -> Verdict {
        let [parcel] = parcels else { unreachable!("one at once is the default") };
        let mut answer = match self.post(parcel).await {
            Ok(answer) => answer,
            Err(reason) => return Verdict::Unavailable { reason, retry_after: None },
        };
        let status = answer.status();
        let retry_after = retry_after(&answer);
        let mut text = Vec::new();
        while text.len() < ANSWER_READ
            && let Ok(Some(piece)) = answer.chunk().await
        {
            text.extend_from_slice(&piece);
        }
        let text: String = String::from_utf8_lossy(&text).chars().take(REASON_KEPT).collect();
        verdict(status, retry_after, text.trim())
    }
}

/// Who is to blame for a status.
///
/// A status that would be the same for any event speaks of the destination: a wrong address or
/// credentials that are not accepted must not empty the log into the parked events.
fn verdict(status: StatusCode, retry_after: Option<Duration>, text: &str) -> Verdict {
    let reason = if text.is_empty() { status.to_string() } else { format!("{status}: {text}") };
    match status.as_u16() {
        200..=299 => Verdict::Delivered,
        401 | 402 | 403 | 404 | 405 | 407 | 408 | 410 | 421 | 423 | 425 | 429 => {
            Verdict::Unavailable { reason, retry_after }
        }
        400..=499 => Verdict::Refused { reason },
        _ => Verdict::Unavailable { reason, retry_after },
    }
}

/// `Retry-After` in seconds. The form with a date is rare, and wrong clocks make it useless.
fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The cause, without the URL: its query may hold a credential.
fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let kind = match error {
        error if error.is_timeout() => "time-out",
        error if error.is_connect() => "cannot connect",
        _ => "the request failed",
    };
    format!("{kind}: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_blames_the_event_or_the_destination() {
        let of = |status: u16| verdict(StatusCode::from_u16(status).unwrap(), None, "").as_str();
        for status in [200, 201, 204, 299] {
            assert_eq!(of(status), "delivered");
        }
        for status in [400, 406, 409, 411, 413, 415, 422, 451] {
            assert_eq!(of(status), "refused");
        }
        for status in [301, 307, 401, 403, 404, 408, 410, 429, 500, 502, 503, 599] {
            assert_eq!(of(status), "unavailable");
        }
    }
}
