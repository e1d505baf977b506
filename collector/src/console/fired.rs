//! Firings as the templates want them: which rule, for whom, what was done and how soon, and why.
//! Promises that each action is shown with the words of one table, `deeds`. Deliberately keeps nothing but the names and
//! events that the firings it was given speak of.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::spawn_blocking;

use super::{
    deeds::{self, rule_label},
    reasons::{MeasuredView, WhyView, in_one_scale},
    rule::{rule_address, why_address},
    story,
    told::moment,
    views::{account_address, initial, person_address},
    words::{When, count, sentence, soon},
};
use crate::{
    desk::{Desk, DeskError},
    event_log::{Offset, Record, Timestamp},
    event_time,
    rules::{Acted, ActionState, Fired, Records as _, Waiting},
};

/// A firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FiredView {
    pub(crate) key: String,
    pub(crate) number: i64,
    pub(crate) rule: Link,
    pub(crate) revision: u32,
    pub(crate) person: Link,
    pub(crate) account: Option<Link>,
    pub(crate) initial: String,
    pub(crate) at: When,
    /// What began it.
    pub(crate) event: Option<Began>,
    pub(crate) gist: String,
    pub(crate) held: Option<String>,
    /// What it has decided for who asks, or would have and why it has not; and whether it has.
    pub(crate) decided: Option<(String, bool)>,
    /// Where nothing came of it: when its rule fires again.
    pub(crate) again: Option<String>,
    /// Whether it was the rule as it was before.
    pub(crate) earlier: bool,
    pub(crate) deeds: Vec<DeedView>,
    pub(crate) why: WhyView,
    /// Where it is said when else the rule was looked at for this person.
    pub(crate) looked: String,
    /// Whether it came while the page was open.
    pub(crate) is_fresh: bool,
}

/// Something with a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) href: String,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeedView {
    /// `Slack message`.
    pub(crate) what: String,
    /// What became of it, in a word: `sent`.
    pub(crate) word: String,
    /// Where a device has told that: the word for what was done before, at `done`.
    pub(crate) before: Option<&'static str>,
    /// The state, as the API has it.
    pub(crate) state: &'static str,
    /// Before the word, for the eye.
    pub(crate) mark: &'static str,
    pub(crate) detail: Option<String>,
    /// How it stands with it while it is still to be done, in a few words and in all.
    pub(crate) stands: Option<(String, String)>,
    pub(crate) done: Option<When>,
    /// How long it took from when it was so, where it was done.
    pub(crate) took: Option<String>,
}

/// An event that began something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Began {
    pub(crate) what: String,
    /// What tells most of its properties.
    pub(crate) with: String,
    received_ms: i64,
}

/// What firings speak of, and do not hold. Read once for as long as it is spoken of.
#[derive(Debug, Default)]
pub(crate) struct Around {
    events: BTreeMap<String, Option<Began>>,
    accounts: BTreeMap<String, String>,
}

impl Around {
    /// Firings with what they speak of.
    pub(crate) async fn tell(
        &mut self,
        desk: &Desk,
        fired: &[Fired],
    ) -> Result<Vec<FiredView>, DeskError> {
        self.events(desk, fired.iter().filter_map(|fired| fired.event.as_deref())).await?;
        let accounts: BTreeSet<_> = fired.iter().filter_map(|it| it.account.clone()).collect();
        self.accounts.retain(|id, _| accounts.contains(id));
        for id in accounts {
            if !self.accounts.contains_key(&id)
                && let Some(account) = desk.account(&id).await?
            {
                self.accounts.insert(id, account.name);
            }
        }
        Ok(self.words(fired))
    }

    /// Firings in words, with what is known of what they speak of.
    pub(super) fn words(&self, fired: &[Fired]) -> Vec<FiredView> {
        let mut views: Vec<_> = fired.iter().map(|fired| FiredView::of(fired, self)).collect();
        in_one_scale(views.iter_mut().filter_map(|it| it.why.measured.as_mut()));
        views
    }

    /// Reads these events, and forgets others.
    pub(crate) async fn events(
        &mut self,
        desk: &Desk,
        offsets: impl Iterator<Item = &str>,
    ) -> Result<(), DeskError> {
        let offsets: BTreeSet<&str> = offsets.collect();
        self.events.retain(|offset, _| offsets.contains(offset.as_str()));
        let missing = offsets.iter().filter(|offset| !self.events.contains_key(**offset));
        let missing: Vec<String> = missing.map(|&offset| offset.to_owned()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let log = desk.log.clone();
        let read = spawn_blocking(move || {
            let read = missing.into_iter().map(|text| {
                let record = text.parse::<Offset>().ok().and_then(|offset| log.at(offset));
                (text, record.map(|record| Began::of(&record)))
            });
            read.collect::<Vec<_>>()
        });
        self.events.extend(read.await?);
        Ok(())
    }

    /// What happened there; `None` if it is gone.
    pub(crate) fn event(&self, offset: Option<&str>) -> Option<&Began> {
        self.events.get(offset?)?.as_ref()
    }
}

impl Began {
    fn of(record: &Record) -> Self {
        let event: serde_json::Value = serde_json::from_str(&record.json).unwrap_or_default();
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let name = if text("type") == "track" { text("event") } else { text("name") };
        let what = story::what(text("type"), name, &event);
        let with = story::with(text("type"), &event);
        Self { what, with, received_ms: record.received_at.unix_ms() }
    }
}

impl FiredView {
    fn of(fired: &Fired, around: &Around) -> Self {
        let began = around.event(fired.event.as_deref());
        let why = WhyView::of(fired.why.get());
        let at_ms = event_time::parse(&fired.at).map(Timestamp::unix_ms);
        // An event counts from when it was here; what time alone brings about, from when it was due.
        let since_ms = at_ms.max(began.map(|began| began.received_ms));
        let after = began.map(|began| format!("after {}", began.what));
        let measured = why.measured.as_ref().map(MeasuredView::gist);
        let gist = measured.into_iter().chain(why.absence.clone()).chain(after);
        let gist: Vec<String> = gist.collect();
        let account = fired.account.as_ref().map(|id| Link {
            name: around.accounts.get(id).unwrap_or(id).clone(),
            href: account_address(id),
        });
        let href = rule_address(&fired.rule);
        let whom = fired.account.as_ref().unwrap_or(&fired.person);
        Self {
            key: fired.id.clone(),
            number: fired.number,
            looked: why_address(&fired.rule, whom),
            rule: Link { name: rule_label(&fired.rule), href },
            revision: fired.revision,
            initial: initial(account.as_ref().map_or(&fired.name, |account| &account.name)),
            person: Link { name: fired.name.clone(), href: person_address(&fired.person) },
            account,
            at: When::of(&fired.at),
            event: began.cloned(),
            gist: match gist.join(", ") {
                gist if gist.is_empty() => "As time passed".to_owned(),
                gist => sentence(&gist),
            },
            held: fired.held.clone(),
            decided: fired.decision.as_deref().map(|decision| {
                let undecided = fired.undecided.as_deref();
                (deeds::decided(decision, undecided), undecided.is_none())
            }),
            again: fired.again.as_deref().map(sentence),
            earlier: fired.earlier,
            deeds: fired.actions.iter().map(|acted| DeedView::of(acted, since_ms)).collect(),
            why,
            is_fresh: false,
        }
    }

    /// For who does not see the page.
    pub(crate) fn said(&self) -> String {
        let whom = self.account.as_ref().unwrap_or(&self.person);
        format!("{} fired for {}", self.rule.name, whom.name)
    }
}

impl DeedView {
    pub(super) fn of(acted: &Acted, since_ms: Option<i64>) -> Self {
        let words = deeds::words(&acted.kind, acted.state, acted.detail.as_deref());
        let done_ms = acted.done.as_deref().and_then(event_time::parse);
        let took = done_ms.zip(since_ms).map(|(done, since)| done.unix_ms() - since);
        let took = took.filter(|_| acted.state == ActionState::Accepted);
        Self {
            what: words.what,
            word: words.state,
            before: words.before,
            state: acted.state.as_str(),
            mark: words.mark,
            detail: acted.detail.clone().filter(|_| words.before.is_none()),
            stands: acted.waiting.as_ref().map(stands),
            done: acted.done.as_deref().map(When::of),
            took: took.map(|ms| soon(ms.max(0).unsigned_abs())),
        }
    }
}

/// How it stands with what is still to be done: in a few words, and in all.
fn stands(waiting: &Waiting) -> (String, String) {
    let mut few = waiting.waits_for.clone().unwrap_or_default();
    let mut all = Vec::new();
    if let Some(waits_for) = &waiting.waits_for {
        all.push(waits_for.clone());
    }
    if waiting.attempts > 0 {
        let tried = format!("tried {}", count(waiting.attempts.into(), "time", "times"));
        all.push(match &waiting.last_error {
            Some(error) => format!("{tried}, the last time: {error}"),
            None => tried.clone(),
        });
        if few.is_empty() {
            few = tried;
        }
    }
    if let Some(next) = &waiting.next_try {
        all.push(format!("next try {}", moment(next)));
    }
    all.push(format!("of no use after {}", moment(&waiting.expires)));
    (few, all.join("; "))
}

/// Some firings, and what else there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FiringsView {
    pub(crate) firings: Vec<FiredView>,
    /// What is known from where the list stands, and not said in each line.
    pub(crate) of_rule: bool,
    pub(crate) of_person: bool,
    pub(crate) of_account: bool,
    pub(crate) older: Option<String>,
    pub(crate) newest: Option<String>,
    /// How many are shown, in words, where that is not said otherwise.
    pub(crate) shown: Option<String>,
    /// Said where there is none.
    pub(crate) none: &'static str,
}

/// How many of a list are shown: whether there are older ones, and whether there are newer.
pub(crate) fn shown(firings: usize, has_older: bool, has_newer: bool) -> String {
    let number = count(firings as u64, "firing", "firings");
    match (has_older, has_newer) {
        (false, false) => format!("{number}, all there are."),
        (true, false) => format!("The latest {number}; there are older ones."),
        (true, true) => format!("{number} further back; there are older ones."),
        (false, true) => format!("{number} further back, the oldest there are."),
    }
}
