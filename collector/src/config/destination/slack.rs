//! `kind = "slack"`: a channel, and what lets us write there.
//! Promises one of the two ways in, never both. Deliberately asks nobody whether it works.

use std::path::PathBuf;

use serde::Deserialize;

use super::secrets::{Ways, visible};
use crate::{
    config::{HttpUrl, Secret},
    sinks::AllowPrivate,
};

/// `kind = "slack"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct SlackConfig {
    /// How we get in.
    pub entry: SlackEntry,
    /// `allow_private`: which addresses that are not public may be posted to, as of a webhook consumer. Default none.
    pub allow_private: AllowPrivate,
}

/// The two ways into a channel of Slack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlackEntry {
    /// `webhook_url` (or `webhook_url_file`, `webhook_url_env`): an incoming webhook. It is of one channel, and whoever knows it can post
    /// there. Buttons need a bot.
    IncomingWebhook(Secret<HttpUrl>),
    /// A bot's token.
    Bot {
        /// `token` (or `token_file`, `token_env`): `xoxb-…`, with the scope `chat:write`.
        token: Secret<String>,
        /// `channel`: where messages go that name no channel of their own, as `C0123456789` or `#sales`.
        channel: String,
        /// `api_url`: default `https://slack.com/api/`.
        api_url: HttpUrl,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    webhook_url: Option<Secret<String>>,
    webhook_url_file: Option<PathBuf>,
    webhook_url_env: Option<String>,
    token: Option<Secret<String>>,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    channel: Option<String>,
    api_url: Option<HttpUrl>,
    #[serde(default)]
    allow_private: AllowPrivate,
}

impl TryFrom<Raw> for SlackConfig {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let webhook_url = Ways {
            key: "webhook_url",
            here: raw.webhook_url,
            file: raw.webhook_url_file,
            env: raw.webhook_url_env,
        };
        let token =
            Ways { key: "token", here: raw.token, file: raw.token_file, env: raw.token_env };
        let entry = match (webhook_url.read()?, token.read()?) {
            (Some(_), Some(_)) => {
                return Err(
                    "`webhook_url` and `token` are two ways in; use one, not both".to_owned()
                );
            }
            (None, None) => {
                return Err(
                    "the key `webhook_url` is missing, or a bot's `token` and `channel`".to_owned()
                );
            }
            (Some(_), None) if raw.channel.is_some() || raw.api_url.is_some() => {
                return Err(
                    "`channel` and `api_url` go with a `token`: a `webhook_url` is of one channel"
                        .to_owned(),
                );
            }
            (Some(url), None) => {
                let url = HttpUrl::try_from(url.expose().clone());
                let url = url.map_err(|what| format!("`webhook_url`: {what}"))?;
                SlackEntry::IncomingWebhook(Secret::new(url))
            }
            (None, Some(token)) => SlackEntry::Bot {
                token: visible("token", token)?,
                channel: raw.channel.filter(|channel| !channel.is_empty()).ok_or(
                    "the key `channel` is missing: where messages go that name no channel",
                )?,
                api_url: match raw.api_url {
                    Some(url) => url,
                    None => HttpUrl::try_from("https://slack.com/api/".to_owned())?,
                },
            },
        };
        Ok(Self { entry, allow_private: raw.allow_private })
    }
}
