//! Rules and scores as people read them: a rule in words, a score with its terms.
//! Deliberately decides nothing.

use std::{cell::RefCell, time::Duration};

use rusqlite::{Connection, Result};
use serde::Serialize;

use super::{
    kept::Kept,
    scope::{Scope, Scored},
    set::{Measure, On, Per, Rule, RuleSet, When},
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
    /// What it does, in words.
    pub then: Vec<String>,
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
            conditions: self.conditions.iter().map(|it| it.expression.text().to_owned()).collect(),
            then: self.then.iter().map(super::set::Do::in_words).collect(),
            enabled: self.enabled,
            dry_run: self.dry_run,
            percent: self.percent,
        }
    }

    fn in_words(&self, set: &RuleSet) -> String {
        let who = match self.only_server {
            true => " (from a trusted source)",
            false => "",
        };
        let on = format!("{}{who}", any_of(&self.on));
        match &self.when {
            When::Event => format!("when {on} happens"),
            When::Without { step, within } => {
                format!(
                    "when {on} is not followed by {} within {}",
                    any_of(&step.on),
                    length(*within)
                )
            }
            When::Sequence { steps, within } => {
                let steps = steps.iter().map(|step| any_of(&step.on)).chain([on]);
                let steps = steps.collect::<Vec<_>>().join(", then ");
                format!("when these happen within {}: {steps}", length(*within))
            }
            When::At { time, shift_ms } => {
                let shift = Duration::from_millis(shift_ms.unsigned_abs());
                let time = time.expression.text();
                match shift_ms {
                    0 => format!("at the time that {on} names ({time})"),
                    ..0 => format!("{} before the time that {on} names ({time})", length(shift)),
                    _ => format!("{} after the time that {on} names ({time})", length(shift)),
                }
            }
            When::Crosses(of) => {
                let what = match of.of {
                    Measure::Score(at) => format!("the score {}", set.scores[at].name),
                    Measure::Feature(at) => format!("the feature {}", set.features[at].name),
                };
                let (to, back) =
                    if of.rising { ("rises above", "below") } else { ("falls below", "above") };
                format!("when {what} {to} {}, armed again {back} {}", of.line, of.rearm)
            }
        }
    }
}

impl super::set::Do {
    fn in_words(&self) -> String {
        use super::set::What;
        match &self.what {
            What::Emit { event } => format!("the event {event}"),
            What::Set { traits } => {
                let names: Vec<_> = traits.keys().map(String::as_str).collect();
                format!("sets {}", names.join(", "))
            }
            What::Send { destination, kind, template } => match template {
                Some(template) => format!("{kind} to {destination}: {template}"),
                None => format!("{kind} to {destination}"),
            },
            What::Ask { score, destination, .. } => {
                format!("asks {destination} for the score {score}")
            }
            What::InApp { placement, template } => {
                format!("a message in the page or the app ({placement}): {template}")
            }
        }
    }
}

impl On {
    /// As a rule names it.
    pub(super) fn in_words(&self) -> String {
        self.0.strip_prefix("track:").unwrap_or(&self.0).trim_end_matches(':').to_owned()
    }
}

fn any_of(on: &[On]) -> String {
    on.iter().map(On::in_words).collect::<Vec<_>>().join(" or ")
}

pub(super) fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    for (unit, one, many) in
        [(86_400, "day", "days"), (3600, "hour", "hours"), (60, "minute", "minutes")]
    {
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
