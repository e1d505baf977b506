//! What rules came to on a page: the latest firings, of one rule, of somebody, of an account, as they come.
//! Promises that the address says what is listed, in the words of `headwater rules firings` and `/v1/firings`, and that what it says
//! wrongly is told and never another question answered. Deliberately lists no more than a page.

use hyper::StatusCode;

use super::{
    Http,
    answer::Answer,
    console::{Paged, Pairs, Trouble, html, see},
    console_choice::{Kinds, Meant, NOBODY},
    console_live::FollowFirings,
};
use crate::{
    console::{
        Around, Choices, Chosen, Files, FilterView, FiringsPage, FiringsView, Session, part,
        rule_label, shown,
    },
    desk::{Desk, DeskError},
    rules::Listed,
};

/// Firings of a page, and of a list beside something else.
const PAGE: usize = 30;
const BESIDE: usize = 5;

/// What an address can say of the list.
const WORDS: [&str; 5] = ["rule", "who", "account", "before", "after"];

/// Which firings are listed.
#[derive(Clone, Debug, Default)]
pub(super) struct Which {
    rule: Option<String>,
    who: Option<String>,
    account: Option<String>,
    limit: usize,
}

impl Which {
    fn of(query: &Pairs) -> Self {
        Self {
            rule: query.given("rule"),
            who: query.exact("who"),
            account: query.exact("account"),
            limit: PAGE,
        }
    }

    pub(super) fn of_rule(rule: &str) -> Self {
        Self { rule: Some(rule.to_owned()), limit: PAGE, ..Self::default() }
    }

    pub(super) fn beside_person(who: &str) -> Self {
        Self { who: Some(who.to_owned()), limit: BESIDE, ..Self::default() }
    }

    pub(super) fn beside_account(id: &str) -> Self {
        Self { account: Some(id.to_owned()), limit: BESIDE, ..Self::default() }
    }

    fn is_all(&self) -> bool {
        self.rule.is_none() && self.who.is_none() && self.account.is_none()
    }

    /// As a query, to which another pair can be added.
    fn query(&self) -> String {
        let pairs = [("rule", &self.rule), ("who", &self.who), ("account", &self.account)];
        let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        pairs.map(|(name, value)| format!("{name}={}&", part(value))).collect()
    }

    pub(super) fn address(&self) -> String {
        format!("/console/firings?{}", self.query()).trim_end_matches(['?', '&']).to_owned()
    }
}

/// What is wrong with an address, in a sentence; and where the list goes on.
fn read(query: &Pairs) -> Result<Option<i64>, String> {
    let mut seen: Vec<&str> = Vec::new();
    for name in query.names() {
        if !WORDS.contains(&name) {
            return Err(format!(
                "There is no filter “{name}”: there are “rule”, “who” and “account”."
            ));
        }
        if seen.contains(&name) {
            return Err(format!("“{name}” is there twice: give it once."));
        }
        seen.push(name);
    }
    if query.given("who").is_some() && query.given("account").is_some() {
        let text = "Firings are looked for by a person or by an account: leave one of them empty.";
        return Err(text.to_owned());
    }
    let before = query.given("before").map(|text| text.parse().map_err(|_| text));
    before.transpose().map_err(|text| {
        format!("“{text}” is no place in this list: follow the link “Older”, or begin anew.")
    })
}

/// These firings, the latest first; `None` if nobody is known by what is asked for.
pub(super) async fn firings_of(
    desk: &Desk,
    around: &mut Around,
    which: &Which,
    before: Option<i64>,
) -> Result<Option<FiringsView>, DeskError> {
    // One more than is shown says whether there are more.
    let wanted =
        Listed { rule: which.rule.clone(), before, limit: which.limit + 1, ..Listed::default() };
    let fired = match &which.account {
        Some(account) => desk.account_firings(account, wanted).await?,
        None => desk.firings(which.who.clone(), wanted).await?,
    };
    let Some(mut fired) = fired else { return Ok(None) };
    let has_more = fired.len() > which.limit;
    fired.truncate(which.limit);
    let query = which.query();
    let older = fired.last().filter(|_| has_more);
    Ok(Some(FiringsView {
        older: older.map(|last| format!("/console/firings?{query}before={}", last.number)),
        newest: before.map(|_| which.address()),
        of_rule: which.rule.is_some(),
        of_person: which.who.is_some(),
        of_account: which.account.is_some(),
        shown: (which.limit == PAGE).then(|| shown(fired.len(), has_more, before.is_some())),
        firings: around.tell(desk, &fired).await?,
        none: match (before, &which.rule, &which.who, &which.account) {
            (Some(_), ..) => "Nothing earlier.",
            (_, Some(_), None, None) => "It has not fired yet.",
            (_, Some(_), ..) => "It has not fired for them yet.",
            (_, None, None, None) => "No rule has fired yet.",
            _ => "No rule has fired yet here.",
        },
    }))
}

/// Where the latest of these are followed.
pub(super) fn stream(which: &Which, list: &FiringsView) -> Option<String> {
    let latest = list.firings.first().map_or(0, |fired| fired.number);
    let is_live = Files::are_live() && list.newest.is_none();
    is_live.then(|| format!("/console/firings/live?{}after={latest}", which.query()))
}

impl Http {
    /// What rules came to.
    pub(super) async fn firings(&self, query: &Pairs, session: &Session) -> Paged {
        let which = Which::of(query);
        let before = match read(query) {
            Ok(before) => before,
            Err(problem) => {
                let page = self.firings_page(&which, None, session).await?;
                return Ok(wrong(StatusCode::BAD_REQUEST, &page.with_problem(problem)));
            }
        };
        // A form says of every field what is in it: the address says only what counts.
        if before.is_none() && query.has_empty() {
            return Ok(see(&which.address()));
        }
        let found = firings_of(&self.desk, &mut Around::default(), &which, before).await?;
        let Some(l) = found else { return self.whose_firings(&which, session).await };
        // One that is gone may have fired.
        let is_unknown = |rule: &&String| !self.desk.rules.has_rule(rule) && l.firings.is_empty();
        if let Some(rule) = which.rule.as_ref().filter(is_unknown)
            && before.is_none()
        {
            let problem = format!("There is no rule “{rule}”, and none of this name has fired.");
            let page = self.firings_page(&which, None, session).await?;
            return Ok(wrong(StatusCode::NOT_FOUND, &page.with_problem(problem)));
        }
        Ok(html(&self.firings_page(&which, Some(l), session).await?))
    }

    /// Of whom nobody is known by exactly this: whom the search finds.
    async fn whose_firings(&self, which: &Which, session: &Session) -> Paged {
        let of = |id: &str| match which.account {
            Some(_) => Which { account: Some(id.to_owned()), ..which.clone() }.address(),
            None => Which { who: Some(id.to_owned()), ..which.clone() }.address(),
        };
        let (text, kinds) = match (&which.account, &which.who) {
            (Some(text), _) => (text, Kinds::Accounts),
            (None, Some(text)) => (text, Kinds::People),
            (None, None) => return Err(NOBODY),
        };
        match self.meant(text, kinds, of).await? {
            // Who is found and not known by exactly this has gone meanwhile.
            Meant::One(id) if of(&id) == which.address() => Err(NOBODY),
            Meant::One(id) => Ok(see(&of(&id))),
            Meant::Several(choices) => {
                let is_nobody = choices.all.is_empty();
                let page = self.firings_page(which, None, session).await?.with_choices(choices);
                Ok(if is_nobody { wrong(StatusCode::NOT_FOUND, &page) } else { html(&page) })
            }
        }
    }

    /// The page with its filter; without a list, whatever is asked for is still to be said otherwise.
    async fn firings_page(
        &self,
        which: &Which,
        l: Option<FiringsView>,
        session: &Session,
    ) -> Result<FiringsPage, Trouble> {
        let desk = &self.desk;
        let person = match &which.who {
            Some(who) => desk.profile(who).await?.map(|it| it.name),
            None => None,
        };
        let account = match &which.account {
            Some(id) => desk.account(id).await?.map(|it| it.name),
            None => None,
        };
        let rule = which.rule.as_deref().map(rule_label);
        let names = [rule, person.clone(), account.clone()];
        let of: Vec<String> = names.into_iter().flatten().collect();
        let chosen = |name: Option<String>, without: Which| {
            name.filter(|_| l.is_some()).map(|name| Chosen { name, without: without.address() })
        };
        let text = |it: &Option<String>| it.clone().unwrap_or_default();
        let mut rules: Vec<(String, String)> =
            desk.rules.revisions().map(|(name, ..)| (name.to_owned(), rule_label(name))).collect();
        if let Some(gone) = which.rule.as_ref().filter(|name| !desk.rules.has_rule(name)) {
            rules.push((gone.clone(), format!("{} (no rule now)", rule_label(gone))));
        }
        Ok(FiringsPage {
            frame: self.console.frame("Firings", "firings", Some(session)),
            of: (l.is_some() && !of.is_empty()).then(|| of.join(", ")),
            filter: FilterView {
                rules,
                rule: text(&which.rule),
                who: text(&which.who),
                account: text(&which.account),
                person: chosen(person, Which { who: None, ..which.clone() }),
                of_account: chosen(account, Which { account: None, ..which.clone() }),
                is_all: which.is_all(),
                problem: None,
                choices: None,
            },
            stream: l.as_ref().and_then(|l| stream(which, l)),
            l,
        })
    }

    /// The same, as they come.
    pub(super) async fn follow_firings(&self, query: &Pairs, session: &Session) -> Paged {
        read(query).map_err(|_| {
            Trouble::Wrong("This list cannot be followed: load the page that shows it again.")
        })?;
        let opened = query.all("after").parse().unwrap_or(i64::MAX);
        self.follow_console(session, FollowFirings::of(Which::of(query), opened))
    }
}

impl FiringsPage {
    fn with_problem(mut self, problem: String) -> Self {
        self.filter.problem = Some(problem);
        self
    }

    fn with_choices(mut self, choices: Choices) -> Self {
        self.filter.choices = Some(choices);
        self
    }
}

fn wrong(status: StatusCode, page: &FiringsPage) -> Answer {
    let mut answer = html(page);
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_says_something_else_is_told_so() {
        let read = |text: &str| read(&Pairs::of(text.as_bytes()));
        assert_eq!(read("rule=a&who=&before=12"), Ok(Some(12)));
        assert_eq!(read(""), Ok(None));
        for (text, begin) in [
            ("rul=a", "There is no filter “rul”: there are"),
            ("rule=a&rule=b", "“rule” is there twice"),
            ("who=a&account=b", "Firings are looked for by a person or by an account"),
            ("before=x", "“x” is no place in this list"),
        ] {
            let problem = read(text).unwrap_err();
            assert!(problem.starts_with(begin), "{text}: {problem}");
        }
    }

    #[test]
    fn a_list_has_one_address() {
        let which = Which::of(&Pairs::of(b"account=a%26b&rule=large_order&who="));
        assert_eq!(which.address(), "/console/firings?rule=large_order&account=a%26b");
        assert_eq!(Which::of(&Pairs::of(b"rule=&who=+")).address(), "/console/firings");
    }
}
