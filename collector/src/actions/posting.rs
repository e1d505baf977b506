//! Posts to a destination over HTTP, and tells an answer from an answer that was lost.
//! Promises that only addresses are reached that may be, that no redirect is followed, an end within the time-out, and that
//! [`Posted::NotSent`] is said only where no byte of the request can have arrived. Deliberately does not know what an answer means.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode, header::HeaderMap, redirect};
use tokio::time::{Instant, timeout_at};

use crate::{
    config::HttpUrl,
    limits::{WEBHOOK_ANSWER_PATIENCE, WEBHOOK_ANSWER_READ},
    outgoing,
    sinks::{AllowPrivate, NotPublic, address::Guard},
};

/// An HTTP client for one destination.
#[derive(Clone, Debug)]
pub(super) struct Posting {
    pub(super) client: Client,
    timeout: Duration,
}

/// Why nothing can be posted at all.
#[derive(Debug, thiserror::Error)]
pub enum PostingError {
    /// The system's certificates cannot be used: install them (`ca-certificates`).
    #[error("no TLS for actions: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be made.
    #[error("no HTTP client for actions: {0}")]
    Client(#[from] reqwest::Error),
    /// The secret was checked when the configuration was read.
    #[error("the webhook's secret cannot sign: {0}")]
    Secret(#[from] standardwebhooks::WebhookError),
    /// The URL is of an address that is not allowed: correct it, or set `allow_private`.
    #[error(transparent)]
    NotPublic(#[from] NotPublic),
    /// The address cannot have a path added to it: correct `api_url`.
    #[error("`api_url` cannot be the beginning of an address")]
    NoBase,
}

/// What of an answer matters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// The status: the rest is read a little, for its reason.
    Status,
    /// The words, too: they are waited for as the status is.
    Words,
}

impl Wanted {
    /// Slack repeats the message, with what it has made of it: some hundred KB at most.
    fn most_bytes(self) -> usize {
        match self {
            Self::Status => WEBHOOK_ANSWER_READ,
            Self::Words => 1024 * 1024,
        }
    }

    fn patience(self, timeout: Duration) -> Duration {
        match self {
            Self::Status => WEBHOOK_ANSWER_PATIENCE,
            Self::Words => timeout,
        }
    }
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Posted {
    /// There is an answer.
    Answered(Answer),
    /// There was no connection: nothing has happened.
    NotSent(String),
    /// It was sent, or a part of it, and no answer came.
    Lost(String),
}

/// A status, and the beginning of what follows it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: Vec<u8>,
}

impl Posting {
    pub(super) fn open(
        url: &HttpUrl,
        allow_private: AllowPrivate,
        timeout: Duration,
    ) -> Result<Self, PostingError> {
        let guard = Guard::new(allow_private);
        guard.check(url)?;
        let client = Client::builder()
            .tls_backend_preconfigured(outgoing::tls()?)
            .redirect(redirect::Policy::none())
            .dns_resolver(guard)
            // A proxy named in the environment would look names up itself, out of the guard's sight.
            .no_proxy()
            // A connection that is kept may be closed by the other side as the next request is written, and then nobody knows. Actions are
            // few: each has a connection of its own.
            .pool_max_idle_per_host(0)
            // Half of it, so that one that cannot be reached is not taken for one that does not answer.
            .connect_timeout(timeout / 2)
            .timeout(timeout)
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, timeout })
    }

    pub(super) async fn post(&self, request: RequestBuilder, wanted: Wanted) -> Posted {
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => {
                return Posted::NotSent(describe(&error));
            }
            Err(error) => return Posted::Lost(describe(&error)),
        };
        // The status has said most of what matters; a body that breaks off does not take it back.
        let (mut text, until) = (Vec::new(), Instant::now() + wanted.patience(self.timeout));
        while text.len() < wanted.most_bytes()
            && let Ok(Ok(Some(piece))) = timeout_at(until, response.chunk()).await
        {
            text.extend_from_slice(&piece);
        }
        Posted::Answered(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text,
        })
    }
}

/// The cause, without the URL: it may be a credential.
fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match error {
        error if error.is_connect() => format!("cannot connect: {cause}"),
        error if error.is_timeout() => "time-out: there was no answer in time".to_owned(),
        // Its own text names the URL.
        error if error.is_builder() => "the request cannot be made".to_owned(),
        _ => format!("the answer was lost: {cause}"),
    }
}
