//! The rules that can be about somebody, and whether each has fired for them: of whom it can be asked why one did not.
//! Promises every such rule, fired or not. Deliberately works nothing out: `why` does.

use std::{collections::BTreeMap, sync::Arc};

use super::{Desk, DeskError};
use crate::{
    people::{self, Whole},
    rules::{self, Per, RuleSet, Times},
};

/// A rule that can be about somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleAbout {
    pub(crate) name: String,
    /// Whom it is about: of a person's accounts, where it is not the person.
    pub(crate) per: Per,
    /// Whether its file lets it run.
    pub(crate) enabled: bool,
    /// How often it fired for them.
    pub(crate) times: Times,
}

/// How often rules fired, by name.
type Fired = BTreeMap<String, Times>;

impl Desk {
    /// The rules that can be about a person: those about people, and, of who is in an account, those about accounts. Those that fired
    /// for them first, the latest first. `None` if nobody is known by this.
    pub(crate) async fn rules_about(&self, who: &str) -> Result<Option<Vec<RuleAbout>>, DeskError> {
        let (who, set) = (who.to_owned(), Arc::clone(&self.rules));
        self.read(move |db| {
            let Some(node) = people::node_of(db, &who)? else { return Ok(None) };
            let person = Whole::person(db, node)?;
            let accounts: Vec<i64> =
                person.accounts(db)?.iter().filter_map(|it| Some(it.account.as_ref()?.0)).collect();
            let of_accounts = match accounts.is_empty() {
                true => None,
                false => Some(rules::times_of_accounts(db, &accounts)?),
            };
            let of_person = rules::times_of_nodes(db, &person.nodes)?;
            Ok(Some(about(&set, Some(&of_person), of_accounts.as_ref())))
        })
        .await
    }

    /// The rules about accounts, as above; `None` if there is no such account.
    pub(crate) async fn rules_about_account(
        &self,
        id: &str,
    ) -> Result<Option<Vec<RuleAbout>>, DeskError> {
        let (id, set) = (id.to_owned(), Arc::clone(&self.rules));
        self.read(move |db| {
            let Some(whose) = Whole::account_of(db, &id)? else { return Ok(None) };
            let number: Vec<i64> = whose.account.iter().map(|(number, _)| *number).collect();
            Ok(Some(about(&set, None, Some(&rules::times_of_accounts(db, &number)?))))
        })
        .await
    }
}

/// Rules of the kinds of which anything can be said.
fn about(set: &RuleSet, person: Option<&Fired>, account: Option<&Fired>) -> Vec<RuleAbout> {
    let rules = set.about().filter_map(|(name, per, enabled)| {
        let fired = match per {
            Per::Person => person?,
            Per::Account => account?,
        };
        let times = fired.get(name).copied().unwrap_or_default();
        Some(RuleAbout { name: name.to_owned(), per, enabled, times })
    });
    let mut rules: Vec<_> = rules.collect();
    rules.sort_by_key(|it| std::cmp::Reverse(it.times.last_ms));
    rules
}
