//! One rule: when it is so, for whom, and what is done then.
//! Promises that whatever can be written down means something. Deliberately looks nothing up: names are resolved in `set`.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    length::Length,
    part::{On, Part, Per},
};

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
    /// A model is asked for a score of the person, or of the account.
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

impl Rule {
    /// All expressions of it.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
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
