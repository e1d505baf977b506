//! `kind = "sms"`: an account of Twilio's, and the number that texts come from.
//! Promises that an account and a sender look like one. Deliberately asks nobody whether they are.

use std::path::PathBuf;

use serde::Deserialize;

use super::secrets::Ways;
use crate::{
    config::{HttpUrl, Secret},
    sinks::AllowPrivate,
};

/// `kind = "sms"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct SmsConfig {
    /// `account_sid`: `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// `auth_token` (or `auth_token_file`, `auth_token_env`).
    pub auth_token: Secret<String>,
    /// `from`: a number as `+15005550006`, a name of up to 11 letters and digits, or the SID of a messaging service, `MG` and 32
    /// hexadecimal digits.
    pub from: String,
    /// `api_url`: default `https://api.twilio.com`.
    pub api_url: HttpUrl,
    /// `allow_private`: which addresses that are not public may be posted to, as of a webhook consumer. Default none.
    pub allow_private: AllowPrivate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    account_sid: String,
    auth_token: Option<Secret<String>>,
    auth_token_file: Option<PathBuf>,
    auth_token_env: Option<String>,
    from: String,
    api_url: Option<HttpUrl>,
    #[serde(default)]
    allow_private: AllowPrivate,
}

impl TryFrom<Raw> for SmsConfig {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let auth_token = Ways {
            key: "auth_token",
            here: raw.auth_token,
            file: raw.auth_token_file,
            env: raw.auth_token_env,
        };
        if !is_sid(&raw.account_sid, "AC") {
            return Err(
                "`account_sid` is `AC` and 32 hexadecimal digits, as Twilio's console shows it"
                    .to_owned(),
            );
        }
        if !is_sid(&raw.from, "MG") && !is_number(&raw.from) && !is_sender_name(&raw.from) {
            let message = "`from` is a number as `+15005550006`, a name of up to 11 letters and digits with a letter among them, or a messaging service's `MG…`";
            return Err(message.to_owned());
        }
        Ok(Self {
            account_sid: raw.account_sid,
            auth_token: auth_token.require("what Twilio's console shows beside the SID")?,
            from: raw.from,
            api_url: match raw.api_url {
                Some(url) => url,
                None => HttpUrl::try_from("https://api.twilio.com".to_owned())?,
            },
            allow_private: raw.allow_private,
        })
    }
}

fn is_sid(text: &str, prefix: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// E.164: `+`, and up to 15 digits, the first not 0. A short code has 3 to 8 digits, and no `+`.
pub(crate) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let lengths = if digits.len() == text.len() { 3..=8 } else { 7..=15 };
    lengths.contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

/// Twilio's "alphanumeric sender ID".
fn is_sender_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b' ';
    (1..=11).contains(&text.len())
        && text.bytes().all(fits)
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}
