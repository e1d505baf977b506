//! Which statements hold where not all can: how much one person may be, and who gives way. Promises that nothing proven is
//! refused because of what anyone can claim, and that the same statements, said and proven in the same order, come to the same.
//! Deliberately knows no table: identifiers and statements in, people and verdicts out.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use super::{
    graph::{Edge, Node, OPERATOR, State},
    identifier::Kind,
    limits::Limits,
};

/// How many identifiers of each kind a person has.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally([u32; Kind::ALL.len()]);

impl Tally {
    pub(super) fn of(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let mut tally = Self::default();
        for kind in kinds {
            tally.0[usize::from(kind.number()) - 1] += 1;
        }
        tally
    }

    pub(super) fn all(&self) -> u32 {
        self.0.iter().sum()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine += others;
        }
    }

    /// Whether two may be one. Of what one of them has too many already, for someone decided so, it may gain no more; all else
    /// goes on.
    pub(super) fn judge(p: &Self, q: &Self, limits: &Limits, ordered: bool) -> State {
        if p.all() + q.all() > limits.identifiers {
            let most = limits.identifiers;
            return State::Refused(format!("a person has at most {most} identifiers in all"));
        }
        // What someone has decided is bounded by the whole alone.
        let too_many = |kind: &Kind| {
            let (most, place) = (limits.of(*kind), usize::from(kind.number()) - 1);
            p.0[place] > 0 && q.0[place] > 0 && p.0[place] + q.0[place] > most
        };
        match Kind::ALL.iter().find(|kind| !ordered && too_many(kind)) {
            Some(kind) => {
                let (most, word) = (limits.of(*kind), kind.as_str());
                State::Refused(format!("a person has at most {most} of kind `{word}`"))
            }
            None => State::Accepted,
        }
    }
}

/// Which statements nothing else makes give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Firm {
    /// Those that a server has said, or one with a signature. An operator decides about people as they are shown, with all that
    /// was claimed of them: that stays in its order among the claims.
    Proven,
    /// And what operators have decided: where a person would be too large, no decision gives way to a claim.
    Decided,
}

impl Firm {
    /// Whether an edge that holds is one, at this moment.
    pub(super) fn has(self, edge: &Edge, at: i64) -> bool {
        edge.is_proven(at) && (self == Self::Decided || edge.via != OPERATOR)
    }

    /// How to look at an edge that wants to hold, one after the other.
    pub(super) fn ways(edge: &Edge) -> &'static [Self] {
        match edge.via == OPERATOR {
            true => &[Self::Decided],
            false => &[Self::Proven, Self::Decided],
        }
    }
}

/// Whether two may be one by what is firm of them alone. `next` is whom firm statements lead to from an identifier, in the order of
/// their numbers; it is asked no longer than until they may not.
pub(super) fn firmly<E>(
    limits: &Limits,
    ends: [(Node, Kind); 2],
    ordered: bool,
    mut next: impl FnMut(Node) -> Result<Vec<(Node, Kind)>, E>,
) -> Result<State, E> {
    let mut has = ends.map(|(_, kind)| Tally::of([kind]));
    for side in [0, 1] {
        let (mut found, mut waits) = (BTreeSet::from([ends[side].0]), vec![ends[side].0]);
        loop {
            let state = Tally::judge(&has[0], &has[1], limits, ordered);
            if state != State::Accepted {
                return Ok(state);
            }
            let Some(node) = waits.pop() else { break };
            for (other, kind) in next(node)? {
                if found.insert(other) {
                    has[side].add(&Tally::of([kind]));
                    waits.push(other);
                }
            }
        }
    }
    Ok(State::Accepted)
}

/// People of some identifiers: all of a person's, or none.
#[derive(Clone, Debug, Default)]
struct People {
    person_of: BTreeMap<Node, Node>,
    people: BTreeMap<Node, (BTreeSet<Node>, Tally)>,
}

impl People {
    fn alone(kinds: impl IntoIterator<Item = (Node, Kind)>) -> Self {
        let mut all = Self::default();
        for (node, kind) in kinds {
            all.person_of.insert(node, node);
            all.people.insert(node, (BTreeSet::from([node]), Tally::of([kind])));
        }
        all
    }

    fn are_one(&self, edge: &Edge) -> bool {
        self.person_of[&edge.a] == self.person_of[&edge.b]
    }

    fn judge(&self, edge: &Edge, limits: &Limits) -> State {
        let has = |node: &Node| &self.people[&self.person_of[node]].1;
        Tally::judge(has(&edge.a), has(&edge.b), limits, edge.ordered)
    }

    /// The two become one, with the number of the first.
    fn join(&mut self, edge: &Edge) {
        let (p, q) = (self.person_of[&edge.a], self.person_of[&edge.b]);
        if p == q {
            return;
        }
        let (joining, tally) = self.people.remove(&p.max(q)).expect("each person is in it once");
        let first = self.people.get_mut(&p.min(q)).expect("each person is in it once");
        first.1.add(&tally);
        for node in joining {
            self.person_of.insert(node, p.min(q));
            first.0.insert(node);
        }
    }
}

/// Identifiers and statements about them, judged one after the other.
pub(super) struct Judging<'a> {
    limits: &'a Limits,
    kinds: BTreeMap<Node, Kind>,
    people: People,
    edges: BTreeMap<i64, Edge>,
    /// Those that hold, by identifier.
    held: BTreeMap<Node, BTreeSet<i64>>,
}

impl<'a> Judging<'a> {
    /// As if nothing had been said before: every statement, when it was said and when it was proven. Those taken back never were.
    pub(super) fn anew(
        limits: &'a Limits,
        kinds: BTreeMap<Node, Kind>,
        edges: BTreeMap<i64, Edge>,
    ) -> Self {
        let people = People::alone(kinds.iter().map(|(node, kind)| (*node, *kind)));
        let mut all = Self { limits, kinds, people, edges, held: BTreeMap::new() };
        let mut moments = Vec::new();
        for edge in all.edges.values_mut().filter(|edge| edge.state != State::Retracted) {
            edge.state = State::Refused(String::new());
            moments.push((edge.id, edge.id));
            moments.extend(edge.proven.filter(|at| *at > edge.id).map(|at| (at, edge.id)));
        }
        moments.sort_unstable();
        for (at, id) in moments {
            if all.edges[&id].state != State::Accepted {
                all.judge(id, at);
            }
        }
        all
    }

    /// As it stands: two people, the statements that hold between their identifiers, and a proven one that they have no room for.
    pub(super) fn standing(
        limits: &'a Limits,
        kinds: BTreeMap<Node, Kind>,
        edges: BTreeMap<i64, Edge>,
    ) -> Self {
        let people = People::alone(kinds.iter().map(|(node, kind)| (*node, *kind)));
        let mut all = Self { limits, kinds, people, edges, held: BTreeMap::new() };
        let held = all.edges.values().filter(|edge| edge.state == State::Accepted);
        for edge in held.cloned().collect::<Vec<_>>() {
            all.people.join(&edge);
            all.hold(&edge);
        }
        all
    }

    /// The person of each identifier, and what became of each statement.
    pub(super) fn verdicts(self) -> (BTreeMap<Node, Node>, BTreeMap<i64, Edge>) {
        (self.people.person_of, self.edges)
    }

    /// Who there is now.
    pub(super) fn people(&self) -> Vec<Node> {
        self.people.people.keys().copied().collect()
    }

    fn hold(&mut self, edge: &Edge) {
        for node in [edge.a, edge.b] {
            self.held.entry(node).or_default().insert(edge.id);
        }
    }

    fn judge(&mut self, id: i64, at: i64) {
        let edge = self.edges[&id].clone();
        let state = match self.people.are_one(&edge) {
            true => State::Accepted,
            false => self.people.judge(&edge, self.limits),
        };
        match state {
            State::Accepted => {
                self.people.join(&edge);
                self.hold(&edge);
                self.put(id, State::Accepted);
            }
            _ if edge.is_proven(at) => self.make_room(id, at),
            state => self.put(id, state),
        }
    }

    fn put(&mut self, id: i64, state: State) {
        self.edges.get_mut(&id).expect("whoever has its number has taken it from there").state =
            state;
    }

    /// For a proven statement between two people who together would be too much: whatever of them is claimed alone holds as far as there
    /// is room beside it, in its order. Only what is firm of them can refuse it. What was refused before stays so: nobody's claim
    /// comes to hold because another's does not.
    pub(super) fn make_room(&mut self, id: i64, at: i64) {
        let edge = self.edges[&id].clone();
        let ends = [edge.a, edge.b].map(|node| (node, self.kinds[&node]));
        let persons = ends.map(|(node, _)| self.people.person_of[&node]);
        let nodes: BTreeSet<Node> =
            persons.iter().flat_map(|person| &self.people.people[person].0).copied().collect();
        let held = nodes.iter().filter_map(|node| self.held.get(node)).flatten();
        let held: BTreeSet<i64> = held.copied().collect();
        for firm in Firm::ways(&edge) {
            let next = |node| Ok::<_, Infallible>(self.firmly_next(node, *firm, at));
            let Ok(state) = firmly(self.limits, ends, edge.ordered, next);
            if state != State::Accepted {
                return self.put(id, state);
            }
            let mut people = People::alone(nodes.iter().map(|node| (*node, self.kinds[node])));
            let (stay, claims): (Vec<_>, Vec<_>) =
                held.iter().map(|id| &self.edges[id]).partition(|edge| firm.has(edge, at));
            for edge in stay.into_iter().chain([&edge]) {
                people.join(edge);
            }
            let mut gives_way = Vec::new();
            for edge in claims {
                match people.judge(edge, self.limits) {
                    _ if people.are_one(edge) => {}
                    State::Accepted => people.join(edge),
                    state => gives_way.push((edge.clone(), state)),
                }
            }
            // Whom others have made one since are one.
            gives_way.retain(|(edge, _)| !people.are_one(edge));
            if gives_way.iter().any(|(edge, _)| Firm::Decided.has(edge, at)) {
                continue;
            }
            for (edge, state) in gives_way {
                for node in [edge.a, edge.b] {
                    self.held.entry(node).or_default().remove(&edge.id);
                }
                let reason = state.reason().unwrap_or_default();
                self.put(edge.id, State::Refused(format!("{GAVE_WAY}: {reason}")));
            }
            for person in persons {
                self.people.people.remove(&person);
            }
            self.people.person_of.extend(people.person_of);
            self.people.people.extend(people.people);
            self.hold(&edge);
            return self.put(id, State::Accepted);
        }
    }

    fn firmly_next(&self, node: Node, firm: Firm, at: i64) -> Vec<(Node, Kind)> {
        let held = self.held.get(&node).into_iter().flatten().map(|id| &self.edges[id]);
        let held = held.filter(|edge| firm.has(edge, at));
        let others: BTreeSet<Node> = held.map(|edge| edge.a + edge.b - node).collect();
        others.into_iter().map(|other| (other, self.kinds[&other])).collect()
    }
}

/// Why a claim that held does not any more.
const GAVE_WAY: &str = "what is proven comes first";
