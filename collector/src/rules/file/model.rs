//! `[scores.NAME]` with `model`: a score that somebody else computes. Promises that it comes with what asking needs: a rule that asks,
//! and a feature that keeps the answer. Deliberately sends nothing.

use std::time::Duration;

use super::{
    super::{
        aggregate::Operation,
        fold::ANSWERED,
        length::ms,
        part::On,
        rule::{Do, Late, Pending, Rule, Stands, What, When},
        set::{Feature, Model, Score, Squash},
    },
    MOST_PARTS, Mistake, Reading,
    part::{OF_A_RULE, OF_A_SUBJECT, Place, Wanted},
    raw::{RawScore, Text, all},
};

/// For how long an answer is waited for where nothing else is said: a person is still there, and a model is asked over a network.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Beyond it nobody means a score.
const LARGEST: f64 = 1e15;

/// A score by a model, with the feature and the rule that go with it; `features` is how many there are before it.
pub(super) type Asking = (Score, Feature, Rule);

impl Reading<'_> {
    pub(super) fn model(
        &self,
        name: &Text,
        model: &Text,
        raw: RawScore,
        features: usize,
    ) -> Result<Asking, Mistake> {
        let at = name.span().start;
        let wrong = |message: &str| Err((at, message.to_owned()));
        if !raw.terms.is_empty() || raw.squash != Squash::None {
            return wrong(
                "`terms` and `squash` do not go with `model`: the model says what the score is",
            );
        }
        let Some(on) = raw.on else {
            return wrong("`model` needs `on`: the events after which it is asked");
        };
        let Some(fallback) = raw.fallback.filter(|it| it.abs() <= LARGEST) else {
            return wrong(
                "`model` needs a `fallback`: the number that stands until there is an answer, and where none comes in time",
            );
        };
        if raw.inputs.is_empty() || raw.inputs.len() > MOST_PARTS {
            return Err((
                at,
                format!("`model` needs 1 to {MOST_PARTS} `inputs`, each with a name"),
            ));
        }
        let mut inputs: Vec<_> = raw.inputs.into_iter().collect();
        inputs.sort_by_key(|(name, _)| name.span().start);
        let inputs = inputs.into_iter().filter_map(|(name, text)| {
            let key = format!("inputs.{}", name.get_ref());
            let wanted = Wanted::Anything;
            let place = Place { key: &key, variables: OF_A_SUBJECT, per: raw.per, wanted };
            Some((name.into_inner(), self.keep(self.part(&text, place))?))
        });
        let inputs = inputs.collect();
        let conditions = raw.conditions.map(all).unwrap_or_default();
        if conditions.len() > MOST_PARTS {
            return Err((at, format!("a score has at most {MOST_PARTS} conditions")));
        }
        let wanted = Wanted::Truth;
        let place = Place { key: "if", variables: OF_A_RULE, per: raw.per, wanted };
        let conditions = conditions.iter().filter_map(|text| self.keep(self.part(text, place)));
        let conditions = conditions.collect();
        // A name that no file can give: `:` is not in them.
        let hidden = format!("score:{}", name.get_ref());
        let feature = Feature {
            name: hidden.clone(),
            per: raw.per,
            on: vec![On(format!("track:{ANSWERED}"))],
            condition: None,
            operation: Operation::Last,
            value: None,
            window: None,
            ago: Duration::ZERO,
            answers: Some(name.get_ref().clone()),
            key: hidden.clone(),
        };
        let line = self.file.line(model.span().start);
        let what = What::Ask {
            score: name.get_ref().clone(),
            destination: model.get_ref().clone(),
            fallback: serde_json::Number::from_f64(fallback)
                .ok_or_else(|| (at, "`fallback` is no number".to_owned()))?,
        };
        let timeout = raw.timeout.map_or(TIMEOUT, |timeout| timeout.0);
        let rule = Rule {
            name: hidden,
            description: raw.description.clone(),
            file: self.file.name.clone(),
            key: String::new(),
            revision: 1,
            per: raw.per,
            on: self.keep(self.all_of(all(on))).unwrap_or_default(),
            conditions,
            when: When::Event,
            still: Vec::new(),
            only_server: false,
            late: Late::Record,
            limit: None,
            pending: Pending::Keep,
            enabled: true,
            dry_run: false,
            percent: 100,
            then: vec![Do { what, expires_ms: ms(timeout) }],
            places: vec![Stands { destination: line, template: line, file: None }],
            says_nothing: false,
            decision: None,
            urgent: true,
            asks: Some(name.get_ref().clone()),
        };
        let model = Model { by: model.get_ref().clone(), inputs, fallback, feature: features };
        let score = Score {
            name: name.get_ref().clone(),
            per: raw.per,
            description: raw.description,
            terms: Vec::new(),
            squash: Squash::None,
            model: Some(model),
        };
        Ok((score, feature, rule))
    }

    /// What goes with `model` alone.
    pub(super) fn refuse_without_model(name: &Text, raw: &RawScore) -> Result<(), Mistake> {
        let given = [
            ("on", raw.on.is_some()),
            ("if", raw.conditions.is_some()),
            ("inputs", !raw.inputs.is_empty()),
            ("timeout", raw.timeout.is_some()),
            ("fallback", raw.fallback.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((key, _)) => Err((name.span().start, format!("`{key}` goes with `model`"))),
            None => Ok(()),
        }
    }
}
