//! Hands mail over to a mail server (SMTP submission).
//! Promises that a mail which the server may have taken is not said to have failed: from the end of the mail to the answer it is unknown
//! what became of it, and SMTP knows no mail again. Deliberately has one connection for each mail: a kept one may be gone, which would be
//! seen at the worst moment.

mod conversation;
mod mail;
mod stream;

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use lettre::transport::smtp::authentication::Credentials;
use rustls::{
    ClientConfig,
    pki_types::{InvalidDnsNameError, ServerName},
};
use tokio::time::{Instant, timeout_at};

use super::{Message, Outcome, template::Line};
use crate::{
    config::{EmailConfig, SmtpTls},
    outgoing::{self, AuthoritiesError},
    sinks::{
        AllowPrivate, NotPublic,
        address::{Guard, is_public},
    },
    state::SuppressionReason,
};
use conversation::{Conversation, Trouble};
use mail::Mail;

/// A mail server that takes our mail.
pub struct Email {
    host: String,
    port: u16,
    tls: SmtpTls,
    name: ServerName<'static>,
    trust: Arc<ClientConfig>,
    guard: Guard,
    credentials: Option<Credentials>,
    mail: Mail,
    timeout: Duration,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let server = (&self.host, self.port, self.tls);
        f.debug_struct("Email").field("server", &server).finish_non_exhaustive()
    }
}

/// Why no mail can be handed over at all.
#[derive(Debug, thiserror::Error)]
pub enum EmailError {
    /// The system's certificates cannot be used: install them (`ca-certificates`).
    #[error("no TLS for e-mail: {0}")]
    Tls(#[from] rustls::Error),
    /// Correct `authorities`.
    #[error("`authorities`: {0}")]
    Authorities(#[from] AuthoritiesError),
    /// Correct `host`.
    #[error("`host` is neither a name nor an address")]
    Host(#[from] InvalidDnsNameError),
    /// It is an address that is not allowed: correct `host`, or set `allow_private`.
    #[error(transparent)]
    NotPublic(#[from] NotPublic),
    /// Correct the template.
    #[error("`unsubscribe`: {0}")]
    Unsubscribe(String),
}

impl Email {
    /// Makes ready to send. Connects to nothing.
    pub fn open(config: &EmailConfig) -> Result<Self, EmailError> {
        let trust = match &config.authorities {
            Some(file) => outgoing::tls_trusting(file)?,
            None => outgoing::tls()?,
        };
        let guard = Guard::new(with_loopback(&config.allow_private));
        let host = config.host.trim_matches(['[', ']']).to_owned();
        if let Ok(address) = host.parse::<IpAddr>() {
            guard.select(&host, vec![(address, 0).into()])?;
        }
        let unsubscribe = config.unsubscribe.as_deref().map(Line::read).transpose();
        let credentials = config
            .credentials
            .clone()
            .map(|(username, password)| Credentials::new(username, password.expose().clone()));
        Ok(Self {
            name: ServerName::try_from(host.clone())?,
            host,
            port: config.port,
            tls: config.tls,
            trust: Arc::new(trust),
            guard,
            credentials,
            mail: Mail {
                from: config.from.clone(),
                reply_to: config.reply_to.clone(),
                unsubscribe: unsubscribe.map_err(EmailError::Unsubscribe)?,
            },
            timeout: config.timeout,
        })
    }

    /// Tries once.
    pub async fn send(&self, message: &Message) -> Outcome {
        let ready = match self.mail.write(message) {
            Ok(ready) => ready,
            Err(reason) => return Outcome::Refused { reason },
        };
        let until = Instant::now() + self.timeout;
        let begun = timeout_at(until, async {
            let mut conversation = self.connect().await?;
            conversation.offer(&ready.envelope).await?;
            Ok(conversation)
        });
        let mut conversation = match begun.await {
            Ok(Ok(conversation)) => conversation,
            Ok(Err(Trouble::Refused(reason))) => return Outcome::Refused { reason },
            Ok(Err(Trouble::NoMailbox(reason))) => {
                return Outcome::NeverAgain { reason, because: SuppressionReason::Bounced };
            }
            Ok(Err(Trouble::NotNow(reason))) => return Outcome::failed(reason),
            Err(_) => return Outcome::failed("time-out: the mail server takes too long"),
        };
        // From here on the server may have it, whatever we hear.
        match timeout_at(Instant::now() + self.timeout, conversation.hand_over(&ready.bytes)).await
        {
            Ok(Ok(())) => Outcome::Accepted { reference: Some(ready.id) },
            Ok(Err(Some(Trouble::Refused(reason) | Trouble::NoMailbox(reason)))) => {
                Outcome::Refused { reason }
            }
            Ok(Err(Some(Trouble::NotNow(reason)))) => Outcome::failed(reason),
            Ok(Err(None)) => Outcome::unknown("the answer to the mail was lost"),
            Err(_) => Outcome::unknown("time-out: no answer to the mail"),
        }
    }

    async fn connect(&self) -> Result<Conversation, Trouble> {
        let cannot = |error: io::Error| Trouble::NotNow(format!("cannot connect: {error}"));
        let found = tokio::net::lookup_host((&*self.host, self.port)).await.map_err(cannot)?;
        let may = self.guard.select(&self.host, found.collect());
        let mut may = may.map_err(|error| Trouble::NotNow(error.to_string()))?;
        if self.tls == SmtpTls::None {
            may.retain(|address| !is_public(address.ip()));
            if may.is_empty() {
                let why = "`tls = \"none\"` is for this machine and private addresses; the mail server is at a public one";
                return Err(Trouble::NotNow(why.to_owned()));
            }
        }
        let stream = tokio::net::TcpStream::connect(&*may).await.map_err(cannot)?;
        let stream = match self.tls {
            SmtpTls::None => stream::Stream::plain(stream),
            SmtpTls::Implicit => {
                stream::Stream::secure(stream, &self.name, &self.trust).await.map_err(cannot)?
            }
            SmtpTls::StartTls => {
                stream::Stream::start_tls(stream, &self.name, &self.trust).await.map_err(cannot)?
            }
        };
        Conversation::begin(stream, self.credentials.as_ref()).await
    }
}

/// A mail server on this machine is the usual thing.
fn with_loopback(allowed: &AllowPrivate) -> AllowPrivate {
    let mut networks = match allowed {
        AllowPrivate::Everything => return AllowPrivate::Everything,
        AllowPrivate::Networks(networks) => networks.clone(),
        AllowPrivate::Nothing => Vec::new(),
    };
    let loopback = ["127.0.0.0/8", "::1/128"];
    networks.extend(loopback.map(|net| net.parse::<IpNet>().expect("both are networks")));
    AllowPrivate::Networks(networks)
}
