//! Why somebody is one person, and what a decision would change, as the templates want it.
//! Promises that every statement is listed, whatever became of it. Deliberately asks nobody: it is given everything.

use super::{
    drawing::{self, Drawing},
    views::{KnownView, initial, known, part, person_address},
    words::{When, count, label, short, value},
};
use crate::people::{Graph, Preview, Profile};

/// Why somebody is one person.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GraphView {
    pub(crate) drawing: Drawing,
    pub(crate) axis: u32,
    pub(crate) label: String,
    pub(crate) edges: Vec<EdgeView>,
    pub(crate) merge: String,
}

/// A statement that two are one.
#[derive(Clone, Debug, PartialEq)]
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
            let by = if edge.trusted || edge.proven { "" } else { ", which anyone can claim" };
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
