//! The index of unsent events: what each measures and how far it has come, in the order of their numbers.
//! Promises bounds and order, and says which event it gave up; holds no text and knows no storage, request or clock.

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
        }
    }

    /// An event that was found in storage with its number.
    pub(crate) fn committed(entry: Entry, seq: u64) -> Self {
        Self { entry, seq, durability: Durability::Committed, in_flight: None, maybe_seen: true }
    }

    /// Whether it can go in a batch: its fate in storage is known, and no request carries it.
    fn ready(&self) -> bool {
        self.in_flight.is_none() && !matches!(self.durability, Durability::Storing(_))
    }
}

/// The index. In ascending order of `seq`, without repetition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// A vector although events leave at the front: moving the rest costs a page under a millisecond for a thousand events,
    /// where a `VecDeque`, which must serve every other order as well, costs it a kilobyte more to load.
    held: Vec<Held>,
    bytes: u64,
    ready_events: u32,
    ready_bytes: u64,
    storing: usize,
    of_priority: [u32; 3],
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Events that could go in a batch now, and the bytes of their texts.
    pub(crate) fn ready(&self) -> (u32, u64) {
        (self.ready_events, self.ready_bytes)
    }

    /// Those events, in order.
    pub(crate) fn ready_events(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(|held| held.ready())
    }

    /// All events that no request carries, also those whose commit is not confirmed yet, in order.
    pub(crate) fn not_in_flight(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(|held| held.in_flight.is_none())
    }

    /// Puts an event in its place. Gives it back if the queue has one of that number.
    pub(crate) fn insert(&mut self, held: Held) -> Result<(), Held> {
        let at = match self.held.last() {
            Some(last) if last.seq >= held.seq => match self.position(held.seq) {
                Ok(_) => return Err(held),
                Err(at) => at,
            },
            _ => self.held.len(),
        };
        self.count(&held, true);
        self.held.insert(at, held);
        Ok(())
    }

    /// Takes an event out.
    pub(crate) fn remove(&mut self, seq: u64) -> Option<Held> {
        let held = self.held.remove(self.position(seq).ok()?);
        self.count(&held, false);
        Some(held)
    }

    /// Changes how far an event has come.
    pub(crate) fn update(&mut self, seq: u64, change: impl FnOnce(&mut Held)) {
        let Ok(at) = self.position(seq) else { return };
        let mut held = self.held[at];
        self.count(&held, false);
        change(&mut held);
        self.count(&held, true);
        self.held[at] = held;
    }

    /// The numbers that were being stored in this turn, or an earlier one that was never answered.
    pub(crate) fn stored_by(&self, turn: Turn) -> Vec<u64> {
        let mut found = Vec::new();
        let mut unseen = self.storing;
        // They are nearly always at the back: stop when none is left.
        for held in self.held.iter().rev() {
            if unseen == 0 {
                break;
            }
            if let Durability::Storing(stored_in) = held.durability {
                unseen -= 1;
                if stored_in <= turn {
                    found.push(held.seq);
                }
            }
        }
        found.reverse();
        found
    }

    /// The event to give up when the queue is over a bound: the oldest of the least important that no request carries.
    pub(crate) fn least_important(&self, max_events: u32, max_bytes: u64) -> Option<u64> {
        if self.len() <= max_events as usize && self.bytes <= max_bytes {
            return None;
        }
        // The least priority that is held at all: the first such event that is free ends the search.
        let floor = self.of_priority.iter().position(|count| *count > 0)?;
        let mut least: Option<&Held> = None;
        for held in self.not_in_flight() {
            if least.is_none_or(|least| held.entry.priority < least.entry.priority) {
                least = Some(held);
            }
            if held.entry.priority as usize == floor {
                break;
            }
        }
        least.map(|held| held.seq)
    }

    /// The first event that no request carries and that is older than `oldest_ms`.
    pub(crate) fn older_than(&self, oldest_ms: u64) -> Option<u64> {
        self.not_in_flight().find(|held| held.entry.at_ms < oldest_ms).map(|held| held.seq)
    }

    /// Empties the queue.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn position(&self, seq: u64) -> Result<usize, usize> {
        self.held.binary_search_by_key(&seq, |held| held.seq)
    }

    fn count(&mut self, held: &Held, added: bool) {
        let bytes = u64::from(held.entry.bytes);
        let sign = |total: u64, part: u64| if added { total + part } else { total - part };
        self.bytes = sign(self.bytes, bytes);
        let alike = &mut self.of_priority[held.entry.priority as usize];
        *alike = if added { *alike + 1 } else { *alike - 1 };
        if held.ready() {
            self.ready_bytes = sign(self.ready_bytes, bytes);
            self.ready_events = if added { self.ready_events + 1 } else { self.ready_events - 1 };
        }
        if matches!(held.durability, Durability::Storing(_)) {
            self.storing = if added { self.storing + 1 } else { self.storing - 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{Key, Priority};

    fn held(seq: u64, priority: Priority, bytes: u32) -> Held {
        Held::committed(Entry { key: Key(seq), bytes, priority, at_ms: seq * 10, campaign: 0 }, seq)
    }

    fn queue(of: &[(u64, Priority)]) -> Queue {
        let mut queue = Queue::default();
        for (seq, priority) in of {
            queue.insert(held(*seq, *priority, 100)).unwrap();
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
        assert!(queue.insert(held(3, Priority::High, 1)).is_err());
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
        queue.update(1, |held| held.in_flight = Some(Request(1)));
        assert_eq!(queue.least_important(1, u64::MAX), Some(2));
        queue.update(2, |held| held.in_flight = Some(Request(1)));
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
        let entry = Entry { key: Key(3), bytes: 7, priority: Priority::Low, at_ms: 0, campaign: 0 };
        queue.insert(Held::storing(entry, 3, Turn(4))).unwrap();
        assert_eq!(queue.ready(), (2, 200));
        assert_eq!(queue.stored_by(Turn(3)).len(), 0);
        assert_eq!(queue.stored_by(Turn(4)), [3]);
        queue.update(3, |held| held.durability = Durability::Committed);
        queue.update(1, |held| held.in_flight = Some(Request(9)));
        assert_eq!(queue.ready(), (2, 107));
        queue.remove(1);
        queue.remove(2);
        queue.remove(3);
        assert_eq!((queue.ready(), queue.len(), queue.bytes, queue.storing), ((0, 0), 0, 0, 0));
    }
}
