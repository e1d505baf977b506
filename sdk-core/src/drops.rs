//! Numbers that will never be delivered, until the collector has been told of them. Promises few ranges, in order, and a
//! bound; knows nothing of why anything was dropped or when it is told.

use alloc::vec::Vec;

use crate::config::MAX_DROPPED_RANGES;
use crate::platform::{DropReason, Dropped};

/// The ranges not yet told, in ascending order; neighbours of one reason are one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drops {
    ranges: Vec<Dropped>,
}

impl Drops {
    /// Adds one number.
    pub(crate) fn add(&mut self, seq: u64, reason: DropReason) {
        self.add_range(Dropped { first: seq, last: seq, reason });
    }

    /// Adds a range that overlaps none of the others.
    pub(crate) fn add_range(&mut self, range: Dropped) {
        let mut at = self.ranges.partition_point(|other| other.first < range.first);
        self.ranges.insert(at, range);
        if at > 0 && touch(self.ranges[at - 1], self.ranges[at]) {
            at -= 1;
            self.ranges[at].last = self.ranges.remove(at + 1).last;
        }
        if at + 1 < self.ranges.len() && touch(self.ranges[at], self.ranges[at + 1]) {
            self.ranges[at].last = self.ranges.remove(at + 1).last;
        }
        if self.ranges.len() > MAX_DROPPED_RANGES {
            self.ranges.remove(0);
        }
    }

    /// Adds a range that lies behind all others.
    pub(crate) fn push(&mut self, range: Dropped) {
        self.ranges.push(range);
    }

    /// All of them.
    pub(crate) fn ranges(&self) -> &[Dropped] {
        &self.ranges
    }

    /// The first few, to be told with one event.
    pub(crate) fn to_tell(&self) -> Vec<Dropped> {
        self.ranges.iter().take(MAX_TOLD_AT_ONCE).copied().collect()
    }

    /// Takes out what the collector has been told. A range that has grown since keeps its new parts.
    pub(crate) fn told(&mut self, told: &[Dropped]) {
        for part in told {
            let overlapping = |range: &Dropped| {
                range.reason == part.reason && range.first <= part.last && range.last >= part.first
            };
            let Some(at) = self.ranges.iter().position(overlapping) else { continue };
            let range = self.ranges.remove(at);
            if range.last > part.last {
                self.ranges.insert(at, Dropped { first: part.last + 1, ..range });
            }
            if range.first < part.first {
                self.ranges.insert(at, Dropped { last: part.first - 1, ..range });
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.ranges.clear();
    }
}

fn touch(before: Dropped, after: Dropped) -> bool {
    before.reason == after.reason && before.last + 1 == after.first
}

/// Ranges told with one event: 64 of at most 50 bytes stay below a tenth of an event's limit.
const MAX_TOLD_AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use DropReason::{QueueFull, Refused};

    fn range(first: u64, last: u64, reason: DropReason) -> Dropped {
        Dropped { first, last, reason }
    }

    #[test]
    fn neighbours_of_one_reason_are_one_range() {
        let mut drops = Drops::default();
        for seq in [1, 2, 3, 5] {
            drops.add(seq, QueueFull);
        }
        drops.add(6, Refused);
        assert_eq!(
            drops.ranges(),
            [range(1, 3, QueueFull), range(5, 5, QueueFull), range(6, 6, Refused)]
        );
    }

    #[test]
    fn a_hole_that_is_filled_joins_its_neighbours() {
        let mut drops = Drops::default();
        for seq in [9, 1, 3, 7, 2, 8] {
            drops.add(seq, QueueFull);
        }
        assert_eq!(drops.ranges(), [range(1, 3, QueueFull), range(7, 9, QueueFull)]);
    }

    #[test]
    fn what_was_added_while_telling_stays() {
        let mut drops = Drops::default();
        drops.add_range(range(3, 5, QueueFull));
        let told = drops.to_tell();
        for (seq, reason) in [(6, QueueFull), (2, QueueFull), (9, Refused)] {
            drops.add(seq, reason);
        }
        drops.told(&told);
        assert_eq!(
            drops.ranges(),
            [range(2, 2, QueueFull), range(6, 6, QueueFull), range(9, 9, Refused)]
        );
        drops.told(&[range(1, 20, QueueFull), range(9, 9, Refused)]);
        assert_eq!(drops.ranges(), [range(6, 6, QueueFull)], "one part takes from one range");
    }

    #[test]
    fn is_bounded_and_gives_up_the_oldest() {
        let mut drops = Drops::default();
        for hole in 0..=MAX_DROPPED_RANGES as u64 {
            drops.add(hole * 2, QueueFull);
        }
        assert_eq!(drops.ranges().len(), MAX_DROPPED_RANGES);
        assert_eq!(drops.ranges()[0].first, 2);
        assert_eq!(drops.to_tell().len(), MAX_TOLD_AT_ONCE);
    }
}
