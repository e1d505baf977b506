//! How much one person may be: each default with its reason. Promises nothing but numbers; whoever needs one is handed them.
//! Deliberately not how events are limited: that is `crate::limits`.

use serde::Deserialize;

use super::identifier::{Identifier, Kind};

/// How many identifiers of each kind a person may have. What would make more is refused, and kept as refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// `userId`s. Default 1: two accounts at one device, or with one address, are two humans until someone says otherwise.
    pub user: u32,
    /// Ids at other systems. Default 20: a customer number at each of them, and some that were made twice.
    pub external: u32,
    /// E-mail addresses. Default 5.
    pub email: u32,
    /// Phone numbers. Default 5.
    pub phone: u32,
    /// Devices and browsers. Default 100: some browsers forget theirs every week.
    pub anonymous: u32,
    /// All of them together, whoever says so. Default 200: whatever goes wrong, a person stays one that can be read.
    pub identifiers: u32,
    /// Identifiers that name nobody, as `anonymous:kiosk-1`, or without a kind for every kind: a device that many share, a word that
    /// a program sends where it has none. Default none, beside `null`, `undefined` and the like.
    pub blocked: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            user: 1,
            external: 20,
            email: 5,
            phone: 5,
            anonymous: 100,
            identifiers: 200,
            blocked: Vec::new(),
        }
    }
}

impl Limits {
    /// Whether this names nobody here.
    pub(super) fn blocks(&self, identifier: &Identifier<'_>) -> bool {
        self.blocked.iter().any(|blocked| {
            *blocked == identifier.value
                || blocked
                    .strip_prefix(identifier.kind.as_str())
                    .and_then(|rest| rest.strip_prefix(':'))
                    .is_some_and(|value| value == identifier.value)
        })
    }

    pub(super) fn of(&self, kind: Kind) -> u32 {
        match kind {
            Kind::User => self.user,
            Kind::External => self.external,
            Kind::Email => self.email,
            Kind::Phone => self.phone,
            Kind::Anonymous => self.anonymous,
        }
    }
}
