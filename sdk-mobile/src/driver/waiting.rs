//! Events of a process that follows, while storage refuses them. Promises that they go to the disk in the order of their calls, and no more
//! of them are kept than of a leader's. Knows nothing of when storage is tried again.

use std::collections::VecDeque;

use super::parts::Parts;
use crate::{
    Report,
    storage::{Change, Failure, Record},
    transport,
};

#[derive(Default)]
pub(super) struct Waiting {
    records: VecDeque<Record>,
    bytes: u64,
}

impl Waiting {
    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// One more; the oldest go, and are told, where there is no room.
    pub(super) fn push(&mut self, record: Record, parts: &mut Parts) {
        self.bytes += u64::from(record.entry.bytes);
        self.records.push_back(record);
        while self.records.len() > parts.window || self.bytes > parts.window_bytes {
            let Some(oldest) = self.records.pop_front() else { return };
            self.bytes -= u64::from(oldest.entry.bytes);
            let message_id = transport::message_id(&oldest.text).map(str::to_owned);
            parts.tell(Report::Dropped { message_id, reason: "queue_full".into() });
        }
    }

    /// Keeps nothing of these categories, a bit for each.
    pub(super) fn deny(&mut self, denied: u8) {
        self.records.retain(|record| !record.entry.is_in(denied));
        self.bytes = self.records.iter().map(|record| u64::from(record.entry.bytes)).sum();
    }

    /// All of them into storage, in one transaction.
    pub(super) fn write(&mut self, parts: &mut Parts) -> Result<(), Failure> {
        if self.records.is_empty() {
            return Ok(());
        }
        let adding = self.records.iter().map(|Record { text, entry, stamp }| Change::Add {
            text,
            entry,
            stamp: *stamp,
        });
        parts.write(&adding.collect::<Vec<_>>())?;
        parts.stored += self.len();
        *self = Self::default();
        Ok(())
    }

    pub(super) fn into_records(self) -> impl Iterator<Item = Record> {
        self.records.into_iter()
    }
}
