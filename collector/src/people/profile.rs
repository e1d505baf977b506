//! A person, read together from the identifiers that belong together: who it is, what is known, and why it is believed.
//! Promises one moment of the state, in time that grows with the person and with nothing else. Deliberately writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Result};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    account,
    device::Device,
    fold::read_seen,
    graph::{self, Edge, Node, State},
    identifier::{Identifier, Kind},
    limits::Limits,
    orders,
    seen::{About, CLAIM, Fact, Seen, TRAIT},
};
use crate::event_log::{Record, Timestamp};

/// Statements about one identifier that are listed.
const MAX_EDGES: i64 = 500;

/// A person's name for programs: of its first identifier, so that of two who are merged the elder's stays, and the other's
/// goes on being understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PersonId(pub(super) Node);

impl PersonId {
    pub(crate) fn node(self) -> Node {
        self.0
    }
}

impl std::fmt::Display for PersonId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p_{:x}", self.0)
    }
}

impl Serialize for PersonId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Who somebody is and what is known.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Stays the same over merges.
    pub id: PersonId,
    /// What people call it: a name, an address, an id.
    pub name: String,
    /// What it is known by.
    pub identifiers: Vec<Known>,
    /// What it is said to be, each with where that comes from.
    pub traits: BTreeMap<String, Said>,
    /// What its devices say of whoever uses them without the proof that was asked for, each with where that comes from. They are traits as long as
    /// nothing else is known of the person than its devices; nothing is sent to an address among them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Said>,
    /// What its devices say, each with where that comes from.
    pub facts: BTreeMap<String, Said>,
    /// The device it was last seen with, by its `userAgent`; `null` if that says nothing.
    pub device: Option<Device>,
    /// Whether it is a program: by its device, or because an event says so (`context.bot`).
    pub bot: bool,
    /// Of its events; absent without any.
    pub first_seen: Option<String>,
    /// Of its events; absent without any.
    pub last_seen: Option<String>,
    /// How many.
    pub events: u64,
    /// Visits.
    pub sessions: u64,
    /// Through which sources, the latest first.
    pub channels: Vec<Channel>,
    /// Of which accounts it is a member, the latest first.
    pub accounts: Vec<Membership>,
}

/// An identifier of a person.
#[derive(Clone, Debug, Serialize)]
pub struct Known {
    /// `user`, `email`, …
    pub kind: &'static str,
    /// The identifier.
    pub value: String,
}

/// A value, and where it comes from.
#[derive(Clone, Debug, Serialize)]
pub struct Said {
    /// The JSON that was said.
    pub value: Box<RawValue>,
    /// When it happened.
    pub at: String,
    /// Which source said so.
    pub source: String,
    /// In which record.
    pub offset: String,
}

/// What came through one source.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// Its name.
    pub source: String,
    /// The earliest event.
    pub first_seen: String,
    /// The latest.
    pub last_seen: String,
    /// How many.
    pub events: u64,
}

/// A place in an account.
#[derive(Clone, Debug, Serialize)]
pub struct Membership {
    /// The `groupId`.
    pub account: String,
    /// What people call it.
    pub name: String,
    /// Since when.
    pub since: String,
}

/// Who is who, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Graph {
    /// The person.
    pub person: PersonId,
    /// Its identifiers.
    pub identifiers: Vec<Known>,
    /// All that was said about them, with what became of it.
    pub edges: Vec<Statement>,
    /// Whether there is more than is listed.
    pub partial: bool,
}

/// An edge, to be read.
#[derive(Clone, Debug, Serialize)]
pub struct Statement {
    /// One identifier, as `kind:value`.
    pub a: String,
    /// The other.
    pub b: String,
    /// How it was said.
    pub via: String,
    /// When it happened.
    pub at: String,
    /// Who said it.
    pub source: String,
    /// Whether nobody can have forged it.
    pub trusted: bool,
    /// Whether a source that nobody can forge has said it, then or later, or one with the user's signature.
    pub proven: bool,
    /// In which record.
    pub offset: String,
    /// `accepted`, `refused`, `retracted`.
    pub state: &'static str,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a decision would lead to.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The people there would be.
    pub people: Vec<Profile>,
    /// The traits of which only one value would be left, with all there are now.
    pub conflicts: BTreeMap<String, Vec<Box<RawValue>>>,
    /// Why it would change nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Finds a person: by its own id, by an identifier with its kind, or by one without, of whichever kind comes first.
pub(crate) fn person_of(db: &Connection, text: &str) -> Result<Option<PersonId>> {
    let node = match node_of(db, text)? {
        Some(node) => node,
        None => return Ok(None),
    };
    Ok(Some(PersonId(graph::person(db, node)?)))
}

/// The identifier that this names: of a person's own id, its first.
pub(crate) fn node_of(db: &Connection, text: &str) -> Result<Option<Node>> {
    if let Some(number) = text.strip_prefix("p_").and_then(|hex| Node::from_str_radix(hex, 16).ok())
    {
        let known = "SELECT 1 FROM identifier WHERE id = ?1";
        if db.prepare_cached(known)?.exists([number])? {
            return Ok(Some(number));
        }
    }
    if let Ok(identifier) = text.parse::<Identifier<'_>>()
        && let Some(node) = graph::find(db, &identifier)?
    {
        return Ok(Some(node));
    }
    for kind in Kind::ALL {
        let Some(identifier) = Identifier::new(kind, text) else { continue };
        if let Some(node) = graph::find(db, &identifier)? {
            return Ok(Some(node));
        }
    }
    graph::find_elsewhere(db, text)
}

/// Who did this, if it is known: by the surest identifier that the record names.
pub(crate) fn person_of_record(db: &Connection, record: &Record) -> Result<Option<PersonId>> {
    if orders::is_ours(record) {
        return Ok(None);
    }
    let said = super::said::Said::of(record);
    let first = said.as_ref().and_then(|said| said.identifiers.first());
    let Some(node) = first.map(|first| graph::find(db, first)).transpose()?.flatten() else {
        return Ok(None);
    };
    Ok(Some(PersonId(graph::person(db, node)?)))
}

/// What is known of a person.
pub(crate) fn profile(db: &Connection, person: PersonId) -> Result<Profile> {
    of_members(db, person, &graph::members(db, person.0)?)
}

fn of_members(
    db: &Connection,
    id: PersonId,
    members: &[(Node, Identifier<'static>)],
) -> Result<Profile> {
    let (mut whole, mut accounts) = (Seen::default(), Vec::new());
    for (node, _) in members {
        if let Some(seen) = read_seen(db, *node)? {
            join(&mut whole, seen);
        }
        accounts.extend(account::memberships(db, *node)?);
    }
    // The earliest of each account counts, and the latest account comes first.
    accounts.sort_by(|a, b| (&a.account, &a.since).cmp(&(&b.account, &b.since)));
    accounts.dedup_by(|a, b| a.account == b.account);
    accounts.sort_by(|a, b| b.since.cmp(&a.since));
    let mut channels: Vec<_> = whole.about.channels.iter().collect();
    channels.sort_by_key(|(_, channel)| std::cmp::Reverse(channel.1));
    let channels = channels.into_iter().map(|(source, channel)| Channel {
        source: source.clone(),
        first_seen: moment(channel.0),
        last_seen: moment(channel.1),
        events: channel.2,
    });
    let (traits, claims) = of_person(&whole.about, members);
    let (_, facts) = said(&whole.about);
    let device = facts.get("userAgent").and_then(Said::text).and_then(|text| Device::of(&text));
    let is_said = |said: &Said| said.value.get() == "true";
    let bot = facts.get("bot").is_some_and(is_said) || device.as_ref().is_some_and(Device::is_bot);
    let was_seen = whole.events > 0;
    Ok(Profile {
        id,
        name: name(&traits, members.iter().map(|(_, identifier)| identifier)),
        identifiers: known(members),
        traits,
        claims,
        facts,
        device,
        bot,
        first_seen: was_seen.then(|| moment(whole.first_ms)),
        last_seen: was_seen.then(|| moment(whole.last_ms)),
        events: whole.events,
        sessions: whole.sessions,
        channels: channels.collect(),
        accounts,
    })
}

/// What people call a person, for lists.
pub(crate) fn name_of(db: &Connection, person: PersonId) -> Result<String> {
    let members = graph::members(db, person.0)?;
    let mut whole = Seen::default();
    for (node, _) in &members {
        if let Some(seen) = read_seen(db, *node)? {
            join(&mut whole, seen);
        }
    }
    let (traits, _) = of_person(&whole.about, &members);
    Ok(name(&traits, members.iter().map(|(_, identifier)| identifier)))
}

/// Two identifiers' seen as one: the order does not matter.
fn join(whole: &mut Seen, part: Seen) {
    if part.events > 0 {
        let both = whole.events > 0;
        whole.first_ms = if both { whole.first_ms.min(part.first_ms) } else { part.first_ms };
        whole.last_ms = if both { whole.last_ms.max(part.last_ms) } else { part.last_ms };
    }
    whole.events += part.events;
    whole.sessions += part.sessions;
    for (name, fact) in part.about.facts {
        match whole.about.facts.get(&name) {
            Some(known) if !fact.wins_over(known) => {}
            _ => {
                whole.about.facts.insert(name, fact);
            }
        }
    }
    for (source, channel) in part.about.channels {
        let all = whole
            .about
            .channels
            .entry(source)
            .or_insert(super::seen::Channel(channel.0, channel.1, 0));
        (all.0, all.1) = (all.0.min(channel.0), all.1.max(channel.1));
        all.2 += channel.2;
    }
}

/// A person's traits, and what is claimed of it. A claim is a trait where there is nobody but a device that it could be about: where the
/// person has an identifier that somebody has proven or could be asked to prove, or anyone who is believed has said what it is like, what a stranger
/// writes is not taken for it.
fn of_person(
    about: &About,
    members: &[(Node, Identifier<'static>)],
) -> (BTreeMap<String, Said>, BTreeMap<String, Said>) {
    let (mut traits, _) = said(about);
    let claimed = about.facts.iter().filter(|(_, fact)| fact.is_there());
    let claims: BTreeMap<String, Said> = claimed
        .filter_map(|(name, fact)| Some((name.strip_prefix(CLAIM)?.to_owned(), Said::of(fact)?)))
        .collect();
    let is_device = members.iter().all(|(_, known)| known.kind == Kind::Anonymous);
    if is_device && traits.is_empty() {
        traits.clone_from(&claims);
    }
    (traits, claims)
}

/// Traits and facts, to be read.
pub(super) fn said(about: &About) -> (BTreeMap<String, Said>, BTreeMap<String, Said>) {
    let (mut traits, mut facts) = (BTreeMap::new(), BTreeMap::new());
    for (name, fact) in about.facts.iter().filter(|(_, fact)| fact.is_there()) {
        let Some(said) = Said::of(fact) else { continue };
        match name.strip_prefix(TRAIT) {
            Some(name) => traits.insert(name.to_owned(), said),
            None if name.starts_with(CLAIM) => None,
            None => facts.insert(name.clone(), said),
        };
    }
    (traits, facts)
}

impl Said {
    fn of(fact: &Fact) -> Option<Self> {
        Some(Self {
            value: RawValue::from_string(fact.json().to_owned()).ok()?,
            at: moment(fact.1),
            source: fact.3.clone(),
            offset: fact.record().to_string(),
        })
    }

    /// The value, if it is a text.
    pub fn text(&self) -> Option<String> {
        serde_json::from_str(self.value.get()).ok().filter(|text: &String| !text.trim().is_empty())
    }
}

fn name<'a>(
    traits: &BTreeMap<String, Said>,
    identifiers: impl Iterator<Item = &'a Identifier<'static>>,
) -> String {
    let text = |name: &str| traits.get(name).and_then(Said::text);
    let parts = |first: &str, last: &str| match (text(first), text(last)) {
        (None, None) => None,
        (first, last) => Some([first, last].into_iter().flatten().collect::<Vec<_>>().join(" ")),
    };
    let given = text("name")
        .or_else(|| parts("firstName", "lastName"))
        .or_else(|| parts("first_name", "last_name"));
    given.unwrap_or_else(|| {
        let order = [Kind::Email, Kind::User, Kind::Phone, Kind::External, Kind::Anonymous];
        let place = |kind: Kind| order.iter().position(|known| *known == kind);
        let first = identifiers.min_by_key(|identifier| place(identifier.kind));
        match first {
            Some(Identifier { kind: Kind::Anonymous, value }) => {
                format!("Visitor {}", value.chars().take(8).collect::<String>())
            }
            Some(identifier) => identifier.value.to_string(),
            None => "Nobody".to_owned(),
        }
    })
}

fn known(members: &[(Node, Identifier<'static>)]) -> Vec<Known> {
    let mut sorted: Vec<_> = members.iter().map(|(_, identifier)| identifier).collect();
    sorted.sort_by_key(|identifier| identifier.kind);
    let known = sorted.into_iter().map(|identifier| Known {
        kind: identifier.kind.as_str(),
        value: identifier.value.to_string(),
    });
    known.collect()
}

pub(super) fn moment(ms: i64) -> String {
    Timestamp::from_unix_ms(ms).to_string()
}

/// Who is who, and why.
pub(crate) fn graph_of(db: &Connection, person: PersonId) -> Result<Graph> {
    let members = graph::members(db, person.0)?;
    let mut edges = BTreeMap::new();
    let mut partial = false;
    for (node, _) in &members {
        let found = graph::first_edges_of(db, *node, MAX_EDGES)?;
        partial |= i64::try_from(found.len()).is_ok_and(|found| found >= MAX_EDGES);
        edges.extend(found.into_iter().map(|edge| (edge.id, edge)));
    }
    let edges = edges.into_values().map(|edge| statement(db, edge)).collect::<Result<_>>()?;
    Ok(Graph { person, identifiers: known(&members), edges, partial })
}

fn statement(db: &Connection, edge: Edge) -> Result<Statement> {
    let text = |node| {
        let identifier = graph::identifier(db, node)?;
        Ok::<_, rusqlite::Error>(identifier.to_string())
    };
    Ok(Statement {
        a: text(edge.a)?,
        b: text(edge.b)?,
        via: edge.via,
        at: moment(edge.time_ms),
        source: edge.source,
        trusted: edge.trusted,
        proven: edge.proven.is_some(),
        offset: graph::first_record(edge.id).to_string(),
        state: edge.state.as_str(),
        reason: edge.state.reason().map(str::to_owned),
    })
}

/// What merging two people, or taking a statement back, would lead to: done to a copy of what it touches.
pub(crate) fn preview(
    db: &Connection,
    limits: &Limits,
    (a, b): (&Identifier<'_>, &Identifier<'_>),
    merge: bool,
) -> Result<Option<Preview>> {
    let (Some(a), Some(b)) = (graph::find(db, a)?, graph::find(db, b)?) else { return Ok(None) };
    let copy = graph::copy_around(db, [a, b])?;
    let mut refused = None;
    if merge && graph::person(db, a)? == graph::person(db, b)? {
        refused = Some("these two are one person already".to_owned());
    } else if merge {
        let edge = Edge {
            id: i64::MAX,
            a,
            b,
            via: graph::OPERATOR.to_owned(),
            time_ms: 0,
            source: String::new(),
            trusted: true,
            proven: Some(i64::MAX),
            ordered: true,
            state: State::Accepted,
        };
        refused = graph::link(&copy, limits, edge)?.reason().map(str::to_owned);
    } else if !graph::retract(&copy, limits, a, b)? {
        refused = Some("nothing says that these two are one person, or not any more".to_owned());
    }
    let persons = BTreeSet::from([graph::person(&copy, a)?, graph::person(&copy, b)?]);
    let people = persons
        .into_iter()
        .map(|person| of_members(db, PersonId(person), &graph::members(&copy, person)?));
    let conflicts = match merge {
        true => conflicts(db, [a, b])?,
        false => BTreeMap::new(),
    };
    Ok(Some(Preview { people: people.collect::<Result<_>>()?, conflicts, refused }))
}

fn conflicts(db: &Connection, nodes: [Node; 2]) -> Result<BTreeMap<String, Vec<Box<RawValue>>>> {
    let mut values: BTreeMap<String, Vec<Box<RawValue>>> = BTreeMap::new();
    for node in nodes {
        let profile = profile(db, PersonId(graph::person(db, node)?))?;
        for (name, said) in profile.traits {
            let all = values.entry(name).or_default();
            if !all.iter().any(|known| known.get() == said.value.get()) {
                all.push(said.value);
            }
        }
    }
    values.retain(|_, values| values.len() > 1);
    Ok(values)
}
