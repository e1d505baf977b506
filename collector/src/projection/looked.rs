//! How far rules have looked, and who waits for that: as soon as they have looked at an event, what they came to may still be on its
//! way into the state.
//! Promises that only those are woken whose event it is: the thread that folds does it, and with hundreds that wait, waking all of them
//! each time would take it longer than folding. Deliberately knows no rule.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::event_log::Offset;

/// Whoever waits. Cheap to clone.
#[derive(Clone)]
pub(super) struct Looked(Arc<Mutex<State>>);

/// Whoever looks. Nobody is left waiting when it is dropped.
pub(super) struct Looking(Looked);

struct State {
    /// Up to here everything was looked at.
    until: Offset,
    waiting: BTreeMap<(Offset, u64), oneshot::Sender<()>>,
    /// Tells those apart that wait for the same.
    asked: u64,
    is_over: bool,
}

/// Both, where everything was looked at up to here.
pub(super) fn channel(until: Offset) -> (Looking, Looked) {
    let state = State { until, waiting: BTreeMap::new(), asked: 0, is_over: false };
    let looked = Looked(Arc::new(Mutex::new(state)));
    (Looking(looked.clone()), looked)
}

impl Looking {
    /// Everything up to here was looked at.
    pub(super) fn reached(&self, offset: Offset) {
        let ready = {
            let mut state = self.0.state();
            state.until = offset;
            if state.waiting.first_key_value().is_none_or(|((first, _), _)| *first > offset) {
                return;
            }
            let later = state.waiting.split_off(&(offset, u64::MAX));
            std::mem::replace(&mut state.waiting, later)
        };
        for waiting in ready.into_values() {
            // Who does not wait any more need not be told.
            let _ = waiting.send(());
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_over = true;
        state.waiting.clear();
    }
}

impl Looked {
    /// Waits until everything up to `offset` was looked at; false if nobody looks any more.
    pub(super) async fn wait_for(&self, offset: Offset) -> bool {
        let (told, waits) = oneshot::channel();
        let place = {
            let mut state = self.state();
            if state.until >= offset || state.is_over {
                return state.until >= offset;
            }
            state.asked += 1;
            let place = (offset, state.asked);
            state.waiting.insert(place, told);
            place
        };
        let _stay = Stay { among: self, place };
        waits.await.is_ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who gives up waiting takes no room any more, however long nothing is looked at.
struct Stay<'a> {
    among: &'a Looked,
    place: (Offset, u64),
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        self.among.state().waiting.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, task::Poll};

    use super::*;

    /// Polls once.
    async fn poll(waits: &mut (impl Future<Output = bool> + Unpin)) -> Poll<bool> {
        std::future::poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut *waits).poll(context)))
            .await
    }

    #[tokio::test]
    async fn who_waits_is_told_when_it_is_reached_and_nobody_else_is() {
        let at = Offset::from_number;
        let (looking, looked) = channel(at(5));
        assert!(looked.wait_for(at(5)).await);
        let [mut seventh, mut other, mut ninth] =
            [7, 7, 9].map(|number| Box::pin(looked.wait_for(at(number))));
        for waits in [&mut seventh, &mut other, &mut ninth] {
            assert!(poll(waits).await.is_pending());
        }
        looking.reached(at(6));
        assert_eq!(looked.state().waiting.len(), 3);
        looking.reached(at(8));
        assert_eq!(poll(&mut seventh).await, Poll::Ready(true));
        assert_eq!(poll(&mut other).await, Poll::Ready(true));
        assert!(poll(&mut ninth).await.is_pending());
        drop(looking);
        assert_eq!(poll(&mut ninth).await, Poll::Ready(false), "nobody looks any more");
        assert!(!looked.wait_for(at(100)).await && looked.wait_for(at(8)).await);
    }

    #[tokio::test]
    async fn who_gives_up_takes_no_room() {
        let (_looking, looked) = channel(Offset::START);
        let mut waits = Box::pin(looked.wait_for(Offset::from_number(1)));
        assert!(poll(&mut waits).await.is_pending());
        assert_eq!(looked.state().waiting.len(), 1);
        drop(waits);
        assert_eq!(looked.state().waiting.len(), 0);
    }
}
