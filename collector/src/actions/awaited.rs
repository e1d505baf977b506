//! Who waits for the end of an action: decisions, for what a model says.
//! Promises that whoever has asked before it came is told, and that nothing is kept of what nobody waits for any more. Deliberately
//! remembers nothing: what came before stands in the log.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;

/// By the action's id.
#[derive(Debug, Default)]
pub(crate) struct Awaited(Mutex<HashMap<String, watch::Sender<()>>>);

/// One who waits.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    of: &'a Awaited,
    action: &'a str,
    ended: Option<watch::Receiver<()>>,
}

impl Awaited {
    /// From here on the end of this action is heard of.
    pub(crate) fn wait<'a>(&'a self, action: &'a str) -> Wait<'a> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited_for = all.entry(action.to_owned()).or_insert_with(|| watch::channel(()).0);
        let ended = Some(waited_for.subscribe());
        drop(all);
        Wait { of: self, action, ended }
    }

    /// What it has to say is in the log, or it will say nothing.
    pub(super) fn ended(&self, action: &str) {
        // Whoever waits sees that there is no sender any more.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(action);
    }
}

impl Wait<'_> {
    pub(crate) async fn ended(mut self) {
        if let Some(ended) = &mut self.ended {
            while ended.changed().await.is_ok() {}
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut all = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.ended = None;
        if all.get(self.action).is_some_and(watch::Sender::is_closed) {
            all.remove(self.action);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_told_and_nothing_is_left_of_those_who_gave_up() {
        let awaited = Awaited::default();
        let (one, two, other) = (awaited.wait("a"), awaited.wait("a"), awaited.wait("b"));
        drop(two);
        assert_eq!(awaited.0.lock().unwrap().len(), 2, "one waits still");
        let two = awaited.wait("a");
        awaited.ended("a");
        tokio::join!(one.ended(), two.ended());
        let end = other.ended();
        tokio::time::timeout(std::time::Duration::from_millis(20), end).await.unwrap_err();
        assert!(awaited.0.lock().unwrap().is_empty());
        awaited.ended("nobody's");
        assert!(awaited.0.lock().unwrap().is_empty());
    }
}
