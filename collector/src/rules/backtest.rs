//! Old rules and new ones over what is stored: who would have been reached, and who not any more.
//! Promises to send nothing and to change nothing; may run beside a server. Deliberately keeps its state in a temporary database.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
};

use serde::Serialize;

use super::{set::RuleSet, trial::Trial};
use crate::{
    event_log::{Check, ReadError, ReadOnly, Snapshot, Timestamp},
    people,
};

/// Records read at a time.
const CHUNK: usize = 1024;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The log cannot be read.
    #[error("the event log cannot be read: {0}")]
    Log(#[from] io::Error),
    /// There is no room for the state, or no memory.
    #[error("the temporary database cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
}

/// What is different.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compared {
    /// Events that were gone through.
    pub events: u64,
    /// By rule: firings of the old rules and of the new ones, within the time that was asked for.
    pub rules: BTreeMap<String, (u64, u64)>,
    /// Firings of the new rules alone: rule, who, when.
    pub only_new: Vec<(String, String, String)>,
    /// Firings of the old rules alone.
    pub only_old: Vec<(String, String, String)>,
    /// Stretches of the log that could not be read.
    pub unreadable: u64,
}

/// Goes through the log of a data folder with both; `told` hears how many events are done.
pub fn backtest(
    data: &Path,
    (old, new): (Arc<RuleSet>, Arc<RuleSet>),
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    mut told: impl FnMut(u64),
) -> Result<Compared, BacktestError> {
    let snapshot = Arc::new(Snapshot::take(Arc::new(ReadOnly), &data.join("log"), Check::Headers)?);
    let trial = |set| Trial::over(set, people::Limits::default(), Arc::clone(&snapshot));
    let (mut old, mut new) = (trial(old)?, trial(new)?);
    let (mut compared, mut reader) = (Compared::default(), snapshot.reader(None));
    let mut last = None;
    'log: loop {
        let records = match reader.next_chunk(CHUNK) {
            Ok(records) if records.is_empty() => break,
            Ok(records) => records,
            Err(ReadError::Io(error)) => return Err(error.into()),
            Err(ReadError::Damaged { .. }) => {
                compared.unreadable += 1;
                continue;
            }
        };
        for record in records {
            if to.is_some_and(|to| record.received_at > to) {
                break 'log;
            }
            last = Some(record.received_at);
            old.record(&record)?;
            new.record(&record)?;
            compared.events += 1;
        }
        told(compared.events);
    }
    if let Some(end) = to.or(last) {
        old.pass(end.unix_ms())?;
        new.pass(end.unix_ms())?;
    }
    // By the identifier that every log has them under: who is who is the same for both.
    let all = |trial: &Trial| -> rusqlite::Result<BTreeSet<(String, String, String)>> {
        let from = from.map(|from| from.to_string()).unwrap_or_default();
        let fired = trial.fired()?.into_iter().filter(|fired| fired.at >= from);
        let who = |fired: &super::Fired| match &fired.account {
            Some(account) => format!("{account} ({})", fired.name),
            None => format!("{} ({})", fired.person, fired.name),
        };
        Ok(fired.map(|fired| (fired.rule.clone(), who(&fired), fired.at)).collect())
    };
    let (old, new) = (all(&old)?, all(&new)?);
    for (rule, ..) in &old {
        compared.rules.entry(rule.clone()).or_default().0 += 1;
    }
    for (rule, ..) in &new {
        compared.rules.entry(rule.clone()).or_default().1 += 1;
    }
    compared.only_new = new.difference(&old).cloned().collect();
    compared.only_old = old.difference(&new).cloned().collect();
    Ok(compared)
}
