//! What an event brings to a feature.
//! Promises that one without the value that is wanted brings nothing. Deliberately knows no rule.

use std::cell::RefCell;

use rusqlite::{Connection, Result};
use serde_json::Value as Json;

use super::{
    super::{
        aggregate::Sample,
        kept::Kept,
        scope::Scope,
        set::{Feature, RuleSet},
    },
    asking,
    happening::Happening,
};
use crate::{event_log::Record, people::Node};

/// Counts what an event brings to the feature at this place; whether anything changed.
pub(super) fn count(
    (db, set, kept): (&Connection, &RuleSet, &RefCell<Kept>),
    at: usize,
    sample: &Sample,
    main: Node,
) -> Result<bool> {
    let feature = &set.features[at];
    let mut kept = kept.borrow_mut();
    let aggregate = kept.change(db, main)?.change(at);
    Ok(feature.operation.take(feature.window.is_some(), aggregate, sample))
}

/// What an event brings to a feature; `None` if it is not about it.
pub(super) fn sampled(
    scope: &Scope<'_>,
    feature: &Feature,
    happening: &Happening<'_>,
) -> Result<Option<Sample>> {
    if let Some(score) = &feature.answers {
        return Ok(asking::answer(score, happening.record));
    }
    if let Some(condition) = &feature.condition
        && !scope.holds(condition, happening.about())?
    {
        return Ok(None);
    }
    let value = match &feature.value {
        None => Json::Null,
        Some(part) => match scope.json(part, happening.about())? {
            Some(json) => json,
            None => return Ok(None),
        },
    };
    Ok(Some(Sample { time_ms: happening.time_ms(), value }))
}

/// The same of a record.
pub(in super::super) fn brings(
    scope: &Scope<'_>,
    feature: &Feature,
    record: &Record,
) -> Result<Option<Sample>> {
    sampled(scope, feature, &Happening::of(record))
}
