//! `[rules.NAME]`. Promises keys that go together. Deliberately leaves what it does to `deed`.

use toml::Spanned;

use super::{
    super::{
        length::ms,
        part::{On, Per},
        rule::{Late, Rule, Step, When},
        set::RuleSet,
    },
    MOST_PARTS, Mistake, Reading,
    deed::deed,
    part::{OF_A_MATCH, OF_A_RULE, OF_A_SUBJECT, Place, Wanted},
    raw::{From, RawLimit, RawRule, RawWithout, Text, all},
};

impl Reading<'_> {
    /// Reads a rule, and goes on after a mistake to find the next; what it comes to then is of use to nobody.
    pub(super) fn rule(
        &self,
        name: Text,
        raw: Spanned<RawRule>,
        set: &RuleSet,
    ) -> Result<Rule, Mistake> {
        let at = name.span().start;
        let refuse = |message: &str| self.refuse(at, message.to_owned());
        let mut raw = raw.into_inner();
        let kinds = [
            ("without", raw.without.is_some()),
            ("sequence", raw.sequence.is_some()),
            ("at", raw.at.is_some()),
            ("crosses", raw.crosses.is_some()),
        ];
        let kinds: Vec<_> = kinds.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect();
        if kinds.len() > 1 {
            refuse(&format!("`{}` do not go together in one rule", kinds.join("` and `")));
        }
        if raw.at.is_none() && (raw.before.is_some() || raw.after.is_some()) {
            refuse("`before` and `after` go with `at`");
        }
        // A score is made of all events of its features, and it is what it is now: no one event has set it off.
        if raw.crosses.is_some() && matches!(raw.from, Some(From::Server)) {
            refuse(
                "`from` does not go with `crosses`: say `if = 'event.trust == \"server\"'` in the features that it is made of",
            );
        }
        if raw.crosses.is_some() && raw.late == Late::Skip {
            refuse(
                "`late = \"skip\"` does not go with `crosses`: a score or a feature is what it is now",
            );
        }
        // Whose it is nobody knows otherwise, nor what its conditions may look at.
        let crossing = raw.crosses.take().map(|it| self.crossing(it, set)).transpose()?;
        let measured = crossing.as_ref().map(|it| set.per_of(&it.of));
        if let (Some(per), Some(of)) = (raw.per, measured)
            && per != of
        {
            refuse("`per` is not that of what crosses the line; leave it out");
        }
        let per = measured.or(raw.per).unwrap_or_default();
        let needs_event = crossing.is_none()
            && raw.sequence.as_ref().is_none_or(|it| it.get_ref().steps.is_none());
        if needs_event == raw.on.is_none() {
            refuse(match needs_event {
                true => "the key `on` is missing: the event that the rule is about",
                false => "`on` does not go with `crosses`, nor with `steps`: leave it out",
            });
        }
        let on = raw.on.take().and_then(|on| self.keep(self.all_of(all(on))));
        let mut on = on.unwrap_or_default();
        let when = match crossing {
            Some(of) => When::Crosses(of),
            None => self.when(at, &mut raw, per, &mut on)?,
        };
        let is_timed = matches!(when, When::Crosses(_));
        let variables = if is_timed { OF_A_SUBJECT } else { OF_A_RULE };
        let conditions = raw.conditions.map(all).unwrap_or_default();
        if conditions.len() > MOST_PARTS {
            refuse(&format!("a rule has at most {MOST_PARTS} conditions"));
        }
        let place = Place { key: "if", variables, per, wanted: Wanted::Truth };
        let conditions = conditions.iter().filter_map(|text| self.keep(self.part(text, place)));
        let is_waited = raw.at.is_some() || matches!(when, When::Without { .. });
        if raw.still.is_some() && !is_waited {
            refuse("`still` is asked when a timer rings: it goes with `without` and `at`");
        }
        if raw.decision.is_some() && is_waited {
            refuse(
                "a `decision` is made at once, for who waits for it: it does not go with `without`, nor with `at`",
            );
        }
        let asked_again = Place { key: "still", variables: OF_A_RULE, per, wanted: Wanted::Truth };
        let still = raw.still.map(all).unwrap_or_default();
        if still.len() > MOST_PARTS {
            refuse(&format!("a rule has at most {MOST_PARTS} conditions"));
        }
        let still = still.iter().filter_map(|text| self.keep(self.part(text, asked_again)));
        let percent = *raw.percent.get_ref();
        if percent > 100 {
            self.refuse(raw.percent.span().start, "`percent` is 0 to 100".to_owned());
        }
        let limit = raw.limit.as_ref().map(|limit| {
            let RawLimit { times, within } = limit.get_ref();
            if *times == 0 {
                let never =
                    "`limit`: with `times = 0` the rule never fires: leave it out, or stop it with `enabled = false`";
                self.refuse(limit.span().start, never.to_owned());
            }
            (*times, within.0)
        });
        let says_nothing = raw.then.as_ref().is_some_and(Vec::is_empty);
        let then = raw.then.unwrap_or_default();
        if then.len() > MOST_PARTS {
            refuse(&format!("a rule does at most {MOST_PARTS} things"));
        }
        let then = then.into_iter().filter_map(|raw| self.keep(deed(raw, self.file)));
        let (then, places) = then.unzip();
        Ok(Rule {
            file: self.file.name.clone(),
            key: String::new(),
            description: raw.description,
            revision: raw.revision,
            per,
            on,
            conditions: conditions.collect(),
            when,
            still: still.collect(),
            only_server: matches!(raw.from, Some(From::Server)),
            late: raw.late,
            limit,
            pending: raw.pending,
            enabled: raw.enabled,
            dry_run: raw.dry_run,
            percent,
            then,
            places,
            says_nothing,
            decision: raw.decision,
            urgent: raw.urgent,
            asks: None,
            name: name.into_inner(),
        })
    }
    /// When a rule is so that crosses no line; the last of a sequence's steps becomes what the rule is about.
    fn when(
        &self,
        at: usize,
        raw: &mut RawRule,
        per: Per,
        on: &mut Vec<On>,
    ) -> Result<When, Mistake> {
        if let Some(without) = raw.without.take() {
            let RawWithout { event, within, matches } = without.into_inner();
            let place =
                Place { key: "without.match", variables: OF_A_MATCH, per, wanted: Wanted::Truth };
            let matches = matches.and_then(|text| self.keep(self.part(&text, place)));
            let on = self.keep(self.all_of(all(event))).unwrap_or_default();
            return Ok(When::Without { step: Step { on, matches }, within: within.0 });
        }
        if let Some(sequence) = raw.sequence.take() {
            let (steps, within) = self.sequence(sequence, on)?;
            return Ok(When::Sequence { steps, within });
        }
        let Some(time) = &raw.at else { return Ok(When::Event) };
        let place = Place { key: "at", variables: OF_A_RULE, per, wanted: Wanted::Anything };
        let shift_ms = match (raw.before, raw.after) {
            (Some(_), Some(_)) => {
                return Err((at, "`before` and `after` do not go together".to_owned()));
            }
            (Some(before), None) => -ms(before.0),
            (None, after) => after.map_or(0, |after| ms(after.0)),
        };
        let time = self.keep(self.part(time, place));
        Ok(time.map_or(When::Event, |time| When::At { time, shift_ms }))
    }
}
