//! `[rules.NAME]`. Promises keys that go together. Deliberately leaves what it does to `deed`.

use toml::Spanned;

use super::{
    super::{
        length::ms,
        set::{Late, Rule, RuleSet, Step, When},
    },
    MOST_PARTS, Mistake, Reading,
    deed::deed,
    part::{OF_A_MATCH, OF_A_RULE, OF_A_SUBJECT, Place, Wanted},
    raw::{From, RawRule, RawWithout, Text, all},
};

impl Reading<'_> {
    pub(super) fn rule(
        &self,
        name: Text,
        raw: Spanned<RawRule>,
        set: &RuleSet,
    ) -> Result<Rule, Mistake> {
        let at = name.span().start;
        let raw = raw.into_inner();
        let kinds = [
            ("without", raw.without.is_some()),
            ("sequence", raw.sequence.is_some()),
            ("at", raw.at.is_some()),
            ("crosses", raw.crosses.is_some()),
        ];
        let kinds: Vec<_> = kinds.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect();
        if kinds.len() > 1 {
            return Err((
                at,
                format!("`{}` do not go together in one rule", kinds.join("` and `")),
            ));
        }
        if raw.at.is_none() && (raw.before.is_some() || raw.after.is_some()) {
            return Err((at, "`before` and `after` go with `at`".to_owned()));
        }
        // A score is made of all events of its features, and it is what it is now: no one event has set it off.
        if raw.crosses.is_some() && matches!(raw.from, Some(From::Server)) {
            let message = "`from` does not go with `crosses`: say `if = 'event.trust == \"server\"'` in the features that it is made of";
            return Err((at, message.to_owned()));
        }
        if raw.crosses.is_some() && raw.late == Late::Skip {
            let message = "`late = \"skip\"` does not go with `crosses`: a score or a feature is what it is now";
            return Err((at, message.to_owned()));
        }
        let crossing = raw.crosses.map(|it| self.crossing(it, set)).transpose()?;
        let measured = crossing.as_ref().map(|it| set.per_of(&it.of));
        let per = match (raw.per, measured) {
            (Some(per), Some(of)) if per != of => {
                return Err((
                    at,
                    "`per` is not that of what crosses the line; leave it out".to_owned(),
                ));
            }
            (per, of) => per.or(of).unwrap_or_default(),
        };
        let needs_event = crossing.is_none()
            && raw.sequence.as_ref().is_none_or(|it| it.get_ref().steps.is_none());
        if needs_event == raw.on.is_none() {
            let message = match needs_event {
                true => "the key `on` is missing: the event that the rule is about",
                false => "`on` does not go with `crosses`, nor with `steps`: leave it out",
            };
            return Err((at, message.to_owned()));
        }
        let mut on = raw.on.map(|on| self.all_of(all(on))).transpose()?.unwrap_or_default();
        let when = if let Some(of) = crossing {
            When::Crosses(of)
        } else if let Some(without) = raw.without {
            let RawWithout { event, within, matches } = without.into_inner();
            let place =
                Place { key: "without.match", variables: OF_A_MATCH, per, wanted: Wanted::Truth };
            let matches = matches.map(|text| self.part(&text, place)).transpose()?;
            When::Without { step: Step { on: self.all_of(all(event))?, matches }, within: within.0 }
        } else if let Some(sequence) = raw.sequence {
            let (steps, within) = self.sequence(sequence, &mut on)?;
            When::Sequence { steps, within }
        } else if let Some(time) = &raw.at {
            let place = Place { key: "at", variables: OF_A_RULE, per, wanted: Wanted::Anything };
            let shift_ms = match (raw.before, raw.after) {
                (Some(_), Some(_)) => {
                    return Err((at, "`before` and `after` do not go together".to_owned()));
                }
                (Some(before), None) => -ms(before.0),
                (None, after) => after.map_or(0, |after| ms(after.0)),
            };
            When::At { time: self.part(time, place)?, shift_ms }
        } else {
            When::Event
        };
        let is_timed = matches!(when, When::Crosses(_));
        let variables = if is_timed { OF_A_SUBJECT } else { OF_A_RULE };
        let conditions = raw.conditions.map(all).unwrap_or_default();
        if conditions.len() > MOST_PARTS {
            return Err((at, format!("a rule has at most {MOST_PARTS} conditions")));
        }
        let place = Place { key: "if", variables, per, wanted: Wanted::Truth };
        let conditions = conditions.iter().map(|text| self.part(text, place));
        let is_waited = matches!(when, When::Without { .. } | When::At { .. });
        if raw.still.is_some() && !is_waited {
            return Err((
                at,
                "`still` is asked when a timer rings: it goes with `without` and `at`".to_owned(),
            ));
        }
        let asked_again = Place { key: "still", variables: OF_A_RULE, per, wanted: Wanted::Truth };
        let still = raw.still.map(all).unwrap_or_default();
        if still.len() > MOST_PARTS {
            return Err((at, format!("a rule has at most {MOST_PARTS} conditions")));
        }
        let still = still.iter().map(|text| self.part(text, asked_again));
        let percent = *raw.percent.get_ref();
        if percent > 100 {
            return Err((raw.percent.span().start, "`percent` is 0 to 100".to_owned()));
        }
        let says_nothing = raw.then.as_ref().is_some_and(Vec::is_empty);
        let then = raw.then.unwrap_or_default();
        if then.len() > MOST_PARTS {
            return Err((at, format!("a rule does at most {MOST_PARTS} things")));
        }
        Ok(Rule {
            file: self.file.name.clone(),
            key: String::new(),
            description: raw.description,
            revision: raw.revision,
            per,
            on,
            conditions: conditions.collect::<Result<_, _>>()?,
            when,
            still: still.collect::<Result<_, _>>()?,
            only_server: matches!(raw.from, Some(From::Server)),
            late: raw.late,
            limit: raw.limit.map(|it| (it.times, it.within.0)),
            pending: raw.pending,
            enabled: raw.enabled,
            dry_run: raw.dry_run,
            percent,
            then: then.into_iter().map(deed).collect::<Result<_, _>>()?,
            says_nothing,
            decision: raw.decision,
            urgent: raw.urgent,
            asks: None,
            name: name.into_inner(),
        })
    }
}
