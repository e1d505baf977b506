//! When a rule is so: what crosses a line, what comes one after the other, and the events that are named. Promises a line that can be crossed, and
//! steps that can be taken. Deliberately knows nothing of conditions.

use std::time::Duration;

use toml::Spanned;

use super::{
    super::{
        part::On,
        rule::{Crossing, Measure, Step},
        set::RuleSet,
        spelling,
    },
    MOST_PARTS, Mistake, Reading, one_of,
    raw::{RawCrosses, RawSequence, Text},
};

use crate::expression::types::Kind;

impl Reading<'_> {
    pub(super) fn crossing(
        &self,
        raw: Spanned<RawCrosses>,
        set: &RuleSet,
    ) -> Result<Crossing, Mistake> {
        let at = raw.span().start;
        let raw = raw.into_inner();
        let of = match (&raw.score, &raw.feature) {
            (Some(name), None) => set
                .score(name.get_ref())
                .map(Measure::Score)
                .ok_or_else(|| unknown("score", name, self.names.scores.keys()))?,
            (None, Some(name)) => set
                .feature(name.get_ref())
                .map(Measure::Feature)
                .ok_or_else(|| unknown("feature", name, self.names.features.keys()))?,
            _ => return Err((at, "`crosses` has a `score` or a `feature`".to_owned())),
        };
        let name = raw.feature.as_ref().map(Spanned::get_ref);
        if name.and_then(|name| self.names.kinds.get(name)) == Some(&Kind::List) {
            let message = "a list crosses no line: count something instead, with `count = true`";
            return Err((at, message.to_owned()));
        }
        let (rising, line, rearm) = match (raw.above, raw.below) {
            (Some(line), None) => (true, line, raw.rearm_below),
            (None, Some(line)) => (false, line, raw.rearm_above),
            _ => return Err((at, "`crosses` has a line, `above` or `below`".to_owned())),
        };
        if !line.is_finite() || rearm.is_some_and(|rearm| !rearm.is_finite()) {
            return Err((at, "a line is a number that something can cross".to_owned()));
        }
        let other = if rising { raw.rearm_above } else { raw.rearm_below };
        let rearm = rearm.unwrap_or(line);
        if other.is_some() || if rising { rearm > line } else { rearm < line } {
            let message = "it is armed again on the other side of the line: `above` goes with `rearm_below`, not beyond it, `below` with \
                           `rearm_above`";
            return Err((at, message.to_owned()));
        }
        Ok(Crossing { of, rising, line, rearm })
    }

    /// The steps before the last, which becomes what the rule is about.
    pub(super) fn sequence(
        &self,
        raw: Spanned<RawSequence>,
        on: &mut Vec<On>,
    ) -> Result<(Vec<Step>, Duration), Mistake> {
        let at = raw.span().start;
        let raw = raw.into_inner();
        let step = |on: Vec<On>| Step { on, matches: None };
        let steps = match (raw.steps, raw.times) {
            (Some(steps), None) if (2..=MOST_PARTS).contains(&steps.len()) => {
                let mut all = steps
                    .into_iter()
                    .map(|text| self.all_of(vec![text]))
                    .collect::<Result<Vec<_>, _>>()?;
                *on = all.pop().unwrap_or_default();
                all.into_iter().map(step).collect()
            }
            (None, Some(times)) if (2..=MOST_PARTS).contains(times.get_ref()) => {
                (1..*times.get_ref()).map(|_| step(on.clone())).collect()
            }
            _ => {
                let message = format!(
                    "a sequence has 2 to {MOST_PARTS} `steps`, or `times` from 2 to {MOST_PARTS} that the event of `on` comes"
                );
                return Err((at, message));
            }
        };
        Ok((steps, raw.within.0))
    }

    pub(super) fn all_of(&self, texts: Vec<Text>) -> Result<Vec<On>, Mistake> {
        if texts.is_empty() || texts.len() > MOST_PARTS {
            let at = texts.first().map_or(0, |text| text.span().start);
            return Err((at, format!("1 to {MOST_PARTS} events are named here")));
        }
        let read = |text: Text| {
            let at = text.span().start;
            let on = On::read(text.get_ref()).map_err(|message| (at, message))?;
            if let Some((kind, name)) = spelling::Kind::of(&on.0) {
                self.write(at, kind, name);
            }
            Ok(on)
        };
        texts.into_iter().map(read).collect()
    }
}

fn unknown<'a>(what: &str, name: &Text, known: impl Iterator<Item = &'a String>) -> Mistake {
    (name.span().start, one_of(what, name.get_ref(), known.map(String::as_str)))
}
