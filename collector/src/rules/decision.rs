//! What a firing decides for who asks with its event: noted with it when it fires, since its rule may say something else by now.
//! Promises the order in which decisions are answered. Deliberately knows no switch: a rule that is stopped decides nothing, and who
//! asks looks for that.

use rusqlite::{Connection, Result, params};
use serde::Deserialize;

use super::fired::Fired;
use crate::event_log::Offset;

/// The part of the reasons that a decision stands in.
#[derive(Deserialize)]
struct Noted {
    decision: Option<String>,
}

/// What was noted with a firing.
pub(super) fn noted(why: &str) -> Option<String> {
    serde_json::from_str::<Noted>(why).ok()?.decision
}

/// The rules that decide instead of this firing's, each unless it is stopped, the first one first: because of the same event, and not held.
pub(crate) fn instead(db: &Connection, fired: &Fired) -> Result<Vec<String>> {
    let record = fired.event.as_ref().and_then(|text| text.parse::<Offset>().ok());
    let Some(record) = record else { return Ok(Vec::new()) };
    let query = "SELECT rule, why FROM firing WHERE record = ?1 AND number > ?2 AND held IS NULL
                 ORDER BY number DESC";
    let mut query = db.prepare_cached(query)?;
    let mut rows = query.query(params![record.to_number(), fired.number])?;
    let mut rules = Vec::new();
    while let Some(row) = rows.next()? {
        if noted(&row.get::<_, String>(1)?).is_some() {
            rules.push(row.get(0)?);
        }
    }
    Ok(rules)
}
