//! Whether a webhook is from whom it says: each vendor's signature, as that vendor documents it.
//!
//! - Stripe, "Verify webhook signatures manually" (docs.stripe.com/webhooks): `Stripe-Signature: t=…,v1=…`, hexadecimal
//!   HMAC-SHA256 of `t.body`; several `v1` while a secret is rotated; five minutes.
//! - Zendesk, "Verifying" (developer.zendesk.com/documentation/webhooks/verifying): base64 of HMAC-SHA256 of timestamp and body.
//! - HubSpot, "Validating requests" (developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation):
//!   version 3, base64 of HMAC-SHA256 of method, address, body and timestamp in milliseconds; five minutes.
//! - SendGrid, "Event Webhook Security Features" (twilio.com/docs/sendgrid/for-developers/tracking-events): ECDSA over P-256 and
//!   SHA-256 of timestamp and body, base64 of the signature's DER.
//! - Slack, "Verifying requests from Slack" (docs.slack.dev/authentication/verifying-requests-from-slack): `v0=` and hexadecimal
//!   HMAC-SHA256 of `v0:timestamp:body`; five minutes.
//! - Standard Webhooks (standardwebhooks.com): `webhook-id`, `webhook-timestamp`, `webhook-signature`.
//!
//! Promises that signatures are compared in constant time, and that what is signed for another moment is refused.
//! Deliberately looks at no body, and remembers none: that a delivery is repeated shows by its event's id.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac_sha256::HMAC;
use hyper::HeaderMap;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook,
};
use subtle::{Choice, ConstantTimeEq as _};

use crate::{
    config::{InboundKind, Secret, SharedSecret},
    event_log::Timestamp,
    event_time,
};

/// A request, as far as it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Of the request.
    pub headers: &'a HeaderMap,
    /// The address it was sent to, as far as that can be told.
    pub url: &'a str,
    /// As it came.
    pub body: &'a [u8],
    /// By our own clock.
    pub now: Timestamp,
}

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbelieved {
    /// The header is missing, or holds nothing of the kind.
    Unsigned(&'static str),
    /// The signature is not of this body, or not made with this secret.
    Wrong,
    /// It was signed at another time than now.
    Stale,
}

/// The webhook's own id, where the sender gives it one and signs that too.
pub(super) fn signed_id<'h>(kind: &InboundKind, headers: &'h HeaderMap) -> Option<&'h str> {
    let generic = matches!(kind, InboundKind::Generic(_));
    headers.get(HEADER_WEBHOOK_ID).filter(|_| generic)?.to_str().ok()
}

impl Delivery<'_> {
    /// Whether it was signed, and within this time of now.
    pub(super) fn verify(&self, kind: &InboundKind, tolerance: Duration) -> Result<(), Unbelieved> {
        let at = match kind {
            InboundKind::Stripe(secrets) => self.stripe(secrets),
            InboundKind::Zendesk(secrets) => self.zendesk(secrets),
            InboundKind::HubSpot { secrets, url } => {
                let url = url.as_ref().map_or(self.url, |url| url.as_url().as_str());
                self.hubspot(secrets, url)
            }
            InboundKind::Slack(secrets) => self.slack(secrets),
            InboundKind::SendGrid(keys) => {
                let (signature, at) = self.pair(
                    "x-twilio-email-event-webhook-signature",
                    "x-twilio-email-event-webhook-timestamp",
                )?;
                let signature = BASE64_STANDARD.decode(signature).map_err(|_| Unbelieved::Wrong)?;
                let signed = [at.as_bytes(), self.body].concat();
                let holds = keys.iter().any(|key| {
                    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.as_point());
                    key.verify(&signed, &signature).is_ok()
                });
                if holds { Ok(seconds(at)) } else { Err(Unbelieved::Wrong) }
            }
            InboundKind::Generic(secrets) => {
                let id = self.header(HEADER_WEBHOOK_ID)?;
                let (given, at) = self.pair(HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP)?;
                let signed_at = at.parse().map_err(|_| Unbelieved::Wrong)?;
                let mut holds = Choice::from(0);
                for secret in secrets {
                    // The crate's own check goes by a clock and a tolerance of its own.
                    let made = Webhook::from_bytes(secret.expose().as_bytes().to_vec())
                        .and_then(|signer| signer.sign(id, signed_at, self.body))
                        .map_err(|_| Unbelieved::Wrong)?;
                    for given in given.split(' ') {
                        holds |= given.as_bytes().ct_eq(made.as_bytes());
                    }
                }
                if holds.into() { Ok(seconds(at)) } else { Err(Unbelieved::Wrong) }
            }
        }?;
        // Only now: a time that nobody signed says nothing.
        let at = at.ok_or(Unbelieved::Wrong)?;
        let apart = self.now.unix_ms().abs_diff(at.unix_ms());
        if u128::from(apart) <= tolerance.as_millis() { Ok(()) } else { Err(Unbelieved::Stale) }
    }

    fn stripe(&self, secrets: &[Secret<SharedSecret>]) -> Result<Option<Timestamp>, Unbelieved> {
        let header = "stripe-signature";
        let given = self.header(header)?;
        let values = |wanted: &'static str| {
            let pairs = given.split(',').filter_map(|pair| pair.trim().split_once('='));
            pairs.filter(move |(name, _)| *name == wanted).map(|(_, value)| value)
        };
        let at = values("t").next().ok_or(Unbelieved::Unsigned(header))?;
        let signed = [at.as_bytes(), b".", self.body];
        holds(secrets, &signed, hex, || values("v1"))?;
        Ok(seconds(at))
    }

    fn zendesk(&self, secrets: &[Secret<SharedSecret>]) -> Result<Option<Timestamp>, Unbelieved> {
        let (given, at) =
            self.pair("x-zendesk-webhook-signature", "x-zendesk-webhook-signature-timestamp")?;
        let signed = [at.as_bytes(), self.body];
        holds(secrets, &signed, base64, || [given].into_iter())?;
        Ok(event_time::parse(at))
    }

    fn hubspot(
        &self,
        secrets: &[Secret<SharedSecret>],
        url: &str,
    ) -> Result<Option<Timestamp>, Unbelieved> {
        let (given, at) = self.pair("x-hubspot-signature-v3", "x-hubspot-request-timestamp")?;
        let url = decoded(url);
        let signed = [b"POST", url.as_bytes(), self.body, at.as_bytes()];
        holds(secrets, &signed, base64, || [given].into_iter())?;
        Ok(at.parse().ok().map(Timestamp::from_unix_ms))
    }

    fn slack(&self, secrets: &[Secret<SharedSecret>]) -> Result<Option<Timestamp>, Unbelieved> {
        let (given, at) = self.pair("x-slack-signature", "x-slack-request-timestamp")?;
        let given = given.strip_prefix("v0=").ok_or(Unbelieved::Unsigned("x-slack-signature"))?;
        let signed = [b"v0:", at.as_bytes(), b":", self.body];
        holds(secrets, &signed, hex, || [given].into_iter())?;
        Ok(seconds(at))
    }

    fn header(&self, name: &'static str) -> Result<&str, Unbelieved> {
        let mut values = self.headers.get_all(name).iter();
        // Two of them are one too many: which one counts is what an attacker chooses.
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().map_err(|_| Unbelieved::Unsigned(name)),
            _ => Err(Unbelieved::Unsigned(name)),
        }
    }

    fn pair(
        &self,
        signature: &'static str,
        timestamp: &'static str,
    ) -> Result<(&str, &str), Unbelieved> {
        Ok((self.header(signature)?, self.header(timestamp)?))
    }
}

/// Whether one of the signatures that were given is made of this with one of the secrets.
fn holds<'g, G: Iterator<Item = &'g str>>(
    secrets: &[Secret<SharedSecret>],
    signed: &[&[u8]],
    write: impl Fn([u8; 32]) -> String,
    given: impl Fn() -> G,
) -> Result<(), Unbelieved> {
    let mut holds = Choice::from(0);
    for secret in secrets {
        let mut mac = HMAC::new(secret.expose().as_bytes());
        for part in signed {
            mac.update(part);
        }
        let made = write(mac.finalize());
        for given in given() {
            holds |= given.as_bytes().ct_eq(made.as_bytes());
        }
    }
    if holds.into() { Ok(()) } else { Err(Unbelieved::Wrong) }
}

fn hex(mac: [u8; 32]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(mac: [u8; 32]) -> String {
    BASE64_STANDARD.encode(mac)
}

fn seconds(text: &str) -> Option<Timestamp> {
    let ms = text.parse::<i64>().ok()?.checked_mul(1000)?;
    Some(Timestamp::from_unix_ms(ms))
}

/// HubSpot signs the address with these undone, and no others.
fn decoded(url: &str) -> String {
    const UNDONE: [(&str, &str); 12] = [
        ("%3A", ":"),
        ("%2F", "/"),
        ("%3F", "?"),
        ("%40", "@"),
        ("%21", "!"),
        ("%24", "$"),
        ("%27", "'"),
        ("%28", "("),
        ("%29", ")"),
        ("%2A", "*"),
        ("%2C", ","),
        ("%3B", ";"),
    ];
    UNDONE.iter().fold(url.to_owned(), |url, (code, plain)| {
        url.replace(code, plain).replace(&code.to_lowercase(), plain)
    })
}
