//! The index of unsent events: what each measures and how far it has come, in the order of their numbers.
//! Promises bounds and order, and says which event it gave up; holds no text and knows no storage, request or clock.

use crate::config::MAX_SEQ;
use crate::platform::{Entry, Request, Turn};
use alloc::vec::Vec;

/// How safe an event's number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// On its way to storage in this transaction.
    Storing(Turn),
    /// In storage with its number.
    Committed,
    /// Storage failed: the event lives in memory (or in storage without its number) and travels without it.
    Unnumbered,
    /// The person was asked, and has not answered: the event has no number yet, since others overtake it.
    Unanswered,
}

/// One event of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its measures.
    pub(crate) entry: Entry,
    /// Its number.
    pub(crate) seq: u64,
    /// How safe the number is.
    pub(crate) durability: Durability,
    /// The request that carries it now.
    pub(crate) in_flight: Option<Request>,
    /// Whether the collector may have seen it already: it was sent in this life, or comes from an earlier one.
    pub(crate) maybe_seen: bool,
    /// Whether it was sent as a page was left, so that the collector is asked before it is sent again.
    pub(crate) doubt: bool,
    /// Whether it was ever sent without its number.
    pub(crate) bare: bool,
}

impl Held {
    /// A new event whose number is being stored.
    pub(crate) fn storing(entry: Entry, seq: u64, turn: Turn) -> Self {
        Self {
            entry,
            seq,
            durability: Durability::Storing(turn),
            in_flight: None,
            maybe_seen: false,
            doubt: false,
            bare: false,
        }
    }

    /// An event whose category waits for an answer: behind all others, in the order of arrival.
    pub(crate) fn unanswered(entry: Entry) -> Self {
        let seq = MAX_SEQ | entry.key.0;
        Self { durability: Durability::Unanswered, ..Self::storing(entry, seq, Turn(0)) }
    }

    /// An event that was found in storage with its number.
    pub(crate) fn committed(entry: Entry, seq: u64) -> Self {
        Self {
            durability: Durability::Committed,
            maybe_seen: true,
            ..Self::storing(entry, seq, Turn(0))
        }
    }

    /// Whether it can go in a batch: its fate in storage is known, and no request carries it.
    pub(crate) fn ready(&self) -> bool {
        self.in_flight.is_none()
            && !matches!(self.durability, Durability::Storing(_) | Durability::Unanswered)
    }

    /// Whether its number is one that the collector waits for.
    pub(crate) fn is_numbered(&self) -> bool {
        !matches!(self.durability, Durability::Unnumbered | Durability::Unanswered)
    }
}

/// The index. In ascending order of `seq`, without repetition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// A vector although events leave at the front: moving the rest costs a page under a millisecond for a thousand events,
    /// where a `VecDeque`, which must serve every other order as well, costs it a kilobyte more to load. For the same reason
    /// nothing is counted on the way: a look at all of a full queue takes 10 microseconds.
    held: Vec<Held>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// All events, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.iter()
    }

    /// All events, in order, to change how far they have come.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.held.iter_mut()
    }

    /// Events that could go in a batch now, and the bytes of their texts.
    pub(crate) fn ready(&self) -> (u32, u64) {
        let mut ready = (0, 0);
        for held in self.ready_events() {
            ready = (ready.0 + 1, ready.1 + u64::from(held.entry.bytes));
        }
        ready
    }

    /// Those events, in order.
    pub(crate) fn ready_events(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(|held| held.ready())
    }

    /// All events that may be sent and that no request carries, also those whose commit is not confirmed yet, in order.
    pub(crate) fn not_in_flight(&self) -> impl Iterator<Item = &Held> {
        self.held
            .iter()
            .filter(|held| held.in_flight.is_none() && held.durability != Durability::Unanswered)
    }

    /// Puts an event in its place, unless the queue has one of that number.
    #[must_use]
    pub(crate) fn insert(&mut self, held: Held) -> bool {
        // Nearly always it is the last.
        let mut at = self.held.len();
        while let Some(before) = self.held[..at].last()
            && before.seq >= held.seq
        {
            if before.seq == held.seq {
                return false;
            }
            at -= 1;
        }
        self.held.insert(at, held);
        true
    }

    /// Takes an event out.
    pub(crate) fn remove(&mut self, seq: u64) -> Option<Held> {
        Some(self.held.remove(self.position(seq)?))
    }

    /// An event, to change how far it has come.
    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Held> {
        let at = self.position(seq)?;
        self.held.get_mut(at)
    }

    /// The event to give up when the queue is over a bound: the oldest of the least important that no request carries.
    pub(crate) fn least_important(&self, max_events: u32, max_bytes: u64) -> Option<u64> {
        let mut bytes = 0;
        let mut least: Option<&Held> = None;
        for held in &self.held {
            bytes += u64::from(held.entry.bytes);
            if held.in_flight.is_none()
                && least.is_none_or(|least| held.entry.priority < least.entry.priority)
            {
                least = Some(held);
            }
        }
        if self.len() <= max_events as usize && bytes <= max_bytes {
            return None;
        }
        least.map(|held| held.seq)
    }

    /// The first event that no request carries and that is older than `oldest_ms`.
    pub(crate) fn older_than(&self, oldest_ms: u64) -> Option<u64> {
        self.not_in_flight().find(|held| held.entry.at_ms < oldest_ms).map(|held| held.seq)
    }

    /// The first event that may not stay as it is with these answers (a bit for each category), and that no request carries.
    pub(crate) fn first_answered(&self, pending: u8, denied: u8) -> Option<u64> {
        let mut held = self.held.iter().filter(|held| held.in_flight.is_none());
        let found = held.find(|held| match held.durability {
            Durability::Unanswered => !held.entry.is_in(pending & !denied),
            _ => held.entry.is_in(pending | denied),
        });
        found.map(|held| held.seq)
    }

    /// Empties the queue.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
    }

    fn position(&self, seq: u64) -> Option<usize> {
        self.held.binary_search_by_key(&seq, |held| held.seq).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{Key, Priority};

    fn held(seq: u64, priority: Priority, bytes: u32) -> Held {
        Held::committed(
            Entry { key: Key(seq), bytes, priority, at_ms: seq * 10, campaign: 0, category: 0 },
            seq,
        )
    }

    fn queue(of: &[(u64, Priority)]) -> Queue {
        let mut queue = Queue::default();
        for (seq, priority) in of {
            assert!(queue.insert(held(*seq, *priority, 100)));
        }
        queue
    }

    fn numbers(queue: &Queue) -> Vec<u64> {
        queue.not_in_flight().map(|held| held.seq).collect()
    }

    #[test]
    fn keeps_the_order_of_numbers_however_they_come_and_refuses_a_second() {
        let mut queue = queue(&[
            (5, Priority::Normal),
            (2, Priority::Normal),
            (9, Priority::Normal),
            (3, Priority::Normal),
        ]);
        assert_eq!(numbers(&queue), [2, 3, 5, 9]);
        assert!(!queue.insert(held(3, Priority::High, 1)));
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn gives_up_the_oldest_of_the_least_important() {
        let mut queue = queue(&[
            (1, Priority::High),
            (2, Priority::Normal),
            (3, Priority::Low),
            (4, Priority::Low),
        ]);
        let mut given_up = Vec::new();
        while let Some(seq) = queue.least_important(0, 0) {
            queue.remove(seq);
            given_up.push(seq);
        }
        assert_eq!(given_up, [3, 4, 2, 1]);
    }

    #[test]
    fn never_gives_up_what_a_request_carries() {
        let mut queue = queue(&[(1, Priority::Low), (2, Priority::High)]);
        queue.get_mut(1).unwrap().in_flight = Some(Request(1));
        assert_eq!(queue.least_important(1, u64::MAX), Some(2));
        queue.get_mut(2).unwrap().in_flight = Some(Request(1));
        assert_eq!(queue.least_important(1, u64::MAX), None);
    }

    #[test]
    fn is_bounded_by_events_and_by_bytes() {
        let queue = queue(&[(1, Priority::Normal), (2, Priority::Normal)]);
        assert_eq!(queue.least_important(2, 200), None);
        assert_eq!(queue.least_important(1, 200), Some(1));
        assert_eq!(queue.least_important(2, 199), Some(1));
    }

    #[test]
    fn counts_what_is_ready_through_every_change() {
        let mut queue = queue(&[(1, Priority::Normal), (2, Priority::Normal)]);
        let entry = Entry {
            key: Key(3),
            bytes: 7,
            priority: Priority::Low,
            at_ms: 0,
            campaign: 0,
            category: 0,
        };
        assert!(queue.insert(Held::storing(entry, 3, Turn(4))));
        assert_eq!(queue.ready(), (2, 200));
        queue.get_mut(3).unwrap().durability = Durability::Committed;
        queue.get_mut(1).unwrap().in_flight = Some(Request(9));
        assert_eq!(queue.ready(), (2, 107));
        for seq in [1, 2, 3] {
            queue.remove(seq);
        }
        assert_eq!((queue.ready(), queue.len()), ((0, 0), 0));
    }
}
