//! What keeps a rule back, in words: how often it may, for whom, for how long what it does is of use, and when nobody is written to.
//! Promises to say what the set in force says, caps and quiet hours of other files too. Deliberately decides nothing: see `fold`.

use super::{
    set::{Do, Late, Per, Quiet, Rule, RuleSet, What, When},
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
            return format!("Where no answer comes within {expires}, it is {fallback}.");
        }
        let mut words = format!("Within {expires}, or not at all.");
        let kind = deed.kind();
        let (cap, quiet) = (self.caps.get(&kind), self.quiet.as_ref());
        let quiet = quiet.filter(|quiet| quiet.kinds.contains(&kind));
        if rule.urgent {
            if cap.is_some() || quiet.is_some() {
                words += " Urgent: past caps and quiet hours.";
            }
            return words;
        }
        if let Some(cap) = cap {
            words += &match cap.times {
                0 => format!(" The cap lets nothing through by {kind}."),
                most => {
                    let (most, within) = (times(most), length(cap.within.0));
                    format!(" To one person by {kind} {most} within {within}, of all rules.")
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
                || "None: each time that it is so.".to_owned(),
                |(most, within)| {
                    let (most, within) = (sentence(&times(most)), length(within));
                    format!(
                        "{most} within {within} for each {one}, counting firings that are not held."
                    )
                },
            ),
        )];
        // What crosses a line is what it is now: neither a source nor a late event has set it off.
        if !matches!(self.when, When::Crosses(_)) {
            let from = match self.only_server {
                true => "Only sources that nobody can forge: those with trust = \"server\".",
                false => "Any source.",
            };
            let late = match self.late {
                Late::Fire => "An event that comes late counts as any other.",
                Late::Record => {
                    "An event that comes more than an hour after it happened is on record, and nothing is done."
                }
                Late::Skip => "An event that comes more than an hour after it happened is let go.",
            };
            bounds.extend([("from", from.to_owned()), ("late", late.to_owned())]);
        }
        let rollout = match self.percent {
            100 => format!("All {all}."),
            0 => "Nobody: firings are on record, and nothing is done.".to_owned(),
            percent => format!("{percent} % of all {all}, always the same ones."),
        };
        bounds.push(("rollout", rollout));
        if self.dry_run {
            let words = "Firings are on record, and nothing is done.";
            bounds.push(("dry run", words.to_owned()));
        }
        bounds
    }
}

impl Quiet {
    fn in_words(&self) -> String {
        let time = |minutes: i16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let (from, to) = (time(self.from), time(self.to));
        format!("From {from} to {to} by their own clock it waits.")
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
        RuleSet::parse(&[Source { name: "rules.toml".into(), text: text.into() }]).unwrap()
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
                "limit: At most once within 1 day for each person, counting firings that are not held.",
                "from: Only sources that nobody can forge: those with trust = \"server\".",
                "late: An event that comes more than an hour after it happened is let go.",
                "rollout: 20 % of all people, always the same ones.",
                "dry run: Firings are on record, and nothing is done.",
            ]
        );
        assert_eq!(
            of_deeds("held"),
            [
                "Within 1 hour, or not at all. To one person by email at most 2 times within 7 days, of all \
                 rules. From 21:30 to 08:00 by their own clock it waits.",
                "Within 15 minutes, or not at all. The cap lets nothing through by sms.",
                "Within 15 minutes, or not at all.",
            ]
        );
        assert_eq!(of_rule("free")[0], "limit: None: each time that it is so.");
        assert_eq!(of_rule("free")[2], "late: An event that comes late counts as any other.");
        assert_eq!(
            of_deeds("free"),
            [
                "Within 15 minutes, or not at all. Urgent: past caps and quiet hours.",
                "Within 90 seconds, or not at all.",
            ]
        );
        let crossed = of_rule("crossed");
        assert_eq!(crossed, ["limit: None: each time that it is so.", "rollout: All people."]);
        assert_eq!(of_deeds("score:risk"), ["Where no answer comes within 2 seconds, it is 0.5."]);
        assert_eq!(set.bounds("none"), None);
    }
}
