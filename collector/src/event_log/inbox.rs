//! Batches on their way to the writer: a queue bounded by bytes and by batches, and the wait for the next group.
//! Promises: what does not fit is refused at once, nothing blocks a sender; after closing, what was taken in is still handed out.
//! Knows nothing of what a batch means.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Has a weight in bytes and in events.
pub(super) trait Weight {
    fn bytes(&self) -> usize;
    fn events(&self) -> usize;
}

/// How much may wait, and how much one group takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) batches: usize,
    pub(super) group_bytes: usize,
    pub(super) group_events: usize,
}

/// The queue.
pub(super) struct Inbox<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    limits: Limits,
}

struct State<T> {
    queue: VecDeque<T>,
    bytes: usize,
    closed: bool,
    /// The writer sleeps: only then is waking it worth a system call.
    waiting: bool,
}

/// Why a batch was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

/// What the writer is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Group(Vec<T>),
    /// Nothing came for as long as was asked.
    Idle,
    /// Closed, and empty.
    Closed,
}

impl<T: Weight> Inbox<T> {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State { queue: VecDeque::new(), bytes: 0, closed: false, waiting: false };
        Self { state: Mutex::new(state), arrived: Condvar::new(), limits }
    }

    /// Puts a batch in, or says why not. One that alone exceeds the bytes is taken when nothing else waits.
    pub(super) fn put(&self, batch: T) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        let full = state.queue.len() >= self.limits.batches
            || state.bytes + batch.bytes() > self.limits.bytes;
        if full && !state.queue.is_empty() {
            return Err(Refused::Full);
        }
        state.bytes += batch.bytes();
        state.queue.push_back(batch);
        let wake = std::mem::take(&mut state.waiting);
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for batches and takes as many as make a group; at most `patience` long, if given.
    pub(super) fn next(&self, patience: Option<Duration>) -> Next<T> {
        let mut state = self.lock();
        while state.queue.is_empty() {
            if state.closed {
                return Next::Closed;
            }
            state.waiting = true;
            state = match patience {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let (mut state, wait) = self
                        .arrived
                        .wait_timeout(state, patience)
                        .unwrap_or_else(PoisonError::into_inner);
                    if wait.timed_out() && state.queue.is_empty() && !state.closed {
                        state.waiting = false;
                        return Next::Idle;
                    }
                    state
                }
            };
        }
        let (mut bytes, mut events) = (0, 0);
        let fits = |batch: &T| {
            bytes += batch.bytes();
            events += batch.events();
            bytes <= self.limits.group_bytes && events <= self.limits.group_events
        };
        let count = state.queue.iter().map(fits).take_while(|fits| *fits).count().max(1);
        let group: Vec<T> = state.queue.drain(..count).collect();
        state.bytes -= group.iter().map(T::bytes).sum::<usize>();
        Next::Group(group)
    }

    /// Takes no more; what waits is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Takes no more and forgets what waits, which tells whoever waits for it.
    pub(super) fn abandon(&self) {
        self.close();
        let forgotten = std::mem::take(&mut self.lock().queue);
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weight for usize {
        fn bytes(&self) -> usize {
            *self
        }

        fn events(&self) -> usize {
            1
        }
    }

    fn inbox() -> Inbox<usize> {
        Inbox::new(Limits { bytes: 100, batches: 3, group_bytes: 60, group_events: 2 })
    }

    #[test]
    fn refuses_by_bytes_and_by_batches_but_never_forever() {
        let inbox = inbox();
        assert_eq!(inbox.put(500), Ok(()), "alone, or it could never pass");
        assert_eq!(inbox.put(1), Err(Refused::Full));
        assert_eq!(inbox.next(None), Next::Group(vec![500]));
        (0..3).for_each(|_| assert_eq!(inbox.put(1), Ok(())));
        assert_eq!(inbox.put(1), Err(Refused::Full));
    }

    #[test]
    fn groups_are_bounded_and_in_order() {
        let inbox = inbox();
        (0..3).for_each(|n| inbox.put([50, 20, 5][n]).unwrap());
        assert_eq!(inbox.next(None), Next::Group(vec![50]));
        assert_eq!(inbox.next(None), Next::Group(vec![20, 5]));
        assert_eq!(inbox.next(Some(Duration::ZERO)), Next::Idle);
    }

    #[test]
    fn closing_drains() {
        let inbox = inbox();
        inbox.put(1).unwrap();
        inbox.close();
        assert_eq!(inbox.put(1), Err(Refused::Closed));
        assert_eq!(inbox.next(None), Next::Group(vec![1]));
        assert_eq!(inbox.next(None), Next::Closed);
        inbox.abandon();
        assert_eq!(inbox.next(None), Next::Closed);
    }
}
