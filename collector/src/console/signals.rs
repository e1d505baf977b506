//! What rules know of somebody, beside the timeline: scores, what they came to lately, and of each rule whether it ever fired, so that
//! it can be asked why not. Promises a list that fits a page. Deliberately asks nobody: it is given everything.

use super::{
    deeds::rule_label,
    fired::FiringsView,
    reasons::{MeasuredView, in_one_scale},
    rule::why_address,
    words::{When, count},
};
use crate::{
    desk::RuleAbout,
    event_log::Timestamp,
    rules::{Per, Scored},
};

/// What rules know of somebody: scores, and what they came to lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SignalsView {
    pub(crate) scores: Vec<MeasuredView>,
    pub(crate) l: FiringsView,
    /// Where there is more.
    pub(crate) all: Option<String>,
    pub(crate) rules: AboutView,
}

/// The rules of which it can be asked why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AboutView {
    pub(crate) rules: Vec<RuleAboutView>,
    /// Those that are not listed.
    pub(crate) others: usize,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleAboutView {
    pub(crate) label: String,
    /// Where it is asked.
    pub(crate) href: String,
    /// `fired 3 times`.
    pub(crate) fired: String,
    /// When last, of one that has.
    pub(crate) last: Option<When>,
}

/// Rules that are listed: more is a page of its own, which has a field to ask.
const RULES: usize = 60;

impl SignalsView {
    /// `lines` tells at which lines rules wait for a score: whether rising, and where.
    pub(crate) fn of(
        scores: &[Scored],
        lines: impl Fn(&str) -> Vec<(bool, f64)>,
        mut firings: FiringsView,
        all: Option<String>,
    ) -> Self {
        let scores = scores.iter().map(|it| MeasuredView::of_score(it, &lines(&it.score)));
        let mut scores: Vec<_> = scores.collect();
        // As it is now, and as it was when a rule fired.
        let then = firings.firings.iter_mut().filter_map(|it| it.why.measured.as_mut());
        in_one_scale(scores.iter_mut().chain(then));
        Self { scores, l: firings, all, rules: AboutView::default() }
    }

    /// With the rules that can be about whoever this is of, and who that is for them.
    pub(crate) fn with_rules(self, rules: &[RuleAbout], who: &str) -> Self {
        Self { rules: AboutView::of(rules, who), ..self }
    }
}

impl AboutView {
    fn of(rules: &[RuleAbout], who: &str) -> Self {
        let is_mixed = rules.iter().any(|it| it.per == Per::Person);
        let shown = rules.iter().take(RULES).map(|it| {
            let fired = match (it.times.fired, it.enabled) {
                (0, false) => "disabled".to_owned(),
                (0, true) => "not fired".to_owned(),
                (fired, _) => format!("fired {}", count(fired, "time", "times")),
            };
            let of_account = is_mixed && it.per == Per::Account;
            RuleAboutView {
                label: rule_label(&it.name),
                href: why_address(&it.name, who),
                fired: if of_account { format!("{fired}, of the account") } else { fired },
                last: (it.times.fired > 0)
                    .then(|| When::at(Timestamp::from_unix_ms(it.times.last_ms))),
            }
        });
        Self { rules: shown.collect(), others: rules.len().saturating_sub(RULES) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Times;

    fn rule(name: &str, per: Per, enabled: bool, fired: u64) -> RuleAbout {
        RuleAbout { name: name.to_owned(), per, enabled, times: Times { fired, last_ms: 1_000 } }
    }

    #[test]
    fn each_rule_says_whether_it_fired_and_leads_to_why_for_whoever_it_is() {
        let rules = [
            rule("large_order", Per::Person, true, 2),
            rule("churn", Per::Account, true, 0),
            rule("left", Per::Person, false, 0),
        ];
        let view = AboutView::of(&rules, "p_1&x");
        let said = view.rules.iter().map(|it| (it.label.as_str(), it.fired.as_str()));
        let expected = [
            ("Large order", "fired 2 times"),
            ("Churn", "not fired, of the account"),
            ("Left", "disabled"),
        ];
        assert_eq!(said.collect::<Vec<_>>(), expected);
        assert_eq!(view.rules[0].href, "/console/rules/large_order/why?who=p_1%26x");
        assert_eq!(view.rules.iter().filter(|it| it.last.is_some()).count(), 1);
        assert_eq!(AboutView::of(&rules[1..2], "acme").rules[0].fired, "not fired");
    }

    #[test]
    fn a_list_of_many_says_how_many_are_left_out() {
        let rules: Vec<_> = (0..63).map(|n| rule(&format!("r{n}"), Per::Person, true, 0)).collect();
        let view = AboutView::of(&rules, "p_1");
        assert_eq!((view.rules.len(), view.others), (60, 3));
    }
}
