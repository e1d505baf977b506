//! An event as rules see it: its record, and what expressions look at, read when someone does.
//! Deliberately decides nothing.

use super::super::{event::Event, scope::About};
use crate::event_log::{Origin, Record};

/// An event that arrives so long after it happened is late.
pub(super) const LATE_MS: i64 = 3600 * 1000;
/// An event as rules see it.
pub(super) struct Happening<'a> {
    pub(super) record: &'a Record,
    pub(super) event: Event<'a>,
    pub(super) depth: u8,
    /// The firing that has asked a model for what this says.
    pub(super) answers: Option<String>,
}

impl<'a> Happening<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        let depth = match &record.origin {
            Origin::Derived { depth, .. } => *depth,
            _ => 0,
        };
        Self { record, event: Event::of(record), depth, answers: None }
    }

    pub(super) fn time_ms(&self) -> i64 {
        self.record.event_time.unix_ms()
    }

    pub(super) fn about(&self) -> About<'_> {
        About { event: Some(&self.event), trigger: None }
    }

    pub(super) fn is_late(&self) -> bool {
        self.record.received_at.unix_ms() - self.time_ms() > LATE_MS
    }

    /// Why it sets nothing off, whatever the rule says.
    pub(super) fn held(&self) -> Option<&'static str> {
        match &self.record.origin {
            Origin::Import => Some("imported"),
            _ if self.record.flags.no_actions => Some("the event says so"),
            _ => None,
        }
    }
}
