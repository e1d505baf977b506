//! Scores that a model computes: what it is asked, and what it has answered, which is an event like any other.
//! Promises that a replay asks nobody: the answer is in the log. Deliberately knows no network: see `actions`.

use rusqlite::{Connection, OptionalExtension as _, Result, params};
use serde_json::{Map, Value as Json, json};

use super::super::{
    aggregate::Sample,
    part::Per,
    scope::{Answered, Scope},
    set::Model,
};
use crate::{
    event_log::{Origin, Record, Timestamp},
    people::{SOURCE, Whole},
};

/// What the collector says when a model has answered, or has not in time.
pub(crate) const ANSWERED: &str = "Score Answered";

/// Bytes of a reason that are kept.
const REASON_BYTES: usize = 120;

/// What goes to the model.
pub(super) fn asked(scope: &Scope<'_>, name: &str, model: &Model) -> Result<Json> {
    let mut inputs = Map::new();
    for (name, part) in &model.inputs {
        inputs.insert(name.clone(), scope.reason(part, super::About::default())?.value);
    }
    Ok(json!({ "score": name, "inputs": inputs }))
}

/// What an answer brings to the feature that keeps it: firing, number and reason in one text, so that of two answers at the same moment
/// no third is made. Only what the collector itself has derived counts, and of a score of accounts only what was said of one.
pub(super) fn answer((score, per): (&str, Per), record: &Record) -> Option<Sample> {
    let is_it = |it: &Answer| it.score == score && it.account.is_some() == (per == Per::Account);
    let Answer { firing, value, reason, .. } = said(record).filter(is_it)?;
    let value = Json::from(format!("{firing} {value:e} {reason}"));
    Some(Sample { time_ms: record.event_time.unix_ms(), value })
}

/// An answer, as the log has it.
struct Answer {
    score: String,
    /// The firing that has asked.
    firing: String,
    value: f64,
    reason: String,
    /// The id of the account that it is said of, if it is of one.
    account: Option<String>,
}

fn said(record: &Record) -> Option<Answer> {
    if !matches!(record.origin, Origin::Derived { .. }) || *record.source != *SOURCE {
        return None;
    }
    let event: Json = serde_json::from_str(&record.json).ok()?;
    let of = event.get("properties").filter(|_| event["event"] == ANSWERED)?;
    let value = of["value"].as_f64().filter(|value| value.is_finite())?;
    let firing = of["firing"].as_str().filter(|id| id.len() <= 32 && !id.contains(' '))?;
    let reason = of["reason"].as_str().unwrap_or_default();
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES)];
    let score = of["score"].as_str()?.to_owned();
    let account = of["account"].as_str().map(str::to_owned);
    Some(Answer { score, firing: firing.to_owned(), value, reason: reason.to_owned(), account })
}

/// The accounts that something is about that a person did: all that they are of. What a model has said of one account is about that one
/// alone, whoever it was whose event it was asked after.
pub(super) fn accounts(db: &Connection, person: &Whole, record: &Record) -> Result<Vec<Whole>> {
    let Some(id) = said(record).and_then(|it| it.account) else { return person.accounts(db) };
    let account = Whole::account_of(db, &id)?;
    Ok(account.map(|it| Whole { person: person.person, ..it }).into_iter().collect())
}

/// The firing that a record answers, noted with it: who waits for a decision goes on from there to what the answer sets off.
pub(super) fn note(db: &Connection, record: &Record) -> Result<Option<String>> {
    let Some(Answer { score, firing, value, reason, .. }) = said(record) else { return Ok(None) };
    let query = "SELECT why FROM firing WHERE id = ?1 AND rule = ?2";
    let mut query = db.prepare_cached(query)?;
    let asked = query.query_row(params![firing, format!("score:{score}")], |row| row.get(0));
    let Some(why): Option<String> = asked.optional()? else { return Ok(None) };
    let mut why: Json = serde_json::from_str(&why).unwrap_or_default();
    if let Some(asked) = why["asked"].as_object_mut().filter(|it| !it.contains_key("answer")) {
        let mut answer = json!({ "event": record.offset.to_string(), "value": value });
        if !reason.is_empty() {
            answer["reason"] = reason.into();
        }
        asked.insert("answer".to_owned(), answer);
        let update = "UPDATE firing SET why = ?2 WHERE id = ?1";
        db.prepare_cached(update)?.execute(params![firing, why.to_string()])?;
    }
    Ok(Some(firing))
}

/// The other way round.
pub(in super::super) fn read(kept: &str) -> Option<(&str, f64, &str)> {
    let mut parts = kept.splitn(3, ' ');
    let (firing, value, reason) = (parts.next()?, parts.next()?, parts.next()?);
    Some((firing, value.parse().ok()?, reason))
}

/// How a score by a model has come about.
pub(in super::super) fn answered(
    scope: &Scope<'_>,
    score: &str,
    model: &Model,
) -> Result<Answered> {
    let by = model.by.clone();
    let Some((firing, _, reason)) = scope.answer(model)? else {
        let fallback = Some("it has not answered yet".to_owned());
        return Ok(Answered { by, asked: None, inputs: Map::new(), fallback });
    };
    let asked_ms = scope.answered_ms(model)?;
    let query = "SELECT why FROM firing WHERE id = ?1";
    let mut why: Option<String> =
        scope.db.prepare_cached(query)?.query_row([firing], |row| row.get(0)).optional()?;
    // Where a part of the log is gone through again, firings have other ids.
    let rule = format!("score:{score}");
    let (query, those) = match &scope.whose.account {
        Some((number, _)) => (
            "SELECT why FROM firing WHERE account = ?1 AND account <> 0 AND rule = ?2 AND at = ?3",
            std::slice::from_ref(number),
        ),
        None => (
            "SELECT why FROM firing WHERE node = ?1 AND rule = ?2 AND at = ?3",
            &scope.whose.nodes[..],
        ),
    };
    for one in those {
        if why.is_some() {
            break;
        }
        let mut query = scope.db.prepare_cached(query)?;
        why = query.query_row(params![one, rule, asked_ms], |row| row.get(0)).optional()?;
    }
    let why: Json = why.and_then(|why| serde_json::from_str(&why).ok()).unwrap_or_default();
    let inputs = why["asked"]["inputs"].as_object().cloned().unwrap_or_default();
    let asked = asked_ms.map(|ms| Timestamp::from_unix_ms(ms).to_string());
    let fallback = Some(reason).filter(|reason| !reason.is_empty());
    Ok(Answered { by, asked, inputs, fallback })
}
