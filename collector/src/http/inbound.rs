//! `POST /v1/in/NAME`: webhooks of others, taken in.
//! Promises that 200 means: all of it that the mapping wants is on disk, now or since an earlier delivery; that what became no
//! event is answered with the place in the mapping, so that the sender sends it again; and that no body is kept for a name that
//! nobody has. Deliberately knows neither signatures nor mappings: see `inbound`.

use bytes::Bytes;
use hyper::{Request, StatusCode, body::Body, header, http::request::Parts};
use serde_json::json;

use super::{
    Http,
    answer::{Answer, Failure, ok},
    body,
    client::{Client, Peer},
    door::Front,
};
use crate::{
    decode::Shape,
    inbound::{
        Delivery, Inbound, Unbelieved, Unreadable,
        mapping::{Made, Mapped},
    },
    ingest::{Incoming, Receipt},
    limits::{MAX_BATCH_BYTES, MAX_INBOUND_BYTES, MAX_INBOUND_VALUES},
    validate::Reason,
};

impl Http {
    /// Verifies a webhook, maps it, and stores the events.
    pub(super) async fn take_inbound<B>(
        &self,
        request: Request<B>,
        peer: Peer,
        front: &Front,
    ) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let name = head.uri.path().strip_prefix("/v1/in/").unwrap_or_default();
        let Some(inbound) = self.inbounds.named(name) else {
            self.let_go_by(&head, body).await;
            let message = "there is no inbound webhook of this name";
            return Err(Failure::new(StatusCode::NOT_FOUND, "unknown_inbound", message));
        };
        let from = Client::of(peer, &head.headers, &front.trusted_proxies);
        let held = self.bodies.of_client(from.address);
        let (body, held) = body::read_at_most(MAX_INBOUND_BYTES, body, held, &self.limits).await?;

        let metrics = self.vitals.metrics();
        let count = |reason, count| {
            metrics.inbound_not_events(&inbound.source.name, reason, count);
        };
        let url = address(&head, from.secure);
        let now = (self.ingest.clock)();
        let delivery = Delivery { headers: &head.headers, url: &url, body: &body, now };
        if let Err(why) = inbound.verify(&delivery) {
            let reason = if why == Unbelieved::Stale { "stale_signature" } else { "bad_signature" };
            count(reason, 1);
            return Err(unbelieved(why));
        }
        let mapped = self.inbounds.map(&inbound, head.headers, body).await;
        drop(held);
        let Mapped { events, ignored, failures } = mapped.map_err(|why| {
            count("unreadable", 1);
            unreadable(why)
        })?;
        count("ignored", ignored);
        let mut failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
        let (mut receipt, is_ignored) = (Receipt::default(), events.is_empty());
        let mut suppressed = 0;
        for batch in batches(&events) {
            let taken = self.hand_in(batch.incoming(&inbound)).await?;
            receipt.accepted += taken.accepted;
            receipt.duplicate += taken.duplicate;
            for event in taken.not_accepted {
                let Some((reason, detail)) = event.refused else { continue };
                if reason == Reason::Suppressed {
                    // Sent again, it would be refused again: who was erased stays so.
                    suppressed += 1;
                    continue;
                }
                let Some(made) = batch.events.get(event.index) else { continue };
                let why = format!("{}: {detail}", reason.as_str());
                failures.push(inbound.not_taken(made, &why).to_string());
            }
        }
        if let Some(first) = failures.first() {
            count("mapping_failed", failures.len() as u64);
            tracing::warn!(inbound = name_of(&inbound), failures = failures.len(), "{first}");
            return Err(mapping_failed(first));
        }
        let mut said = json!({"success": true});
        if is_ignored {
            said["ignored"] = json!(true);
        } else {
            said["accepted"] = json!(receipt.accepted);
            said["duplicate"] = json!(receipt.duplicate);
            if suppressed > 0 {
                said["suppressed"] = json!(suppressed);
            }
        }
        Ok(ok("application/json", said.to_string()))
    }
}

fn name_of(inbound: &Inbound) -> &str {
    &inbound.source.name
}

/// The address that the sender has sent to, as far as it can be told here.
fn address(head: &Parts, secure: bool) -> String {
    // HTTP/2 has it in the request's address.
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = head.uri.authority().map(|authority| authority.as_str()).or(host);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{}{path}", host.unwrap_or_default())
}

fn unbelieved(why: Unbelieved) -> Failure {
    match why {
        Unbelieved::Unsigned(header) => {
            let message = format!("the header `{header}` is missing, or not in its form");
            Failure::new(StatusCode::UNAUTHORIZED, "bad_signature", message)
        }
        Unbelieved::Wrong => {
            let message = "the signature is not of this body, or not made with the secret that is configured here";
            Failure::new(StatusCode::UNAUTHORIZED, "bad_signature", message)
        }
        Unbelieved::Stale => {
            let message = "this was signed at another time than now: it is old and was sent again, or a clock is wrong";
            Failure::new(StatusCode::UNAUTHORIZED, "stale_signature", message)
        }
    }
}

fn unreadable(why: Unreadable) -> Failure {
    match why {
        Unreadable::NoJson(why) => {
            let message = format!("the body is no JSON: {why}");
            Failure::new(StatusCode::BAD_REQUEST, "invalid_json", message)
        }
        Unreadable::TooMany => {
            let message = format!("a body has at most {MAX_INBOUND_VALUES} values");
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        }
        Unreadable::Lost(why) => mapping_failed(&why),
    }
}

fn mapping_failed(why: &str) -> Failure {
    let message =
        format!("{why}; what else came with it is stored, and recognised when it comes again");
    Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "mapping_failed", message)
}

/// Events that go to the log together.
struct Batch<'e> {
    events: &'e [Made],
}

/// As many as a batch may have: what a mapping makes can be longer than what it was made of.
fn batches(mut events: &[Made]) -> Vec<Batch<'_>> {
    let mut batches = Vec::new();
    while !events.is_empty() {
        let mut bytes = 0;
        let fit = events.iter().take_while(|made| {
            bytes += made.json.len() + 1;
            bytes <= MAX_BATCH_BYTES
        });
        let (batch, rest) = events.split_at(fit.count().max(1));
        batches.push(Batch { events: batch });
        events = rest;
    }
    batches
}

impl Batch<'_> {
    fn incoming(&self, inbound: &Inbound) -> Incoming {
        let mut body = String::from("{\"batch\":[");
        for (at, made) in self.events.iter().enumerate() {
            body.extend([if at == 0 { "" } else { "," }, &made.json]);
        }
        body.push_str("]}");
        Incoming {
            body: body.into(),
            encoding: None,
            shape: Shape::Batch,
            source: Some(std::sync::Arc::clone(&inbound.source)),
            origin: None,
            client: None,
            cookie: None,
        }
    }
}
