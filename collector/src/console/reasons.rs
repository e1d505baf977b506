//! Why a rule fired, or did not, as a success manager reads it: what a score is made of, which conditions held, what they looked at.
//! Promises that what cannot be told is said, not left out. Deliberately works nothing out: it words what was noted then.

use serde_json::Value as Json;

use super::words::{When, label, number, value};
use crate::{
    event_log::Timestamp,
    rules::{Reason, Scored},
};

/// Milliseconds of the years 2001 to 2096: what a feature keeps of a time is one of these, and a count is none.
const MOMENTS: std::ops::Range<i64> = 1_000_000_000_000..4_000_000_000_000;

/// One expression with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReasonView {
    /// As it was written.
    pub(crate) text: String,
    /// `holds`, `fails`, `value`, `untold`.
    pub(crate) came: &'static str,
    /// The same for people.
    pub(crate) words: String,
    pub(crate) of: Vec<LookedAt>,
}

/// Something that an expression looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LookedAt {
    pub(crate) label: String,
    pub(crate) value: String,
    /// Where it is a moment.
    pub(crate) at: Option<When>,
}

/// A score or a feature as it stood, and the line that it was to cross, if there was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MeasuredView {
    pub(crate) label: String,
    pub(crate) description: Option<String>,
    pub(crate) value: String,
    /// `above 0.7`.
    pub(crate) line: Option<String>,
    pub(crate) terms: Vec<TermView>,
    /// What the terms add up to, where the score is made of that in another way than as it is.
    pub(crate) sum: Option<String>,
    /// Of a score that a model computes: what it was asked about, and why the fallback stands if it does.
    pub(crate) asked: Vec<String>,
}

/// A part of a score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TermView {
    pub(crate) label: String,
    /// With its sign.
    pub(crate) brings: String,
    /// `adds`, `takes`, `nothing`.
    pub(crate) way: &'static str,
    /// Percent of the term that brings most.
    pub(crate) share: u32,
    pub(crate) reason: ReasonView,
}

/// What a firing was decided by, as it was noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WhyView {
    pub(crate) measured: Option<MeasuredView>,
    pub(crate) conditions: Vec<ReasonView>,
    /// Whether nothing was noted: an earlier form of the rule did it, and only the log tells of it.
    pub(crate) is_lost: bool,
}

impl WhyView {
    pub(crate) fn of(why: &str) -> Self {
        let why: Json = serde_json::from_str(why).unwrap_or_default();
        let conditions = why["conditions"].as_array().into_iter().flatten();
        Self {
            measured: why.get("crossed").map(MeasuredView::of),
            conditions: conditions.map(reason).collect(),
            is_lost: why["conditions"].is_null(),
        }
    }
}

impl ReasonView {
    pub(crate) fn of(noted: &Reason) -> Self {
        reason(&serde_json::to_value(noted).unwrap_or_default())
    }
}

fn reason(noted: &Json) -> ReasonView {
    let (came, words) = match (&noted["value"], noted["error"].as_str()) {
        (_, Some(error)) => ("untold", format!("cannot be told: {error}")),
        (Json::Bool(true), _) => ("holds", "holds".to_owned()),
        (Json::Bool(false), _) => ("fails", "does not hold".to_owned()),
        (other, _) => ("value", looked_at("", other).value),
    };
    let of = noted["of"].as_object().into_iter().flatten();
    ReasonView {
        text: noted["text"].as_str().unwrap_or_default().to_owned(),
        came,
        words,
        of: of.map(|(name, value)| looked_at(name, value)).collect(),
    }
}

fn looked_at(name: &str, found: &Json) -> LookedAt {
    let name = name.split_once('.').map_or(name, |(_, name)| name);
    let moment = found.as_i64().filter(|ms| MOMENTS.contains(ms)).map(Timestamp::from_unix_ms);
    let at = moment.map(When::at);
    let text = match (&at, found) {
        (Some(at), _) => at.text.clone(),
        (_, Json::Null) => "nothing yet".to_owned(),
        (_, Json::Number(found)) => number(found.as_f64().unwrap_or_default()),
        _ => value(&found.to_string()),
    };
    LookedAt { label: label(name), value: text, at }
}

impl MeasuredView {
    /// A score as it is now.
    pub(crate) fn of_score(scored: &Scored) -> Self {
        Self::of(&serde_json::to_value(scored).unwrap_or_default())
    }

    pub(crate) fn of(noted: &Json) -> Self {
        let name = noted["score"].as_str().or_else(|| noted["feature"].as_str());
        let lines = ["above", "below"].into_iter();
        let mut lines = lines.filter_map(|word| Some((word, noted[word].as_f64()?)));
        let terms = noted["terms"].as_array().map_or(&[][..], Vec::as_slice);
        let brings = |term: &Json| term["brings"].as_f64().unwrap_or_default();
        let most = terms.iter().map(|term| brings(term).abs()).fold(0.0, f64::max);
        let sum = number(terms.iter().map(brings).sum());
        let value = looked_at("", &noted["value"]).value;
        let model = &noted["model"];
        let inputs = model["inputs"].as_object().into_iter().flatten();
        let inputs: Vec<_> = inputs.map(|(name, it)| format!("{name} = {it}")).collect();
        let by = model["by"].as_str().filter(|_| !inputs.is_empty());
        let at = model["asked"].as_str().map(|at| format!(" on {}", When::of(at).text));
        let at = at.unwrap_or_default();
        let asked = by.map(|by| format!("Asked {by}{at} about {}.", inputs.join(", ")));
        let fallback = model["fallback"].as_str();
        let fallback = fallback.map(|why| format!("The fallback stands: {why}."));
        Self {
            asked: asked.into_iter().chain(fallback).collect(),
            label: label(name.unwrap_or_default()),
            description: noted["description"].as_str().map(str::to_owned),
            line: lines.next().map(|(word, line)| format!("{word} {}", number(line))),
            sum: Some(sum).filter(|sum| !terms.is_empty() && *sum != value),
            value,
            terms: terms.iter().map(|term| TermView::of(term, brings(term), most)).collect(),
        }
    }

    /// In a few words: `Churn risk 0.82, above 0.7`.
    pub(crate) fn gist(&self) -> String {
        let line = self.line.as_ref().map(|line| format!(", {line}")).unwrap_or_default();
        format!("{} {}{line}", self.label, self.value)
    }
}

impl TermView {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a percentage from 0 to 100"
    )]
    fn of(term: &Json, brings: f64, most: f64) -> Self {
        let text = number(brings);
        let way = match text.as_str() {
            "0" => "nothing",
            text if text.starts_with('−') => "takes",
            _ => "adds",
        };
        let share = if most > 0.0 { (brings.abs() / most * 100.0).round() as u32 } else { 0 };
        Self {
            label: label(term["term"].as_str().unwrap_or_default()),
            brings: if way == "adds" { format!("+{text}") } else { text },
            way,
            share,
            reason: reason(term),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_score_says_what_each_term_brings_and_what_they_come_to() {
        let noted = json!({"score": "churn_risk", "value": 0.8176, "above": 0.7, "terms": [
            {"term": "core_gap", "brings": 2.0, "text": "…", "value": 2.0, "of": {"features.core_last": 1_795_000_000_000_i64}},
            {"term": "paid", "brings": -0.5, "text": "…", "value": -0.5},
            {"term": "odd", "brings": 0.0, "text": "…", "value": null, "error": "no such key"},
        ]});
        let score = MeasuredView::of(&noted);
        assert_eq!(score.gist(), "Churn risk 0.82, above 0.7");
        assert_eq!(score.sum.as_deref(), Some("1.5"));
        let brings = score.terms.iter().map(|term| (term.brings.as_str(), term.way, term.share));
        let brings: Vec<_> = brings.collect();
        assert_eq!(brings, [("+2", "adds", 100), ("−0.5", "takes", 25), ("0", "nothing", 0)]);
        let looked = &score.terms[0].reason.of[0];
        assert_eq!(
            (looked.label.as_str(), looked.value.as_str()),
            ("Core last", "18 Nov 2026, 11:06 UTC")
        );
        assert_eq!(score.terms[2].reason.words, "cannot be told: no such key");
    }

    #[test]
    fn a_condition_says_whether_it_held_and_a_feature_is_not_mistaken_for_a_score() {
        let why = json!({
            "conditions": [
                {"text": "a > 1", "value": true, "of": {"features.a": 12, "scores.b_c": 0.5}},
                {"text": "a > 2", "value": false, "of": {"features.a": null}},
            ],
            "crossed": {"feature": "logins_7d", "value": 2, "below": 3.0},
        });
        let why = WhyView::of(&why.to_string());
        let words: Vec<_> = why.conditions.iter().map(|it| (it.came, it.words.as_str())).collect();
        assert_eq!(words, [("holds", "holds"), ("fails", "does not hold")]);
        let of = why.conditions[0].of.iter().map(|it| format!("{} {}", it.label, it.value));
        assert_eq!(of.collect::<Vec<_>>(), ["A 12", "B c 0.5"]);
        assert_eq!(why.conditions[1].of[0].value, "nothing yet");
        let measured = why.measured.unwrap();
        assert_eq!((measured.gist().as_str(), measured.sum), ("Logins 7d 2, below 3", None));
        assert!(WhyView::of("{}").is_lost && !WhyView::of(r#"{"conditions":[]}"#).is_lost);
        assert_eq!(WhyView::of("not JSON"), WhyView { is_lost: true, ..WhyView::default() });
    }
}
