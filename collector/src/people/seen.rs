//! What is known of one identifier: when it was seen, through which sources, and its latest traits and facts.
//! Promises that facts are the same in whatever order the events arrive: the latest by event time wins, and of two at the same
//! moment always the same one. Deliberately knows nothing of people: a person is several of these, read together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event_log::{Offset, Record};

/// Traits and facts of one identifier. More are not taken: a profile is read whole.
const MAX_FACTS: usize = 300;
/// Sources that one identifier is seen through.
const MAX_CHANNELS: usize = 64;
/// Without a word for half an hour, what comes is a new session: as the SDKs count.
pub(crate) const SESSION_GAP_MS: i64 = 30 * 60 * 1000;
/// In front of the names of what a person is said to be, beside what a device says of itself.
pub(super) const TRAIT: char = '.';
/// The same where a proof was asked for, and there is none.
pub(super) const CLAIM: char = '?';

/// What is known of an identifier.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// The earliest and the latest event, in milliseconds of unix time.
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) events: u64,
    pub(crate) sessions: u64,
    /// The session that the latest event was in, where the device numbers them.
    pub(crate) session: Option<String>,
    pub(crate) about: About,
}

/// The part of it that has names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    /// By name, traits with [`TRAIT`] or [`CLAIM`] in front.
    #[serde(rename = "f", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) facts: BTreeMap<String, Fact>,
    /// By source.
    #[serde(rename = "c", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) channels: BTreeMap<String, Channel>,
}

/// A value, and where it comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fact(Box<RawValue>, pub(crate) i64, pub(crate) i64, pub(crate) String);

impl PartialEq for Fact {
    fn eq(&self, other: &Self) -> bool {
        (self.json(), self.1, self.2, &self.3) == (other.json(), other.1, other.2, &other.3)
    }
}

/// The earliest event through a source, the latest, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Channel(pub(crate) i64, pub(crate) i64, pub(crate) u64);

/// A value as a record says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard<'a> {
    json: &'a str,
    time_ms: i64,
    record: Offset,
    source: &'a str,
}

impl<'a> Heard<'a> {
    /// `json` is JSON.
    pub(super) fn of(json: &'a str, record: &'a Record) -> Self {
        let (time_ms, source) = (record.event_time.unix_ms(), &record.source);
        Self { json, time_ms, record: record.offset, source }
    }

    fn is_later_than(&self, known: &Fact) -> bool {
        (self.time_ms, self.json) > (known.1, known.json())
    }

    fn keep(self) -> Option<Fact> {
        let json = RawValue::from_string(self.json.to_owned()).ok()?;
        Some(Fact(json, self.time_ms, self.record.to_number(), self.source.to_owned()))
    }
}

impl Fact {
    pub(crate) fn json(&self) -> &str {
        self.0.get()
    }

    pub(crate) fn record(&self) -> Offset {
        Offset::from_number(self.2)
    }

    /// Whether this one counts, and not the other.
    pub(super) fn wins_over(&self, other: &Self) -> bool {
        (self.1, self.json()) > (other.1, other.json())
    }

    /// A trait that was taken away is kept as `null`, so that what comes late does not bring it back.
    pub(crate) fn is_there(&self) -> bool {
        self.json() != "null"
    }
}

impl About {
    /// Takes in what is said, if it is later than what is known; what was known before, if it was something else.
    pub(super) fn take(&mut self, name: &str, said: Heard<'_>) -> Option<Option<Fact>> {
        // Nobody's claims take the room of what is believed.
        let most = if name.starts_with(CLAIM) { MAX_FACTS / 2 } else { MAX_FACTS };
        let is_full = self.facts.len() >= most;
        match self.facts.get_mut(name) {
            Some(known) if !said.is_later_than(known) => None,
            // What a device says with each event stays as it is kept.
            Some(known) if known.json() == said.json => {
                (known.1, known.2) = (said.time_ms, said.record.to_number());
                if known.3 != said.source {
                    known.3 = said.source.to_owned();
                }
                None
            }
            Some(known) => Some(Some(std::mem::replace(known, said.keep()?))),
            None if is_full => None,
            None => {
                self.facts.insert(name.to_owned(), said.keep()?);
                Some(None)
            }
        }
    }
}

impl Seen {
    /// Counts an event. `is_new_session` where the device says so, or where nobody does and it was quiet for long.
    pub(super) fn count(&mut self, time_ms: i64, source: &str, is_new_session: bool) {
        let (first, last) = match self.events {
            0 => (time_ms, time_ms),
            _ => (self.first_ms.min(time_ms), self.last_ms.max(time_ms)),
        };
        (self.first_ms, self.last_ms) = (first, last);
        self.events += 1;
        self.sessions += u64::from(is_new_session);
        let is_full = self.about.channels.len() >= MAX_CHANNELS;
        match self.about.channels.get_mut(source) {
            Some(Channel(first, last, count)) => {
                (*first, *last) = ((*first).min(time_ms), (*last).max(time_ms));
                *count += 1;
            }
            None if is_full => {}
            None => {
                self.about.channels.insert(source.to_owned(), Channel(time_ms, time_ms, 1));
            }
        }
    }

    /// Whether an event at this time begins a session, by the pause before it.
    pub(super) fn was_quiet(&self, time_ms: i64) -> bool {
        self.events == 0 || time_ms - self.last_ms > SESSION_GAP_MS
    }
}
