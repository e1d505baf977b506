//! Posts events to a URL, one by one or in batches, signed as Standard Webhooks says.
//! Promises an id that is the same at every attempt, a signature over id, time and body, an end within the time-out, and that
//! only public addresses are reached unless others are allowed. Deliberately follows no redirect: a signed event goes where it
//! was configured to go, and nowhere else.

pub(crate) mod address;
pub(crate) mod answer;
mod body;
mod config;

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Client, Response, header, redirect};
use tokio::time::{Instant, timeout_at};

use super::{Parcel, Sink, Verdict};
use crate::{
    config::HttpUrl,
    limits::{DELIVERIES_IN_FLIGHT, WEBHOOK_ANSWER_PATIENCE, WEBHOOK_ANSWER_READ},
    outgoing,
};
use address::Guard;
pub use address::NotPublic;
use body::Body;
pub use config::{AllowPrivate, BodyFormat, WebhookConfig};

/// A destination that takes webhooks.
pub struct Webhook {
    client: Client,
    url: HttpUrl,
    signers: Vec<standardwebhooks::Webhook>,
    batch: usize,
    format: BodyFormat,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why webhooks cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The system's certificates cannot be used: install them (`ca-certificates`).
    #[error("no TLS for webhooks: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be made.
    #[error("no HTTP client for webhooks: {0}")]
    Client(#[from] reqwest::Error),
    /// The secret was checked when the configuration was read.
    #[error("the webhook's secret cannot sign: {0}")]
    Secret(#[from] standardwebhooks::WebhookError),
    /// The URL is of an address that is not allowed: correct it, or set `allow_private`.
    #[error(transparent)]
    NotPublic(#[from] NotPublic),
}

impl Webhook {
    /// Makes ready to post.
    pub fn open(config: WebhookConfig) -> Result<Self, WebhookError> {
        let guard = Guard::new(config.allow_private);
        guard.check(&config.url)?;
        let client = Client::builder()
            .tls_backend_preconfigured(outgoing::tls()?)
            .redirect(redirect::Policy::none())
            .dns_resolver(guard)
            // A proxy named in the environment would look names up itself, out of the guard's sight.
            .no_proxy()
            .timeout(config.timeout)
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let signer = |secret: &[u8]| standardwebhooks::Webhook::from_bytes(secret.to_vec());
        let secrets = config.secrets.iter().map(|secret| signer(secret.expose().as_bytes()));
        Ok(Self {
            client,
            url: config.url,
            signers: secrets.collect::<Result<_, _>>()?,
            batch: config.batch,
            format: config.format,
        })
    }

    /// Each secret's signature, the newest's first.
    fn sign(&self, body: &Body, now: i64) -> Result<String, standardwebhooks::WebhookError> {
        let signatures = self.signers.iter().map(|signer| signer.sign(&body.id, now, &body.bytes));
        Ok(signatures.collect::<Result<Vec<_>, _>>()?.join(" "))
    }

    async fn post(&self, body: Body) -> Result<Response, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let signatures = self.sign(&body, now).map_err(|error| format!("cannot sign: {error}"))?;
        self.client
            .post(self.url.as_url().clone())
            .header(header::CONTENT_TYPE, body.content_type)
            .header(standardwebhooks::HEADER_WEBHOOK_ID, body.id)
            .header(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP, now)
            .header(standardwebhooks::HEADER_WEBHOOK_SIGNATURE, signatures)
            .body(body.bytes)
            .send()
            .await
            .map_err(|error| describe(&error))
    }
}

impl Sink for Webhook {
    fn most_at_once(&self) -> usize {
        self.batch
    }

    /// Fewer where each carries more: memory is bounded by their product.
    fn most_in_flight(&self) -> usize {
        (DELIVERIES_IN_FLIGHT / self.batch).max(2)
    }

    async fn deliver(&self, parcels: &[Parcel]) -> Verdict {
        let as_array = self.batch > 1 || parcels.len() > 1;
        let body = match Body::new(self.format, as_array, parcels) {
            Ok(body) => body,
            Err(error) => return Verdict::Refused { reason: format!("no CloudEvent: {error}") },
        };
        let mut answer = match self.post(body).await {
            Ok(answer) => answer,
            Err(reason) => return Verdict::unavailable(reason),
        };
        // The status has said what matters. The rest is read for its reason, and to use the connection again.
        let (mut text, until) = (Vec::new(), Instant::now() + WEBHOOK_ANSWER_PATIENCE);
        while text.len() < WEBHOOK_ANSWER_READ
            && let Ok(Ok(Some(piece))) = timeout_at(until, answer.chunk()).await
        {
            text.extend_from_slice(&piece);
        }
        answer::verdict(answer.status(), answer.headers(), &text)
    }
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
