//! Messages for the page or the app that somebody has open: kept until one of their devices has shown them, or they are of no use any more.
//! Promises that a device hears only of what is meant for whoever it belongs to now, and that of several devices one at a time has a
//! message. Deliberately decides nothing and draws nothing: rules say what is meant for whom, devices show it.
//!
//! ```text
//!  actions ─▶ "In-App Message" in the log ─▶ kept: what waits for whom ─▶ offers: which device has it ─▶ http
//!                 "Message Shown" from the device ─▶ kept: it waits no more
//! ```

mod kept;
mod offers;

pub(crate) use kept::{DEVICE_EVENTS, MESSAGE, SCHEMA, forget, record};
pub(crate) use offers::{Device, MessageError, Messages, Waiting};
