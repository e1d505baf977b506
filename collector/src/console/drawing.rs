//! The identity graph as a drawing: identifiers one below the other, grouped by kind, and what connects them as arcs beside them.
//! Promises that it fits a narrow page, and that every edge of the list is drawn. Deliberately knows no colours: the style does.

use crate::people::{Graph, Statement};

/// What is drawn, in the units of its view box.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drawing {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) groups: Vec<Group>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) arcs: Vec<Arc>,
}

/// The name of a kind, above its identifiers.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) y: u32,
    pub(crate) name: &'static str,
}

/// An identifier.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) y: u32,
    pub(crate) label: String,
    /// Whether it is this person's.
    pub(crate) is_own: bool,
}

/// What was said of two.
#[derive(Clone, Debug)]
pub(crate) struct Arc {
    pub(crate) path: String,
    /// `accepted`, `refused`, `retracted`.
    pub(crate) state: &'static str,
    /// Where the word stands.
    pub(crate) word: (u32, u32),
}

const WIDTH: u32 = 360;
/// Where the dots are: left of them the identifiers, right of them the arcs and their words.
pub(crate) const AXIS: u32 = 222;
const ROW: u32 = 30;
const HEADING: u32 = 26;
const TOP: u32 = 8;
/// How far the widest arc reaches, so that its word still has room.
const REACH: u32 = 74;
/// Characters of an identifier that have room.
const LABEL: usize = 27;

/// Draws it.
pub(crate) fn draw(graph: &Graph) -> Drawing {
    let own = graph.identifiers.iter().map(|known| format!("{}:{}", known.kind, known.value));
    let own: Vec<String> = own.collect();
    let mut others: Vec<&str> = Vec::new();
    for edge in &graph.edges {
        for end in [&edge.a, &edge.b] {
            if !own.contains(end) && !others.contains(&end.as_str()) {
                others.push(end);
            }
        }
    }
    let mut drawing = Drawing { width: WIDTH, ..Drawing::default() };
    let (mut y, mut last, mut places) = (TOP, "", Vec::new());
    let rows = own.iter().map(|text| (text.as_str(), true));
    for (text, is_own) in rows.chain(others.iter().map(|text| (*text, false))) {
        let (kind, value) = text.split_once(':').unwrap_or(("", text));
        let group = if is_own { kind_name(kind) } else { "Somebody else" };
        if group != last {
            y += HEADING;
            drawing.groups.push(Group { y, name: group });
            last = group;
        }
        y += ROW;
        places.push((text, y));
        let label = super::words::short(value, LABEL);
        drawing.nodes.push(Node { y, label, is_own });
    }
    drawing.height = y + ROW;
    let longest = graph.edges.iter().filter_map(|edge| ends(&places, edge));
    let longest = longest.map(|(a, b)| a.abs_diff(b)).max().unwrap_or(1).max(1);
    drawing.arcs = graph
        .edges
        .iter()
        .filter_map(|edge| {
            let (a, b) = ends(&places, edge)?;
            let (a, b) = (a.min(b), a.max(b));
            let reach = 18 + (REACH - 18) * (b - a) / longest;
            // A cubic's furthest point is at three quarters of its handles.
            let (x, handle) = (AXIS + 6, AXIS + 6 + reach * 4 / 3);
            let path = format!("M{x} {a}C{handle} {a} {handle} {b} {x} {b}");
            Some(Arc { path, state: edge.state, word: (AXIS + 6 + reach, a.midpoint(b)) })
        })
        .collect();
    drawing
}

fn ends(places: &[(&str, u32)], edge: &Statement) -> Option<(u32, u32)> {
    let place = |text: &str| places.iter().find(|(known, _)| *known == text).map(|(_, y)| *y);
    place(&edge.a).zip(place(&edge.b)).filter(|(a, b)| a != b)
}

/// As a heading.
pub(crate) fn kind_name(kind: &str) -> &'static str {
    match kind {
        "user" => "User id",
        "external" => "Id elsewhere",
        "email" => "E-mail",
        "phone" => "Phone",
        "anonymous" => "Device",
        _ => "Other",
    }
}
