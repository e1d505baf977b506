//! Why a rule fired for somebody, and why it did not, each time that it was looked at, with what came of each firing.
//! Promises that what it was looked at for is worked out from the log as it is, under the rules in force and since when they are; and
//! that what came of it is what is on record. Deliberately does nothing about it.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::Connection;
use serde::Serialize;

use super::{
    Desk, DeskError, StoppedShown,
    rules::{GONE_THROUGH, listed},
};
use crate::{
    people::{self, Whole},
    rules::{self, Fired, Listed, Looked, Per, Trial},
};

/// Firings that are looked for among what a rule was looked at for: the latest.
const ON_RECORD: usize = 1_000;

/// Why a rule fired for somebody, and why it did not.
#[derive(Debug, Serialize)]
pub(crate) struct Why {
    pub(crate) rule: String,
    /// Who, if a person was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<String>,
    /// Of a rule about accounts: which, that one or all of the person's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) accounts: Option<Vec<String>>,
    /// Whether its file lets it run.
    pub(crate) enabled: bool,
    /// Each time that it was looked at, the latest first.
    pub(crate) looked: Vec<LookedAt>,
    /// Firings on record that it does not come to when it is looked at again: an earlier form of it did, or they are of events that are
    /// not gone through.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) others: Vec<Fired>,
    /// Of each model whose score it looks at, the last time that it was asked; of a rule about accounts, for each of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) asked: Vec<Fired>,
    /// Whether there were more events than are gone through.
    pub(crate) partial: bool,
    /// Since when, and by whom it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stopped: Option<StoppedShown>,
}

/// One time that a rule was looked at, and the firing that is on record because of it.
#[derive(Debug, Serialize)]
pub(crate) struct LookedAt {
    #[serde(flatten)]
    pub(crate) looked: Looked,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) firing: Option<Fired>,
}

/// Whom a rule is asked about.
struct About {
    person: Option<Whole>,
    /// Of a rule about accounts.
    accounts: Vec<Whole>,
}

impl About {
    /// An account of a rule about accounts, else a person; or what was looked for in vain.
    fn find(db: &Connection, per: Per, who: &str) -> rusqlite::Result<Result<Self, &'static str>> {
        let account = Whole::account_of(db, who)?;
        if let (Per::Account, Some(account)) = (per, &account) {
            return Ok(Ok(Self { person: None, accounts: vec![account.clone()] }));
        }
        let Some(node) = people::node_of(db, who)? else {
            return Ok(Err(match (per, account) {
                (Per::Person, None) => "nobody is known by this",
                (Per::Person, Some(_)) => {
                    "this is an account, and the rule is about people: ask for one of them"
                }
                (Per::Account, _) => {
                    "the rule is about accounts: none has this id, nor is anybody known by it"
                }
            }));
        };
        let person = Whole::person(db, node)?;
        let accounts = match per {
            Per::Person => Vec::new(),
            Per::Account => person.accounts(db)?,
        };
        Ok(Ok(Self { person: Some(person), accounts }))
    }

    /// What is on record of a rule for them, the latest first.
    fn firings(&self, wanted: &Listed) -> Vec<Listed> {
        match &self.person {
            Some(person) if self.accounts.is_empty() => {
                vec![Listed { nodes: Some(person.nodes.clone()), ..wanted.clone() }]
            }
            _ => {
                let numbers = self.accounts.iter().filter_map(|it| it.account.as_ref());
                let of = |(number, _): &(i64, String)| Listed {
                    account: Some(*number),
                    ..wanted.clone()
                };
                numbers.map(of).collect()
            }
        }
    }
}

impl Desk {
    /// Why a rule fired for somebody and why it did not, each time that it was looked at: worked out anew from the log. `None` if there
    /// is no such rule; what was looked for if nobody is known by this.
    pub(crate) async fn why(
        &self,
        rule: &str,
        who: &str,
    ) -> Result<Option<Result<Why, &'static str>>, DeskError> {
        let Some(shown) = self.rules.shown().into_iter().find(|it| it.name == rule) else {
            return Ok(None);
        };
        let switches = self.switches().await?;
        let stopped = StoppedShown::of(&switches.stopped, rule);
        let who = who.to_owned();
        let (set, limits, log) =
            (Arc::clone(&self.rules), self.limits.clone(), Arc::clone(&self.log));
        let (now, in_force) = ((self.clock)(), Arc::clone(&self.in_force));
        let (name, per) = (rule.to_owned(), shown.per);
        let found = self.read(move |db| {
            let about = match About::find(db, per, &who)? {
                Ok(about) => about,
                Err(nobody) => return Ok(Err(nobody)),
            };
            let mut on_record = Vec::new();
            let of_it = Listed { rule: Some(name.clone()), limit: ON_RECORD, ..Listed::default() };
            for wanted in about.firings(&of_it) {
                on_record.extend(listed(db, (&set, &switches), &wanted, now)?);
            }
            let people = about.person.iter().chain(&about.accounts);
            let nodes: BTreeSet<_> = people.flat_map(|it| it.nodes.iter().copied()).collect();
            let mut asked = Vec::new();
            for rule in set.asking(&name) {
                let last = Listed { rule: Some(rule.to_owned()), limit: 1, ..Listed::default() };
                for wanted in about.firings(&last) {
                    asked.extend(listed(db, (&set, &switches), &wanted, now)?);
                }
            }
            let offsets = people::records_of(db, nodes.into_iter(), GONE_THROUGH)?;
            let partial = offsets.len() >= GONE_THROUGH;
            let mut trial = Trial::new(Arc::clone(&set), limits)?.counts_since(in_force);
            for offset in offsets {
                if let Some(record) = rules::Records::at(&*log, offset) {
                    trial.record(&record)?;
                }
            }
            trial.pass(now.unix_ms())?;
            trial.look_at_waiting(now.unix_ms())?;
            let accounts: Vec<_> = about
                .accounts
                .iter()
                .filter_map(|it| Some(it.account.as_ref()?.1.clone()))
                .collect();
            let mut looked = trial.looked();
            looked.retain(|it| {
                it.rule == name && it.account.as_ref().is_none_or(|id| accounts.contains(id))
            });
            looked.reverse();
            let person = about.person.map(|it| it.id().to_string());
            Ok(Ok((person, accounts, looked, partial, on_record, asked)))
        });
        let (person, accounts, looked, partial, on_record, asked) = match found.await? {
            Ok(found) => found,
            Err(nobody) => return Ok(Some(Err(nobody))),
        };
        let mut others = self.with_what_waits(on_record).await?;
        let asked = self.with_what_waits(asked).await?;
        let looked =
            looked.into_iter().map(|looked| LookedAt::of(looked, &mut others, shown.revision));
        let looked = looked.collect();
        Ok(Some(Ok(Why {
            rule: shown.name,
            person,
            accounts: (per == Per::Account).then_some(accounts),
            enabled: shown.enabled,
            looked,
            others,
            asked,
            partial,
            stopped,
        })))
    }
}

impl LookedAt {
    /// With the firing that came of it, which is taken out of those on record.
    fn of(mut looked: Looked, on_record: &mut Vec<Fired>, revision: u32) -> Self {
        let is_it = |fired: &Fired| {
            fired.revision == revision
                && fired.account == looked.account
                && fired.event == looked.event
                && (fired.event.is_some() || fired.at == looked.at)
        };
        let at = on_record.iter().position(is_it).filter(|_| looked.fired);
        let firing = at.map(|at| on_record.remove(at));
        if let Some(held) = firing.as_ref().and_then(|fired| fired.held.as_ref()) {
            looked.outcome = format!("it fired, and nothing is done: {held}");
        }
        Self { looked, firing }
    }
}
