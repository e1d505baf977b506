//! What became of actions, as the log says it.
//! Promises that whoever was told is not told again because a rule has changed. Deliberately does nothing itself: see `actions`.

use std::sync::Arc;

use rusqlite::{Connection, Result};
use serde::Deserialize as _;
use serde_json::Value as Json;

use super::{
    super::{
        earlier::{self, Done},
        firing::{self, ActionState},
        part::Per,
        rule::When,
        waiting,
    },
    Fold, key,
};
use crate::{
    event_log::Record,
    people::{self, Whole},
};

/// What the collector says of an action that is done.
pub(crate) const DONE: &str = "Action Done";

/// The action that a record says is done, and how.
pub(in crate::rules) fn done_by(record: &Record) -> Option<(Done, ActionState)> {
    if !people::is_ours(record) || !record.json.contains(DONE) {
        return None;
    }
    let event: Json = serde_json::from_str(&record.json).ok()?;
    if event["event"] != DONE {
        return None;
    }
    let done = Done::deserialize(&event["properties"]).ok()?;
    let state = ActionState::read(&done.outcome, done.detail.as_deref())?;
    Some((done, state))
}

impl Fold {
    /// What became of an action. One that these rules have not set off was by rules as they were before: whoever was told of a line that
    /// was crossed is told again only after it was back, wherever the line is now.
    pub(super) fn done(
        &mut self,
        db: &Connection,
        done: &Done,
        state: ActionState,
        record: &Record,
    ) -> Result<()> {
        let at = record.received_at;
        if firing::settle(db, &done.action, state, done.detail.as_deref(), at)?
            || self.is_trial
            || !earlier::remember(db, done, state, at, record.offset)?
        {
            return Ok(());
        }
        let set = Arc::clone(&self.set);
        let (Some(place), Some(node)) = (self.place(&done.rule), done.node()) else {
            return Ok(());
        };
        let rule = &set.rules[place];
        let was_told = matches!(state, ActionState::Accepted | ActionState::Unknown);
        if was_told
            && rule.revision == done.revision
            && matches!(rule.when, When::Crosses(_))
            && (rule.per == Per::Account) == (done.account != 0)
        {
            let key = match rule.per {
                Per::Person => key(&Whole::person(db, node)?),
                Per::Account => (0, done.account),
            };
            waiting::cross(db, &mut self.standing, (place, &rule.name), key)?;
        }
        Ok(())
    }
}
