//! Figures about the log, for metrics.
//! Promises: a consistent snapshot, as of the last commit.
//! Knows nothing of metric formats.

use std::collections::BTreeMap;
use std::time::Duration;

use super::dedup::{Conflicts, Memory};
use super::durations::Durations;
use super::queues::SourceSequences;
use super::record::{Offset, SourceName};
use super::writer::smoothed;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Records in the log.
    pub events: u64,
    /// Bytes in segment files, up to the last chunk of each.
    pub bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// The first record that the log has, or will have.
    pub first: Offset,
    /// Runs of records that are known to be unreadable: what the start found, and what readers and upkeep have met since.
    pub damaged_ranges: u64,
    /// Records in them.
    pub damaged_events: u64,
    /// Message ids remembered.
    pub ids: u64,
    /// Bytes of memory that they take.
    pub ids_bytes: u64,
    /// Repetitions of records before this one are not recognised by their ids any more: the reach of deduplication. Its
    /// `received_at` is the reach in time.
    pub ids_from: Offset,
    /// Device queues tracked.
    pub queues: u64,
    /// Gaps, drops and what was not tracked, by source. Numbers are not tracked if they jump too far (16 Mi), would open a
    /// queue's 257th gap, or belong to more queues than the options allow.
    pub sequences: BTreeMap<SourceName, SourceSequences>,
    /// Repetitions that did not repeat, since the start.
    pub conflicts: Conflicts,
    /// Commits that failed, and attempts at a new segment, since the start.
    pub failures: u64,
    /// Commits since the start.
    pub commits: u64,
    /// How long the last commit's write and fdatasync took.
    pub last_sync: Duration,
    /// The same, smoothed over about eight commits.
    pub mean_sync: Duration,
    /// Events in the last commit.
    pub last_group: u64,
    /// How long batches waited for the commit before theirs to end.
    pub waits: Durations,
    /// How long the commits' writes and fdatasyncs took.
    pub syncs: Durations,
}

impl Stats {
    pub(super) fn describe(&mut self, memory: &Memory, totals: (u64, u64, u64)) {
        self.ids = memory.ids.len();
        self.ids_bytes = memory.ids.bytes() as u64;
        self.ids_from = Offset(memory.ids.floor());
        self.measure(totals);
        self.queues = memory.queues.len();
        if self.sequences != *memory.queues.sources() {
            self.sequences.clone_from(memory.queues.sources());
        }
    }

    /// Segments, their bytes, the first record.
    pub(super) fn measure(&mut self, (segments, bytes, first): (u64, u64, u64)) {
        (self.segments, self.bytes, self.first) = (segments, bytes, Offset(first));
        // An id is confirmed against its record: where that is gone, it is not recognised.
        self.ids_from = self.ids_from.max(self.first);
    }

    pub(super) fn observe_sync(&mut self, took: Duration) {
        self.commits += 1;
        self.syncs.observe(took);
        self.last_sync = took;
        self.mean_sync = smoothed(self.mean_sync, took);
    }
}
