//! What is known of actions that are being tried: how often, what was said last, and when it is tried again.
//! Promises that of what is done nothing is left. Deliberately forgets at a stop: what became of an action is in the log, not here.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::awaited::Awaited;
use crate::rules::What;

/// Said where nothing is tried because somebody has stopped the rule.
pub(crate) const STOPPED: &str = "the rule is stopped";
/// Said of a message that waits for somebody's morning.
pub(crate) const QUIET: &str = "quiet hours";
/// Said where too much is done within a minute.
pub(crate) const CEILING: &str = "more is done than `actions_per_minute` allows";

/// Said of what was of no use any more before anything could be tried: after a stop, or behind others.
pub(super) fn untried(what: &What) -> &'static str {
    match what {
        What::Ask { .. } => "the model could not be asked in time",
        _ => "it could not be tried in time",
    }
}

/// How it stands with an action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    /// How often since the collector has started.
    pub(crate) attempts: u32,
    /// Why the last attempt did not do it.
    pub(crate) error: Option<String>,
    /// When it is tried again, in milliseconds of unix time.
    pub(crate) next_ms: Option<i64>,
    /// What it waits for, where that is not the destination.
    pub(crate) waits: Option<&'static str>,
    /// Whether it has waited for who stopped its rule, or for somebody's night: then it took as long as they wanted.
    pub(super) was_wanted_later: bool,
    /// Before then it is not looked at again.
    pub(super) not_before_ms: i64,
    /// Whether it counts among what may be done in a minute.
    pub(super) is_counted: bool,
}

/// By the action's id.
#[derive(Debug, Default)]
pub(crate) struct Trying {
    tried: Mutex<HashMap<String, Tried>>,
    /// Who waits for what a model says.
    pub(crate) awaited: Awaited,
}

impl Trying {
    pub(crate) fn of(&self, action: &str) -> Option<Tried> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).get(action).cloned()
    }

    /// Before then it is not looked at again, in milliseconds of unix time.
    pub(super) fn not_before(&self, action: &str) -> i64 {
        let all = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(action).map_or(0, |tried| tried.not_before_ms)
    }

    /// Notes how it stands.
    pub(super) fn note(&self, action: &str, change: impl FnOnce(&mut Tried)) {
        let mut all = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(action.to_owned()).or_default());
    }

    /// It waits for who has stopped its rule.
    pub(super) fn wanted_later(&self, action: &str) {
        let mut all = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(action) {
            Some(tried) => tried.was_wanted_later = true,
            None => {
                let tried = Tried { was_wanted_later: true, ..Tried::default() };
                all.insert(action.to_owned(), tried);
            }
        }
    }

    /// It is over.
    pub(super) fn forget(&self, action: &str) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).remove(action);
    }
}
