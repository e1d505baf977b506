//! What firings decide, for who waits for it and for who reads of it later: one answer for both.
//! Promises that a firing with a decision that is not answered says why. Deliberately decides nothing itself.

use rusqlite::Connection;
use tokio::task::spawn_blocking;

use super::{Desk, DeskError};
use crate::{
    actions,
    event_log::Offset,
    rules::{self, Fired, Listed},
    state::Stopped,
};

/// Says of each firing with a decision why it decides nothing, if it does not: of several because of one event one decides.
pub(super) fn undecided(
    db: &Connection,
    stopped: &[Stopped],
    found: &mut [Fired],
) -> rusqlite::Result<()> {
    let is_stopped = |rule: &str| stopped.iter().any(|it| it.is_of(rule));
    for fired in found.iter_mut().filter(|fired| fired.decision.is_some()) {
        fired.undecided = match &fired.held {
            Some(held) => Some(format!("it is held: {held}")),
            None if is_stopped(&fired.rule) => Some(actions::STOPPED.to_owned()),
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

    /// Waits until the state has an event, then tells what it set off, and which of it decides nothing.
    pub(crate) async fn decided(&self, record: Offset) -> Result<Vec<Fired>, DeskError> {
        self.projection.wait_for(record).await;
        if self.projection.lately.is_nothing(record) {
            return Ok(Vec::new());
        }
        let wanted = Listed { record: Some(record), limit: 100, ..Listed::default() };
        let mut fired = self.read(move |db| rules::list(db, &wanted)).await?;
        for fired in &mut fired {
            // One from before decisions were noted has that of its rule as it is now.
            let of_rule = || self.rules.decision_of(&fired.rule).map(str::to_owned);
            fired.decision = fired.decision.take().or_else(of_rule);
        }
        if fired.iter().all(|fired| fired.decision.is_none()) {
            return Ok(fired);
        }
        let stopped = self.stopped_rules().await?;
        self.read(move |db| {
            undecided(db, &stopped, &mut fired)?;
            Ok(fired)
        })
        .await
    }

    /// What a firing decides, and its rule: of those that do something, and whose rule nobody has stopped.
    pub(crate) fn decision<'a>(&self, fired: &'a [Fired]) -> Option<(&'a str, String)> {
        let mut deciding = fired.iter().filter(|fired| fired.undecided.is_none());
        deciding.find_map(|fired| Some((fired.decision.as_deref()?, fired.rule.clone())))
    }
}
