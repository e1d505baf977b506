//! What waits for time to pass: timers that an event has set, and the moments at which something that time alone moves is to be
//! looked at again. Promises the same order for the same rows. Deliberately has no clock.

use lru::LruCache;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use crate::{event_log::Offset, people::Node};

/// Timers, second looks, and what has happened that a rule may look back at.
pub(super) const SCHEMA: &str = "
    CREATE TABLE timer (
        due INTEGER NOT NULL,
        rule TEXT NOT NULL,
        node INTEGER NOT NULL,
        record INTEGER NOT NULL,
        -- When the event that set it happened.
        since INTEGER NOT NULL,
        PRIMARY KEY (due, rule, node, record)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX timer_node ON timer (node);
    CREATE TABLE look (
        rule TEXT NOT NULL,
        node INTEGER NOT NULL,
        account INTEGER NOT NULL,
        due INTEGER NOT NULL,
        PRIMARY KEY (rule, node, account)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX look_due ON look (due);
    CREATE TABLE happened (
        node INTEGER NOT NULL,
        rule TEXT NOT NULL,
        step INTEGER NOT NULL,
        time INTEGER NOT NULL,
        record INTEGER NOT NULL,
        PRIMARY KEY (node, rule, step, time, record)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE crossed (
        rule TEXT NOT NULL,
        node INTEGER NOT NULL,
        account INTEGER NOT NULL,
        PRIMARY KEY (rule, node, account)
    ) STRICT, WITHOUT ROWID;
";

/// Of how many identifiers and accounts it is remembered how rules stand: some 3 MB when full, with three rules.
const REMEMBERED: std::num::NonZeroUsize =
    std::num::NonZeroUsize::new(1 << 14).expect("it is not 0");

/// How rules stand that cross lines, so as not to ask the tables at every event. Whoever changes the tables past this forgets it.
#[derive(Debug)]
pub(super) struct Standing {
    /// By whom they are about: of one event several are asked for.
    known: LruCache<(Node, i64), Vec<(usize, Known)>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// There is a look no later than this.
    look_by: Option<i64>,
    crossed: Option<bool>,
}

impl Default for Standing {
    fn default() -> Self {
        // One that is full from the beginning would take its room from who has no such rules.
        let mut known = LruCache::unbounded();
        known.resize(REMEMBERED);
        Self { known }
    }
}

impl Standing {
    /// By the rule's place in the set.
    fn of(&mut self, rule: usize, key: (Node, i64)) -> &mut Known {
        let rules = self.known.get_or_insert_mut(key, Vec::new);
        let at = rules.iter().position(|(known, _)| *known == rule).unwrap_or_else(|| {
            rules.push((rule, Known::default()));
            rules.len() - 1
        });
        &mut rules[at].1
    }

    /// The look that there was is over.
    pub(super) fn looked(&mut self, rule: usize, key: (Node, i64)) {
        self.of(rule, key).look_by = None;
    }
}

/// A timer that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timer {
    pub(super) due_ms: i64,
    pub(super) rule: String,
    /// Who set it, by which record, and when that happened.
    pub(super) node: Node,
    pub(super) record: Offset,
    pub(super) since_ms: i64,
}

impl Timer {
    fn of(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            due_ms: row.get(0)?,
            rule: row.get(1)?,
            node: row.get(2)?,
            record: Offset::from_number(row.get(3)?),
            since_ms: row.get(4)?,
        })
    }
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A timer.
    Timer(Timer),
    /// A second look.
    Look { due_ms: i64, rule: String, node: Node, account: i64 },
}

impl Due {
    pub(super) fn at(&self) -> i64 {
        match self {
            Self::Timer(Timer { due_ms, .. }) | Self::Look { due_ms, .. } => *due_ms,
        }
    }
}

/// All timers, in the order in which they ring.
pub(super) fn timers(db: &Connection) -> Result<Vec<Timer>> {
    let query = "SELECT due, rule, node, record, since FROM timer ORDER BY due, rule, node, record";
    let mut query = db.prepare_cached(query)?;
    query.query_map([], Timer::of)?.collect()
}

/// What is due first.
pub(super) fn first(db: &Connection) -> Result<Option<Due>> {
    let timer =
        "SELECT due, rule, node, record, since FROM timer ORDER BY due, rule, node, record LIMIT 1";
    let timer = db.prepare_cached(timer)?.query_row([], Timer::of);
    let look =
        "SELECT due, rule, node, account FROM look ORDER BY due, rule, node, account LIMIT 1";
    let look = db.prepare_cached(look)?.query_row([], |row| {
        Ok(Due::Look {
            due_ms: row.get(0)?,
            rule: row.get(1)?,
            node: row.get(2)?,
            account: row.get(3)?,
        })
    });
    Ok(match (timer.optional()?.map(Due::Timer), look.optional()?) {
        (Some(timer), Some(look)) if look.at() < timer.at() => Some(look),
        (timer, look) => timer.or(look),
    })
}

/// Takes it off the list.
pub(super) fn done(db: &Connection, due: &Due) -> Result<()> {
    match due {
        Due::Timer(Timer { due_ms, rule, node, record, .. }) => {
            let delete =
                "DELETE FROM timer WHERE due = ?1 AND rule = ?2 AND node = ?3 AND record = ?4";
            db.prepare_cached(delete)?.execute(params![due_ms, rule, node, record.to_number()])?;
        }
        Due::Look { rule, node, account, .. } => {
            let delete = "DELETE FROM look WHERE rule = ?1 AND node = ?2 AND account = ?3";
            db.prepare_cached(delete)?.execute(params![rule, node, account])?;
        }
    }
    Ok(())
}

/// Sets a timer.
pub(super) fn set(
    db: &Connection,
    (due_ms, since_ms): (i64, i64),
    rule: &str,
    node: Node,
    record: Offset,
) -> Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO timer VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![due_ms, rule, node, record.to_number(), since_ms])?;
    Ok(())
}

/// Sees to it that there is a look by then; whether there was none so soon.
pub(super) fn look_by(
    db: &Connection,
    standing: &mut Standing,
    (number, rule): (usize, &str),
    (node, account): (Node, i64),
    due_ms: i64,
) -> Result<bool> {
    let known = standing.of(number, (node, account));
    if known.look_by.is_some_and(|known| known <= due_ms) {
        return Ok(false);
    }
    let upsert = "INSERT INTO look VALUES (?1, ?2, ?3, ?4)
                  ON CONFLICT DO UPDATE SET due = excluded.due WHERE excluded.due < due";
    let changed = db.prepare_cached(upsert)?.execute(params![rule, node, account, due_ms])?;
    known.look_by = Some(due_ms);
    Ok(changed > 0)
}

/// Notes that a step of a rule has happened, and forgets what is too old to matter.
pub(super) fn note(
    db: &Connection,
    (rule, step): (&str, usize),
    node: Node,
    (time_ms, record): (i64, Offset),
    forget_before_ms: i64,
) -> Result<()> {
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    db.prepare_cached("INSERT OR IGNORE INTO happened VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![node, rule, step, time_ms, record.to_number()])?;
    let delete = "DELETE FROM happened WHERE node = ?1 AND rule = ?2 AND step = ?3 AND time < ?4";
    db.prepare_cached(delete)?.execute(params![node, rule, step, forget_before_ms])?;
    Ok(())
}

/// When a step of a rule has happened to somebody, after one moment and before another: the latest first.
pub(super) fn happened(
    db: &Connection,
    (rule, step): (&str, usize),
    nodes: &[Node],
    (from, to): ((i64, Offset), (i64, Offset)),
) -> Result<Vec<(i64, Offset)>> {
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    let query = "SELECT time, record FROM happened WHERE node = ?1 AND rule = ?2 AND step = ?3
                 AND (time, record) > (?4, ?5) AND (time, record) < (?6, ?7)";
    let mut query = db.prepare_cached(query)?;
    let mut all = Vec::new();
    for node in nodes {
        let (after, before) = (from.1.to_number(), to.1.to_number());
        let rows = query
            .query_map(params![node, rule, step, from.0, after, to.0, before], |row| {
                Ok((row.get(0)?, Offset::from_number(row.get(1)?)))
            })?;
        for row in rows {
            all.push(row?);
        }
    }
    all.sort_unstable_by_key(|it| std::cmp::Reverse(*it));
    Ok(all)
}

/// Whether a rule is beyond its line for any of these.
pub(super) fn is_crossed(
    db: &Connection,
    standing: &mut Standing,
    (number, rule): (usize, &str),
    keys: &[(Node, i64)],
) -> Result<bool> {
    let query = "SELECT 1 FROM crossed WHERE rule = ?1 AND node = ?2 AND account = ?3";
    for key in keys {
        let known = standing.of(number, *key);
        let is_crossed = match known.crossed {
            Some(is_crossed) => is_crossed,
            None => db.prepare_cached(query)?.exists(params![rule, key.0, key.1])?,
        };
        known.crossed = Some(is_crossed);
        if is_crossed {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn cross(
    db: &Connection,
    standing: &mut Standing,
    (number, rule): (usize, &str),
    key: (Node, i64),
) -> Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO crossed VALUES (?1, ?2, ?3)")?
        .execute(params![rule, key.0, key.1])?;
    standing.of(number, key).crossed = Some(true);
    Ok(())
}

pub(super) fn rearm(
    db: &Connection,
    standing: &mut Standing,
    (number, rule): (usize, &str),
    keys: &[(Node, i64)],
) -> Result<()> {
    let delete = "DELETE FROM crossed WHERE rule = ?1 AND node = ?2 AND account = ?3";
    for key in keys {
        db.prepare_cached(delete)?.execute(params![rule, key.0, key.1])?;
        standing.of(number, *key).crossed = Some(false);
    }
    Ok(())
}
