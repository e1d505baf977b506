//! Numbers that will never be delivered, until the collector has been told of them. Promises few ranges, in order, and a
//! bound; knows nothing of why anything was dropped or when it is told.

use alloc::vec::Vec;

use crate::config::MAX_DROPPED_RANGES;
use crate::platform::{DropReason, Dropped};

/// The ranges not yet told, the one that changed last at the end; neighbours of one reason are one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drops {
    ranges: Vec<Dropped>,
    /// How many of them, at the front, a request tells just now: until it is answered, they stay as they are.
    telling: usize,
}

impl Drops {
    /// Adds one number.
    pub(crate) fn add(&mut self, seq: u64, reason: DropReason) {
        self.add_range(Dropped { first: seq, last: seq, reason });
    }

    /// Adds a range that overlaps none of the others.
    pub(crate) fn add_range(&mut self, mut range: Dropped) {
        while let Some(at) = self.ranges.iter().skip(self.telling).position(|other| {
            other.reason == range.reason
                && (other.last + 1 == range.first || range.last + 1 == other.first)
        }) {
            let other = self.ranges.remove(self.telling + at);
            range.first = range.first.min(other.first);
            range.last = range.last.max(other.last);
        }
        self.ranges.push(range);
        if self.ranges.len() > MAX_DROPPED_RANGES {
            self.ranges.remove(self.telling);
        }
    }

    /// All of them.
    pub(crate) fn ranges(&self) -> &[Dropped] {
        &self.ranges
    }

    /// Whether there are any, and no request tells some of them already.
    pub(crate) fn can_tell(&self) -> bool {
        self.telling == 0 && !self.ranges.is_empty()
    }

    /// The first few, to be told with one event.
    pub(crate) fn tell(&mut self) -> Vec<Dropped> {
        self.telling = self.ranges.len().min(MAX_TOLD_AT_ONCE);
        self.ranges[..self.telling].to_vec()
    }

    /// The request that told some of them is over: they were heard, or are to be told again.
    pub(crate) fn told(&mut self, heard: bool) {
        while heard && self.telling > 0 {
            self.ranges.remove(0);
            self.telling -= 1;
        }
        self.telling = 0;
    }

    pub(crate) fn clear(&mut self) {
        self.ranges.clear();
        self.telling = 0;
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
    fn a_hole_that_is_filled_joins_its_neighbours() {
        let mut drops = Drops::default();
        for seq in [9, 1, 3, 7, 2, 8] {
            drops.add(seq, QueueFull);
        }
        assert_eq!(drops.ranges(), [range(1, 3, QueueFull), range(7, 9, QueueFull)]);
    }

    #[test]
    fn what_was_added_while_telling_stays() {
        for heard in [true, false] {
            let mut drops = Drops::default();
            assert!(!drops.can_tell());
            drops.add_range(range(3, 5, QueueFull));
            assert!(drops.can_tell());
            assert_eq!(drops.tell(), [range(3, 5, QueueFull)]);
            assert!(!drops.can_tell(), "one request tells");
            let added = [range(6, 6, QueueFull), range(2, 2, QueueFull), range(9, 9, Refused)];
            for range in added {
                drops.add_range(range);
            }
            drops.told(heard);
            assert!(drops.can_tell());
            let kept: &[_] = if heard { &[] } else { &[range(3, 5, QueueFull)] };
            assert_eq!(drops.ranges(), [kept, &added].concat());
            // What was not heard joins what comes to lie beside it.
            drops.add(7, QueueFull);
            let joined = if heard { range(6, 7, QueueFull) } else { range(2, 7, QueueFull) };
            assert_eq!(drops.ranges().last(), Some(&joined));
        }
    }

    #[test]
    fn is_bounded_and_gives_up_the_oldest_that_is_not_being_told() {
        let mut drops = Drops::default();
        let full = MAX_DROPPED_RANGES as u64;
        for hole in 0..=full {
            drops.add(hole * 2, QueueFull);
        }
        assert_eq!(drops.ranges().len(), MAX_DROPPED_RANGES);
        assert_eq!(drops.ranges()[0].first, 2);
        let told = drops.tell();
        assert_eq!(told.len(), MAX_TOLD_AT_ONCE);
        drops.add(full * 4, QueueFull);
        assert_eq!(drops.ranges().len(), MAX_DROPPED_RANGES);
        assert_eq!(drops.ranges()[..told.len()], told);
        drops.told(true);
        assert_eq!(drops.ranges().len(), MAX_DROPPED_RANGES - MAX_TOLD_AT_ONCE);
        assert_eq!(drops.ranges()[0].first, 2 + 2 * (MAX_TOLD_AT_ONCE as u64 + 1));
    }
}
