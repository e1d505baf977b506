//! A condition of a rule is judged, and where it cannot be worked out, that is noted.
//! Promises that it costs nothing where it can. Deliberately takes what is not known of somebody yet for no mistake: see
//! `rules::unjudged`.

use rusqlite::Result;

use super::{
    super::{
        part::Part,
        rule::Rule,
        scope::{About, Scope},
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
                self.cannot_judge((rule, condition), why, happening, moment);
                Ok(false)
            }
        }
    }

    #[cold]
    fn cannot_judge(
        &mut self,
        (rule, condition): (&Rule, &Part),
        why: String,
        happening: Option<&Happening<'_>>,
        Moment { at_ms, place }: Moment,
    ) {
        if self.tally.is_none() && self.lately.is_none() || is_not_known_yet(condition, &why) {
            return;
        }
        let condition = condition.expression.text().to_owned();
        let of = Unjudged { rule: rule.name.clone(), condition, why };
        if let (Some(lately), Some(happening)) = (&self.lately, happening)
            && rule.decision.is_some()
            && !rule.dry_run
        {
            lately.unjudged(happening.record.offset, &of);
        }
        if self.tally.is_some() {
            let rule = rule.name.clone();
            self.came.push(Came { at: place, rule, what: What::Unjudged(of, at_ms) });
        }
    }
}
