//! One record after the other becomes people: who is who, what each is known for, what each did when, who belongs to which
//! account. Promises the same tables for the same log, however it is cut into transactions. Deliberately has no clock, no
//! randomness and no idea of time but the log's.

use std::{fmt::Write as _, sync::Arc};

use lru::LruCache;
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::{
    graph::{self, Joining, Node},
    identifier::{Identifier, Kind},
    limits::Limits,
    numbers::{Numbers, is_proven},
    orders::{self, Order},
    said::{Call, Said},
    seen::{About, CLAIM, Heard, Seen, TRAIT},
    texts::{Texts, searchable},
    trial,
};
use crate::event_log::{Offset, Origin, Record, Timestamp, Trust};

/// The tables beside those of [`graph`].
pub(super) const SCHEMA: &str = "
    CREATE TABLE seen (
        id INTEGER PRIMARY KEY,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        events INTEGER NOT NULL,
        sessions INTEGER NOT NULL,
        session TEXT,
        about TEXT NOT NULL
    ) STRICT;
    CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE moment (
        identifier INTEGER NOT NULL,
        time INTEGER NOT NULL,
        record INTEGER NOT NULL,
        call TEXT NOT NULL,
        name INTEGER NOT NULL,
        -- 0 of what the collector has derived.
        own INTEGER NOT NULL,
        PRIMARY KEY (identifier, time, record)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE account (
        id INTEGER PRIMARY KEY,
        value TEXT NOT NULL UNIQUE,
        -- In lower case, to be found by.
        name TEXT,
        about TEXT NOT NULL
    ) STRICT;
    CREATE INDEX account_name ON account (name) WHERE name IS NOT NULL;
    CREATE TABLE membership (
        account INTEGER NOT NULL,
        identifier INTEGER NOT NULL,
        record INTEGER NOT NULL,
        time INTEGER NOT NULL,
        PRIMARY KEY (account, identifier)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX membership_identifier ON membership (identifier);
    CREATE TABLE decision (
        identifier INTEGER NOT NULL,
        record INTEGER NOT NULL,
        PRIMARY KEY (identifier, record)
    ) STRICT, WITHOUT ROWID;
";

/// Kept in memory of what was looked up last: what a busy hour's people need, some 15 MB when full.
const REMEMBERED: usize = 1 << 13;

/// Whether an identifier in a record of this time is of somebody who was erased later: others' records may name it.
pub(crate) type Gone = Arc<dyn Fn(&Identifier<'_>, Timestamp) -> bool + Send + Sync>;

/// What a record was to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Folded {
    /// Nothing, or nothing that anyone did.
    Nothing,
    /// Someone did this.
    Event {
        /// By the surest identifier.
        main: Node,
        /// `track`, `page`, …
        call: &'static str,
        /// Of what happened, or of the page or screen.
        name: String,
        /// Whether it said something new about who is who.
        linked: bool,
        /// Whoever was parted from others by it, because what was claimed has given way to what it proves.
        parted: Vec<Node>,
    },
    /// An operator has decided about these two.
    Decided([Node; 2]),
}

/// The fold, and what it remembers between records so as not to ask the database again.
pub(crate) struct Fold {
    limits: Limits,
    gone: Gone,
    nodes: LruCache<Box<str>, Node>,
    /// And whether it was proven.
    pairs: LruCache<(Node, Node), bool>,
    seen: LruCache<Node, Seen>,
    /// Of `seen`, what the database has not.
    changed: Vec<Node>,
    accounts: LruCache<Box<str>, i64>,
    /// And since when.
    memberships: LruCache<(i64, Node), i64>,
    names: LruCache<Box<str>, i64>,
    texts: Texts,
    /// Whoever the record has parted from others.
    parted: Vec<Node>,
    key: String,
}

fn remembered<K: std::hash::Hash + Eq, V>() -> LruCache<K, V> {
    LruCache::unbounded()
}

impl Fold {
    pub(crate) fn new(limits: Limits, gone: Gone) -> Self {
        Self {
            limits,
            gone,
            nodes: remembered(),
            pairs: remembered(),
            seen: remembered(),
            changed: Vec::new(),
            accounts: remembered(),
            memberships: remembered(),
            names: remembered(),
            texts: Texts::default(),
            parted: Vec::new(),
            key: String::new(),
        }
    }

    /// Folds one record in, within a transaction of the caller's.
    pub(crate) fn record(&mut self, db: &Connection, record: &Record) -> Result<Folded> {
        if record.flags.erased {
            return Ok(Folded::Nothing);
        }
        if record.flags.test {
            self.try_out(db, record)?;
            return Ok(Folded::Nothing);
        }
        if let Some(order) = Order::of(record) {
            return self.obey(db, record, &order);
        }
        if orders::is_ours(record) {
            return Ok(Folded::Nothing);
        }
        let Some(mut said) = Said::of(record) else { return Ok(Folded::Nothing) };
        said.identifiers.retain(|identifier| self.counts(identifier, record));
        if said.identifiers.is_empty() {
            self.note_claims(db, record, &said, None)?;
            return Ok(Folded::Nothing);
        }
        let mut numbers = Numbers::of(record);
        let nodes = said
            .identifiers
            .iter()
            .map(|identifier| self.node(db, &mut numbers, identifier))
            .collect::<Result<Vec<_>>>()?;
        let main = nodes[0];
        let via = said.call.as_str();
        // Whom it belongs to, once that is known.
        let (mut whose, mut linked) = (numbers.alone(main), false);
        self.parted.clear();
        for node in &nodes[1..] {
            linked |= self.link(db, &mut numbers, record, (main, &mut whose), *node, via)?;
        }
        if let Call::Alias(Some(previous)) = &said.call {
            linked |= self.alias(db, &mut numbers, record, (main, &mut whose), previous)?;
        }
        self.note_claims(db, record, &said, Some(main))?;
        self.count(db, record, &said, &nodes)?;
        if let Some(group) = &said.group {
            self.join(db, record, &said, main, group)?;
        }
        let (call, name) = (said.call.as_str(), said.name.into_owned());
        Ok(Folded::Event { main, call, name, linked, parted: std::mem::take(&mut self.parted) })
    }

    /// A test counts for nobody, and is found again.
    fn try_out(&self, db: &Connection, record: &Record) -> Result<()> {
        let Some(said) = Said::of(record) else { return Ok(()) };
        let named = said.identifiers.iter().chain(&said.claims);
        for identifier in named.filter(|it| self.counts(it, record)) {
            trial::note(db, identifier, record.offset)?;
        }
        Ok(())
    }

    /// Whom a record names without proof, and who is not known to have done it, is found to be named there.
    fn note_claims(
        &self,
        db: &Connection,
        record: &Record,
        said: &Said<'_>,
        main: Option<Node>,
    ) -> Result<()> {
        for claim in said.claims.iter().filter(|it| self.counts(it, record)) {
            if let Some(main) = main
                && let Some(node) = graph::find(db, claim)?
                && graph::person(db, node)? == graph::person(db, main)?
            {
                continue;
            }
            trial::note(db, claim, record.offset)?;
        }
        Ok(())
    }

    /// Whether an identifier in this record names somebody.
    fn counts(&self, identifier: &Identifier<'_>, record: &Record) -> bool {
        !self.limits.blocks(identifier) && !(self.gone)(identifier, record.received_at)
    }

    /// What someone decided about who is who.
    fn obey(&mut self, db: &Connection, record: &Record, order: &Order) -> Result<Folded> {
        let mut numbers = Numbers::of(record);
        match order {
            Order::Merge(a, b) => {
                let a = self.node(db, &mut numbers, a)?;
                let b = self.node(db, &mut numbers, b)?;
                decided(db, record, [a, b])?;
                self.order(db, &mut numbers, record, [a, b], graph::OPERATOR)?;
                Ok(Folded::Decided([a, b]))
            }
            Order::Unmerge(a, b) => {
                let (Some(a), Some(b)) = (graph::find(db, a)?, graph::find(db, b)?) else {
                    return Ok(Folded::Nothing);
                };
                decided(db, record, [a, b])?;
                graph::retract(db, &self.limits, a, b)?;
                Ok(Folded::Decided([a, b]))
            }
        }
    }

    /// The number of an identifier, which is new if nobody brought it up before.
    fn node(
        &mut self,
        db: &Connection,
        numbers: &mut Numbers,
        identifier: &Identifier<'_>,
    ) -> Result<Node> {
        self.key.clear();
        let _ = write!(self.key, "{}{}", identifier.kind.number(), identifier.value);
        if let Some(node) = self.nodes.get(self.key.as_str()) {
            return Ok(*node);
        }
        let node = match graph::find(db, identifier)? {
            Some(node) => node,
            None => {
                let node = numbers.next(identifier.kind);
                graph::add(db, node, identifier)?;
                // It cannot be in the database.
                self.seen.put(node, Seen::default());
                node
            }
        };
        self.nodes.put(self.key.as_str().into(), node);
        Ok(node)
    }

    /// Says that an event's main identifier, whose person is told as far as it is known, and another of it are one person.
    fn link(
        &mut self,
        db: &Connection,
        numbers: &mut Numbers,
        record: &Record,
        (main, whose): (Node, &mut Option<Joining>),
        other: Node,
        via: &str,
    ) -> Result<bool> {
        let proven = is_proven(record);
        // Taken even where nothing comes of it: numbers must not depend on what is remembered.
        let number = numbers.statement();
        // That it was said is remembered.
        let said_before = self.pairs.get(&(main, other)).copied();
        if main == other || said_before.is_some_and(|before| before || !proven) {
            return Ok(false);
        }
        // Of what a record brings up nobody can have spoken before, and it says each pair once.
        let is_new = numbers.alone(main).is_some() || numbers.alone(other).is_some();
        let mut is_said = is_new || !graph::is_known(db, main, other)?;
        if is_said {
            let whom =
                |known: Option<Joining>, node| known.map_or_else(|| Joining::of(db, node), Ok);
            let people = [whom(whose.take(), main)?, whom(numbers.alone(other), other)?];
            let ordered = false;
            let edge = numbers.edge(number, record, [main, other], via, ordered);
            let linked = graph::link_first(db, &self.limits, edge, people)?;
            self.parted.extend(linked.parted);
            *whose = Some(linked.now);
        } else if proven
            && let Some(linked) = graph::prove(db, &self.limits, [main, other], number)?
        {
            is_said = true;
            self.parted.extend(linked.parted);
            *whose = Some(linked.now);
        }
        self.pairs.put((main, other), proven);
        Ok(is_said)
    }

    /// Says that two are one person because someone decided so, which counts whenever it is said.
    fn order(
        &mut self,
        db: &Connection,
        numbers: &mut Numbers,
        record: &Record,
        [a, b]: [Node; 2],
        via: &str,
    ) -> Result<bool> {
        if a != b {
            let ordered = true;
            let number = numbers.statement();
            let edge = numbers.edge(number, record, [a, b], via, ordered);
            graph::link(db, &self.limits, edge)?;
            self.pairs.put((a, b), true);
        }
        Ok(a != b)
    }

    /// Says that a person was known by another id before: a user's if there is one, else a device's. A source that nobody can
    /// forge decides it; what a public key says is held to the limits.
    fn alias(
        &mut self,
        db: &Connection,
        numbers: &mut Numbers,
        record: &Record,
        (main, whose): (Node, &mut Option<Joining>),
        previous: &str,
    ) -> Result<bool> {
        let Some(user) = Identifier::new(Kind::User, previous) else { return Ok(false) };
        let Some(device) = Identifier::new(Kind::Anonymous, previous) else { return Ok(false) };
        if !self.counts(&user, record) || !self.counts(&device, record) {
            return Ok(false);
        }
        // Whoever uses a device that is shared is not whoever used it before, whoever says so.
        let (previous, is_user) = match graph::find(db, &user)? {
            Some(node) => (node, true),
            None => (self.node(db, numbers, &device)?, false),
        };
        if is_user && record.trust == Trust::Server {
            return self.order(db, numbers, record, [main, previous], "alias");
        }
        self.link(db, numbers, record, (main, whose), previous, "alias")
    }

    /// Puts the event on its identifier's timeline and takes in what it says.
    fn count(
        &mut self,
        db: &Connection,
        record: &Record,
        said: &Said<'_>,
        nodes: &[Node],
    ) -> Result<()> {
        let time = record.event_time.unix_ms();
        let main = nodes[0];
        // Who logs in does so in the session that the device was in before.
        let mut goes_on = false;
        for node in nodes {
            let seen = self.seen(db, *node)?;
            goes_on |= match &said.session {
                Some(session) => seen.session.as_deref() == Some(session),
                None => !seen.was_quiet(time),
            };
        }
        let is_visit = record.trust == Trust::Client || said.session.is_some();
        let mut changes = Vec::new();
        let seen = self.seen(db, main)?;
        let is_new_session = is_visit && !goes_on;
        // What the collector itself derives, as that somebody was written to, nobody has done.
        let is_own = !matches!(record.origin, Origin::Derived { .. });
        if is_own {
            seen.count(time, &record.source, is_new_session);
        }
        if let Some(session) = &said.session {
            seen.session = Some(session.to_string());
        }
        for (name, json) in &said.facts {
            let _ = seen.about.take(name, Heard::of(json, record));
        }
        for (name, json) in &said.traits {
            let heard = Heard::of(json, record);
            // Nobody is found by a claim.
            if said.is_claimed {
                let _ = seen.about.take(&format!("{CLAIM}{name}"), heard);
            } else if let Some(before) = seen.about.take(&format!("{TRAIT}{name}"), heard) {
                let before = before.map(|fact| searchable(fact.json())).unwrap_or_default();
                changes.push((name, before, searchable(json)));
            }
        }
        self.changed.push(main);
        self.texts.make_room(db, record.offset)?;
        for (name, before, now) in changes {
            self.texts.change(db, (main, name), &before, now)?;
        }
        // The others are in the same session, without an event of their own.
        if let Some(session) = &said.session {
            for node in &nodes[1..] {
                let other = self.seen(db, *node)?;
                if other.session.as_deref() != Some(session) {
                    other.session = Some(session.to_string());
                    self.changed.push(*node);
                }
            }
        }
        let name = self.name(db, &said.name)?;
        db.prepare_cached("INSERT OR IGNORE INTO moment VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                main,
                time,
                record.offset.to_number(),
                said.call.as_str(),
                name,
                is_own
            ])?;
        Ok(())
    }

    /// What is known of an identifier, to be changed: say so in `changed`.
    fn seen(&mut self, db: &Connection, node: Node) -> Result<&mut Seen> {
        if !self.seen.contains(&node) {
            let seen = read_seen(db, node)?.unwrap_or_default();
            self.seen.put(node, seen);
        }
        Ok(self.seen.get_mut(&node).expect("it was put there if it was not"))
    }

    fn name(&mut self, db: &Connection, text: &str) -> Result<i64> {
        if let Some(id) = self.names.get(text) {
            return Ok(*id);
        }
        let find = "SELECT id FROM name WHERE text = ?1";
        let id = db.prepare_cached(find)?.query_row([text], |row| row.get(0)).optional()?;
        let id = match id {
            Some(id) => id,
            None => {
                db.prepare_cached("INSERT INTO name (text) VALUES (?1)")?.execute([text])?;
                db.last_insert_rowid()
            }
        };
        self.names.put(text.into(), id);
        Ok(id)
    }

    /// Makes the person one of an account, and takes in what is said of that.
    fn join(
        &mut self,
        db: &Connection,
        record: &Record,
        said: &Said<'_>,
        main: Node,
        group: &str,
    ) -> Result<()> {
        let account = match self.accounts.get(group) {
            Some(account) => *account,
            None => {
                let find = "SELECT id FROM account WHERE value = ?1";
                let known =
                    db.prepare_cached(find)?.query_row([group], |row| row.get(0)).optional()?;
                let account = match known {
                    Some(account) => account,
                    None => {
                        let account = record.offset.to_number();
                        db.prepare_cached("INSERT INTO account VALUES (?1, ?2, NULL, '{}')")?
                            .execute(params![account, group])?;
                        account
                    }
                };
                self.accounts.put(group.into(), account);
                account
            }
        };
        let time = record.event_time.unix_ms();
        if !said.group_traits.is_empty() {
            let about = "SELECT about FROM account WHERE id = ?1";
            let about: String = db.prepare_cached(about)?.query_row([account], |row| row.get(0))?;
            let mut about: About = serde_json::from_str(&about).unwrap_or_default();
            for (name, json) in &said.group_traits {
                let _ = about.take(&format!("{TRAIT}{name}"), Heard::of(json, record));
            }
            save_account(db, account, &about)?;
        }
        // The earliest counts, whenever it arrives.
        if self.memberships.get(&(account, main)).is_none_or(|since| time < *since) {
            db.prepare_cached(
                "INSERT INTO membership VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET record = excluded.record, time = excluded.time WHERE excluded.time < time",
            )?
            .execute(params![account, main, record.offset.to_number(), time])?;
            self.memberships.put((account, main), time);
        }
        Ok(())
    }

    /// Writes what has changed, before the caller commits.
    pub(crate) fn flush(&mut self, db: &Connection) -> Result<()> {
        self.changed.sort_unstable();
        self.changed.dedup();
        let mut write = db.prepare_cached(
            "INSERT INTO seen VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id) DO UPDATE SET first = excluded.first, last = excluded.last, events = excluded.events,
             sessions = excluded.sessions, session = excluded.session, about = excluded.about",
        )?;
        for node in &self.changed {
            let Some(seen) = self.seen.peek(node) else { continue };
            write.execute(params![
                node,
                seen.first_ms,
                seen.last_ms,
                seen.events.cast_signed(),
                seen.sessions.cast_signed(),
                seen.session,
                text_of(&seen.about),
            ])?;
        }
        drop(write);
        self.changed.clear();
        shrink(&mut self.nodes);
        shrink(&mut self.pairs);
        shrink(&mut self.seen);
        shrink(&mut self.accounts);
        shrink(&mut self.memberships);
        shrink(&mut self.names);
        Ok(())
    }

    /// Whether anything waits to be found.
    pub(crate) fn waits(&self) -> bool {
        self.texts.wait()
    }

    /// Once all of the log is folded, up to here: makes what waits for it to be found. Whether anything did.
    pub(crate) fn gather(&mut self, db: &Connection, applied: Offset) -> Result<bool> {
        self.texts.gather(db, applied)
    }

    /// Forgets all: what was folded since the last commit was not kept, or someone else has changed the tables.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.limits.clone(), Gone::clone(&self.gone));
    }
}

/// Writes what is known of an account, and what it is found by.
pub(super) fn save_account(db: &Connection, account: i64, about: &About) -> Result<()> {
    let name = about.facts.get(&format!("{TRAIT}name"));
    let name = name.and_then(|name| searchable(name.json()).into_iter().next());
    db.prepare_cached("UPDATE account SET name = ?2, about = ?3 WHERE id = ?1")?
        .execute(params![account, name, text_of(about)])?;
    Ok(())
}

/// Notes in which record someone decided about an identifier.
fn decided(db: &Connection, record: &Record, nodes: [Node; 2]) -> Result<()> {
    let mut note = db.prepare_cached("INSERT OR IGNORE INTO decision VALUES (?1, ?2)")?;
    for node in nodes {
        note.execute([node, record.offset.to_number()])?;
    }
    Ok(())
}

fn shrink<K: std::hash::Hash + Eq, V>(cache: &mut LruCache<K, V>) {
    while cache.len() > REMEMBERED {
        cache.pop_lru();
    }
}

fn text_of(about: &About) -> String {
    serde_json::to_string(about).expect("maps of texts to JSON are JSON")
}

pub(super) fn read_seen(db: &Connection, node: Node) -> Result<Option<Seen>> {
    let mut query = db.prepare_cached(
        "SELECT first, last, events, sessions, session, about FROM seen WHERE id = ?1",
    )?;
    let seen = query.query_row([node], |row| {
        let about: String = row.get(5)?;
        Ok(Seen {
            first_ms: row.get(0)?,
            last_ms: row.get(1)?,
            events: row.get::<_, i64>(2)?.cast_unsigned(),
            sessions: row.get::<_, i64>(3)?.cast_unsigned(),
            session: row.get(4)?,
            about: serde_json::from_str(&about).unwrap_or_default(),
        })
    });
    seen.optional()
}
