//! What an event brings to a feature.
//! Promises that one without the value that is wanted brings nothing. Deliberately knows no rule.

use std::cell::RefCell;

use rusqlite::{Connection, Result};
use serde_json::Value as Json;

use super::{
    super::{
        aggregate::Sample,
        kept::{self, Kept},
        part::Per,
        scope::Scope,
        set::{Feature, RuleSet},
    },
    asking,
    happening::Happening,
};
use crate::{
    event_log::Record,
    people::{Node, Whole},
};

/// Counts what an event brings to the feature at this place; whether anything changed. `about` are the accounts that it is about.
pub(super) fn count(
    (db, set, kept): (&Connection, &RuleSet, &RefCell<Kept>),
    at: usize,
    sample: &Sample,
    (main, about): (Node, &[Whole]),
) -> Result<bool> {
    let feature = &set.features[at];
    // What a model has said of an account is no one person's.
    if feature.answers.is_some() && feature.per == Per::Account {
        let Some((number, _)) = about.first().and_then(|it| it.account.as_ref()) else {
            return Ok(false);
        };
        let said = sample.value.as_str().unwrap_or_default();
        return kept::keep_answer(db, (*number, at), main, (sample.time_ms, said));
    }
    let mut kept = kept.borrow_mut();
    let aggregate = kept.change(db, main)?.change(at);
    Ok(feature.operation.take(feature.window.is_some(), aggregate, sample))
}

/// What an event brings to a feature; `None` if it is not about it, and an error says why that cannot be told.
pub(super) fn sampled(
    scope: &Scope<'_>,
    feature: &Feature,
    happening: &Happening<'_>,
) -> Result<std::result::Result<Option<Sample>, String>> {
    if let Some(score) = &feature.answers {
        return Ok(Ok(asking::answer((score, feature.per), happening.record)));
    }
    if let Some(condition) = &feature.condition {
        match scope.judge(condition, happening.about())? {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(None)),
            Err(why) => return Ok(Err(why)),
        }
    }
    let value = match &feature.value {
        None => Json::Null,
        Some(part) => match scope.json(part, happening.about())? {
            Some(json) => json,
            None => return Ok(Ok(None)),
        },
    };
    Ok(Ok(Some(Sample { time_ms: happening.time_ms(), value })))
}

/// The same of a record.
pub(in super::super) fn brings(
    scope: &Scope<'_>,
    feature: &Feature,
    record: &Record,
) -> Result<Option<Sample>> {
    Ok(sampled(scope, feature, &Happening::of(record))?.ok().flatten())
}
