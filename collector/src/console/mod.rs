//! The pages for people: who somebody is, what they do now, and decisions about who is who that can be taken back.
//! Promises that what it was told is shown as text, whatever it is. Deliberately knows no HTTP: see `http/console.rs`; and reads
//! everything from the desk.
//!
//! ```text
//! desk ─▶ profile, graph, page ─▶ views (words, story, drawing) ─▶ pages ─▶ HTML
//!      └▶ rules, firings, scores ─▶ rule, fired (reasons, deeds) ──────────┘
//! cookie ─▶ sessions; wrong token ─▶ patience
//! ```

mod choice;
mod consumers;
mod deeds;
mod drawing;
mod files;
mod fired;
mod follow;
mod latest;
mod pages;
mod patience;
mod reasons;
mod rule;
mod sessions;
mod signals;
mod story;
mod suppressions;
mod told;
mod views;
mod why;
mod words;

pub(crate) use choice::{Choice, Choices};
pub(crate) use consumers::ConsumerView;
pub(crate) use deeds::rule_label;
pub(crate) use files::Files;
pub(crate) use fired::{Around, FiredView, FiringsView, shown};
pub(crate) use follow::StoryView;
pub(crate) use latest::{came, people as seen_last};
pub(crate) use pages::{
    AccountLive, AccountPage, Chosen, ConsumersPage, Decision, Done, FilterView, FiringsLive,
    FiringsPage, Frame, Home, LivePage, MergePage, Onward, PersonGone, PersonLive, PersonPage,
    Problem, RowsLive, RulePage, RulesPage, SignIn, State, SuppressionsPage, WhyPage,
};
pub(crate) use patience::Patience;
pub(crate) use reasons::in_one_scale;
pub(crate) use rule::{
    BoundsView, LookedView, RuleView, StoppedView, TestsView, WhyFound, notes, rule_address,
    why_address,
};
pub(crate) use sessions::{Session, Sessions};
pub(crate) use signals::SignalsView;
pub(crate) use suppressions::SuppressionsView;
pub(crate) use views::{
    AccountView, Hit, PersonView, SeenLast, account_address, part, person_address,
};
pub(crate) use why::{Card, GraphView, kept};

/// What the pages need beside the desk.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) sessions: Sessions,
    pub(crate) patience: Patience,
    pub(crate) files: Files,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self { sessions: Sessions::new(), patience: Patience::new(), files: Files::new() }
    }

    /// What is around every page.
    pub(crate) fn frame(
        &self,
        title: impl Into<String>,
        here: &'static str,
        session: Option<&Session>,
    ) -> Frame {
        Frame {
            title: title.into(),
            here,
            styles: self.files.addresses(".css"),
            scripts: self.files.addresses(".js"),
            mark: self.files.addresses(".svg").pop().unwrap_or_default(),
            session: session.cloned(),
        }
    }
}
