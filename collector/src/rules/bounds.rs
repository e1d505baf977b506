//! What keeps a rule back, in words: how often it may, for whom, for how long what it does is of use, and when nobody is written to.
//! Promises to say what the set in force says, caps and quiet hours of other files too. Deliberately decides nothing: see `fold`.

use super::{
    part::Per,
    rule::{Do, Late, Quiet, Rule, What, When},
    set::RuleSet,
    shown::length,
};

/// What keeps a rule back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Of the rule as a whole: by what, and how.
    pub(crate) of_rule: Vec<(&'static str, String)>,
    /// Of each thing that it does, in their order.
    pub(crate) of_deeds: Vec<String>,
}

impl RuleSet {
    /// What keeps a rule back; `None` if there is none of this name.
    pub(crate) fn bounds(&self, name: &str) -> Option<Bounds> {
        let rule = self.rule(name)?;
        let of_deeds = rule.then.iter().map(|deed| self.deed_bounds(rule, deed)).collect();
        Some(Bounds { of_rule: rule.bounds(), of_deeds })
    }

    fn deed_bounds(&self, rule: &Rule, deed: &Do) -> String {
        let expires = length(std::time::Duration::from_millis(deed.expires_ms.unsigned_abs()));
        if let What::Ask { fallback, .. } = &deed.what {
            return format!("{fallback} if there is no answer within {expires}.");
        }
        let mut words = format!("Expires after {expires}.");
        let kind = deed.kind();
        let (cap, quiet) = (self.caps.get(&kind), self.quiet.as_ref());
        let quiet = quiet.filter(|quiet| quiet.kinds.contains(&kind));
        if rule.urgent {
            if cap.is_some() || quiet.is_some() {
                words += " Urgent: ignores caps and quiet hours.";
            }
            return words;
        }
        if let Some(cap) = cap {
            words += &match cap.times {
                0 => format!(" The cap on {kind} allows none."),
                most => {
                    let (most, within) = (times(most), length(cap.within.0));
                    format!(" Cap on {kind}: {most} in {within} per person, all rules together.")
                }
            };
        }
        if let Some(quiet) = quiet {
            words += &format!(" {}", quiet.in_words());
        }
        words
    }
}

impl Rule {
    fn bounds(&self) -> Vec<(&'static str, String)> {
        let (one, all) = match self.per {
            Per::Person => ("person", "people"),
            Per::Account => ("account", "accounts"),
        };
        let mut bounds = vec![(
            "limit",
            self.limit.map_or_else(
                || "No limit.".to_owned(),
                |(most, within)| {
                    let (most, within) = (sentence(&times(most)), length(within));
                    format!("{most} in {within} per {one}; only firings that are not held count.")
                },
            ),
        )];
        // What crosses a line is what it is now: neither a source nor a late event has set it off.
        if !matches!(self.when, When::Crosses(_)) {
            let from = match self.only_server {
                true => "Trusted sources only (trust = \"server\").",
                false => "Any source.",
            };
            let late = match self.late {
                Late::Fire => "Late events count like any other.",
                Late::Record => {
                    "Events that arrive more than an hour late are recorded, but nothing is done."
                }
                Late::Skip => "Events that arrive more than an hour late are ignored.",
            };
            bounds.extend([("from", from.to_owned()), ("late", late.to_owned())]);
        }
        let rollout = match self.percent {
            100 => format!("All {all}."),
            0 => "Nobody: firings are recorded, but nothing is done.".to_owned(),
            percent => format!("{percent} % of all {all}, always the same ones."),
        };
        bounds.push(("rollout", rollout));
        if self.urgent {
            bounds.push(("urgent", "Past caps and quiet hours.".to_owned()));
        }
        if self.dry_run {
            let words = "Firings are recorded, but nothing is done.";
            bounds.push(("dry run", words.to_owned()));
        }
        bounds
    }
}

impl Quiet {
    fn in_words(&self) -> String {
        let time = |minutes: i16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let (from, to) = (time(self.from), time(self.to));
        format!("Waits from {from} to {to}, their time.")
    }
}

/// With a capital at its beginning.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// At most so often.
pub(super) fn times(most: u32) -> String {
    match most {
        0 => "never".to_owned(),
        1 => "at most once".to_owned(),
        most => format!("at most {most} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::file::Source, *};

    fn set(text: &str) -> RuleSet {
        RuleSet::parse(&[Source::new("rules.toml", text)]).unwrap()
    }

    const RULES: &str = r#"
caps.email = { times = 2, within = "7d" }
caps.sms = { times = 0, within = "1d" }
quiet_hours = { from = "21:30", to = "08:00", kinds = ["email"] }
[features.looks]
on = "Seen"
count = true
window = "1d"
[rules.held]
on = "Seen"
from = "server"
late = "skip"
limit = { times = 1, within = "1d" }
percent = 20
dry_run = true
then = [{ email = "m", template = "a", expires = "1h" }, { sms = "s", template = "a" }, { emit = "Held" }]
[rules.free]
on = "Seen"
late = "fire"
urgent = true
then = [{ email = "m", template = "a" }, { emit = "Free", expires = "90s" }]
[rules.crossed]
crosses = { feature = "looks", above = 3 }
then = []
[scores.risk]
model = "m"
on = "Seen"
inputs = { looks = "features.looks" }
fallback = 0.5
timeout = "2s"
"#;

    #[test]
    fn everything_that_keeps_a_rule_back_is_said() {
        let set = set(RULES);
        let of_rule = |name: &str| -> Vec<String> {
            let bounds = set.bounds(name).unwrap();
            bounds.of_rule.iter().map(|(by, how)| format!("{by}: {how}")).collect()
        };
        let of_deeds = |name: &str| set.bounds(name).unwrap().of_deeds;
        assert_eq!(
            of_rule("held"),
            [
                "limit: At most once in 1 day per person; only firings that are not held count.",
                "from: Trusted sources only (trust = \"server\").",
                "late: Events that arrive more than an hour late are ignored.",
                "rollout: 20 % of all people, always the same ones.",
                "dry run: Firings are recorded, but nothing is done.",
            ]
        );
        assert_eq!(
            of_deeds("held"),
            [
                "Expires after 1 hour. Cap on email: at most 2 times in 7 days per person, all rules together. \
                 Waits from 21:30 to 08:00, their time.",
                "Expires after 15 minutes. The cap on sms allows none.",
                "Expires after 15 minutes.",
            ]
        );
        assert_eq!(of_rule("free")[0], "limit: No limit.");
        assert_eq!(of_rule("free")[2], "late: Late events count like any other.");
        assert_eq!(of_rule("free")[4], "urgent: Past caps and quiet hours.");
        assert_eq!(
            of_deeds("free"),
            [
                "Expires after 15 minutes. Urgent: ignores caps and quiet hours.",
                "Expires after 90 seconds.",
            ]
        );
        let crossed = of_rule("crossed");
        assert_eq!(crossed, ["limit: No limit.", "rollout: All people."]);
        assert_eq!(of_deeds("score:risk"), ["0.5 if there is no answer within 2 seconds."]);
        assert_eq!(set.bounds("none"), None);
    }
}
