//! The identity graph as a drawing: identifiers one below the other, grouped by kind, and what connects them as arcs beside them.
//! Promises that it fits a narrow page, and that every edge of the list is drawn. Deliberately knows no colours: the style does.

use crate::people::{Known, Statement};

/// What is drawn, in the units of its view box.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Drawing {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) groups: Vec<Group>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) arcs: Vec<Arc>,
}

/// The name of a kind, above its identifiers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) y: u32,
    pub(crate) name: &'static str,
}

/// An identifier.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) y: u32,
    pub(crate) label: String,
    /// Whether it is this person's.
    pub(crate) is_own: bool,
}

/// What was said of two.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arc {
    pub(crate) path: String,
    /// `accepted`, `refused`, `retracted`.
    pub(crate) state: &'static str,
    /// Where the word stands.
    pub(crate) word: (f32, f32),
}

const WIDTH: u32 = 360;
/// Where the dots are: left of them the identifiers, right of them the arcs and their words.
pub(crate) const AXIS: u32 = 222;
/// From one identifier to the next, from one to the next kind's name, and from there to its first.
const ROW: u32 = 26;
const GAP: u32 = 34;
const BELOW_NAME: u32 = 19;
/// How far the narrowest and the widest arc reach, so that their words still have room.
const REACH: (f32, f32) = (26.0, 88.0);
/// Characters of an identifier that have room.
const LABEL: usize = 27;
/// Where on an arc its word may stand, the best place first.
const PLACES: [f32; 7] = [0.62, 0.7, 0.54, 0.78, 0.46, 0.38, 0.3];
/// Room of a word.
const WORD: (f32, f32) = (60.0, 14.0);

/// Draws it.
pub(crate) fn draw(identifiers: &[Known], edges: &[Statement]) -> Drawing {
    let own = identifiers.iter().map(|known| format!("{}:{}", known.kind, known.value));
    let own: Vec<String> = own.collect();
    let mut others: Vec<&str> = Vec::new();
    for edge in edges {
        for end in [&edge.a, &edge.b] {
            if !own.contains(end) && !others.contains(&end.as_str()) {
                others.push(end);
            }
        }
    }
    let mut drawing = Drawing { width: WIDTH, ..Drawing::default() };
    let (mut y, mut last, mut places) = (0, "", Vec::new());
    let rows = own.iter().map(|text| (text.as_str(), true));
    for (text, is_own) in rows.chain(others.iter().map(|text| (*text, false))) {
        let (kind, value) = text.split_once(':').unwrap_or(("", text));
        let group = if is_own { kind_name(kind) } else { "Somebody else" };
        if group == last {
            y += ROW;
        } else {
            y += if last.is_empty() { BELOW_NAME } else { GAP };
            drawing.groups.push(Group { y, name: group });
            y += BELOW_NAME;
            last = group;
        }
        places.push((text, y));
        let label = super::words::both_ends(value, LABEL);
        drawing.nodes.push(Node { y, label, is_own });
    }
    drawing.height = y + ROW;
    let spans = edges.iter().filter_map(|edge| {
        let (a, b) = ends(&places, edge)?;
        Some((edge.state, a.min(b), a.max(b)))
    });
    let spans: Vec<_> = spans.collect();
    let longest = spans.iter().map(|(_, a, b)| b - a).max().unwrap_or(1);
    let mut words: Vec<(f32, f32)> = Vec::new();
    for (state, a, b) in spans {
        let curve = Curve::between(a, b, longest);
        let free = |at: &(f32, f32)| {
            let meets =
                |(x, y): &(f32, f32)| (x - at.0).abs() < WORD.0 && (y - at.1).abs() < WORD.1;
            !words.iter().any(meets)
        };
        // Nearer to its lower end, where arcs of one beginning are apart, unless another's word stands there.
        let word = PLACES.map(|part| curve.at(part));
        let word = word.into_iter().find(free).unwrap_or(curve.at(PLACES[0]));
        words.push(word);
        drawing.arcs.push(Arc { path: curve.path(), state, word });
    }
    drawing
}

/// Half a round from one place on the axis to another.
struct Curve {
    from: f32,
    to: f32,
    reach: f32,
}

impl Curve {
    fn between(from: u32, to: u32, longest: u32) -> Self {
        let share = (to - from) as f32 / longest.max(1) as f32;
        let reach = REACH.0 + (REACH.1 - REACH.0) * share;
        Self { from: from as f32, to: to as f32, reach }
    }

    /// Both handles of the cubic: its furthest point is at three quarters of them.
    fn handle(&self) -> f32 {
        self.reach * 4.0 / 3.0
    }

    fn at(&self, part: f32) -> (f32, f32) {
        let rest = 1.0 - part;
        let x = AXIS as f32 + 6.0 + 3.0 * part * rest * self.handle();
        let begins = rest * rest * (rest + 3.0 * part);
        (x, begins * self.from + (1.0 - begins) * self.to)
    }

    fn path(&self) -> String {
        let (x, handle) = (AXIS + 6, AXIS as f32 + 6.0 + self.handle());
        let (from, to) = (self.from, self.to);
        format!("M{x} {from}C{handle:.1} {from} {handle:.1} {to} {x} {to}")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(a: &str, b: &str, state: &'static str) -> Statement {
        let text = str::to_owned;
        Statement {
            a: text(a),
            b: text(b),
            via: text("identify"),
            at: String::new(),
            source: text("web"),
            trusted: true,
            proven: true,
            offset: String::new(),
            state,
            reason: None,
        }
    }

    fn star() -> (Vec<Known>, Vec<Statement>) {
        let known = |(kind, value): (&'static str, &str)| Known { kind, value: value.to_owned() };
        let all = [("user", "u"), ("email", "e"), ("anonymous", "one"), ("anonymous", "two")];
        let states = ["accepted", "retracted", "accepted"];
        let edges = all[1..].iter().zip(states);
        let mut edges: Vec<_> = edges
            .map(|((kind, value), state)| edge("user:u", &format!("{kind}:{value}"), state))
            .collect();
        edges.push(edge("email:e", "user:other", "refused"));
        (all.map(known).into(), edges)
    }

    #[test]
    fn everything_is_drawn_within_the_box_and_no_word_covers_another() {
        let (identifiers, edges) = star();
        let drawing = draw(&identifiers, &edges);
        let names: Vec<_> = drawing.groups.iter().map(|group| group.name).collect();
        assert_eq!(names, ["User id", "E-mail", "Device", "Somebody else"]);
        assert_eq!((drawing.nodes.len(), drawing.arcs.len()), (5, 4));
        assert!(drawing.nodes.iter().all(|node| node.y < drawing.height));
        assert_eq!(drawing.nodes.iter().filter(|node| !node.is_own).count(), 1);
        for (index, arc) in drawing.arcs.iter().enumerate() {
            let (x, y) = arc.word;
            assert!(x + 30.0 <= drawing.width as f32 && y <= drawing.height as f32, "{arc:?}");
            for other in &drawing.arcs[..index] {
                let apart = (x - other.word.0).abs() >= 60.0 || (y - other.word.1).abs() >= 13.0;
                assert!(apart, "{arc:?} covers {other:?}");
            }
        }
    }
}
