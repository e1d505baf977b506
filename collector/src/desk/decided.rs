//! What firings decide, for who waits for it and for who reads of it later: one answer for both.
//! Promises that a firing with a decision that is not answered says why, and that a model's answer counts for the event because of which
//! it was asked. Deliberately decides nothing itself, and asks no model: actions do.

use rusqlite::Connection;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::{Desk, DeskError};
use crate::{
    event_log::Offset,
    rules::{self, CameTo, Fired, Heard, Unanswered, Unjudged},
    state::{Stopped, Switches},
};

/// Most firings that are told of because of one event.
const FIRINGS: usize = 100;
/// Why a rule that fired does not decide.
const WAS_STOPPED: &str = "the rule was stopped when the event came";

/// What an event has come to.
#[derive(Default)]
pub(crate) struct Decided {
    /// What it has set off, or a model's answer to it, the latest first.
    pub(crate) fired: Vec<Fired>,
    /// What models have said because of it.
    pub(crate) heard: Vec<Heard>,
    /// The models that have not said anything yet, and those that are not asked, since what asks is stopped: nobody waits for these.
    unanswered: Vec<Unanswered>,
    unasked: Vec<Unanswered>,
}

/// Says of each firing with a decision why it decides nothing, if it does not: of several because of one event one decides, and a rule
/// that was stopped when the event came does not, whoever asks again, or reads of it, after it went on.
pub(super) fn undecided(
    db: &Connection,
    switches: &Switches,
    found: &mut [Fired],
) -> rusqlite::Result<()> {
    for fired in found.iter_mut().filter(|fired| fired.decision.is_some()) {
        // An earlier release did not note when that was.
        let asked_at = rules::asked_at(fired);
        let is_stopped = |rule: &str| match asked_at {
            Some(at) => switches.was_stopped(rule, at),
            None => switches.is_stopped(rule),
        };
        fired.undecided = match &fired.held {
            Some(held) => Some(format!("it is held: {held}")),
            None if is_stopped(&fired.rule) => Some(WAS_STOPPED.to_owned()),
            None => {
                let instead = rules::instead(db, fired)?;
                let by = instead.iter().find(|rule| !is_stopped(rule));
                by.map(|by| format!("`{by}` decides"))
            }
        };
    }
    Ok(())
}

impl Desk {
    /// Which rules are stopped.
    pub(super) async fn stopped_rules(&self) -> Result<Vec<Stopped>, DeskError> {
        let state = self.state.clone();
        Ok(spawn_blocking(move || state.stopped_rules()).await??)
    }

    /// Which rules are stopped, and were.
    pub(super) async fn switches(&self) -> Result<Switches, DeskError> {
        let state = self.state.clone();
        Ok(spawn_blocking(move || state.switches()).await??)
    }

    /// Waits until the state has an event, and then, but not beyond `until`, until it has what the models say that are asked because of
    /// it; tells what all that set off, and which of it decides nothing. `None` if rules have not seen the event by then.
    pub(crate) async fn decided(
        &self,
        record: Offset,
        until: Instant,
    ) -> Result<Option<Decided>, DeskError> {
        if !matches!(timeout_at(until, self.projection.wait_for_a_look(record)).await, Ok(true)) {
            return Ok(None);
        }
        // Nothing has to be kept of that, and it stays so: what is folded again comes to the same.
        if self.projection.lately.is_nothing(record) {
            return Ok(Some(Decided::default()));
        }
        if !matches!(timeout_at(until, self.projection.wait_for_rules(record)).await, Ok(true)) {
            return Ok(None);
        }
        let mut decided = self.came_to(record).await?;
        while !decided.unanswered.is_empty() {
            let next = timeout_at(until, self.once_answered(record, &decided.unanswered)).await;
            let Ok(next) = next else { break };
            decided = next?;
        }
        Ok(Some(decided))
    }

    /// What an event has come to when all of these have answered; or sooner, where that is nothing to wait for any more.
    async fn once_answered(
        &self,
        record: Offset,
        unanswered: &[Unanswered],
    ) -> Result<Decided, DeskError> {
        let awaited = &self.trying.awaited;
        let waits: Vec<_> = unanswered.iter().map(|of| (of, awaited.wait(&of.action))).collect();
        // What came before anybody waited is in the log by now.
        let end = *self.log.end().borrow();
        self.projection.wait_for(end).await;
        let by_now = self.came_to(record).await?;
        for (of, wait) in waits {
            if !by_now.unanswered.contains(of) {
                continue;
            }
            wait.ended().await;
        }
        if by_now.unanswered.is_empty() {
            return Ok(by_now);
        }
        let end = *self.log.end().borrow();
        self.projection.wait_for(end).await;
        self.came_to(record).await
    }

    /// The rules with a decision that could not be judged because of an event, or of a model's answer to it; none that is stopped.
    pub(crate) async fn unjudged(&self, record: Offset) -> Result<Vec<Unjudged>, DeskError> {
        let lately = &self.projection.lately;
        let records = match lately.is_nothing(record) {
            true => vec![record],
            false => self.read(move |db| rules::with_answers(db, record)).await?,
        };
        let mut found = lately.unjudged.of_events(&records);
        if !found.is_empty() {
            let stopped = self.stopped_rules().await?;
            found.retain(|of| !stopped.iter().any(|it| it.is_of(&of.rule)));
        }
        Ok(found)
    }

    /// What an event has come to by now.
    async fn came_to(&self, record: Offset) -> Result<Decided, DeskError> {
        let mut came = self.read(move |db| rules::came_to(db, record, FIRINGS)).await?;
        for fired in &mut came.fired {
            // One from before decisions were noted has that of its rule as it is now.
            let of_rule = || self.rules.decision_of(&fired.rule).map(str::to_owned);
            fired.decision = fired.decision.take().or_else(of_rule);
        }
        let CameTo { mut fired, heard, unanswered } = came;
        if unanswered.is_empty() && fired.iter().all(|fired| fired.decision.is_none()) {
            return Ok(Decided { fired, heard, ..Decided::default() });
        }
        let switches = self.switches().await?;
        let (unasked, unanswered) =
            unanswered.into_iter().partition(|of| switches.is_stopped(&of.rule));
        self.read(move |db| {
            undecided(db, &switches, &mut fired)?;
            Ok(Decided { fired, heard, unanswered, unasked })
        })
        .await
    }

    /// Whether events are folded. Not after what does it has failed: then nothing is decided before a restart.
    pub(crate) fn is_folding(&self) -> bool {
        self.projection.is_running()
    }

    /// Whether another state is made from the log, as after rules have changed.
    pub(crate) fn is_rebuilding(&self) -> bool {
        self.projection.rebuild.borrow().is_some()
    }

    /// Which models have not answered by the deadline, and why not, as far as that is known.
    pub(crate) fn unanswered(&self, decided: &Decided, deadline_ms: u64) -> Option<String> {
        let all = decided.unanswered.iter().map(|of| {
            let tried = self.trying.of(&of.action).unwrap_or_default();
            match tried.waits.map(str::to_owned).or(tried.error) {
                Some(why) => format!("{} ({why})", of.in_words()),
                None => of.in_words(),
            }
        });
        let late: Vec<_> = all.collect();
        let unasked: Vec<_> = decided.unasked.iter().map(Unanswered::in_words).collect();
        let said = [
            (format!("a model had not answered after {deadline_ms} ms"), late),
            ("a model is not asked, since its rule is stopped".to_owned(), unasked),
        ];
        let said = said.into_iter().filter(|(_, of)| !of.is_empty());
        let said: Vec<_> = said.map(|(why, of)| format!("{why}: {}", of.join(", "))).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// What a firing decides, and its rule: of those that do something, and whose rule nobody has stopped.
    pub(crate) fn decision<'a>(&self, fired: &'a [Fired]) -> Option<(&'a str, String)> {
        let mut deciding = fired.iter().filter(|fired| fired.undecided.is_none());
        deciding.find_map(|fired| Some((fired.decision.as_deref()?, fired.rule.clone())))
    }
}
