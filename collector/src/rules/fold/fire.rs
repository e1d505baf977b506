//! A rule is so: a firing, or why there is none, and whether anything is done because of it.
//! Promises the same for the same log. Deliberately looks at no condition: whoever calls has.

use rusqlite::Result;
use serde_json::json;

use super::{
    super::{
        firing::{self, Firing},
        length::ms,
        part::On,
        rule::{Late, Pending, Rule, When},
        scope::Scope,
        tally,
    },
    Fold, asking,
    crossing::measured,
    fate::fates,
    happening::Happening,
    looked, reasons,
};
use crate::{
    event_log::{Offset, Timestamp},
    people::{Node, Whole},
};

impl Fold {
    /// A rule is so. What came of it, in words.
    pub(super) fn fire(
        &mut self,
        scope: &Scope<'_>,
        rule: &Rule,
        node: Node,
        at_ms: i64,
        happening: Option<&Happening<'_>>,
        position: Offset,
    ) -> Result<&'static str> {
        let waited = matches!(rule.when, When::Without { .. } | When::At { .. });
        let is_at_once = happening.is_some() && !waited;
        let place = (position, if is_at_once { tally::AT_ONCE } else { at_ms });
        if let Some((times, within)) = rule.limit
            && firing::count(scope.db, rule, scope.whose, at_ms - ms(within))? >= times
        {
            self.tally(rule, place, tally::What::Firing(tally::OVER_LIMIT));
            return Ok("it has fired as often as its limit allows");
        }
        let held = self.held(rule, scope.whose, happening, at_ms);
        let about = happening.map(Happening::about).unwrap_or_default();
        let mut why = json!({ "conditions": reasons(scope, rule, about)? });
        if let When::Crosses(crossing) = &rule.when {
            why["crossed"] = measured(scope, crossing)?;
        }
        if let When::Without { step, .. } = &rule.when {
            let what: Vec<_> = step.on.iter().map(On::in_words).collect();
            let until = Timestamp::from_unix_ms(at_ms).to_string();
            why["waited"] = json!({ "for": what, "until": until, "text": rule.absence() });
        }
        if let Some(decision) = &rule.decision {
            why["decision"] = decision.as_str().into();
            // It decides as the switches stood then, whenever it is read.
            if let Some(happening) = happening {
                why["received_ms"] = happening.record.received_at.unix_ms().into();
            }
        }
        let score = rule.asks.as_ref().and_then(|name| scope.set.score(name));
        if let Some(score) = score.map(|at| &scope.set.scores[at])
            && let Some(model) = &score.model
        {
            why["asked"] = asking::asked(scope, &score.name, model)?;
        }
        if let Some(question) = happening.and_then(|it| it.answers.as_ref()) {
            why["answers"] = question.as_str().into();
        }
        let record = happening.map(|it| it.record.offset);
        let depth = happening.map_or(0, |it| it.depth);
        let whose = scope.whose;
        // Whoever is written to is so now, however long ago it happened.
        let now_ms = happening.map_or(at_ms, |it| at_ms.max(it.record.received_at.unix_ms()));
        let fates = fates(scope, rule, node, now_ms)?;
        let firing = Firing { rule, whose, node, at_ms, record, depth, position, held, why, fates };
        if let (Some(lately), Some(record)) = (&self.lately, record) {
            lately.fired(record);
        }
        if !firing.write(scope.db)? {
            return Ok("it fired before because of this");
        }
        let since = happening.filter(|_| is_at_once).map(|it| it.record.received_at.unix_ms());
        self.tally(
            rule,
            place,
            match held {
                None => tally::What::Fired(since.unwrap_or(at_ms)),
                Some(_) => tally::What::Firing(tally::label(held)),
            },
        );
        if held.is_some() {
            return Ok(looked::HELD);
        }
        self.has_decided |= rule.decision.is_some() && is_at_once;
        for (deed, _) in firing.withheld() {
            self.tally(rule, place, tally::What::Withheld(deed.kind()));
        }
        Ok(looked::FIRED)
    }

    /// Why a firing does nothing.
    fn held(
        &self,
        rule: &Rule,
        whose: &Whole,
        happening: Option<&Happening<'_>>,
        at_ms: i64,
    ) -> Option<&'static str> {
        let in_force = self.in_force.get(&(rule.name.clone(), rule.revision));
        let waited = matches!(rule.when, When::Without { .. } | When::At { .. });
        let is_before = |(since, since_ms): &(Offset, i64)| match happening {
            Some(happening) if waited && rule.pending == Pending::Drop => {
                happening.record.offset <= *since
            }
            // Time passes without any event, and the log stays where it was.
            None => at_ms <= *since_ms,
            Some(_) if waited => at_ms <= *since_ms,
            Some(happening) => happening.record.offset <= *since,
        };
        // What an event is held for itself stays so, whatever becomes of the rule.
        if let Some(happening) = happening {
            if let Some(held) = happening.held() {
                return Some(held);
            }
            // When a line was crossed is known by the log's time, however late the event is that shows it.
            let is_timed = matches!(rule.when, When::Crosses(_));
            if happening.is_late() && rule.late == Late::Record && !is_timed {
                return Some("late");
            }
        }
        if in_force.is_some_and(is_before) {
            return Some(firing::BEFORE);
        }
        if rule.dry_run {
            return Some("dry run");
        }
        let spread = whose.account.as_ref().map_or(whose.person, |(number, _)| *number);
        let of_hundred = crc32c::crc32c(format!("{} {spread}", rule.name).as_bytes()) % 100;
        (of_hundred >= u32::from(rule.percent)).then_some("outside the rollout")
    }
}
