//! What rules came to: firings, each with its reasons, and what is to be done because of them.
//! Promises that one firing is written once, however often the same log is folded. Deliberately sends nothing: see `actions`.

use rusqlite::{Connection, Result, ToSql, params};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::rule::{Do, Rule};
use crate::{
    event_log::{Offset, Timestamp},
    people::{Node, Whole},
};

/// Said of what a rule says of the past: it is on record, and nothing is done.
pub(super) const BEFORE: &str = "before the rule came into force";

/// Said of a message that a cap does not let through.
pub(super) const CAPPED: &str = "the person is written to as often as the cap allows";

/// Firings and actions.
pub(super) const SCHEMA: &str = "
    CREATE TABLE firing (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        rule TEXT NOT NULL,
        revision INTEGER NOT NULL,
        node INTEGER NOT NULL,
        account INTEGER NOT NULL,
        at INTEGER NOT NULL,
        record INTEGER NOT NULL,
        depth INTEGER NOT NULL,
        position INTEGER NOT NULL,
        held TEXT,
        why TEXT NOT NULL,
        -- 1: a rule as it was before did it.
        earlier INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX firing_node ON firing (node, rule, at);
    CREATE INDEX firing_account ON firing (account, rule, at) WHERE account <> 0;
    CREATE INDEX firing_rule ON firing (rule, number);
    CREATE INDEX firing_record ON firing (record);
    CREATE TABLE action (
        id TEXT PRIMARY KEY,
        firing INTEGER NOT NULL,
        what TEXT NOT NULL,
        kind TEXT NOT NULL,
        -- What it goes by: those of one do not wait for another's.
        lane TEXT NOT NULL,
        -- Not before then: somebody's night.
        after INTEGER NOT NULL,
        state TEXT NOT NULL,
        detail TEXT,
        expires INTEGER NOT NULL,
        done INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX action_firing ON action (firing);
    CREATE INDEX action_pending ON action (lane, firing, id) WHERE state = 'pending';
";

/// One time that a rule was so.
#[derive(Clone, Debug)]
pub(super) struct Firing<'a> {
    pub(super) rule: &'a Rule,
    pub(super) whose: &'a Whole,
    /// The identifier that did it; of a score that crossed a line, the person's first.
    pub(super) node: Node,
    /// When it was so.
    pub(super) at_ms: i64,
    /// The event that began it; none where only time did.
    pub(super) record: Option<Offset>,
    /// How many rules stand between it and an event that was sent.
    pub(super) depth: u8,
    /// How far the log was read.
    pub(super) position: Offset,
    /// Why nothing is done.
    pub(super) held: Option<&'static str>,
    pub(super) why: Json,
    /// Of each action, by its place.
    pub(super) fates: Vec<Fate>,
}

/// Whether an action may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not before then, in milliseconds of unix time.
    After(i64),
    /// Never, for this reason.
    Withheld(String),
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionState {
    /// It is still to be done.
    Pending,
    /// The destination has it.
    Accepted,
    /// The destination will never take it, or there is nothing that could be sent to it.
    Refused,
    /// It is not wanted: by the person, or by who runs the collector. Nothing is broken.
    Withheld,
    /// It could not be done while it was of use.
    Expired,
    /// It may have been done: the answer was lost.
    Unknown,
}

impl ActionState {
    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Withheld => "withheld",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    /// What an action comes to in the end.
    pub const ENDS: [Self; 5] =
        [Self::Accepted, Self::Refused, Self::Withheld, Self::Expired, Self::Unknown];

    /// Back from the word and what was said with it. What a log has from before there was
    /// `withheld` says `refused` of it.
    pub(crate) fn read(word: &str, detail: Option<&str>) -> Option<Self> {
        let mut all = std::iter::once(Self::Pending).chain(Self::ENDS);
        let state = all.find(|state| state.as_str() == word)?;
        let was_withheld = state == Self::Refused && detail.is_some_and(is_withheld);
        Some(if was_withheld { Self::Withheld } else { state })
    }
}

/// Whether something was not done for a reason of the person's, or of who runs the collector.
fn is_withheld(detail: &str) -> bool {
    let known = [
        super::earlier::GONE,
        "no address of the person is known",
        "no number of the person is known",
        "the person was erased",
    ];
    known.contains(&detail)
        || detail.starts_with(CAPPED)
        || detail.starts_with("the person does not want to be written to by ")
        || detail.contains(" is on the suppression list: ")
}

impl Firing<'_> {
    /// The same for the same log: of the rule, its revision, whom it is about, and what began it. The moment is of it only where time
    /// alone did: a rule that waits longer than before must not say the same again because of the same event.
    fn id(&self) -> String {
        let account = self.whose.account.as_ref().map_or(0, |(number, _)| *number);
        let record = self.record.map_or(0, Offset::to_number);
        let at_ms = if record == 0 { self.at_ms } else { 0 };
        let text = format!(
            "{} {} {} {account} {record} {at_ms}",
            self.rule.name, self.rule.revision, self.node
        );
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What of it is not wanted, each with the reason.
    pub(super) fn withheld(&self) -> impl Iterator<Item = (&Do, &str)> {
        let all = self.rule.then.iter().zip(&self.fates);
        all.filter_map(|(deed, fate)| match fate {
            Fate::Withheld(why) => Some((deed, why.as_str())),
            Fate::After(_) => None,
        })
    }

    /// Writes it, and what is to be done because of it; false if it is there already.
    pub(super) fn write(&self, db: &Connection) -> Result<bool> {
        let id = self.id();
        let account = self.whose.account.as_ref().map_or(0, |(number, _)| *number);
        let insert = "INSERT OR IGNORE INTO firing (id, rule, revision, node, account, at, record, depth, position, held, why)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let written = db.prepare_cached(insert)?.execute(params![
            id,
            self.rule.name,
            self.rule.revision,
            self.node,
            account,
            self.at_ms,
            self.record.map_or(0, Offset::to_number),
            self.depth,
            self.position.to_number(),
            self.held,
            self.why.to_string(),
        ])?;
        if written == 0 || self.held.is_some() {
            return Ok(written > 0);
        }
        let firing = db.last_insert_rowid();
        for (number, deed) in self.rule.then.iter().enumerate() {
            let (after, state, detail) = match self.fates.get(number) {
                Some(Fate::After(after)) => (*after, ActionState::Pending, None),
                Some(Fate::Withheld(why)) => (0, ActionState::Withheld, Some(why.as_str())),
                None => (0, ActionState::Pending, None),
            };
            let insert = "INSERT INTO action VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL)";
            db.prepare_cached(insert)?.execute(params![
                format!("{id}.{number}"),
                firing,
                serde_json::to_string(&deed).expect("words and texts are JSON"),
                deed.kind(),
                deed.lane(),
                after,
                state.as_str(),
                detail,
                self.at_ms.max(after).saturating_add(deed.expires_ms),
            ])?;
        }
        Ok(true)
    }
}

/// How often a rule has fired for somebody since then, but for firings that do nothing, as of an import; a dry run counts as the rule would.
pub(super) fn count(db: &Connection, rule: &Rule, whose: &Whole, since_ms: i64) -> Result<u32> {
    let count = |query: &str, of: i64| -> Result<u32> {
        db.prepare_cached(query)?.query_row(params![of, rule.name, since_ms], |row| row.get(0))
    };
    if let Some((number, _)) = &whose.account {
        return count(
            "SELECT count(*) FROM firing WHERE account = ?1 AND account <> 0 AND rule = ?2 AND at > ?3 AND (held IS NULL OR held = 'dry run')",
            *number,
        );
    }
    let mut all = 0;
    for node in &whose.nodes {
        all += count(
            "SELECT count(*) FROM firing WHERE node = ?1 AND rule = ?2 AND at > ?3 AND (held IS NULL OR held = 'dry run')",
            *node,
        )?;
    }
    Ok(all)
}

/// How many messages of a kind somebody was to get since then, and when the last of these was set off.
pub(super) fn messages(
    db: &Connection,
    kind: &str,
    whose: &Whole,
    since_ms: i64,
) -> Result<(u32, Option<i64>)> {
    let query = "SELECT count(*), max(f.at) FROM firing f JOIN action a ON a.firing = f.number
                 WHERE f.node = ?1 AND f.at > ?2 AND a.kind = ?3 AND a.state NOT IN ('refused', 'withheld')";
    let (mut all, mut last) = (0, None);
    for node in &whose.nodes {
        let of_node = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u32>(0)?, row.get(1)?));
        let mut query = db.prepare_cached(query)?;
        let (count, at) = query.query_row(params![node, since_ms, kind], of_node)?;
        all += count;
        last = last.max(at);
    }
    Ok((all, last))
}

/// When a rule last fired for a person.
pub(super) fn last(db: &Connection, rule: &Rule, whose: &Whole) -> Result<Option<i64>> {
    let mut last = None;
    for node in &whose.nodes {
        let query = "SELECT max(at) FROM firing WHERE node = ?1 AND rule = ?2";
        let at: Option<i64> =
            db.prepare_cached(query)?.query_row(params![node, rule.name], |row| row.get(0))?;
        last = last.max(at);
    }
    Ok(last)
}

/// Notes what became of an action; whether it waited.
pub(super) fn settle(
    db: &Connection,
    id: &str,
    state: ActionState,
    detail: Option<&str>,
    done: Timestamp,
) -> Result<bool> {
    let update =
        "UPDATE action SET state = ?2, detail = ?3, done = ?4 WHERE id = ?1 AND state = 'pending'";
    let settled =
        db.prepare_cached(update)?.execute(params![id, state.as_str(), detail, done.unix_ms()])?;
    Ok(settled > 0)
}

/// What is to be done, and all that is known about why.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) id: String,
    /// Of its firing.
    pub(crate) number: i64,
    pub(crate) what: Do,
    pub(crate) after_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) firing: String,
    pub(crate) rule: String,
    pub(crate) revision: u32,
    pub(crate) node: Node,
    pub(crate) account: i64,
    pub(crate) at_ms: i64,
    pub(crate) record: Option<Offset>,
    pub(crate) depth: u8,
    pub(crate) why: Json,
}

/// What actions wait for, each by its own lane; nothing in a state that is of other rules, in whose place another is being made.
pub(crate) fn lanes(db: &Connection, rules: &str) -> Result<Vec<String>> {
    if !db.prepare_cached("SELECT 1 FROM projection WHERE rules = ?1")?.exists([rules])? {
        return Ok(Vec::new());
    }
    let mut query =
        db.prepare_cached("SELECT DISTINCT lane FROM action WHERE state = 'pending'")?;
    let rows = query.query_map([], |row| row.get(0))?;
    rows.collect()
}

/// Actions of a lane that wait, the earliest firing's first, after this place.
pub(crate) fn pending(
    db: &Connection,
    lane: &str,
    after: &(i64, String),
    limit: usize,
) -> Result<Vec<Pending>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let these = "a.lane = ?1 AND (a.firing, a.id) > (?2, ?3) ORDER BY a.firing, a.id LIMIT ?4";
    those_pending(db, these, params![lane, after.0, after.1, limit])
}

/// Actions of any lane that need not wait any longer then, in the order of their times.
pub(super) fn due(db: &Connection, now_ms: i64) -> Result<Vec<Pending>> {
    let these = "a.after <= ?1 ORDER BY max(a.after, f.at), a.firing, a.id";
    those_pending(db, these, params![now_ms])
}

fn those_pending(db: &Connection, these: &str, of: &[&dyn ToSql]) -> Result<Vec<Pending>> {
    let query = format!(
        "SELECT a.id, a.what, a.expires, f.id, f.rule, f.node, f.account, f.at, f.record, f.depth, f.why, a.after, a.firing, f.revision
         FROM action a JOIN firing f ON f.number = a.firing WHERE a.state = 'pending' AND {these}"
    );
    let mut query = db.prepare_cached(&query)?;
    let rows = query.query_map(of, |row| {
        let (what, why): (String, String) = (row.get(1)?, row.get(10)?);
        let record: i64 = row.get(8)?;
        let what = serde_json::from_str(&what).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into())
        })?;
        Ok(Pending {
            id: row.get(0)?,
            number: row.get(12)?,
            what,
            after_ms: row.get(11)?,
            expires_ms: row.get(2)?,
            firing: row.get(3)?,
            rule: row.get(4)?,
            revision: row.get(13)?,
            node: row.get(5)?,
            account: row.get(6)?,
            at_ms: row.get(7)?,
            record: (record > 0).then(|| Offset::from_number(record)),
            depth: row.get(9)?,
            why: serde_json::from_str(&why).unwrap_or_default(),
        })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_wanted_is_withheld_also_where_it_was_stored_as_refused() {
        use ActionState::{Pending, Refused, Withheld};
        for (word, detail, state) in [
            ("withheld", Some("anything"), Some(Withheld)),
            ("refused", Some("no address of the person is known"), Some(Withheld)),
            ("refused", Some("the person does not want to be written to by sms"), Some(Withheld)),
            ("refused", Some(CAPPED), Some(Withheld)),
            ("refused", Some("550 no such user"), Some(Refused)),
            ("refused", None, Some(Refused)),
            ("pending", Some(CAPPED), Some(Pending)),
            ("done", None, None),
        ] {
            assert_eq!(ActionState::read(word, detail), state, "{word} {detail:?}");
        }
        for state in ActionState::ENDS {
            assert_eq!(ActionState::read(state.as_str(), None), Some(state));
        }
    }
}
