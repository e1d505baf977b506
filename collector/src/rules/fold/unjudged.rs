//! A condition of a rule is judged, and where it cannot be worked out, that is noted.
//! Promises that it costs nothing where it can. Deliberately takes what is not known of somebody yet for no mistake: see
//! `rules::unjudged`.

use rusqlite::Result;

use super::{
    super::{
        part::Part,
        rule::{Rule, When},
        scope::{About, Scope},
        set::{Feature, RuleSet},
        tally::{Came, What},
        unjudged::{Unjudged, is_not_known_yet},
    },
    Fold,
    happening::Happening,
};
use crate::event_log::Offset;

/// When a rule is looked at.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// By the log's time, in milliseconds of unix time.
    pub(super) at_ms: i64,
    /// In the log's order.
    pub(super) place: (Offset, i64),
}

/// Where a condition stands.
#[derive(Clone, Copy)]
pub(super) enum Place<'s> {
    /// It is one of the rule's own.
    Rule,
    /// It says which event goes with the one that began.
    Match,
    /// It says which events a feature counts.
    Feature(&'s str),
}

/// The first condition of several of the same kind that could not be worked out, and why: a look back at many events is one look.
pub(super) type Failed<'p> = Option<(&'p Part, String)>;

impl Place<'_> {
    fn word(self) -> Option<String> {
        match self {
            Self::Rule => None,
            Self::Match => Some("match".to_owned()),
            Self::Feature(name) => Some(format!("features.{name}")),
        }
    }
}

impl Fold {
    /// Whether a condition holds. What cannot be told does not.
    pub(super) fn holds(
        &mut self,
        scope: &Scope<'_>,
        (rule, condition): (&Rule, &Part),
        happening: Option<&Happening<'_>>,
        moment: Moment,
    ) -> Result<bool> {
        let about: About<'_> = happening.map(Happening::about).unwrap_or_default();
        match scope.judge(condition, about)? {
            Ok(holds) => Ok(holds),
            Err(why) => {
                self.cannot_judge((rule, condition, Place::Rule), why, happening, moment);
                Ok(false)
            }
        }
    }

    /// Notes that it could not be told whether an event goes with the one that began, if so.
    pub(super) fn cannot_match(
        &mut self,
        rule: &Rule,
        failed: Failed<'_>,
        happening: &Happening<'_>,
        moment: Moment,
    ) {
        if let Some((part, why)) = failed {
            self.cannot_judge((rule, part, Place::Match), why, Some(happening), moment);
        }
    }

    /// Notes that it could not be told whether a feature counts an event, for each rule that looks at it.
    #[cold]
    pub(super) fn cannot_count(
        &mut self,
        (set, feature): (&RuleSet, usize),
        why: &str,
        happening: &Happening<'_>,
        moment: Moment,
    ) {
        let Feature { name, condition: Some(condition), .. } = &set.features[feature] else {
            return;
        };
        for rule in set.rules.iter().filter(|rule| rule.enabled && set.reads(rule, feature)) {
            let of = (rule, condition, Place::Feature(name));
            self.cannot_judge(of, why.to_owned(), Some(happening), moment);
        }
    }

    #[cold]
    fn cannot_judge(
        &mut self,
        (rule, condition, place): (&Rule, &Part, Place<'_>),
        why: String,
        happening: Option<&Happening<'_>>,
        moment: Moment,
    ) {
        if self.tally.is_none() && self.lately.is_none() || is_not_known_yet(condition, &why) {
            return;
        }
        let condition = condition.expression.text().to_owned();
        let of = Unjudged { rule: rule.name.clone(), place: place.word(), condition, why };
        // Of features a rule sees what they were before the event, unless one of them crosses a line because of it.
        let decides_by_it =
            !matches!(place, Place::Feature(_)) || matches!(rule.when, When::Crosses(_));
        if let (Some(lately), Some(happening)) = (&self.lately, happening)
            && rule.decision.is_some()
            && decides_by_it
            && !rule.dry_run
        {
            lately.unjudged(happening.record.offset, &of);
        }
        if self.tally.is_some() {
            let rule = rule.name.clone();
            self.came.push(Came { at: moment.place, rule, what: What::Unjudged(of, moment.at_ms) });
        }
    }
}
