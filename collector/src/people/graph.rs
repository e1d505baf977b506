//! Which identifiers are one person: statements that two belong together, each with where it comes from, none ever deleted.
//! Promises that people are a function of the statements in their order: taking one back leaves what there were had it never
//! been made. Deliberately knows nothing of traits or events; what a person did hangs on identifiers, and moves with them.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::{
    identifier::{Identifier, Kind},
    judging::{Firm, Judging, Tally, firmly},
    limits::Limits,
};
use crate::event_log::Offset;

/// The tables. An identifier is numbered by the record that brought it up, so that a rebuild gives it the same number; a
/// person is known by the number of its first identifier.
pub(super) const SCHEMA: &str = "
    CREATE TABLE identifier (
        id INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        value TEXT NOT NULL,
        person INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX identifier_value ON identifier (value, kind);
    -- Most people have one identifier: theirs is not in it.
    CREATE INDEX identifier_person ON identifier (person) WHERE person <> id;
    -- By the id alone, which is what people have at hand of another system's.
    CREATE INDEX identifier_elsewhere ON identifier (substr(value, instr(value, ':') + 1)) WHERE kind = 2;
    CREATE TABLE edge (
        id INTEGER PRIMARY KEY,
        a INTEGER NOT NULL,
        b INTEGER NOT NULL,
        via TEXT NOT NULL,
        time INTEGER NOT NULL,
        source TEXT NOT NULL,
        trusted INTEGER NOT NULL,
        -- The number of what proved it first: said by a source that nobody can forge, or with a signature. What is meant for one of the
        -- two may be told to the other, and what is only claimed gives way to it.
        proven INTEGER,
        ordered INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT
    ) STRICT;
    CREATE UNIQUE INDEX edge_pair ON edge (a, b);
    CREATE INDEX edge_b ON edge (b);
";

/// Numbers of one record: it may bring up so many identifiers, and as many edges.
pub(super) const PER_RECORD: i64 = 16;

/// How an operator's decision was said.
pub(super) const OPERATOR: &str = "operator";

/// The number of an identifier: of its record, and of its place among those that the record brought up.
pub(crate) type Node = i64;

/// The record that brought an identifier up.
pub(crate) fn first_record(node: Node) -> Offset {
    Offset::from_number(node / PER_RECORD)
}

/// A statement that two identifiers are the same person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its number: of the record that made it, and of its place there.
    pub id: i64,
    /// One, the lower number.
    pub a: Node,
    /// The other.
    pub b: Node,
    /// How it was said: `identify`, `track`, `alias`, `operator`, …
    pub via: String,
    /// When it happened, in milliseconds of unix time.
    pub time_ms: i64,
    /// Who said it.
    pub source: String,
    /// Whether that source is one that nobody can forge.
    pub trusted: bool,
    /// The number, as `id`, of the statement with which one that nobody can forge has said it first, or one with the user's signature;
    /// its own number if it was said so from the beginning.
    pub proven: Option<i64>,
    /// Whether someone decided it, so that the limits of a kind do not hold.
    pub ordered: bool,
    /// What became of it.
    pub state: State,
}

impl Edge {
    /// Whether it was proven by then.
    pub(super) fn is_proven(&self, at: i64) -> bool {
        self.proven.is_some_and(|proven| proven <= at)
    }
}

/// What became of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The two are one person.
    Accepted,
    /// They are not: the person would have had too many of something.
    Refused(String),
    /// They are not: someone took it back.
    Retracted,
}

impl State {
    fn word(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Accepted => ("accepted", None),
            Self::Refused(reason) => ("refused", Some(reason)),
            Self::Retracted => ("retracted", None),
        }
    }

    /// The word in JSON and on pages.
    pub fn as_str(&self) -> &'static str {
        self.word().0
    }

    /// Why it was refused.
    pub fn reason(&self) -> Option<&str> {
        self.word().1
    }

    fn read(word: &str, reason: Option<String>) -> Self {
        match word {
            "accepted" => Self::Accepted,
            "retracted" => Self::Retracted,
            _ => Self::Refused(reason.unwrap_or_default()),
        }
    }
}

/// The number of an identifier, if it is known.
pub(crate) fn find(db: &Connection, identifier: &Identifier<'_>) -> Result<Option<Node>> {
    let mut query =
        db.prepare_cached("SELECT id FROM identifier WHERE value = ?1 AND kind = ?2")?;
    let found =
        query.query_row(params![identifier.value, identifier.kind.number()], |row| row.get(0));
    found.optional()
}

/// The first identifier at another system whose own id this is.
pub(super) fn find_elsewhere(db: &Connection, id: &str) -> Result<Option<Node>> {
    let mut query = db.prepare_cached(
        "SELECT id FROM identifier WHERE kind = 2 AND substr(value, instr(value, ':') + 1) = ?1 ORDER BY id LIMIT 1",
    )?;
    query.query_row([id], |row| row.get(0)).optional()
}

/// A new identifier, as yet a person of its own.
pub(super) fn add(db: &Connection, id: Node, identifier: &Identifier<'_>) -> Result<()> {
    db.prepare_cached("INSERT INTO identifier VALUES (?1, ?2, ?3, ?1)")?.execute(params![
        id,
        identifier.kind.number(),
        identifier.value
    ])?;
    Ok(())
}

/// The person that an identifier belongs to, by the number of its first.
pub(super) fn person(db: &Connection, node: Node) -> Result<Node> {
    db.prepare_cached("SELECT person FROM identifier WHERE id = ?1")?
        .query_row([node], |row| row.get(0))
}

/// A person's identifiers, in the order in which they came up. Two queries: of one with `UNION` SQLite makes a new plan for
/// every person, which takes longer than reading it.
pub(super) fn members(db: &Connection, person: Node) -> Result<Vec<(Node, Identifier<'static>)>> {
    let mut members = Vec::new();
    for query in [
        "SELECT id, kind, value FROM identifier WHERE id = ?1 AND person = ?1",
        "SELECT id, kind, value FROM identifier WHERE person = ?1 AND person <> id ORDER BY id",
    ] {
        let mut query = db.prepare_cached(query)?;
        let rows = query.query_map([person], |row| {
            let kind = Kind::from_number(row.get(1)?).unwrap_or(Kind::Anonymous);
            Ok((row.get(0)?, Identifier { kind, value: row.get::<_, String>(2)?.into() }))
        })?;
        for row in rows {
            members.push(row?);
        }
    }
    Ok(members)
}

/// A person's identifiers by number, in the order in which they came up.
pub(super) fn nodes(db: &Connection, person: Node) -> Result<Vec<Node>> {
    let mut nodes = vec![person];
    let query = "SELECT id FROM identifier WHERE person = ?1 AND person <> id ORDER BY id";
    let mut query = db.prepare_cached(query)?;
    let rows = query.query_map([person], |row| row.get(0))?;
    for row in rows {
        nodes.push(row?);
    }
    Ok(nodes)
}

/// How many identifiers of each kind a person has.
fn tally(db: &Connection, person: Node) -> Result<Tally> {
    let mut tally = Tally::of([kind(db, person)?]);
    let mut query =
        db.prepare_cached("SELECT kind FROM identifier WHERE person = ?1 AND person <> id")?;
    let kinds = query.query_map([person], |row| row.get(0))?;
    for number in kinds {
        tally.add(&Tally::of(Kind::from_number(number?)));
    }
    Ok(tally)
}

/// Whether this was said before, whatever became of it.
pub(super) fn is_known(db: &Connection, a: Node, b: Node) -> Result<bool> {
    let (a, b) = (a.min(b), a.max(b));
    db.prepare_cached("SELECT 1 FROM edge WHERE a = ?1 AND b = ?2")?.exists([a, b])
}

/// Says that two identifiers are one person; what becomes of it. Said again it changes nothing, unless someone orders it: then what
/// was refused counts anew, with its old number, and what an operator took back if it is an operator again.
pub(super) fn link(db: &Connection, limits: &Limits, edge: Edge) -> Result<State> {
    if let Some(known) = edge_between(db, edge.a, edge.b)? {
        if let Some(at) = edge.proven {
            mark_proven(db, [edge.a, edge.b], at)?;
        }
        let stands = match known.state {
            State::Accepted => true,
            State::Refused(_) => !edge.ordered || known.ordered,
            State::Retracted => edge.via != OPERATOR,
        };
        if stands {
            return Ok(known.state);
        }
        let reopen = "UPDATE edge SET ordered = 1, via = ?2, time = ?3, source = ?4, trusted = ?5, state = 'refused' WHERE id = ?1";
        db.prepare_cached(reopen)?.execute(params![
            known.id,
            edge.via,
            edge.time_ms,
            edge.source,
            edge.trusted
        ])?;
        settle(db, limits, [edge.a, edge.b])?;
        let now = edge_between(db, edge.a, edge.b)?;
        return Ok(now.map_or(State::Retracted, |edge| edge.state));
    }
    let people = [Joining::of(db, edge.a)?, Joining::of(db, edge.b)?];
    Ok(link_first(db, limits, edge, people)?.state)
}

/// What has come of a statement.
pub(super) struct Linked {
    pub(super) state: State,
    /// Whoever the first of the two belongs to now.
    pub(super) now: Joining,
    /// Whoever was parted from others by it.
    pub(super) parted: Vec<Node>,
}

/// The same of two about whom nobody said it before, whose people these are.
pub(super) fn link_first(
    db: &Connection,
    limits: &Limits,
    edge: Edge,
    people: [Joining; 2],
) -> Result<Linked> {
    let linked = judge(db, limits, &edge, people)?;
    insert(db, &Edge { state: linked.state.clone(), ..edge })?;
    Ok(linked)
}

/// Makes two people one if that is possible; whatever is only claimed of them gives way to what is proven.
fn judge(db: &Connection, limits: &Limits, edge: &Edge, [p, q]: [Joining; 2]) -> Result<Linked> {
    let done = |state, now| Linked { state, now, parted: Vec::new() };
    if p.person == q.person {
        return Ok(done(State::Accepted, p));
    }
    match Tally::judge(&p.has, &q.has, limits, edge.ordered) {
        State::Accepted => Ok(done(State::Accepted, p.join(db, q)?)),
        State::Refused(_) if edge.proven.is_some() => make_room(db, limits, edge, [p, q]),
        state => Ok(done(state, p)),
    }
}

/// For a proven statement between two people who together would be too much. Reads no statement but those that hold between their
/// identifiers: of refused ones, anybody can have made any number.
fn make_room(
    db: &Connection,
    limits: &Limits,
    edge: &Edge,
    [p, q]: [Joining; 2],
) -> Result<Linked> {
    let mut kinds = BTreeMap::new();
    for person in [p.person, q.person] {
        let members = members(db, person)?;
        kinds.extend(members.into_iter().map(|(node, identifier)| (node, identifier.kind)));
    }
    let between = |a: Node, b: Node| {
        let found = if a == b { None } else { edge_between(db, a, b)? };
        Ok::<_, rusqlite::Error>(found.filter(|edge| edge.state == State::Accepted))
    };
    // Nearly always that is all there is to it: a till that is many customers' is asked about again and again.
    let [first_node, a, b] = [edge.a, edge.a.min(edge.b), edge.a.max(edge.b)];
    let edge = &Edge { a, b, ..edge.clone() };
    let ends = [a, b].map(|node| (node, kinds[&node]));
    let first = Firm::ways(edge)[0];
    let state = firmly(limits, ends, edge.ordered, |node| {
        let mut next = Vec::new();
        for (other, kind) in &kinds {
            let found = between(node, *other)?.filter(|edge| first.has(edge, i64::MAX));
            next.extend(found.map(|_| (*other, *kind)));
        }
        Ok::<_, rusqlite::Error>(next)
    })?;
    if state != State::Accepted {
        return Ok(Linked { state, now: p, parted: Vec::new() });
    }
    let mut edges = BTreeMap::new();
    for a in kinds.keys() {
        for b in kinds.range(a + 1..).map(|(b, _)| b) {
            edges.extend(between(*a, *b)?.map(|edge| (edge.id, edge)));
        }
    }
    // One that was said before has its number already, and does not hold.
    let refused = State::Refused(String::new());
    let before = edges.clone();
    edges.insert(edge.id, Edge { state: refused, ..edge.clone() });
    let mut judging = Judging::standing(limits, kinds, edges);
    judging.make_room(edge.id, i64::MAX);
    let people = judging.people();
    let (person_of, mut edges) = judging.verdicts();
    let state = edges.remove(&edge.id).map_or(State::Retracted, |edge| edge.state);
    write(db, &before, (&person_of, &edges))?;
    let now = person_of[&first_node];
    let parted = people.into_iter().filter(|person| *person != now && state == State::Accepted);
    let parted = parted.collect();
    Ok(Linked { state, now: Joining::of(db, first_node)?, parted })
}

/// A person who may become one with another.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    person: Node,
    has: Tally,
}

impl Joining {
    /// An identifier about which nothing was said yet.
    pub(super) fn alone(node: Node, kind: Kind) -> Self {
        Self { person: node, has: Tally::of([kind]) }
    }

    /// Whoever an identifier belongs to.
    pub(super) fn of(db: &Connection, node: Node) -> Result<Self> {
        let person = person(db, node)?;
        Ok(Self { person, has: tally(db, person)? })
    }

    /// The two become one, with the number of the first.
    fn join(self, db: &Connection, other: Self) -> Result<Self> {
        let (first, second) = match self.person < other.person {
            true => (self, other),
            false => (other, self),
        };
        if second.has.all() > 1 {
            db.prepare_cached(
                "UPDATE identifier SET person = ?1 WHERE person = ?2 AND person <> id",
            )?
            .execute([first.person, second.person])?;
        }
        db.prepare_cached("UPDATE identifier SET person = ?1 WHERE id = ?2")?
            .execute([first.person, second.person])?;
        let Self { person, mut has } = first;
        has.add(&second.has);
        Ok(Self { person, has })
    }
}

/// What was said of two before is proven now, by what has this number; what has come of it if it was not before, and now holds.
pub(super) fn prove(
    db: &Connection,
    limits: &Limits,
    [a, b]: [Node; 2],
    at: i64,
) -> Result<Option<Linked>> {
    if !mark_proven(db, [a, b], at)? {
        return Ok(None);
    }
    let edge = edge_between(db, a, b)?.filter(|edge| matches!(edge.state, State::Refused(_)));
    let Some(edge) = edge else { return Ok(None) };
    // The first is whom the caller knows.
    let edge = Edge { a, b, ..edge };
    let linked = judge(db, limits, &edge, [Joining::of(db, a)?, Joining::of(db, b)?])?;
    put_state(db, edge.id, &linked.state)?;
    Ok(Some(linked).filter(|linked| linked.state == State::Accepted))
}

/// Whether it was not before.
fn mark_proven(db: &Connection, [a, b]: [Node; 2], at: i64) -> Result<bool> {
    let (a, b) = (a.min(b), a.max(b));
    let prove = "UPDATE edge SET proven = ?3 WHERE a = ?1 AND b = ?2 AND proven IS NULL";
    Ok(db.prepare_cached(prove)?.execute([a, b, at])? > 0)
}

/// All identifiers that proven statements lead to from this one, itself included.
pub(super) fn proven(db: &Connection, node: Node) -> Result<BTreeSet<Node>> {
    let (mut found, mut next) = (BTreeSet::from([node]), vec![node]);
    while let Some(node) = next.pop() {
        for query in [
            "SELECT b FROM edge WHERE a = ?1 AND proven IS NOT NULL AND state = 'accepted'",
            "SELECT a FROM edge WHERE b = ?1 AND proven IS NOT NULL AND state = 'accepted'",
        ] {
            let mut query = db.prepare_cached(query)?;
            for other in query.query_map([node], |row| row.get(0))? {
                let other = other?;
                if found.insert(other) {
                    next.push(other);
                }
            }
        }
    }
    Ok(found)
}

/// Takes a statement back, and any that will say the same; false if it was never made, or is taken back already.
pub(super) fn retract(db: &Connection, limits: &Limits, a: Node, b: Node) -> Result<bool> {
    let known = edge_between(db, a, b)?.filter(|edge| edge.state != State::Retracted);
    let Some(known) = known else { return Ok(false) };
    db.prepare_cached("UPDATE edge SET state = 'retracted', reason = NULL WHERE id = ?1")?
        .execute([known.id])?;
    settle(db, limits, [a, b])?;
    Ok(true)
}

/// Judges all statements anew, in their order, that can have to do with these identifiers: through refused ones too, since
/// what was refused because of a statement may hold without it.
pub(super) fn settle(db: &Connection, limits: &Limits, around: [Node; 2]) -> Result<()> {
    let (nodes, edges) = around_of(db, around)?;
    let kinds = nodes.into_iter().map(|node| Ok((node, kind(db, node)?)));
    let kinds = kinds.collect::<Result<_>>()?;
    let (person_of, judged) = Judging::anew(limits, kinds, edges.clone()).verdicts();
    write(db, &edges, (&person_of, &judged))
}

/// Writes down whose these identifiers are, and what has become of these statements.
fn write(
    db: &Connection,
    before: &BTreeMap<i64, Edge>,
    (person_of, edges): (&BTreeMap<Node, Node>, &BTreeMap<i64, Edge>),
) -> Result<()> {
    for edge in edges.values().filter(|edge| before[&edge.id].state != edge.state) {
        put_state(db, edge.id, &edge.state)?;
    }
    let mut update =
        db.prepare_cached("UPDATE identifier SET person = ?2 WHERE id = ?1 AND person <> ?2")?;
    for (node, person) in person_of {
        update.execute([node, person])?;
    }
    Ok(())
}

fn put_state(db: &Connection, edge: i64, state: &State) -> Result<()> {
    let (word, reason) = state.word();
    db.prepare_cached("UPDATE edge SET state = ?2, reason = ?3 WHERE id = ?1")?
        .execute(params![edge, word, reason])?;
    Ok(())
}

fn kind(db: &Connection, node: Node) -> Result<Kind> {
    let number = db
        .prepare_cached("SELECT kind FROM identifier WHERE id = ?1")?
        .query_row([node], |row| row.get(0))?;
    Ok(Kind::from_number(number).unwrap_or(Kind::Anonymous))
}

/// The identifier of a number.
pub(crate) fn identifier(db: &Connection, node: Node) -> Result<Identifier<'static>> {
    db.prepare_cached("SELECT kind, value FROM identifier WHERE id = ?1")?.query_row(
        [node],
        |row| {
            let kind = Kind::from_number(row.get(0)?).unwrap_or(Kind::Anonymous);
            Ok(Identifier { kind, value: row.get::<_, String>(1)?.into() })
        },
    )
}

/// A graph of its own with all that can have to do with these identifiers, to try something out.
pub(super) fn copy_around(db: &Connection, around: [Node; 2]) -> Result<Connection> {
    let copy = Connection::open_in_memory()?;
    copy.execute_batch(SCHEMA)?;
    let (nodes, edges) = around_of(db, around)?;
    for node in nodes {
        let Identifier { kind, value } = identifier(db, node)?;
        copy.prepare_cached("INSERT INTO identifier VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            node,
            kind.number(),
            value,
            person(db, node)?
        ])?;
    }
    for edge in edges.values() {
        insert(&copy, edge)?;
    }
    Ok(copy)
}

fn insert(db: &Connection, edge: &Edge) -> Result<()> {
    let (word, reason) = edge.state.word();
    db.prepare_cached("INSERT INTO edge VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?
        .execute(params![
            edge.id,
            edge.a.min(edge.b),
            edge.a.max(edge.b),
            edge.via,
            edge.time_ms,
            edge.source,
            edge.trusted,
            edge.proven,
            edge.ordered,
            word,
            reason
        ])?;
    Ok(())
}

/// All identifiers that statements lead to from these, but for those taken back; and all statements about them.
fn around_of(db: &Connection, around: [Node; 2]) -> Result<(BTreeSet<Node>, BTreeMap<i64, Edge>)> {
    let (mut nodes, mut edges) = (BTreeSet::from(around), BTreeMap::new());
    let mut next = Vec::from(around);
    while let Some(node) = next.pop() {
        for edge in edges_of(db, node)? {
            if edge.state != State::Retracted {
                for end in [edge.a, edge.b] {
                    if nodes.insert(end) {
                        next.push(end);
                    }
                }
            }
            edges.insert(edge.id, edge);
        }
    }
    edges.retain(|_, edge| nodes.contains(&edge.a) && nodes.contains(&edge.b));
    Ok((nodes, edges))
}

const COLUMNS: &str = "id, a, b, via, time, source, trusted, proven, ordered, state, reason";

fn edge(row: &rusqlite::Row<'_>) -> Result<Edge> {
    let state: String = row.get(9)?;
    Ok(Edge {
        id: row.get(0)?,
        a: row.get(1)?,
        b: row.get(2)?,
        via: row.get(3)?,
        time_ms: row.get(4)?,
        source: row.get(5)?,
        trusted: row.get(6)?,
        proven: row.get(7)?,
        ordered: row.get(8)?,
        state: State::read(&state, row.get(10)?),
    })
}

fn edge_between(db: &Connection, a: Node, b: Node) -> Result<Option<Edge>> {
    let (a, b) = (a.min(b), a.max(b));
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM edge WHERE a = ?1 AND b = ?2"))?
        .query_row([a, b], edge)
        .optional()
}

/// All statements about an identifier, in their order.
pub(super) fn edges_of(db: &Connection, node: Node) -> Result<Vec<Edge>> {
    first_edges_of(db, node, i64::MAX)
}

/// The first statements about an identifier: whoever has a public key can make as many as he likes.
pub(super) fn first_edges_of(db: &Connection, node: Node, limit: i64) -> Result<Vec<Edge>> {
    let mut query = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM edge WHERE a = ?1 UNION ALL SELECT {COLUMNS} FROM edge WHERE b = ?1 ORDER BY 1 LIMIT ?2"
    ))?;
    query.query_map([node, limit], edge)?.collect()
}
