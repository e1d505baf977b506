//! What someone decided about who is who, as it stands in the log: merged, or taken apart again.
//! Promises that only the collector itself can have written one. Deliberately is not the decision's effect: see `fold`.

use serde_json::{Value, json};

use super::identifier::Identifier;
use crate::event_log::{NewEvent, Origin, Record, SourceName, Trust};

/// The source of what the collector itself says.
pub(crate) const SOURCE: &str = "headwater";
/// Who decided.
const BY: &str = "operator";
/// Two are said to be one person.
pub(crate) const MERGED: &str = "Identity Merged";
/// The same, taken apart.
pub(crate) const UNMERGED: &str = "Identity Unmerged";
/// The person is gone; consumers may pass it on.
pub(crate) const ERASED: &str = "Person Erased";

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// These two are one person, whatever the limits of their kinds say.
    Merge(Identifier<'static>, Identifier<'static>),
    /// What says that these two are one person is wrong.
    Unmerge(Identifier<'static>, Identifier<'static>),
}

impl Order {
    /// The decision that a record is.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        if !is_ours(record) {
            return None;
        }
        let event: Value = serde_json::from_str(&record.json).ok()?;
        let end = |name: &str| event["properties"][name].as_str()?.parse().ok();
        let (a, b) = (end("a")?, end("b")?);
        match event["event"].as_str()? {
            MERGED => Some(Self::Merge(a, b)),
            UNMERGED => Some(Self::Unmerge(a, b)),
            _ => None,
        }
    }

    /// The two, and whether they are to be one.
    pub(crate) fn parts(&self) -> (&Identifier<'static>, &Identifier<'static>, bool) {
        match self {
            Self::Merge(a, b) => (a, b, true),
            Self::Unmerge(a, b) => (a, b, false),
        }
    }

    /// As an event for the log. `by` is the name of the token of who decided.
    pub(crate) fn event(&self, message_id: &str, by: &str) -> NewEvent<'static> {
        let (name, a, b) = match self {
            Self::Merge(a, b) => (MERGED, a, b),
            Self::Unmerge(a, b) => (UNMERGED, a, b),
        };
        said(message_id, name, &json!({ "a": a.to_string(), "b": b.to_string(), "by": by }))
    }
}

/// Who decided, by the name of the token; of older records, nobody by name.
pub(super) fn by(record: &Record) -> Option<String> {
    let event: Value = serde_json::from_str(&record.json).ok()?;
    Some(event["properties"]["by"].as_str()?.to_owned())
}

/// Whether the collector itself said this, on someone's order: nobody did it.
pub(crate) fn is_ours(record: &Record) -> bool {
    matches!(&record.origin, Origin::Derived { by, .. } if said_by_us(&record.source, by))
}

/// Whether what this source derived by this is the collector's own word.
pub(crate) fn said_by_us(source: &SourceName, derived_by: &str) -> bool {
    derived_by == BY && **source == *SOURCE
}

/// What the collector says, as an event for the log.
pub(crate) fn said(message_id: &str, name: &str, properties: &Value) -> NewEvent<'static> {
    let json = json!({
        "type": "track",
        "event": name,
        "messageId": message_id,
        "anonymousId": SOURCE,
        "properties": properties,
    });
    let source: SourceName = SOURCE.parse().expect("it is nine letters");
    NewEvent {
        trust: Trust::Server,
        origin: Origin::Derived { by: BY.into(), depth: 1 },
        ..NewEvent::new(source, message_id.to_owned(), SOURCE, json.to_string())
    }
}
