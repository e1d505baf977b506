//! What of a line goes by the hour or by the day of the week, and what of it does not.
//! Promises that nothing is asked of clocks on walls where none is looked at. Deliberately does not know when it is asked.

use rusqlite::Result;

use super::{
    super::super::{
        calls::SPANS,
        part::Part,
        rule::{Crossing, Measure, Rule},
        scope::{About, Scope},
        set::RuleSet,
        wall::{Clocks, Walls},
    },
    ahead::Question,
};

/// By what each part of a line goes.
pub(super) struct Hours {
    measure: Clocks,
    /// For each condition.
    conditions: Vec<By>,
    /// All clocks that any of it looks at.
    all: Clocks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// By no clock on a wall.
    Time,
    /// By such clocks, and else by nothing that time moves.
    Walls,
    Both,
}

impl Hours {
    pub(super) fn of(set: &RuleSet, crossing: &Crossing, conditions: &[Part]) -> Self {
        let measure = match crossing.of {
            Measure::Feature(_) => Clocks::default(),
            Measure::Score(at) => of_score(set, at),
        };
        let all = conditions.iter().fold(measure.clone(), |all, it| all.and(&of_part(set, it)));
        let by = |part: &Part| {
            let moves = !part.features.is_empty()
                || !part.scores.is_empty()
                || SPANS.iter().any(|(function, ..)| part.expression.calls(function));
            match (of_part(set, part).is_none(), moves) {
                (true, _) => By::Time,
                (false, false) => By::Walls,
                (false, true) => By::Both,
            }
        };
        Self { measure, conditions: conditions.iter().map(by).collect(), all }
    }

    /// Whether any of it does.
    pub(super) fn matter(&self) -> bool {
        !self.all.is_none()
    }

    /// The clocks that there are to look at: conditions have no part in whether what has crossed a line is back. `None` if none.
    pub(super) fn walls(&self, scope: &Scope<'_>, is_crossed: bool) -> Result<Option<Walls>> {
        let clocks = if is_crossed { &self.measure } else { &self.all };
        Ok(match (clocks.is_none(), clocks.are_local()) {
            (true, _) => None,
            (_, true) => Some(clocks.at(&scope.timezone()?)),
            (_, false) => Some(clocks.at("UTC")),
        })
    }
}

/// Whether a line is crossed, this way or back.
pub(super) struct Turns<'a, 's> {
    pub(super) scope: &'a Scope<'s>,
    pub(super) rule: &'a Rule,
    pub(super) crossing: &'a Crossing,
    pub(super) hours: &'a Hours,
    pub(super) is_crossed: bool,
}

impl Turns<'_, '_> {
    /// All of it, at one moment.
    pub(super) fn at(&self, at_ms: i64) -> Result<bool> {
        let scope = self.scope.at(at_ms, at_ms);
        Ok(self.measured(&scope)? && self.hold(&scope, |_| true)?)
    }

    fn measured(&self, scope: &Scope<'_>) -> Result<bool> {
        let Some(value) = scope.measure(&self.crossing.of)? else { return Ok(false) };
        Ok(match self.is_crossed {
            true => self.crossing.is_back(value),
            false => self.crossing.is_beyond(value),
        })
    }

    /// Whether those of its conditions hold that go by this.
    fn hold(&self, scope: &Scope<'_>, which: impl Fn(By) -> bool) -> Result<bool> {
        let mut holds = true;
        for (condition, by) in self.rule.conditions.iter().zip(&self.hours.conditions) {
            if !self.is_crossed && which(*by) {
                holds = holds && scope.holds(condition, About::default())?;
            }
        }
        Ok(holds)
    }
}

impl Question for Turns<'_, '_> {
    fn by_time(&mut self, at_ms: i64) -> Result<bool> {
        let scope = self.scope.at(at_ms, at_ms);
        let is_asked = self.hours.measure.is_none();
        Ok((!is_asked || self.measured(&scope)?) && self.hold(&scope, |by| by == By::Time)?)
    }

    fn by_walls(&mut self, shown_ms: i64) -> Result<bool> {
        self.hold(&self.scope.at(self.scope.now_ms, shown_ms), |by| by == By::Walls)
    }

    fn by_both(&mut self, at_ms: i64, shown_ms: i64) -> Result<bool> {
        let scope = self.scope.at(at_ms, shown_ms);
        let is_asked = !self.hours.measure.is_none();
        Ok((!is_asked || self.measured(&scope)?) && self.hold(&scope, |by| by == By::Both)?)
    }
}

/// By way of scores, too.
fn of_part(set: &RuleSet, part: &Part) -> Clocks {
    let scores = part.scores.iter().filter_map(|name| set.score(name));
    scores.fold(part.clocks.clone(), |all, at| all.and(&of_score(set, at)))
}

/// One by a model goes by its answers alone.
fn of_score(set: &RuleSet, at: usize) -> Clocks {
    let terms = set.scores[at].terms.iter();
    terms.fold(Clocks::default(), |all, (_, term)| all.and(&of_part(set, term)))
}
