//! What features, scores and rules are written with: whom they are about, the events that they are about, and expressions.
//! Deliberately knows none of them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::wall::Clocks;
use crate::expression::Expression;

/// Whose: everything is kept for people, or read together for all people of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// One human.
    #[default]
    Person,
    /// One organisation.
    Account,
}

impl Per {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Account => "account",
        }
    }

    /// One of them.
    pub(crate) fn one(self) -> &'static str {
        match self {
            Self::Person => "a person",
            Self::Account => "an account",
        }
    }
}

/// Which events: of a kind of call, and of a name or any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct On(pub(super) String);

impl On {
    /// `Report Built` is a track event of this name, `page:Pricing` a page, `page:*` any page, `identify` that call, `*` all.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let calls = ["track", "page", "screen"];
        let key = match text.split_once(':') {
            _ if text.is_empty() => return Err("an event has a name".to_owned()),
            _ if text == "*" => text.to_owned(),
            _ if ["identify", "group", "alias"].contains(&text) => format!("{text}:"),
            Some((call, name)) if calls.contains(&call) => {
                let name = name.trim();
                if name.is_empty() {
                    return Err(format!("`{call}:` is followed by a name, or by `*` for all"));
                }
                format!("{call}:{name}")
            }
            _ => format!("track:{text}"),
        };
        Ok(Self(key))
    }

    /// All keys under which an event is looked up.
    pub(super) fn of(call: &str, name: &str) -> [String; 3] {
        [format!("{call}:{name}"), format!("{call}:*"), "*".to_owned()]
    }
}

/// An expression, and where it stands.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) expression: Expression,
    /// What it looks at.
    pub(super) features: BTreeSet<String>,
    pub(super) scores: BTreeSet<String>,
    /// Whether its value changes as time goes by.
    pub(super) ages: bool,
    /// The clocks on walls that it looks at itself.
    pub(super) clocks: Clocks,
    /// Whether it needs what is known of the person.
    pub(super) looks_at_profile: bool,
    /// Whether it asks for the time where the event happened.
    pub(super) asks_event_time: bool,
    /// The functions that it calls, for who asks what they came to.
    pub(super) calls: Vec<Part>,
}

impl Part {
    /// Whether its value changes with what is known of the person or the account, whatever features count.
    pub(super) fn looks_at_people(&self) -> bool {
        self.looks_at_profile || self.expression.mentions("account")
    }
}
