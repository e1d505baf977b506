//! A rule as the templates want it: in words, how it stands, and each time that it was looked at for somebody.
//! Promises that a rule which does nothing says why. Deliberately asks nobody: it is given everything.

use super::{
    fired::Began,
    reasons::{MeasuredView, ReasonView},
    views::part,
    words::{When, count, label, sentence},
};
use crate::{
    desk::{RuleStanding, StoppedShown},
    rules::{Looked, Waited},
};

pub(crate) fn rule_address(name: &str) -> String {
    format!("/console/rules/{}", part(name))
}

/// A rule.
#[derive(Clone, Debug)]
pub(crate) struct RuleView {
    pub(crate) label: String,
    pub(crate) href: String,
    pub(crate) description: Option<String>,
    /// `person` or `account`.
    pub(crate) about: &'static str,
    pub(crate) when: String,
    /// The same below a heading that says `When`.
    pub(crate) moment: String,
    pub(crate) conditions: Vec<String>,
    pub(crate) then: Vec<String>,
    /// How often; in words, and whether it did at all.
    pub(crate) has_fired: bool,
    pub(crate) fired: String,
    pub(crate) acted: String,
    /// Without its folder.
    pub(crate) file: String,
    pub(crate) revision: u32,
    pub(crate) standing: Vec<Standing>,
    /// Whether its file lets it run at all.
    pub(crate) enabled: bool,
    pub(crate) stopped: Option<StoppedView>,
}

/// One word on how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `on`, `stopped`, `disabled`, `part`.
    pub(crate) class: &'static str,
    pub(crate) word: String,
}

/// That it is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoppedView {
    pub(crate) by: String,
    pub(crate) at: When,
    /// Whether all rules are.
    pub(crate) all: bool,
}

impl StoppedView {
    fn of(stopped: &StoppedShown) -> Self {
        Self { by: stopped.by.clone(), at: When::of(&stopped.at), all: stopped.all }
    }
}

impl RuleView {
    pub(crate) fn of(rule: &RuleStanding) -> Self {
        let (shown, stopped) = (&rule.rule, rule.stopped.as_ref());
        let said = |class, word: &str| Standing { class, word: word.to_owned() };
        let mut standing = vec![match (shown.enabled, stopped) {
            (false, _) => said("disabled", "disabled"),
            (true, Some(_)) => said("stopped", "stopped"),
            (true, None) => said("on", "on"),
        }];
        if shown.dry_run {
            standing.push(said("part", "dry run"));
        }
        if shown.percent < 100 {
            standing.push(said("part", &format!("rollout {} %", shown.percent)));
        }
        Self {
            label: label(&shown.name),
            href: rule_address(&shown.name),
            description: shown.description.clone(),
            about: shown.per.as_str(),
            when: sentence(&shown.when),
            moment: sentence(shown.when.strip_prefix("when ").unwrap_or(&shown.when)),
            conditions: shown.conditions.clone(),
            then: shown.then.clone(),
            has_fired: rule.fired > 0,
            fired: count(rule.fired, "time", "times"),
            acted: count(rule.acted, "time", "times"),
            file: shown.file.rsplit('/').next().unwrap_or_default().to_owned(),
            revision: shown.revision,
            standing,
            enabled: shown.enabled,
            stopped: stopped.map(StoppedView::of),
        }
    }
}

/// One time that a rule was looked at.
#[derive(Clone, Debug)]
pub(crate) struct LookedView {
    pub(crate) at: When,
    /// What happened then; nothing where only time passed.
    pub(crate) event: Option<Began>,
    pub(crate) outcome: String,
    pub(crate) fired: bool,
    pub(crate) measured: Option<MeasuredView>,
    pub(crate) conditions: Vec<ReasonView>,
    /// What was waited for, until when, and what came.
    pub(crate) waited: Option<String>,
}

impl LookedView {
    pub(crate) fn of(looked: &Looked, began: Option<&Began>) -> Self {
        Self {
            at: When::of(&looked.at),
            event: began.cloned(),
            fired: matches!(looked.outcome.split(',').next(), Some("it fired")),
            outcome: sentence(&looked.outcome),
            measured: looked.measured.as_ref().map(MeasuredView::of),
            conditions: looked.reasons.iter().map(ReasonView::of).collect(),
            waited: looked.waited.as_ref().map(waited),
        }
    }
}

/// In a sentence.
fn waited(waited: &Waited) -> String {
    let what = match waited.what.is_empty() {
        true => String::new(),
        false => format!(" for {} to stay away", waited.what.join(" or ")),
    };
    let came = waited.came.iter().map(|came| {
        let fits = if came.matches { "" } else { ", which does not match" };
        format!("; one came {}{fits}", When::of(&came.at).text)
    });
    format!("Waits{what} until {}{}.", When::of(&waited.until).text, came.collect::<String>())
}
