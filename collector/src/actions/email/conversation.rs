//! The commands of one mail, step by step, so that it is known how far it got.
//! Promises that what a server says is kept as its codes and in words without people in them. Deliberately opens no connection.

use lettre::{
    address::Envelope,
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};

use super::{super::reason::without_people, stream::Stream};

/// A connection to a mail server that knows us.
pub(super) struct Conversation {
    connection: AsyncSmtpConnection,
    to: Vec<String>,
}

/// Why a mail was not taken.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This mail never will be.
    Refused(String),
    /// Nor any other to this address: there is no such mailbox.
    NoMailbox(String),
    /// None is, now.
    NotNow(String),
}

/// What we call ourselves: an address says nothing wrong (RFC 5321, 4.1.3), and tells nobody the machine's name.
pub(super) fn hello() -> ClientId {
    ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST)
}

impl Conversation {
    pub(super) async fn begin(
        stream: Stream,
        credentials: Option<&Credentials>,
    ) -> Result<Self, Trouble> {
        let not_now = |error: Error| Trouble::NotNow(describe(&error, &[]));
        let greeted = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello()).await;
        let mut connection = greeted.map_err(not_now)?;
        if let Some(credentials) = credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await.map_err(not_now)?;
        }
        Ok(Self { connection, to: Vec::new() })
    }

    /// All that comes before the mail itself.
    pub(super) async fn offer(&mut self, envelope: &Envelope) -> Result<(), Trouble> {
        self.to = envelope.to().iter().map(ToString::to_string).collect();
        let server = self.connection.server_info();
        let mut options = Vec::new();
        let addresses = envelope.from().into_iter().chain(envelope.to());
        if !addresses.map(AsRef::<str>::as_ref).all(str::is_ascii) {
            if !server.supports_feature(Extension::SmtpUtfEight) {
                let why =
                    "the mail server takes no address with other than ASCII letters (SMTPUTF8)";
                return Err(Trouble::Refused(why.to_owned()));
            }
            options.push(MailParameter::SmtpUtfEight);
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        // Who we are is the same in every mail; only its size is this one's.
        let from = Mail::new(envelope.from().cloned(), options);
        let said = self.connection.command(from).await;
        said.map_err(|error| self.trouble(&error, |code| code == 552))?;
        for to in envelope.to() {
            let said = self.connection.command(Rcpt::new(to.clone(), Vec::new())).await;
            // 530 and 535 ask for credentials.
            let of_the_mail = |code| !matches!(code, 530 | 535);
            said.map_err(|error| match self.trouble(&error, of_the_mail) {
                Trouble::Refused(reason) if is_no_mailbox(&words(&error)) => {
                    Trouble::NoMailbox(reason)
                }
                trouble => trouble,
            })?;
        }
        let said = self.connection.command(Data).await;
        said.map(drop).map_err(|error| self.trouble(&error, |_| true))
    }

    /// The mail, to the answer that says who is responsible for it now. Nothing in the error: there was no answer.
    pub(super) async fn hand_over(&mut self, mail: &[u8]) -> Result<(), Option<Trouble>> {
        let said = self.connection.message(mail).await;
        said.map_err(|error| error.status().map(|_| self.trouble(&error, |_| true)))?;
        // It has been taken; how we part does not matter, and is not waited for.
        drop(tokio::time::timeout(std::time::Duration::from_secs(1), self.connection.quit()).await);
        Ok(())
    }

    /// A permanent no (5xx) is the mail's fault if it is one of these; any other no may pass.
    fn trouble(&self, error: &Error, of_the_mail: impl Fn(u16) -> bool) -> Trouble {
        let reason = describe(error, &self.to);
        let code = error.status().map(u16::from).unwrap_or_default();
        if error.is_permanent() && of_the_mail(code) {
            return Trouble::Refused(reason);
        }
        Trouble::NotNow(reason)
    }
}

/// Enhanced codes (RFC 3463, and IANA's registry of them) by which a server that refuses a recipient says that nobody ever has mail there.
/// Others of 5.1 are about the sender (5.1.7, 5.1.8), or say too little (5.1.0, 5.1.4); 5.2 is about a mailbox that there is (full, locked),
/// 5.7 about what the server allows, 5.3 and 5.4 about its own trouble. A 550 alone may be any of these.
const NO_MAILBOX: [&str; 5] = [
    "5.1.1",  // no such mailbox
    "5.1.2",  // no such domain
    "5.1.3",  // this can be no address
    "5.1.6",  // moved, and nobody knows where
    "5.1.10", // the domain takes no mail at all (RFC 7505)
];

/// Whether a permanent no to a recipient says that there is none.
fn is_no_mailbox(said: &str) -> bool {
    said.split_whitespace().next().is_some_and(|code| NO_MAILBOX.contains(&code))
}

/// What a server has said behind its code.
fn words(error: &Error) -> String {
    use std::error::Error as _;
    error.source().map(ToString::to_string).unwrap_or_default()
}

fn describe(error: &Error, to: &[String]) -> String {
    let said = words(error);
    let said = without_people(&said, to.first().map(String::as_str));
    match error.status() {
        Some(code) => {
            format!("the mail server says {code}: {said}").trim_end_matches(": ").to_owned()
        }
        None if said.is_empty() => "the connection to the mail server was lost".to_owned(),
        None => format!("the mail server is not to be talked to: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_not_there_is_taken_for_nobody() {
        for said in [
            "5.1.1 <a@b.example>: Recipient address rejected: User unknown",
            "5.1.1\nThe account does not exist",
            "5.1.10 null MX",
            "5.1.2 Domain not found",
        ] {
            assert!(is_no_mailbox(said), "{said}");
        }
        for said in [
            "",
            "no such user",
            "5.1.0 Address rejected",
            "5.1.8 Sender's domain not found",
            "5.1.11 what nobody has registered",
            "5.2.1 The account is disabled",
            "5.2.2 Mailbox full",
            "5.4.1 Access denied",
            "5.7.1 5.1.1 Relaying denied",
            "4.1.1 greylisted",
        ] {
            assert!(!is_no_mailbox(said), "{said}");
        }
    }
}
