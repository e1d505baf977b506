//! Headwater's client core: it decides what to number, keep, send, retry and drop, and does nothing itself.
//!
//! ```text
//!   a platform (page, phone, test)                 this crate
//!   ──────────────────────────────   Input    ┌──────────────────────────────────┐
//!   texts, storage, network, clocks ────────▶ │ client: session → queue → batcher │
//!                                   ◀──────── │         → transport (retry)       │
//!                                    Effect   └──────────────────────────────────┘
//! ```
//!
//! **A platform** reads its clocks, hands each thing that happens to [`Client::handle`], and carries out what
//! [`Client::poll_effect`] returns until there is nothing left. It keeps the events' texts (made by [`event`] and [`wire`],
//! or in a browser by JavaScript that is held to the same golden files); the core sees their measures alone.
//!
//! **Promises.** An event given to the client is sent until the collector answers for it, or is reported dropped. Its
//! number is seen by the collector only after it was committed, so that no two events ever share one, whatever
//! crashes. Numbers have no gaps but those that are reported. Events go in the order of their numbers, one request
//! at a time, but for those sent while leaving, which go beside the one under way; what became of them is asked for before they
//! are sent again. Memory is bounded by [`Config`]. The same seed and inputs give the same
//! effects. No input panics.
//!
//! **Not promised**: that an event whose storage failed survives the process ([`platform::Report::NotDurable`] says so), or
//! that a collector which forgets message ids recognises such an event when it is sent twice.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod batcher;
mod client;
pub mod config;
mod drops;
pub mod event;
mod json;
pub mod platform;
mod queue;
mod random;
mod retry;
mod saved;
mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transport;
pub mod wire;

pub use client::Client;
pub use config::Config;
