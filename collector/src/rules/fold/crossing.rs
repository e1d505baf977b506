//! Scores and features that cross a line: because of an event, or because time passes alone.
//! Promises that the moment is found to the second, and that a line counts once until what crossed it was back.

mod ahead;
mod hours;
mod next;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rusqlite::{Connection, Result};
use serde_json::{Value as Json, json};

use super::{
    super::{
        legible,
        rule::{Crossing, Measure, Rule, When},
        scope::{About, Scope},
        set::RuleSet,
        tally, waiting,
        wall::next_quarter,
    },
    DEEPEST, Fold,
    happening::Happening,
    key, keys, reasons,
    unjudged::Moment,
};
use crate::{
    event_log::Offset,
    expression::value,
    people::{Node, Whole},
};
use ahead::EXACTLY_MS;
use hours::Hours;

/// How soon after an event that which time alone moves is looked at where its windows are long: it moves slowly then, and an event
/// more often than this costs nothing.
const LOOK_MS: i64 = 10 * 60 * 1000;

/// A rule that crosses a line.
pub(super) struct Line {
    /// The rule's place in the set.
    pub(super) rule: usize,
    /// Whether what it is about may move with a feature, by the feature's place.
    pub(super) moves: Vec<bool>,
    /// Whether it may move with any event, since it goes by what is known of people.
    pub(super) goes_by_people: bool,
    /// Whether it moves with time.
    pub(super) ages: bool,
    /// Features with windows that it looks at: with time they move in steps, any way.
    windowed: Vec<usize>,
    /// Whether it moves between those steps.
    goes_by_the_clock: bool,
    /// What of it goes by the hour or the day of the week.
    hours: Hours,
    /// Whether time alone can bring it back, and never over its line.
    only_back: bool,
    /// The same where nothing but the line says whether the rule fires.
    is_bare: bool,
    /// How soon after an event time can have moved it: by its shortest window, and no later than where those are long.
    soonest_ms: i64,
}

impl Line {
    pub(super) fn all(set: &RuleSet) -> Arc<[Self]> {
        let of = |(rule, it): (usize, &Rule)| match &it.when {
            When::Crosses(crossing) if it.enabled => Some(Self {
                rule,
                moves: (0..set.features.len()).map(|at| set.moves(&crossing.of, at)).collect(),
                goes_by_people: set.goes_by_people(&crossing.of),
                ages: set.ages(&crossing.of),
                windowed: set.windowed(&crossing.of, &it.conditions),
                goes_by_the_clock: set.goes_by_the_clock(&crossing.of, &it.conditions),
                hours: Hours::of(set, crossing, &it.conditions),
                only_back: set.only_goes_back(crossing, &it.conditions),
                is_bare: it.conditions.is_empty(),
                soonest_ms: set
                    .soonest_ms(&set.windowed(&crossing.of, &it.conditions))
                    .unwrap_or(LOOK_MS)
                    .clamp(EXACTLY_MS, LOOK_MS),
            }),
            _ => None,
        };
        set.rules.iter().enumerate().filter_map(of).collect()
    }

    /// When it is to be looked at after an event. With short windows as soon as one of them can make a step: in ten minutes it can be
    /// over the line and back several times; and where it goes by the hour, no later than the next one can begin.
    pub(super) fn next_look(&self, scope: &Scope<'_>, is_beyond: bool) -> Result<Option<i64>> {
        let due = self.next_step(scope, is_beyond)?;
        let quarter = self.hours.matter().then(|| next_quarter(scope.now_ms));
        Ok(due.map(|due| quarter.map_or(due, |quarter| due.min(quarter))))
    }

    fn next_step(&self, scope: &Scope<'_>, is_beyond: bool) -> Result<Option<i64>> {
        let now = scope.now_ms;
        if !self.ages || self.only_back && self.is_bare && !is_beyond {
            return Ok(None);
        }
        // What only goes back fires no sooner for being looked at sooner: it is asked at the next event, too.
        if self.only_back || self.soonest_ms == LOOK_MS {
            return Ok(Some(now + self.soonest_ms));
        }
        let step = scope.steps(&self.windowed)?.first().copied();
        Ok(Some(step.map_or(now + LOOK_MS, |step| step.clamp(now + EXACTLY_MS, now + LOOK_MS))))
    }
}

impl Fold {
    /// Looks again at what time alone moves.
    pub(super) fn look(
        &mut self,
        db: &Connection,
        rule: &str,
        (node, account): (Node, i64),
        now: i64,
        position: Offset,
    ) -> Result<()> {
        let set = Arc::clone(&self.set);
        let Some(number) = self.place(rule) else { return Ok(()) };
        let whose = match account {
            0 => Whole::person(db, node)?,
            number => {
                let Some(whose) = Whole::account(db, number, node)? else { return Ok(()) };
                whose
            }
        };
        // Who was merged into another is looked at as that one.
        if account == 0 && whose.person != node {
            return Ok(());
        }
        let kept = std::mem::take(&mut self.kept);
        let scope = Scope::new(db, &set, &kept, &whose, now);
        let next = self
            .crossed(&scope, number, position, None, None)
            .and_then(|_| self.crosses_next(&scope, number));
        drop(scope);
        self.kept = kept;
        let Some(due) = next? else { return Ok(()) };
        waiting::look_by(db, &mut self.standing, (number, rule), (node, account), due)?;
        self.due_by(due);
        Ok(())
    }

    /// Whether somebody stands beyond a line as an event comes, before it counts. Who is back by then is armed again.
    pub(super) fn is_beyond_still(
        &mut self,
        scope: &Scope<'_>,
        number: usize,
        happening: &Happening<'_>,
    ) -> Result<bool> {
        let rule = &scope.set.rules[number];
        let When::Crosses(crossing) = &rule.when else { return Ok(false) };
        let (db, keys, by) = (scope.db, keys(scope.whose), (number, rule.name.as_str()));
        if !waiting::is_crossed(db, &mut self.standing, by, &keys)? {
            return Ok(false);
        }
        if !scope.measure(&crossing.of)?.is_some_and(|value| crossing.is_back(value)) {
            return Ok(true);
        }
        waiting::rearm(db, &mut self.standing, by, &keys)?;
        let outcome = "it was back before the event, and is armed again";
        self.looked_across(scope, (rule, crossing), Some(happening), outcome)?;
        Ok(false)
    }

    /// Looks at what may have crossed its line; `was_beyond` where that is known. Whether it is beyond it now.
    pub(super) fn crossed(
        &mut self,
        scope: &Scope<'_>,
        number: usize,
        position: Offset,
        event: Option<(&Happening<'_>, Node)>,
        was_beyond: Option<bool>,
    ) -> Result<bool> {
        let rule = &scope.set.rules[number];
        let When::Crosses(crossing) = &rule.when else { return Ok(false) };
        let (db, whose, by) = (scope.db, scope.whose, (number, rule.name.as_str()));
        let found = scope.measure(&crossing.of)?;
        let mut is_crossed = match was_beyond {
            Some(is_crossed) => is_crossed,
            None => waiting::is_crossed(db, &mut self.standing, by, &keys(whose))?,
        };
        let mut outcome = "it is not beyond the line";
        match found {
            None => outcome = "there is nothing to go by yet",
            Some(value) if is_crossed && crossing.is_back(value) => {
                waiting::rearm(db, &mut self.standing, by, &keys(whose))?;
                is_crossed = false;
                outcome = "it is armed again";
            }
            Some(_) if is_crossed => {
                outcome = "it has crossed the line before, and is not back yet";
            }
            Some(value) if crossing.is_beyond(value) => {
                let mut holds = true;
                let time = if event.is_some() { tally::AT_ONCE } else { scope.now_ms };
                let at = Moment { at_ms: scope.now_ms, place: (position, time) };
                for condition in &rule.conditions {
                    holds = holds && self.holds(scope, (rule, condition), None, at)?;
                }
                outcome = "its conditions do not hold";
                is_crossed = holds;
                let is_too_deep = event.is_some_and(|(happening, _)| happening.depth >= DEEPEST);
                if holds && is_too_deep {
                    // It stands where it stands; but what rules set off sets off no more.
                    waiting::cross(db, &mut self.standing, by, key(whose))?;
                    outcome = "too many rules stand before it";
                } else if holds {
                    waiting::cross(db, &mut self.standing, by, key(whose))?;
                    let (happening, node) = match event {
                        Some((happening, node)) => (Some(happening), node),
                        None => (None, whose.main_user(db, scope.now_ms)?),
                    };
                    outcome = self.fire(scope, rule, node, scope.now_ms, happening, position)?;
                }
            }
            Some(_) => {}
        }
        self.looked_across(
            scope,
            (rule, crossing),
            event.map(|(happening, _)| happening),
            outcome,
        )?;
        Ok(is_crossed)
    }

    /// Writes down what came of a look at a line, if anyone wants to know.
    fn looked_across(
        &mut self,
        scope: &Scope<'_>,
        (rule, crossing): (&Rule, &Crossing),
        event: Option<&Happening<'_>>,
        outcome: &str,
    ) -> Result<()> {
        if self.looked.is_none() {
            return Ok(());
        }
        let reasons = reasons(scope, rule, About::default())?;
        let record = event.map(|happening| happening.record.offset);
        self.looked_at((rule, scope.whose), scope.now_ms, record, outcome, || reasons);
        let measured = measured(scope, crossing)?;
        if let Some(last) = self.looked.as_mut().and_then(|all| all.last_mut()) {
            last.measured = Some(measured);
        }
        Ok(())
    }
}

impl Crossing {
    fn is_beyond(&self, value: f64) -> bool {
        if self.rising { value > self.line } else { value < self.line }
    }

    /// On a line without another to be armed again by, it is back.
    #[allow(clippy::float_cmp, reason = "both are as they were written")]
    fn is_back(&self, value: f64) -> bool {
        let at_the_line = self.rearm == self.line && value == self.line;
        at_the_line || if self.rising { value < self.rearm } else { value > self.rearm }
    }
}

/// What crosses a line, with what it is made of.
pub(super) fn measured(scope: &Scope<'_>, crossing: &Crossing) -> Result<Json> {
    let line = if crossing.rising { "above" } else { "below" };
    Ok(match &crossing.of {
        Measure::Score(at) => {
            let mut scored = serde_json::to_value(scope.scored(&scope.set.scores[*at])?)
                .expect("numbers and texts are JSON");
            scored[line] = json!(crossing.line);
            scored
        }
        Measure::Feature(at) => json!({
            "feature": scope.set.features[*at].name,
            "value": legible::json(&value::to_json(&scope.feature(*at)?).unwrap_or_default()),
            line: crossing.line,
        }),
    })
}
