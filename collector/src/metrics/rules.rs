//! What rules came to, in Prometheus' words: firings, actions, decisions.
//! Promises labels of rules that are configured, or were before this start and had something to do; of kinds of actions, and of words of
//! the code. Deliberately decides nothing: who counts sees to it that each thing counts once.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::Metrics;
use crate::rules::ActionState;

/// All of them.
#[derive(Debug)]
pub(super) struct OfRules {
    actions: Family<ActionLabels, Counter>,
    action_ceiling: Counter,
    action_seconds: Family<KindLabels, Histogram, fn() -> Histogram>,
    firing_seconds: Family<RuleLabel, Histogram, fn() -> Histogram>,
    waiting: Family<RuleLabel, Gauge<u64, AtomicU64>>,
    firings: Family<FiringLabels, Counter>,
    stopped: Family<RuleLabel, Gauge<u64, AtomicU64>>,
    unjudged: Family<RuleLabel, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    decision_seconds: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ActionLabels {
    rule: String,
    kind: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FiringLabels {
    rule: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    rule: String,
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabels {
    rule: String,
    decision: String,
    complete: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RuleLabel {
    rule: String,
}

/// From an event to the end of an action: milliseconds where all is well, minutes where a destination is away.
const ACTION_BOUNDS: [f64; 12] =
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 10.0, 60.0, 600.0];
/// From an event to the firing that it sets off: milliseconds, but for a state that is behind.
const FIRING_BOUNDS: [f64; 11] =
    [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0, 600.0];
/// Who asks waits for the answer: a quarter of a second unless they say otherwise, and five at most.
const DECISION_BOUNDS: [f64; 11] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 2.0, 5.0];

impl OfRules {
    pub(super) fn new(to: &mut Registry) -> Self {
        let all = Self {
            actions: Family::default(),
            action_ceiling: Counter::default(),
            action_seconds: Family::new_with_constructor(|| Histogram::new(ACTION_BOUNDS)),
            firing_seconds: Family::new_with_constructor(|| Histogram::new(FIRING_BOUNDS)),
            waiting: Family::default(),
            firings: Family::default(),
            stopped: Family::default(),
            unjudged: Family::default(),
            decisions: Family::default(),
            decision_seconds: Histogram::new(DECISION_BOUNDS),
        };
        to.register("actions", "Actions of rules by what became of them", all.actions.clone());
        let help = "Minutes in which rules wanted to send more than actions_per_minute";
        to.register("action_ceiling_minutes", help, all.action_ceiling.clone());
        let help = "From an event's receipt, or from when a timer was due, until a destination had the action";
        to.register("action_duration_seconds", help, all.action_seconds.clone());
        let help =
            "From an event's receipt, or from when a timer was due, until the firing was committed";
        to.register("firing_duration_seconds", help, all.firing_seconds.clone());
        to.register("actions_waiting", "Actions that are still to be done", all.waiting.clone());
        let help = "Times that a rule was so, by what came of that";
        to.register("firings", help, all.firings.clone());
        let help = "1 for a rule that an operator has stopped, else 0";
        to.register("rule_stopped", help, all.stopped.clone());
        let help = "Times that a condition of a rule could not be worked out, and did not hold";
        to.register("rule_unjudged", help, all.unjudged.clone());
        let help = "Decisions by the rule that made them, and whether all rules were heard";
        to.register("decisions", help, all.decisions.clone());
        let help = "From the question to the decision";
        to.register("decision_duration_seconds", help, all.decision_seconds.clone());
        all
    }
}

fn of(rule: &str) -> RuleLabel {
    RuleLabel { rule: rule.to_owned() }
}

impl Metrics {
    /// Counts an action whose end is known.
    pub fn action(&self, rule: &str, kind: &str, outcome: &'static str) {
        let labels = ActionLabels { rule: rule.to_owned(), kind: kind.to_owned(), outcome };
        self.rules.actions.get_or_create(&labels).inc();
    }

    /// Has a rule at zero, before it has fired: an alert on what is more than before would not see the first.
    pub fn knows_rule(&self, rule: &str) {
        let labels = FiringLabels { rule: rule.to_owned(), outcome: "fired" };
        drop(self.rules.firings.get_or_create(&labels));
        drop(self.rules.unjudged.get_or_create(&of(rule)));
        self.rule_now(rule, false, 0);
    }

    /// Has a rule's actions of a kind at zero, before any has ended.
    pub fn knows_actions(&self, rule: &str, kind: &str) {
        for outcome in ActionState::ENDS {
            let labels = ActionLabels {
                rule: rule.to_owned(),
                kind: kind.to_owned(),
                outcome: outcome.as_str(),
            };
            drop(self.rules.actions.get_or_create(&labels));
        }
    }

    /// Rules want to send more in this minute than they may.
    pub fn actions_over(&self) {
        self.rules.action_ceiling.inc();
    }

    /// How long it took from an event's receipt, or from when a timer was due, until a destination had the action.
    pub fn action_took(&self, rule: &str, kind: &str, took: Duration) {
        let labels = KindLabels { rule: rule.to_owned(), kind: kind.to_owned() };
        self.rules.action_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// The same until the firing was committed.
    pub fn firing_took(&self, rule: &str, took: Duration) {
        self.rules.firing_seconds.get_or_create(&of(rule)).observe(took.as_secs_f64());
    }

    /// A rule was so.
    pub fn firing(&self, rule: &str, outcome: &'static str) {
        self.rules.firings.get_or_create(&FiringLabels { rule: rule.to_owned(), outcome }).inc();
    }

    /// A condition of a rule could not be worked out.
    pub fn unjudged(&self, rule: &str) {
        self.rules.unjudged.get_or_create(&of(rule)).inc();
    }

    /// Whether a rule is stopped, and how much of what it does is still to be done.
    pub fn rule_now(&self, rule: &str, is_stopped: bool, waiting: u64) {
        self.rules.stopped.get_or_create(&of(rule)).set(is_stopped.into());
        self.rules.waiting.get_or_create(&of(rule)).set(waiting);
    }

    /// A decision was made, by a rule, or by none; without all rules if time was up.
    pub fn decision(&self, rule: Option<&str>, decision: &str, is_complete: bool, took: Duration) {
        let labels = DecisionLabels {
            rule: rule.unwrap_or_default().to_owned(),
            decision: decision.to_owned(),
            complete: if is_complete { "true" } else { "false" },
        };
        self.rules.decisions.get_or_create(&labels).inc();
        self.rules.decision_seconds.observe(took.as_secs_f64());
    }
}
