//! A destination of any kind.
//! Promises that what is wrong with one is known before anything is sent, as far as it shows. Deliberately repeats nothing: whether to try
//! again is up to who holds the message.

use super::{ActionWebhook, Email, EmailError, Message, Outcome, PostingError, Slack, Sms};
use crate::config::DestinationConfig;

/// Where actions go.
#[derive(Debug)]
pub enum Destination {
    /// A channel of Slack.
    Slack(Slack),
    /// A URL that is posted to.
    Webhook(ActionWebhook),
    /// A mail server.
    Email(Box<Email>),
    /// An account of Twilio's.
    Sms(Sms),
}

/// Why nothing can be sent there.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// It cannot be posted to.
    #[error(transparent)]
    Posting(#[from] PostingError),
    /// No mail can be handed over.
    #[error(transparent)]
    Email(#[from] EmailError),
}

impl Destination {
    /// Makes ready to send. Connects to nothing.
    pub fn open(config: &DestinationConfig) -> Result<Self, DestinationError> {
        Ok(match config {
            DestinationConfig::Slack(config) => Self::Slack(Slack::open(config)?),
            DestinationConfig::Webhook(config) => Self::Webhook(ActionWebhook::open(config)?),
            DestinationConfig::Email(config) => Self::Email(Box::new(Email::open(config)?)),
            DestinationConfig::Sms(config) => Self::Sms(Sms::open(config)?),
        })
    }

    /// Tries once, and ends by itself within the destination's time-out.
    pub async fn send(&self, message: &Message) -> Outcome {
        match self {
            Self::Slack(slack) => slack.send(message).await,
            Self::Webhook(webhook) => webhook.send(message).await,
            Self::Email(email) => email.send(message).await,
            Self::Sms(sms) => sms.send(message).await,
        }
    }

    /// Whether it knows a message again by its key: then one whose answer was lost can be sent again. The others get it at most once after
    /// that.
    pub fn takes_key(&self) -> bool {
        matches!(self, Self::Webhook(_))
    }

    /// The kind's name, as the configuration has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Sms(_) => "sms",
        }
    }
}
