//! What rules did as they were before: whoever was told stays told, and what was sent stays on record, whatever the rules say now.
//! Promises that it can be made again from the log, where each action says whose it was; that what waits when rules change goes on,
//! unless its rule says otherwise or is gone. Deliberately fires nothing.

use rusqlite::{Connection, Result, params};
use serde::Deserialize;

use super::{
    firing::{ActionState, BEFORE, Pending},
    rule::Pending as Waits,
    set::RuleSet,
};
use crate::{
    event_log::{Offset, Record, Timestamp},
    event_time,
    people::{Node, PersonId, Whole},
};

/// Said of an action that waited for its rule in vain.
pub(super) const GONE: &str =
    "its rule is gone, is switched off, or was changed with `pending = \"drop\"`";

/// Actions that will not be done, each by its rule and its kind, for who counts them.
pub(crate) type LetGo = Vec<(String, String)>;

/// What became of an action, as the log says it; all but the action and its outcome say whose firing it was.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Done {
    pub(super) action: String,
    pub(super) outcome: String,
    pub(super) detail: Option<String>,
    #[serde(default)]
    pub(super) firing: String,
    #[serde(default)]
    pub(super) rule: String,
    #[serde(default)]
    pub(super) revision: u32,
    #[serde(default)]
    kind: String,
    /// As [`Node`]s are written in `/v1/people`.
    #[serde(default)]
    person: String,
    /// The account's number, of a rule about accounts.
    #[serde(default)]
    pub(super) account: i64,
    #[serde(default)]
    at: String,
    event: Option<String>,
}

impl Done {
    /// Who began it, if that is said.
    pub(super) fn node(&self) -> Option<Node> {
        Node::from_str_radix(self.person.strip_prefix("p_")?, 16).ok()
    }
}

/// What the log is told of an action, so that it is known whose it was when rules are others.
pub(crate) fn said(
    pending: &Pending,
    state: ActionState,
    detail: Option<&str>,
) -> serde_json::Value {
    let mut said = serde_json::json!({
        "action": pending.id,
        "firing": pending.firing,
        "rule": pending.rule,
        "revision": pending.revision,
        "kind": pending.what.kind(),
        "person": format!("p_{:x}", pending.node),
        "at": Timestamp::from_unix_ms(pending.at_ms).to_string(),
        "event": pending.record.map(|offset| offset.to_string()),
        "outcome": state.as_str(),
        "detail": detail,
    });
    if pending.account != 0 {
        said["account"] = pending.account.into();
    }
    said
}

/// Whose action a record tells of, if it is what the collector says of one, and they are known still.
pub(crate) fn done_for(db: &Connection, record: &Record) -> Result<Option<PersonId>> {
    let Some((done, _)) = super::fold::done_by(record) else { return Ok(None) };
    let Some(node) = done.node() else { return Ok(None) };
    let is_known = db.prepare_cached("SELECT 1 FROM identifier WHERE id = ?1")?.exists([node])?;
    is_known.then(|| Whole::person(db, node).map(|person| person.id())).transpose()
}

/// Puts a firing on record that these rules do not know, or hold: it was there, since something came of it. One that they come to as
/// well stands as it is. Whether it is one; whose person is not known any more was erased.
pub(super) fn remember(
    db: &Connection,
    done: &Done,
    state: ActionState,
    at: Timestamp,
    position: Offset,
) -> Result<bool> {
    if db.prepare_cached("SELECT 1 FROM action WHERE id = ?1")?.exists([&done.action])? {
        return Ok(false);
    }
    let Some(node) = done.node() else { return Ok(false) };
    let is_known = "SELECT 1 FROM identifier WHERE id = ?1";
    if !db.prepare_cached(is_known)?.exists([node])? {
        return Ok(false);
    }
    let insert = "INSERT INTO firing (id, rule, revision, node, account, at, record, depth, position, held, why, earlier)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, NULL, '{}', 1)
                  ON CONFLICT (id) DO UPDATE SET held = NULL RETURNING number";
    let at_ms = event_time::parse(&done.at).map_or(0, Timestamp::unix_ms);
    let record =
        done.event.as_ref().and_then(|text| text.parse().ok()).map_or(0, Offset::to_number);
    let firing: i64 = db.prepare_cached(insert)?.query_row(
        params![
            done.firing,
            done.rule,
            done.revision,
            node,
            done.account,
            at_ms,
            record,
            position.to_number(),
        ],
        |row| row.get(0),
    )?;
    let insert =
        "INSERT INTO action (id, firing, what, kind, lane, after, state, detail, expires, done)
                  VALUES (?1, ?2, '', ?3, '', 0, ?4, ?5, 0, ?6)";
    db.prepare_cached(insert)?.execute(params![
        done.action,
        firing,
        done.kind,
        state.as_str(),
        done.detail,
        at.unix_ms(),
    ])?;
    Ok(true)
}

/// Brings what still waits from the state that was in use into the one that takes its place, and why those fired that the log tells of.
/// What of it is let go.
pub(crate) fn carry(db: &Connection, old: &std::path::Path, set: &RuleSet) -> Result<LetGo> {
    db.execute("ATTACH ?1 AS old", [old.to_string_lossy()])?;
    let carried = carry_from_old(db, set);
    // Else the file could not be replaced; a transaction that failed is over by now.
    db.execute_batch("DETACH old")?;
    carried
}

fn carry_from_old(db: &Connection, set: &RuleSet) -> Result<LetGo> {
    let change = db.unchecked_transaction()?;
    let mut query =
        change.prepare("SELECT DISTINCT firing FROM old.action WHERE state = 'pending'")?;
    let waiting: Vec<i64> = query.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    drop(query);
    for number in waiting {
        let insert = "INSERT INTO firing (id, rule, revision, node, account, at, record, depth, position, held, why, earlier)
                      SELECT id, rule, revision, node, account, at, record, depth, position, NULL, why, 1 FROM old.firing WHERE number = ?1
                      ON CONFLICT (id) DO UPDATE SET held = NULL, why = excluded.why RETURNING number";
        let firing: i64 = change.prepare_cached(insert)?.query_row([number], |row| row.get(0))?;
        let insert = "INSERT OR IGNORE INTO action SELECT id, ?2, what, kind, lane, after, state, detail, expires, done
                      FROM old.action WHERE firing = ?1";
        change.prepare_cached(insert)?.execute([number, firing])?;
    }
    // Whom a decision was told, and who asks again, is told the same, whatever rules come to now: no action says so in the log.
    change.execute(
        "INSERT INTO firing (id, rule, revision, node, account, at, record, depth, position, held, why, earlier)
         SELECT id, rule, revision, node, account, at, record, depth, position, held, why, 1 FROM old.firing
         WHERE held IS NULL AND record > 0 AND why LIKE '%\"decision\":%' AND json_extract(why, '$.decision') IS NOT NULL
         ORDER BY number ON CONFLICT (id) DO NOTHING",
        [],
    )?;
    keep_reasons(&change)?;
    change.execute(
        "UPDATE firing SET why = (SELECT why FROM old.firing o WHERE o.id = firing.id)
         WHERE earlier = 1 AND why = '{}' AND id IN (SELECT id FROM old.firing)",
        [],
    )?;
    let gone = let_go(&change, set)?;
    change.commit()?;
    Ok(gone)
}

/// Whoever a rule has come to before, and comes to now as something from before it was in force, keeps what came of it then: that it was
/// a dry run, or that a cap let no message through.
fn keep_reasons(change: &Connection) -> Result<()> {
    let mut query = change.prepare(
        "SELECT f.number, o.number FROM firing f JOIN old.firing o ON o.id = f.id WHERE f.held = ?1 AND o.held IS NOT ?1",
    )?;
    let both = query.query_map([BEFORE], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let both: Vec<(i64, i64)> = both.collect::<Result<_>>()?;
    for (number, old) in both {
        // What was held for a reason of the rule as it was is an earlier form's; what was not stands.
        let update = "UPDATE firing SET (held, why, earlier) =
                      (SELECT held, why, held IS NOT NULL FROM old.firing WHERE number = ?2) WHERE number = ?1";
        change.prepare_cached(update)?.execute([number, old])?;
        let insert = "INSERT OR IGNORE INTO action SELECT id, ?1, what, kind, lane, after, state, detail, expires, done
                      FROM old.action WHERE firing = ?2";
        change.prepare_cached(insert)?.execute([number, old])?;
    }
    Ok(())
}

/// What waits for a rule that will not want it any more is not done. All of it, for the caller to count once that is committed: the log
/// says nothing of it, so nobody else does.
pub(crate) fn let_go(db: &Connection, set: &RuleSet) -> Result<LetGo> {
    let mut query = db.prepare(
        "SELECT DISTINCT f.number, f.rule, f.revision FROM action a JOIN firing f ON f.number = a.firing WHERE a.state = 'pending'",
    )?;
    let of = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let waiting: Vec<(i64, String, u32)> = query.query_map([], of)?.collect::<Result<_>>()?;
    let mut gone = LetGo::new();
    for (firing, rule, revision) in waiting {
        let goes_on = set.rule(&rule).is_some_and(|rule| {
            let is_on = rule.enabled && !rule.dry_run;
            is_on && (rule.revision == revision || rule.pending == Waits::Keep)
        });
        if !goes_on {
            let update = "UPDATE action SET state = 'withheld', detail = ?2 WHERE firing = ?1 AND state = 'pending' RETURNING kind";
            let mut update = db.prepare_cached(update)?;
            let kinds = update.query_map(params![firing, GONE], |row| row.get(0))?;
            for kind in kinds {
                gone.push((rule.clone(), kind?));
            }
        }
    }
    Ok(gone)
}
