//! A timer that rings: what was waited for has come, or has not.
//! Promises that it is looked at as people are then, and not as they were when it was set. Deliberately sets none.

use std::sync::Arc;

use rusqlite::{Connection, Result};

use super::{
    super::{
        part::Per,
        rule::{Rule, Step, When},
        scope::Scope,
        waiting::{self, Timer},
    },
    Came, Fold, Records, asking,
    happening::Happening,
    reasons, stills,
    unjudged::{Failed, Moment},
    whose,
};
use crate::{
    event_log::{Offset, Timestamp},
    people::Whole,
};

impl Fold {
    /// A timer rings.
    pub(super) fn ring(
        &mut self,
        db: &Connection,
        log: &dyn Records,
        Timer { due_ms, rule, node, record, since_ms }: Timer,
        position: Offset,
    ) -> Result<()> {
        let set = Arc::clone(&self.set);
        let Some(rule) = set.rule(&rule) else { return Ok(()) };
        let Some(trigger) = log.at(record) else { return Ok(()) };
        let happening = Happening::of(&trigger);
        let person = Whole::person(db, node)?;
        let accounts = match rule.per {
            Per::Person => Vec::new(),
            Per::Account => asking::accounts(db, &person, &trigger)?,
        };
        let kept = std::mem::take(&mut self.kept);
        for whose in whose(rule.per, &person, &accounts) {
            let scope = Scope::new(db, &set, &kept, whose, due_ms);
            let at = Moment { at_ms: due_ms, place: (position, due_ms) };
            let mut failed = None;
            let (came, any) = match &rule.when {
                When::Without { step, .. } => {
                    let span = ((since_ms, record), due_ms);
                    self.came((&scope, log), (rule, step), span, &happening, &mut failed)?
                }
                _ => (Vec::new(), false),
            };
            self.cannot_match(rule, failed, &happening, at);
            let mut outcome = any.then_some("what it waited to see missing has happened");
            for part in &rule.still {
                if outcome.is_none() && !self.holds(&scope, (rule, part), Some(&happening), at)? {
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

    /// What has come of that which is to stay away, the latest first, as far as one that goes with the event; and whether one does.
    fn came<'r>(
        &self,
        (scope, log): (&Scope<'_>, &dyn Records),
        (rule, step): (&Rule, &'r Step),
        ((since_ms, record), due_ms): ((i64, Offset), i64),
        happening: &Happening<'_>,
        failed: &mut Failed<'r>,
    ) -> Result<(Vec<Came>, bool)> {
        let mut came = Vec::new();
        let span = ((since_ms, record), (due_ms, Offset::from_number(i64::MAX)));
        for (at, found) in waiting::happened(scope.db, (&rule.name, 0), &scope.whose.nodes, span)? {
            let matches = match &step.matches {
                None => true,
                Some(part) => {
                    self.matches((scope, log), part, (found, &happening.event), failed)?
                }
            };
            if self.looked.is_some() {
                let at = Timestamp::from_unix_ms(at).to_string();
                came.push(Came { event: found.to_string(), at, matches });
            }
            if matches {
                return Ok((came, true));
            }
        }
        Ok((came, false))
    }

    /// Writes down, of all that waits, what has come already of that which is to stay away, and how what is to hold still stands: what
    /// the timer will find when it rings, unless that changes until then. None rings because of it.
    pub(in super::super) fn look_at_waiting(
        &mut self,
        db: &Connection,
        log: &dyn Records,
        now_ms: i64,
    ) -> Result<()> {
        let set = Arc::clone(&self.set);
        let kept = std::mem::take(&mut self.kept);
        for Timer { due_ms, rule, node, record, since_ms } in waiting::timers(db)? {
            let Some(rule) = set.rule(&rule) else { continue };
            let Some(trigger) = log.at(record) else { continue };
            let happening = Happening::of(&trigger);
            let person = Whole::person(db, node)?;
            let accounts = match rule.per {
                Per::Person => Vec::new(),
                Per::Account => asking::accounts(db, &person, &trigger)?,
            };
            for whose in whose(rule.per, &person, &accounts) {
                let scope = Scope::new(db, &set, &kept, whose, now_ms);
                let found = match &rule.when {
                    When::Without { step, .. } => {
                        let span = ((since_ms, record), due_ms);
                        self.came((&scope, log), (rule, step), span, &happening, &mut None)?
                    }
                    _ => (Vec::new(), false),
                };
                let still = stills(&scope, rule, happening.about())?;
                self.stands((rule, whose), record, found, still);
            }
        }
        self.kept = kept;
        Ok(())
    }
}
