//! Why a rule fired, or did not, as a success manager reads it: what a score is made of, which conditions held, what they looked at.
//! Promises that what cannot be told is said, not left out. Deliberately works nothing out: it words what was noted then.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{
    told::moment,
    words::{When, label, sentence, value},
};
use crate::{
    event_log::Timestamp,
    expression::words::{call_in_words, in_words},
    rules::{Reason, Scored, brought, rounded},
};

/// Milliseconds of the years 2001 to 2096: what a feature keeps of a time is one of these, and a count is none.
const MOMENTS: std::ops::Range<i64> = 1_000_000_000_000..4_000_000_000_000;

/// One expression with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReasonView {
    /// As it was written.
    pub(crate) text: String,
    /// The same in words, where it is plain.
    pub(crate) said: Option<String>,
    /// `holds`, `fails`, `value`, `untold`.
    pub(crate) came: &'static str,
    /// What came of it, for people.
    pub(crate) words: String,
    pub(crate) of: Vec<LookedAt>,
    /// Of what is to hold still when the time has come: as of when this is.
    pub(crate) still: Option<&'static str>,
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
    /// As rules name it.
    name: String,
    pub(crate) label: String,
    pub(crate) description: Option<String>,
    pub(crate) value: String,
    /// `above 0.7`.
    pub(crate) line: Option<String>,
    pub(crate) terms: Vec<TermView>,
    /// How far its own numbers reach.
    bars: Bars,
    /// What its bars reach from and to, in numbers; nothing where there are none.
    pub(crate) ends: Option<(String, String)>,
    /// How far from the bars' beginning 0 is, in thousandths, where a term takes something.
    pub(crate) below: Option<u32>,
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
    brought: Length,
    /// `adds`, `takes`, `nothing`.
    pub(crate) way: &'static str,
    /// Where its bar begins, and how long it is: thousandths of the width.
    pub(crate) from: u32,
    pub(crate) share: u32,
    pub(crate) reason: ReasonView,
}

/// What a firing was decided by, as it was noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WhyView {
    pub(crate) measured: Option<MeasuredView>,
    pub(crate) conditions: Vec<ReasonView>,
    /// What was to stay away and did, in words.
    pub(crate) absence: Option<String>,
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
            absence: why["waited"]["text"].as_str().map(str::to_owned),
            is_lost: why["conditions"].is_null(),
        }
    }
}

impl ReasonView {
    pub(crate) fn of(noted: &Reason) -> Self {
        reason(&serde_json::to_value(noted).unwrap_or_default())
    }

    /// The same of a rule that waits.
    pub(crate) fn so_far(noted: &Reason) -> Self {
        let reason = Self::of(noted);
        Self { still: reason.still.map(|_| "so far"), ..reason }
    }
}

fn reason(noted: &Json) -> ReasonView {
    let (came, words) = match (&noted["value"], noted["error"].as_str()) {
        (_, Some(error)) => ("untold", format!("unknown: {error}")),
        (Json::Bool(true), _) => ("holds", "met".to_owned()),
        (Json::Bool(false), _) => ("fails", "not met".to_owned()),
        (other, _) => ("value", looked_at("", other).value),
    };
    let of = noted["of"].as_object().into_iter().flatten();
    let of = of.map(|(name, value)| looked_at(name, value));
    let called = noted["calls"].as_array().into_iter().flatten().map(called);
    let text = noted["text"].as_str().unwrap_or_default();
    ReasonView {
        text: text.to_owned(),
        said: in_words(text).map(|said| sentence(&said)),
        came,
        words,
        of: of.chain(called).collect(),
        still: (noted["still"] == true).then_some("at that time"),
    }
}

/// A function that was called: what it came to, and by whose clock.
fn called(noted: &Json) -> LookedAt {
    let call = noted["call"].as_str().unwrap_or_default();
    let said = call_in_words(call);
    let words = said.as_deref().map(|said| sentence(said.strip_prefix("the ").unwrap_or(said)));
    let value = looked_at("", &noted["value"]).value;
    let clock = noted["timezone"].as_str().map(|zone| match noted["assumed"] == true {
        true => format!("{value} in {zone}, as no time zone is known"),
        false => format!("{value} in {zone}"),
    });
    LookedAt {
        label: words.unwrap_or_else(|| call.to_owned()),
        value: clock.unwrap_or(value),
        at: None,
    }
}

/// A value of a condition: a text in quotes, so that “900” is no 900.
fn quoted(found: &Json) -> String {
    match found {
        Json::String(text) => format!("“{text}”"),
        Json::Array(all) if !all.is_empty() && all.iter().all(Json::is_string) => {
            all.iter().map(quoted).collect::<Vec<_>>().join(", ")
        }
        other => value(&other.to_string()),
    }
}

fn looked_at(name: &str, found: &Json) -> LookedAt {
    let name = name.split_once('.').map_or(name, |(_, name)| name);
    let name = name.strip_prefix("properties.").unwrap_or(name);
    let moment = found.as_i64().filter(|ms| MOMENTS.contains(ms)).map(Timestamp::from_unix_ms);
    let at = moment.map(When::at);
    let text = match (&at, found) {
        (Some(at), _) => at.text.clone(),
        (_, Json::Null) => "nothing yet".to_owned(),
        (_, Json::Number(found)) => rounded(found.as_f64().unwrap_or_default()),
        _ => quoted(found),
    };
    LookedAt { label: label(name), value: text, at }
}

impl MeasuredView {
    /// A score as it is now, and the lines at which rules wait for it.
    pub(crate) fn of_score(scored: &Scored, lines: &[(bool, f64)]) -> Self {
        let mut noted = serde_json::to_value(scored).unwrap_or_default();
        if let Some((rising, line)) = lines.first() {
            noted[if *rising { "above" } else { "below" }] = Json::from(*line);
        }
        Self::of(&noted)
    }

    pub(crate) fn of(noted: &Json) -> Self {
        let name = noted["score"].as_str().or_else(|| noted["feature"].as_str());
        let lines = ["above", "below"].into_iter();
        let line = lines.filter_map(|word| Some((word, noted[word].as_f64()?))).next();
        let terms = noted["terms"].as_array().map_or(&[][..], Vec::as_slice);
        let brings = |term: &Json| term["brings"].as_f64().unwrap_or_default();
        let bars = Bars::of(terms.iter().map(brings), line.map(|(_, line)| line));
        let sum = rounded(terms.iter().map(brings).sum());
        let value = looked_at("", &noted["value"]).value;
        let model = &noted["model"];
        let inputs = model["inputs"].as_object().into_iter().flatten();
        let fraction = |it: &Json| it.as_f64().filter(|_| it.is_f64());
        let said = |it: &Json| fraction(it).map_or_else(|| it.to_string(), rounded);
        let inputs: Vec<_> = inputs.map(|(name, it)| format!("{name} = {}", said(it))).collect();
        let by = model["by"].as_str().filter(|_| !inputs.is_empty());
        let at = model["asked"].as_str().map(|at| format!(" on {}", moment(at)));
        let at = at.unwrap_or_default();
        let asked = by.map(|by| format!("Asked {by}{at} about {}.", inputs.join(", ")));
        let fallback = model["fallback"].as_str();
        let fallback = fallback.map(|why| format!("The fallback stands: {why}."));
        let view = Self {
            asked: asked.into_iter().chain(fallback).collect(),
            name: name.unwrap_or_default().to_owned(),
            label: label(name.unwrap_or_default()),
            description: noted["description"].as_str().map(str::to_owned),
            line: line.map(|(word, line)| format!("{word} {}", rounded(line))),
            sum: Some(sum).filter(|sum| !terms.is_empty() && *sum != value),
            value,
            terms: terms.iter().map(|term| TermView::of(term, brings(term))).collect(),
            bars,
            ends: None,
            below: None,
        };
        view.drawn_in(bars)
    }

    /// With its bars in this scale.
    fn drawn_in(mut self, bars: Bars) -> Self {
        self.draw_in(bars);
        self
    }

    fn draw_in(&mut self, bars: Bars) {
        self.below = (bars.low.0 > 0.0).then(|| bars.part(bars.low.0));
        let has_bars = self.terms.iter().any(|term| term.way != "nothing");
        self.ends = has_bars.then(|| (rounded(-bars.low.0), rounded(bars.high.0)));
        for term in &mut self.terms {
            let length = term.brought.0.abs();
            let (from, length) = match term.way {
                "nothing" => (bars.low.0, 0.0),
                "takes" => (bars.low.0 - length, length),
                _ => (bars.low.0, length),
            };
            (term.from, term.share) = (bars.part(from), bars.part(length));
        }
    }

    /// In a few words: `Churn risk 0.82, above 0.7`.
    pub(crate) fn gist(&self) -> String {
        let line = self.line.as_ref().map(|line| format!(", {line}")).unwrap_or_default();
        format!("{} {}{line}", self.label, self.value)
    }
}

/// Draws each score in one scale wherever it stands on a page, so that a bar can be compared with that of another moment.
pub(crate) fn in_one_scale<'a>(measured: impl Iterator<Item = &'a mut MeasuredView>) {
    let mut all: Vec<_> = measured.collect();
    let mut scales: BTreeMap<String, Bars> = BTreeMap::new();
    for it in &all {
        let scale = scales.entry(it.name.clone()).or_insert(it.bars);
        *scale = scale.and(it.bars);
    }
    for it in &mut all {
        if let Some(scale) = scales.get(&it.name) {
            it.draw_in(*scale);
        }
    }
}

/// A number of a JSON text, which has none that is not equal to itself.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Length(f64);

impl Eq for Length {}

/// What the bars of a score reach from and to: so far to either side of 0.
/// What adds is drawn as a part of all that adds, or of the way to the line where that is farther.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bars {
    low: Length,
    high: Length,
}

impl Bars {
    fn of(brings: impl Iterator<Item = f64> + Clone, line: Option<f64>) -> Self {
        let adds = brings.clone().filter(|it| *it > 0.0 && is_seen(*it)).sum::<f64>();
        let takes = brings.filter(|it| *it < 0.0 && is_seen(*it)).map(f64::abs);
        let low = takes.fold(0.0, f64::max);
        Self { low: Length(low), high: Length(line.unwrap_or_default().max(adds)) }
    }

    /// What both reach.
    fn and(self, other: Self) -> Self {
        let farther = |a: Length, b: Length| Length(a.0.max(b.0));
        Self { low: farther(self.low, other.low), high: farther(self.high, other.high) }
    }

    /// Of the whole width, in thousandths.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
    fn part(self, length: f64) -> u32 {
        let all = self.low.0 + self.high.0;
        if all > 0.0 { (length / all * 1000.0).round() as u32 } else { 0 }
    }
}

/// Whether the number beside a bar is another than 0: else there is no bar.
fn is_seen(brings: f64) -> bool {
    rounded(brings) != "0"
}

impl TermView {
    /// Before its bar is drawn.
    fn of(term: &Json, brings: f64) -> Self {
        let way = match brings {
            _ if !is_seen(brings) => "nothing",
            ..0.0 => "takes",
            _ => "adds",
        };
        Self {
            label: label(term["term"].as_str().unwrap_or_default()),
            brings: brought(brings),
            brought: Length(brings),
            way,
            from: 0,
            share: 0,
            reason: reason(term),
        }
    }
}

#[cfg(test)]
mod scale;
#[cfg(test)]
mod values;

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
        assert_eq!(brings, [("+2", "adds", 800), ("−0.5", "takes", 200), ("0", "nothing", 0)]);
        let from = score.terms.iter().map(|term| term.from).collect::<Vec<_>>();
        assert_eq!((score.below, from), (Some(200), vec![200, 0, 200]), "either side of 0");
        let looked = &score.terms[0].reason.of[0];
        assert_eq!(
            (looked.label.as_str(), looked.value.as_str()),
            ("Core last", "18 Nov 2026, 11:06:40 UTC")
        );
        assert_eq!(score.terms[2].reason.words, "unknown: no such key");
    }

    #[test]
    fn a_bar_is_no_longer_than_its_number_says() {
        let of = |brings: &[f64], line: Option<f64>| {
            let terms = brings.iter().map(|it| json!({"term": "t", "brings": it, "text": "…"}));
            let mut noted = json!({"score": "s", "value": 1, "terms": terms.collect::<Vec<_>>()});
            noted["above"] = json!(line);
            let score = MeasuredView::of(&noted);
            (score.below, score.terms.iter().map(|term| term.share).collect::<Vec<_>>())
        };
        let nothing = [0.0, 0.000_000_027, -0.004];
        assert_eq!(of(&nothing, None), (None, vec![0; 3]), "what is shown as 0 has no bar");
        assert_eq!(of(&[0.3, 0.1, 0.0], None), (None, vec![750, 250, 0]), "parts of the whole");
        assert_eq!(of(&[0.07], Some(0.7)), (None, vec![100]), "as far as it is from the line");
        assert_eq!(of(&[-1.0, -0.5], None), (Some(1000), vec![1000, 500]));
        let scored = Scored {
            score: "s".into(),
            description: None,
            value: 0.1,
            terms: Vec::new(),
            model: None,
        };
        let lines = |lines: &[(bool, f64)]| MeasuredView::of_score(&scored, lines).line;
        assert_eq!(lines(&[(true, 0.7), (false, 0.2)]).as_deref(), Some("above 0.7"));
        assert_eq!(lines(&[]), None);
    }

    #[test]
    fn what_a_model_was_asked_about_is_as_exact_as_anyone_reads_it() {
        let model = json!({"by": "m", "inputs": {"a": 0.8999999999999999, "b": 12, "c": "pro"}});
        let view =
            MeasuredView::of(&json!({"score": "s", "value": 0.30000000000000004, "model": model}));
        assert_eq!(view.asked, ["Asked m about a = 0.9, b = 12, c = \"pro\"."]);
        assert_eq!(view.value, "0.3");
    }

    #[test]
    fn a_condition_says_whether_it_held_and_a_feature_is_not_mistaken_for_a_score() {
        let why = json!({
            "conditions": [
                {"text": "a > 1", "value": true, "of": {"event.properties.sum": 7, "features.a": 12, "scores.b_c": 0.5}},
                {"text": "a > 2", "value": false, "of": {"features.a": null}, "still": true},
            ],
            "crossed": {"feature": "logins_7d", "value": 2, "below": 3.0},
            "waited": {"for": ["B"], "until": "2026-11-22T10:00:00.000Z", "text": "no B within 1 hour"},
        });
        let why = WhyView::of(&why.to_string());
        let words: Vec<_> = why.conditions.iter().map(|it| (it.came, it.words.as_str())).collect();
        assert_eq!(words, [("holds", "met"), ("fails", "not met")]);
        assert_eq!(
            [&why.conditions[0], &why.conditions[1]].map(|it| it.still),
            [None, Some("at that time")]
        );
        let of = why.conditions[0].of.iter().map(|it| format!("{} {}", it.label, it.value));
        assert_eq!(of.collect::<Vec<_>>(), ["Sum 7", "A 12", "B c 0.5"]);
        assert_eq!(why.conditions[1].of[0].value, "nothing yet");
        assert_eq!(why.absence.as_deref(), Some("no B within 1 hour"));
        let measured = why.measured.unwrap();
        assert_eq!((measured.gist().as_str(), measured.sum), ("Logins 7d 2, below 3", None));
        assert!(WhyView::of("{}").is_lost && !WhyView::of(r#"{"conditions":[]}"#).is_lost);
        assert_eq!(WhyView::of("not JSON"), WhyView { is_lost: true, ..WhyView::default() });
    }
}
