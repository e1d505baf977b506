//! Which events a consumer may deliver next, and up to where all are done.
//! Promises that of two events with the same order key the later waits for the earlier, that
//! different keys never wait for each other, and that the watermark never passes an unfinished event.
//! Deliberately has no clock and no I/O, and does not know what it orders.

use std::collections::{HashMap, VecDeque};

use crate::event_log::Offset;

/// Names an event from when it was added until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ticket(u64);

/// The events above the watermark, each in the lane of its order key.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    watermark: Offset,
    /// The event of ticket `base + i` is in `window[i]`.
    window: VecDeque<Slot<T>>,
    base: u64,
    /// The lanes in use: each one's first event is ready or out, these wait behind it.
    waiting: HashMap<Box<str>, VecDeque<Ticket>>,
    ready: VecDeque<Ticket>,
}

#[derive(Debug)]
struct Slot<T> {
    offset: Offset,
    /// Its lane and itself; `None` once it is done.
    unfinished: Option<(Box<str>, T)>,
}

impl<T: Clone> Lanes<T> {
    /// Empty; everything up to `watermark` is done.
    pub(super) fn new(watermark: Offset) -> Self {
        let (window, waiting, ready) = (VecDeque::new(), HashMap::new(), VecDeque::new());
        Self { watermark, window, base: 0, waiting, ready }
    }

    /// Adds the next event of the log.
    pub(super) fn add(&mut self, offset: Offset, order_key: Box<str>, event: T) {
        let ticket = Ticket(self.base + self.window.len() as u64);
        match self.waiting.get_mut(&order_key) {
            Some(behind) => behind.push_back(ticket),
            None => {
                self.waiting.insert(order_key.clone(), VecDeque::new());
                self.ready.push_back(ticket);
            }
        }
        self.window.push_back(Slot { offset, unfinished: Some((order_key, event)) });
    }

    /// Adds an event that nothing has to be done for.
    pub(super) fn skip(&mut self, offset: Offset) {
        self.window.push_back(Slot { offset, unfinished: None });
        self.advance();
    }

    /// The next event that may go out.
    pub(super) fn next(&mut self) -> Option<(Ticket, T)> {
        let ticket = self.ready.pop_front()?;
        Some((ticket, self.get(ticket)?))
    }

    /// The event of this ticket, unless it is done.
    pub(super) fn get(&mut self, ticket: Ticket) -> Option<T> {
        Some(self.slot(ticket)?.unfinished.as_ref()?.1.clone())
    }

    /// It has to go out again, before anything else.
    pub(super) fn put_back(&mut self, ticket: Ticket) {
        self.ready.push_front(ticket);
    }

    /// It is done: the next one of its lane may go.
    pub(super) fn done(&mut self, ticket: Ticket) {
        let Some((lane, _)) = self.slot(ticket).and_then(|slot| slot.unfinished.take()) else {
            return;
        };
        match self.waiting.get_mut(&lane).and_then(VecDeque::pop_front) {
            Some(next) => self.ready.push_back(next),
            None => drop(self.waiting.remove(&lane)),
        }
        self.advance();
    }

    /// Everything up to here is done.
    pub(super) fn watermark(&self) -> Offset {
        self.watermark
    }

    /// How many events are held above the watermark.
    pub(super) fn len(&self) -> usize {
        self.window.len()
    }

    fn slot(&mut self, ticket: Ticket) -> Option<&mut Slot<T>> {
        let at = usize::try_from(ticket.0.checked_sub(self.base)?).ok()?;
        self.window.get_mut(at)
    }

    fn advance(&mut self) {
        while let Some(Slot { offset, unfinished: None }) = self.window.front() {
            self.watermark = *offset;
            self.window.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offset(n: usize) -> Offset {
        n.to_string().parse().unwrap()
    }

    #[test]
    fn a_lane_waits_and_the_others_do_not() {
        let mut lanes = Lanes::new(Offset::START);
        for (n, key) in ["a", "a", "b"].into_iter().enumerate() {
            lanes.add(offset(n + 1), key.into(), n);
        }
        let (first, _) = lanes.next().unwrap();
        let (third, event) = lanes.next().unwrap();
        assert_eq!((event, lanes.next()), (2, None));
        lanes.done(third);
        assert_eq!(lanes.watermark(), Offset::START, "an unfinished event holds the watermark");
        lanes.put_back(first);
        assert_eq!(lanes.next(), Some((first, 0)));
        lanes.done(first);
        assert_eq!((lanes.watermark(), lanes.len()), (offset(1), 2));
        let (second, _) = lanes.next().unwrap();
        lanes.done(second);
        assert_eq!((lanes.watermark(), lanes.len()), (offset(3), 0));
        lanes.skip(offset(4));
        assert_eq!(lanes.watermark(), offset(4));
    }

    proptest! {
        #[test]
        fn each_key_keeps_its_order_whatever_finishes_first(
            keys in prop::collection::vec(0_u8..4, 1..60),
            choices in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 400),
        ) {
            let mut lanes = Lanes::new(Offset::START);
            for (n, key) in keys.iter().enumerate() {
                lanes.add(offset(n + 1), key.to_string().into(), n);
            }
            let (mut out, mut done) = (Vec::new(), Vec::new());
            for (give_back, which) in choices {
                while let Some(next) = lanes.next() {
                    prop_assert!(out.iter().all(|(_, other): &(Ticket, usize)| keys[*other] != keys[next.1]));
                    out.push(next);
                }
                if out.is_empty() {
                    break;
                }
                let (ticket, event) = out.swap_remove(which.index(out.len()));
                if give_back {
                    lanes.put_back(ticket);
                } else {
                    lanes.done(ticket);
                    done.push(event);
                }
                let below = (0..keys.len()).take_while(|n| done.contains(n)).count();
                prop_assert_eq!(lanes.watermark(), offset(below));
            }
            for key in 0..4 {
                let order: Vec<_> = done.iter().filter(|n| keys[**n] == key).collect();
                prop_assert!(order.is_sorted());
            }
        }
    }
}
