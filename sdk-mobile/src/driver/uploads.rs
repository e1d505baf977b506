//! What the host was given to send, and its answers that come late, or after the process that asked. Promises that a receipt counts whenever
//! it comes, and that nothing is sent again that the host may still be sending. Knows nothing of requests under way: the leader has those.

use std::collections::BTreeSet;

use headwater_core::platform::{Listed, Now, Outcome};

use super::{
    Settings,
    leader::{Leader, Place},
    parts::Parts,
};
use crate::{
    Report,
    storage::{Change, Given},
    transport,
};

/// Rows that the host has, as far as its time is not over. What is too old is forgotten.
pub(super) fn rows(parts: &mut Parts, settings: &Settings, now: Now) -> BTreeSet<i64> {
    let mut rows = BTreeSet::new();
    let patience_ms = settings.core.request_timeout_ms.saturating_add(GRACE_MS);
    for Given { id, at_ms, rows: given } in parts.storage.uploads().unwrap_or_default() {
        // Of tomorrow: the clock was set back, and says nothing any more.
        if now.unix_ms.abs_diff(at_ms) > patience_ms {
            drop(parts.write(&[Change::Uploaded(id)]));
        } else {
            rows.extend(given);
        }
    }
    rows
}

/// The rows of a request that this life did not make.
pub(super) fn given(parts: &Parts, id: u64) -> Option<Vec<i64>> {
    let uploads = parts.storage.uploads().ok()?;
    uploads.into_iter().find(|given| given.id == id).map(|given| given.rows)
}

/// Deletes what a receipt is about, and tells what it refuses.
pub(super) fn settle(id: u64, rows: &[i64], listed: &[Listed], parts: &mut Parts) -> bool {
    for line in listed.iter().filter(|line| line.outcome == Outcome::Refused) {
        let text = rows.get(line.index as usize).and_then(|row| parts.storage.text(*row).ok()?);
        if let Some(message_id) = text.as_deref().and_then(transport::message_id) {
            let message_id = Some(message_id.to_owned());
            parts.tell(Report::Dropped { message_id, reason: "refused".into() });
        }
    }
    let mut changes: Vec<_> = rows.iter().map(|row| Change::Remove(*row)).collect();
    changes.push(Change::Uploaded(id));
    let written = parts.write(&changes).is_ok();
    parts.stored = parts.storage.count().unwrap_or(parts.stored);
    written
}

impl Leader {
    /// A receipt for events that the core does not wait for, or not any more.
    pub(super) fn answered_for(
        &mut self,
        id: u64,
        rows: &[i64],
        listed: &[Listed],
        parts: &mut Parts,
    ) {
        let late: BTreeSet<i64> = rows.iter().copied().filter(|row| *row != 0).collect();
        let still_here = |place: &Place| matches!(place, Place::Row(row) if late.contains(row));
        let held = self.held.values().any(|holding| still_here(&holding.place));
        if !held && late.is_disjoint(&self.elsewhere) {
            return;
        }
        // Where storage refuses, they go again.
        if !settle(id, rows, listed, parts) {
            return;
        }
        for holding in self.held.values_mut().filter(|holding| still_here(&holding.place)) {
            holding.place = Place::Answered;
            // As something that nobody waits for.
            holding.stamp = None;
        }
        self.elsewhere.retain(|row| !late.contains(row));
    }

    /// What the host has not delivered, or had too long, may go now.
    pub(super) fn look_at_uploads(&mut self, parts: &mut Parts, settings: &Settings, now: Now) {
        if self.elsewhere.is_empty() {
            return;
        }
        let still = rows(parts, settings, now);
        if self.elsewhere.iter().any(|row| !still.contains(row)) {
            self.elsewhere.retain(|row| still.contains(row));
            self.look_from_the_start();
        }
    }
}

/// How much longer than its time a request of an earlier process is waited for, milliseconds: as long as the core waits.
const GRACE_MS: u64 = 5_000;
