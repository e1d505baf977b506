//! The pages themselves: each a template of `console/templates` and what it is filled with.
//! Promises that every value is escaped: no template says `safe`. Deliberately computes nothing.

use askama::Template;

use super::{
    follow::StoryView,
    latest::Came,
    sessions::Session,
    views::{AccountView, Hit, PersonView, SeenLast},
    why::{Card, GraphView, Kept},
};

/// What is around every page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) title: String,
    /// Which part of the console it is of.
    pub(crate) here: &'static str,
    pub(crate) styles: Vec<String>,
    pub(crate) scripts: Vec<String>,
    pub(crate) mark: String,
    pub(crate) session: Option<Session>,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignIn {
    pub(crate) frame: Frame,
    pub(crate) problem: Option<String>,
    /// The page that was asked for.
    pub(crate) next: String,
}

/// Goes on to the page that was asked for.
#[derive(Template)]
#[template(path = "onward.html")]
pub(crate) struct Onward {
    pub(crate) to: String,
}

#[derive(Template)]
#[template(path = "problem.html")]
pub(crate) struct Problem {
    pub(crate) frame: Frame,
    pub(crate) text: String,
}

#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home {
    pub(crate) frame: Frame,
    pub(crate) query: String,
    pub(crate) found: Vec<Hit>,
    pub(crate) found_count: String,
    pub(crate) last: Vec<SeenLast>,
    pub(crate) state: State,
}

/// How far the projection is.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Percent of a rebuild.
    pub(crate) rebuild: Option<u64>,
    pub(crate) behind: u64,
    pub(crate) words: String,
    /// How often it is looked at again.
    pub(crate) every: &'static str,
}

#[derive(Template)]
#[template(path = "person.html")]
pub(crate) struct PersonPage {
    pub(crate) frame: Frame,
    pub(crate) done: Option<Done>,
    pub(crate) p: PersonView,
    pub(crate) s: StoryView,
    pub(crate) g: GraphView,
}

/// What was just decided.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) words: &'static str,
    pub(crate) undo: Option<String>,
}

#[derive(Template)]
#[template(path = "person_live.html")]
pub(crate) struct PersonLive<'a> {
    pub(crate) p: &'a PersonView,
    pub(crate) s: &'a StoryView,
    pub(crate) g: &'a GraphView,
    pub(crate) changed_graph: bool,
    pub(crate) changed_story: bool,
    /// For who does not see the page.
    pub(crate) said: Option<String>,
}

#[derive(Template)]
#[template(path = "person_gone.html")]
pub(crate) struct PersonGone;

#[derive(Template)]
#[template(path = "account.html")]
pub(crate) struct AccountPage {
    pub(crate) frame: Frame,
    pub(crate) a: AccountView,
    pub(crate) s: StoryView,
}

#[derive(Template)]
#[template(path = "account_live.html")]
pub(crate) struct AccountLive<'a> {
    pub(crate) a: &'a AccountView,
    pub(crate) s: &'a StoryView,
    pub(crate) changed_story: bool,
    pub(crate) said: Option<String>,
}

#[derive(Template)]
#[template(path = "live.html")]
pub(crate) struct LivePage {
    pub(crate) frame: Frame,
    pub(crate) rows: Vec<Came>,
    pub(crate) is_fresh: bool,
    pub(crate) stream: Option<String>,
}

#[derive(Template)]
#[template(path = "rows_live.html")]
pub(crate) struct RowsLive {
    pub(crate) rows: Vec<Came>,
    pub(crate) is_fresh: bool,
}

/// What a decision would lead to, before it is taken.
#[derive(Template)]
#[template(path = "decision.html")]
pub(crate) struct Decision {
    pub(crate) frame: Frame,
    pub(crate) back: String,
    pub(crate) back_name: String,
    pub(crate) explanation: String,
    pub(crate) refused: Option<String>,
    pub(crate) afterwards: String,
    pub(crate) cards: Vec<Card>,
    pub(crate) conflicts: Vec<Kept>,
    pub(crate) left: String,
    pub(crate) right: String,
    pub(crate) action: String,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) confirm: &'static str,
}

#[derive(Template)]
#[template(path = "merge.html")]
pub(crate) struct MergePage {
    pub(crate) frame: Frame,
    pub(crate) back: String,
    pub(crate) base: String,
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) found: Vec<Hit>,
}
