//! What is known of each device's queue: the sequence numbers that arrived or were reported dropped, and so the gaps.
//! Promises: a pure fold over what the log holds, the same after a restart; 24 bytes for a queue without gaps (some 40 with
//! the map's spare room); no single event can cost more than a queue's or a gap's worth.
//! Knows nothing of events: a queue is a hash, its source a name.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use super::record::SourceName;

/// A map whose keys are hashes already.
pub(super) type HashedMap<K, V> = HashMap<K, V, BuildHasherDefault<AlreadyHashed>>;

/// Mixes in whole words with one multiplication each: what is hashed came out of keyed SipHash, or stands beside something
/// that did.
#[derive(Default)]
pub(super) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            self.write_u64(u64::from_le_bytes(padded));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(23) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Jumps farther than this are not believed: no device holds so many unsent events. Such a number is not tracked; the event
/// is still stored, and deduplicated by its id.
const FARTHEST_JUMP: u64 = 1 << 24;
/// Open gaps of one queue; the keepalive sends of a page make one or two. Numbers that would open more are not tracked.
const MOST_GAPS: usize = 256;
/// Open gaps of all queues together: 16 MiB. An honest device opens one now and then; who forges queues opens as many as it likes.
const MOST_GAPS_IN_ALL: u64 = 1 << 20;
/// Growing a map moves all of it; in 1,024 parts that takes well below a millisecond with ten million queues.
const SHARDS: usize = 1024;

/// The sequences of one source's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceSequences {
    /// Gaps open now: runs of numbers that neither came nor were reported dropped, below one that came.
    pub open_gaps: u64,
    /// Numbers in those gaps: events missing.
    pub missing: u64,
    /// Numbers that queues reported dropped and that had not come.
    pub dropped: u64,
    /// Numbers that were not tracked: see [`super::Stats::queues`].
    pub untracked: u64,
}

/// All queues.
pub(super) struct Queues {
    shards: Vec<HashedMap<u64, Queue>>,
    sources: BTreeMap<SourceName, SourceSequences>,
    len: u64,
    cap: u64,
    open_gaps: u64,
    most_gaps: u64,
}

/// Numbers up to the first gap, and, boxed because rare, what lies above it.
enum Queue {
    /// All of 1..=n.
    Whole(u64),
    Gaps(Box<Gaps>),
}

struct Gaps {
    highest: u64,
    /// Inclusive ranges below `highest`, ascending, never touching each other; never empty.
    missing: Vec<(u64, u64)>,
}

/// Why numbers are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Arrived,
    Dropped,
}

impl Queues {
    /// None yet; at most `cap` queues will be tracked.
    pub(super) fn new(cap: u64) -> Self {
        let shards = (0..SHARDS).map(|_| HashedMap::default()).collect();
        let (sources, len, open_gaps) = (BTreeMap::new(), 0, 0);
        Self { shards, sources, len, cap, open_gaps, most_gaps: MOST_GAPS_IN_ALL }
    }

    /// Whether all of these numbers arrived or were reported dropped.
    pub(super) fn is_settled(&self, queue: u64, first: u64, last: u64) -> bool {
        match self.shards[shard(queue)].get(&queue) {
            None => false,
            Some(Queue::Whole(to)) => last <= *to,
            Some(Queue::Gaps(gaps)) => {
                last <= gaps.highest
                    && !gaps.missing.iter().any(|&(from, to)| from <= last && first <= to)
            }
        }
    }

    /// Notes that these numbers of a queue came, or will never come.
    pub(super) fn settle(
        &mut self,
        queue: u64,
        source: &SourceName,
        (first, last): (u64, u64),
        how: Settled,
    ) {
        if !self.sources.contains_key(source) {
            self.sources.insert(source.clone(), SourceSequences::default());
        }
        let Some(counts) = self.sources.get_mut(source) else { return };
        let untracked = (last - first).saturating_add(1);
        let map = &mut self.shards[shard(queue)];
        if !map.contains_key(&queue) && self.len >= self.cap {
            counts.untracked = counts.untracked.saturating_add(untracked);
            return;
        }
        let entry = map.entry(queue).or_insert_with(|| {
            self.len += 1;
            Queue::Whole(0)
        });
        let (gaps, missing) = entry.open();
        match entry.settle(first, last, self.open_gaps < self.most_gaps) {
            Some(newly) if how == Settled::Dropped => {
                counts.dropped = counts.dropped.saturating_add(newly);
            }
            Some(_) => {}
            None => counts.untracked = counts.untracked.saturating_add(untracked),
        }
        let (gaps_now, missing_now) = entry.open();
        counts.open_gaps = counts.open_gaps + gaps_now - gaps;
        self.open_gaps = self.open_gaps + gaps_now - gaps;
        counts.missing = counts.missing + missing_now - missing;
    }

    /// By source, in the order of their names.
    pub(super) fn sources(&self) -> &BTreeMap<SourceName, SourceSequences> {
        &self.sources
    }

    /// Each queue's key, its highest number, and the gaps below that, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64, &[(u64, u64)])> {
        self.shards.iter().flatten().map(|(key, queue)| match queue {
            Queue::Whole(to) => (*key, *to, [].as_slice()),
            Queue::Gaps(gaps) => (*key, gaps.highest, gaps.missing.as_slice()),
        })
    }

    /// Puts back what [`Queues::iter`] gave; `None` if no queue is like that, or it is there already.
    pub(super) fn restore(
        &mut self,
        key: u64,
        highest: u64,
        missing: Vec<(u64, u64)>,
    ) -> Option<()> {
        let mut least = 1;
        for &(from, to) in &missing {
            if from < least || to < from || to >= highest {
                return None;
            }
            // Gaps never touch.
            least = to.checked_add(2)?;
        }
        self.open_gaps += missing.len() as u64;
        let queue = match missing.is_empty() {
            true => Queue::Whole(highest),
            false => Queue::Gaps(Box::new(Gaps { highest, missing })),
        };
        self.len += 1;
        self.shards[shard(key)].insert(key, queue).is_none().then_some(())
    }

    /// Puts back a source's counts.
    pub(super) fn restore_source(&mut self, source: SourceName, counts: SourceSequences) {
        self.sources.insert(source, counts);
    }

    /// How many queues are tracked.
    pub(super) fn len(&self) -> u64 {
        self.len
    }
}

fn shard(queue: u64) -> usize {
    // Not the bits by which the map itself tells keys apart first (the lowest and the highest seven).
    usize::from((queue >> 40).to_le_bytes()[0])
        | usize::from((queue >> 48).to_le_bytes()[0] & 3) << 8
}

impl Queue {
    /// Open gaps, and the numbers missing in them.
    fn open(&self) -> (u64, u64) {
        match self {
            Queue::Whole(_) => (0, 0),
            Queue::Gaps(gaps) => (
                gaps.missing.len() as u64,
                gaps.missing.iter().map(|(from, to)| to - from + 1).sum(),
            ),
        }
    }

    /// How many of the numbers were new; `None` if they are not tracked.
    fn settle(&mut self, first: u64, last: u64, may_open: bool) -> Option<u64> {
        match self {
            Queue::Whole(to) if first <= to.saturating_add(1) => {
                if last.saturating_sub(*to) > FARTHEST_JUMP {
                    return None;
                }
                let newly = last.saturating_sub(*to);
                *to = last.max(*to);
                Some(newly)
            }
            Queue::Whole(to) => {
                let mut gaps = Box::new(Gaps { highest: *to, missing: Vec::with_capacity(1) });
                let newly = gaps.settle(first, last, may_open)?;
                *self = Queue::Gaps(gaps);
                Some(newly)
            }
            Queue::Gaps(gaps) => {
                let newly = gaps.settle(first, last, may_open)?;
                if gaps.missing.is_empty() {
                    *self = Queue::Whole(gaps.highest);
                }
                Some(newly)
            }
        }
    }
}

impl Gaps {
    fn settle(&mut self, first: u64, last: u64, may_open: bool) -> Option<u64> {
        let beyond = last.saturating_sub(self.highest);
        let opens = first > self.highest.saturating_add(1);
        // Cutting a hole into the middle of a gap makes two of it.
        let splits = self.missing.iter().any(|&(from, to)| from < first && last < to);
        let may_open = may_open && self.missing.len() < MOST_GAPS;
        if beyond > FARTHEST_JUMP || (opens || splits) && !may_open {
            return None;
        }
        let mut newly = beyond;
        if opens {
            newly = last - first + 1;
            self.missing.push((self.highest + 1, first - 1));
        }
        self.highest = self.highest.max(last);
        let touched = self.missing.partition_point(|&(_, to)| to < first);
        let until = self.missing.partition_point(|&(from, _)| from <= last);
        if touched < until {
            let mut left = Vec::with_capacity(2);
            for &(from, to) in &self.missing[touched..until] {
                newly += to.min(last) - from.max(first) + 1;
                if from < first {
                    left.push((from, first - 1));
                }
                if last < to {
                    left.push((last + 1, to));
                }
            }
            self.missing.splice(touched..until, left);
        }
        Some(newly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn web() -> SourceName {
        "web".parse().unwrap()
    }

    fn counts(queues: &Queues) -> (u64, u64, u64, u64) {
        let c = queues.sources()[&web()];
        (c.open_gaps, c.missing, c.dropped, c.untracked)
    }

    fn arrive(queues: &mut Queues, queue: u64, seq: u64) {
        queues.settle(queue, &web(), (seq, seq), Settled::Arrived);
    }

    #[test]
    fn a_gap_opens_fills_late_and_is_explained_by_a_report() {
        let mut queues = Queues::new(10);
        arrive(&mut queues, 1, 1);
        arrive(&mut queues, 1, 5);
        assert_eq!(counts(&queues), (1, 3, 0, 0));
        arrive(&mut queues, 1, 3);
        assert_eq!(counts(&queues), (2, 2, 0, 0));
        assert!(queues.is_settled(1, 3, 3) && !queues.is_settled(1, 2, 3));
        queues.settle(1, &web(), (2, 5), Settled::Dropped);
        assert_eq!(counts(&queues), (0, 0, 2, 0));
        assert!(queues.is_settled(1, 1, 5) && !queues.is_settled(1, 6, 6));
    }

    #[test]
    fn an_absurd_number_is_not_tracked_and_costs_nothing() {
        let mut queues = Queues::new(10);
        arrive(&mut queues, 1, u64::MAX);
        arrive(&mut queues, 1, 2);
        arrive(&mut queues, 1, u64::MAX - 1);
        queues.settle(1, &web(), (1, u64::MAX), Settled::Dropped);
        assert_eq!(queues.sources()[&web()].missing, 1);
        assert!(!queues.is_settled(1, u64::MAX, u64::MAX));
        arrive(&mut queues, 1, 1);
        assert_eq!(counts(&queues).0, 0);
    }

    #[test]
    fn the_number_of_gaps_and_of_queues_is_bounded() {
        let mut queues = Queues::new(2);
        (1..2000).for_each(|n| arrive(&mut queues, 1, n * 2));
        assert_eq!(counts(&queues).0, MOST_GAPS as u64);
        assert!(!queues.is_settled(1, 3000, 3000), "untracked, so never taken for a duplicate");
        arrive(&mut queues, 2, 1);
        arrive(&mut queues, 3, 1);
        assert_eq!(queues.len(), 2);
        assert!(!queues.is_settled(3, 1, 1));
    }

    #[test]
    fn the_gaps_of_all_queues_together_are_bounded() {
        let mut queues = Queues { most_gaps: 100, ..Queues::new(1000) };
        for queue in 0..200 {
            arrive(&mut queues, queue, 2);
        }
        assert_eq!((counts(&queues).0, counts(&queues).3), (100, 100));
        // One that closes makes room for another, and what is known survives.
        arrive(&mut queues, 0, 1);
        arrive(&mut queues, 150, 2);
        assert_eq!((counts(&queues).0, counts(&queues).3), (100, 100));
        assert!(queues.is_settled(150, 2, 2) && !queues.is_settled(151, 2, 2));
        let mut again = Queues::new(1000);
        for (key, highest, missing) in queues.iter() {
            again.restore(key, highest, missing.to_vec()).unwrap();
        }
        assert_eq!(again.open_gaps, 100);
    }

    #[test]
    fn agrees_with_a_set_of_numbers() {
        for seed in 1..300u64 {
            let mut random = seed;
            let mut next = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % below
            };
            let (mut queues, mut set) = (Queues::new(10), BTreeSet::new());
            let mut dropped = 0;
            for _ in 0..60 {
                let first = 1 + next(60);
                let last = first + next(2) * next(10);
                let how = if next(2) == 0 { Settled::Arrived } else { Settled::Dropped };
                assert_eq!(
                    queues.is_settled(9, first, last),
                    (first..=last).all(|n| set.contains(&n)),
                    "seed {seed}"
                );
                queues.settle(9, &web(), (first, last), how);
                let newly = (first..=last).filter(|&n| set.insert(n)).count() as u64;
                dropped += if how == Settled::Dropped { newly } else { 0 };
                let highest = *set.last().unwrap();
                let missing: Vec<u64> = (1..highest).filter(|n| !set.contains(n)).collect();
                let gaps = missing.iter().filter(|&&n| set.contains(&(n + 1))).count() as u64;
                assert_eq!(
                    counts(&queues),
                    (gaps, missing.len() as u64, dropped, 0),
                    "seed {seed}"
                );
            }
        }
    }
}
