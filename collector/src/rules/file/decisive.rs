//! What a rule decides by, as a text and as a name for it: of its own, and of all that it looks at.
//! Promises that a typo in a description changes nothing. Deliberately leaves out how answers to who waits are worded.

use std::{collections::BTreeSet, fmt::Write as _};

use sha2::{Digest as _, Sha256};

use super::super::part::Part;
use super::super::rule::{Crossing, Do, Measure, Rule, Step, When};
use super::super::set::{RuleSet, Score};

impl RuleSet {
    /// All that decides what a rule comes to, with the features and the scores that it looks at.
    pub(super) fn decisive(&self, rule: &Rule) -> String {
        let mut features: BTreeSet<&str> = BTreeSet::new();
        let mut scores: BTreeSet<usize> = BTreeSet::new();
        let mut parts: Vec<&Part> = rule.conditions.iter().chain(&rule.still).collect();
        match &rule.when {
            When::At { time, .. } => parts.push(time),
            When::Crosses(Crossing { of: Measure::Feature(at), .. }) => {
                features.insert(&self.features[*at].key);
            }
            When::Crosses(Crossing { of: Measure::Score(at), .. }) => {
                scores.insert(*at);
                parts.extend(self.scores[*at].terms.iter().map(|(_, term)| term));
            }
            _ => {}
        }
        while let Some(part) = parts.pop() {
            let known = part.features.iter().filter_map(|name| self.feature(name));
            features.extend(known.map(|at| self.features[at].key.as_str()));
            for at in part.scores.iter().filter_map(|name| self.score(name)) {
                if scores.insert(at) {
                    parts.extend(self.scores[at].terms.iter().map(|(_, term)| term));
                }
            }
        }
        let scores: BTreeSet<_> = scores.iter().map(|at| self.scores[*at].decisive()).collect();
        let line = match &rule.when {
            When::Crosses(of) => format!("{} {} {}", of.rising, of.line, of.rearm),
            _ => String::new(),
        };
        // Of what holds for all rules, only what holds for this one's actions.
        let kinds: BTreeSet<String> = rule.then.iter().map(Do::kind).collect();
        let caps: Vec<_> = self.caps.iter().filter(|(kind, _)| kinds.contains(*kind)).collect();
        let quiet = self.quiet.as_ref();
        let quiet = quiet.filter(|quiet| quiet.kinds.iter().any(|kind| kinds.contains(kind)));
        let of_all = format!("{caps:?} {quiet:?}");
        format!("{} {line} {features:?} {scores:?} {of_all}", rule.decisive(false))
    }
}

/// A name for a text.
pub(super) fn short(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

impl Score {
    /// All that decides what it comes to.
    pub(super) fn decisive(&self) -> String {
        let terms = self.terms.iter().map(|(name, term)| (name, term.expression.text()));
        let terms: Vec<_> = terms.collect();
        let model = self.model.as_ref().map(|model| {
            let inputs = model.inputs.iter().map(|(name, part)| (name, part.expression.text()));
            format!("{:?} {}", inputs.collect::<Vec<_>>(), model.fallback)
        });
        format!("{} {:?} {terms:?} {:?} {model:?}", self.name, self.per, self.squash)
    }
}

impl Rule {
    /// All that decides what it comes to; of what crosses a line, which is a place in the set, only if that is wanted.
    pub(super) fn decisive(&self, with_places: bool) -> String {
        let text = |part: &Part| part.expression.text().to_owned();
        let conditions: Vec<_> = self.conditions.iter().chain(&self.still).map(text).collect();
        let step = |step: &Step| format!("{:?} {:?}", step.on, step.matches.as_ref().map(text));
        let when = match &self.when {
            When::Event => String::new(),
            When::Without { step: of, within } => format!("without {} {within:?}", step(of)),
            When::Sequence { steps, within } => {
                format!("sequence {:?} {within:?}", steps.iter().map(step).collect::<Vec<_>>())
            }
            When::At { time, shift_ms } => format!("at {} {shift_ms}", text(time)),
            When::Crosses(of) if with_places => format!("{of:?}"),
            When::Crosses(_) => "crosses".to_owned(),
        };
        format!(
            "{} {} {:?} {:?} {conditions:?} {when} {} {:?} {:?} {:?} {} {} {} {:?} {}",
            self.name,
            self.revision,
            self.per,
            self.on,
            self.only_server,
            self.late,
            self.limit,
            self.pending,
            self.enabled,
            self.dry_run,
            self.percent,
            self.then,
            self.urgent,
        )
    }
}
