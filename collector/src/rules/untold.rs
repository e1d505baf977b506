//! Of firings of which nothing came: when their rule fires for them again, which nobody would guess.
//! Promises to say nothing where something was done, or may still be. Deliberately changes nothing: a line that was crossed is crossed.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result, params};

use super::{
    ActionState,
    bounds::times,
    fired::Fired,
    length::ms,
    part::Part,
    rule::{Crossing, Measure, Rule, When},
    set::RuleSet,
    shown::length,
};
use crate::{
    event_log::Timestamp,
    event_time,
    people::{Node, Whole},
};

/// Says of each of these firings when its rule fires again, if nothing came of it.
pub(crate) fn untold(
    db: &Connection,
    set: &RuleSet,
    now: Timestamp,
    fired: &mut [Fired],
) -> Result<()> {
    for fired in fired {
        let is_lost = |state| {
            matches!(state, ActionState::Refused | ActionState::Withheld | ActionState::Expired)
        };
        let is_undone =
            !fired.actions.is_empty() && fired.actions.iter().all(|it| is_lost(it.state));
        let Some(rule) = set.rule(&fired.rule).filter(|_| fired.held.is_some() || is_undone) else {
            continue;
        };
        fired.again = match &rule.when {
            When::Crosses(crossing) => {
                is_still_crossed(db, fired)?.then(|| crossing.in_words(set, rule))
            }
            _ if fired.held.is_none() => counts_for_limit(rule, fired, now),
            _ => None,
        };
    }
    Ok(())
}

/// Whether it is the last that its rule came to for them, and they have not been back since.
fn is_still_crossed(db: &Connection, fired: &Fired) -> Result<bool> {
    let query = "SELECT node, account FROM firing WHERE number = ?1";
    let found = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (node, account): (Node, i64) =
        db.prepare_cached(query)?.query_row([fired.number], found)?;
    let (later, keys) = match account {
        0 => {
            let nodes = Whole::person(db, node)?.nodes;
            let later = "SELECT 1 FROM firing WHERE node = ?1 AND rule = ?2 AND number > ?3";
            (later, nodes.into_iter().map(|node| (node, 0)).collect())
        }
        _ => {
            let later = "SELECT 1 FROM firing WHERE account = ?1 AND account <> 0 AND rule = ?2 AND number > ?3";
            (later, vec![(0, account)])
        }
    };
    let crossed = "SELECT 1 FROM crossed WHERE rule = ?1 AND node = ?2 AND account = ?3";
    let mut is_crossed = false;
    for (node, account) in keys {
        let of = node.max(account);
        if db.prepare_cached(later)?.exists(params![of, fired.rule, fired.number])? {
            return Ok(false);
        }
        is_crossed |= db.prepare_cached(crossed)?.exists(params![fired.rule, node, account])?;
    }
    Ok(is_crossed)
}

/// A limit counts firings, whatever came of them.
fn counts_for_limit(rule: &Rule, fired: &Fired, now: Timestamp) -> Option<String> {
    let (most, within) = rule.limit?;
    let at = event_time::parse(&fired.at)?;
    (now.unix_ms() - at.unix_ms() < ms(within)).then(|| {
        format!("it counts for the limit all the same: {} within {}", times(most), length(within))
    })
}

impl Crossing {
    fn in_words(&self, set: &RuleSet, rule: &Rule) -> String {
        let of = match self.of {
            Measure::Score(at) => &set.scores[at].name,
            Measure::Feature(at) => &set.features[at].name,
        };
        let (back, beyond) = if self.rising { ("below", "above") } else { ("above", "below") };
        let (rearm, line) = (self.rearm, self.line);
        let them = match rule.per {
            super::Per::Person => "them",
            super::Per::Account => "this account",
        };
        format!(
            "it fires for {them} again only after `{of}` was back {back} {rearm}, and then {beyond} {line}"
        )
    }
}

impl RuleSet {
    /// The rules that ask the models whose scores a rule looks at.
    pub(crate) fn asking(&self, name: &str) -> Vec<&str> {
        let Some(rule) = self.rule(name) else { return Vec::new() };
        let mut parts: Vec<&Part> = rule.conditions.iter().chain(&rule.still).collect();
        let mut scores = BTreeSet::new();
        if let When::Crosses(Crossing { of: Measure::Score(at), .. }) = &rule.when {
            scores.insert(*at);
            parts.extend(self.scores[*at].parts());
        }
        while let Some(part) = parts.pop() {
            for at in part.scores.iter().filter_map(|name| self.score(name)) {
                if scores.insert(at) {
                    parts.extend(self.scores[at].parts());
                }
            }
        }
        let names: Vec<_> = scores.iter().map(|at| &self.scores[*at].name).collect();
        let asks = |rule: &&Rule| rule.asks.as_ref().is_some_and(|score| names.contains(&score));
        self.rules.iter().filter(asks).map(|rule| rule.name.as_str()).collect()
    }
}
