//! What of the stored records is known to be unreadable, whoever came upon it: recovery, a reader, upkeep.
//! Promises that each range is said once, however often it is met, and that what retention let go of counts no more.
//! Knows nothing of what is wrong with it: the doctor does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::fold::Damage;
use super::record::Offset;

/// Ranges of records that cannot be read, as far as anyone has looked.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The first of each range, and its last. They neither overlap nor touch.
    ranges: Mutex<BTreeMap<u64, u64>>,
    aloud: bool,
}

/// Ranges that are told apart. 65,536: some 3 MB; a log with more holes has long been given up.
const MOST_RANGES: usize = 1 << 16;

impl Known {
    /// Nothing yet; and what is news is said in the log. Else whoever asks is told by other means.
    pub(super) fn aloud() -> Self {
        Self { aloud: true, ..Self::default() }
    }

    /// Somebody has met records that cannot be read.
    pub(super) fn met(&self, (first, last): (Offset, Offset), what: &dyn fmt::Display) {
        if self.add(first.0, last.0) && self.aloud {
            tracing::error!(
                "stored events cannot be read: {what}; restore them from a backup, and see `headwater doctor`"
            );
        }
    }

    /// As [`Known::met`], for what a fold has found.
    pub(super) fn found(&self, damaged: &[Damage]) {
        for damage in damaged {
            self.met(damage.offsets, damage);
        }
    }

    /// Notes a range; whether any of it is news.
    fn add(&self, first: u64, last: u64) -> bool {
        let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        let around = ranges.range(..=first).next_back();
        if around.is_some_and(|(_, known)| *known >= last) {
            return false;
        }
        if ranges.len() >= MOST_RANGES {
            return true;
        }
        let (mut from, mut to) = (first, last);
        // Readers come upon parts of the same damage, each from where it stood.
        while let Some((&start, &end)) = ranges.range(..=to.saturating_add(1)).next_back() {
            if end.saturating_add(1) < from {
                break;
            }
            ranges.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        ranges.insert(from, to);
        true
    }

    /// How many ranges, and how many records in them, of a log that begins at `begin`.
    pub(super) fn totals(&self, begin: u64) -> (u64, u64) {
        let ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        let left = ranges.iter().filter(|(_, last)| **last >= begin);
        left.fold((0, 0), |(count, records), (first, last)| {
            (count + 1, records + (last - begin.max(*first) + 1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_counted_once_and_grow_together() {
        let known = Known::default();
        assert_eq!(known.totals(1), (0, 0));
        assert!(known.add(10, 19));
        assert!(!known.add(10, 19) && !known.add(12, 15), "known already");
        assert!(known.add(40, 49) && known.add(30, 34));
        assert_eq!(known.totals(1), (3, 25));
        assert!(known.add(15, 24), "a part is news");
        assert_eq!(known.totals(1), (3, 30));
        assert!(known.add(25, 29), "touches one on each side");
        assert_eq!(known.totals(1), (2, 35));
        assert!(known.add(1, 100));
        assert_eq!(known.totals(1), (1, 100));
        assert_eq!(
            (known.totals(91), known.totals(101)),
            ((1, 10), (0, 0)),
            "what is gone is no damage"
        );
    }

    #[test]
    fn a_log_full_of_holes_stays_within_its_memory() {
        let known = Known::default();
        for n in 0..MOST_RANGES as u64 + 10 {
            assert!(known.add(n * 2, n * 2));
        }
        assert_eq!(known.totals(0).0, MOST_RANGES as u64);
    }
}
