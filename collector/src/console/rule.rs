//! A rule as the templates want it: in words, how it stands, and each time that it was looked at for somebody.
//! Promises that a rule which does nothing says why. Deliberately asks nobody: it is given everything.

use super::{
    deeds::{decided, rule_label},
    fired::{Began, DeedView},
    reasons::{MeasuredView, ReasonView},
    told::moment,
    views::part,
    words::{When, count, sentence, short},
};
use crate::{
    desk::{LookedAt, RuleStanding, StoppedShown, Tests, Why},
    expression::words::in_words,
    rules::{Bounds, Fired, Tested, WAITS, Waited},
};

pub(crate) fn rule_address(name: &str) -> String {
    format!("/console/rules/{}", part(name))
}

/// Where it is said why a rule fired for somebody, and why it did not.
pub(crate) fn why_address(name: &str, who: &str) -> String {
    format!("{}/why?who={}", rule_address(name), part(who))
}

/// A rule.
#[derive(Clone, Debug)]
pub(crate) struct RuleView {
    pub(crate) label: String,
    pub(crate) href: String,
    pub(crate) description: Option<String>,
    /// `person` or `account`.
    pub(crate) about: &'static str,
    pub(crate) when: String,
    /// The same below a heading that says `When`.
    pub(crate) moment: String,
    pub(crate) conditions: Vec<Condition>,
    /// What is to hold still when the time has come.
    pub(crate) still: Vec<Condition>,
    pub(crate) then: Vec<String>,
    /// What it answers to who asks for a decision.
    pub(crate) decides: Option<String>,
    /// How often; in words, and whether it did at all.
    pub(crate) has_fired: bool,
    pub(crate) fired: String,
    pub(crate) acted: String,
    /// That a condition of it could not be worked out.
    pub(crate) unjudged: Option<UnjudgedView>,
    /// Without its folder.
    pub(crate) file: String,
    pub(crate) revision: u32,
    pub(crate) standing: Vec<Standing>,
    /// Whether its file lets it run at all.
    pub(crate) enabled: bool,
    pub(crate) stopped: Option<StoppedView>,
}

/// How often that was since the start, and which condition it was the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnjudgedView {
    pub(crate) times: String,
    /// Where it stands, unless the rule begins with it.
    pub(crate) place: Option<String>,
    pub(crate) condition: String,
    pub(crate) why: String,
    pub(crate) at: When,
}

/// A condition: as it is written, and in words where it is plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) text: String,
    pub(crate) words: Option<String>,
    /// The same at the beginning of a line.
    pub(crate) opening: Option<String>,
}

impl Condition {
    fn of(text: &str) -> Self {
        let words = in_words(text);
        Self { text: text.to_owned(), opening: words.as_deref().map(sentence), words }
    }
}

/// One word on how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `on`, `stopped`, `disabled`, `part`.
    pub(crate) class: &'static str,
    pub(crate) word: String,
}

/// That it is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoppedView {
    pub(crate) by: String,
    pub(crate) at: When,
    /// Whether all rules are.
    pub(crate) all: bool,
}

impl StoppedView {
    fn of(stopped: &StoppedShown) -> Self {
        Self { by: stopped.by.clone(), at: When::of(&stopped.at), all: stopped.all }
    }
}

impl RuleView {
    pub(crate) fn of(rule: &RuleStanding) -> Self {
        let (shown, stopped) = (&rule.rule, rule.stopped.as_ref());
        let said = |class, word: &str| Standing { class, word: word.to_owned() };
        let mut standing = vec![match (shown.enabled, stopped) {
            (false, _) => said("disabled", "disabled"),
            (true, Some(_)) => said("stopped", "stopped"),
            (true, None) => said("on", "on"),
        }];
        if shown.urgent {
            standing.push(said("part", "past caps and quiet hours"));
        }
        if shown.dry_run {
            standing.push(said("part", "dry run"));
        }
        if shown.percent < 100 {
            standing.push(said("part", &format!("rollout {} %", shown.percent)));
        }
        Self {
            label: rule_label(&shown.name),
            href: rule_address(&shown.name),
            description: shown.description.clone(),
            about: shown.per.as_str(),
            when: sentence(&shown.when),
            moment: {
                let when = &shown.when;
                let bare = when.strip_prefix("when ").or_else(|| when.strip_prefix("on "));
                sentence(bare.unwrap_or(when))
            },
            conditions: shown.conditions.iter().map(|it| Condition::of(it)).collect(),
            still: shown.still.iter().map(|it| Condition::of(it)).collect(),
            then: shown.then.iter().map(|deed| sentence(deed)).collect(),
            decides: shown.decision.clone(),
            has_fired: rule.fired > 0,
            fired: count(rule.fired, "time", "times"),
            acted: count(rule.acted, "time", "times"),
            unjudged: rule.unjudged.as_ref().map(|of| UnjudgedView {
                times: count(of.times, "time", "times"),
                place: of.place.clone(),
                condition: of.condition.clone(),
                why: of.why.clone(),
                at: When::of(&of.at),
            }),
            file: shown.file.rsplit('/').next().unwrap_or_default().to_owned(),
            revision: shown.revision,
            standing,
            enabled: shown.enabled,
            stopped: stopped.map(StoppedView::of),
        }
    }
}

impl RuleView {
    /// What whoever is asked about is called, where nobody is shown and where somebody is.
    pub(crate) fn whose(&self, is_another: bool) -> &'static str {
        match (self.about, is_another) {
            ("account", false) => "Account",
            ("account", true) => "Another account",
            (_, false) => "Person",
            (_, true) => "Another person",
        }
    }
}

/// What keeps a rule back, beside what it does.
#[derive(Clone, Debug)]
pub(crate) struct BoundsView {
    /// By what, and how.
    pub(crate) of_rule: Vec<(String, String)>,
    /// What it does, and what holds of that.
    pub(crate) deeds: Vec<(String, String)>,
}

impl BoundsView {
    pub(crate) fn of(rule: &RuleView, bounds: Bounds) -> Self {
        let named = bounds.of_rule.into_iter().map(|(by, how)| (sentence(by), how));
        let deeds = rule.then.iter().cloned().zip(bounds.of_deeds);
        Self { of_rule: named.collect(), deeds: deeds.collect() }
    }
}

/// What came of the tests that are about a rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestsView {
    pub(crate) tests: Vec<TestView>,
    /// Where nothing came of them, or not of all.
    pub(crate) note: Option<String>,
    /// When they were run.
    pub(crate) at: Option<When>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct TestView {
    pub(crate) name: String,
    /// Its file, without its folder, and its line.
    pub(crate) place: String,
    /// The first lines of what was wrong with it.
    pub(crate) wrong: Vec<String>,
}

impl TestView {
    fn of(tested: &Tested) -> Self {
        Self {
            name: tested.name.clone(),
            place: tested.place.rsplit('/').next().unwrap_or_default().to_owned(),
            wrong: tested.wrong.iter().map(|line| short(&sentence(line), WIDEST)).collect(),
        }
    }
}

/// Of a line about a test.
const WIDEST: usize = 300;
const ELSEWHERE: &str = "`headwater rules test` runs them.";

impl TestsView {
    pub(crate) fn of(tests: &Tests) -> Self {
        let noted = |note: String| Self { note: Some(note), ..Self::default() };
        match tests {
            Tests::Running => noted("The tests are running: reload the page.".to_owned()),
            Tests::Changed => noted(format!(
                "The rule files have changed since the collector started: the tests are about what they say now. {ELSEWHERE}"
            )),
            Tests::Wrong(why) => noted(format!("The tests cannot be run: {}", short(why, WIDEST))),
            Tests::Ran { at, tested, all } => {
                let note = match (tested.is_empty(), all) {
                    (_, false) => Some(format!("Not all tests could be run in time. {ELSEWHERE}")),
                    (true, true) => Some("No test expects this rule to fire.".to_owned()),
                    (false, true) => None,
                };
                let tests: Vec<_> = tested.iter().map(TestView::of).collect();
                let at = (!tests.is_empty()).then(|| When::at(*at));
                Self { tests, note, at }
            }
        }
    }
}

/// Why a rule fired for somebody, and why it did not.
#[derive(Clone, Debug)]
pub(crate) struct WhyFound {
    /// Who that is, and where.
    pub(crate) of: (String, String),
    pub(crate) looked: Vec<LookedView>,
    /// How often it was looked at, in words.
    pub(crate) times: String,
    pub(crate) partial: bool,
    /// What is to be known beside that.
    pub(crate) notes: Vec<String>,
}

/// What is to be known beside each time that a rule was looked at, a sentence each.
pub(crate) fn notes(why: &Why) -> Vec<String> {
    let mut notes = Vec::new();
    if !why.enabled {
        notes.push("Its file says enabled = false: it is not evaluated.".to_owned());
    }
    if let Some(stopped) = &why.stopped {
        let what = if stopped.all { "All rules are" } else { "It is" };
        notes.push(format!("{what} stopped by {}: what is to be done waits.", stopped.by));
    }
    if why.accounts.as_ref().is_some_and(Vec::is_empty) {
        notes.push("The rule is about accounts, and they are of none.".to_owned());
    }
    for fired in &why.asked {
        let at = moment(&fired.at);
        let came = came_of(fired);
        let of = fired.account.as_ref().map_or_else(String::new, |id| format!(" about {id}"));
        let rule = rule_label(&fired.rule);
        notes.push(format!("{rule} was last asked{of} {at}: {}.", came.join("; ")));
    }
    for fired in &why.others {
        let by = if fired.earlier { ", by an earlier version of the rule" } else { "" };
        let came = came_of(fired);
        let at = moment(&fired.at);
        notes.push(format!("On record beside these: it fired {at}{by}: {}.", came.join("; ")));
    }
    notes
}

/// What came of a firing, a few words for each thing that was to be done.
fn came_of(fired: &Fired) -> Vec<String> {
    let held = fired.held.iter().map(|held| format!("held: {held}"));
    let deeds = fired.actions.iter().map(|acted| {
        let deed = DeedView::of(acted, None);
        let stands = deed.stands.map(|(_, all)| all);
        let done = deed.done.map(|done| moment(&done.iso));
        let more: Vec<String> = done.into_iter().chain(stands).chain(deed.detail).collect();
        let more = if more.is_empty() { String::new() } else { format!(": {}", more.join("; ")) };
        format!("{} {}{more}", deed.what, deed.word)
    });
    let decided =
        fired.decision.iter().map(|decision| decided(decision, fired.undecided.as_deref()));
    let again = fired.again.iter().map(|again| sentence(again));
    let mut came: Vec<_> = held.chain(decided).chain(deeds).chain(again).collect();
    if came.is_empty() {
        came.push("nothing was to be done".to_owned());
    }
    came
}

/// One time that a rule was looked at.
#[derive(Clone, Debug)]
pub(crate) struct LookedView {
    pub(crate) at: When,
    /// What happened then; nothing where only time passed.
    pub(crate) event: Option<Began>,
    pub(crate) outcome: String,
    pub(crate) fired: bool,
    pub(crate) measured: Option<MeasuredView>,
    pub(crate) conditions: Vec<ReasonView>,
    /// What was waited for, until when, and what came.
    pub(crate) waited: Option<String>,
    /// Of which account, of a rule about those.
    pub(crate) account: Option<String>,
    /// What came of the firing, and whether an earlier form of the rule did it.
    pub(crate) came: Vec<String>,
    pub(crate) earlier: bool,
}

impl LookedView {
    pub(crate) fn of(LookedAt { looked, firing }: &LookedAt, event: Option<Began>) -> Self {
        let reason = if looked.waits() { ReasonView::so_far } else { ReasonView::of };
        Self {
            at: When::of(&looked.at),
            event,
            fired: looked.fired,
            outcome: sentence(&looked.outcome),
            measured: looked.measured.as_ref().map(MeasuredView::of),
            conditions: looked.reasons.iter().map(reason).collect(),
            waited: looked.waited.as_ref().map(|it| waited(it, looked.outcome == WAITS)),
            account: looked.account.clone(),
            came: firing.as_ref().map(came_of).unwrap_or_default(),
            earlier: firing.as_ref().is_some_and(|fired| fired.earlier),
        }
    }
}

/// In a sentence.
fn waited(waited: &Waited, is_waiting: bool) -> String {
    let what = match waited.what.is_empty() {
        true => String::new(),
        false => format!(" for {} to stay away", waited.what.join(" or ")),
    };
    let came = waited.came.iter().map(|came| {
        let fits = if came.matches { "" } else { ", which does not match" };
        format!("; one came {}{fits}", moment(&came.at))
    });
    // Of what has ended, or is in vain, nobody waits any more.
    let waits = if is_waiting { "Waits" } else { "Waited" };
    format!("{waits}{what} until {}{}.", moment(&waited.until), came.collect::<String>())
}
