//! What rules send, as the file says it: by way of what, by which template, and what that will find.
//! Promises what a message is told of when it is made: see `actions::context`. Deliberately knows no destination and no template.

use std::collections::BTreeSet;

use super::part::{Part, Per};
use super::rule::{Crossing, IN_APP, Measure, Rule, What, When};
use super::set::RuleSet;

/// A message that a rule sends.
#[derive(Clone, Debug)]
pub struct Sends<'a> {
    /// In which file.
    pub file: &'a str,
    /// The rule.
    pub rule: &'a str,
    /// By way of which destination; a message in the app has none.
    pub destination: Option<&'a str>,
    /// The line that names it.
    pub destination_line: usize,
    /// Of which kind it takes that to be.
    pub kind: &'a str,
    /// By which template, without its ending.
    pub template: Option<&'a str>,
    /// The line that names it.
    pub template_line: usize,
    /// The template's file, where it is named with its ending.
    pub template_file: Option<&'a str>,
    /// What its message can be filled in with.
    pub told: Told<'a>,
}

/// What a message of a rule is told of, beside the person and the account.
#[derive(Clone, Debug, Default)]
pub struct Told<'a> {
    /// Features that the rule looks at.
    pub features: BTreeSet<&'a str>,
    /// Scores that it looks at.
    pub scores: BTreeSet<&'a str>,
    /// Whether more may be: a part of what it looks at cannot be read.
    pub perhaps_more: bool,
    /// Whether time alone sets it off: then there is no event.
    pub by_time: ByTime,
}

/// Whether time alone sets a rule off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByTime {
    /// An event does.
    #[default]
    Never,
    /// As windows move on, a score may go either way: which, nobody has worked out.
    Perhaps,
    /// The clock moves it, or an event that leaves a window does.
    Surely,
}

impl RuleSet {
    /// What is sent, in the order of the files.
    pub fn sends(&self) -> impl Iterator<Item = Sends<'_>> {
        self.rules.iter().flat_map(|rule| {
            let deeds = rule.then.iter().zip(&rule.places);
            deeds.filter_map(|(deed, stands)| {
                let (destination, kind, template) = match &deed.what {
                    What::Send { destination, kind, template } => {
                        (Some(destination.as_str()), kind.as_str(), template.as_deref())
                    }
                    What::InApp { template, .. } => (None, IN_APP, Some(template.as_str())),
                    What::Ask { destination, .. } => (Some(destination.as_str()), "webhook", None),
                    What::Emit { .. } | What::Set { .. } => return None,
                };
                Some(Sends {
                    file: &rule.file,
                    rule: &rule.name,
                    destination,
                    destination_line: stands.destination,
                    kind,
                    template,
                    template_line: stands.template,
                    template_file: stands.file.as_deref(),
                    told: self.told(rule),
                })
            })
        })
    }

    /// What stands in the reasons of a firing, by which a message is told.
    fn told<'a>(&'a self, rule: &'a Rule) -> Told<'a> {
        let is_unsound = |what: &str, name: &str| self.unsound.contains(&format!("{what}.{name}"));
        let mut told = Told { perhaps_more: is_unsound("rules", &rule.name), ..Told::default() };
        let mut parts: Vec<&Part> = rule.conditions.iter().chain(&rule.still).collect();
        if let When::Crosses(crossing) = &rule.when {
            told.by_time = self.by_time(crossing, &rule.conditions);
            match &crossing.of {
                Measure::Feature(at) => {
                    told.features.insert(&self.features[*at].name);
                }
                Measure::Score(at) => {
                    let name = &self.scores[*at].name;
                    told.perhaps_more |= is_unsound("scores", name);
                    told.scores.insert(name);
                    parts.extend(self.scores[*at].terms.iter().map(|(_, term)| term));
                }
            }
        }
        for part in parts {
            told.features.extend(part.features.iter().map(String::as_str));
            told.scores.extend(part.scores.iter().map(String::as_str));
        }
        told
    }

    fn by_time(&self, crossing: &Crossing, conditions: &[Part]) -> ByTime {
        if self.goes_by_the_clock(&crossing.of, conditions) {
            return ByTime::Surely;
        }
        match &crossing.of {
            // What leaves a window takes away from what is in it; what comes into one that ended a while ago adds to it.
            Measure::Feature(at) => {
                let feature = &self.features[*at];
                match feature.window.is_some() && (!crossing.rising || !feature.ago.is_zero()) {
                    true => ByTime::Surely,
                    false => ByTime::Never,
                }
            }
            Measure::Score(_) if self.ages(&crossing.of) => ByTime::Perhaps,
            Measure::Score(_) => ByTime::Never,
        }
    }

    /// Whose a feature is, or a score.
    pub(crate) fn per_of_name(&self, variable: &str, name: &str) -> Option<Per> {
        match variable {
            "features" => self.feature(name).map(|at| self.features[at].per),
            _ => self.score(name).map(|at| self.scores[at].per),
        }
    }
}
