//! What the desk knows, as the templates want it: texts, counts in words, addresses.
//! Promises that an address can hold any identifier. Deliberately asks nobody: it is given everything.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    drawing::kind_name,
    latest::{Came, Who},
    suppressions::suppression_address,
    words::{When, count, label, value},
};
use crate::{
    desk::Suppression,
    people::{Account, Device, Found, Known, PersonId, Profile, Said},
};

/// What needs no escape in a part of a path or in a parameter.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Part of an address.
pub(crate) fn part(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

pub(crate) fn person_address(id: &str) -> String {
    format!("/console/people/{}", part(id))
}

pub(crate) fn account_address(id: &str) -> String {
    format!("/console/accounts/{}", part(id))
}

pub(super) fn initial(name: &str) -> String {
    let first = name.chars().find(|letter| letter.is_alphanumeric());
    first.map_or_else(|| "·".to_owned(), |letter| letter.to_uppercase().to_string())
}

/// An identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownView {
    pub(crate) kind: &'static str,
    pub(crate) value: String,
    /// Where nothing is sent to it: why, since when, and where that is said.
    pub(crate) suppressed: Option<(&'static str, When, String)>,
}

pub(super) fn known(all: &[Known]) -> Vec<KnownView> {
    let view = |known: &Known| KnownView {
        kind: kind_name(known.kind),
        value: known.value.clone(),
        suppressed: None,
    };
    all.iter().map(view).collect()
}

/// A trait or a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SaidView {
    pub(crate) key: String,
    pub(crate) label: String,
    pub(crate) value: String,
    pub(crate) at: When,
    pub(crate) source: String,
    pub(crate) offset: String,
}

fn said(prefix: &str, all: &BTreeMap<String, Said>) -> Vec<SaidView> {
    let view = |(name, said): (&String, &Said)| SaidView {
        key: format!("{prefix}-{}", part(name)),
        label: label(name),
        value: value(said.value.get()),
        at: When::of(&said.at),
        source: said.source.clone(),
        offset: said.offset.clone(),
    };
    all.iter().map(view).collect()
}

/// A source through which somebody comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelView {
    pub(crate) name: String,
    pub(crate) events: String,
    pub(crate) last: When,
}

/// An account of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MembershipView {
    pub(crate) href: String,
    pub(crate) name: String,
    pub(crate) since: When,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PersonView {
    pub(crate) name: String,
    pub(crate) initial: String,
    /// An IANA time zone, to tell what time it is where they are.
    pub(crate) zone: Option<String>,
    /// Two letters of ISO 3166-1.
    pub(crate) country: Option<String>,
    /// `Firefox on Linux`.
    pub(crate) device: Option<String>,
    pub(crate) bot: bool,
    pub(crate) sessions: u64,
    pub(crate) events: u64,
    pub(crate) first_seen: Option<When>,
    pub(crate) last_seen: Option<When>,
    pub(crate) identifiers: Vec<KnownView>,
    pub(crate) traits: Vec<SaidView>,
    pub(crate) claims: Vec<SaidView>,
    pub(crate) facts: Vec<SaidView>,
    pub(crate) channels: Vec<ChannelView>,
    pub(crate) accounts: Vec<MembershipView>,
}

impl PersonView {
    /// With what of the person is on the suppression list.
    pub(crate) fn of(profile: &Profile, suppressions: &[Suppression]) -> Self {
        let mut identifiers = known(&profile.identifiers);
        for view in &mut identifiers {
            let is_it = |it: &&Suppression| it.address.as_ref() == Some(&view.value);
            let found = suppressions.iter().find(is_it);
            let href = suppression_address(&view.value);
            view.suppressed = found.map(|it| (it.reason.as_str(), When::of(&it.since), href));
        }
        let channels = profile.channels.iter().map(|channel| ChannelView {
            name: label(&channel.source),
            events: count(channel.events, "event", "events"),
            last: When::of(&channel.last_seen),
        });
        let accounts = profile.accounts.iter().map(|account| MembershipView {
            href: account_address(&account.account),
            name: account.name.clone(),
            since: When::of(&account.since),
        });
        Self {
            name: profile.name.clone(),
            initial: initial(&profile.name),
            zone: profile.facts.get("timezone").and_then(Said::text),
            country: profile.facts.get("country").and_then(Said::text),
            device: profile.device.as_ref().and_then(device),
            bot: profile.bot,
            sessions: profile.sessions,
            events: profile.events,
            first_seen: profile.first_seen.as_deref().map(When::of),
            last_seen: profile.last_seen.as_deref().map(When::of),
            identifiers,
            traits: said("trait", &profile.traits),
            claims: said("claim", &profile.claims),
            // What was read from it stands beside the name.
            facts: said("fact", &profile.facts)
                .into_iter()
                .filter(|fact| profile.device.is_none() || fact.key != "fact-userAgent")
                .collect(),
            channels: channels.collect(),
            accounts: accounts.collect(),
        }
    }
}

fn device(device: &Device) -> Option<String> {
    match (&device.browser, &device.os) {
        (Some(browser), Some(os)) => Some(format!("{browser} on {os}")),
        (one, other) => one.clone().or_else(|| other.clone()),
    }
}

/// Of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) initial: String,
    pub(crate) partial: bool,
    pub(crate) recent: u64,
    pub(crate) last_seen: Option<When>,
    pub(crate) members: Vec<MemberView>,
    pub(crate) traits: Vec<SaidView>,
}

/// A member of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberView {
    pub(crate) href: String,
    pub(crate) name: String,
    pub(crate) initial: String,
    pub(crate) recent: String,
    pub(crate) is_active: bool,
}

impl AccountView {
    pub(crate) fn of(account: &Account) -> Self {
        let members = account.members.iter().map(|member| MemberView {
            href: person_address(&member.person.to_string()),
            name: member.name.clone(),
            initial: initial(&member.name),
            recent: count(member.recent_events, "event", "events"),
            is_active: member.recent_events > 0,
        });
        Self {
            id: account.id.clone(),
            name: account.name.clone(),
            initial: initial(&account.name),
            partial: account.partial,
            recent: account.recent_events,
            last_seen: account.last_seen.as_deref().map(When::of),
            members: members.collect(),
            traits: said("trait", &account.traits),
        }
    }
}

/// Somebody or something that was found.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) href: String,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) initial: String,
    pub(crate) because: String,
    /// Of a person.
    pub(crate) id: Option<PersonId>,
}

impl Hit {
    pub(crate) fn of(found: Found) -> Self {
        let (href, kind, id, name, because) = match found {
            Found::Person { id, name, because } => {
                (person_address(&id.to_string()), "person", Some(id), name, because)
            }
            Found::Account { id, name, because } => {
                (account_address(&id), "account", None, name, because)
            }
        };
        Self { href, kind, initial: initial(&name), name, because, id }
    }
}

/// Somebody who did something lately.
#[derive(Clone, Debug)]
pub(crate) struct SeenLast {
    pub(crate) href: String,
    pub(crate) name: String,
    pub(crate) initial: String,
    pub(crate) what: String,
    pub(crate) source: String,
    pub(crate) at: When,
}

impl SeenLast {
    pub(crate) fn of(who: Who, came: &Came) -> Self {
        Self {
            href: person_address(&who.id),
            initial: initial(&who.name),
            name: who.name,
            what: came.what.clone(),
            source: came.source.clone(),
            at: came.at.clone(),
        }
    }
}
