//! What rules were looked at for, and what came of it, for who asks why.
//! Promises that it costs nothing where nobody asks. Deliberately decides nothing.

use cel::Value;
use serde_json::Value as Json;

use super::{
    super::{
        part::{On, Part},
        rule::{Rule, When},
        scope::Reason,
    },
    Fold,
};
use crate::{
    event_log::{Offset, Timestamp},
    expression::value,
    people::{Node, Whole},
};

/// One time that a rule was looked at.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Looked {
    /// The rule.
    pub rule: String,
    /// Who, as the projection has them.
    #[serde(skip)]
    pub(crate) node: Node,
    /// The account, of a rule about accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// When.
    pub at: String,
    /// The event that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// What came of it, in words.
    pub outcome: String,
    /// Whether it fired.
    #[serde(skip)]
    pub fired: bool,
    /// All that it was decided by.
    pub reasons: Vec<Reason>,
    /// Where a score or a feature is to cross a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Json>,
    /// Where a rule waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited: Option<Waited>,
}

/// Of a look at which it fired: in words.
pub(super) const FIRED: &str = "it fired";
/// The same of one that is held.
pub(super) const HELD: &str = "it fired, and does nothing because of it";

/// Of an event that a rule with `from = "server"` does not believe.
pub(in super::super) const FORGED: &str = "anyone can have forged the event";

/// Of a look after which it waits.
pub(crate) const WAITS: &str = "it waits";
/// The same once something has come that is to stay away.
const IN_VAIN: &str = "what it waits to see missing has happened: it will not fire";
/// Characters of a value that are said.
const SAID: usize = 60;

/// Of a look at which the event named no time: what it named instead.
pub(super) fn no_time(time: &Part, named: &Result<Value, String>) -> String {
    let text = time.expression.text();
    let json = match named {
        Ok(value) => value::to_json(value).unwrap_or_default(),
        Err(error) => return format!("the event names no time: `{text}`: {error}"),
    };
    let mut said: String = json.to_string();
    if let Some((cut, _)) = said.char_indices().nth(SAID) {
        said.truncate(cut);
        said.push('…');
    }
    format!("the event names no time: `{text}` is {said}")
}

/// What a rule waited for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Waited {
    /// Events that were to stay away, as rules name them; none where only a time was waited for.
    #[serde(rename = "for", skip_serializing_if = "Vec::is_empty")]
    pub what: Vec<String>,
    /// Until then.
    pub until: String,
    /// Those that came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub came: Vec<Came>,
}

/// An event that came while a rule waited.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Came {
    /// Where it is in the log.
    pub event: String,
    /// When it happened.
    pub at: String,
    /// Whether it went with the one that the rule was about.
    pub matches: bool,
}

impl Looked {
    /// Whether it waits since: what is to hold still then is told as it stands when it is asked.
    pub(crate) fn waits(&self) -> bool {
        self.waited.as_ref().is_some_and(|waited| self.at < waited.until)
    }
}

impl Fold {
    /// Writes down all that is looked at from now on.
    pub(crate) fn watch(&mut self) {
        self.looked = Some(Vec::new());
    }

    /// All that was looked at since.
    pub(crate) fn take_looked(&mut self) -> Vec<Looked> {
        self.looked.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Writes down what was waited for at the last look.
    pub(super) fn waited(&mut self, rule: &Rule, until_ms: i64, came: Vec<Came>) {
        let Some(last) = self.looked.as_mut().and_then(|all| all.last_mut()) else { return };
        let what = match &rule.when {
            When::Without { step, .. } => step.on.iter().map(On::in_words).collect(),
            _ => Vec::new(),
        };
        last.waited =
            Some(Waited { what, until: Timestamp::from_unix_ms(until_ms).to_string(), came });
    }

    /// Writes down, at the look after which it waits, what has come since, and how what is to hold still stands.
    pub(super) fn stands(
        &mut self,
        (rule, whose): (&Rule, &Whole),
        record: Offset,
        (came, any): (Vec<Came>, bool),
        still: Vec<Reason>,
    ) {
        let (event, account) = (record.to_string(), whose.account.as_ref().map(|(_, id)| id));
        let is_it = |it: &&mut Looked| {
            it.outcome == WAITS
                && it.rule == rule.name
                && it.event.as_ref() == Some(&event)
                && it.account.as_ref() == account
        };
        let Some(looked) = self.looked.iter_mut().flatten().find(is_it) else { return };
        if any {
            IN_VAIN.clone_into(&mut looked.outcome);
        }
        looked.reasons.extend(still);
        if let Some(waited) = &mut looked.waited {
            waited.came = came;
        }
    }

    pub(super) fn looked_at(
        &mut self,
        (rule, whose): (&Rule, &Whole),
        at_ms: i64,
        event: Option<Offset>,
        outcome: &str,
        reasons: impl FnOnce() -> Vec<Reason>,
    ) {
        let Some(looked) = &mut self.looked else { return };
        looked.push(Looked {
            rule: rule.name.clone(),
            node: whose.person,
            account: whose.account.as_ref().map(|(_, id)| id.clone()),
            at: Timestamp::from_unix_ms(at_ms).to_string(),
            event: event.map(|offset| offset.to_string()),
            outcome: outcome.to_owned(),
            fired: [FIRED, HELD].contains(&outcome),
            reasons: reasons(),
            measured: None,
            waited: None,
        });
    }
}
