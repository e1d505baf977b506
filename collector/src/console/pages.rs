//! The pages themselves: each a template of `console/templates` and what it is filled with.
//! Promises that every value is escaped: no template says `safe`. Deliberately computes nothing.

use askama::Template;

use super::{
    choice::Choices,
    consumers::ConsumerView,
    fired::FiringsView,
    follow::StoryView,
    latest::Came,
    rule::{BoundsView, RuleView, StoppedView, TestsView, WhyFound},
    sessions::Session,
    signals::SignalsView,
    suppressions::SuppressionsView,
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
    pub(crate) signals: SignalsView,
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
    pub(crate) signals: &'a SignalsView,
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
    pub(crate) signals: SignalsView,
}

#[derive(Template)]
#[template(path = "account_live.html")]
pub(crate) struct AccountLive<'a> {
    pub(crate) a: &'a AccountView,
    pub(crate) s: &'a StoryView,
    pub(crate) signals: &'a SignalsView,
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

/// What rules came to.
#[derive(Template)]
#[template(path = "firings.html")]
pub(crate) struct FiringsPage {
    pub(crate) frame: Frame,
    /// Whose they are, where not all are listed.
    pub(crate) of: Option<String>,
    pub(crate) filter: FilterView,
    /// Nothing where what is asked for is to be said otherwise first.
    pub(crate) l: Option<FiringsView>,
    pub(crate) stream: Option<String>,
}

/// Which firings are listed, and which can be.
#[derive(Clone, Debug, Default)]
pub(crate) struct FilterView {
    /// Names and labels.
    pub(crate) rules: Vec<(String, String)>,
    pub(crate) rule: String,
    pub(crate) who: String,
    pub(crate) account: String,
    /// Who that is, once it is known.
    pub(crate) person: Option<Chosen>,
    pub(crate) of_account: Option<Chosen>,
    /// Whether nothing is left out.
    pub(crate) is_all: bool,
    /// What is wrong with what was asked for.
    pub(crate) problem: Option<String>,
    /// Who may be meant.
    pub(crate) choices: Option<Choices>,
}

/// A person or an account that a list is of.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) name: String,
    /// The list of all of them.
    pub(crate) without: String,
}

#[derive(Template)]
#[template(path = "firings_live.html")]
pub(crate) struct FiringsLive<'a> {
    pub(crate) l: &'a FiringsView,
    pub(crate) said: Option<String>,
}

#[derive(Template)]
#[template(path = "rules.html")]
pub(crate) struct RulesPage {
    pub(crate) frame: Frame,
    pub(crate) rules: Vec<RuleView>,
    /// Where all of them are.
    pub(crate) all: Option<StoppedView>,
}

#[derive(Template)]
#[template(path = "rule.html")]
pub(crate) struct RulePage {
    pub(crate) frame: Frame,
    pub(crate) r: RuleView,
    pub(crate) b: BoundsView,
    pub(crate) t: TestsView,
    pub(crate) l: FiringsView,
    pub(crate) stream: Option<String>,
}

/// Why a rule fired for somebody, and why it did not.
#[derive(Template)]
#[template(path = "why.html")]
pub(crate) struct WhyPage {
    pub(crate) frame: Frame,
    pub(crate) r: RuleView,
    /// Who may be meant, if that is not one alone.
    pub(crate) choices: Option<Choices>,
    pub(crate) found: Option<WhyFound>,
}

impl WhyPage {
    /// What stays in the field: what has not led to anybody yet.
    fn asked(&self) -> &str {
        self.choices.as_ref().map_or("", |choices| &choices.text)
    }
}

/// How consumers stand.
#[derive(Template)]
#[template(path = "consumers.html")]
pub(crate) struct ConsumersPage {
    pub(crate) frame: Frame,
    /// Where the log ends.
    pub(crate) end: String,
    pub(crate) consumers: Vec<ConsumerView>,
}

/// The addresses that nothing is sent to.
#[derive(Template)]
#[template(path = "suppressions.html")]
pub(crate) struct SuppressionsPage {
    pub(crate) frame: Frame,
    pub(crate) s: SuppressionsView,
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

#[cfg(test)]
mod tests {
    use serde_json::{json, value::RawValue};

    use super::*;
    use crate::{
        console::{Around, Choice, Console, LookedView, suppressions::SuppressedView, words::When},
        desk::{LookedAt, RuleAbout, RuleStanding, StoppedShown, Tests},
        event_log::Timestamp,
        rules::{
            Acted, ActionState, Bounds, Called, Fired, Looked, Per, Reason, RuleShown, Scored,
            Term, Tested, Times, UnjudgedOfRule, Waited, Waiting,
        },
    };

    /// What nobody may get into a page, in a text and in an attribute.
    const BAD: &str = "<script>alert(1)</script>\"'>";

    fn bad() -> String {
        BAD.to_owned()
    }

    fn reason() -> Reason {
        let of = [(format!("features.{BAD}"), json!(BAD))].into();
        let called =
            Called { call: bad(), value: json!(BAD), timezone: Some(bad()), assumed: false };
        Reason { text: bad(), value: json!(BAD), error: None, of, calls: vec![called], still: true }
    }

    fn scored() -> Scored {
        let term = Term { term: bad(), brings: 1.0, reason: reason() };
        Scored {
            score: bad(),
            description: Some(bad()),
            value: 2.0,
            terms: vec![term],
            model: None,
        }
    }

    fn fired() -> Fired {
        let untold = Reason { error: Some(bad()), ..reason() };
        let why =
            json!({"conditions": [reason(), untold], "crossed": scored(), "waited": {"text": BAD}})
                .to_string();
        let refused = Acted {
            id: bad(),
            kind: bad(),
            state: ActionState::Refused,
            detail: Some(bad()),
            waiting: None,
            done: Some("2026-11-22T10:00:01.000Z".to_owned()),
        };
        Fired {
            id: bad(),
            rule: bad(),
            revision: 1,
            person: bad(),
            name: bad(),
            account: Some(bad()),
            at: "2026-11-22T10:00:00.000Z".to_owned(),
            event: None,
            held: None,
            again: Some(bad()),
            decision: Some(bad()),
            undecided: Some(bad()),
            earlier: true,
            why: RawValue::from_string(why).unwrap(),
            actions: vec![refused],
            number: 1,
        }
    }

    fn list() -> FiringsView {
        let held = Fired { held: Some(bad()), actions: Vec::new(), ..fired() };
        FiringsView {
            firings: Around::default().words(&[fired(), held]),
            older: Some(bad()),
            newest: Some(bad()),
            ..FiringsView::default()
        }
    }

    fn standing() -> RuleStanding {
        let rule = RuleShown {
            name: bad(),
            description: Some(bad()),
            file: bad(),
            revision: 1,
            per: Per::Person,
            when: bad(),
            conditions: vec![bad()],
            still: vec![bad()],
            then: vec![bad()],
            decision: Some(bad()),
            urgent: true,
            enabled: true,
            dry_run: true,
            percent: 10,
        };
        let stopped = Some(StoppedShown { by: bad(), at: bad(), all: false });
        let unjudged = Some(UnjudgedOfRule {
            times: 1,
            place: Some(bad()),
            condition: bad(),
            why: bad(),
            at: bad(),
        });
        RuleStanding { rule, stopped, fired: 1, acted: 1, unjudged }
    }

    fn bounds() -> Bounds {
        Bounds { of_rule: vec![("limit", bad())], of_deeds: vec![bad()] }
    }

    fn tests() -> Tests {
        let one = Tested { place: bad(), name: bad(), wrong: vec![bad()], rules: [bad()].into() };
        Tests::Ran { at: Timestamp::from_unix_ms(0), tested: vec![one], all: false }
    }

    fn looked() -> LookedAt {
        let looked = Looked {
            node: 1,
            rule: bad(),
            account: Some(bad()),
            at: bad(),
            event: None,
            outcome: bad(),
            fired: true,
            reasons: vec![reason()],
            measured: serde_json::to_value(scored()).ok(),
            waited: Some(Waited {
                what: vec![bad()],
                until: "2026-11-22T10:00:00.000Z".to_owned(),
                came: Vec::new(),
            }),
        };
        LookedAt { looked, firing: Some(fired()) }
    }

    fn choices() -> Choices {
        let one = Choice {
            href: bad(),
            kind: "person",
            name: bad(),
            initial: bad(),
            apart: vec![bad()],
            last_seen: Some(When::of(BAD)),
        };
        Choices { text: bad(), all: vec![one], has_more: true, none: "" }
    }

    fn firings(frame: Frame, l: Option<FiringsView>) -> FiringsPage {
        let filter = FilterView {
            rules: vec![(bad(), bad())],
            rule: bad(),
            who: bad(),
            account: bad(),
            person: l.is_some().then(|| Chosen { name: bad(), without: bad() }),
            of_account: None,
            is_all: false,
            problem: Some(bad()),
            choices: Some(choices()),
        };
        FiringsPage { frame, of: Some(bad()), filter, l, stream: Some(bad()) }
    }

    fn consumer() -> ConsumerView {
        ConsumerView {
            name: bad(),
            kind: "pull",
            state: bad(),
            class: "on",
            behind: bad(),
            cursor: bad(),
            under_way: 1,
            parked: Some(bad()),
            why: Some(bad()),
            replays: vec![bad()],
        }
    }

    fn suppressions(address: &str) -> SuppressionsView {
        let one = SuppressedView {
            address: Some(bad()),
            whose: Some(bad()),
            reason: "manual",
            because: "because",
            since: When::of(BAD),
            by: bad(),
        };
        SuppressionsView {
            count: bad(),
            listed: vec![one],
            reason: bad(),
            older: Some(bad()),
            newest: Some(bad()),
            address: address.to_owned(),
            shown: Some(bad()),
            ..SuppressionsView::default()
        }
    }

    #[test]
    fn no_text_of_an_event_or_a_rule_gets_into_a_page_as_anything_but_text() {
        let console = Console::new();
        let frame = || console.frame(BAD, "rules", None);
        let stopped = || RuleView::of(&standing()).stopped;
        let about = RuleAbout {
            name: bad(),
            per: Per::Person,
            enabled: true,
            times: Times { fired: 1, last_ms: 0 },
        };
        let signals = SignalsView::of(&[scored()], |_| Vec::new(), list(), Some(bad()))
            .with_rules(&[about], BAD);
        let pages = [
            firings(frame(), Some(list())).render(),
            firings(frame(), None).render(),
            FiringsLive { l: &list(), said: Some(bad()) }.render(),
            FiringsLive { l: &signals.l, said: None }.render(),
            RulesPage { frame: frame(), rules: vec![RuleView::of(&standing())], all: stopped() }
                .render(),
            RulePage {
                frame: frame(),
                r: RuleView::of(&standing()),
                b: BoundsView::of(&RuleView::of(&standing()), bounds()),
                t: TestsView::of(&tests()),
                l: list(),
                stream: Some(bad()),
            }
            .render(),
            WhyPage {
                frame: frame(),
                r: RuleView::of(&standing()),
                choices: Some(choices()),
                found: Some(WhyFound {
                    of: (bad(), bad()),
                    looked: vec![LookedView::of(&looked(), None)],
                    times: bad(),
                    partial: true,
                    notes: vec![bad()],
                }),
            }
            .render(),
            Signals { signals: &signals }.render(),
            ConsumersPage { frame: frame(), end: bad(), consumers: vec![consumer()] }.render(),
            SuppressionsPage { frame: frame(), s: suppressions("") }.render(),
            SuppressionsPage { frame: frame(), s: suppressions(BAD) }.render(),
            SuppressionsPage { frame: frame(), s: suppressions("").with_problem(bad()) }.render(),
        ];
        for page in pages {
            let page = page.unwrap();
            assert!(page.contains("script&#62;alert"), "it is shown: {page}");
            for bad in ["<script>alert", "\"'>", "\"'&"] {
                assert!(!page.contains(bad), "{bad} is in {page}");
            }
        }
    }

    #[test]
    fn a_message_that_was_shown_still_says_how_soon_it_was_ready_and_what_waits_says_when_once() {
        let acted = |kind: &str, state, waiting| Acted {
            id: "f.0".to_owned(),
            kind: kind.to_owned(),
            state,
            detail: (state == ActionState::Accepted).then(|| "shown".to_owned()),
            waiting,
            done: Some("2026-11-22T10:00:00.016Z".to_owned()),
        };
        let waiting = Waiting {
            attempts: 0,
            last_error: None,
            next_try: Some("2026-11-22T21:00:00.000Z".to_owned()),
            waits_for: Some("quiet hours".to_owned()),
            expires: "2026-11-23T10:00:00.000Z".to_owned(),
            ..Waiting::default()
        };
        let actions = vec![
            acted("in_app", ActionState::Accepted, None),
            acted("email", ActionState::Pending, Some(waiting)),
        ];
        let firings = Around::default().words(&[Fired { actions, ..fired() }]);
        let list = FiringsView { firings, ..FiringsView::default() };
        let page = FiringsLive { l: &list, said: None }.render().unwrap();
        assert!(page.contains(r#"shown <span class="took">ready in 16 ms</span>"#), "{page}");
        let next = r#": quiet hours; next try <time datetime="2026-11-22T21:00:00.000Z">"#;
        assert!(page.contains(next), "{page}");
    }

    /// The part of a person's and of an account's page.
    #[derive(Template)]
    #[template(path = "signals.html")]
    struct Signals<'a> {
        signals: &'a SignalsView,
    }
}
