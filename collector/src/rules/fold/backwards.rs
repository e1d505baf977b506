//! What has happened before: the steps of a sequence, and which event goes with which.
//! Promises that the latest that fits is taken, whoever it is by now. Deliberately keeps offsets, and no event.

use rusqlite::{Connection, Result};

use super::{
    super::{
        event::Event,
        firing,
        length::ms,
        part::Part,
        rule::{Rule, Step, When},
        scope::{About, Scope},
        waiting,
    },
    Fold, Records,
    happening::{Happening, LATE_MS},
    unjudged::Failed,
};
use crate::{
    event_log::{Offset, Trust},
    people::Node,
};

impl Fold {
    /// Whether the steps before the last have happened one after the other since then, and since the rule last fired.
    pub(super) fn came_before(
        &self,
        scope: &Scope<'_>,
        log: &dyn Records,
        rule: &Rule,
        steps: &[Step],
        from_ms: i64,
        happening: &Happening<'_>,
    ) -> Result<bool> {
        // Most have not: of them it need not be known when the rule last fired.
        if !self.came_since(scope, log, rule, steps, from_ms, happening)? {
            return Ok(false);
        }
        match firing::last(scope.db, rule, scope.whose)? {
            Some(last) if last > from_ms => {
                self.came_since(scope, log, rule, steps, last, happening)
            }
            _ => Ok(true),
        }
    }

    /// Whether they have happened since then.
    pub(super) fn came_since(
        &self,
        scope: &Scope<'_>,
        log: &dyn Records,
        rule: &Rule,
        steps: &[Step],
        since: i64,
        happening: &Happening<'_>,
    ) -> Result<bool> {
        let mut before = (happening.time_ms(), happening.record.offset);
        // The latest that fits each time: whatever comes before it had more room.
        for number in (0..steps.len()).rev() {
            // The same event under several numbers stands under the first.
            let first = steps.iter().position(|step| step.on == steps[number].on).unwrap_or(number);
            let span = ((since, Offset::from_number(i64::MAX)), before);
            let found = waiting::happened(scope.db, (&rule.name, first), &scope.whose.nodes, span)?;
            let fits = |(_, record): &(i64, Offset)| match &steps[number].matches {
                None => Ok(true),
                Some(part) => {
                    // No file gives a step of a sequence one: what cannot be told is told of `without`.
                    let pair = (*record, &happening.event);
                    self.matches((scope, log), part, pair, &mut None)
                }
            };
            let mut latest = None;
            for candidate in found {
                if fits(&candidate)? {
                    latest = Some(candidate);
                    break;
                }
            }
            match latest {
                Some(found) => before = found,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Whether an event goes with the one that began. Where that cannot be told it does not, and `failed` has it.
    pub(super) fn matches<'r>(
        &self,
        (scope, log): (&Scope<'_>, &dyn Records),
        part: &'r Part,
        (record, trigger): (Offset, &Event<'_>),
        failed: &mut Failed<'r>,
    ) -> Result<bool> {
        // One that was erased goes with nothing.
        let Some(found) = log.at(record) else { return Ok(false) };
        let found = Happening::of(&found);
        let about = About { event: Some(&found.event), trigger: Some(trigger) };
        Ok(scope.judge(part, about)?.unwrap_or_else(|why| {
            failed.get_or_insert((part, why));
            false
        }))
    }

    /// Notes an event that rules look back at.
    pub(super) fn step(
        &mut self,
        db: &Connection,
        rule: &Rule,
        number: usize,
        happening: &Happening<'_>,
        main: Node,
    ) -> Result<()> {
        let (steps, within): (&[Step], _) = match &rule.when {
            When::Without { step, within } => (std::slice::from_ref(step), within),
            When::Sequence { steps, within } => (steps, within),
            _ => return Ok(()),
        };
        if rule.only_server && happening.record.trust == Trust::Client {
            return Ok(());
        }
        let same = steps.iter().position(|step| step.on == steps[number].on);
        if same.is_some_and(|first| first < number) {
            return Ok(());
        }
        // What the rule is still about may come as late as the events that it was said with.
        let forget = happening.time_ms() - 2 * ms(*within) - LATE_MS;
        let at = (happening.time_ms(), happening.record.offset);
        waiting::note(db, (&rule.name, number), main, at, forget)
    }
}
