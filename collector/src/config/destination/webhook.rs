//! `kind = "webhook"`: a URL that is told of each action.
//! Promises that it can be signed. Deliberately has no batches: an action is one thing done.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use super::secrets::Ways;
use crate::{
    config::{HttpUrl, Secret, WebhookSecret, source::one_or_two, within},
    limits::{DELIVERY_TIMEOUT, LONGEST_DELIVERY_TIMEOUT},
    sinks::AllowPrivate,
};

/// `kind = "webhook"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct ActionWebhookConfig {
    /// `url`: where actions are posted. `http` or `https`.
    pub url: HttpUrl,
    /// `secret` (or `secret_file`, `secret_env`): signs, in the form of Standard Webhooks, `whsec_` and base64 of 24–64 bytes. Or
    /// `secrets = ["new", "old"]` while one replaces the other.
    pub secrets: Vec<Secret<WebhookSecret>>,
    /// `allow_private`: which addresses that are not public may be posted to, as of a webhook consumer. Default none.
    pub allow_private: AllowPrivate,
    /// `timeout_seconds`: from connecting to the status, 1 to 60. Default 15.
    pub timeout: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: HttpUrl,
    #[serde(default, rename = "secret", alias = "secrets", deserialize_with = "one_or_two")]
    secrets: Vec<Secret<WebhookSecret>>,
    secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    #[serde(default)]
    allow_private: AllowPrivate,
    #[serde(default = "timeout", deserialize_with = "timeout_seconds")]
    timeout_seconds: u64,
}

fn timeout() -> u64 {
    DELIVERY_TIMEOUT.as_secs()
}

fn timeout_seconds<'de, D: Deserializer<'de>>(seconds: D) -> Result<u64, D::Error> {
    within(seconds, 1..=LONGEST_DELIVERY_TIMEOUT.as_secs())
}

impl TryFrom<Raw> for ActionWebhookConfig {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let elsewhere =
            Ways { key: "secret", here: None, file: raw.secret_file, env: raw.secret_env };
        let secrets = match (raw.secrets, elsewhere.read()?) {
            (secrets, None) if !secrets.is_empty() => secrets,
            (secrets, Some(secret)) if secrets.is_empty() => {
                vec![Secret::new(WebhookSecret::try_from(secret.expose().clone())?)]
            }
            (_, None) => {
                return Err("the key `secret` is missing: what every action is signed with (or `secret_file`, `secret_env`)".to_owned());
            }
            _ => return Err("`secret`, `secret_file` and `secret_env` are ways to give one secret; use one of the three".to_owned()),
        };
        let timeout = Duration::from_secs(raw.timeout_seconds);
        Ok(Self { url: raw.url, secrets, allow_private: raw.allow_private, timeout })
    }
}
