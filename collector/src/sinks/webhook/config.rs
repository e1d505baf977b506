//! What can be said about a webhook in the configuration.
//! Promises that a value that cannot work is an error where it is read, and that no secret is printed.
//! Deliberately does not know how anything is delivered.

use std::{fmt, net::IpAddr, time::Duration};

use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

use crate::{
    config::{HttpUrl, Secret, WebhookSecret, within},
    limits::WEBHOOK_BATCH,
    sinks::{timeout, timeout_seconds},
};

/// `kind = "webhook"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where events are posted. `http` or `https`.
    pub url: HttpUrl,
    /// Sign every delivery, in the form of Standard Webhooks: `whsec_` and base64 of 24–64 bytes. `secret = "…"`, or
    /// `secrets = ["new", "old"]` while one is being replaced: then each delivery carries both signatures.
    #[serde(rename = "secret", alias = "secrets", deserialize_with = "one_or_two")]
    pub secrets: Vec<Secret<WebhookSecret>>,
    /// Most events of one delivery, 1 to 1000. Default 1. With more, the body is a JSON array, also if it has one event.
    #[serde(default = "one", deserialize_with = "batch")]
    pub batch: usize,
    /// The form of the body. Default `json`.
    #[serde(default)]
    pub format: BodyFormat,
    /// Which addresses that are not public may be delivered to: `true`, or a list as `["10.1.0.0/16", "127.0.0.1"]`.
    /// Default none, so that whoever may name a URL cannot reach into the network that the collector is in.
    #[serde(default)]
    pub allow_private: AllowPrivate,
    /// From connecting to the status, in whole seconds, 1 to 60. Default 15.
    #[serde(rename = "timeout_seconds", default = "timeout", deserialize_with = "timeout_seconds")]
    pub timeout: Duration,
}

/// The form of a webhook's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyFormat {
    /// The event as it is stored.
    #[default]
    Json,
    /// CloudEvents 1.0, structured.
    CloudEvents,
}

/// The addresses that may be delivered to although they are not public.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowPrivate {
    /// None.
    #[default]
    Nothing,
    /// These.
    Networks(Vec<IpNet>),
    /// All.
    Everything,
}

fn one() -> usize {
    1
}

fn batch<'de, D: Deserializer<'de>>(number: D) -> Result<usize, D::Error> {
    within(number, 1..=WEBHOOK_BATCH)
}

fn one_or_two<'de, D: Deserializer<'de>>(
    secrets: D,
) -> Result<Vec<Secret<WebhookSecret>>, D::Error> {
    struct Secrets;
    impl<'de> Visitor<'de> for Secrets {
        type Value = Vec<Secret<WebhookSecret>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a webhook secret, or a list of one or two")
        }

        fn visit_str<E: serde::de::Error>(self, secret: &str) -> Result<Self::Value, E> {
            let secret = WebhookSecret::try_from(secret.to_owned()).map_err(E::custom)?;
            Ok(vec![Secret::new(secret)])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut secrets = Vec::new();
            while let Some(secret) = list.next_element()? {
                secrets.push(secret);
            }
            if (1..=2).contains(&secrets.len()) {
                return Ok(secrets);
            }
            let message = "a webhook has one secret, or two while one replaces the other";
            Err(A::Error::custom(message))
        }
    }
    secrets.deserialize_any(Secrets)
}

impl<'de> Deserialize<'de> for AllowPrivate {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Allowed;
        impl<'de> Visitor<'de> for Allowed {
            type Value = AllowPrivate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or a list of networks as \"10.1.0.0/16\"")
            }

            fn visit_bool<E>(self, all: bool) -> Result<AllowPrivate, E> {
                Ok(if all { AllowPrivate::Everything } else { AllowPrivate::Nothing })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AllowPrivate, A::Error> {
                let mut networks = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
                    networks.push(network.map_err(|_| {
                        let expected = "expected an address or a network as `10.1.0.0/16`";
                        A::Error::custom(format!("`{text}`: {expected}"))
                    })?);
                }
                Ok(AllowPrivate::Networks(networks))
            }
        }
        value.deserialize_any(Allowed)
    }
}
