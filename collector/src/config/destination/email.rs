//! `kind = "email"`: the mail server that takes our mail, and who it is from.
//! Promises that addresses are addresses. Deliberately signs nothing (DKIM): that is the mail server's business.

use std::{path::PathBuf, time::Duration};

use lettre::message::Mailbox;
use serde::{Deserialize, Deserializer};

use super::secrets::Ways;
use crate::{
    config::{Secret, within},
    sinks::AllowPrivate,
};

/// `kind = "email"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct EmailConfig {
    /// `host`: a name or an address.
    pub host: String,
    /// `port`: default 465 with `implicit`, 587 with `starttls`, 25 with `none`.
    pub port: u16,
    /// `tls`: default `implicit`, as RFC 8314 recommends.
    pub tls: SmtpTls,
    /// `authorities`: a file of certificates (PEM), which alone are believed. Default: the system's.
    pub authorities: Option<PathBuf>,
    /// `username` and `password` (or `password_file`, `password_env`). Default: the server asks for none.
    pub credentials: Option<(String, Secret<String>)>,
    /// `from`: `Shop <hello@shop.example>`.
    pub from: Mailbox,
    /// `reply_to`: where answers go, in the same form. Default: to `from`.
    pub reply_to: Option<Mailbox>,
    /// `unsubscribe`: a template of a link to no more mail, `https://…` or `mailto:…`, for the header `List-Unsubscribe`; what stands in
    /// `{{ }}` is percent-encoded. At an `https` one the recipient's mail program posts `List-Unsubscribe=One-Click` (RFC 8058), and no page
    /// is to be expected to be read. Default: none, for mail that nobody subscribes to.
    pub unsubscribe: Option<String>,
    /// `allow_private`: which addresses that are neither public nor this machine's own may be connected to. Default none.
    pub allow_private: AllowPrivate,
    /// `timeout_seconds`: from connecting until the mail is handed over, and as long again for the answer to it; 1 to 600. Default 60.
    /// RFC 5321 wants 600 for the latter: servers that look into the mail while we wait need it.
    pub timeout: Duration,
}

/// How the connection to a mail server is kept secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// TLS from the first byte.
    #[default]
    Implicit,
    /// TLS as soon as both have said hello; without it nothing is sent.
    StartTls,
    /// None: only to this machine, and to private addresses that `allow_private` names.
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    host: String,
    port: Option<u16>,
    #[serde(default)]
    tls: SmtpTls,
    authorities: Option<PathBuf>,
    username: Option<String>,
    password: Option<Secret<String>>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    from: String,
    reply_to: Option<String>,
    unsubscribe: Option<String>,
    #[serde(default)]
    allow_private: AllowPrivate,
    #[serde(default = "timeout", deserialize_with = "timeout_seconds")]
    timeout_seconds: u64,
}

fn timeout() -> u64 {
    60
}

fn timeout_seconds<'de, D: Deserializer<'de>>(seconds: D) -> Result<u64, D::Error> {
    within(seconds, 1..=600)
}

impl TryFrom<Raw> for EmailConfig {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let password = Ways {
            key: "password",
            here: raw.password,
            file: raw.password_file,
            env: raw.password_env,
        };
        let credentials = match (raw.username, password.read()?) {
            (Some(username), Some(password)) => Some((username, password)),
            (None, None) => None,
            _ => return Err("`username` and `password` go together; one is missing".to_owned()),
        };
        let mailbox = |key: &str, text: &str| {
            text.parse::<Mailbox>().map_err(|_| {
                format!("`{key}` is no e-mail address; expected `Shop <hello@shop.example>`")
            })
        };
        let can_unsubscribe =
            |link: &&String| ["https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme));
        if raw.unsubscribe.as_ref().is_some_and(|link| !can_unsubscribe(&link)) {
            return Err(
                "`unsubscribe` starts with https:// or mailto:, as RFC 8058 wants it".to_owned()
            );
        }
        let usual_port = match raw.tls {
            SmtpTls::Implicit => 465,
            SmtpTls::StartTls => 587,
            SmtpTls::None => 25,
        };
        Ok(Self {
            from: mailbox("from", &raw.from)?,
            reply_to: raw.reply_to.map(|text| mailbox("reply_to", &text)).transpose()?,
            host: raw.host,
            port: raw.port.unwrap_or(usual_port),
            tls: raw.tls,
            authorities: raw.authorities,
            credentials,
            unsubscribe: raw.unsubscribe,
            allow_private: raw.allow_private,
            timeout: Duration::from_secs(raw.timeout_seconds),
        })
    }
}
