//! What operators have written, read and found sound: features, scores and rules, and which events each is about.
//! Promises that whatever an expression looks at is there. Deliberately does nothing: see `fold`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{
    aggregate::{Operation, Span},
    event::Wanted,
    length::ms,
    part::{On, Part, Per},
    rule::{Cap, Crossing, Measure, Quiet, Rule, When},
    spelling::Written,
    unread::Declared,
};

/// All of a folder's files, as one.
#[derive(Debug, Default)]
pub struct RuleSet {
    pub(super) features: Vec<Feature>,
    pub(super) scores: Vec<Score>,
    pub(super) rules: Vec<Rule>,
    /// By what an event is, as [`On`] writes it: who wants to hear of it.
    pub(super) heard: HashMap<String, Heard>,
    /// By kind of action.
    pub(super) caps: BTreeMap<String, Cap>,
    pub(super) quiet: Option<Quiet>,
    /// What is answered where no rule has decided.
    pub(super) default_decision: Option<String>,
    /// Of all that decides what comes of the log; another one is another state.
    pub(super) hash: String,
    /// What of events expressions name.
    pub(super) wanted: Wanted,
    /// Rules and scores, `rules.x`, of which a part cannot be read: what they look at is not known.
    pub(super) unsound: BTreeSet<String>,
    /// Where names stand that sources make up, for who looks whether they are meant.
    pub(super) written: Vec<Written>,
    /// Where features and scores begin, for who looks whether anything reads them.
    pub(super) declared: Vec<Declared>,
}

/// Who wants to hear of an event: places in the set's lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) features: BTreeSet<usize>,
    /// Rules that begin with it.
    pub(super) rules: BTreeSet<usize>,
    /// Rules, and which of their steps it is.
    pub(super) steps: BTreeSet<(usize, usize)>,
}

#[derive(Debug)]
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) per: Per,
    pub(super) on: Vec<On>,
    /// Only events for which this is so.
    pub(super) condition: Option<Part>,
    pub(super) operation: Operation,
    /// What is counted; none for a count, and for the time of the first or the last.
    pub(super) value: Option<Part>,
    pub(super) window: Option<Duration>,
    /// How long ago the window ended; zero for one that ends now.
    pub(super) ago: Duration,
    /// The score whose model's answers it keeps, which no expression makes.
    pub(super) answers: Option<String>,
    /// All that decides what it comes to.
    pub(super) key: String,
}

impl Feature {
    /// Whether it goes on changing as a window moves: of a stay less and less is in it.
    fn runs(&self) -> bool {
        matches!(self.operation, Operation::Dwell(_)) && self.window.is_some()
    }

    /// What of it counts at a moment; everything, if it has no window.
    pub(super) fn span(&self, now_ms: i64) -> Option<Span> {
        let end = now_ms - ms(self.ago);
        // Devices have clocks of their own: what is a little ahead of this moment counts in a window that ends with it.
        let to = if self.ago.is_zero() { i64::MAX } else { end };
        self.window.map(|window| Span { from: end - ms(window), to })
    }
}

#[derive(Debug)]
pub(super) struct Score {
    pub(super) name: String,
    pub(super) per: Per,
    pub(super) description: Option<String>,
    /// By name, in the order of the file.
    pub(super) terms: Vec<(String, Part)>,
    pub(super) squash: Squash,
    /// Who computes it, if not its terms.
    pub(super) model: Option<Model>,
}

/// A score that is asked for.
#[derive(Debug)]
pub(super) struct Model {
    /// By way of which destination.
    pub(super) by: String,
    /// What it is told, by name, in the order of the file.
    pub(super) inputs: Vec<(String, Part)>,
    /// What stands where there is no answer.
    pub(super) fallback: f64,
    /// The place of the feature that keeps what it has answered.
    pub(super) feature: usize,
}

impl Score {
    /// All expressions that it is made of.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        let inputs = self.model.iter().flat_map(|model| &model.inputs);
        self.terms.iter().chain(inputs).map(|(_, part)| part)
    }
}

/// What becomes of the sum of a score's terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Squash {
    /// Itself.
    #[default]
    None,
    /// 1 / (1 + e^-x): between 0 and 1.
    Logistic,
    /// Cut to between 0 and 1.
    Clamp,
}

impl RuleSet {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty() && self.scores.is_empty() && self.rules.is_empty()
    }

    /// Its features of people, or of accounts, by name; of some named ones those.
    pub fn names_of_features(&self, per: Per, named: &[String]) -> Vec<String> {
        let of_whom = self.features.iter().filter(|it| it.per == per && it.answers.is_none());
        let mut names: Vec<String> = of_whom.map(|feature| feature.name.clone()).collect();
        names.retain(|name| named.is_empty() || named.contains(name));
        names.sort_unstable();
        names
    }

    /// Its features alone.
    pub(super) fn without_rules(self) -> Self {
        let mut heard = self.heard;
        for heard in heard.values_mut() {
            (heard.rules, heard.steps) = Default::default();
        }
        Self { features: self.features, heard, ..Self::default() }
    }

    /// How many features, scores and rules.
    pub fn counts(&self) -> (usize, usize, usize) {
        // What goes with a model is nobody's rule and feature.
        let models = self.scores.iter().filter(|score| score.model.is_some()).count();
        (self.features.len() - models, self.scores.len(), self.rules.len() - models)
    }

    /// Whether it looks at what is known of people, and not only at what it keeps itself.
    pub(super) fn looks_at_people(&self) -> bool {
        let rule = |rule: &Rule| {
            let timed = match &rule.when {
                When::At { time, .. } => Some(time),
                _ => None,
            };
            rule.per == Per::Account
                || rule.conditions.iter().chain(&rule.still).chain(timed).any(Part::looks_at_people)
        };
        self.quiet.is_some()
            || self.rules.iter().any(rule)
            || self.scores.iter().any(|score| score.parts().any(Part::looks_at_people))
    }

    /// What of events its expressions name, where they are plain.
    pub(super) fn named(&self) -> Wanted {
        let mut wanted = Wanted::default();
        let features = self.features.iter().flat_map(|it| it.condition.iter().chain(&it.value));
        for part in features.chain(self.rules.iter().flat_map(Rule::parts)) {
            for (variable, path) in part.expression.plain_paths() {
                if ["event", "trigger"].contains(&variable) {
                    wanted.add(path);
                }
            }
        }
        wanted
    }

    /// Whether anything in it is about accounts.
    pub(super) fn uses_accounts(&self) -> bool {
        self.rules.iter().any(|rule| rule.per == Per::Account)
    }

    /// Who wants to hear of this event.
    pub(super) fn heard(&self, call: &str, name: &str) -> Heard {
        let mut all = Heard::default();
        for key in On::of(call, name) {
            if let Some(heard) = self.heard.get(&key) {
                all.features.extend(&heard.features);
                all.rules.extend(&heard.rules);
                all.steps.extend(&heard.steps);
            }
        }
        all
    }

    pub(super) fn feature(&self, name: &str) -> Option<usize> {
        self.features.iter().position(|feature| feature.name == name)
    }

    pub(super) fn score(&self, name: &str) -> Option<usize> {
        self.scores.iter().position(|score| score.name == name)
    }

    pub(super) fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// What a rule answers to who waits for a decision.
    pub(crate) fn decision_of(&self, rule: &str) -> Option<&str> {
        self.rule(rule)?.decision.as_deref()
    }

    /// What is answered where no rule has decided.
    pub(crate) fn default_decision(&self) -> &str {
        self.default_decision.as_deref().unwrap_or("allow")
    }

    /// Whether there is a rule of this name.
    pub(crate) fn has_rule(&self, name: &str) -> bool {
        self.rule(name).is_some()
    }

    /// Whom a rule is about.
    pub(crate) fn per_of_rule(&self, name: &str) -> Option<Per> {
        self.rule(name).map(|rule| rule.per)
    }

    /// Names, revisions, and a name for all that each rule decides by.
    pub(crate) fn revisions(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.rules.iter().map(|rule| (rule.name.as_str(), rule.revision, rule.key.as_str()))
    }

    /// The names of features and of scores.
    pub(crate) fn names(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let features = self.features.iter().map(|it| it.name.clone()).collect();
        (features, self.scores.iter().map(|it| it.name.clone()).collect())
    }

    /// Rules that do nothing and decide nothing, and do not say so: in which file, and which.
    pub fn idle(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_idle = |rule: &&Rule| {
            rule.then.is_empty() && rule.decision.is_none() && !rule.says_nothing && rule.enabled
        };
        self.rules.iter().filter(is_idle).map(|rule| (rule.file.as_str(), rule.name.as_str()))
    }

    /// The rules that may fire.
    pub(crate) fn enabled(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter(|rule| rule.enabled).map(|rule| rule.name.as_str())
    }

    /// Each rule with each kind of what it does.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&str, String)> {
        self.rules
            .iter()
            .flat_map(|rule| rule.then.iter().map(|it| (rule.name.as_str(), it.kind())))
    }

    /// What it decides by, as a name for it.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// Whether an expression looks at this feature, by way of scores too.
    fn looks_at(&self, part: &Part, feature: usize) -> bool {
        let through =
            |score: &String| self.score(score).is_some_and(|at| self.score_looks_at(at, feature));
        part.features.contains(&self.features[feature].name) || part.scores.iter().any(through)
    }

    /// Whether a rule looks at this feature in any way: one that asks a model tells it what it stands at.
    pub(super) fn reads(&self, rule: &Rule, feature: usize) -> bool {
        let crosses = match &rule.when {
            When::Crosses(crossing) => self.moves(&crossing.of, feature),
            _ => false,
        };
        let asks = rule.asks.iter().filter_map(|name| self.score(name));
        let told = asks.flat_map(|at| self.scores[at].parts());
        crosses || rule.parts().chain(told).any(|part| self.looks_at(part, feature))
    }

    /// Whether what crosses the line can have moved because this feature did.
    pub(super) fn moves(&self, measure: &Measure, feature: usize) -> bool {
        match measure {
            Measure::Feature(of) => *of == feature,
            Measure::Score(of) => self.score_looks_at(*of, feature),
        }
    }

    /// Whether what crosses the line can have moved though no feature did: it goes by what is known of people, as their traits.
    pub(super) fn goes_by_people(&self, measure: &Measure) -> bool {
        match measure {
            Measure::Feature(_) => false,
            Measure::Score(of) => {
                self.scores[*of].terms.iter().any(|(_, term)| self.part_goes_by_people(term))
            }
        }
    }

    /// By way of scores too.
    fn part_goes_by_people(&self, part: &Part) -> bool {
        let through = |score: &String| {
            let score = self.score(score).map(|at| &self.scores[at]);
            score.is_some_and(|it| it.terms.iter().any(|(_, term)| self.part_goes_by_people(term)))
        };
        part.looks_at_people() || part.scores.iter().any(through)
    }

    /// By its terms; one by a model moves with its answers, and not with what it was asked about.
    fn score_looks_at(&self, score: usize, feature: usize) -> bool {
        let score = &self.scores[score];
        let answers = score.model.as_ref().is_some_and(|model| model.feature == feature);
        answers || score.terms.iter().any(|(_, term)| self.looks_at(term, feature))
    }

    /// Whether what crosses the line moves as time goes by.
    pub(super) fn ages(&self, measure: &Measure) -> bool {
        match measure {
            Measure::Feature(of) => self.features[*of].window.is_some(),
            Measure::Score(of) => {
                self.scores[*of].terms.iter().any(|(_, term)| self.part_ages(term))
            }
        }
    }

    fn part_ages(&self, part: &Part) -> bool {
        let windowed =
            |name: &String| self.feature(name).is_some_and(|at| self.features[at].window.is_some());
        let score = |name: &String| {
            self.score(name)
                .is_some_and(|at| self.scores[at].terms.iter().any(|(_, t)| self.part_ages(t)))
        };
        part.ages || part.features.iter().any(windowed) || part.scores.iter().any(score)
    }

    /// Features with a window that what crosses a line, or one of the rule's conditions, looks at.
    pub(super) fn windowed(&self, measure: &Measure, conditions: &[Part]) -> Vec<usize> {
        let all = 0..self.features.len();
        let is_seen = |at: &usize| {
            self.moves(measure, *at) || conditions.iter().any(|part| self.looks_at(part, *at))
        };
        all.filter(|at| self.features[*at].window.is_some()).filter(is_seen).collect()
    }

    /// Whether any of it asks for the time, and so moves between two steps of its windows too.
    pub(super) fn goes_by_the_clock(&self, measure: &Measure, conditions: &[Part]) -> bool {
        let score = match measure {
            Measure::Score(of) => self.scores[*of].terms.iter().any(|(_, it)| self.asks_time(it)),
            Measure::Feature(of) => self.features[*of].runs(),
        };
        score || conditions.iter().any(|part| self.asks_time(part))
    }

    /// Whether time alone can bring what crosses the line back, and never over it: in a window that ends now a count can only fall
    /// until something happens.
    pub(super) fn only_goes_back(&self, crossing: &Crossing, conditions: &[Part]) -> bool {
        let Measure::Feature(of) = crossing.of else { return false };
        let feature = &self.features[of];
        let falls =
            matches!(feature.operation, Operation::Count | Operation::Max | Operation::Dwell(_));
        let goes_back = if crossing.rising { falls } else { feature.operation == Operation::Min };
        goes_back && feature.ago.is_zero() && !conditions.iter().any(|part| self.part_ages(part))
    }

    /// How soon after something has happened time alone can move one of these features.
    pub(super) fn soonest_ms(&self, windowed: &[usize]) -> Option<i64> {
        let of = |at: &usize| {
            let Feature { window, ago, .. } = &self.features[*at];
            window.iter().copied().chain((!ago.is_zero()).then_some(*ago)).min()
        };
        windowed.iter().filter_map(of).min().map(ms)
    }

    fn asks_time(&self, part: &Part) -> bool {
        let score = |name: &String| {
            let score = self.score(name).map(|at| &self.scores[at]);
            score.is_some_and(|score| score.terms.iter().any(|(_, it)| self.asks_time(it)))
        };
        let runs = |name: &String| self.feature(name).is_some_and(|at| self.features[at].runs());
        part.ages || part.features.iter().any(runs) || part.scores.iter().any(score)
    }

    pub(super) fn per_of(&self, measure: &Measure) -> Per {
        match measure {
            Measure::Feature(of) => self.features[*of].per,
            Measure::Score(of) => self.scores[*of].per,
        }
    }
}
