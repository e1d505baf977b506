//! Numbers that will never be delivered, until the collector has been told of them. Promises few ranges, in order, and a
//! bound; knows nothing of why anything was dropped or when it is told.

use alloc::vec::Vec;

use crate::config::MAX_DROPPED_RANGES;
use crate::platform::{DropReason, Dropped};

/// The ranges not yet told, in the order in which they were given up; neighbours of one reason are one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drops {
    ranges: Vec<Dropped>,
}

impl Drops {
    /// Adds one number.
    pub(crate) fn add(&mut self, seq: u64, reason: DropReason) {
        self.add_range(Dropped { first: seq, last: seq, reason });
    }

    /// Adds a range.
    pub(crate) fn add_range(&mut self, range: Dropped) {
        // Only the latest can be a neighbour in practice: what is given up together is given up in order.
        if let Some(latest) = self.ranges.last_mut()
            && latest.reason == range.reason
            && latest.last.checked_add(1) == Some(range.first)
        {
            latest.last = range.last;
            return;
        }
        if self.ranges.len() == MAX_DROPPED_RANGES {
            self.ranges.remove(0);
        }
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

    /// Takes out what the collector has been told. A range that has grown since keeps its new part.
    pub(crate) fn told(&mut self, told: &[Dropped]) {
        self.ranges.retain_mut(|range| {
            for part in told {
                if range.reason == part.reason && range.first == part.first {
                    if range.last <= part.last {
                        return false;
                    }
                    range.first = part.last + 1;
                }
            }
            true
        });
    }

    pub(crate) fn clear(&mut self) {
        self.ranges.clear();
    }
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
    fn what_was_added_while_telling_stays() {
        let mut drops = Drops::default();
        drops.add_range(range(1, 3, QueueFull));
        let told = drops.to_tell();
        drops.add(4, QueueFull);
        drops.add(9, Refused);
        drops.told(&told);
        assert_eq!(drops.ranges(), [range(4, 4, QueueFull), range(9, 9, Refused)]);
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
