//! The fields of an event that mean something to the collector, and an event's members sorted by them.
//! Promises one look at each member's name. Deliberately judges nothing but a field's kind of value.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    Reason, Refusal,
    text::{Kind, kind, unquoted},
};
use crate::decode::Member;

/// A field: its place in [`FIELDS`].
pub(super) type Field = usize;

/// What a known field has to be, and whether the stored JSON has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Text,
    Object,
    Nothing,
}

/// All that are known.
pub(super) const FIELDS: [(&str, Keep); 26] = [
    ("type", Keep::Text),
    ("event", Keep::Text),
    ("messageId", Keep::Text),
    ("anonymousId", Keep::Text),
    ("userId", Keep::Text),
    ("groupId", Keep::Text),
    ("previousId", Keep::Text),
    ("name", Keep::Text),
    ("category", Keep::Text),
    ("properties", Keep::Object),
    ("traits", Keep::Object),
    ("context", Keep::Object),
    ("integrations", Keep::Object),
    // The record holds these itself, so that nobody can forge them, or they are nobody's business.
    ("timestamp", Keep::Nothing),
    ("originalTimestamp", Keep::Nothing),
    ("sentAt", Keep::Nothing),
    ("receivedAt", Keep::Nothing),
    ("offset", Keep::Nothing),
    ("source", Keep::Nothing),
    ("trust", Keep::Nothing),
    ("orderKey", Keep::Nothing),
    ("origin", Keep::Nothing),
    ("derivedBy", Keep::Nothing),
    ("derivedDepth", Keep::Nothing),
    ("test", Keep::Nothing),
    // A write key is not part of what happened.
    ("writeKey", Keep::Nothing),
];
/// The places in [`FIELDS`] that code asks for.
pub(super) const TYPE: Field = 0;
pub(super) const EVENT: Field = 1;
pub(super) const MESSAGE_ID: Field = 2;
pub(super) const ANONYMOUS_ID: Field = 3;
pub(super) const USER_ID: Field = 4;
pub(super) const GROUP_ID: Field = 5;
pub(super) const PREVIOUS_ID: Field = 6;
pub(super) const CONTEXT: Field = 11;
pub(super) const INTEGRATIONS: Field = 12;
pub(super) const TIMESTAMP: Field = 13;
pub(super) const ORIGINAL_TIMESTAMP: Field = 14;
pub(super) const SENT_AT: Field = 15;

/// No field that is known.
const UNKNOWN: u8 = u8::MAX;

/// An event's members, the known ones found.
pub(super) struct Fields<'e, 'a> {
    pub(super) members: &'e [Member<'a>],
    /// For each member its place in [`FIELDS`].
    names: &'e [u8],
    /// Where each of [`FIELDS`] is: the last of its name, as JavaScript reads repeated names.
    at: [Option<u32>; FIELDS.len()],
}

impl<'e, 'a> Fields<'e, 'a> {
    /// `names` is room to work in; what it holds is forgotten.
    pub(super) fn find(members: &'e [Member<'a>], names: &'e mut Vec<u8>) -> Self {
        let mut at = [None; FIELDS.len()];
        names.clear();
        for (position, (name, _)) in (0_u32..).zip(members) {
            let field = field_named(name);
            if let Some(at) = at.get_mut(usize::from(field)) {
                *at = Some(position);
            }
            names.push(field);
        }
        Self { members, names, at }
    }

    pub(super) fn raw(&self, field: Field) -> Option<&'a RawValue> {
        self.at[field].map(|position| self.members[position as usize].1)
    }

    /// A text that is there and not empty. `null` is as good as absent: several clients write it.
    pub(super) fn text(&self, field: Field) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(raw) = self.raw(field) else { return Ok(None) };
        match unquoted(raw) {
            Some(text) => Ok((!text.is_empty()).then_some(text)),
            None if kind(raw) == Kind::Null => Ok(None),
            None => Err(wrong_type(field, "a string")),
        }
    }

    /// Whether each known field is of the kind it has to be.
    pub(super) fn check_kinds(&self) -> Result<(), Refusal> {
        for (position, (_, raw)) in self.members.iter().enumerate() {
            let field = usize::from(self.names[position]);
            let Some((_, keep)) = FIELDS.get(field) else { continue };
            match (keep, kind(raw)) {
                (Keep::Nothing, _) | (_, Kind::Null) => {}
                (Keep::Text, Kind::Text) | (Keep::Object, Kind::Object) => {}
                // Of a repeated name only the last counts.
                _ if self.at[field] != u32::try_from(position).ok() => {}
                (Keep::Text, _) => return Err(wrong_type(field, "a string")),
                (Keep::Object, _) => return Err(wrong_type(field, "an object")),
            }
        }
        Ok(())
    }

    /// The members that are stored, in their order, each with its field.
    pub(super) fn kept(&self) -> impl Iterator<Item = (Option<Field>, &'e Member<'a>)> {
        let named = (0_u32..).zip(self.members.iter().zip(self.names));
        named.filter_map(|(position, (member, &field))| {
            let field = usize::from(field);
            match FIELDS.get(field) {
                None => Some((None, member)),
                Some((_, Keep::Nothing)) => None,
                Some(_) => (self.at[field] == Some(position)).then_some((Some(field), member)),
            }
        })
    }
}

pub(super) fn wrong_type(field: Field, expected: &str) -> Refusal {
    (Reason::InvalidField, format!("`{}` is {expected}", FIELDS[field].0).into())
}

/// One comparison decides most names: their lengths and first letters differ.
fn field_named(name: &str) -> u8 {
    let same = |&(known, _): &(&str, Keep)| {
        known.len() == name.len() && known.as_bytes()[0] == name.as_bytes()[0] && known == name
    };
    let found = if name.is_empty() { None } else { FIELDS.iter().position(same) };
    found.and_then(|field| u8::try_from(field).ok()).unwrap_or(UNKNOWN)
}
