//! Rules on pages: how they stand, why and why not, what they know of somebody, and the switch.
//! Promises that a list is no longer than a page and that a rule is switched by a form only. Deliberately changes no rule: files do.

use super::{
    Http,
    console::{Paged, Pairs, Trouble, html, see},
    console_choice::{Kinds, Meant, NOBODY},
    console_firings::{Which, firings_of, stream},
};
use crate::{
    console::{
        Around, BoundsView, FiringsView, LookedView, RulePage, RuleView, RulesPage, Session,
        SignalsView, StoppedView, TestsView, WhyFound, WhyPage, account_address, in_one_scale,
        notes, person_address, rule_address, why_address,
    },
    desk::{Desk, DeskError, LookedAt, RuleStanding, Why},
    rules::Per,
};

/// Times that a rule was looked at, on its page of why.
const LOOKED: usize = 50;

const NO_RULE: Trouble = Trouble::NotFound("No rule has this name.");

/// What rules know of a person.
pub(super) async fn person_signals(
    desk: &Desk,
    around: &mut Around,
    who: &str,
) -> Result<SignalsView, DeskError> {
    let which = Which::beside_person(who);
    let scores = desk.scores(who).await?.unwrap_or_default();
    let firings = firings_of(desk, around, &which, None).await?.unwrap_or_default();
    let all = firings.older.as_ref().map(|_| which.address());
    let lines = |score: &str| desk.rules.lines_of(score);
    let rules = desk.rules_about(who).await?.unwrap_or_default();
    let signals = SignalsView::of(&scores, lines, FiringsView { older: None, ..firings }, all);
    Ok(signals.with_rules(&rules, who))
}

/// What rules know of an account.
pub(super) async fn account_signals(
    desk: &Desk,
    around: &mut Around,
    id: &str,
) -> Result<SignalsView, DeskError> {
    let which = Which::beside_account(id);
    let scores = desk.account_scores(id).await?.unwrap_or_default();
    let firings = firings_of(desk, around, &which, None).await?.unwrap_or_default();
    let all = firings.older.as_ref().map(|_| which.address());
    let lines = |score: &str| desk.rules.lines_of(score);
    let rules = desk.rules_about_account(id).await?.unwrap_or_default();
    let signals = SignalsView::of(&scores, lines, FiringsView { older: None, ..firings }, all);
    Ok(signals.with_rules(&rules, id))
}

impl Http {
    /// All rules.
    pub(super) async fn rules_page(&self, session: &Session) -> Paged {
        let rules: Vec<_> = self.desk.rules().await?.iter().map(RuleView::of).collect();
        let mut stopped = rules.iter().filter_map(|rule| rule.stopped.as_ref());
        let all: Option<StoppedView> = stopped.find(|stopped| stopped.all).cloned();
        let frame = self.console.frame("Rules", "rules", Some(session));
        Ok(html(&RulesPage { frame, rules, all }))
    }

    pub(super) async fn known_rule(&self, name: &str) -> Result<RuleStanding, Trouble> {
        let rules = self.desk.rules().await?;
        rules.into_iter().find(|standing| standing.rule.name == name).ok_or(NO_RULE)
    }

    /// One rule.
    pub(super) async fn rule(&self, name: &str, session: &Session) -> Paged {
        let r = RuleView::of(&self.known_rule(name).await?);
        let which = Which::of_rule(name);
        let l = firings_of(&self.desk, &mut Around::default(), &which, None).await?;
        let l = l.unwrap_or_default();
        let frame = self.console.frame(r.label.clone(), "rules", Some(session));
        let bounds = self.desk.rules.bounds(name).ok_or(NO_RULE)?;
        let b = BoundsView::of(&r, bounds);
        let t = TestsView::of(&self.desk.tests_of(name).await);
        Ok(html(&RulePage { frame, stream: stream(&which, &l), r, l, b, t }))
    }

    /// Why it fired for somebody, and why it did not.
    pub(super) async fn why(&self, name: &str, query: &Pairs, session: &Session) -> Paged {
        let rule = self.known_rule(name).await?;
        let r = RuleView::of(&rule);
        if query.names().any(|name| name != "who") || query.names().count() > 1 {
            return Err(Trouble::Wrong(
                "Why is asked of one person or account, `who`, and nothing else.",
            ));
        }
        let (mut choices, mut found) = (None, None);
        if let Some(who) = query.exact("who") {
            match self.desk.why(name, &who).await? {
                Some(Ok(why)) => found = self.found(&why).await?,
                // By a name, or by how an identifier begins.
                _ => {
                    let kinds = match rule.rule.per {
                        Per::Person => Kinds::People,
                        Per::Account => Kinds::AccountsAndPeople,
                    };
                    match self.meant(who.trim(), kinds, |id| why_address(name, id)).await? {
                        // Who is found and not known by exactly this has gone meanwhile.
                        Meant::One(id) if id == who => return Err(NOBODY),
                        Meant::One(id) => return Ok(see(&why_address(name, &id))),
                        Meant::Several(several) => choices = Some(several),
                    }
                }
            }
        }
        let frame = self.console.frame(format!("Why {}?", r.label), "rules", Some(session));
        Ok(html(&WhyPage { frame, r, choices, found }))
    }

    async fn found(&self, why: &Why) -> Result<Option<WhyFound>, Trouble> {
        let of = match (&why.person, why.accounts.as_deref()) {
            (Some(person), _) => (self.known_profile(person).await?.name, person_address(person)),
            (None, Some([id, ..])) => {
                let account = self.desk.account(id).await?;
                (account.map_or_else(|| id.clone(), |it| it.name), account_address(id))
            }
            (None, _) => return Ok(None),
        };
        let shown = &why.looked[..why.looked.len().min(LOOKED)];
        let times = match (why.looked.len(), shown.len()) {
            (0, _) => "It was never evaluated for them.".to_owned(),
            (1, _) => "It was evaluated once.".to_owned(),
            (all, shown) if all > shown => {
                format!("It was evaluated {all} times; these are the latest {shown}.")
            }
            (all, _) => format!("It was evaluated {all} times, the latest first."),
        };
        let mut around = Around::default();
        let events = shown.iter().filter_map(|it| it.looked.event.as_deref());
        around.events(&self.desk, events).await?;
        let event = |it: &LookedAt| around.event(it.looked.event.as_deref()).cloned();
        let mut looked: Vec<_> = shown.iter().map(|it| LookedView::of(it, event(it))).collect();
        in_one_scale(looked.iter_mut().filter_map(|it| it.measured.as_mut()));
        Ok(Some(WhyFound { of, looked, times, partial: why.partial, notes: notes(why) }))
    }

    /// Stops a rule, or all, or lets them go on.
    pub(super) async fn switch(
        &self,
        rule: Option<&str>,
        form: &Pairs,
        session: &Session,
    ) -> Paged {
        let on = match form.all("on") {
            "yes" => true,
            "no" => false,
            _ => return Err(Trouble::Wrong("Whether it is to go on is wanted: yes or no.")),
        };
        self.desk.switch_rule(rule, on, &session.name).await?.ok_or(NO_RULE)?;
        Ok(see(&rule.map_or_else(|| "/console/rules".to_owned(), rule_address)))
    }
}
