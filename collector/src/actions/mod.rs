//! What a rule does: a message in a channel, an e-mail, a text, a webhook, an event.
//!
//! ```text
//!  outbox of the projection ─▶ worker ─▶ context ─┐
//!  folder of templates ─▶ template ─▶ Rendered ───┴▶ Message ─▶ Destination ─▶ Outcome ─▶ log ─▶ projection
//!                               [destinations.NAME] ─▶ slack, webhook, email, sms
//!                                                       in_app ─▶ the log, and from there `messages`
//!  the suppression list in `state` ◀─▶ never_again: asked before each e-mail and text, and told what bounced
//!                               ◀─ reported: what mail services say later, as events of servers
//! ```
//! Promises that every attempt ends in one [`Outcome`], which says whether it may be tried again without doing the thing twice; and
//! that no reason has a secret or an address of a person in it. Deliberately does not decide what is sent, or when.

mod asking;
mod attempt;
mod awaited;
mod context;
mod destination;
mod email;
mod in_app;
mod looking;
mod message;
mod never_again;
mod opening;
mod posting;
mod reason;
mod rehearsal;
mod reported;
mod slack;
mod sms;
mod template;
mod took;
mod trying;
mod webhook;
mod worker;

pub use destination::{Destination, DestinationError};
pub use email::{Email, EmailError};
pub use looking::{Looked, look};
pub use message::{Message, Outcome};
pub use opening::ActionsError;
pub use posting::PostingError;
pub use rehearsal::test;
pub use slack::Slack;
pub use sms::Sms;
pub use template::{ROOTS, RefusedToSend, Rendered, TemplateError, Templates};
pub use webhook::ActionWebhook;

pub(crate) use opening::{fixtures, open, texts};
pub(crate) use rehearsal::test_within;
pub(crate) use reported::Reports;
pub(crate) use trying::{QUIET, STOPPED, Trying};
pub(crate) use worker::{Hands, Worker};
