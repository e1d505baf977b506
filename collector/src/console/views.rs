//! What the desk knows, as the templates want it: texts, counts in words, addresses.
//! Promises that an address can hold any identifier. Deliberately asks nobody: it is given everything.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    drawing::{self, Drawing, kind_name},
    latest::{Came, Who},
    story::Story,
    words::{When, count, label, short, value},
};
use crate::people::{Account, Found, Graph, Known, PersonId, Preview, Profile, Said, Wanted};

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

fn initial(name: &str) -> String {
    let first = name.chars().find(|letter| letter.is_alphanumeric());
    first.map_or_else(|| "·".to_owned(), |letter| letter.to_uppercase().to_string())
}

/// An identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownView {
    pub(crate) kind: &'static str,
    pub(crate) value: String,
}

fn known(all: &[Known]) -> Vec<KnownView> {
    let all = all.iter();
    all.map(|known| KnownView { kind: kind_name(known.kind), value: known.value.clone() }).collect()
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
    pub(crate) sessions: u64,
    pub(crate) events: u64,
    pub(crate) first_seen: Option<When>,
    pub(crate) last_seen: Option<When>,
    pub(crate) identifiers: Vec<KnownView>,
    pub(crate) traits: Vec<SaidView>,
    pub(crate) facts: Vec<SaidView>,
    pub(crate) channels: Vec<ChannelView>,
    pub(crate) accounts: Vec<MembershipView>,
}

impl PersonView {
    pub(crate) fn of(profile: &Profile) -> Self {
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
            sessions: profile.sessions,
            events: profile.events,
            first_seen: profile.first_seen.as_deref().map(When::of),
            last_seen: profile.last_seen.as_deref().map(When::of),
            identifiers: known(&profile.identifiers),
            traits: said("trait", &profile.traits),
            facts: said("fact", &profile.facts),
            channels: channels.collect(),
            accounts: accounts.collect(),
        }
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

/// A timeline, and what is wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct StoryView {
    pub(crate) title: &'static str,
    /// Its page, without a query.
    pub(crate) base: String,
    pub(crate) story: Story,
    pub(crate) sources: Vec<String>,
    pub(crate) calls: &'static [&'static str],
    pub(crate) names: BTreeSet<String>,
    pub(crate) source: String,
    pub(crate) call: String,
    pub(crate) name: String,
    pub(crate) is_filtered: bool,
    pub(crate) older: Option<String>,
    pub(crate) newest: Option<String>,
    /// Where to follow it, unless it is an older page.
    pub(crate) stream: Option<String>,
    /// Records that came while it was open.
    pub(crate) fresh: BTreeSet<String>,
    /// The names of people, where it is of several.
    pub(crate) people: BTreeMap<String, String>,
}

const CALLS: &[&str] = &["track", "page", "screen", "identify", "group", "alias"];

impl StoryView {
    pub(crate) fn of(
        title: &'static str,
        base: String,
        wanted: &Wanted,
        page: crate::people::Page,
        is_live: bool,
    ) -> Self {
        let filter = filter(wanted);
        let names = page.chapters.iter().flat_map(|chapter| &chapter.moments);
        let names =
            names.filter(|moment| !moment.name.is_empty()).map(|moment| moment.name.clone());
        let names = names.collect();
        let story = Story::of(page);
        let is_latest = wanted.before.is_none();
        let older = story.next.as_ref().map(|next| format!("{base}?{filter}before={}", part(next)));
        Self {
            title,
            older,
            newest: (!is_latest).then(|| format!("{base}?{filter}")),
            stream: (is_latest && is_live).then(|| format!("{base}/live?{filter}")),
            base,
            story,
            sources: Vec::new(),
            calls: CALLS,
            names,
            source: wanted.source.clone().unwrap_or_default(),
            call: wanted.call.clone().unwrap_or_default(),
            name: wanted.name.clone().unwrap_or_default(),
            is_filtered: !filter.is_empty(),
            fresh: BTreeSet::new(),
            people: BTreeMap::new(),
        }
    }
}

/// As the beginning of a query.
fn filter(wanted: &Wanted) -> String {
    let pairs =
        [("source", &wanted.source), ("type", &wanted.call), ("event", &wanted.name)].into_iter();
    let pairs = pairs.filter_map(|(name, value)| Some((name, value.as_deref()?)));
    pairs.map(|(name, value)| format!("{name}={}&", part(value))).collect()
}

/// Why somebody is one person.
#[derive(Clone, Debug)]
pub(crate) struct GraphView {
    pub(crate) drawing: Drawing,
    pub(crate) axis: u32,
    pub(crate) label: String,
    pub(crate) edges: Vec<EdgeView>,
    pub(crate) merge: String,
}

/// A statement that two are one.
#[derive(Clone, Debug)]
pub(crate) struct EdgeView {
    pub(crate) a: String,
    pub(crate) b: String,
    pub(crate) state: &'static str,
    pub(crate) how: String,
    pub(crate) at: When,
    pub(crate) reason: Option<String>,
    /// Where it is taken back, or put back.
    pub(crate) href: Option<String>,
}

impl GraphView {
    pub(crate) fn of(graph: &Graph) -> Self {
        let base = person_address(&graph.person.to_string());
        let edges = graph.edges.iter().map(|edge| {
            let (a, b) = (part(&edge.a), part(&edge.b));
            let href = match edge.state {
                "accepted" => Some(format!("{base}/unmerge?a={a}&b={b}")),
                "retracted" => Some(format!("{base}/merge?a={a}&b={b}")),
                _ => None,
            };
            let by = if edge.trusted { "" } else { ", which anyone can claim" };
            EdgeView {
                a: edge.a.clone(),
                b: edge.b.clone(),
                state: edge.state,
                how: format!("{} by {}{by}", label(&edge.via), edge.source),
                at: When::of(&edge.at),
                reason: edge.reason.clone(),
                href,
            }
        });
        let edges: Vec<EdgeView> = edges.collect();
        let of = |state| edges.iter().filter(|edge| edge.state == state).count();
        let label = format!(
            "{} identifiers; of the statements that connect them {} accepted, {} refused, {} retracted. The list below says which.",
            graph.identifiers.len(),
            of("accepted"),
            of("refused"),
            of("retracted"),
        );
        let merge = format!("{base}/merge");
        Self {
            drawing: drawing::draw(&graph.identifiers, &graph.edges),
            axis: drawing::AXIS,
            label,
            edges,
            merge,
        }
    }
}

/// A person in short.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) initial: String,
    pub(crate) identifiers: Vec<KnownView>,
    pub(crate) numbers: String,
}

impl Card {
    pub(crate) fn of(profile: &Profile) -> Self {
        let traits = profile.traits.len() as u64;
        let numbers = format!(
            "{}, {}, {}",
            count(profile.events, "event", "events"),
            count(profile.sessions, "visit", "visits"),
            count(traits, "trait", "traits"),
        );
        Self {
            name: profile.name.clone(),
            initial: initial(&profile.name),
            identifiers: known(&profile.identifiers),
            numbers,
        }
    }
}

/// A trait of which two people say two things, and what stays.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) left: String,
    pub(crate) right: String,
    pub(crate) kept: String,
}

/// Side by side.
pub(crate) fn kept(preview: &Preview, left: &Profile, right: &Profile) -> Vec<Kept> {
    let of = |profile: Option<&Profile>, name: &str| {
        let said = profile.and_then(|profile| profile.traits.get(name));
        said.map_or_else(|| "–".to_owned(), |said| short(&value(said.value.get()), 80))
    };
    let rows = preview.conflicts.keys().map(|name| Kept {
        name: label(name),
        left: of(Some(left), name),
        right: of(Some(right), name),
        kept: of(preview.people.first(), name),
    });
    rows.collect()
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
