//! Rules and scores as people read them: a rule in words, a score with its terms.
//! Deliberately decides nothing.

use std::{cell::RefCell, time::Duration};

use rusqlite::{Connection, Result};
use serde::Serialize;

use super::{
    kept::Kept,
    part::{On, Part, Per},
    rule::{Measure, Rule, Step, When},
    scope::{Scope, Scored},
    set::RuleSet,
};
use crate::{event_log::Timestamp, people::Whole};

/// A rule, to be read.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleShown {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it stands.
    pub file: String,
    /// Counted up by who writes it, when what it means has changed.
    pub revision: u32,
    /// Whom it is about.
    pub per: Per,
    /// When it fires, in words.
    pub when: String,
    /// What holds besides, as it is written.
    pub conditions: Vec<String>,
    /// What is to hold still when the time has come, of a rule that waits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub still: Vec<String>,
    /// What it does, in words.
    pub then: Vec<String>,
    /// What it answers to who asks for a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Whether what it does goes past caps and quiet hours.
    pub urgent: bool,
    /// Whether it is looked at.
    pub enabled: bool,
    /// Whether it only records.
    pub dry_run: bool,
    /// For how many of a hundred it acts.
    pub percent: u8,
}

impl RuleSet {
    /// All rules, in the order of the files.
    pub fn shown(&self) -> Vec<RuleShown> {
        self.rules.iter().map(|rule| rule.shown(self)).collect()
    }

    /// The name of each rule, whom it is about, and whether it is looked at; in the order of the files.
    pub(crate) fn about(&self) -> impl Iterator<Item = (&str, Per, bool)> {
        self.rules.iter().map(|rule| (rule.name.as_str(), rule.per, rule.enabled))
    }

    /// The lines that rules wait for a score to cross: whether rising, and where.
    pub(crate) fn lines_of(&self, score: &str) -> Vec<(bool, f64)> {
        let crosses = self.rules.iter().filter_map(|rule| match &rule.when {
            When::Crosses(of) => Some(of),
            _ => None,
        });
        let of_it = crosses
            .filter(|it| matches!(it.of, Measure::Score(at) if self.scores[at].name == score));
        of_it.map(|it| (it.rising, it.line)).collect()
    }
}

fn written(parts: &[Part]) -> Vec<String> {
    parts.iter().map(|part| part.expression.text().to_owned()).collect()
}

impl Rule {
    fn shown(&self, set: &RuleSet) -> RuleShown {
        RuleShown {
            name: self.name.clone(),
            description: self.description.clone(),
            file: self.file.clone(),
            revision: self.revision,
            per: self.per,
            when: self.in_words(set),
            conditions: written(&self.conditions),
            still: written(&self.still),
            then: self.then.iter().map(super::rule::Do::in_words).collect(),
            decision: self.decision.clone(),
            urgent: self.urgent,
            enabled: self.enabled,
            dry_run: self.dry_run,
            percent: self.percent,
        }
    }

    /// What was to stay away, of a rule that fires because it did: as a condition that held.
    pub(super) fn absence(&self) -> Option<String> {
        let When::Without { step, within } = &self.when else { return None };
        let what = step.in_words();
        let articles = ["an ", "a ", "any ", "the "];
        let bare = articles.iter().find_map(|article| what.strip_prefix(article));
        Some(format!("no {} within {}", bare.unwrap_or(&what), length(*within)))
    }

    fn in_words(&self, set: &RuleSet) -> String {
        let from = if self.only_server { ", from a trusted source" } else { "" };
        let on = any_of(&self.on);
        match &self.when {
            When::Event => format!("on {on}{from}"),
            When::Without { step, within } => {
                let (other, within) = (step.in_words(), length(*within));
                format!("when {on}{from} is not followed by {other} within {within}")
            }
            When::Sequence { steps, within } => {
                let steps: Vec<_> = steps.iter().map(|step| any_of(&step.on)).chain([on]).collect();
                let within = length(*within);
                match &steps[..] {
                    [first, rest @ ..] if rest.iter().all(|step| step == first) => {
                        format!("when {first} happens {} times within {within}{from}", steps.len())
                    }
                    [first, last] => {
                        format!("when {first} is followed by {last} within {within}{from}")
                    }
                    _ => format!("when {} happen within {within}{from}", steps.join(", then ")),
                }
            }
            When::At { time, shift_ms } => {
                let shift = length(Duration::from_millis(shift_ms.unsigned_abs()));
                let shift = match shift_ms {
                    0 => "at".to_owned(),
                    ..0 => format!("{shift} before"),
                    _ => format!("{shift} after"),
                };
                let time = time.expression.text();
                match time.strip_prefix("event.properties.").filter(|name| is_name(name)) {
                    Some(name) => format!("{shift} the time in {on}{from} ({name})"),
                    None => format!("{shift} the time in {on}{from} ({time})"),
                }
            }
            When::Crosses(of) => {
                let what = match of.of {
                    Measure::Score(at) => format!("the score {}", spoken(&set.scores[at].name)),
                    Measure::Feature(at) => {
                        format!("the feature {}", spoken(&set.features[at].name))
                    }
                };
                let (to, back) = match of.rising {
                    true => ("rises above", "falling below"),
                    false => ("falls below", "rising above"),
                };
                format!("when {what} {to} {} (again only after {back} {})", of.line, of.rearm)
            }
        }
    }
}

impl Step {
    fn in_words(&self) -> String {
        let on = any_of(&self.on);
        let Some(matches) = &self.matches else { return on };
        let text = matches.expression.text();
        let own = |side: &str, of: &str| {
            let name = side.trim().strip_prefix(of)?.strip_prefix(".properties.")?;
            is_name(name).then(|| name.to_owned())
        };
        let same = text.split_once("==").and_then(|(a, b)| {
            let names =
                [own(a, "event").zip(own(b, "trigger")), own(a, "trigger").zip(own(b, "event"))];
            names.into_iter().flatten().find(|(a, b)| a == b)
        });
        match same {
            Some((name, _)) => format!("{on} with the same {}", spoken(&name)),
            None => format!("{on} where {text}"),
        }
    }
}

/// Whether nothing but a name stands there.
fn is_name(text: &str) -> bool {
    text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}

/// `churn_risk` as `churn risk`.
fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

impl super::rule::Do {
    fn in_words(&self) -> String {
        use super::rule::What;
        match &self.what {
            What::Emit { event } => format!("emit the event {event}"),
            What::Set { traits } => {
                let traits = traits.iter().map(|(name, value)| format!("{name} to {value}"));
                format!("set {}", traits.collect::<Vec<_>>().join(" and "))
            }
            What::Send { destination, kind, template } => {
                let what = match kind.as_str() {
                    "slack" => "send a Slack message",
                    "email" => "send an e-mail",
                    "sms" => "send a text message",
                    _ => "call a webhook",
                };
                match template {
                    Some(template) => format!("{what}: {template}, via {destination}"),
                    None => format!("{what}: {destination}"),
                }
            }
            What::Ask { score, destination, .. } => {
                format!("ask {destination} for the score {}", spoken(score))
            }
            What::InApp { placement, template } => match placement.as_str() {
                "card" => format!("show a card in the page or the app: {template}"),
                _ => format!("show a message in the page or the app: {template}, at {placement}"),
            },
        }
    }
}

impl On {
    /// As a rule names it.
    pub(super) fn in_words(&self) -> String {
        self.0.strip_prefix("track:").unwrap_or(&self.0).trim_end_matches(':').to_owned()
    }

    /// As a reader names it.
    fn spoken(&self) -> String {
        match self.0.split_once(':') {
            Some(("track", "*")) => "any event with a name".to_owned(),
            Some(("track", name)) => name.to_owned(),
            Some((call, "*")) => format!("any {call} view"),
            Some((call, "")) => format!("an {call} call").replace("an group", "a group"),
            Some((call, name)) => format!("the {call} {name}"),
            None => "any event".to_owned(),
        }
    }
}

fn any_of(on: &[On]) -> String {
    on.iter().map(On::spoken).collect::<Vec<_>>().join(" or ")
}

pub(super) fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    for (unit, one, many) in [
        (86_400, "day", "days"),
        (3600, "hour", "hours"),
        (60, "minute", "minutes"),
        (1, "second", "seconds"),
    ] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            let count = seconds / unit;
            return format!("{count} {}", if count == 1 { one } else { many });
        }
    }
    format!("{seconds} seconds")
}

/// All scores of a person, or of an account, with their reasons.
pub(crate) fn scores(
    db: &Connection,
    set: &RuleSet,
    whose: &Whole,
    now: Timestamp,
) -> Result<Vec<Scored>> {
    let kept = RefCell::new(Kept::default());
    let per = if whose.account.is_some() { Per::Account } else { Per::Person };
    let scope = Scope::new(db, set, &kept, whose, now.unix_ms());
    set.scores.iter().filter(|score| score.per == per).map(|score| scope.scored(score)).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::file::Source, *};

    const RULES: &str = r#"
[features.looks]
on = "page:Pricing"
count = true
window = "1d"
[scores.churn_risk]
terms = { looks = "double(features.looks)" }
[rules.order]
on = ["Order Completed", "screen:Thanks"]
from = "server"
if = "features.looks == 0"
then = [{ emit = "First Order" }, { set = { customer = true, plan = "pro" } }, { webhook = "freeze" }]
[rules.left]
on = "Product Added"
urgent = true
without = { event = "Order Completed", within = "1h", match = "event.properties.cart_id == trigger.properties.cart_id" }
then = [{ email = "mail", template = "cart.txt" }, { in_app = "card", template = "cart.txt" }, { in_app = "hero", template = "cart.txt" }]
[rules.left_cheap]
on = "page:*"
without = { event = "identify", within = "90s", match = "event.properties.value < 3" }
then = []
[rules.soon]
on = "A"
without = { event = "B", within = "1s" }
then = []
[rules.looks_often]
on = "page:Pricing"
sequence = { times = 4, within = "3d" }
decision = "review"
then = [{ sms = "twilio", template = "a.txt" }]
[rules.tries]
sequence = { steps = ["A", "B"], within = "1h" }
then = [{ slack = "success", template = "a.md" }]
[rules.three]
sequence = { steps = ["A", "B", "C"], within = "1h" }
then = []
[rules.ends]
on = "Subscription Renewed"
at = "event.properties.ends_at"
before = "7d"
still = "features.looks == 1"
then = []
[rules.trial]
on = "Trial Began"
at = "event.time"
after = "1h"
then = []
[rules.churn]
crosses = { score = "churn_risk", above = 0.7, rearm_below = 0.5 }
then = []
[rules.calm]
crosses = { score = "churn_risk", below = 0.1, rearm_above = 0.2 }
then = []
[scores.model_risk]
model = "m"
on = "Seen"
inputs = { looks = "features.looks" }
fallback = 0.5
"#;

    #[test]
    fn a_rule_is_told_as_one_would_say_it() {
        let set = RuleSet::parse(&[Source::new("rules.toml", RULES)]).unwrap();
        let shown = set.shown();
        let told = |name: &str| shown.iter().find(|rule| rule.name == name).unwrap();
        for (name, when) in [
            ("order", "on Order Completed or the screen Thanks, from a trusted source"),
            (
                "left",
                "when Product Added is not followed by Order Completed with the same cart id within 1 hour",
            ),
            (
                "left_cheap",
                "when any page view is not followed by an identify call where event.properties.value < 3 within 90 seconds",
            ),
            ("looks_often", "when the page Pricing happens 4 times within 3 days"),
            ("tries", "when A is followed by B within 1 hour"),
            ("three", "when A, then B, then C happen within 1 hour"),
            ("ends", "7 days before the time in Subscription Renewed (ends_at)"),
            ("trial", "1 hour after the time in Trial Began (event.time)"),
            (
                "churn",
                "when the score churn risk rises above 0.7 (again only after falling below 0.5)",
            ),
            (
                "calm",
                "when the score churn risk falls below 0.1 (again only after rising above 0.2)",
            ),
        ] {
            assert_eq!(told(name).when, when);
        }
        for (name, absence) in [
            ("left", Some("no Order Completed with the same cart id within 1 hour")),
            (
                "left_cheap",
                Some("no identify call where event.properties.value < 3 within 90 seconds"),
            ),
            ("order", None),
            ("soon", Some("no B within 1 second")),
        ] {
            assert_eq!(set.rule(name).unwrap().absence().as_deref(), absence);
        }
        assert_eq!(told("ends").still, ["features.looks == 1"]);
        for (name, then) in [
            (
                "order",
                &[
                    "emit the event First Order",
                    "set customer to true and plan to \"pro\"",
                    "call a webhook: freeze",
                ][..],
            ),
            (
                "left",
                &[
                    "send an e-mail: cart, via mail",
                    "show a card in the page or the app: cart",
                    "show a message in the page or the app: cart, at hero",
                ],
            ),
            ("looks_often", &["send a text message: a, via twilio"]),
            ("tries", &["send a Slack message: a, via success"]),
            ("score:model_risk", &["ask m for the score model risk"]),
        ] {
            assert_eq!(told(name).then, then);
        }
        let (left, order) = (told("left"), told("order"));
        assert_eq!((left.decision.as_deref(), left.urgent), (None, true));
        assert_eq!(told("looks_often").decision.as_deref(), Some("review"));
        assert!(!order.urgent && order.decision.is_none());
        assert_eq!(set.lines_of("churn_risk"), [(true, 0.7), (false, 0.1)]);
    }
}
