//! A timer that rings: what was waited for has come, or has not.
//! Promises that it is looked at as people are then, and not as they were when it was set. Deliberately sets none.

use std::sync::Arc;

use rusqlite::{Connection, Result};

use super::{
    super::{part::Per, rule::When, scope::Scope, waiting},
    Came, Fold, Records,
    happening::Happening,
    reasons, whose,
};
use crate::{
    event_log::{Offset, Timestamp},
    people::{Node, Whole},
};

impl Fold {
    /// A timer rings.
    pub(super) fn ring(
        &mut self,
        db: &Connection,
        log: &dyn Records,
        (due_ms, since_ms): (i64, i64),
        rule: &str,
        (node, record): (Node, Offset),
        position: Offset,
    ) -> Result<()> {
        let set = Arc::clone(&self.set);
        let Some(rule) = set.rule(rule) else { return Ok(()) };
        let Some(trigger) = log.at(record) else { return Ok(()) };
        let happening = Happening::of(&trigger);
        let person = Whole::person(db, node)?;
        let accounts = match rule.per {
            Per::Person => Vec::new(),
            Per::Account => person.accounts(db)?,
        };
        let kept = std::mem::take(&mut self.kept);
        for whose in whose(rule.per, &person, &accounts) {
            let scope = Scope::new(db, &set, &kept, whose, due_ms);
            let (mut outcome, mut came) = (None, Vec::new());
            if let When::Without { step, .. } = &rule.when {
                let span = ((since_ms, record), (due_ms, Offset::from_number(i64::MAX)));
                for (at, found) in waiting::happened(db, (&rule.name, 0), &whose.nodes, span)? {
                    let fits = match &step.matches {
                        None => true,
                        Some(part) => self.matches(&scope, log, part, found, &happening.event)?,
                    };
                    if self.looked.is_some() {
                        came.push(Came {
                            event: found.to_string(),
                            at: Timestamp::from_unix_ms(at).to_string(),
                            matches: fits,
                        });
                    }
                    if fits {
                        outcome = Some("what it waited to see missing has happened");
                        break;
                    }
                }
            }
            for part in &rule.still {
                if outcome.is_none() && !scope.holds(part, happening.about())? {
                    outcome = Some("it is not so any more");
                }
            }
            let outcome = match outcome {
                Some(outcome) => outcome,
                None => self.fire(&scope, rule, node, due_ms, Some(&happening), position)?,
            };
            if self.looked.is_some() {
                let reasons = reasons(&scope, rule, happening.about())?;
                self.looked_at((rule, scope.whose), due_ms, Some(record), outcome, || reasons);
                self.waited(rule, due_ms, came);
            }
        }
        self.kept = kept;
        Ok(())
    }
}
