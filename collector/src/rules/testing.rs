//! For tests, of this crate and of others: a rule file's text, folded over a few events.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    file::{RuleError, RuleErrors, Source},
    set::RuleSet,
    trial::Trial,
};
use crate::{
    event_log::{Flags, Offset, Origin, Record, Timestamp, Trust},
    people,
};

pub(super) const BEGIN_MS: i64 = 1_735_689_600_000;
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3600 * 1000;

/// Reads the text, and folds what is taken over events of two people; how often it fired.
pub fn fold(text: &str) -> Result<usize, RuleErrors> {
    let file = Source::new("rules.toml", text);
    let set = Arc::new(RuleSet::parse(&[file])?);
    let failed = |error: rusqlite::Error| {
        RuleErrors::from(RuleError {
            file: "rules.toml".to_owned(),
            line: 1,
            message: error.to_string(),
        })
    };
    let mut trial = Trial::new(set, people::Limits::default()).map_err(failed)?;
    for n in 1..=40_i64 {
        let who = format!("u-{}", n % 2);
        let properties = json!({ "n": n, "x": n * 1000, "t": "text", "list": [1, "a", null], "at": BEGIN_MS + n });
        let event: Value = match n % 4 {
            0 => {
                json!({"type": "page", "name": "Pricing", "userId": who, "context": {"groupId": "g"}})
            }
            1 => json!({"type": "track", "event": "A", "userId": who, "properties": properties}),
            2 => {
                json!({"type": "track", "event": "B", "userId": who, "properties": properties, "context": {"groupId": "g"}})
            }
            _ => json!({"type": "identify", "userId": who, "traits": {"plan": "pro"}}),
        };
        trial.record(&record(n, n * 3_600_000, &event)).map_err(failed)?;
    }
    trial.pass(BEGIN_MS + TEN_YEARS_MS).map_err(failed)?;
    Ok(trial.fired().map_err(failed)?.len())
}

/// The event with this number, so many milliseconds after the beginning.
pub(super) fn record(number: i64, after_ms: i64, event: &Value) -> Record {
    let time = Timestamp::from_unix_ms(BEGIN_MS + after_ms);
    Record {
        offset: Offset::from_number(number),
        received_at: time,
        event_time: time,
        claimed_time: None,
        source: "web".parse().expect("it is three letters"),
        trust: Trust::Server,
        origin: Origin::Sent,
        order_key: "d".into(),
        message_id: number.to_string().into(),
        sequence: None,
        schema_version: 0,
        flags: Flags::default(),
        json: event.to_string().into(),
    }
}
