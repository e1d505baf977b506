//! Rules, for who is at the desk: what they say, what they came to, and the switch.
//! Promises that what was set off says what became of it. Deliberately changes no rule: files do.

use std::sync::Arc;

use rusqlite::Connection;
use serde::Serialize;
use serde_json::Value as Json;
use tokio::task::spawn_blocking;

use super::{Desk, DeskError, decided::undecided};
use crate::{
    actions,
    event_log::{Offset, SourceName, Timestamp},
    metrics::Metrics,
    people::{self, Whole},
    rules::{self, Fired, Listed, RuleSet, RuleShown, Scored, UnjudgedOfRule},
    state::{Stopped, Switches},
};

/// Events of somebody that are gone through: the latest, if there are more.
pub(super) const GONE_THROUGH: usize = 5_000;
/// Rules that are named where one is not found.
const RULES_NAMED: usize = 20;

/// A rule, and how it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleStanding {
    #[serde(flatten)]
    pub(crate) rule: RuleShown,
    /// Since when, and by whom it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stopped: Option<StoppedShown>,
    /// How often it has fired, and how often of these something has arrived.
    pub(crate) fired: u64,
    pub(crate) acted: u64,
    /// How often a condition of it could not be worked out since the start, and which last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unjudged: Option<UnjudgedOfRule>,
}

/// That something is stopped.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoppedShown {
    pub(crate) by: String,
    pub(crate) at: String,
    /// Whether all rules are.
    pub(crate) all: bool,
}

impl StoppedShown {
    pub(super) fn of(stopped: &[Stopped], rule: &str) -> Option<Self> {
        let found = stopped.iter().find(|it| it.is_of(rule))?;
        Some(Self { by: found.by.clone(), at: found.at.to_string(), all: found.rule.is_none() })
    }
}

/// Firings, each with what follows where nothing came of it, and why it decides nothing.
pub(super) fn listed(
    db: &Connection,
    (set, switches): (&RuleSet, &Switches),
    wanted: &Listed,
    now: Timestamp,
) -> rusqlite::Result<Vec<Fired>> {
    let mut found = rules::list(db, wanted)?;
    rules::untold(db, set, now, &mut found)?;
    undecided(db, switches, &mut found)?;
    Ok(found)
}

impl Desk {
    /// All rules.
    pub(crate) async fn rules(&self) -> Result<Vec<RuleStanding>, DeskError> {
        let (stopped, set) = (self.stopped_rules().await?, Arc::clone(&self.rules));
        let counts = self.read(rules::counts).await?;
        let shown = set.shown().into_iter().map(|rule| {
            let (fired, acted) = counts.get(&rule.name).copied().unwrap_or_default();
            let stopped = StoppedShown::of(&stopped, &rule.name);
            let unjudged = self.projection.lately.unjudged.of_rule(&rule.name);
            RuleStanding { rule, stopped, fired, acted, unjudged }
        });
        Ok(shown.collect())
    }

    /// That there is no such rule, and which there are.
    pub(crate) fn no_rule(&self, name: &str) -> String {
        let names: Vec<_> = self.rules.revisions().map(|(name, ..)| name).collect();
        let more = if names.len() > RULES_NAMED { ", …; `GET /v1/rules` lists them" } else { "" };
        let named = names[..names.len().min(RULES_NAMED)].join("`, `");
        match names.len() {
            0 => format!("there is no rule `{name}`, nor any other"),
            _ => format!("there is no rule `{name}`; there are `{named}`{more}"),
        }
    }

    /// Stops a rule, or all, or lets them go on: whether that has changed anything. `None` if there is no such rule.
    pub(crate) async fn switch_rule(
        &self,
        rule: Option<&str>,
        on: bool,
        by: &str,
    ) -> Result<Option<bool>, DeskError> {
        if rule.is_some_and(|rule| !self.rules.has_rule(rule)) {
            return Ok(None);
        }
        let (state, by, clock) = (self.state.clone(), by.to_owned(), Arc::clone(&self.clock));
        let rule = rule.map(str::to_owned);
        tracing::warn!(rule = rule.as_deref().unwrap_or("all"), on, by, "rules are switched");
        let changed = spawn_blocking(move || match on {
            true => state.resume_rule(rule.as_deref(), || clock()),
            false => state.stop_rule(rule.as_deref(), &by, || clock()),
        });
        Ok(Some(changed.await??))
    }

    /// Firings, the latest first; `who` narrows them to a person. `None` if nobody is known by this.
    pub(crate) async fn firings(
        &self,
        who: Option<String>,
        wanted: Listed,
    ) -> Result<Option<Vec<Fired>>, DeskError> {
        let (set, now) = (Arc::clone(&self.rules), (self.clock)());
        let switches = self.switches().await?;
        let found = self.read(move |db| {
            let mut wanted = wanted;
            if let Some(who) = who {
                let Some(node) = people::node_of(db, &who)? else { return Ok(None) };
                wanted.nodes = Some(Whole::person(db, node)?.nodes);
            }
            listed(db, (&set, &switches), &wanted, now).map(Some)
        });
        match found.await? {
            Some(found) => self.with_what_waits(found).await.map(Some),
            None => Ok(None),
        }
    }

    /// With what is known of actions that are still to be done.
    pub(super) async fn with_what_waits(
        &self,
        mut found: Vec<Fired>,
    ) -> Result<Vec<Fired>, DeskError> {
        if found.iter().flat_map(|it| &it.actions).all(|action| action.waiting.is_none()) {
            return Ok(found);
        }
        let stopped = self.stopped_rules().await?;
        let now = (self.clock)().unix_ms();
        let time = |ms: i64| Timestamp::from_unix_ms(ms).to_string();
        for fired in &mut found {
            let is_stopped = stopped.iter().any(|it| it.is_of(&fired.rule));
            for action in &mut fired.actions {
                let Some(waiting) = &mut action.waiting else { continue };
                let tried = self.trying.of(&action.id).unwrap_or_default();
                waiting.attempts = tried.attempts;
                waiting.last_error = tried.error;
                let after = Some(waiting.after_ms).filter(|after| *after > now);
                let (waits_for, next_ms) = match (is_stopped, after) {
                    (true, _) => (Some(actions::STOPPED), None),
                    (false, Some(after)) => (Some(actions::QUIET), Some(after)),
                    (false, None) => (tried.waits, tried.next_ms.filter(|next| *next > now)),
                };
                waiting.waits_for = waits_for.map(str::to_owned);
                waiting.next_try = next_ms.map(time);
            }
        }
        Ok(found)
    }

    /// Firings about an account, the latest first; `None` if there is none.
    pub(crate) async fn account_firings(
        &self,
        id: &str,
        wanted: Listed,
    ) -> Result<Option<Vec<Fired>>, DeskError> {
        let (id, set, now) = (id.to_owned(), Arc::clone(&self.rules), (self.clock)());
        let switches = self.switches().await?;
        let found = self.read(move |db| {
            let Some(whose) = Whole::account_of(db, &id)? else { return Ok(None) };
            let account = whose.account.map(|(number, _)| number);
            listed(db, (&set, &switches), &Listed { account, ..wanted }, now).map(Some)
        });
        match found.await? {
            Some(found) => self.with_what_waits(found).await.map(Some),
            None => Ok(None),
        }
    }

    /// All scores of a person as they are now; `None` if nobody is known by this.
    pub(crate) async fn scores(&self, who: &str) -> Result<Option<Vec<Scored>>, DeskError> {
        let (who, set, now) = (who.to_owned(), Arc::clone(&self.rules), (self.clock)());
        self.read(move |db| {
            let Some(node) = people::node_of(db, &who)? else { return Ok(None) };
            rules::scores(db, &set, &Whole::person(db, node)?, now).map(Some)
        })
        .await
    }

    /// All scores of an account as they are now; `None` if there is none.
    pub(crate) async fn account_scores(&self, id: &str) -> Result<Option<Vec<Scored>>, DeskError> {
        let (id, set, now) = (id.to_owned(), Arc::clone(&self.rules), (self.clock)());
        self.read(move |db| match Whole::account_of(db, &id)? {
            Some(whose) => rules::scores(db, &set, &whose, now).map(Some),
            None => Ok(None),
        })
        .await
    }

    /// Tells the metrics how it stands with each rule. What cannot be read stays as it was.
    pub(crate) async fn show_rules(&self, metrics: &Metrics) {
        let waiting = self.read(rules::waiting_by_rule).await;
        let (Ok(waiting), Ok(stopped)) = (waiting, self.stopped_rules().await) else { return };
        for rule in self.rules.enabled() {
            let is_stopped = stopped.iter().any(|it| it.is_of(rule));
            metrics.rule_now(rule, is_stopped, waiting.get(rule).copied().unwrap_or_default());
        }
    }

    /// Where an event is that a source sent before under this id, among the latest of who it names.
    pub(crate) async fn sent_before(
        &self,
        source: &SourceName,
        event: &Json,
        id: &str,
    ) -> Result<Option<Offset>, DeskError> {
        let end = *self.log.end().borrow();
        self.projection.wait_for(end).await;
        let named = |kind: &str, key: &str| Some(format!("{kind}:{}", event[key].as_str()?));
        let names = [named("user", "userId"), named("anonymous", "anonymousId")];
        let offsets = self.read(move |db| {
            for name in names.into_iter().flatten() {
                if let Some(node) = people::node_of(db, &name)? {
                    let nodes = Whole::person(db, node)?.nodes.into_iter();
                    return people::records_of(db, nodes, GONE_THROUGH);
                }
            }
            Ok(Vec::new())
        });
        let (offsets, log) = (offsets.await?, Arc::clone(&self.log));
        let (source, id) = (source.clone(), id.to_owned());
        let is_it = move |offset: &Offset| {
            rules::Records::at(&*log, *offset)
                .is_some_and(|it| *it.message_id == *id && it.source == source)
        };
        Ok(spawn_blocking(move || offsets.into_iter().rev().find(is_it)).await?)
    }
}
