//! Tells a URL of an action, signed as Standard Webhooks says.
//! Promises the message's key as the id of every attempt, so that a receiver does the thing once; a signature over id, time and body;
//! and no redirect. Deliberately renders nothing: the body is everything that is known, as JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header;
use serde::Serialize;
use serde_json::Value;

use super::{
    Message, Outcome,
    posting::{Posted, Posting, PostingError, Wanted},
    reason::without_people,
};
use crate::{
    config::{ActionWebhookConfig, HttpUrl},
    sinks::{Verdict, answer},
};

/// The header under which other APIs than Standard Webhooks look for the same key (IETF draft "The Idempotency-Key HTTP Header Field").
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A URL that is told of actions.
pub struct ActionWebhook {
    posting: Posting,
    url: HttpUrl,
    signers: Vec<standardwebhooks::Webhook>,
}

impl std::fmt::Debug for ActionWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActionWebhook").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The body.
#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    #[serde(flatten)]
    context: &'a serde_json::Value,
}

impl ActionWebhook {
    /// Makes ready to post.
    pub fn open(config: &ActionWebhookConfig) -> Result<Self, PostingError> {
        let signer = |secret: &[u8]| standardwebhooks::Webhook::from_bytes(secret.to_vec());
        let signers = config.secrets.iter().map(|secret| signer(secret.expose().as_bytes()));
        Ok(Self {
            posting: Posting::open(&config.url, config.allow_private.clone(), config.timeout)?,
            url: config.url.clone(),
            signers: signers.collect::<Result<_, _>>()?,
        })
    }

    /// Tries once.
    pub async fn send(&self, message: &Message) -> Outcome {
        let body = Body { id: &message.key, context: &message.context };
        let Ok(body) = serde_json::to_vec(&body) else {
            return Outcome::refused("what is known of the firing is no JSON object");
        };
        let to = message.to.as_deref();
        match self.post(&message.key, body, (Wanted::Status, to)).await {
            Ok(_) => Outcome::Accepted { reference: None },
            Err(outcome) => outcome,
        }
    }

    /// Asks once, and hands over the body of the answer.
    pub(super) async fn ask(&self, key: &str, question: &Value) -> Result<Vec<u8>, Outcome> {
        self.post(key, question.to_string().into_bytes(), (Wanted::Words, None)).await
    }

    /// Posts once; what came of it, if it was not taken.
    async fn post(
        &self,
        key: &str,
        body: Vec<u8>,
        (wanted, to): (Wanted, Option<&str>),
    ) -> Result<Vec<u8>, Outcome> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let signatures = self.signers.iter().map(|signer| signer.sign(key, now, &body));
        let Ok(signatures) = signatures.collect::<Result<Vec<_>, _>>() else {
            return Err(Outcome::refused("the action cannot be signed"));
        };
        let request = self
            .posting
            .client
            .post(self.url.as_url().clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(standardwebhooks::HEADER_WEBHOOK_ID, key)
            .header(IDEMPOTENCY_KEY, key)
            .header(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP, now)
            .header(standardwebhooks::HEADER_WEBHOOK_SIGNATURE, signatures.join(" "))
            .body(body);
        let answer = match self.posting.post(request, wanted).await {
            Posted::Answered(answer) => answer,
            Posted::NotSent(reason) => return Err(Outcome::failed(reason)),
            Posted::Lost(reason) => return Err(Outcome::unknown(reason)),
        };
        let said = |reason: String| without_people(&reason, to);
        // A receiver of Standard Webhooks says with any status but 2xx that it has not done it, and gets the same id again.
        match answer::verdict(answer.status, &answer.headers, &answer.text) {
            Verdict::Delivered => Ok(answer.text),
            Verdict::Refused { reason } | Verdict::Gone { reason } => {
                Err(Outcome::refused(said(reason)))
            }
            Verdict::Unavailable { reason, retry_after } => {
                Err(Outcome::Failed { reason: said(reason), retry_after })
            }
        }
    }
}
