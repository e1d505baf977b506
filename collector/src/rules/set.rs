//! What operators have written, read and found sound: features, scores and rules, and which events each is about.
//! Promises that whatever an expression looks at is there. Deliberately does nothing: see `fold`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use serde::Serialize;

use super::{
    aggregate::{Operation, Span},
    event::Wanted,
    length::{Length, ms},
    spelling::Written,
};
use crate::expression::Expression;

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
    /// Where names stand that sources make up, for who looks whether they are meant.
    pub(super) written: Vec<Written>,
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

/// Whose: everything is kept for people, or read together for all people of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// One human.
    #[default]
    Person,
    /// One organisation.
    Account,
}

/// Which events: of a kind of call, and of a name or any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct On(pub(super) String);

impl On {
    /// `Report Built` is a track event of this name, `page:Pricing` a page, `page:*` any page, `identify` that call, `*` all.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let calls = ["track", "page", "screen"];
        let key = match text.split_once(':') {
            _ if text.is_empty() => return Err("an event has a name".to_owned()),
            _ if text == "*" => text.to_owned(),
            _ if ["identify", "group", "alias"].contains(&text) => format!("{text}:"),
            Some((call, name)) if calls.contains(&call) => {
                let name = name.trim();
                if name.is_empty() {
                    return Err(format!("`{call}:` is followed by a name, or by `*` for all"));
                }
                format!("{call}:{name}")
            }
            _ => format!("track:{text}"),
        };
        Ok(Self(key))
    }

    /// All keys under which an event is looked up.
    pub(super) fn of(call: &str, name: &str) -> [String; 3] {
        [format!("{call}:{name}"), format!("{call}:*"), "*".to_owned()]
    }
}

/// An expression, and where it stands.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) expression: Expression,
    /// What it looks at.
    pub(super) features: BTreeSet<String>,
    pub(super) scores: BTreeSet<String>,
    /// Whether its value changes as time goes by.
    pub(super) ages: bool,
    /// Whether it needs what is known of the person.
    pub(super) looks_at_profile: bool,
    /// Whether it asks for the time where the event happened.
    pub(super) asks_event_time: bool,
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

/// A rule: when this is so, do that.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) file: String,
    /// A name for all that decides what it comes to: of what it looks at, too.
    pub(super) key: String,
    pub(super) revision: u32,
    pub(super) per: Per,
    /// What begins it; empty where only time or a score does.
    pub(super) on: Vec<On>,
    /// All of these.
    pub(super) conditions: Vec<Part>,
    pub(super) when: When,
    /// All of these too, when a timer rings.
    pub(super) still: Vec<Part>,
    /// Only what sources said that nobody can forge.
    pub(super) only_server: bool,
    pub(super) late: Late,
    pub(super) limit: Option<(u32, Duration)>,
    pub(super) pending: Pending,
    pub(super) enabled: bool,
    pub(super) dry_run: bool,
    /// Of all it is about, so many of a hundred.
    pub(super) percent: u8,
    pub(super) then: Vec<Do>,
    /// Where each of these stands in the file, in the same order.
    pub(super) places: Vec<Stands>,
    /// Whether it says itself that it does nothing.
    pub(super) says_nothing: bool,
    /// What is answered to who waits for a decision.
    pub(super) decision: Option<String>,
    /// Whether it is sent at night and beyond caps: a frozen card cannot wait.
    pub(super) urgent: bool,
    /// The score whose model it asks: no file has such a rule, and it sees features as they stand after the event.
    pub(super) asks: Option<String>,
}

/// How often somebody is written to.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cap {
    /// Most messages of one kind.
    pub(super) times: u32,
    /// Within so long.
    pub(super) within: Length,
}

/// When nobody is written to, by the person's own clock.
#[derive(Clone, Debug)]
pub(super) struct Quiet {
    /// Minutes of the day.
    pub(super) from: i16,
    pub(super) to: i16,
    pub(super) kinds: Vec<String>,
}

/// When it is so.
#[derive(Debug)]
pub(super) enum When {
    /// As the event comes.
    Event,
    /// When something has not happened for so long after it.
    Without { step: Step, within: Duration },
    /// When these have happened one after the other within so long; the last is in `on`.
    Sequence { steps: Vec<Step>, within: Duration },
    /// At a time that the event names.
    At { time: Part, shift_ms: i64 },
    /// When a score or a feature crosses a line.
    Crosses(Crossing),
}

/// One event of several.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) on: Vec<On>,
    /// Only if it goes with the one that began.
    pub(super) matches: Option<Part>,
}

#[derive(Debug)]
pub(super) struct Crossing {
    pub(super) of: Measure,
    /// Rising above the line; otherwise falling below it.
    pub(super) rising: bool,
    pub(super) line: f64,
    /// Where it has to go back to before it counts again.
    pub(super) rearm: f64,
}

/// What crosses a line.
#[derive(Debug)]
pub(super) enum Measure {
    Score(usize),
    Feature(usize),
}

/// What is done about an event that comes long after it happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Late {
    /// As if it had come in time.
    Fire,
    /// The firing is on record, and does nothing.
    #[default]
    Record,
    /// Nothing.
    Skip,
}

/// What becomes of those who wait when a revision comes into force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pending {
    /// They go on under the new one.
    #[default]
    Keep,
    /// They are recorded, and do nothing.
    Drop,
}

/// Where a file names what an action needs, as lines from 1.
#[derive(Clone, Debug, Default)]
pub(super) struct Stands {
    pub(super) destination: usize,
    pub(super) template: usize,
    /// The template's file, if it is named with its ending.
    pub(super) file: Option<String>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) struct Do {
    /// What.
    pub(crate) what: What,
    /// For how long it is of use, in milliseconds.
    pub(crate) expires_ms: i64,
}

/// The word for messages to the page or the app, in rule files and wherever kinds of actions are named.
pub(crate) const IN_APP: &str = "in_app";

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// An event of the person.
    Emit {
        /// Its name.
        event: String,
    },
    /// Traits of the person.
    Set {
        /// By name.
        traits: BTreeMap<String, serde_json::Value>,
    },
    /// A message by way of a destination.
    Send {
        /// Its name in the configuration.
        destination: String,
        /// The kind that the rule takes it for.
        kind: String,
        /// The template, without its ending.
        template: Option<String>,
    },
    /// A model is asked for a score of the person.
    Ask {
        /// The score.
        score: String,
        /// By way of which destination.
        destination: String,
        /// What stands if no answer comes in time.
        fallback: serde_json::Number,
    },
    /// A message to the page or the app that the person has open.
    InApp {
        /// Where in the page it belongs.
        placement: String,
        /// The template, without its ending.
        template: String,
    },
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
        let part = |part: &Part| part.looks_at_profile || part.expression.mentions("account");
        let rule = |rule: &Rule| {
            let timed = match &rule.when {
                When::At { time, .. } => Some(time),
                _ => None,
            };
            rule.per == Per::Account
                || rule.conditions.iter().chain(&rule.still).chain(timed).any(part)
        };
        self.quiet.is_some()
            || self.rules.iter().any(rule)
            || self.scores.iter().any(|score| score.parts().any(part))
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

    /// Whether what crosses the line can have moved because this feature did.
    pub(super) fn moves(&self, measure: &Measure, feature: usize) -> bool {
        match measure {
            Measure::Feature(of) => *of == feature,
            Measure::Score(of) => self.score_looks_at(*of, feature),
        }
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

impl Rule {
    /// All expressions of it.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        let (time, steps): (Option<&Part>, &[Step]) = match &self.when {
            When::At { time, .. } => (Some(time), &[]),
            When::Without { step, .. } => (None, std::slice::from_ref(step)),
            When::Sequence { steps, .. } => (None, steps),
            When::Event | When::Crosses(_) => (None, &[]),
        };
        let matches = steps.iter().filter_map(|step| step.matches.as_ref());
        self.conditions.iter().chain(&self.still).chain(time).chain(matches)
    }
}

impl Do {
    /// What it goes by: the log, or a destination.
    pub(crate) fn lane(&self) -> &str {
        match &self.what {
            What::Emit { .. } | What::Set { .. } | What::InApp { .. } => "",
            What::Send { destination, .. } | What::Ask { destination, .. } => destination,
        }
    }

    /// The word for what is done.
    pub(crate) fn kind(&self) -> String {
        match &self.what {
            What::Emit { .. } => "emit".to_owned(),
            What::Set { .. } => "set".to_owned(),
            What::Send { kind, .. } => kind.clone(),
            What::Ask { .. } => "score".to_owned(),
            What::InApp { .. } => IN_APP.to_owned(),
        }
    }
}
