//! `[inbound.NAME]`: who posts webhooks to us, and how it shows that it is them.
//! Promises that a secret or a key that cannot verify anything is refused here, that keys which a kind does not have are named,
//! and that no secret is printed. Deliberately reads no mapping file: see `inbound`.

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::{HttpUrl, Secret, WebhookSecret, source::one_or_two};

/// `[inbound.NAME]`: webhooks that come in at `/v1/in/NAME`. Their events have NAME as their source, and `trust = "server"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct InboundConfig {
    /// `kind`, with that kind's keys.
    pub kind: InboundKind,
    /// `map`: a mapping file of one's own. Default: the kind's ready one; `generic` has none.
    pub map: Option<PathBuf>,
    /// `tolerance_seconds`: how far the signed time may be from ours, 1 to 3600. Default 300, as Stripe and Standard Webhooks
    /// have it.
    pub tolerance: Duration,
    /// Marks its events as tests. Default `false`.
    pub test: bool,
}

/// Who signs, and what verifies it: one secret or key, or two while one replaces the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboundKind {
    /// `Stripe-Signature`, with the endpoint's signing secret.
    Stripe(Vec<Secret<SharedSecret>>),
    /// `X-Zendesk-Webhook-Signature`, with the webhook's signing secret.
    Zendesk(Vec<Secret<SharedSecret>>),
    /// `X-HubSpot-Signature-v3`, with the app's client secret.
    HubSpot {
        /// Of the app.
        secrets: Vec<Secret<SharedSecret>>,
        /// The address that HubSpot posts to, as it was entered there, which is signed too. Default: the request's own.
        url: Option<HttpUrl>,
    },
    /// `X-Twilio-Email-Event-Webhook-Signature`, with the verification key.
    SendGrid(Vec<EcKey>),
    /// `X-Slack-Signature`, with the app's signing secret.
    Slack(Vec<Secret<SharedSecret>>),
    /// Standard Webhooks.
    Generic(Vec<Secret<WebhookSecret>>),
}

/// The words for them.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Stripe,
    Zendesk,
    HubSpot,
    SendGrid,
    Slack,
    Generic,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    kind: Word,
    #[serde(default, rename = "secret", alias = "secrets", deserialize_with = "one_or_two")]
    secrets: Vec<Secret<String>>,
    #[serde(
        default,
        rename = "public_key",
        alias = "public_keys",
        deserialize_with = "one_or_two"
    )]
    public_keys: Vec<Secret<String>>,
    url: Option<HttpUrl>,
    map: Option<PathBuf>,
    #[serde(default = "tolerance", deserialize_with = "tolerated")]
    tolerance_seconds: u64,
    #[serde(default)]
    test: bool,
}

fn tolerance() -> u64 {
    300
}

fn tolerated<'de, D: serde::Deserializer<'de>>(seconds: D) -> Result<u64, D::Error> {
    super::within(seconds, 1..=3600)
}

impl TryFrom<Raw> for InboundConfig {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let Raw { kind, secrets, public_keys, url, map, tolerance_seconds, test } = raw;
        if !matches!(kind, Word::SendGrid) && !public_keys.is_empty() {
            return Err("only `sendgrid` has a `public_key`; the others have a `secret`".to_owned());
        }
        if !matches!(kind, Word::HubSpot) && url.is_some() {
            return Err("only `hubspot` has a `url`: it alone signs it".to_owned());
        }
        let kind = match kind {
            Word::Stripe => InboundKind::Stripe(all(secrets)?),
            Word::Zendesk => InboundKind::Zendesk(all(secrets)?),
            Word::HubSpot => InboundKind::HubSpot { secrets: all(secrets)?, url },
            Word::Slack => InboundKind::Slack(all(secrets)?),
            Word::Generic if map.is_none() => {
                return Err(
                    "the key `map` is missing: `generic` has no mapping of its own".to_owned()
                );
            }
            Word::Generic => InboundKind::Generic(all(secrets)?),
            Word::SendGrid if !secrets.is_empty() => {
                return Err("`sendgrid` has no `secret` but a `public_key`, its verification key"
                    .to_owned());
            }
            Word::SendGrid if public_keys.is_empty() => {
                return Err(
                    "the key `public_key` is missing: SendGrid's verification key".to_owned()
                );
            }
            Word::SendGrid => {
                let keys = public_keys.iter().map(|key| EcKey::try_from(key.expose().as_str()));
                InboundKind::SendGrid(keys.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { kind, map, tolerance: Duration::from_secs(tolerance_seconds), test })
    }
}

fn all<T: TryFrom<String, Error = String>>(
    secrets: Vec<Secret<String>>,
) -> Result<Vec<Secret<T>>, String> {
    if secrets.is_empty() {
        return Err("the key `secret` is missing: what the sender signs with".to_owned());
    }
    let read = |secret: Secret<String>| T::try_from(secret.expose().clone()).map(Secret::new);
    secrets.into_iter().map(read).collect()
}

/// What a vendor signs with: the text as the vendor shows it, 16 to 256 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret(String);

impl SharedSecret {
    /// The key itself: its text, whatever that looks like.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl TryFrom<String> for SharedSecret {
    type Error = String;

    // The error never repeats the value.
    fn try_from(secret: String) -> Result<Self, String> {
        let visible = secret.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (16..=256).contains(&secret.len()) {
            Ok(Self(secret))
        } else {
            let message = "a signing secret has 16 to 256 visible characters; copy it from where the vendor shows it, as it is";
            Err(message.to_owned())
        }
    }
}

/// A public key of the curve P-256, as SendGrid shows it: base64 of a `SubjectPublicKeyInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcKey([u8; 65]);

/// What stands before the point in such a key, always the same (RFC 5480): a sequence, `id-ecPublicKey`, `secp256r1`, a bit string.
const BEFORE_THE_POINT: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

impl EcKey {
    /// The point, uncompressed.
    pub fn as_point(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&str> for EcKey {
    type Error = String;

    fn try_from(key: &str) -> Result<Self, String> {
        let der = BASE64_STANDARD.decode(key).unwrap_or_default();
        let point = der.strip_prefix(&BEFORE_THE_POINT).filter(|point| point.first() == Some(&4));
        let point = point.and_then(|point| point.try_into().ok());
        point.map(Self).ok_or_else(|| {
            "a `public_key` is the verification key as SendGrid shows it: 124 characters of base64, from `MFkwEwYH`".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("headwater.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_has_its_keys() {
        let text = format!(
            "[inbound.stripe]\nkind = 'stripe'\nsecret = 'whsec_0123456789abcdef'\ntolerance_seconds = 60\n\
             [inbound.zendesk]\nkind = 'zendesk'\nsecrets = ['0123456789abcdef', 'fedcba9876543210']\n\
             [inbound.hubspot]\nkind = 'hubspot'\nsecret = '0123456789abcdef'\nurl = 'https://c.example/v1/in/hubspot'\n\
             [inbound.mail]\nkind = 'sendgrid'\npublic_key = '{KEY}'\nmap = 'mail.toml'\n\
             [inbound.shop]\nkind = 'generic'\nsecret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs='\nmap = 'shop.toml'\n\
             [consumers.crm]\nkind = 'pull'\nsources = ['stripe', 'web']\n"
        );
        let config = parse(&text).unwrap();
        assert_eq!(config.inbound.len(), 5);
        let printed = format!("{config:?}");
        assert!(!printed.contains("0123456789") && !printed.contains("C2FV"), "{printed}");
    }

    #[test]
    fn what_does_not_go_together_is_named_with_its_line() {
        let secret = "secret = '0123456789abcdef'";
        for (text, line, part) in [
            ("[inbound.a]\nkind = 'fax'".to_owned(), 2, "unknown word `fax`"),
            ("[inbound.a]\nkind = 'stripe'".to_owned(), 1, "`secret` is missing"),
            ("[inbound.a]\nkind = 'stripe'\nsecret = 'short'".to_owned(), 1, "16 to 256 visible"),
            (format!("[inbound.a]\nkind = 'generic'\n{secret}"), 1, "`map` is missing"),
            (
                format!("[inbound.a]\nkind = 'generic'\nmap = 'm'\n{secret}"),
                1,
                "starts with `whsec_`",
            ),
            (format!("[inbound.a]\nkind = 'sendgrid'\n{secret}"), 1, "has no `secret`"),
            ("[inbound.a]\nkind = 'sendgrid'".to_owned(), 1, "`public_key` is missing"),
            ("[inbound.a]\nkind = 'sendgrid'\npublic_key = 'x'".to_owned(), 1, "124 characters"),
            (
                format!("[inbound.a]\nkind = 'stripe'\nurl = 'http://a/'\n{secret}"),
                1,
                "only `hubspot`",
            ),
            (
                format!("[inbound.a]\nkind = 'stripe'\npublic_key = '{KEY}'\n{secret}"),
                1,
                "only `sendgrid`",
            ),
            (
                format!("[inbound.a]\nkind = 'stripe'\ntolerance_seconds = 0\n{secret}"),
                3,
                "not within 1 to 3600",
            ),
            (
                format!("[inbound.a]\nkind = 'stripe'\nsecrte = 'x'\n{secret}"),
                3,
                "did you mean `secret`?",
            ),
            (
                format!("[sources.a]\nwrite_key = 'k'\n\n[inbound.a]\nkind = 'stripe'\n{secret}"),
                4,
                "`a` is a source too",
            ),
            (format!("\n[inbound.web]\nkind = 'stripe'\n{secret}"), 2, "`web` is a source too"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.starts_with(&format!("headwater.toml:{line}: ")), "{error}");
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("0123456789"), "{error}");
        }
    }
}
