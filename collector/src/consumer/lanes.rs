//! Which events a consumer may deliver next, and up to where all are done.
//! Promises that of two events with the same order key the later waits for the earlier or goes out together with it, that
//! different keys never wait for each other, and that the watermark never passes an unfinished event.
//! Deliberately has no clock and no I/O, and does not know what it orders.

use std::{
    collections::{HashMap, VecDeque},
    ops::RangeInclusive,
    sync::Arc,
};

use crate::{event_log::Offset, state::Reached};

/// Names an event from when it was added until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ticket {
    /// One of the log's, above the watermark.
    Log(u64),
    /// One that is delivered again, beside the watermark.
    Again(u64),
}

/// Where those that come back stand among what is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    Last,
}

/// The events above the watermark, and those that go out once more, each in the lane of its order key.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    watermark: Offset,
    /// What was done above the watermark before the last start, and was not read again yet.
    done_before: VecDeque<RangeInclusive<Offset>>,
    /// How many events of the log were done since: whoever has saved that many has saved all.
    settled: u64,
    /// The event of ticket `Log(base + i)` is in `window[i]`.
    window: VecDeque<Slot<T>>,
    base: u64,
    again: HashMap<u64, Held<T>>,
    next_again: u64,
    lanes: HashMap<Arc<str>, Lane>,
    /// The lanes of which nothing is out, and something waits.
    ready: VecDeque<Arc<str>>,
    bytes: usize,
    /// Of the log's events.
    unfinished: usize,
}

#[derive(Debug)]
struct Slot<T> {
    offset: Offset,
    /// `None` once it is done.
    unfinished: Option<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    lane: Arc<str>,
    event: T,
    bytes: usize,
    /// It must go out by itself.
    alone: bool,
}

/// Its unfinished events, in order; the first `out` of them are out.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Ticket>,
    out: usize,
}

impl<T: Clone> Lanes<T> {
    /// Empty; so far it is done.
    pub(super) fn new(reached: Reached) -> Self {
        Self {
            watermark: reached.after,
            done_before: reached.done_above.into(),
            settled: 0,
            window: VecDeque::new(),
            base: 0,
            again: HashMap::new(),
            next_again: 0,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            bytes: 0,
            unfinished: 0,
        }
    }

    /// Adds the next event of the log, unless it was done before the last start.
    pub(super) fn add(&mut self, offset: Offset, order_key: &str, bytes: usize, event: T) {
        if self.was_done(offset) {
            return self.skip(offset);
        }
        let ticket = Ticket::Log(self.base + self.window.len() as u64);
        let lane = self.queue(order_key, ticket);
        self.bytes += bytes;
        self.unfinished += 1;
        let unfinished = Some(Held { lane, event, bytes, alone: false });
        self.window.push_back(Slot { offset, unfinished });
    }

    /// Adds an event that nothing has to be done for.
    pub(super) fn skip(&mut self, offset: Offset) {
        self.window.push_back(Slot { offset, unfinished: None });
        self.advance();
    }

    /// Adds an event that is delivered again: behind what its lane holds, and beside the watermark.
    pub(super) fn add_again(&mut self, order_key: &str, bytes: usize, event: T) {
        let ticket = Ticket::Again(self.next_again);
        let lane = self.queue(order_key, ticket);
        self.again.insert(self.next_again, Held { lane, event, bytes, alone: false });
        self.next_again += 1;
        self.bytes += bytes;
    }

    /// The next events that may go out together, at most `most`; those of a lane in their order. Where there are others,
    /// none that is to be avoided.
    pub(super) fn next(&mut self, most: usize, avoid: impl Fn(Ticket) -> bool) -> Vec<(Ticket, T)> {
        let mut batch = Vec::new();
        let first =
            self.ready.iter().position(|lane| self.head(lane).is_some_and(|head| !avoid(head)));
        self.ready.rotate_left(first.unwrap_or(0));
        while batch.len() < most {
            let Some(lane) = self.ready.pop_front() else { break };
            let Some(head) = self.head(&lane) else { continue };
            let alone = self.held(head).is_some_and(|held| held.alone);
            if !batch.is_empty() && (alone || avoid(head)) {
                self.ready.push_front(lane);
                break;
            }
            let room = if alone { 1 } else { most - batch.len() };
            let queue = self.lanes.get(&lane).map(|lane| &lane.queue);
            let taken: Vec<_> = queue
                .into_iter()
                .flatten()
                .filter_map(|ticket| Some((*ticket, self.held(*ticket)?)))
                .take(room)
                .take_while(|(ticket, held)| *ticket == head || !held.alone)
                .map(|(ticket, held)| (ticket, held.event.clone()))
                .collect();
            if let Some(lane) = self.lanes.get_mut(&lane) {
                lane.out = taken.len();
            }
            batch.extend(taken);
            if alone {
                break;
            }
        }
        batch
    }

    /// Whether something may go out that is not to be avoided.
    pub(super) fn has_ready(&self, avoid: impl Fn(Ticket) -> bool) -> bool {
        self.ready.iter().any(|lane| self.head(lane).is_some_and(|head| !avoid(head)))
    }

    /// The next lane is another one: this many further.
    pub(super) fn turn(&mut self, by: usize) {
        self.ready.rotate_left(by.checked_rem(self.ready.len()).unwrap_or(0));
    }

    /// The event of this ticket, unless it is done.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&T> {
        Some(&self.held(ticket)?.event)
    }

    /// From now on it goes out by itself.
    pub(super) fn set_alone(&mut self, ticket: Ticket) {
        if let Some(held) = self.held_mut(ticket) {
            held.alone = true;
        }
    }

    /// They have to go out again.
    pub(super) fn put_back(&mut self, tickets: &[Ticket], turn: Turn) {
        for ticket in tickets {
            let Some(name) = self.held(*ticket).map(|held| Arc::clone(&held.lane)) else {
                continue;
            };
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            lane.out = lane.out.saturating_sub(1);
            if lane.out == 0 {
                match turn {
                    Turn::First => self.ready.push_front(name),
                    Turn::Last => self.ready.push_back(name),
                }
            }
        }
    }

    /// It is done: the next one of its lane may go. Returns it.
    pub(super) fn done(&mut self, ticket: Ticket) -> Option<T> {
        let held = match ticket {
            Ticket::Again(number) => self.again.remove(&number),
            Ticket::Log(_) => self.slot_mut(ticket).and_then(|slot| slot.unfinished.take()),
        }?;
        self.bytes -= held.bytes;
        if let Ticket::Log(_) = ticket {
            self.unfinished -= 1;
            self.settled += 1;
        }
        if let Some(lane) = self.lanes.get_mut(&held.lane) {
            if let Some(at) = lane.queue.iter().position(|queued| *queued == ticket) {
                lane.queue.remove(at);
                lane.out = lane.out.saturating_sub(1);
            }
            if lane.queue.is_empty() {
                self.lanes.remove(&held.lane);
            } else if lane.out == 0 {
                self.ready.push_back(held.lane);
            }
        }
        self.advance();
        Some(held.event)
    }

    /// Everything up to here is done.
    pub(super) fn watermark(&self) -> Offset {
        self.watermark
    }

    /// How far it is done, for the next start.
    pub(super) fn reached(&self) -> Reached {
        let mut done_above: Vec<RangeInclusive<Offset>> = Vec::new();
        let mut goes_on = false;
        for Slot { offset, unfinished } in &self.window {
            match (unfinished, done_above.last_mut()) {
                (Some(_), _) => {}
                (None, Some(range)) if goes_on => *range = *range.start()..=*offset,
                (None, _) => done_above.push(*offset..=*offset),
            }
            goes_on = unfinished.is_none();
        }
        let read_to = self.window.back().map_or(self.watermark, |slot| slot.offset);
        let unread = self.done_before.iter().filter(|range| *range.end() > read_to);
        for known in unread.cloned() {
            match done_above.last_mut() {
                // It was read in part.
                Some(range) if known.contains(range.end()) => {
                    *range = *range.start()..=*known.end();
                }
                _ => done_above.push(known),
            }
        }
        Reached { after: self.watermark, done_above }
    }

    /// Grows with what is done, whether or not the watermark does.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// The first event of the log that is not done.
    pub(super) fn first(&self) -> Option<&T> {
        self.window.front().and_then(|slot| slot.unfinished.as_ref()).map(|held| &held.event)
    }

    /// How many of the log's events are not done.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// How many events are remembered above the watermark, done ones too.
    pub(super) fn len(&self) -> usize {
        self.window.len()
    }

    /// How many events wait to be delivered again, or are out for it.
    pub(super) fn again(&self) -> usize {
        self.again.len()
    }

    /// The events that are delivered again.
    pub(super) fn all_again(&self) -> impl Iterator<Item = (Ticket, &T)> {
        self.again.iter().map(|(number, held)| (Ticket::Again(*number), &held.event))
    }

    /// Bytes of all that is unfinished.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn was_done(&mut self, offset: Offset) -> bool {
        while self.done_before.front().is_some_and(|range| *range.end() < offset) {
            self.done_before.pop_front();
        }
        self.done_before.front().is_some_and(|range| range.contains(&offset))
    }

    fn queue(&mut self, order_key: &str, ticket: Ticket) -> Arc<str> {
        let known = self.lanes.get_key_value(order_key).map(|(name, _)| Arc::clone(name));
        if let Some(name) = known
            && let Some(lane) = self.lanes.get_mut(&name)
        {
            lane.queue.push_back(ticket);
            return name;
        }
        let name: Arc<str> = order_key.into();
        let lane = Lane { queue: VecDeque::from([ticket]), out: 0 };
        self.lanes.insert(Arc::clone(&name), lane);
        self.ready.push_back(Arc::clone(&name));
        name
    }

    fn head(&self, lane: &str) -> Option<Ticket> {
        self.lanes.get(lane)?.queue.front().copied()
    }

    fn held(&self, ticket: Ticket) -> Option<&Held<T>> {
        match ticket {
            Ticket::Again(number) => self.again.get(&number),
            Ticket::Log(number) => {
                let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
                self.window.get(at)?.unfinished.as_ref()
            }
        }
    }

    fn held_mut(&mut self, ticket: Ticket) -> Option<&mut Held<T>> {
        match ticket {
            Ticket::Again(number) => self.again.get_mut(&number),
            Ticket::Log(_) => self.slot_mut(ticket)?.unfinished.as_mut(),
        }
    }

    fn slot_mut(&mut self, ticket: Ticket) -> Option<&mut Slot<T>> {
        let Ticket::Log(number) = ticket else { return None };
        let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
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

    fn lanes(keys: &[&str]) -> Lanes<usize> {
        let mut lanes = Lanes::new(Reached::default());
        for (n, key) in keys.iter().enumerate() {
            lanes.add(offset(n + 1), key, 1, n);
        }
        lanes
    }

    fn events(batch: &[(Ticket, usize)]) -> Vec<usize> {
        batch.iter().map(|(_, event)| *event).collect()
    }

    #[test]
    fn a_lane_waits_and_the_others_do_not() {
        let mut lanes = lanes(&["a", "a", "b"]);
        let (first, _) = lanes.next(1, |_| false)[0];
        let (third, event) = lanes.next(1, |_| false)[0];
        assert_eq!((event, lanes.next(1, |_| false)), (2, vec![]));
        lanes.done(third);
        assert_eq!(lanes.watermark(), Offset::START, "an unfinished event holds the watermark");
        lanes.put_back(&[first], Turn::First);
        assert_eq!(lanes.next(1, |_| false), [(first, 0)]);
        lanes.done(first);
        assert_eq!((lanes.watermark(), lanes.len(), lanes.bytes()), (offset(1), 2, 1));
        let (second, _) = lanes.next(1, |_| false)[0];
        lanes.done(second);
        assert_eq!((lanes.watermark(), lanes.len(), lanes.bytes()), (offset(3), 0, 0));
        lanes.skip(offset(4));
        assert_eq!(lanes.watermark(), offset(4));
    }

    #[test]
    fn a_batch_takes_a_lane_in_order_and_the_lane_waits_for_all_of_it() {
        let mut lanes = lanes(&["a", "b", "a", "a", "b"]);
        let batch = lanes.next(4, |_| false);
        assert_eq!(events(&batch), [0, 2, 3, 1], "all of `a`, then what fits of `b`");
        assert!(lanes.next(4, |_| false).is_empty(), "both lanes are out");
        lanes.done(batch[0].0);
        assert!(lanes.next(4, |_| false).is_empty());
        lanes.done(batch[3].0);
        assert_eq!(events(&lanes.next(4, |_| false)), [4]);
    }

    #[test]
    fn one_that_must_go_alone_does_and_one_to_be_avoided_waits_for_the_others() {
        let mut lanes = lanes(&["a", "a", "b", "c"]);
        let batch = lanes.next(3, |_| false);
        assert_eq!(events(&batch), [0, 1, 2]);
        let tickets: Vec<_> = batch.iter().map(|(ticket, _)| *ticket).collect();
        tickets.iter().for_each(|ticket| lanes.set_alone(*ticket));
        lanes.put_back(&tickets, Turn::Last);
        assert_eq!(events(&lanes.next(9, |_| false)), [3]);
        assert_eq!(
            events(&lanes.next(9, |ticket| ticket == tickets[0])),
            [2],
            "`b` before the one to be avoided"
        );
        assert_eq!(
            events(&lanes.next(9, |ticket| ticket == tickets[0])),
            [0],
            "alone, although it is to be avoided"
        );
        lanes.done(tickets[0]);
        assert_eq!(events(&lanes.next(9, |_| false)), [1]);
    }

    #[test]
    fn what_is_delivered_again_keeps_its_lane_s_order_and_leaves_the_watermark() {
        let mut lanes = lanes(&["a"]);
        lanes.add_again("a", 1, 10);
        lanes.add_again("b", 1, 11);
        lanes.add(offset(2), "a", 1, 1);
        let batch = lanes.next(9, |_| false);
        assert_eq!((events(&batch), lanes.again()), (vec![0, 10, 1, 11], 2));
        lanes.done(batch[0].0);
        lanes.done(batch[2].0);
        assert_eq!(lanes.watermark(), offset(2));
        lanes.done(batch[1].0);
        lanes.done(batch[3].0);
        assert_eq!((lanes.again(), lanes.bytes(), lanes.watermark()), (0, 0, offset(2)));
    }

    /// Reads all `count` again from where it stood, but for `until`: what is to be done still.
    fn again_from(reached: &Reached, count: usize) -> (Lanes<usize>, Vec<usize>) {
        let mut lanes = Lanes::new(reached.clone());
        for n in (1..=count).filter(|n| offset(*n) > reached.after) {
            lanes.add(offset(n), &n.to_string(), 1, n);
        }
        let left = std::iter::from_fn(|| lanes.next(1, |_| false).pop()).map(|(_, n)| n).collect();
        (lanes, left)
    }

    #[test]
    fn what_is_done_above_the_watermark_is_not_done_again_after_a_start() {
        let keys: Vec<_> = (0..9).map(|n| n.to_string()).collect();
        let mut lanes = lanes(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let out: Vec<_> = (0..9).map(|_| lanes.next(1, |_| false)[0].0).collect();
        for done in [0, 2, 3, 4, 7] {
            lanes.done(out[done]);
        }
        let reached = lanes.reached();
        let ranges = vec![offset(3)..=offset(5), offset(8)..=offset(8)];
        assert_eq!(reached, Reached { after: offset(1), done_above: ranges });
        // However far it had read again when it ended again.
        for read in 1..=9 {
            let (again, _) = again_from(&reached, read);
            assert_eq!(again.reached(), reached, "after {read}");
        }
        let (mut again, left) = again_from(&reached, 9);
        assert_eq!(left, [2, 6, 7, 9]);
        // Passed over behind the last of them, or in place of it: by a filter.
        again.skip(offset(10));
        let ranges = vec![offset(3)..=offset(5), offset(8)..=offset(8), offset(10)..=offset(10)];
        assert_eq!(again.reached().done_above, ranges);
        let (mut again, _) = again_from(&reached, 7);
        (8..=9).for_each(|n| again.skip(offset(n)));
        let ranges = vec![offset(3)..=offset(5), offset(8)..=offset(9)];
        assert_eq!(again.reached().done_above, ranges);
    }

    proptest! {
        #[test]
        fn each_key_keeps_its_order_whatever_finishes_first(
            keys in prop::collection::vec(0_u8..4, 1..60),
            most in 1_usize..6,
            choices in prop::collection::vec((any::<bool>(), any::<bool>(), any::<prop::sample::Index>()), 400),
        ) {
            let names: Vec<_> = keys.iter().map(u8::to_string).collect();
            let mut lanes = lanes(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let (mut out, mut done): (Vec<Vec<(Ticket, usize)>>, Vec<usize>) = (Vec::new(), Vec::new());
            for (give_back, last, which) in choices {
                loop {
                    let next = lanes.next(most, |_| false);
                    if next.is_empty() {
                        break;
                    }
                    prop_assert!(next.len() <= most);
                    for (_, event) in &next {
                        prop_assert!(out.iter().flatten().all(|(_, other)| keys[*other] != keys[*event]));
                    }
                    out.push(next);
                }
                if out.is_empty() {
                    break;
                }
                let batch = out.swap_remove(which.index(out.len()));
                if give_back {
                    let tickets: Vec<_> = batch.iter().map(|(ticket, _)| *ticket).collect();
                    lanes.put_back(&tickets, if last { Turn::Last } else { Turn::First });
                } else {
                    for (ticket, event) in batch {
                        lanes.done(ticket);
                        done.push(event);
                    }
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
