//! What a firing decides for who asks with its event: noted with it when it fires, since its rule may say something else by now.
//! Promises the order in which decisions are answered, and that what a model's answer has set off counts for the event because of which
//! the model was asked. Deliberately knows no switch: a rule that is stopped decides nothing, and who asks looks for that.

use rusqlite::{Connection, OptionalExtension as _, Result};
use serde::{Deserialize, Serialize};

use super::fired::{self, Fired};
use crate::event_log::{Offset, Timestamp};

/// The parts of the reasons that a decision goes by.
#[derive(Default, Deserialize)]
struct Noted {
    decision: Option<String>,
    /// When the event came.
    received_ms: Option<i64>,
    asked: Option<Question>,
    /// The firing that asked a model whose answer set this one off.
    answers: Option<String>,
}

#[derive(Deserialize)]
struct Question {
    score: String,
    answer: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    event: String,
    value: f64,
    reason: Option<String>,
}

impl Unanswered {
    /// Which score, and of which account if it is of one.
    pub(crate) fn in_words(&self) -> String {
        match &self.account {
            Some(account) => format!("`{}` of `{account}`", self.score),
            None => format!("`{}`", self.score),
        }
    }
}

/// What a model has said because of an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Heard {
    score: String,
    /// The account that it is said of, of a score of accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// The model's number, or the fallback.
    value: f64,
    /// Whether it is the fallback.
    fallback: bool,
    /// Why it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A model that was asked because of an event, and has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    pub(crate) score: String,
    /// The account that it was asked about, of a score of accounts.
    pub(crate) account: Option<String>,
    /// The rule that asks.
    pub(crate) rule: String,
    /// What asks it.
    pub(crate) action: String,
}

/// All that an event has come to by now.
#[derive(Clone, Debug, Default)]
pub(crate) struct CameTo {
    /// What it has set off, or an answer to it, the latest first.
    pub(crate) fired: Vec<Fired>,
    /// What models have said because of it, the first one that was asked first.
    pub(crate) heard: Vec<Heard>,
    pub(crate) unanswered: Vec<Unanswered>,
}

fn read(why: &str) -> Noted {
    serde_json::from_str(why).unwrap_or_default()
}

/// What was noted with a firing.
pub(super) fn noted(why: &str) -> Option<String> {
    read(why).decision
}

/// When the event came that a firing decides about, where that was noted.
pub(crate) fn asked_at(fired: &Fired) -> Option<Timestamp> {
    read(fired.why.get()).received_ms.map(Timestamp::from_unix_ms)
}

/// One of the firings that go back to an event.
struct OfEvent {
    number: i64,
    rule: String,
    is_held: bool,
    noted: Noted,
}

/// An event, and all that models have said because of it.
pub(crate) fn with_answers(db: &Connection, record: Offset) -> Result<Vec<Offset>> {
    going_back_to(db, record).map(|(records, _)| records)
}

/// The firings that go back to an event, the latest first: because of it, or of what a model has said because it was asked then.
fn of_event(db: &Connection, record: Offset) -> Result<Vec<OfEvent>> {
    going_back_to(db, record).map(|(_, found)| found)
}

/// Both.
fn going_back_to(db: &Connection, record: Offset) -> Result<(Vec<Offset>, Vec<OfEvent>)> {
    let (mut records, mut found, mut at) = (vec![record], Vec::new(), 0);
    while let Some(record) = records.get(at).copied() {
        at += 1;
        let mut query = db.prepare_cached(
            "SELECT number, rule, held IS NOT NULL, why FROM firing WHERE record = ?1",
        )?;
        let rows = query.query_map([record.to_number()], |row| {
            let noted = read(&row.get::<_, String>(3)?);
            Ok(OfEvent { number: row.get(0)?, rule: row.get(1)?, is_held: row.get(2)?, noted })
        })?;
        for firing in rows {
            let firing = firing?;
            let answer = firing.noted.asked.as_ref().and_then(|asked| asked.answer.as_ref());
            let answer = answer.and_then(|said| said.event.parse::<Offset>().ok());
            // An answer comes after what asked for it.
            records.extend(answer.filter(|answer| *answer > record && !records.contains(answer)));
            found.push(firing);
        }
    }
    found.sort_unstable_by_key(|firing| std::cmp::Reverse(firing.number));
    Ok((records, found))
}

/// All that an event has come to by now; of its firings the latest, if there are more than `most`.
pub(crate) fn came_to(db: &Connection, record: Offset, most: usize) -> Result<CameTo> {
    let mut came = CameTo::default();
    for OfEvent { number, rule, is_held, noted } in of_event(db, record)? {
        // One that answers is read to the end, however many have fired.
        let fired = match came.fired.len() < most || noted.asked.is_some() {
            true => fired::fired(db, number)?,
            false => None,
        };
        let Some(fired) = fired else { continue };
        if let Some(Question { score, answer }) = noted.asked {
            let pending = fired.actions.iter().find(|action| action.waiting.is_some());
            let account = fired.account.clone();
            match (answer, pending) {
                (Some(Said { value, reason, .. }), _) => {
                    let fallback = reason.is_some();
                    came.heard.push(Heard { score, account, value, fallback, reason });
                }
                (None, Some(pending)) if !is_held => {
                    let action = pending.id.clone();
                    came.unanswered.push(Unanswered { score, account, rule, action });
                }
                _ => {}
            }
        }
        if came.fired.len() < most {
            came.fired.push(fired);
        }
    }
    came.heard.reverse();
    Ok(came)
}

/// The rules that decide instead of this firing's, each unless it is stopped, the first one first: because of the same event, or of what a
/// model has said because of it, and not held.
pub(crate) fn instead(db: &Connection, fired: &Fired) -> Result<Vec<String>> {
    let (mut event, mut noted) = (fired.event.clone(), read(fired.why.get()));
    while let Some(question) = noted.answers {
        let query = "SELECT record, why FROM firing WHERE id = ?1";
        let of = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
        let found = db.prepare_cached(query)?.query_row([question], of).optional()?;
        let Some((record, why)) = found.filter(|(record, _)| *record > 0) else { break };
        (event, noted) = (Some(Offset::from_number(record).to_string()), read(&why));
    }
    let record = event.and_then(|text| text.parse::<Offset>().ok());
    let Some(record) = record else { return Ok(Vec::new()) };
    let later = of_event(db, record)?.into_iter().filter(|firing| {
        firing.number > fired.number && !firing.is_held && firing.noted.decision.is_some()
    });
    Ok(later.map(|firing| firing.rule).collect())
}
